/* In this order: who would compete for the out folder is told so; folds are cut; bases are tuned anew; all
 * contenders are trained on all rests and judged on all folds; the one kept is trained on the whole. */
#include "rl/train/choose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/options_internal.h"
#include "policies/artefact.h"
#include "policies/encode_store.h"
#include "policies/policy.h"
#include "policies/sft.h"
#include "rl/judge/evaluate_internal.h"

static const double delta = 0.05;
enum { MOST_FOLDS = 7, RESAMPLES = 200 };
static const int fold_counts[] = {5, 3, 7, 2};

/* A contender as it was judged; n 0 where nothing could be. */
typedef struct verdict {
    bool diverged;
    keel_interval earned, minus_logged, refusal, completion;
    keel_differing differing;
} verdict;

typedef struct choosing {
    const keel_choose_job *job;
    const keel_train_job *train;
    keel_pool *pool;
    const keel_split *learned; /* all but what tests harm */
    keel_split part[MOST_FOLDS], rest[MOST_FOLDS];
    size_t folds;    /* the split is cut into so many, */
    size_t n_judged; /* of which so many are judged */
    const char *folder;
    keel_base *base[MOST_FOLDS]; /* tuned on each rest; NULL: the job's */
    verdict *verdicts;           /* [job->n] */
    char identity[65];
    keel_arena arena;
} choosing;

void keel_contender_base(keel_learner_config *config) {
    config->kl_budget = 0;
    config->beta = 0;
    config->harm_threshold = 1e6;
}

/* ---- folds ---- */

static bool cut(choosing *c, int folds) {
    for (int k = 0; k < folds; ++k) {
        char text[32];
        snprintf(text, sizeof text, "%d/%d", k, folds);
        if (keel_split_cut(c->learned, text, &c->part[k], &c->rest[k], NULL) != KEEL_OK) return false;
    }
    c->folds = (size_t)folds;
    return true;
}

static keel_status cut_folds(choosing *c, keel_err *err) {
    size_t conversations;
    for (size_t i = 0; i < sizeof fold_counts / sizeof *fold_counts && !c->folds; ++i) cut(c, fold_counts[i]);
    if (!c->folds) {
        keel_fail(err, KEEL_E_INVALID, c->learned->text, "no fold can be cut off to compare policies on");
        return keel_hint(err, "train on a split with fewer folds, or name one learner with --algo");
    }
    KEEL_TRY(keel_store_count_conversations(c->train->store, c->learned, &conversations, err));
    c->n_judged = conversations <= KEEL_CHOOSE_SMALL ? c->folds : 1;
    for (size_t k = 0; k < c->n_judged; ++k) {
        keel_status status = keel_store_check_split(c->train->store, &c->part[k], err);
        if (status == KEEL_OK) status = keel_store_check_split(c->train->store, &c->rest[k], err);
        if (status == KEEL_OK) continue;
        if (status != KEEL_E_NOT_FOUND) return status;
        keel_fail(err, KEEL_E_NOT_FOUND, c->part[k].text,
                  "too few groups of conversations to compare policies on folds of %s", c->learned->text);
        return keel_hint(err, "import more logs, or name one learner with --algo");
    }
    return KEEL_OK;
}

/* ---- identity ---- */

static bool list_contenders(const keel_choose_job *job, cJSON *list) {
    bool whole = list != NULL;
    for (size_t i = 0; whole && i < job->n; ++i) {
        const keel_contender *one = &job->contenders[i];
        cJSON *row = cJSON_CreateObject();
        whole =
            keel_json_add(list, NULL, row) && cJSON_AddStringToObject(row, "name", one->name) &&
            keel_json_add(row, "config",
                          keel_options_to_json(keel_learner_options(one->config.algorithm), &one->config));
    }
    return whole;
}

