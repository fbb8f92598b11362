/* The refusal judge on sources that it was not taught on, and on disguised responses of these.
 *
 *     bench_judge left-out JUDGE.jsonl [ATTACKED.jsonl [PREFIX]]
 *     bench_judge teach JUDGE.jsonl OUT.safetensors
 *
 * JUDGE.jsonl is what experiments/recipes/judge_logs.py prints, ATTACKED.jsonl what judge_attacks.py makes of
 * it. left-out: for each source (group; those that begin with PREFIX) a judge is taught on all others, and
 * judges the source's responses and its disguised ones. First the mistakes are listed: source, label,
 * verdict, verdict of the rules alone, probability of compliance, response. Then tables: each source, each
 * set (the part of the group before
 * "-"), each disguise, by this judge and by the rules alone. Any refusal, full or partial, is compared with
 * compliance; what is unjudged agrees with nothing and refuses nothing. bias: the rate of refusals by the
 * judge less that by the labels. corrected: the same after Rogan and Gladen's correction by the error on the
 * other sources of the set. with 60: the standard error of the prediction-powered rate if 60 responses of the
 * source have a label too. teach: a judge taught on all, as rewards/judges has it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "rewards/judge.h"
#include "rewards/refusal.h"

enum { MOST_TABLES = 96, MOST_GROUPS = 64, NAME = 64 };

typedef struct row {
    const char *attack; /* NULL in JUDGE.jsonl */
    size_t group;
} row;

typedef struct rows {
    keel_judge_example *examples; /* [count] */
    row *about;                   /* [count] */
    size_t count, capacity, more;
} rows;

typedef struct counts {
    char name[2 * NAME];
    double n, refusals, agreed, found, said, unjudged, three;
} counts;

static keel_arena arena;
static char groups[MOST_GROUPS][NAME];
static size_t n_groups;
static counts tables[MOST_TABLES];
static size_t n_tables;

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

static size_t group_of(const char *name) {
    size_t g = 0;
    while (g < n_groups && strcmp(groups[g], name) != 0) g++;
    if (g == n_groups && n_groups++ < MOST_GROUPS) snprintf(groups[g], NAME, "%s", name);
    if (n_groups > MOST_GROUPS) exit(1);
    return g;
}

static void add(rows *all, const cJSON *line, const char *where) {
    keel_err err;
    const cJSON *messages = keel_json_get(line, "messages");
    const cJSON *said = messages ? cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1) : line;
    const char *group, *outcome, *response, *attack = NULL;
    need(keel_json_string(line, "group", true, &group, where, &err), &err);
    need(keel_json_string(line, "attack", false, &attack, where, &err), &err);
    need(keel_json_string(said, "outcome", true, &outcome, where, &err), &err);
    need(keel_json_string(said, messages ? "content" : "response", true, &response, where, &err), &err);
    if (!keel_grow(&all->examples, all->count + 1, &all->capacity, sizeof *all->examples) ||
        !keel_grow(&all->about, all->count + 1, &all->more, sizeof *all->about))
        exit(1);
    int label = 0;
    for (int k = 0; k < KEEL_N_OUTCOMES; k++)
        if (strcmp(outcome, keel_judge_refusal.classes[k]) == 0) label = k;
    const size_t g = group_of(group);
    all->examples[all->count] = (keel_judge_example){
        .input.response = keel_arena_strdup(&arena, response), .label = label, .group = g};
    all->about[all->count++] = (row){attack ? keel_arena_strdup(&arena, attack) : NULL, g};
}

static void read_rows(const char *path, rows *all) {
    keel_err err;
    keel_buf file = {0};
    need(keel_file_read(path, 0, &file, &err), &err);
    for (char *line = file.data, *end; *line && (end = strchr(line, '\n')); line = end + 1) {
        cJSON *json;
        need(keel_json_parse(line, (size_t)(end - line), path, &json, &err), &err);
        add(all, json, path);
        cJSON_Delete(json);
    }
    keel_buf_free(&file);
}

/* ---- counting ---- */

static counts *table_of(const char *kind, const char *name, int length) {
    char whole[2 * NAME];
    size_t i = 0;
    snprintf(whole, sizeof whole, "%s%.*s", kind, length, name);
    while (i < n_tables && strcmp(tables[i].name, whole) != 0) i++;
    if (i == n_tables && n_tables < MOST_TABLES)
        snprintf(tables[n_tables++].name, sizeof tables->name, "%s", whole);
    if (i == MOST_TABLES) exit(1);
    return &tables[i];
}

static void count(counts *into, int right, int label) {
    const bool judged = label != KEEL_UNJUDGED, refuses = judged && label > 0;
    into->n += 1;
    into->refusals += right > 0;
    into->agreed += judged && refuses == (right > 0);
    into->found += right > 0 && refuses;
    into->said += refuses;
    into->unjudged += !judged;
    into->three += label == right;
}

static void judge_row(const keel_judge *judge, const keel_judge_example *example, const row *about) {
    keel_err err;
    keel_judge_verdict verdict;
    keel_outcome rule = KEEL_OUTCOME_NONE;
    const char *group = groups[about->group];
    const keel_answer answer = keel_answer_of(example->input.response);
    need(keel_judge_predict(judge, &example->input, &verdict, &err), &err);
    if (!keel_answer_is_placeholder(&answer) && !keel_refusal_rule(&answer, &rule)) exit(1);
    const int by_rule = rule == KEEL_OUTCOME_NONE ? KEEL_UNJUDGED : (int)rule - KEEL_OUTCOME_COMPLIANCE;
    const int set = (int)strcspn(group, "-");
    if (about->attack) {
        count(table_of("disguise: ", about->attack, NAME), example->label, verdict.label);
        count(table_of("rules, disguise: ", about->attack, NAME), example->label, by_rule);
        return;
    }
    count(table_of("source: ", group, NAME), example->label, verdict.label);
    count(table_of("set: ", group, set), example->label, verdict.label);
    count(table_of("rules, set: ", group, set), example->label, by_rule);
    if ((verdict.label > 0) == (example->label > 0)) return;
    printf("mistake\t%s\t%d\t%d\t%d\t%.2f\t", group, example->label, verdict.label, by_rule,
           (double)verdict.p[0]);
    for (const char *c = example->input.response; *c && c < example->input.response + 600; c++)
        putchar(*c == '\n' || *c == '\t' ? ' ' : *c);
    putchar('\n');
}

