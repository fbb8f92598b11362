#include "rl/judge/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/json.h"
#include "core/progress.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/judge/answer.h"
#include "rl/judge/bootstrap.h"
#include "rl/judge/evaluate_internal.h"
#include "rl/judge/evaluate_work.h"

const char *const keel_ope_models[] = {"critic", "fqe", "none", NULL};

/* ---- reading and deciding ---- */

static keel_status read_features(evaluation *e, slot *s, keel_err *err) {
    size_t n = s->conversation->n_decisions;
    s->features = keel_arena_calloc(&s->arena, n, sizeof *s->features);
    s->found = keel_arena_calloc(&s->arena, n, sizeof *s->found);
    s->policy = keel_arena_calloc(&s->arena, n, sizeof *s->policy);
    s->base = keel_arena_calloc(&s->arena, n, sizeof *s->base);
    for (int b = 0; b < KEEL_N_BASELINES; ++b) {
        s->baseline[b] = keel_arena_calloc(&s->arena, n, sizeof *s->baseline[b]);
        if (!s->baseline[b]) return keel_nomem(err, "evaluation");
    }
    if (!s->features || !s->found || !s->policy || !s->base) return keel_nomem(err, "evaluation");
    const keel_base *base = e->item ? e->item->base : NULL;
    for (size_t d = 0; base && d < n; ++d) {
        const keel_decision *decision = &s->conversation->decisions[d];
        KEEL_TRY(
            keel_encode_store_find(base, e->store, decision, &s->arena, &s->features[d], &s->found[d], err));
    }
    return KEEL_OK;
}

/* Features that the store does not have, of all decisions that somebody answered. */
static keel_status encode_missing(const evaluation *e, slot *s, keel_err *err) {
    size_t n = s->conversation->n_decisions, *missing = keel_arena_alloc(&s->arena, n * sizeof *missing);
    keel_base_item item = {.conversation = s->conversation, .decision = missing};
    item.features = keel_arena_calloc(&s->arena, n, sizeof *item.features);
    if (!missing || !item.features) return keel_nomem(err, "evaluation");
    for (size_t d = 0; d < n; ++d)
        if (!s->found[d] && s->conversation->decisions[d].n_candidates) missing[item.n++] = d;
    if (item.n) KEEL_TRY(keel_base_encode(e->item->base, &item, 1, &s->arena, err));
    for (size_t i = 0; i < item.n; ++i) s->features[missing[i]] = item.features[i];
    return KEEL_OK;
}

static keel_status decide(const evaluation *e, slot *s, size_t d, keel_err *err) {
    const keel_evaluate_item *item = e->item;
    if (!s->conversation->decisions[d].n_candidates || !s->features[d].n_actions)
        return KEEL_OK; /* left open by the log: nobody answered */
    KEEL_TRY(keel_base_decide(&s->features[d], &s->arena, &s->base[d], err));
    for (int b = 0; b < KEEL_N_BASELINES; ++b)
        if (keel_baseline_exists((keel_baseline)b, item->base, item->policy))
            s->baseline[b][d] = keel_baseline_choose((keel_baseline)b, item->base, item->policy,
                                                     s->conversation, d, &s->features[d]);
    if (item->policy)
        return keel_policy_decide_at(item->policy, item->base, s->conversation, d, &s->features[d], &s->arena,
                                     &s->policy[d], err);
    s->policy[d] = s->base[d];
    return KEEL_OK;
}

static keel_status decide_slot(void *context, size_t index, size_t thread, keel_err *err) {
    (void)thread;
    evaluation *e = context;
    slot *s = &e->slots[index];
    KEEL_TRY(encode_missing(e, s, err));
    for (size_t d = 0; d < s->conversation->n_decisions; ++d) KEEL_TRY(decide(e, s, d, err));
    return KEEL_OK;
}

/* ---- counting one conversation ---- */

static actor *find_model(evaluation *e, const char *name) {
    for (size_t i = 0; i < e->n_models; ++i)
        if (strcmp(e->models[i].name, name) == 0) return &e->models[i];
    if (!keel_grow(&e->models, e->n_models + 1, &e->model_capacity, sizeof *e->models)) return NULL;
    char *copy = keel_arena_strdup(&e->names, name);
    if (!copy) return NULL;
    e->models[e->n_models] = (actor){.name = copy, .sums.error = e->error};
    return &e->models[e->n_models++];
}

