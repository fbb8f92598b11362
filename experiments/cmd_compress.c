/* keel compress: a smaller and faster base of the same kind.
 *
 *  1. Resolves the configuration: --config, --set, then flags.
 *  2. Opens the log to look at, where --store names one.
 *  3. Makes the model or base smaller, in memory, step by step, and writes it with its lineage.
 *  4. With --policy: puts the policy on it, tests its harm threshold anew, compares it with what it was on
 *     conversations held out, and writes both, or, where a bound breaks, nothing.
 */
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "datasets/store_corpus.h"
#include "experiments/cli_resources.h"
#include "experiments/compress_layers.h"
#include "experiments/compress_measure.h"
#include "experiments/compress_policy.h"
#include "experiments/compress_target.h"
#include "experiments/verbs.h"
#include "policies/artefact.h"
#include "policies/compress_base.h"

static const keel_flag flags[] = {
    {"--base", "PATH", true, false,
     "what is made smaller: a tuned base, or an encoder or decoder as it came (a folder, or a .gguf file)"},
    {"--out", "DIR", true, false, "folder of the smaller one"},
    {"--weights", "NAME", false, false, "number format of matrices, as --set weights=NAME"},
    {"--activations", "NAME", false, false, "what they are multiplied with, as --set activations=NAME"},
    {"--ratio", "NUMBER", false, false, "share of the weights that is pruned, as --set ratio=NUMBER"},
    {"--store", "FILE", false, false, "a log to look at: for scales, for what matters"},
    {"--split", "NAME", false, false, "the part of it that is looked at (default: train)"},
    {"--policy", "DIR", false, false,
     "a policy on --base: it is put on the smaller base, tested, and written beside it: DIR/base, DIR/policy of --out"},
    {"--before", "DIR", false, false,
     "what the result is set beside, and the base that --policy is on, where --base was made of it: pruned and tuned "
     "again, say (default: --base)"},
    {"--held-out", "NAME", false, false,
     "the part of it that base and policy are tested and timed on, before and after (default: test)"},
    {"--target", "WHAT=N", false, true,
     "search for settings that meet it and change the fewest decisions: latency_ms=N of one, bytes=N"},
    {"--max-loss", "X", false, false, "the most that may be lost, as --set max_loss=X"},
    {"--trials", "N", false, false, "--target: how many settings are tried (default: 12)"},
    {"--anyway", NULL, false, false, "--policy: write it also where a bound breaks"},
    {"--config", "FILE", false, false, "JSON object of configuration keys"},
    {"--set", "KEY=VALUE", false, true, "one configuration key"},
    KEEL_FLAG_REPLACE,
    KEEL_FLAG_SEED,
    KEEL_FLAG_THREADS,
    KEEL_FLAG_END,
};

static const keel_flag_choices choices[] = {
    {"--weights", keel_compress_weights}, {"--activations", keel_compress_activations}, {NULL, NULL}};

/* Flags that say the same as a key of --set. */
static const char *const keys[][2] = {{"--weights", "weights"},
                                      {"--activations", "activations"},
                                      {"--ratio", "ratio"},
                                      {"--max-loss", "max_loss"}};

/* A bound that nobody would test is an error, and no setting without effect. */
static keel_status check_use(const keel_cli *cli, const keel_compress_config *config, keel_err *err) {
    const struct {
        const char *name;
        bool given;
    } of_policy[] = {{"max_harm", config->max_harm > 0},
                     {"confidence", config->confidence > 0},
                     {"max_loss", config->max_loss < 1 &&
                                      !(keel_cli_has(cli, "--target") && keel_cli_has(cli, "--max-loss"))},
                     {"critics", config->critics != 0},
                     {"critic_ratio", config->critic_ratio > 0},
                     {"--anyway", keel_cli_has(cli, "--anyway")}};
    for (size_t i = 0; !keel_cli_has(cli, "--policy") && i < sizeof of_policy / sizeof *of_policy; i++)
        if (of_policy[i].given) return keel_fail(err, KEEL_E_USAGE, of_policy[i].name, "needs --policy");
    if (keel_cli_has(cli, "--trials") && !keel_cli_has(cli, "--target"))
        return keel_fail(err, KEEL_E_USAGE, "--trials", "needs --target, whose trials it bounds");
    if (keel_cli_has(cli, "--before") && !keel_cli_has(cli, "--store"))
        return keel_fail(err, KEEL_E_USAGE, "--before",
                         "needs --store, on whose held-out decisions both are compared");
    return KEEL_OK;
}