/* Over all that the choice depends on. */
static keel_status identify(choosing *c, keel_err *err) {
    const keel_base *base = c->train->base;
    char store_hash[65];
    KEEL_TRY(keel_store_content_hash(c->train->store, c->train->split, store_hash, err));
    cJSON *json = cJSON_CreateObject();
    bool whole =
        json && cJSON_AddStringToObject(json, "store", store_hash) &&
        cJSON_AddStringToObject(json, "split", c->learned->text) &&
        cJSON_AddStringToObject(json, "base", base->hash) &&
        cJSON_AddNumberToObject(json, "folds", (double)c->folds) &&
        keel_json_add(json, "weight", cJSON_CreateDoubleArray(c->job->weight, KEEL_N_REWARDS)) &&
        keel_json_add(json, "rewards", keel_options_to_json(keel_reward_options, c->train->rewards)) &&
        (!c->job->tuning ||
         keel_json_add(json, "tuning", keel_options_to_json(base->kind->options, c->job->tuning))) &&
        list_contenders(c->job, cJSON_AddArrayToObject(json, "contenders"));
    keel_status status =
        whole ? keel_json_hash(json, c->identity, err) : keel_nomem(err, "choosing a policy");
    cJSON_Delete(json);
    return status;
}

/* Nothing is compared for a folder that may not be written in the end. */
static keel_status check_out(const choosing *c, keel_err *err) {
    const char *dir = c->train->out_dir, *theirs = NULL;
    cJSON *manifest = NULL;
    char hash[65];
    KEEL_TRY(keel_artefact_check_out(dir, "policy", NULL, NULL, c->train->replace, err));
    if (c->train->replace || !keel_file_exists(dir)) return KEEL_OK;
    if (keel_artefact_open(dir, "policy", &manifest, hash, NULL) == KEEL_OK)
        keel_json_string(keel_json_get(manifest, "lineage"), "choice", false, &theirs, dir, NULL);
    const bool same = theirs && strcmp(theirs, c->identity) == 0;
    cJSON_Delete(manifest);
    if (same) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, dir, "holds a policy that was not chosen among these policies and logs");
    return keel_hint(err, "choose another --out, or give --replace");
}

/* ---- training ---- */

static const char *place(choosing *c, const char *format, size_t i, size_t k) {
    char name[64];
    snprintf(name, sizeof name, format, i, k);
    return keel_path_join(&c->arena, c->folder, name);
}

static keel_status open_folder(choosing *c, keel_err *err) {
    c->folder = keel_path_beside(&c->arena, c->train->out_dir, "choice");
    return c->folder ? keel_folder_make(c->folder, err) : keel_nomem(err, "choosing a policy");
}

/* What was killed while it was cleared away is no artefact any more. */
static keel_status clear_damaged(const char *dir, const char *kind, keel_err *err) {
    cJSON *manifest = NULL;
    char hash[65];
    if (!keel_file_is_folder(dir) || keel_artefact_open(dir, kind, &manifest, hash, NULL) == KEEL_OK) {
        cJSON_Delete(manifest);
        return KEEL_OK;
    }
    return keel_folder_remove(dir, err);
}

static keel_status tune_bases(choosing *c, keel_err *err) {
    const keel_base *whole = c->train->base;
    for (size_t k = 0; c->job->tuning && k < c->n_judged; ++k) {
        const char *dir = place(c, "base-%zu", k, 0);
        if (!dir) return keel_nomem(err, "choosing a policy");
        KEEL_TRY(clear_damaged(dir, "base", err));
        const keel_sft_extras extras = {.fixed = whole->fixed, .n_fixed = whole->n_fixed};
        KEEL_TRY(keel_sft_with(c->train->store, &c->rest[k], whole->kind->type, c->job->tuning, &extras, dir,
                               true, NULL, c->pool, err));
        KEEL_TRY(keel_base_load(&c->base[k], dir, err));
    }
    return KEEL_OK;
}