static bool model_answered_before(const keel_decision *decision, size_t candidate) {
    for (size_t c = 0; c < candidate; ++c) {
        const keel_candidate *one = &decision->candidates[c];
        if (one->taken && one->model && strcmp(one->model, decision->candidates[candidate].model) == 0)
            return true;
    }
    return false;
}

/* Every candidate taken is an answer of the log, and of the model that wrote it. */
static keel_status count_logged(evaluation *e, const slot *s, size_t d, bool *answered, keel_err *err) {
    const keel_decision *decision = &s->conversation->decisions[d];
    *answered = false;
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        const keel_candidate *candidate = &decision->candidates[c];
        if (!candidate->taken) continue;
        *answered = true;
        keel_answer answer = keel_answer_of_candidate(&s->log, d, c);
        KEEL_TRY(keel_metric_sums_answer(&e->logged.sums, &s->log, d, e->number, &answer, err));
        if (!candidate->model) continue;
        actor *model = find_model(e, candidate->model);
        if (!model) return keel_nomem(err, "evaluation");
        KEEL_TRY(keel_metric_sums_answer(&model->sums, &s->log, d, e->number, &answer, err));
        model->agreed += !model_answered_before(decision, c);
    }
    e->logged.agreed += *answered;
    return KEEL_OK;
}

static keel_status count_choice(evaluation *e, actor *who, const slot *s, size_t d, const keel_choice *choice,
                                bool told, keel_err *err) {
    const keel_evaluate_item *item = e->item;
    keel_answer answer = keel_answer_of_action(&s->log, item->base, item->policy, d, choice->chosen);
    KEEL_TRY(keel_metric_sums_answer(&who->sums, &s->log, d, e->number, &answer, err));
    if (told) {
        keel_metric_sums_agreement(&who->sums, answer.agrees);
        who->agreed += answer.agrees;
    }
    who->sums.kl += choice->kl;
    who->sums.kl_count++;
    return KEEL_OK;
}

/* ---- preferences ---- */

static keel_status count_preferences(evaluation *e, slot *s, size_t d, keel_err *err) {
    const keel_decision *decision = &s->conversation->decisions[d];
    const keel_policy *policy = e->item->policy;
    size_t n = 0, room = decision->n_candidates;
    if (room < 2) return KEEL_OK;
    double *composite = keel_arena_alloc(&s->arena, 3 * room * sizeof *composite);
    if (!composite) return keel_nomem(err, "evaluation");
    double *by_policy = composite + room, *by_base = by_policy + room;
    const float *score = policy && !policy->imitates ? s->policy[d].q_w : s->policy[d].log_pi;
    for (size_t c = 0; c < room; ++c) {
        bool present;
        keel_reward reward = keel_answer_reward(&s->log, d, c);
        int32_t action = keel_answer_action(e->item->base, decision, c);
        composite[n] = keel_reward_composite(&reward, e->config->weight, &present);
        if (!present || action < 0) continue;
        by_policy[n] = (double)score[action];
        by_base[n++] = (double)s->base[d].log_prior[action];
    }
    keel_metric_sums_preferences(&e->policy.sums, composite, by_policy, n);
    keel_metric_sums_preferences(&e->base.sums, composite, by_base, n);
    return KEEL_OK;
}

/* ---- one conversation ---- */

/* answered: decisions where the log took an answer; told: those of them where policy and base can be compared
 * with it. */
static keel_status count_decision(evaluation *e, slot *s, size_t d, size_t *answered, size_t *told,
                                  keel_err *err) {
    bool taken;
    KEEL_TRY(count_logged(e, s, d, &taken, err));
    *answered += taken;
    if (!e->item || !s->policy[d].n) return KEEL_OK;
    const bool comparable = keel_answer_comparable(e->item->base, &s->conversation->decisions[d]);
    const size_t agreed = e->policy.agreed;
    *told += comparable;
    KEEL_TRY(count_choice(e, &e->policy, s, d, &s->policy[d], comparable, err));
    e->differing.decisions++;
    e->differing.placed += isnan(s->policy[d].distance) ? 0 : 1;
    e->differing.unfamiliar += s->policy[d].unfamiliar;
    e->differing.from_base += s->policy[d].chosen != s->base[d].chosen;
    e->differing.told += comparable;
    e->differing.from_log += comparable && e->policy.agreed == agreed;
    KEEL_TRY(count_choice(e, &e->base, s, d, &s->base[d], comparable, err));
    for (int b = 0; b < KEEL_N_BASELINES; ++b)
        if (s->baseline[b][d].n)
            KEEL_TRY(count_choice(e, &e->baseline[b], s, d, &s->baseline[b][d], comparable, err));
    return count_preferences(e, s, d, err);
}

