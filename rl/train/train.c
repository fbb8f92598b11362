#include "rl/train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/options_internal.h"
#include "core/progress.h"
#include "policies/artefact.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/train/checkpoint.h"
#include "rl/train/export.h"

typedef struct training {
    keel_store *store;
    const keel_split *split, *learned; /* the whole, and all but the validation part */
    const keel_validation *validation; /* or NULL, as is the next */
    const keel_constraint *constraint;
    const keel_dual *dual;
    const keel_base *base;
    const keel_reward_config *rewards;
    const keel_train_choice *choice; /* or NULL */
    keel_pool *pool;
    const char *out_dir, *checkpoint; /* paths */
    keel_lock lock;                   /* of the checkpoint, and so of the out folder */
    bool once, done;                  /* one of many; the policy is there already */
    bool half_done;                   /* the step at hand has moved the learner, and not yet the multiplier */
    char identity[65];
    cJSON *lineage;
    keel_reward rule[1 + KEEL_RISK_DANGEROUS]
                    [1 + KEEL_N_OUTCOMES]; /* what outcomes earn, whoever tries them */
    keel_acts acts;
    keel_sampler *sampler;
    keel_learner learner;
    keel_metrics *metrics;
    keel_loss_window window; /* since the last line of metrics, or the last full one if none is open */
    keel_choosing choosing;  /* with a validation part */
    double q_bound;          /* |Q|, or logits, of logged actions beyond it is divergence */
    keel_arena arena;
} training;

/* ---- setting up ---- */

/* All that the result depends on, beside the configuration. */
static bool fill_lineage(cJSON *lineage, const training *t, const keel_learner_config *config,
                         const char *store_hash) {
    const keel_validation *validation = t->validation;
    cJSON *rewards = keel_options_to_json(keel_reward_options, t->rewards);
    char hash[65] = "";
    bool hashed = keel_json_hash(rewards, hash, NULL) == KEEL_OK;
    return keel_json_add(lineage, "rewards", rewards) && hashed &&
           cJSON_AddStringToObject(lineage, "rewards_sha256", hash) &&
           cJSON_AddStringToObject(lineage, "store", store_hash) &&
           cJSON_AddStringToObject(lineage, "split", t->split ? t->split->text : "all") &&
           cJSON_AddStringToObject(lineage, "base", t->base->hash) &&
           cJSON_AddNumberToObject(lineage, "seed", (double)config->seed) &&
           (!t->choice || cJSON_AddStringToObject(lineage, "choice", t->choice->identity)) &&
           (!validation || (cJSON_AddStringToObject(lineage, "validation", validation->part.text) &&
                            cJSON_AddNumberToObject(lineage, "checkpoints", (double)validation->points))) &&
           (!t->dual ||
            (cJSON_AddStringToObject(lineage, "multiplier_moved_by", t->dual->part.text) &&
             (!t->dual->partial || cJSON_AddStringToObject(lineage, "moved_by_harm", "partial")))) &&
           (!t->constraint ||
            (cJSON_AddStringToObject(lineage, "harm_tested_on", t->constraint->part.text) &&
             cJSON_AddNumberToObject(lineage, "max_harm", t->constraint->max_harm) &&
             (!t->constraint->partial || cJSON_AddStringToObject(lineage, "harm_counts", "partial")) &&
             cJSON_AddNumberToObject(lineage, "confidence", t->constraint->confidence)));
}

/* A checkpoint of anything else is not gone on from, and an artefact of anything else not written over. */
static keel_status identify(training *t, const keel_learner_config *config, bool replace, keel_err *err) {
    char store_hash[65];
    KEEL_TRY(keel_artefact_check_out(t->out_dir, "policy", NULL, NULL, replace, err));
    KEEL_TRY(keel_store_content_hash(t->store, t->split, store_hash, err));
    cJSON *json = keel_options_to_json(keel_learner_options(config->algorithm), config);
    t->lineage = cJSON_CreateObject();
    keel_status status = json && t->lineage && fill_lineage(t->lineage, t, config, store_hash)
                             ? keel_artefact_identify(t->lineage, json, t->identity, err)
                             : keel_nomem(err, "training");
    if (config->steps == 0) cJSON_DeleteItemFromObjectCaseSensitive(json, "steps"); /* not known yet */
    if (config->dropout < 0) cJSON_DeleteItemFromObjectCaseSensitive(json, "dropout");
    if (status == KEEL_OK)
        status = keel_artefact_check_out(t->out_dir, "policy", t->lineage, json, replace, err);
    cJSON_Delete(json);
    return status;
}