static const keel_base *base_of(const choosing *c, size_t k) {
    return c->base[k] ? c->base[k] : c->train->base;
}

static const char *policy_of(choosing *c, size_t i, size_t k) {
    return place(c, "%zu-%zu", i, k);
}

static keel_status train_one(choosing *c, size_t i, size_t k, keel_err *err) {
    const keel_train_job job = {.store = c->train->store,
                                .split = &c->rest[k],
                                .base = base_of(c, k),
                                .rewards = c->train->rewards,
                                .config = &c->job->contenders[i].config,
                                .out_dir = policy_of(c, i, k),
                                .replace = true,
                                .once = true};
    if (!job.out_dir) return keel_nomem(err, "choosing a policy");
    KEEL_TRY(clear_damaged(job.out_dir, "policy", err));
    return keel_train(&job, c->pool, err);
}

static keel_status train_all(choosing *c, keel_err *err) {
    for (size_t i = 0; i < c->job->n; ++i) {
        const keel_contender *one = &c->job->contenders[i];
        for (size_t k = 0; !one->base && !c->verdicts[i].diverged && k < c->n_judged; ++k) {
            keel_log(KEEL_LOG_INFO, "comparing %s, fold %zu of %zu", one->name, k + 1, c->n_judged);
            keel_status status = train_one(c, i, k, err);
            c->verdicts[i].diverged = status == KEEL_E_DIVERGED;
            if (status != KEEL_OK && status != KEEL_E_DIVERGED) return status;
        }
        if (c->verdicts[i].diverged)
            keel_log(KEEL_LOG_INFO, "note: %s diverges and is not kept: %s", one->name, err->message);
    }
    return KEEL_OK;
}

/* ---- judging ---- */

static keel_status evaluate(choosing *c, const keel_evaluate_item *items, verdict *out, keel_err *err) {
    keel_evaluate_config how = {.resamples = RESAMPLES,
                                .seed = (uint64_t)c->job->contenders[0].config.seed,
                                .gamma = 1,
                                .model = KEEL_MODEL_NONE,
                                .confidence = 1 - 2 * delta / (double)c->job->n,
                                .reward = c->train->rewards};
    keel_evaluation_set set;
    memcpy(how.weight, c->job->weight, sizeof how.weight);
    KEEL_TRY(keel_evaluate(c->train->store, items, c->n_judged, &how, c->pool, &set, err));
    *out = (verdict){.earned = set.policy.metric[KEEL_METRIC_COMPOSITE],
                     .minus_logged = set.minus[KEEL_MINUS_LOGGED][KEEL_METRIC_COMPOSITE],
                     .refusal = set.policy.metric[KEEL_METRIC_REFUSAL],
                     .completion = set.policy.metric[KEEL_METRIC_COMPLETION],
                     .differing = set.differing};
    keel_evaluation_set_free(&set);
    return KEEL_OK;
}

static keel_status judge_one(choosing *c, size_t i, keel_err *err) {
    keel_policy *policy[MOST_FOLDS] = {0};
    keel_evaluate_item items[MOST_FOLDS];
    keel_status status = KEEL_OK;
    for (size_t k = 0; status == KEEL_OK && k < c->n_judged; ++k) {
        const char *dir = policy_of(c, i, k);
        if (!dir) status = keel_nomem(err, "choosing a policy");
        if (status == KEEL_OK && !c->job->contenders[i].base) status = keel_policy_load(&policy[k], dir, err);
        items[k] = (keel_evaluate_item){.policy = policy[k], .base = base_of(c, k), .split = c->part[k]};
    }
    if (status == KEEL_OK) status = evaluate(c, items, &c->verdicts[i], err);
    for (size_t k = 0; k < c->n_judged; ++k) keel_policy_close(policy[k]);
    return status;
}

static keel_status judge_all(choosing *c, keel_err *err) {
    for (size_t i = 0; i < c->job->n; ++i)
        if (!c->verdicts[i].diverged) KEEL_TRY(judge_one(c, i, err));
    return KEEL_OK;
}