/* Whether meta has "borderline": true. Other values of this key are ignored. */
static keel_status read_mark(slot *s, bool *borderline, keel_err *err) {
    const keel_conversation *c = s->conversation;
    const cJSON *meta;
    *borderline = false;
    if (c->risk != KEEL_RISK_BENIGN || !c->meta || !strstr(c->meta, "\"borderline\"")) return KEEL_OK;
    KEEL_TRY(keel_json_parse_in(&s->arena, c->meta, strlen(c->meta), c->external_id, &meta, err));
    *borderline = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(meta, "borderline"));
    return KEEL_OK;
}

static keel_status close_conversation(const evaluation *e, actor *who, const keel_conversation *conversation,
                                      bool borderline, size_t answered, keel_err *err) {
    const size_t agreed = who->agreed;
    who->agreed = 0;
    return keel_metric_sums_conversation(&who->sums, e->number, conversation, borderline, agreed, answered,
                                         err);
}

/* What everybody earns in the conversation, also where they would have answered otherwise than the log. */
static keel_status add_overall(evaluation *e, const slot *s, keel_err *err) {
    const keel_overall_look look = {
        .log = &s->log,
        .number = e->number,
        .unit = keel__evaluate_unit(s->conversation),
        .features = s->features,
        .choice = {s->policy, s->base, s->baseline[KEEL_ALWAYS_REFUSE], s->baseline[KEEL_NEVER_REFUSE]}};
    KEEL_TRY(keel_overall_add(e->overall, &look, err));
    for (size_t i = 0; i < e->n_models; ++i)
        KEEL_TRY(keel_overall_add_model(e->overall, &e->models[i].earned, &look, e->models[i].name, err));
    return KEEL_OK;
}

static keel_status show(const evaluation *e, slot *s, keel_err *err) {
    const keel_evaluate_seen seen = {.item = e->item,
                                     .number = e->number,
                                     .conversation = s->conversation,
                                     .log = &s->log,
                                     .policy = s->policy,
                                     .base = s->base,
                                     .scratch = &s->arena};
    return e->config->look ? e->config->look(e->config->look_context, &seen, err) : KEEL_OK;
}

static keel_status count_conversation(evaluation *e, slot *s, keel_err *err) {
    const keel_conversation *conversation = s->conversation;
    size_t answered = 0, told = 0;
    bool borderline;
    s->log = keel_reward_look(&e->reward, conversation);
    if (e->collecting) return keel__evaluate_trajectories(e, s, err);
    KEEL_TRY(read_mark(s, &borderline, err));
    for (size_t d = 0; d < conversation->n_decisions; ++d)
        KEEL_TRY(count_decision(e, s, d, &answered, &told, err));
    KEEL_TRY(close_conversation(e, &e->logged, conversation, borderline, answered, err));
    KEEL_TRY(close_conversation(e, &e->policy, conversation, borderline, told, err));
    KEEL_TRY(close_conversation(e, &e->base, conversation, borderline, told, err));
    for (int b = 0; b < KEEL_N_BASELINES; ++b)
        if (!e->item || keel_baseline_exists((keel_baseline)b, e->item->base, e->item->policy))
            KEEL_TRY(close_conversation(e, &e->baseline[b], conversation, borderline, told, err));
    for (size_t i = 0; i < e->n_models; ++i)
        KEEL_TRY(close_conversation(e, &e->models[i], conversation, borderline, answered, err));
    if (e->item) KEEL_TRY(keel__evaluate_trajectories(e, s, err));
    KEEL_TRY(add_overall(e, s, err));
    KEEL_TRY(show(e, s, err));
    e->number++;
    return KEEL_OK;
}

/* ---- a split ---- */

