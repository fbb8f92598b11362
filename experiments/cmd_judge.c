/* keel judge test|fit: how far to trust a judge, and a judge for one's own labels.
 *
 *  1. Opens the store, the judge (shipped, or --judge) and the labels by humans.
 *  2. fit: adapts the judge to the labels, cross-fitted over groups, and writes it to --out.
 *  3. Judges the labelled responses, each by a judge that did not learn from it, and measures the agreement;
 * fit does so before and after.
 *  4. Records the run.
 */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/text.h"
#include "experiments/cli_judge.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"

enum { FOLDS = 5, RESAMPLES = 2000, SEED = 1, MOST_MISTAKES = 20, EXCERPT = 160 /* bytes */ };

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--split", "NAME", false, false,
     "whose human labels (default: all; fit: train if there is one, else all)"},
    KEEL_FLAG_JUDGE,
    {"--out", "DIR", false, false, "fit: the folder for the judge"},
    {"--error", "E", false, false,
     "fit: leave unjudged what is too uncertain for a share of E (as 0.02) of the outcomes to be wrong"},
    {"--anew", NULL, false, false, "fit: from these labels alone, not from what --judge knows"},
    KEEL_FLAG_END,
};

/* ---- what was found, as JSON ---- */

static cJSON *sources_json(const keel_agreement *agreement) {
    cJSON *list = cJSON_CreateArray();
    for (size_t s = 0; s < agreement->n_sources; s++) {
        const keel_agreement_source *source = &agreement->sources[s];
        const bool judged = source->bias.n > 0;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "source", source->name);
        cJSON_AddNumberToObject(row, "n", (double)source->n);
        cJSON_AddNumberToObject(row, "unjudged", (double)source->unjudged);
        keel_json_add(row, "human", judged ? cJSON_CreateNumber(source->human) : cJSON_CreateNull());
        keel_json_add(row, "judge", judged ? cJSON_CreateNumber(source->judge) : cJSON_CreateNull());
        keel_json_add(row, "bias", keel_interval_json(&source->bias));
        keel_json_add(list, NULL, row);
    }
    return list;
}

static cJSON *reliability_json(const keel_agreement *agreement) {
    cJSON *list = cJSON_CreateArray();
    for (int b = 0; b < KEEL_AGREEMENT_BINS; b++) {
        const keel_agreement_bin *bin = &agreement->bins[b];
        cJSON *row = cJSON_CreateObject();
        if (!bin->n) {
            cJSON_Delete(row);
            continue;
        }
        cJSON_AddNumberToObject(row, "from", (double)b / KEEL_AGREEMENT_BINS);
        cJSON_AddNumberToObject(row, "to", (double)(b + 1) / KEEL_AGREEMENT_BINS);
        cJSON_AddNumberToObject(row, "n", (double)bin->n);
        cJSON_AddNumberToObject(row, "mean_p", bin->mean_p);
        keel_json_add(row, "share", keel_interval_json(&bin->share));
        keel_json_add(list, NULL, row);
    }
    return list;
}

typedef struct mistake {
    size_t item;
    double p;
} mistake;

static int by_probability(const void *a, const void *b) {
    const mistake *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

/* The most confident first; labels are in an order that does not depend on imports. */
static keel_status add_mistakes(cJSON *to, const keel_judge_kind *kind, const keel_labels *labels,
                                const keel_agreement_item *items, keel_err *err) {
    mistake *all = keel_calloc(labels->count, sizeof *all);
    size_t n = 0;
    if (!all) return keel_nomem(err, "judge test");
    for (size_t i = 0; i < labels->count; i++) {
        const keel_judge_verdict *verdict = &items[i].verdict;
        if (verdict->label != KEEL_UNJUDGED && verdict->label != items[i].label)
            all[n++] = (mistake){i, (double)verdict->p[verdict->label]};
    }
    if (n) qsort(all, n, sizeof *all, by_probability);
    cJSON_AddNumberToObject(to, "mistakes_n", (double)n);
    cJSON *list = cJSON_AddArrayToObject(to, "mistakes");
    for (size_t m = 0; m < n && m < MOST_MISTAKES; m++) {
        const keel_labelled *one = &labels->items[all[m].item];
        const keel_agreement_item *item = &items[all[m].item];
        const char *text = one->example.input.response;
        char cut[EXCERPT + 1];
        snprintf(cut, sizeof cut, "%.*s", (int)keel_utf8_cut(text, strlen(text), EXCERPT), text);
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "id", one->id);
        if (one->source) cJSON_AddStringToObject(row, "source", one->source);
        cJSON_AddStringToObject(row, "human", kind->classes[item->label]);
        cJSON_AddStringToObject(row, "judge", kind->classes[item->verdict.label]);
        cJSON_AddNumberToObject(row, "probability", all[m].p);
        cJSON_AddStringToObject(row, "response", cut);
        keel_json_add(list, NULL, row);
    }
    keel_free(all);
    return KEEL_OK;
}