static bool is_known(const verdict *one) {
    return one->minus_logged.n > 0 && isfinite(one->minus_logged.low);
}

/* The highest bound, the earlier of equals; the first where none is known. */
static size_t best_of(const choosing *c) {
    size_t best = c->job->n;
    for (size_t i = 0; i < c->job->n; ++i)
        if (is_known(&c->verdicts[i]) &&
            (best == c->job->n || c->verdicts[i].minus_logged.low > c->verdicts[best].minus_logged.low))
            best = i;
    for (size_t i = 0; best == c->job->n && i < c->job->n; ++i)
        if (!c->verdicts[i].diverged) best = i;
    return best;
}

/* ---- what is recorded ---- */

static bool add_interval(cJSON *to, const char *key, const keel_interval *interval) {
    cJSON *json = cJSON_CreateObject();
    const double value[] = {interval->value, interval->low, interval->high};
    static const char *const keys[] = {"value", "low", "high"};
    bool whole = json != NULL;
    for (size_t i = 0; whole && i < 3; ++i)
        whole =
            keel_json_add(json, keys[i], interval->n > 0 ? cJSON_CreateNumber(value[i]) : cJSON_CreateNull());
    if (whole) return keel_json_add(to, key, json);
    cJSON_Delete(json);
    return false;
}

static bool add_verdict(cJSON *list, const keel_contender *contender, const verdict *one) {
    cJSON *row = cJSON_CreateObject();
    return keel_json_add(list, NULL, row) && cJSON_AddStringToObject(row, "policy", contender->name) &&
           (!one->diverged || cJSON_AddTrueToObject(row, "diverged")) &&
           add_interval(row, "composite_reward", &one->earned) &&
           add_interval(row, "minus_logged", &one->minus_logged) &&
           add_interval(row, "refusal_rate", &one->refusal) &&
           add_interval(row, "completion_rate", &one->completion) &&
           cJSON_AddNumberToObject(row, "decisions", (double)one->differing.decisions) &&
           cJSON_AddNumberToObject(row, "from_base", (double)one->differing.from_base) &&
           cJSON_AddNumberToObject(row, "told", (double)one->differing.told) &&
           cJSON_AddNumberToObject(row, "from_log", (double)one->differing.from_log);
}

static bool is_shown(const choosing *c, const verdict *one) {
    return !c->job->flattered && is_known(one) && one->minus_logged.low > 0;
}

static const char *verdict_text(const choosing *c, const verdict *one) {
    if (c->job->flattered) return "no verdict: the base knows these conversations by heart, which flatters";
    return is_shown(c, one) ? "better than the log" : "no improvement shown";
}

/* {"kept", "verdict", "improvement_shown", "folds", "judged_folds", "base_tuned_anew", "confidence",
 * "policies":
 * [{"policy", "composite_reward", "minus_logged", "refusal_rate", "completion_rate", "decisions",
 * "from_base", "told", "from_log"}]} */
static cJSON *choice_json(const choosing *c, size_t best) {
    const verdict *kept = &c->verdicts[best];
    cJSON *json = cJSON_CreateObject(), *list = NULL;
    bool whole = json && cJSON_AddStringToObject(json, "kept", c->job->contenders[best].name) &&
                 cJSON_AddStringToObject(json, "verdict", verdict_text(c, kept)) &&
                 cJSON_AddBoolToObject(json, "improvement_shown", is_shown(c, kept)) &&
                 cJSON_AddStringToObject(json, "judged_on", c->learned->text) &&
                 cJSON_AddNumberToObject(json, "folds", (double)c->folds) &&
                 cJSON_AddNumberToObject(json, "judged_folds", (double)c->n_judged) &&
                 cJSON_AddBoolToObject(json, "base_tuned_anew", c->job->tuning != NULL) &&
                 cJSON_AddNumberToObject(json, "confidence", 1 - delta / (double)c->job->n) &&
                 (list = cJSON_AddArrayToObject(json, "policies")) != NULL;
    for (size_t i = 0; whole && i < c->job->n; ++i)
        whole = add_verdict(list, &c->job->contenders[i], &c->verdicts[i]);
    if (whole) return json;
    cJSON_Delete(json);
    return NULL;
}