static keel_status configure(keel_cli *cli, keel_compress_config *config, keel_err *err) {
    KEEL_TRY(keel_options_defaults(keel_compress_options, config, err));
    KEEL_TRY(keel_cli_options(cli, keel_compress_options, config, err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = keel_cli_value(cli, keys[i][0]);
        if (value)
            KEEL_TRY(keel_cli_blame(
                keel_options_set(keel_compress_options, config, keys[i][1], value, keys[i][0], err), err));
    }
    return KEEL_OK;
}

typedef struct compressing {
    keel_compress_config config;
    keel_compress_report report;
    keel_store *store;
    keel_split split, held_out;
    keel_corpus *logged;
    keel_pool *pool;
    keel_compress_measured measured;
    cJSON *exchange; /* owned: of the policy before and after; or NULL */
    cJSON *found;    /* owned: of --target; or NULL */
} compressing;

/* What a base is fitted to does not judge it. */
static keel_status check_splits(const keel_cli *cli, const compressing *c, keel_err *err) {
    if (keel_split_disjoint(&c->split, &c->held_out)) return KEEL_OK;
    if (keel_cli_has(cli, "--held-out") || keel_cli_has(cli, "--policy") || keel_cli_has(cli, "--target")) {
        keel_fail(err, KEEL_E_USAGE, "--held-out", "%s may hold conversations of --split %s",
                  c->held_out.text, c->split.text);
        return keel_hint(err, "choose a --held-out that was not looked at");
    }
    keel_log(KEEL_LOG_INFO,
             "note: %s may hold conversations of %s, which is looked at: what is measured flatters",
             c->held_out.text, c->split.text);
    return KEEL_OK;
}

static keel_status open_log(keel_cli *cli, compressing *c, keel_err *err) {
    const char *held_out = keel_cli_value(cli, "--held-out");
    if (!keel_cli_has(cli, "--store")) {
        if (!keel_cli_has(cli, "--split") && !held_out) return KEEL_OK;
        return keel_fail(err, KEEL_E_USAGE, held_out ? "--held-out" : "--split", "needs --store");
    }
    KEEL_TRY(keel_cli_blame(keel_split_parse(held_out ? held_out : "test", &c->held_out, err), err));
    KEEL_TRY(keel_cli_open_store(cli, KEEL_STORE_WRITE, &c->store, err));
    KEEL_TRY(keel_cli_open_split(cli, c->store, "train", &c->split, err));
    KEEL_TRY(check_splits(cli, c, err));
    if (held_out) KEEL_TRY(keel_store_check_split(c->store, &c->held_out, err));
    return keel_store_corpus_open(&c->logged, c->store, &c->split, (size_t)c->config.memory_mb << 20, err);
}

static const char *before_of(const keel_cli *cli) {
    const char *before = keel_cli_value(cli, "--before");
    return before ? before : keel_cli_value(cli, "--base");
}

/* ---- with a policy ---- */

/* The whole folder is put in the place of what is there. */
static keel_status check_alone(const char *out, keel_arena *arena, keel_err *err) {
    const char **names = NULL;
    size_t n = 0;
    KEEL_TRY(keel_folder_list_deep(out, NULL, arena, &names, &n, err));
    for (size_t i = 0; i < n; i++)
        if (strncmp(names[i], "base/", 5) != 0 && strncmp(names[i], "policy/", 7) != 0) {
            keel_fail(err, KEEL_E_CONFLICT, out, "holds more than a base and its policy: %s", names[i]);
            return keel_hint(err, "choose another --out: this one would be replaced whole");
        }
    return KEEL_OK;
}

/* What is there is written over only where this very run made it, or with --replace, and only what this verb
 * writes: a base beside a policy. */
static keel_status check_out(const keel_compress_policy_job *with, const char *from, const char *out,
                             const char *base, const keel_compress_job *job, keel_arena *arena,
                             keel_err *err) {
    if (!keel_file_exists(out) && !keel_file_is_folder(out)) return KEEL_OK;
    const bool both = keel_file_is_folder(base) && keel_file_is_folder(with->place);
    if (both) KEEL_TRY(check_alone(out, arena, err));
    if (both) return keel_compress_base_check(from, base, with->replace, job, err);
    keel_fail(err, KEEL_E_CONFLICT, out, "exists and is no base with its policy that could be replaced");
    return keel_hint(err, "choose another --out, or remove it");
}

static keel_status describe(keel_cli *cli, compressing *c, const char *folder, keel_compress_policy_job *with,
                            keel_err *err) {
    *with = (keel_compress_policy_job){
        .config = &c->config,
        .store = c->store,
        .policy = keel_cli_value(cli, "--policy"),
        .base = before_of(cli),
        .held_out = c->held_out,
        .small_base = keel_path_join(&cli->arena, folder, "base"),
        .out = keel_path_join(&cli->arena, folder, "policy"),
        .place = keel_path_join(&cli->arena, keel_cli_value(cli, "--out"), "policy"),
        .replace = keel_cli_has(cli, "--replace"),
        .anyway = keel_cli_has(cli, "--anyway"),
        .looked_at = c->logged ? &c->split : NULL,
        .logged = c->logged,
        .pool = c->pool};
    if (!with->small_base || !with->out || !with->place) return keel_nomem(err, folder);
    return keel_store_check_split(c->store, &c->held_out, err);
}

/* That the policy is the base's is said before the work, not after it. */
static keel_status check_policy(const keel_compress_policy_job *with, keel_err *err) {
    keel_policy *policy = NULL;
    keel_base *base = NULL;
    KEEL_TRY(keel_cli_open_policy(with->policy, with->base, &policy, &base, err));
    keel_policy_close(policy);
    keel_base_close(base);
    return KEEL_OK;
}

static keel_status make_both(keel_cli *cli, compressing *c, const keel_compress_job *job, const char *folder,
                             keel_err *err) {
    const char *from = keel_cli_value(cli, "--base"), *out = keel_cli_value(cli, "--out"),
               *base = keel_path_join(&cli->arena, out, "base");
    keel_compress_policy_job with;
    if (!base) return keel_nomem(err, out);
    KEEL_TRY(describe(cli, c, folder, &with, err));
    KEEL_TRY(check_out(&with, from, out, base, job, &cli->arena, err));
    KEEL_TRY(check_policy(&with, err));
    KEEL_TRY(keel_compress_base(from, with.small_base, false, job, err));
    return keel_compress_policy(&with, &c->exchange, err);
}

/* Both appear, or none. */
static keel_status compress_both(keel_cli *cli, compressing *c, const keel_compress_job *job, keel_err *err) {
    keel_folder_write folder;
    if (!c->store)
        return keel_fail(err, KEEL_E_USAGE, "--policy",
                         "needs --store, on whose held-out conversations it is tested");
    KEEL_TRY(keel_folder_begin(&folder, keel_cli_value(cli, "--out"), err));
    keel_status status = make_both(cli, c, job, folder.temporary, err);
    if (status == KEEL_OK) return keel_folder_commit(&folder, err);
    keel_folder_abandon(&folder);
    return status;
}

static keel_status put_result(keel_cli *cli, const compressing *c, keel_err *err) {
    const keel_compress_report *r = &c->report;
    cJSON *result = cli->result = cJSON_CreateObject(),
          *metrics = result ? cJSON_AddObjectToObject(result, "metrics") : NULL;
    if (!metrics) return keel_nomem(err, "compress");
    cJSON_AddStringToObject(result, "base", keel_cli_value(cli, "--base"));
    cJSON_AddStringToObject(result, "out", keel_cli_value(cli, "--out"));
    cJSON_AddNumberToObject(metrics, "parameters_before", r->parameters_before);
    cJSON_AddNumberToObject(metrics, "parameters", r->parameters);
    cJSON_AddNumberToObject(metrics, "bytes_before", r->bytes_before);
    cJSON_AddNumberToObject(metrics, "bytes", r->bytes);
    cJSON_AddNumberToObject(metrics, "smaller", r->bytes > 0 ? r->bytes_before / r->bytes : 0);
    for (size_t i = 0; i < r->n_figures; i++)
        cJSON_AddNumberToObject(metrics, r->figure[i].name, r->figure[i].value);
    if (r->bytes >= r->bytes_before && r->parameters >= r->parameters_before && !c->exchange)
        keel_log(KEEL_LOG_INFO,
                 "note: the base is not smaller than it was: --weights, --ratio and student_* of `keel "
                 "compress --help` make it so");
    if (c->exchange) keel_json_add(result, "policy", cJSON_Duplicate(c->exchange, true));
    return keel_compress_layers_put(r, result, err);
}

/* "changed", the share of decisions that are not as they were, and "loss", which without a policy is the
 * same. */
static bool put_loss(cJSON *metrics, const keel_compress_measured *measured, const cJSON *policy) {
    const bool decided = measured->decisions > 0;
    if (decided && !cJSON_AddNumberToObject(metrics, "decisions_measured", (double)measured->decisions))
        return false;
    if (!policy && !decided) return true;
    return keel_json_add(metrics, "changed",
                         policy ? cJSON_Duplicate(keel_json_get(policy, "changed"), true)
                                : keel_interval_json(&measured->changed)) &&
           keel_json_add(
               metrics, "loss",
               cJSON_Duplicate(keel_json_get(policy ? policy : metrics, policy ? "loss" : "changed"), true));
}

/* What came out beside what it was, on decisions held out; without any, that is said. */
static keel_status measure(keel_cli *cli, compressing *c, keel_err *err) {
    const char *out = keel_cli_value(cli, "--out"), *policy = keel_cli_value(cli, "--policy");
    const keel_compress_places before = {.base = before_of(cli), .policy = policy};
    keel_compress_places after = {.base = out};
    if (policy) {
        after.base = keel_path_join(&cli->arena, out, "base");
        after.policy = keel_path_join(&cli->arena, out, "policy");
        if (!after.base || !after.policy) return keel_nomem(err, out);
    }
    if (!c->store || c->config.decisions == 0) return KEEL_OK;
    if (keel_store_check_split(c->store, &c->held_out, NULL) == KEEL_OK)
        return keel_compress_measure(&before, &after, c->store, &c->held_out, (size_t)c->config.decisions,
                                     &c->measured, err);
    keel_log(KEEL_LOG_INFO, "note: not measured on decisions: the store has no conversations in the split %s",
             c->held_out.text);
    return KEEL_OK;
}

static keel_status compress(keel_cli *cli, compressing *c, keel_err *err) {
    KEEL_TRY(open_log(cli, c, err));
    KEEL_TRY(keel_cli_open_pool(cli, &c->pool, err));
    const keel_compress_job job = {
        .config = &c->config, .logged = c->logged, .pool = c->pool, .report = &c->report};
    const keel_status status =
        keel_cli_has(cli, "--policy")
            ? compress_both(cli, c, &job, err)
            : keel_compress_base(keel_cli_value(cli, "--base"), keel_cli_value(cli, "--out"),
                                 keel_cli_has(cli, "--replace"), &job, err);
    if (status != KEEL_OK && !(status == KEEL_E_GATE && c->exchange)) return status;
    KEEL_TRY(put_result(cli, c, err));
    if (status == KEEL_OK) KEEL_TRY(measure(cli, c, err));
    cJSON *metrics = cJSON_GetObjectItemCaseSensitive(cli->result, "metrics");
    if (!put_loss(metrics, &c->measured, c->exchange)) return keel_nomem(err, "compress");
    KEEL_TRY(keel_cli_check_result(cli, err));
    if (c->store) KEEL_TRY(keel_record_run(cli, c->store, err));
    /* Times are not recorded: a command that was cut off and given again is recorded as one that was not. */
    if (!keel_compress_measure_put_times(&c->measured, metrics)) return keel_nomem(err, "compress");
    return status;
}

/* The settings that meet the target, out of a search. */
static keel_status aim(keel_cli *cli, compressing *c, keel_err *err) {
    const cJSON *item;
    KEEL_TRY(keel_compress_target(cli, c->config.max_loss, &c->found, err));
    cJSON_ArrayForEach (item, keel_json_get(c->found, "chosen"))
        if (cJSON_IsString(item))
            KEEL_TRY(keel_options_set(keel_compress_options, &c->config, item->string, item->valuestring,
                                      "--target", err));
    return KEEL_OK;
}

static keel_status run_all(keel_cli *cli, compressing *c, keel_err *err) {
    KEEL_TRY(configure(cli, &c->config, err));
    KEEL_TRY(check_use(cli, &c->config, err));
    keel_status status = keel_cli_has(cli, "--target") ? aim(cli, c, err) : KEEL_OK;
    if (status == KEEL_OK) status = compress(cli, c, err);
    if (c->found && !cli->result) cli->result = cJSON_CreateObject();
    if (c->found && !keel_json_add(cli->result, "target", cJSON_Duplicate(c->found, true)))
        return keel_nomem(err, "compress");
    return status;
}

static keel_status run(keel_cli *cli, keel_err *err) {
    compressing c = {0};
    const keel_status status = run_all(cli, &c, err);
    keel_pool_close(c.pool);
    keel_store_corpus_close(c.logged);
    keel_store_close(c.store);
    cJSON_Delete(c.exchange);
    cJSON_Delete(c.found);
    keel_compress_report_free(&c.report);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    const cJSON *policy = keel_json_get(result, "policy"), *found = keel_json_get(result, "target");
    if (found) keel_compress_target_print(found, out);
    if (!keel_json_get(result, "metrics")) return;
    keel_artefact_print(result, out);
    keel_compress_layers_print(result, out);
    if (policy) keel_compress_policy_print(policy, out);
}

static const keel_option *const options[] = {keel_compress_options, NULL};

const keel_verb keel_verb_compress = {
    .name = "compress",
    .brief = "make a base smaller and faster",
    .flags = flags,
    .choices = choices,
    .options = options,
    .more =
        "sft, train, eval, serve and decide take the result as any other base or model. It is another base: a policy that was trained\n"
        "on the old one does not fit it. keel.json (compress.json, for a model as it came) says what it was made from. The same\n"
        "command gives the same bytes, for any number of threads. docs/compress.md explains everything.\n"
        "With --policy the policy is put on the smaller base. If it was trained with --max-harm (or with --set max_harm), its harm\n"
        "threshold is tested anew, on half of --held-out (or on the fold that tested it, if no base knows that fold). The table then\n"
        "shows what the policy does on the other conversations, before and after, with differences paired by conversation. If no\n"
        "threshold keeps the bound, or the policy loses more than max_loss, the exit code is 3 and nothing is written.\n"
        "With --store, base and result are timed on decisions of --held-out (processor time of one decision).\n"
        "--target searches number format, ratio and whatever else the command line leaves open, by trials in OUT.search. Of the points\n"
        "that meet the target and lose at most --max-loss, it writes the one that changes the fewest decisions; without a policy the\n"
        "changed decisions are the loss.\n"
        "example: keel compress --base smollm2 --weights q8_0 --out smollm2-q8\n"
        "example: keel compress --base runs/base --weights int8 --store logs.db --set calibrate=mse --out runs/small\n"
        "example: keel compress --base runs/base --policy runs/policy --store logs.db --target latency_ms=25 --max-loss 0.006 --out runs/small\n",
    .run = run,
    .print = print,
};