/* ---- test ---- */

/* Of the labelled responses: how many the judge learned from, whose verdicts it has held out. */
static double remembered(const keel_judge *judge, const keel_labels *labels) {
    size_t n = 0;
    for (size_t i = 0; i < labels->count; i++)
        n += keel_judge_remembers(judge, labels->items[i].example.input.response);
    return (double)n;
}

static keel_status measure(const keel_judge *judge, const keel_labels *labels, keel_arena *arena,
                           keel_agreement_item **items, keel_agreement *out, keel_err *err) {
    KEEL_TRY(keel_cli_judge_labels(judge, labels, arena, items, err));
    return keel_agreement_measure(*items, labels->count, RESAMPLES, SEED, out, err);
}

static void say_judge(cJSON *to, const keel_judge *judge, const keel_labels *labels) {
    cJSON_AddStringToObject(to, "judge", judge->name);
    if (!judge->learned && judge->kind->taught) cJSON_AddStringToObject(to, "taught", judge->kind->taught);
    cJSON_AddNumberToObject(to, "labels", (double)labels->count);
    cJSON_AddNumberToObject(to, "held_out", remembered(judge, labels));
}

static keel_status test(keel_cli *cli, keel_judge *judge, const keel_labels *labels, keel_err *err) {
    keel_arena arena = {0};
    keel_agreement_item *items;
    keel_agreement found;
    if (judge->learned && !judge->n_held_out)
        return keel_fail(err, KEEL_E_INVALID, "--judge",
                         "%s does not say which labels it learned from: an agreement with them would flatter",
                         judge->name);
    keel_status status = measure(judge, labels, &arena, &items, &found, err);
    if (status == KEEL_OK) {
        say_judge(cli->result, judge, labels);
        keel_json_add(cli->result, "metrics", keel_cli_agreement_json(judge->kind, &found));
        keel_json_add(cli->result, "sources", sources_json(&found));
        keel_json_add(cli->result, "reliability", reliability_json(&found));
        status = add_mistakes(cli->result, judge->kind, labels, items, err);
    }
    keel_arena_free(&arena);
    return status;
}

/* ---- fit ---- */

/* A folder that is new, empty, or holds a judge. */
static keel_status check_out(keel_cli *cli, const char *out, keel_err *err) {
    const char **names = NULL;
    size_t n = 0;
    if (!keel_file_exists(out)) return KEEL_OK;
    const char *file = keel_path_join(&cli->arena, out, KEEL_JUDGE_FILE);
    if (!file) return keel_nomem(err, "--out");
    if (keel_file_is_folder(out)) {
        if (keel_file_exists(file)) return keel_cli_open_out_file(file, 8, KEEL_JUDGE_FILE_BEGIN, err);
        KEEL_TRY(keel_folder_list(out, NULL, &cli->arena, &names, &n, err));
        if (n == 0) return KEEL_OK;
    }
    keel_fail(err, KEEL_E_CONFLICT, out, "exists and is no folder of `keel judge fit`");
    return keel_hint(err, "choose another name, or remove it");
}

