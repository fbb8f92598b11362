/* keel train: offline learning of a policy.
 *
 *  1. Resolves algorithm, preset and configuration before anything is opened; where no learner is named,
 * those of all policies that are compared.
 *  2. Opens the store, the base and the split; with --validate cuts the fold that chooses among checkpoints.
 *  3. Refuses an artefact at --out that another configuration made, unless --replace is given.
 *  4. Encodes decisions that have no features under this base.
 *  5. Trains with checkpoints, solves for beta, writes the artefact.
 *  6. Records the run and prints the result.
 */
#include <string.h>

#include "core/json.h"
#include "experiments/cli_choose.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "experiments/verbs.h"
#include "rl/learn/derive.h"
#include "rl/learn/learners.h"
#include "rl/train/train.h"

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--base", "DIR", true, false, "folder of the tuned base"},
    {"--algo", "NAME", false, false,
     "what learns (listed below); auto (default): the best of those in --choose, by conversations held out"},
    {"--choose", "LIST", false, false,
     "what auto compares (default: " KEEL_CHOOSE_STANDARD "); none: cql as it is"},
    {"--out", "DIR", true, false, "folder of the policy"},
    {"--preset", "NAME", false, false,
     "keel (default), or a peer's exact settings: d3rlpy (cql, dqn, bc), tianshou (cql), atari (cql)"},
    {"--split", "NAME", false, false, "what it is trained on (default: train)"},
    {"--validate", "K/N", false, false,
     "fold of the split, by group, that chooses among checkpoints and is not learned from"},
    {"--checkpoints", "N", false, false,
     "with --validate: how many are evaluated, the last at the end (default: 5)"},
    {"--max-harm", "RATE", false, false,
     "the least strict threshold of the cost of harm under which harmful compliance is at most this, as 0.02, tested on "
     "conversations held out; exit 3 if there is none"},
    {"--confidence", "C", false, false, "with --max-harm: confidence of that (default: 0.95)"},
    {"--harm-fold", "K/N", false, false, "with --max-harm: fold of the split that tests it (default: 0/5)"},
    {"--harm-counts", "WHAT", false, false,
     "what of a dangerous conversation is harm: compliance (default), or partial: answers in part too"},
    {"--dual-fold", "K/N", false, false,
     "with cql-constrained: fold of the split that moves the multiplier and is not learned from (default: 1/5)"},
    {"--config", "FILE", false, false, "JSON object of configuration keys"},
    {"--set", "KEY=VALUE", false, true, "one configuration key"},
    {"--metrics", "FILE", false, false, "JSON Lines of each part of the loss"},
    KEEL_FLAG_REPLACE,
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

#define NAME(kind, name) name,
static const char *const algorithms[] = {KEEL_LEARNERS(NAME) "auto", NULL};
#undef NAME
enum { AUTO = KEEL_N_LEARNERS };

static const char *const harms[] = {"compliance", "partial", NULL};
static const keel_flag_choices choices[] = {
    {"--algo", algorithms}, {"--preset", keel_presets}, {"--harm-counts", harms}, {NULL, NULL}};

/* --harm-counts partial. */
static keel_status read_counts(keel_cli *cli, bool *partial, keel_err *err) {
    int counts = 0;
    KEEL_TRY(keel_cli_choice(cli, "--harm-counts", harms, &counts, err));
    *partial = counts == 1;
    return KEEL_OK;
}

/* What is trained: one configuration, or the best of several. */
typedef struct wanted {
    bool choose;
    keel_learner_config config; /* unless choose */
    keel_choose_job among;      /* with choose */
} wanted;

static keel_status resolve_choice(keel_cli *cli, int algorithm, wanted *out, keel_err *err) {
    const char *list = keel_cli_value(cli, "--choose");
    if (algorithm != AUTO && list && strcmp(list, "none") != 0)
        return keel_fail(err, KEEL_E_USAGE, "--choose", "goes with --algo auto, not with --algo %s",
                         algorithms[algorithm]);
    out->choose = algorithm == AUTO && !(list && strcmp(list, "none") == 0);
    if (!out->choose) return KEEL_OK;
    for (const char *const *flag = (const char *const[]){"--validate", "--checkpoints", NULL}; *flag; flag++)
        if (keel_cli_has(cli, *flag))
            return keel_fail(err, KEEL_E_USAGE, *flag,
                             "belongs to one learner: name it with --algo (auto has folds of its own)");
    return keel_cli_contenders(cli, &out->among, err);
}