static void list_rules(training *t) {
    for (int risk = 0; risk <= KEEL_RISK_DANGEROUS; ++risk)
        for (int outcome = 0; outcome <= KEEL_N_OUTCOMES; ++outcome)
            t->rule[risk][outcome] = keel_reward_by_rule(t->rewards, (keel_risk)risk, (keel_outcome)outcome);
}

/* Half of what may still be taken stays for the learner and for what each draw reads. */
static keel_status open_sampler(training *t, const keel_learner_config *config, keel_err *err) {
    size_t half = keel_memory_left() / 2;
    list_rules(t);
    keel_sampler_config wanted = {.base_hash = t->base->hash,
                                  .space = t->base->space,
                                  .acts = t->base->acts,
                                  .n_acts = t->base->n_acts,
                                  .state_dim = t->base->state_dim,
                                  .candidate_dim = t->base->candidate_dim,
                                  .n_fixed = t->base->n_fixed,
                                  .fixed = t->base->fixed,
                                  .batch = (size_t)config->batch,
                                  .cache_bytes = half < KEEL_SAMPLER_CACHE ? half : KEEL_SAMPLER_CACHE,
                                  .seed = (uint64_t)config->seed,
                                  .n_step = (size_t)config->n_step,
                                  .gamma = config->gamma,
                                  .keep_top = config->keep_top,
                                  .safe_only = config->safe_only,
                                  .others = {.drop = config->rival_drop,
                                             .plant = config->rival_plant,
                                             .alternatives = (size_t)config->alternatives,
                                             .stands_for = config->stands_for},
                                  .rule = config->rule_weight > 0 ? t->rule[0] : NULL,
                                  .declines = t->acts.declines};
    memcpy(wanted.weight, config->weight, sizeof wanted.weight);
    KEEL_TRY(keel_sampler_open(&t->sampler, t->store, t->learned, &wanted, err));
    static const char *const why[] = {[KEEL_SPACE_CANDIDATES] = "the base did not encode them",
                                      [KEEL_SPACE_ACTS] = "their act is none of the base's",
                                      [KEEL_SPACE_OUTCOMES] = "nobody judged the response (keel label)"};
    const keel_sampler_summary *about = keel_sampler_about(t->sampler);
    if (about->left_out)
        keel_log(KEEL_LOG_INFO, "note: %zu of %zu transitions are left out: %s", about->left_out,
                 about->left_out + about->transitions, why[t->base->space]);
    return KEEL_OK;
}

/* Where the log holds no harm nothing says what it is: there is no critic of its cost, and no threshold. */
static bool learns_cost(const training *t, const keel_learner_config *config) {
    const keel_sampler_summary *about = keel_sampler_about(t->sampler);
    const bool could = keel_learner_kind_of(config->algorithm)->cost && config->vector_heads;
    const bool known = about->coverage[KEEL_SAFETY] > 0 && about->reward_low[KEEL_SAFETY] < 0;
    if (could && about->coverage[KEEL_SAFETY] > 0 && !known)
        keel_log(KEEL_LOG_INFO,
                 "note: no response of this log was harmful: what harm is was not learned, and the "
                 "policy masks nothing as harm");
    return could && known && config->quantiles == 1;
}

static keel_status open_learner(training *t, const keel_learner_config *config, keel_pool *pool,
                                keel_err *err) {
    keel_qnet_shape shape = {.space = t->base->space,
                             .state_dim = t->base->state_dim,
                             .candidate_dim = t->base->candidate_dim,
                             .n_acts = t->base->n_acts,
                             .heads = config->vector_heads ? KEEL_N_REWARDS : 1,
                             .critics = (size_t)config->critics,
                             .hidden = config->hidden,
                             .cost = learns_cost(t, config)};
    return keel_learner_open(&t->learner, config, &shape, keel_sampler_about(t->sampler)->coverage, pool,
                             err);
}

static keel_choosing *choosing_of(training *t) {
    return t->validation ? &t->choosing : NULL;
}