static keel_status write_judge(const keel_judge *judge, const char *out, const cJSON *result, keel_err *err) {
    keel_folder_write folder;
    keel_arena arena = {0};
    KEEL_TRY(keel_folder_begin(&folder, out, err));
    const char *file = keel_path_join(&arena, folder.temporary, KEEL_JUDGE_FILE),
               *report = keel_path_join(&arena, folder.temporary, "report.json");
    keel_status status = file && report ? KEEL_OK : keel_nomem(err, out);
    if (status == KEEL_OK) status = keel_judge_save(judge, file, err);
    if (status == KEEL_OK) status = keel_json_write_file(report, result, err);
    if (status == KEEL_OK) status = keel_folder_commit(&folder, err);
    if (status != KEEL_OK) keel_folder_abandon(&folder);
    keel_arena_free(&arena);
    return status;
}

static keel_status read_error(const keel_cli *cli, double *out, keel_err *err) {
    const char *text = keel_cli_value(cli, "--error");
    *out = 0;
    if (!text) return KEEL_OK;
    KEEL_TRY(keel_cli_numbers("--error", text, out, 1, err));
    if (*out > 0 && *out < 0.5) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "--error", "expected a share above 0 and below 0.5, got %s", text);
}

/* --anew: of which kind. */
static keel_status choose_kind(const keel_cli *cli, const keel_judge_kind **out, keel_err *err) {
    const char *given = keel_cli_value(cli, "--judge");
    *out = given ? keel_judge_find(given) : keel_judge_kinds[0];
    return *out ? KEEL_OK
                : keel_fail(err, KEEL_E_USAGE, "--anew", "goes on from no judge: \"%s\" is no kind of judge",
                            given);
}

/* from NULL: from nothing. */
static keel_status adapt(const keel_cli *cli, const keel_judge *from, const keel_labels *labels,
                         keel_judge **out, keel_err *err) {
    keel_judge_adaptation how = {.folds = FOLDS};
    const keel_judge_kind *kind = from ? from->kind : NULL;
    KEEL_TRY(read_error(cli, &how.error, err));
    if (!kind) KEEL_TRY(choose_kind(cli, &kind, err));
    keel_judge_example *examples = keel_calloc(labels->count, sizeof *examples);
    if (!examples) return keel_nomem(err, "judge fit");
    for (size_t i = 0; i < labels->count; i++) examples[i] = labels->items[i].example;
    const keel_status status = keel_judge_adapt(out, kind, from, examples, labels->count, &how, err);
    keel_free(examples);
    if (status == KEEL_E_INVALID)
        return keel_hint(err, how.error > 0 ? "label more responses, or allow a larger --error"
                                            : "label more responses: `keel review`, or \"outcome\" in "
                                              "the log");
    return status;
}

static keel_status fit(keel_cli *cli, const keel_judge *from, const keel_labels *labels, keel_err *err) {
    const char *out = keel_cli_value(cli, "--out");
    keel_judge *judge = NULL;
    keel_arena arena = {0};
    keel_agreement_item *items;
    keel_agreement before, after;
    keel_status status;
    KEEL_TRY(check_out(cli, out, err));
    KEEL_TRY(adapt(cli, from, labels, &judge, err));
    if (from) KEEL_TRY_GOTO(measure(from, labels, &arena, &items, &before, err), done);
    KEEL_TRY_GOTO(measure(judge, labels, &arena, &items, &after, err), done);
    cJSON_AddStringToObject(cli->result, "from", from ? from->name : "nothing");
    say_judge(cli->result, judge, labels);
    if (from) keel_json_add(cli->result, "before", keel_cli_agreement_json(judge->kind, &before));
    keel_json_add(cli->result, "metrics", keel_cli_agreement_json(judge->kind, &after));
    cJSON *calibration = cJSON_AddObjectToObject(cli->result, "calibration");
    cJSON_AddNumberToObject(calibration, "slope", judge->calibration.slope);
    cJSON_AddNumberToObject(calibration, "threshold", judge->calibration.least);
    status = write_judge(judge, out, cli->result, err);
    cJSON_AddStringToObject(cli->result, "out", out);
done:
    keel_judge_free(judge);
    keel_arena_free(&arena);
    return status;
}

/* ---- the verb ---- */