static keel_status resolve(keel_cli *cli, wanted *out, keel_err *err) {
    keel_learner_config *config = &out->config;
    int algorithm = AUTO, preset = 0;
    KEEL_TRY(keel_cli_choice(cli, "--algo", algorithms, &algorithm, err));
    KEEL_TRY(resolve_choice(cli, algorithm, out, err));
    if (out->choose) return KEEL_OK;
    if (algorithm == AUTO) algorithm = 0; /* cql */
    KEEL_TRY(keel_cli_choice(cli, "--preset", keel_presets, &preset, err));
    KEEL_TRY(keel_cli_blame(
        keel_learner_preset(keel_presets[preset], keel_algorithms[algorithm], config, err), err));
    KEEL_TRY(keel_cli_options(cli, keel_learner_options(algorithm), config, err));
    if (config->algorithm != algorithm)
        return keel_fail(err, KEEL_E_USAGE, "algorithm", "--algo says %s, the configuration says %s",
                         keel_algorithms[algorithm], keel_algorithms[config->algorithm]);
    return keel_cli_blame(keel_train_check(config, err), err);
}

/* --validate. *given false, and nothing else set, without it. */
static keel_status open_validation(keel_cli *cli, keel_store *store, const keel_split *split,
                                   keel_validation *out, bool *given, keel_err *err) {
    const char *fold = keel_cli_value(cli, "--validate");
    int64_t points = 5;
    *given = fold != NULL;
    if (!fold && keel_cli_has(cli, "--checkpoints"))
        return keel_fail(err, KEEL_E_USAGE, "--checkpoints", "needs --validate: what they are evaluated on");
    KEEL_TRY(keel_cli_integer(cli, "--checkpoints", 1, KEEL_MOST_TRIALS, &points, err));
    if (!fold) return KEEL_OK;
    KEEL_TRY(keel_cli_blame(keel_split_cut(split, fold, &out->part, &out->rest, err), err));
    out->points = (size_t)points;
    return keel_store_check_split(store, &out->part, err);
}

/* --max-harm. What tests harm is cut off first: nothing else may have seen it. *given false, and nothing else
 * set, without it. */
static keel_status open_constraint(keel_cli *cli, keel_store *store, const keel_split *split,
                                   keel_constraint *out, bool *given, keel_err *err) {
    const char *fold = keel_cli_value(cli, "--harm-fold");
    *given = keel_cli_has(cli, "--max-harm");
    if (!*given && (fold || keel_cli_has(cli, "--confidence")))
        return keel_fail(err, KEEL_E_USAGE, fold ? "--harm-fold" : "--confidence", "needs --max-harm");
    if (!*given) return KEEL_OK;
    out->confidence = 0.95;
    KEEL_TRY(keel_cli_share(cli, "--max-harm", &out->max_harm, err));
    KEEL_TRY(keel_cli_share(cli, "--confidence", &out->confidence, err));
    KEEL_TRY(read_counts(cli, &out->partial, err));
    KEEL_TRY(keel_cli_blame(keel_split_cut(split, fold ? fold : "0/5", &out->part, &out->rest, err), err));
    return keel_store_check_split(store, &out->part, err);
}

static bool moves_multiplier(const wanted *what) {
    return !what->choose && keel_learner_kind_of(what->config.algorithm)->dual_step;
}

/* --dual-fold, for learners that have a multiplier. */
static keel_status open_dual(keel_cli *cli, keel_store *store, const keel_split *split, const wanted *what,
                             keel_dual *out, bool *given, keel_err *err) {
    const char *fold = keel_cli_value(cli, "--dual-fold");
    *given = moves_multiplier(what);
    if (fold && !*given)
        return keel_fail(err, KEEL_E_USAGE, "--dual-fold", "goes with --algo cql-constrained alone");
    if (!*given) return KEEL_OK;
    KEEL_TRY(read_counts(cli, &out->partial, err));
    KEEL_TRY(keel_cli_blame(keel_split_cut(split, fold ? fold : "1/5", &out->part, &out->rest, err), err));
    return keel_store_check_split(store, &out->part, err);
}

static keel_status train_or_choose(keel_cli *cli, const keel_train_job *job, wanted *what, keel_pool *pool,
                                   keel_err *err) {
    if (!what->choose) return keel_train(job, pool, err);
    what->among.train = job;
    KEEL_TRY(
        keel_cli_base_tuning(cli, keel_cli_value(cli, "--base"), job->base, job->split, &what->among, err));
    return keel_choose(&what->among, pool, err);
}

