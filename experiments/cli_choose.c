#include "experiments/cli_choose.h"

#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "rl/learn/learners.h"

/* ---- the list ---- */

enum { MOST_CONTENDERS = 32 };

static keel_status fail_name(const char *name, keel_err *err) {
    keel_fail(err, KEEL_E_USAGE, "--choose", "\"%.60s\" is no learner", name);
    return keel_hint(err, "write learners of --algo, or base, as in \"" KEEL_CHOOSE_STANDARD "\"");
}

/* "alpha=0.1:kl_budget=2", onto the configuration. */
static keel_status set_keys(char *keys, keel_learner_config *config, keel_err *err) {
    for (char *next; keys; keys = next) {
        next = strchr(keys, ':');
        if (next) *next++ = '\0';
        KEEL_TRY(keel_cli_blame(
            keel_options_assign(keel_learner_options(config->algorithm), config, keys, err), err));
    }
    return KEEL_OK;
}

static keel_status read_contender(keel_cli *cli, const char *text, keel_contender *out, keel_err *err) {
    int preset = 0;
    char *name = keel_arena_strdup(&cli->arena, text);
    out->name = text;
    if (!name) return keel_nomem(err, "--choose");
    char *keys = strchr(name, ':');
    if (keys) *keys++ = '\0';
    out->base = strcmp(name, "base") == 0;
    int i = 0;
    while (i < KEEL_N_LEARNERS && strcmp(keel_algorithms[i], name) != 0) i++;
    if (i == KEEL_N_LEARNERS && !out->base) return fail_name(name, err);
    KEEL_TRY(keel_cli_choice(cli, "--preset", keel_presets, &preset, err));
    KEEL_TRY(keel_cli_blame(
        keel_learner_preset(keel_presets[preset], out->base ? "cql" : name, &out->config, err), err));
    KEEL_TRY(keel_cli_options(cli, keel_learner_common_options, &out->config, err));
    out->config.algorithm = out->base ? 0 : i;
    if (keel_learner_kind_of(out->config.algorithm)->dual_step)
        return keel_fail(err, KEEL_E_USAGE, "--choose", "%s takes a fold of its own: name it with --algo",
                         name);
    KEEL_TRY(set_keys(keys, &out->config, err));
    if (out->base) keel_contender_base(&out->config);
    return keel_cli_blame(keel_train_check(&out->config, err), err);
}

static bool has_cost(const keel_contender *one) {
    const keel_learner_config *config = &one->config;
    return !one->base && keel_learner_kind_of(config->algorithm)->cost && config->vector_heads &&
           config->quantiles == 1;
}

static keel_status add_contender(keel_cli *cli, const char *text, keel_contender *list, size_t *n,
                                 keel_err *err) {
    const bool given = keel_cli_has(cli, "--choose");
    if (*n == MOST_CONTENDERS)
        return keel_fail(err, KEEL_E_USAGE, "--choose", "more than %d policies", (int)MOST_CONTENDERS);
    list[*n] = (keel_contender){0};
    KEEL_TRY(read_contender(cli, text, &list[*n], err));
    const bool usable = !keel_cli_has(cli, "--max-harm") || has_cost(&list[*n]);
    if (!usable && given)
        return keel_fail(err, KEEL_E_USAGE, "--choose",
                         "%.60s has no critic of the cost of harm, which --max-harm needs", text);
    *n += usable;
    return KEEL_OK;
}

keel_status keel_cli_contenders(keel_cli *cli, keel_choose_job *out, keel_err *err) {
    const char *given = keel_cli_value(cli, "--choose");
    char *rest = keel_arena_strdup(&cli->arena, given ? given : KEEL_CHOOSE_STANDARD);
    keel_contender *list = keel_arena_calloc(&cli->arena, MOST_CONTENDERS, sizeof *list);
    keel_learner_config common;
    if (!rest || !list) return keel_nomem(err, "--choose");
    out->n = 0;
    for (char *next; rest; rest = next) {
        next = strchr(rest, ',');
        if (next) *next++ = '\0';
        KEEL_TRY(add_contender(cli, rest, list, &out->n, err));
    }
    KEEL_TRY(keel_learner_preset("keel", "cql", &common, err));
    KEEL_TRY(keel_cli_options(cli, keel_learner_common_options, &common, err));
    memcpy(out->weight, common.weight, sizeof out->weight);
    out->contenders = list;
    return KEEL_OK;
}

/* ---- the base's own tuning ---- */