static keel_status read_task(keel_cli *cli, bool *fits, keel_err *err) {
    static const char *const of_fit[] = {"--out", "--error", "--anew"};
    const char *const *words;
    size_t n;
    KEEL_TRY(keel_cli_values(cli, NULL, &words, &n, err));
    *fits = strcmp(words[0], "fit") == 0;
    if (!*fits && strcmp(words[0], "test") != 0)
        return keel_fail(err, KEEL_E_USAGE, NULL, "expected test or fit, got '%s'", words[0]);
    for (size_t i = 0; !*fits && i < sizeof of_fit / sizeof *of_fit; i++)
        if (keel_cli_has(cli, of_fit[i]))
            return keel_fail(err, KEEL_E_USAGE, of_fit[i], "belongs to `keel judge fit`, not to test");
    if (*fits && !keel_cli_has(cli, "--out"))
        return keel_fail(err, KEEL_E_USAGE, "--out", "is missing: the folder for the judge");
    return KEEL_OK;
}

static keel_status choose_split(const keel_cli *cli, keel_store *store, bool fits, keel_split *split,
                                keel_err *err) {
    keel_split train;
    if (keel_cli_has(cli, "--split") || !fits) return keel_cli_open_split(cli, store, "all", split, err);
    KEEL_TRY(keel_split_parse("train", &train, err));
    const keel_status there = keel_store_check_split(store, &train, err);
    if (there != KEEL_OK && there != KEEL_E_NOT_FOUND) return there;
    return keel_cli_open_split(cli, store, there == KEEL_OK ? "train" : "all", split, err);
}

static keel_status read_labels(keel_cli *cli, keel_store *store, bool fits, keel_labels *labels,
                               keel_err *err) {
    keel_split split;
    KEEL_TRY(choose_split(cli, store, fits, &split, err));
    KEEL_TRY(keel_cli_read_labels(store, &split, labels, err));
    if (labels->count) return KEEL_OK;
    keel_fail(err, KEEL_E_NOT_FOUND, keel_store_path(store), "no response has a human label");
    return keel_hint(err, "write \"outcome\" into some 100 responses drawn at random (`keel export --format "
                          "chat`) and import them again");
}

static keel_status run(keel_cli *cli, keel_err *err) {
    keel_store *store = NULL;
    keel_judge *judge = NULL;
    keel_labels labels = {0};
    bool fits = false;
    double unused;
    keel_status status;
    KEEL_TRY(read_task(cli, &fits, err));
    KEEL_TRY(read_error(cli, &unused, err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_EITHER, &store, err));
    cli->result = cJSON_CreateObject();
    if (!keel_cli_has(cli, "--anew")) KEEL_TRY_GOTO(keel_cli_open_judge(cli, &judge, err), done);
    KEEL_TRY_GOTO(read_labels(cli, store, fits, &labels, err), done);
    KEEL_TRY_GOTO(fits ? fit(cli, judge, &labels, err) : test(cli, judge, &labels, err), done);
    status = keel_record_run(cli, store, err);
done:
    keel_labels_free(&labels);
    keel_judge_free(judge);
    keel_store_close(store);
    return status;
}

/* ---- for people ---- */