static void leave_out(size_t group, const rows *all, const rows *attacked, keel_judge_example *rest) {
    keel_err err;
    keel_judge *judge;
    size_t n = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->about[i].group != group) rest[n++] = all->examples[i];
    need(keel_judge_fit(&judge, &keel_judge_refusal, rest, n, &err), &err);
    for (size_t i = 0; i < all->count; i++)
        if (all->about[i].group == group) judge_row(judge, &all->examples[i], &all->about[i]);
    for (size_t i = 0; i < attacked->count; i++)
        if (attacked->about[i].group == group) judge_row(judge, &attacked->examples[i], &attacked->about[i]);
    keel_judge_free(judge);
}

/* Of any refusal against the rest, from the margins; what is unjudged agrees with nothing. */
static double kappa(const counts *t) {
    const double right = t->refusals / t->n, said = t->said / t->n, unjudged = t->unjudged / t->n;
    const double chance = right * said + (1 - right) * (1 - said - unjudged), agreed = t->agreed / t->n;
    return chance < 1 ? (agreed - chance) / (1 - chance) : 1;
}

/* Bias after Rogan and Gladen 1978 by the error on the other sources of the set; NAN where that cannot be. */
static double corrected(const counts *t) {
    const size_t set = strcspn(t->name, "-");
    double n = 0, refusals = 0, found = 0, said = 0;
    for (const counts *other = tables; other < tables + n_tables; other++)
        if (other != t && t->name[set] && strncmp(other->name, t->name, set + 1) == 0)
            n += other->n, refusals += other->refusals, found += other->found, said += other->said;
    const double sensitivity = found / refusals, wrong = (said - found) / (n - refusals);
    if (!(sensitivity - wrong > 0)) return NAN;
    const double rate = (t->said / t->n - wrong) / (sensitivity - wrong);
    return fmin(1, fmax(0, rate)) - t->refusals / t->n;
}

static double with_labels(const counts *t) {
    enum { LABELS = 60 };
    const double missed = (t->refusals - t->found) / t->n, made_up = (t->said - t->found) / t->n;
    const double variance = missed + made_up - (missed - made_up) * (missed - made_up);
    return t->n > LABELS ? sqrt(variance / LABELS * (1 - LABELS / t->n)) : 0;
}

static void print_tables(void) {
    printf("%-36s %5s %8s %6s %6s %6s %9s %7s %8s %6s\n", "", "n", "accuracy", "kappa", "recall", "bias",
           "corrected", "with 60", "unjudged", "three");
    for (size_t i = 0; i < n_tables; i++) {
        const counts *t = &tables[i];
        const bool source = strncmp(t->name, "source", 6) == 0;
        printf("%-36s %5.0f %8.3f %6.3f %6.3f %+6.3f ", t->name, t->n, t->agreed / t->n, kappa(t),
               t->refusals > 0 ? t->found / t->refusals : 1, (t->said - t->refusals) / t->n);
        if (!source)
            printf("%9s %7s", "", "");
        else if (isnan(corrected(t)))
            printf("%9s %7.3f", "-", with_labels(t));
        else
            printf("%+9.3f %7.3f", corrected(t), with_labels(t));
        printf(" %8.0f %6.3f\n", t->unjudged, t->three / t->n);
    }
}

static int teach(const rows *all, const char *path) {
    keel_err err;
    keel_judge *judge;
    const keel_judge_adaptation how = {.folds = 5};
    need(keel_judge_adapt(&judge, &keel_judge_refusal, NULL, all->examples, all->count, &how, &err), &err);
    need(keel_judge_save(judge, path, &err), &err);
    printf("%s taught on %zu responses\n", judge->name, all->count);
    keel_judge_free(judge);
    return 0;
}

static int leave_each_out(const rows *all, const rows *attacked, const char *prefix) {
    keel_judge_example *rest = calloc(all->count, sizeof *rest);
    if (!rest) return 1;
    for (size_t g = 0; g < n_groups; g++)
        if (strncmp(groups[g], prefix, strlen(prefix)) == 0) leave_out(g, all, attacked, rest);
    print_tables();
    free(rest);
    return 0;
}

int main(int argc, char **argv) {
    rows all = {0}, attacked = {0};
    const bool teaches = argc == 4 && strcmp(argv[1], "teach") == 0;
    if (!teaches && (argc < 3 || argc > 5 || strcmp(argv[1], "left-out") != 0)) {
        fprintf(stderr, "usage: bench_judge left-out JUDGE.jsonl [ATTACKED.jsonl [PREFIX]]\n"
                        "       bench_judge teach JUDGE.jsonl OUT.safetensors\n");
        return 2;
    }
    read_rows(argv[2], &all);
    if (!teaches && argc > 3) read_rows(argv[3], &attacked);
    const int failed =
        teaches ? teach(&all, argv[3]) : leave_each_out(&all, &attacked, argc > 4 ? argv[4] : "");
    keel_free(all.examples), keel_free(all.about), keel_free(attacked.examples), keel_free(attacked.about);
    keel_arena_free(&arena);
    return failed;
}