static keel_status open_choosing(training *t, keel_err *err) {
    if (!t->validation) return KEEL_OK;
    t->choosing.trials.best = -1;
    t->choosing.best = keel_arena_calloc(&t->arena, t->learner.params.size, sizeof(float));
    return t->choosing.best ? KEEL_OK
                            : keel_fail(err, KEEL_E_NOMEM, "training", "no memory for the best checkpoint");
}

enum { LARGEST_LOGIT = 100 }; /* times divergence_margin */

/* No return can exceed the largest reward times the discounted horizon. The network's Q_w starts near 0 and
 * unseen actions are not bounded below by the conservative term, so only logged actions are watched, on both
 * sides. Cloning has logits instead, and no log is worth a larger one. */
static double value_bound(const training *t) {
    const keel_learner_config *config = &t->learner.config;
    const keel_sampler_summary *about = keel_sampler_about(t->sampler);
    double largest = 0, total = 0;
    if (!t->learner.kind->next_value) return LARGEST_LOGIT * config->divergence_margin;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        total += t->learner.weight[k];
        if (t->learner.weight[k] > 0 || (config->conditioned && t->learner.covered[k]))
            largest = fmax(largest, fmax(fabs(about->reward_low[k]), fabs(about->reward_high[k])));
    }
    return config->divergence_margin * total * fmax(largest, 1) / (1 - config->gamma);
}

static keel_status resume(training *t, const char *metrics_path, keel_err *err) {
    bool found = false;
    KEEL_TRY(keel_learner_resume(&t->learner, &t->window, choosing_of(t), t->identity, t->checkpoint, &found,
                                 err));
    if (found)
        keel_log(KEEL_LOG_INFO, "going on from step %llu of %lld", (unsigned long long)t->learner.step,
                 (long long)t->learner.config.steps);
    bool append = found && metrics_path && keel_file_exists(metrics_path);
    if (append) KEEL_TRY(keel_metrics_trim(metrics_path, t->learner.step, err));
    return keel_metrics_open(&t->metrics, metrics_path, append, err);
}

/* Small logs are passed over often, large ones less so. The target network needs the same number of steps
 * again for each decision that rewards are carried back over. */
static int64_t default_steps(const keel_sampler_summary *about, int64_t batch) {
    enum { PASSES = 80, LEAST_A_DECISION = 300, MOST = 10000 };
    int64_t least = (int64_t)ceil(LEAST_A_DECISION * fmax(1, about->mean_return_length));
    int64_t steps = (int64_t)about->transitions * PASSES / batch;
    steps = steps < least ? least : steps;
    return steps > MOST ? MOST : steps;
}

static double default_dropout(const keel_sampler_summary *about) {
    return about->transitions <= 1000 ? 0.3 : 0.1;
}

/* What a learner with a multiplier needs. */
static keel_status check_dual(const training *t, const keel_learner_config *config, keel_err *err) {
    const char *name = keel_algorithms[config->algorithm];
    if (!keel_learner_kind_of(config->algorithm)->dual_step) return KEEL_OK;
    if (!t->dual)
        return keel_fail(err, KEEL_E_INVALID, name,
                         "its multiplier is moved by a fold held out, and there is none");
    if (t->learner.net.shape.cost) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, name,
              "there is no critic of the cost of harm, and so nothing to constrain");
    return keel_hint(err,
                     "use it with vector_heads and without quantiles, on a log that holds harmful answers");
}

static keel_status set_up(training *t, const keel_train_job *job, keel_err *err) {
    const keel_learner_config *config = job->config;
    KEEL_TRY(keel_train_check(config, err));
    t->checkpoint = keel_checkpoint_path(&t->arena, t->out_dir);
    if (!t->checkpoint) return keel_fail(err, KEEL_E_NOMEM, "training", "no memory for a path");
    KEEL_TRY(identify(t, config, job->replace, err));
    t->done = t->once && keel_artefact_is(t->out_dir, "policy", t->identity);
    if (t->done) return KEEL_OK;
    /* Checkpoint and artefact are this process's alone; and better no right to write there now than at the
     * first checkpoint. */
    KEEL_TRY(keel_lock_take(&t->lock, t->checkpoint, err));
    KEEL_TRY(keel_encode_store(t->store, t->split, t->base, t->pool, NULL, err));
    KEEL_TRY(keel_acts_learn(t->store, t->learned, t->base, &t->arena, &t->acts, err));
    KEEL_TRY(open_sampler(t, config, err));
    keel_learner_config resolved = *config;
    if (resolved.steps == 0) resolved.steps = default_steps(keel_sampler_about(t->sampler), config->batch);
    if (resolved.dropout < 0) resolved.dropout = default_dropout(keel_sampler_about(t->sampler));
    KEEL_TRY(open_learner(t, &resolved, t->pool, err));
    KEEL_TRY(check_dual(t, &resolved, err));
    KEEL_TRY(open_choosing(t, err));
    t->q_bound = value_bound(t);
    return resume(t, job->metrics_path, err);
}