static keel_status train(keel_cli *cli, keel_store *store, const keel_base *base, keel_pool *pool,
                         wanted *what, keel_err *err) {
    keel_split split;
    keel_reward_config rewards;
    keel_validation validation = {0};
    keel_constraint constraint = {0};
    keel_dual dual = {0};
    bool chooses, constrained, moved;
    KEEL_TRY(keel_cli_open_split(cli, store, "train", &split, err));
    KEEL_TRY(open_constraint(cli, store, &split, &constraint, &constrained, err));
    if (!constrained && !moves_multiplier(what) && keel_cli_has(cli, "--harm-counts"))
        return keel_fail(err, KEEL_E_USAGE, "--harm-counts", "needs --max-harm, or --algo cql-constrained");
    const keel_split *left = constrained ? &constraint.rest : &split;
    KEEL_TRY(open_dual(cli, store, left, what, &dual, &moved, err));
    KEEL_TRY(open_validation(cli, store, moved ? &dual.rest : left, &validation, &chooses, err));
    KEEL_TRY(keel_derive_rewards(store, &rewards, err));
    const keel_train_job job = {.store = store,
                                .split = &split,
                                .validation = chooses ? &validation : NULL,
                                .constraint = constrained ? &constraint : NULL,
                                .dual = moved ? &dual : NULL,
                                .base = base,
                                .rewards = &rewards,
                                .config = &what->config,
                                .out_dir = keel_cli_value(cli, "--out"),
                                .metrics_path = keel_cli_value(cli, "--metrics"),
                                .replace = keel_cli_has(cli, "--replace")};
    KEEL_TRY(keel_cli_open_out_file(job.metrics_path, 0, KEEL_METRICS_BEGIN, err));
    KEEL_TRY(train_or_choose(cli, &job, what, pool, err));
    KEEL_TRY(keel_artefact_result(cli, job.out_dir, "policy", split.text, err));
    return keel_record_run(cli, store, err);
}

static keel_status run(keel_cli *cli, keel_err *err) {
    wanted what = {0};
    keel_store *store = NULL;
    keel_base *base = NULL;
    keel_pool *pool = NULL;
    keel_status status;
    KEEL_TRY(resolve(cli, &what, err));
    KEEL_TRY_GOTO(keel_cli_open_store(cli, KEEL_STORE_WRITE, &store, err), done);
    KEEL_TRY_GOTO(keel_base_load(&base, keel_cli_value(cli, "--base"), err), done);
    KEEL_TRY_GOTO(keel_cli_open_pool(cli, &pool, err), done);
    status = train(cli, store, base, pool, &what, err);
done:
    keel_pool_close(pool);
    keel_base_close(base);
    keel_store_close(store);
    return status;
}

/* ---- printing ---- */

/* The checkpoints that a validation part judged. */
static void print_checkpoints(const cJSON *validation, FILE *out) {
    static const struct {
        const char *key, *head, *format;
    } columns[] = {{"step", "checkpoint", "%.0f"},
                   {"value", "value (WDR)", "%.4f"},
                   {"bound", "at least", "%.4f"},
                   {"ess", "ESS", "%.0f"},
                   {"minus_logged", "minus the log's", "%+.4f"},
                   {"minus_logged_low", "at least", "%+.4f"},
                   {"minus_base", "minus the base's", "%+.4f"},
                   {"beta", "beta", "%.3g"}};
    enum { N = sizeof columns / sizeof columns[0] };
    keel_table table = {.columns = N};
    const cJSON *row;
    for (size_t i = 0; i < N; i++) keel_table_cell(&table, "%s", columns[i].head);
    cJSON_ArrayForEach (row, cJSON_GetObjectItemCaseSensitive(validation, "checkpoints"))
        for (size_t i = 0; i < N; i++)
            keel_table_number(&table, keel_json_get(row, columns[i].key), columns[i].format);
    fputc('\n', out);
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(result, "metrics");
    const cJSON *validation = cJSON_GetObjectItemCaseSensitive(metrics, "validation");
    keel_artefact_print(result, out);
    if (keel_json_get(metrics, "choice")) keel_cli_print_choice(keel_json_get(metrics, "choice"), out);
    if (validation) print_checkpoints(validation, out);
}

static const keel_option *const options[] = {keel_learner_common_options, NULL};
static const char *algorithm(int i) {
    return keel_algorithms[i];
}
static const keel_named_options named = {"--algo", algorithm, keel_learner_options};