static keel_status read_block(evaluation *e, keel_cursor *cursor, size_t *count, keel_err *err) {
    for (*count = 0; *count < BLOCK; ++*count) {
        slot *s = &e->slots[*count];
        keel_arena_reset(&s->arena);
        KEEL_TRY(keel_cursor_next(cursor, &s->arena, &s->conversation, err));
        if (!s->conversation) break;
        KEEL_TRY(read_features(e, s, err));
    }
    return KEEL_OK;
}

static keel_status run_block(evaluation *e, size_t count, keel_err *err) {
    if (e->item) KEEL_TRY(keel_pool_run(e->pool, count, decide_slot, e, err));
    for (size_t i = 0; i < count; ++i) KEEL_TRY(count_conversation(e, &e->slots[i], err));
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, "evaluation", "stopped; nothing was changed");
    return KEEL_OK;
}

/* By name as long as each conversation has a row of its own in the bootstrap; more of them share rows anyway,
 * and would be read from all over a file that may not fit memory. */
static keel_status walk(evaluation *e, const keel_split *split, keel_err *err) {
    keel_cursor *cursor;
    keel_progress progress;
    size_t total;
    KEEL_TRY(keel_store_count_conversations(e->store, split, &total, err));
    keel_order order = total <= KEEL_BOOTSTRAP_ROWS ? KEEL_ORDER_NAMED : KEEL_ORDER_STORED;
    KEEL_TRY(keel_cursor_open(&cursor, e->store, split, order, err));
    keel_progress_start(&progress, e->collecting ? "collect" : "evaluate", total);
    bool held = false;
    keel_status status = keel_store_hold(e->store, &held, err);
    size_t count = 0, done = 0;
    do {
        if (status == KEEL_OK) status = read_block(e, cursor, &count, err);
        if (status == KEEL_OK) status = run_block(e, count, err);
        keel_progress_step(&progress, done += count, NULL);
    } while (status == KEEL_OK && count == BLOCK);
    keel_cursor_close(cursor);
    keel_store_release(e->store, held);
    return status;
}

static double confidence_of(const keel_evaluate_config *config) {
    return config->confidence > 0 ? config->confidence : 0.95;
}

static keel_status begin(evaluation *e, keel_store *store, const keel_evaluate_config *config,
                         keel_pool *pool, keel_err *err) {
    *e = (evaluation){.store = store, .config = config, .pool = pool};
    KEEL_TRY(keel_judge_error_open(&e->error, store, err));
    e->policy.sums.error = e->logged.sums.error = e->base.sums.error = e->error;
    for (int b = 0; b < KEEL_N_BASELINES; ++b) e->baseline[b].sums.error = e->error;
    KEEL_TRY(keel_overall_open(&e->overall, config->weight, err));
    if (!config->reward) return keel_options_defaults(keel_reward_options, &e->reward, err);
    e->reward = *config->reward;
    return KEEL_OK;
}

static void end(evaluation *e) {
    keel_metric_sums_free(&e->policy.sums);
    keel_metric_sums_free(&e->logged.sums);
    keel_metric_sums_free(&e->base.sums);
    for (int b = 0; b < KEEL_N_BASELINES; ++b) keel_metric_sums_free(&e->baseline[b].sums);
    for (size_t i = 0; i < e->n_models; ++i) {
        keel_metric_sums_free(&e->models[i].sums);
        keel_overall_sums_free(&e->models[i].earned);
    }
    keel_overall_close(e->overall);
    keel_free(e->models);
    keel_judge_error_close(e->error);
    keel_ope_log_free(&e->ope);
    keel_fqe_close(e->fqe);
    keel_arena_free(&e->names);
    for (size_t i = 0; i < BLOCK; ++i) keel_arena_free(&e->slots[i].arena);
}

/* ---- the whole ---- */

/* Source models are worth a row each only when there are several to tell apart. */
static keel_status close_models(evaluation *e, const keel_evaluate_config *config, keel_evaluation_set *out,
                                keel_err *err) {
    if (e->n_models < 2) return KEEL_OK;
    out->models = keel_arena_calloc(&out->arena, e->n_models, sizeof *out->models);
    if (!out->models) return keel_nomem(err, "evaluation");
    for (; out->n_models < e->n_models; ++out->n_models) {
        const actor *model = &e->models[out->n_models];
        const keel_metric_sums *sums = &model->sums;
        KEEL_TRY(keel_metric_sums_close(&sums, &model->name, 1, config, e->pool, &out->models[out->n_models],
                                        NULL, err));
        keel__evaluation_put(&model->earned, NULL, config->confidence, &out->models[out->n_models]);
    }
    return KEEL_OK;
}