static void tell(const choosing *c, size_t best) {
    const verdict *one = &c->verdicts[best];
    const char *name = c->job->contenders[best].name;
    if (c->job->flattered)
        keel_log(KEEL_LOG_INFO, "kept: %s; %s", name, verdict_text(c, one));
    else if (!is_known(one))
        keel_log(KEEL_LOG_INFO, "kept: %s; no improvement shown: nothing could be evaluated", name);
    else
        keel_log(KEEL_LOG_INFO, "kept: %s; %s: composite_reward minus the log's is at least %+.4f (%+.4f)",
                 name, verdict_text(c, one), one->minus_logged.low, one->minus_logged.value);
}

/* ---- the whole ---- */

static keel_status train_kept(choosing *c, keel_err *err) {
    const size_t best = best_of(c);
    keel_train_job job = *c->train;
    keel_buf text = {0};
    if (best == c->job->n)
        return keel_fail(err, KEEL_E_DIVERGED, c->train->out_dir, "every policy of the list diverges");
    tell(c, best);
    cJSON *json = choice_json(c, best);
    keel_status status = keel_json_print(json, false, &text, err);
    cJSON_Delete(json);
    const keel_train_choice choice = {c->identity, text.data};
    job.config = &c->job->contenders[best].config;
    job.choice = &choice;
    if (status == KEEL_OK) status = keel_train(&job, c->pool, err);
    keel_buf_free(&text);
    return status;
}

static keel_status drop_features(choosing *c, keel_err *err) {
    for (size_t k = 0; k < c->n_judged; ++k)
        if (c->base[k]) KEEL_TRY(keel_store_drop_features(c->train->store, c->base[k]->hash, err));
    return KEEL_OK;
}

static keel_status compare(choosing *c, keel_err *err) {
    KEEL_TRY(cut_folds(c, err));
    KEEL_TRY(identify(c, err));
    KEEL_TRY(check_out(c, err));
    KEEL_TRY(open_folder(c, err));
    KEEL_TRY(keel_encode_store(c->train->store, c->train->split, c->train->base, c->pool, NULL, err));
    KEEL_TRY(tune_bases(c, err));
    KEEL_TRY(train_all(c, err));
    return judge_all(c, err);
}

keel_status keel_choose(const keel_choose_job *job, keel_pool *pool, keel_err *err) {
    const keel_train_job *train = job->train;
    keel_split all;
    KEEL_TRY(keel_split_parse("all", &all, err));
    choosing c = {.job = job,
                  .train = train,
                  .pool = pool,
                  .learned = train->constraint ? &train->constraint->rest
                             : train->split    ? train->split
                                               : &all};
    c.verdicts = keel_arena_calloc(&c.arena, job->n, sizeof *c.verdicts);
    keel_status status = c.verdicts ? compare(&c, err) : keel_nomem(err, "choosing a policy");
    if (status == KEEL_OK) status = train_kept(&c, err);
    if (status == KEEL_OK) status = drop_features(&c, err);
    if (status == KEEL_OK) status = keel_folder_remove(c.folder, err);
    if (status == KEEL_E_INTERRUPTED) {
        keel_fail(err, KEEL_E_INTERRUPTED, train->out_dir, "stopped while policies were compared");
        keel_hint(err, "run the same command again to go on from there");
    }
    for (size_t k = 0; k < MOST_FOLDS; ++k) keel_base_close(c.base[k]);
    keel_arena_free(&c.arena);
    return status;
}