/* ---- choosing ---- */

static keel_export what_there_is(const training *t) {
    return (keel_export){.store = t->store,
                         .split = t->split,
                         .learned = t->learned,
                         .base = t->base,
                         .acts = &t->acts,
                         .learner = &t->learner,
                         .sampler = t->sampler,
                         .lineage = t->lineage,
                         .window = &t->window,
                         .validation = t->validation,
                         .trials = t->validation ? &t->choosing.trials : NULL,
                         .constraint = t->constraint,
                         .rewards = t->rewards,
                         .choice = t->choice,
                         .quiet = t->once};
}

static bool is_trial_due(const training *t) {
    size_t judged = (size_t)t->choosing.trials.count;
    if (!t->validation || judged == t->validation->points) return false;
    return t->learner.step == keel_validation_step(t->validation, judged, (uint64_t)t->learner.config.steps);
}

static keel_status judge(training *t, keel_validation_trial *trial, keel_err *err) {
    const keel_export with = what_there_is(t);
    keel_policy policy;
    keel_status status = keel_export_make(&with, &policy, err);
    if (status == KEEL_OK)
        status = keel_validation_judge(t->validation, t->store, t->base, &policy, &t->learner.config,
                                       t->rewards, t->pool, trial, err);
    keel_export_free(&policy);
    trial->step = (double)t->learner.step;
    return status;
}

/* Saved at once: judging takes long. */
static keel_status run_trial(training *t, keel_err *err) {
    keel_validation_trial trial = {0};
    KEEL_TRY(judge(t, &trial, err));
    bool known = trial.judged > 0;
    const char *const names[] = {"validation_value", "validation_bound", "validation_ess"};
    const double values[] = {known ? trial.value : NAN, known ? trial.bound : NAN, trial.ess};
    if (keel_validation_add(&t->choosing.trials, &trial))
        memcpy(t->choosing.best, t->learner.params.data, t->learner.params.size * sizeof(float));
    KEEL_TRY(keel_metrics_write(t->metrics, t->learner.step, names, values, 3, err));
    return keel_learner_save(&t->learner, &t->window, &t->choosing, t->identity, t->checkpoint, err);
}

static void choose(training *t) {
    if (!t->validation) return;
    keel_validation_tell(&t->choosing.trials, t->validation);
    if (t->choosing.trials.best >= 0)
        memcpy(t->learner.params.data, t->choosing.best, t->learner.params.size * sizeof(float));
}

/* ---- the multiplier of a constraint ---- */

/* The harm of the policy of this moment, beta solved, without its threshold. */
static keel_status move_multiplier(training *t, keel_err *err) {
    const keel_export with = what_there_is(t);
    const char *const names[] = {"held_out_harm", "multiplier"};
    double values[2] = {0};
    keel_policy policy;
    if (!t->learner.kind->dual_step || !t->learner.kind->dual_due(&t->learner)) return KEEL_OK;
    t->half_done = true;
    keel_status status = keel_export_make(&with, &policy, err);
    policy.harm_threshold = INFINITY;
    if (status == KEEL_OK)
        status = keel_constrain_harm(&t->dual->part, t->store, t->base, t->rewards, t->dual->partial, &policy,
                                     &values[0], err);
    keel_export_free(&policy);
    if (status != KEEL_OK) return status;
    t->learner.kind->dual_step(&t->learner, values[0]);
    t->half_done = false;
    values[1] = t->learner.kind->cost_weight(&t->learner);
    return keel_metrics_write(t->metrics, t->learner.step, names, values, 2, err);
}