static keel_status close_baselines(evaluation *e, const keel_evaluate_config *config,
                                   keel_evaluation_set *out, keel_err *err) {
    for (int b = 0; b < KEEL_N_BASELINES; ++b) {
        const keel_overall_who who = KEEL_OVERALL_BASELINE + (keel_overall_who)b;
        const keel_metric_sums *sums = &e->baseline[b].sums;
        if (!keel_overall_plays(e->overall, who)) continue;
        KEEL_TRY(keel_metric_sums_close(&sums, &keel_baseline_names[b], 1, config, e->pool, &out->baseline[b],
                                        NULL, err));
        keel__evaluation_put(keel_overall_of(e->overall, who), e->overall, config->confidence,
                             &out->baseline[b]);
    }
    return KEEL_OK;
}

/* Every component lies in [-1, 1]. */
static double least_reward(const keel_evaluate_config *config) {
    double sum = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) sum -= config->weight[k];
    return sum;
}

static keel_status close_all(evaluation *e, double confidence, keel_evaluation_set *out, keel_err *err) {
    keel_evaluate_config own = *e->config;
    const keel_evaluate_config *config = &own;
    own.confidence = out->confidence = confidence;
    const keel_metric_sums *const sums[] = {&e->policy.sums, &e->logged.sums, &e->base.sums};
    static const char *const names[] = {"policy", "logged", "base"};
    keel_evaluation made[3];
    KEEL_TRY(keel_metric_sums_close(sums, names, 3, config, e->pool, made, out->minus, err));
    static const keel_overall_who whose[] = {KEEL_OVERALL_POLICY, KEEL_OVERALL_LOGGED, KEEL_OVERALL_BASE};
    for (int i = 0; i < 3; ++i)
        keel__evaluation_put(keel_overall_of(e->overall, whose[i]), e->overall, confidence, &made[i]);
    for (int i = 1; i < 3; ++i)
        keel__evaluation_put_difference(e->overall, whose[i], confidence, out->minus[i - 1]);
    out->differing = e->differing;
    out->policy = made[0];
    out->logged = made[1];
    out->base = made[2];
    const keel_ope_config ope = {config->gamma, least_reward(config), config->resamples, config->seed,
                                 config->confidence};
    KEEL_TRY(keel_ope_estimate(&e->ope, &ope, e->pool, &out->ope, err));
    KEEL_TRY(close_baselines(e, config, out, err));
    return close_models(e, config, out, err);
}

/* A conversation judged twice would count twice, and every interval would be too narrow. */
static keel_status check_apart(const keel_evaluate_item *items, size_t count, keel_err *err) {
    for (size_t i = 0; i < count; ++i)
        for (size_t j = 0; j < i; ++j) {
            if (keel_split_disjoint(&items[j].split, &items[i].split)) continue;
            keel_fail(err, KEEL_E_USAGE, items[i].split.text,
                      "policies %zu and %zu would be evaluated on the same conversations", j + 1, i + 1);
            return keel_hint(err, "policies are pooled only over folds that lie apart (trained on rest:K/N, "
                                  "evaluated with --split held-out); evaluate others one by one");
        }
    return KEEL_OK;
}

/* A first walk collects what the fit learns from: the item's split, or the one that it is fitted on. */
static keel_status fit(evaluation *e, keel_err *err) {
    const keel_base *base = e->item->base;
    const keel_qnet_shape shape = {.space = base->space,
                                   .state_dim = base->state_dim,
                                   .candidate_dim = base->candidate_dim,
                                   .n_acts = base->n_acts};
    keel_fqe_config config;
    keel_fqe_close(e->fqe);
    e->fqe = NULL;
    KEEL_TRY(keel_fqe_standard(&config, err));
    config.learner.gamma = e->config->gamma;
    config.learner.seed = (int64_t)e->config->seed;
    config.learner.steps = e->config->fqe_steps;
    if (e->item->fitted_on) config.folds = 1;
    KEEL_TRY(keel_fqe_open(&e->fqe, &config, &shape, err));
    e->collecting = true;
    KEEL_TRY(walk(e, e->item->fitted_on ? e->item->fitted_on : &e->item->split, err));
    e->collecting = false;
    return keel_fqe_fit(e->fqe, e->pool, err);
}