static keel_status read_tuning(keel_cli *cli, const char *dir, const keel_base *base, const cJSON *config,
                               const keel_base_config **out, keel_err *err) {
    const keel_base_kind *kind = base->kind;
    keel_base_config *made = keel_arena_calloc(&cli->arena, 1, kind->config_size);
    if (!made) return keel_nomem(err, dir);
    KEEL_TRY(keel_options_defaults(kind->options, made, err));
    KEEL_TRY(keel_options_json(kind->options, made, config, dir, err));
    made->action_space = (int)base->space + 1;
    if (!base->n_fixed) made->fixed_answers = 1; /* none; else the base's own: keel_choose */
    *out = made;
    return KEEL_OK;
}

/* A base that has seen what policies are compared on, and is not tuned anew for each fold. */
static void note_seen(const char *dir, const keel_base *base, const cJSON *manifest, keel_choose_job *out) {
    double known =
        0; /* decisions that taught the base which it went on from: no fold of its own forgets them */
    keel_json_number(keel_json_get(manifest, "metrics"), "decisions_known_before", false, &known, dir, NULL);
    out->flattered = !base->crossed || known > 0;
    if (out->flattered)
        keel_log(KEEL_LOG_INFO,
                 "note: %s was tuned on the conversations that policies are compared on and knows them by "
                 "heart: no verdict is given. An encoder tuned with folds=2 or more can be compared on",
                 dir);
    else
        keel_log(
            KEEL_LOG_INFO,
            "note: %s was tuned on the conversations that policies are compared on, and is not tuned anew "
            "for each fold. Its features are crossed: those of a conversation come from folds without it; "
            "what n-grams add to its prior is not",
            dir);
}

keel_status keel_cli_base_tuning(keel_cli *cli, const char *dir, const keel_base *base,
                                 const keel_split *split, keel_choose_job *out, keel_err *err) {
    cJSON *manifest = NULL;
    const char *text = NULL, *from = NULL;
    keel_split tuned_on;
    out->tuning = NULL;
    out->flattered = false;
    KEEL_TRY(keel_manifest_read(dir, &manifest, err));
    const cJSON *lineage = keel_json_get(manifest, "lineage");
    keel_json_string(lineage, "split", false, &text, dir, NULL);
    keel_json_string(lineage, "from", false, &from, dir, NULL);
    const bool taught =
        keel_json_get(lineage, "teacher_base") != NULL; /* who is not there to teach it anew */
    const bool seen =
        !text || keel_split_parse(text, &tuned_on, NULL) != KEEL_OK || !keel_split_disjoint(&tuned_on, split);
    keel_status status = KEEL_OK;
    if (seen && from && !taught && base->kind->tune && keel_base_is_kind(from))
        status = read_tuning(cli, dir, base, keel_json_get(manifest, "config"), &out->tuning, err);
    else if (seen)
        note_seen(dir, base, manifest, out);
    cJSON_Delete(manifest);
    return status;
}

/* ---- for people ---- */

static void print_share(keel_table *table, const cJSON *row, const char *part, const char *whole) {
    const double n = cJSON_GetNumberValue(keel_json_get(row, whole));
    if (n > 0)
        keel_table_cell(table, "%.0f of %.0f", cJSON_GetNumberValue(keel_json_get(row, part)), n);
    else
        keel_table_cell(table, "-");
}

void keel_cli_print_choice(const cJSON *choice, FILE *out) {
    static const char *const heads[] = {"policy",          "composite_reward",  "minus the log's",
                                        "at least",        "refusal_rate",      "completion_rate",
                                        "other than base", "other than the log"};
    enum { N = sizeof heads / sizeof *heads };
    keel_table table = {.columns = N};
    const cJSON *row;
    fprintf(out, "\n%s; kept: %s\n\n", keel_json_get(choice, "verdict")->valuestring,
            keel_json_get(choice, "kept")->valuestring);
    for (size_t i = 0; i < N; i++) keel_table_cell(&table, "%s", heads[i]);
    cJSON_ArrayForEach (row, keel_json_get(choice, "policies")) {
        static const char *const keys[] = {"composite_reward", "minus_logged", "minus_logged", "refusal_rate",
                                           "completion_rate"};
        keel_table_cell(&table, "%s%s", keel_json_get(row, "policy")->valuestring,
                        keel_json_get(row, "diverged") ? " (diverges)" : "");
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            const double value =
                cJSON_GetNumberValue(keel_json_get(keel_json_get(row, keys[i]), i == 2 ? "low" : "value"));
            keel_table_cell(&table, isnan(value) ? "-" : i == 1 || i == 2 ? "%+.3f" : "%.3f", value);
        }
        print_share(&table, row, "from_base", "decisions");
        print_share(&table, row, "from_log", "told");
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}