/* Bit i: the i-th learner takes the key. */
static unsigned takers_of(const char *key) {
    unsigned takers = 0;
    for (int i = 0; i < KEEL_N_LEARNERS; i++)
        for (const keel_option *row = keel_learner_options(i); row->key; row++)
            if (strcmp(row->key, key) == 0) takers |= 1u << i;
    return takers;
}

static void print_keys_of(unsigned takers, const keel_option *rows, FILE *out) {
    const char *before = "  ";
    for (int i = 0; i < KEEL_N_LEARNERS; i++) {
        if (!(takers >> i & 1)) continue;
        fprintf(out, "%s%s", before, keel_algorithms[i]);
        before = ", ";
    }
    int column = fprintf(out, ":\n     ") - 2;
    for (; rows->key; rows++) {
        if (takers_of(rows->key) != takers) continue;
        if (column + (int)strlen(rows->key) > 110) column = fprintf(out, "\n     ") - 1;
        column += fprintf(out, " %s", rows->key);
    }
    fputc('\n', out);
}

/* The learners, then the keys that only some of them take, by who takes them. */
static void print_learners(FILE *out) {
    keel_option rows[KEEL_MOST_NAMED_ROWS];
    fputs("\nlearners (--algo):\n", out);
    for (int i = 0; i < KEEL_N_LEARNERS; i++)
        fprintf(out, "  %s: %s\n", keel_algorithms[i], keel_learner_kind_of(i)->help);
    fputs(
        "\nkeys of --set and --config that some learners take (`keel train --algo NAME --help` explains those "
        "of one):\n",
        out);
    keel_cli_named_rows(&keel_verb_train, rows, KEEL_MOST_NAMED_ROWS);
    for (size_t i = 0; rows[i].key; i++) {
        bool first = true;
        for (size_t j = 0; j < i; j++) first = first && takers_of(rows[j].key) != takers_of(rows[i].key);
        if (first) print_keys_of(takers_of(rows[i].key), rows, out);
    }
}

_Static_assert(KEEL_N_LEARNERS <= 32, "a bit for each learner");

const keel_verb keel_verb_train = {
    .name = "train",
    .brief = "train a policy offline: conservative Q-learning and its baselines",
    .flags = flags,
    .choices = choices,
    .options = options,
    .named = &named,
    .more =
        "Decisions that have no features under the base are encoded first. The same command continues an interrupted run, to the same\n"
        "bytes. A loss that diverges stops the run with an error; the last good checkpoint is kept.\n"
        "Without the name of a learner `train` compares those of --choose by cross-validation on the split: it trains each on four\n"
        "fifths, on a base tuned anew (not one that began from a folder, such as an encoder: a note says so), and evaluates it on the\n"
        "rest, five times (once where there are more than 2,000 conversations). It keeps the one whose composite_reward has the\n"
        "highest lower bound above the log's, and trains it on the whole split. The bounds are corrected for the number compared.\n"
        "Above 0 they show an improvement; where none does, the artefact says so. An entry is the name of a learner with keys of its\n"
        "own, as cql:alpha=0.3:kl_budget=2, or base, the prior alone; --set then takes the keys that all learners have.\n"
        "With --validate the policy is the checkpoint whose value has the highest lower bound on that fold: the lower end of a\n"
        "bootstrap interval of its off-policy value (WDR), corrected for the number of checkpoints. keel.json lists every checkpoint\n"
        "that was evaluated.\n"
        "With --max-harm nothing is learned from the fold of --harm-fold, and no checkpoint is chosen by it. The harm threshold is the\n"
        "least strict one whose rate of harmful compliance there passes an exact test; it is a rate at the log's decisions. A base\n"
        "that was tuned on the whole split has seen that fold: to be strict, tune it on `rest:K/N`.\n"
        "The output: differing counts, at about 1,024 decisions that it learned from, where the policy chooses otherwise than base and\n"
        "log; beta_at_limit says that the search for beta stopped at its limit; q_outside counts where Q of the taken action lies\n"
        "outside what rewards allow; reward_coverage is the share of transitions that have each component; td, conservative and\n"
        "q_taken (Q of taken actions) are means over the last steps.\n"
        "example: keel train --store logs.db --base runs/base --algo cql --out runs/policy --set alpha=0.5\n",
    .more_tables = print_learners,
    .run = run,
    .print = print,
};