/* ---- the loop ---- */

static void add_to_window(training *t, const keel_loss_parts *parts) {
    keel_loss_parts *sum = &t->window.sum;
    if ((uint64_t)t->window.steps >= (uint64_t)t->learner.config.log_every) t->window = (keel_loss_window){0};
    sum->total += parts->total;
    sum->td += parts->td;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) sum->td_head[k] += parts->td_head[k];
    sum->conservative += parts->conservative;
    sum->td_cost += parts->td_cost;
    sum->conservative_cost += parts->conservative_cost;
    sum->q_taken += parts->q_taken;
    sum->q_others += parts->q_others;
    sum->gradient_norm += parts->gradient_norm;
    for (size_t i = 0; i < KEEL_LEARNER_EXTRAS; ++i) sum->own[i] += parts->own[i];
    bool first = t->window.steps == 0;
    sum->q_low = first ? parts->q_low : fmin(sum->q_low, parts->q_low);
    sum->q_high = first ? parts->q_high : fmax(sum->q_high, parts->q_high);
    t->window.steps++;
}

static keel_status write_line(training *t, keel_err *err) {
    const keel_learner *learner = &t->learner;
    const keel_loss_parts *sum = &t->window.sum;
    double n = t->window.steps;
    bool heads = learner->net.shape.heads > 1, cost = learner->net.shape.cost;
    const struct {
        const char *name;
        double value;
        bool known;
    } all[] = {
        {"loss", sum->total / n, true},
        {"td", sum->td / n, true},
        {"conservative", sum->conservative / n, true},
        {"q_taken", sum->q_taken / n, true},
        {"q_others", sum->q_others / n, true},
        {"gradient_norm", sum->gradient_norm / n, true},
        {"q_low", sum->q_low, true},
        {"q_high", sum->q_high, true},
#define TD(id, name, weight, low, high) {"td_" #name, sum->td_head[KEEL_##id] / n, heads},
        KEEL_REWARDS(TD)
#undef TD
            {"td_cost", sum->td_cost / n, cost},
        {"conservative_cost", sum->conservative_cost / n, cost},
    };
    enum { MOST = sizeof all / sizeof *all + KEEL_LEARNER_EXTRAS };
    const char *names[MOST];
    double values[MOST];
    size_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        if (!all[i].known) continue;
        names[count] = all[i].name;
        values[count++] = all[i].value;
    }
    for (size_t i = 0; i < KEEL_LEARNER_EXTRAS; ++i) {
        if (!learner->extras.part[i]) continue;
        names[count] = learner->extras.part[i];
        values[count++] = sum->own[i] / n;
    }
    return keel_metrics_write(t->metrics, learner->step, names, values, count, err);
}

static keel_status check_divergence(const training *t, const keel_loss_parts *parts, keel_err *err) {
    const keel_learner *learner = &t->learner;
    bool finite = isfinite(parts->total) && isfinite(parts->gradient_norm);
    bool bounded = fabs(parts->q_low) <= t->q_bound && fabs(parts->q_high) <= t->q_bound;
    char where[64];
    snprintf(where, sizeof where, "step %llu", (unsigned long long)learner->step);
    if (!finite)
        keel_fail(err, KEEL_E_DIVERGED, where, "the loss is %g with gradient norm %g", parts->total,
                  parts->gradient_norm);
    else if (!bounded)
        keel_fail(err, KEEL_E_DIVERGED, where, "%s of logged actions is in [%g, %g], expected within +-%g",
                  learner->kind->next_value ? "Q" : "the logit", parts->q_low, parts->q_high, t->q_bound);
    else if (!learner->kind->guard || learner->kind->guard(learner, parts, where, err) == KEEL_OK)
        return KEEL_OK;
    return keel_hint(err, "lower learning_rate or set clip_norm%s%.150s",
                     keel_file_exists(t->checkpoint) ? "; the last good checkpoint is " : "",
                     keel_file_exists(t->checkpoint) ? t->checkpoint : "");
}