static keel_status evaluate_items(evaluation *e, const keel_evaluate_item *items, size_t count,
                                  keel_err *err) {
    KEEL_TRY(check_apart(items, count, err));
    for (size_t i = 0; i < count; ++i)
        if (items[i].policy) KEEL_TRY(keel_policy_check_base(items[i].policy, items[i].base, err));
    for (size_t i = 0; i < count; ++i) {
        e->item = &items[i];
        if (e->config->model == KEEL_MODEL_FQE) KEEL_TRY(fit(e, err));
        KEEL_TRY(keel_overall_begin_item(e->overall, items[i].base, items[i].policy, err));
        KEEL_TRY(walk(e, &items[i].split, err));
        KEEL_TRY(keel_overall_end_item(e->overall, err));
    }
    return keel_overall_finish(e->overall, err);
}

static keel_status finish(evaluation *e, keel_status status, keel_evaluation_set *made, size_t n,
                          keel_evaluation_set *out) {
    for (size_t i = 0; i < n; ++i) made[i].judged = keel_judge_error_about(e->error);
    end(e);
    keel_free(e);
    for (size_t i = 0; i < n; ++i) {
        if (status == KEEL_OK)
            out[i] = made[i];
        else
            keel_evaluation_set_free(&made[i]);
    }
    return status;
}

keel_status keel_evaluate_at(keel_store *store, const keel_evaluate_item *items, size_t count,
                             const keel_evaluate_config *config, const double *confidence, size_t n,
                             keel_pool *pool, keel_evaluation_set *out, keel_err *err) {
    evaluation *e = keel_alloc(sizeof *e);
    keel_evaluation_set *made = keel_calloc(n, sizeof *made);
    if (!e || !made) {
        keel_free(e);
        keel_free(made);
        return keel_nomem(err, "evaluation");
    }
    keel_status status = begin(e, store, config, pool, err);
    if (status == KEEL_OK) status = evaluate_items(e, items, count, err);
    for (size_t i = 0; i < n && status == KEEL_OK; ++i) status = close_all(e, confidence[i], &made[i], err);
    if (status == KEEL_OK && config->policy_sums)
        *config->policy_sums = keel_overall_take(e->overall, KEEL_OVERALL_POLICY);
    if (status == KEEL_OK && config->policy_rates)
        keel_metric_sums_take(config->policy_rates, &e->policy.sums);
    status = finish(e, status, made, n, out);
    keel_free(made);
    return status;
}

keel_status keel_evaluate(keel_store *store, const keel_evaluate_item *items, size_t count,
                          const keel_evaluate_config *config, keel_pool *pool, keel_evaluation_set *out,
                          keel_err *err) {
    const double confidence = confidence_of(config);
    return keel_evaluate_at(store, items, count, config, &confidence, 1, pool, out, err);
}

void keel_evaluation_set_free(keel_evaluation_set *set) {
    keel_arena_free(&set->arena);
    *set = (keel_evaluation_set){0};
}

keel_status keel_evaluate_logged(keel_store *store, const keel_split *split,
                                 const keel_evaluate_config *config, keel_evaluation_set *out,
                                 keel_err *err) {
    evaluation *e = keel_alloc(sizeof *e);
    keel_evaluate_config own = *config;
    keel_evaluation_set made = {.confidence = confidence_of(config)};
    own.confidence = made.confidence;
    if (!e) return keel_nomem(err, "evaluation");
    keel_status status = begin(e, store, &own, NULL, err);
    if (status == KEEL_OK) status = walk(e, split, err);
    if (status == KEEL_OK)
        status = keel_metric_sums_close(&(const keel_metric_sums *){&e->logged.sums},
                                        &(const char *){"logged"}, 1, &own, NULL, &made.logged, NULL, err);
    if (status == KEEL_OK)
        keel__evaluation_put(keel_overall_of(e->overall, KEEL_OVERALL_LOGGED), NULL, e->config->confidence,
                             &made.logged);
    if (status == KEEL_OK) status = close_models(e, &own, &made, err);
    return finish(e, status, &made, 1, out);
}