static void print_sources(const cJSON *sources, FILE *out) {
    static const char *const heads[] = {"source", "labels", "unjudged", "rate, humans", "judge", "bias"};
    keel_table table = {.columns = 6};
    const cJSON *row;
    for (size_t i = 0; i < 6; i++) keel_table_cell(&table, "%s", heads[i]);
    cJSON_ArrayForEach (row, sources) {
        const cJSON *human = keel_json_get(row, "human"), *judge = keel_json_get(row, "judge");
        keel_table_cell(&table, "%s", keel_json_get(row, "source")->valuestring);
        keel_table_cell(&table, "%.0f", keel_json_get(row, "n")->valuedouble);
        keel_table_cell(&table, "%.0f", keel_json_get(row, "unjudged")->valuedouble);
        keel_table_cell(&table, cJSON_IsNumber(human) ? "%.3f" : "-", human->valuedouble);
        keel_table_cell(&table, cJSON_IsNumber(judge) ? "%.3f" : "-", judge->valuedouble);
        keel_table_interval(&table, keel_json_get(row, "bias"));
    }
    fputc('\n', out);
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_reliability(const cJSON *bins, FILE *out) {
    keel_table table = {.columns = 4};
    const cJSON *row;
    keel_table_cell(&table, "probability");
    keel_table_cell(&table, "n");
    keel_table_cell(&table, "mean");
    keel_table_cell(&table, "share, humans");
    cJSON_ArrayForEach (row, bins) {
        keel_table_cell(&table, "%.1f to %.1f", keel_json_get(row, "from")->valuedouble,
                        keel_json_get(row, "to")->valuedouble);
        keel_table_cell(&table, "%.0f", keel_json_get(row, "n")->valuedouble);
        keel_table_cell(&table, "%.3f", keel_json_get(row, "mean_p")->valuedouble);
        keel_table_interval(&table, keel_json_get(row, "share"));
    }
    fputc('\n', out);
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_mistakes(const cJSON *result, FILE *out) {
    enum { COLUMNS = 100 };
    const cJSON *mistakes = keel_json_get(result, "mistakes"), *one;
    const int shown = cJSON_GetArraySize(mistakes);
    if (!shown) return;
    fprintf(out,
            "\nmistakes: %.0f; the %d most confident (human, judge, probability, conversation: response):\n",
            keel_json_get(result, "mistakes_n")->valuedouble, shown);
    cJSON_ArrayForEach (one, mistakes) {
        fprintf(out, "  %-15s %-15s %.2f  ", keel_json_get(one, "human")->valuestring,
                keel_json_get(one, "judge")->valuestring, keel_json_get(one, "probability")->valuedouble);
        keel_print_line(out, keel_json_get(one, "id")->valuestring, COLUMNS / 2);
        fputs(": ", out);
        keel_print_line(out, keel_json_get(one, "response")->valuestring, COLUMNS);
        fputc('\n', out);
    }
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *before = keel_json_get(result, "before"), *taught = keel_json_get(result, "taught");
    const cJSON *columns[] = {before ? before : keel_json_get(result, "metrics"),
                              keel_json_get(result, "metrics")};
    const cJSON *folder = keel_json_get(result, "out");
    const char *const heads[] = {before   ? "before"
                                 : folder ? "cross-fitted"
                                          : "value",
                                 "after, cross-fitted"};
    const double labels = keel_json_get(result, "labels")->valuedouble,
                 held_out = keel_json_get(result, "held_out")->valuedouble;
    fprintf(out, "judge %s on %.0f responses that humans labelled\n",
            keel_json_get(result, "judge")->valuestring, labels);
    if (taught) fprintf(out, "taught on %s\n", taught->valuestring);
    if (held_out > 0)
        fprintf(out, "%.0f of them taught it: their outcomes are by judges that did not see them\n",
                held_out);
    fputc('\n', out);
    keel_cli_print_agreement(heads, columns, before ? 2 : 1, out);
    if (folder) {
        fprintf(out, "\nused by: keel label --judge %s\n", folder->valuestring);
        return;
    }
    print_sources(keel_json_get(result, "sources"), out);
    print_reliability(keel_json_get(result, "reliability"), out);
    print_mistakes(result, out);
}

const keel_verb keel_verb_judge = {
    .name = "judge",
    .brief = "test a judge against human labels, or fit one to them",
    .flags = flags,
    .words = "test|fit",
    .words_min = 1,
    .words_max = 1,
    .more =
        "test compares the judge with the human labels in the store: accuracy and Cohen's kappa (any refusal, "
        "and all\n"
        "classes; what stays unjudged agrees with nothing), the bias of each source model's rate, whether the "
        "probabilities\n"
        "mean what they say (share by probability; ece: expected calibration error), and the most confident "
        "mistakes.\n"
        "fit goes on from the judge with the labels (60 or more), makes its probabilities theirs (calibration), and "
        "writes it\n"
        "to --out for `keel label --judge DIR`. Folds over groups judge each label by a judge that did not see it; "
        "the figures\n"
        "of fit, of a later test and the corrected rates of `keel stats` go by these outcomes. Labels are never "
        "changed.\n"
        "Intervals are 95 %.\n"
        "example: keel judge test --store logs.db\n"
        "example: keel judge fit --store logs.db --out runs/judge --error 0.02\n",
    .more_tables = keel_cli_list_judges,
    .run = run,
    .print = print,
};