/* Half a step is not saved: it is taken again, from the checkpoint before it. */
static keel_status stop(training *t, keel_err *err) {
    if (!t->half_done)
        KEEL_TRY(keel_learner_save(&t->learner, &t->window, choosing_of(t), t->identity, t->checkpoint, err));
    keel_fail(err, KEEL_E_INTERRUPTED, t->out_dir, "training stopped %s step %llu of %lld",
              t->half_done ? "in" : "after", (unsigned long long)t->learner.step,
              (long long)t->learner.config.steps);
    return keel_hint(err, "run the same command again to go on from %s",
                     t->half_done ? "the last checkpoint" : "there");
}

static keel_status run_step(training *t, keel_err *err) {
    const keel_learner_config *config = &t->learner.config;
    keel_batch batch;
    keel_loss_parts parts;
    KEEL_TRY(keel_sampler_draw(t->sampler, t->learner.step, &batch, err));
    KEEL_TRY(keel_learner_step(&t->learner, &batch, &parts, err));
    KEEL_TRY(check_divergence(t, &parts, err));
    KEEL_TRY(move_multiplier(t, err));
    add_to_window(t, &parts);
    uint64_t step = t->learner.step;
    bool last = step == (uint64_t)config->steps;
    if (last || step % (uint64_t)config->log_every == 0) KEEL_TRY(write_line(t, err));
    if (!last && !is_trial_due(t) && step % (uint64_t)config->checkpoint_every == 0)
        KEEL_TRY(keel_learner_save(&t->learner, &t->window, choosing_of(t), t->identity, t->checkpoint, err));
    return KEEL_OK;
}

static void show_progress(const training *t, keel_progress *progress) {
    const keel_validation_trials *trials = &t->choosing.trials;
    char note[64];
    int length = snprintf(note, sizeof note, "loss %.4f", t->window.sum.total / fmax(1, t->window.steps));
    if (t->validation && trials->best >= 0)
        snprintf(note + length, sizeof note - (size_t)length, ", best bound %.4f",
                 trials->at[(size_t)trials->best].bound);
    keel_progress_step(progress, t->learner.step, note);
}

static keel_status run_steps(training *t, keel_err *err) {
    uint64_t steps = (uint64_t)t->learner.config.steps;
    keel_progress progress;
    keel_progress_start(&progress, "train", steps);
    keel_status status = KEEL_OK;
    while (status == KEEL_OK && (t->learner.step < steps || is_trial_due(t))) {
        bool stopped = keel_interrupted();
        if (!stopped) status = is_trial_due(t) ? run_trial(t, err) : run_step(t, err);
        if (stopped || status == KEEL_E_INTERRUPTED) status = stop(t, err);
        show_progress(t, &progress);
    }
    keel_progress_end(&progress, t->learner.step);
    return status;
}

static keel_status finish(training *t, keel_err *err) {
    choose(t);
    const keel_export with = what_there_is(t);
    KEEL_TRY(keel_export_policy(&with, t->out_dir, err));
    unlink(t->checkpoint); /* the artefact is there; a checkpoint left behind would do no harm */
    return KEEL_OK;
}

keel_status keel_train_check(const keel_learner_config *config, keel_err *err) {
    const keel_learner_kind *kind = keel_learner_kind_of(config->algorithm);
    KEEL_TRY(keel_learner_check(config, err));
    return kind->check_policy ? kind->check_policy(config, err) : KEEL_OK;
}

keel_status keel_train(const keel_train_job *job, keel_pool *pool, keel_err *err) {
    training t = {.store = job->store,
                  .split = job->split,
                  .learned = job->validation   ? &job->validation->rest
                             : job->dual       ? &job->dual->rest
                             : job->constraint ? &job->constraint->rest
                                               : job->split,
                  .validation = job->validation,
                  .constraint = job->constraint,
                  .dual = job->dual,
                  .base = job->base,
                  .rewards = job->rewards,
                  .choice = job->choice,
                  .once = job->once,
                  .pool = pool,
                  .out_dir = job->out_dir};
    keel_status status = set_up(&t, job, err);
    if (status == KEEL_OK && !t.done) status = run_steps(&t, err);
    if (status == KEEL_OK && !t.done) status = finish(&t, err);
    keel_status closed = keel_metrics_close(t.metrics, status == KEEL_OK ? err : NULL);
    keel_lock_release(&t.lock);
    keel_learner_close(&t.learner);
    keel_sampler_close(t.sampler);
    cJSON_Delete(t.lineage);
    keel_arena_free(&t.arena);
    return status == KEEL_OK ? closed : status;
}
