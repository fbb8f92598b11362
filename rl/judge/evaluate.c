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
#include "rl/judge/fqe.h"
#include "rl/judge/metric_sums.h"

const char *const keel_ope_models[] = {"critic", "fqe", "none", NULL};

enum { BLOCK = 64 }; /* conversations decided in parallel between two reads of the store */

/* Policy, base, logged behaviour or source model. */
typedef struct actor {
    const char *name;
    keel_metric_sums sums;
    size_t agreed; /* decisions of the conversation at hand where the log took the same answer */
} actor;

/* One conversation with what policy and base would do at each decision. */
typedef struct slot {
    keel_arena arena; /* holds all of it */
    keel_conversation *conversation;
    keel_reward_view log;    /* of the conversation, while it is counted */
    keel_features *features; /* [n_decisions] */
    bool *found;             /* [n_decisions] features came from the store */
    unsigned *silent; /* [n_decisions] means that the log has elsewhere only (rl/judge/metric_sums.h) */
    keel_choice *policy, *base; /* [n_decisions]; n is 0 where there is nothing to choose */
} slot;

typedef struct evaluation {
    keel_store *store;
    const keel_evaluate_config *config;
    keel_reward_config reward;
    keel_pool *pool;
    const keel_evaluate_item *item; /* at hand; NULL: the logged behaviour alone */
    size_t number;                  /* conversations so far, over all items */
    actor policy, logged, base;
    actor *models;
    size_t n_models, model_capacity;
    keel_judge_error *error; /* of the judge whose labels are counted; NULL: there is none */
    keel_ope_log ope;
    keel_fqe *fqe;   /* of the item at hand; NULL: the model is another */
    bool collecting; /* steps for the fit, on a first walk; nothing is counted then */
    keel_arena names;
    slot slots[BLOCK];
} evaluation;

/* ---- reading and deciding ---- */

static keel_status read_features(evaluation *e, slot *s, keel_err *err) {
    size_t n = s->conversation->n_decisions;
    s->features = keel_arena_calloc(&s->arena, n, sizeof *s->features);
    s->found = keel_arena_calloc(&s->arena, n, sizeof *s->found);
    s->policy = keel_arena_calloc(&s->arena, n, sizeof *s->policy);
    s->base = keel_arena_calloc(&s->arena, n, sizeof *s->base);
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
    if (item->policy) return keel_policy_decide(item->policy, &s->features[d], &s->arena, &s->policy[d], err);
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
        KEEL_TRY(keel_metric_sums_answer(&e->logged.sums, e->config->weight, &s->log, d, e->number, &answer,
                                         s->silent[d], err));
        if (!candidate->model) continue;
        actor *model = find_model(e, candidate->model);
        if (!model) return keel_nomem(err, "evaluation");
        KEEL_TRY(keel_metric_sums_answer(&model->sums, e->config->weight, &s->log, d, e->number, &answer,
                                         s->silent[d], err));
        model->agreed += !model_answered_before(decision, c);
    }
    e->logged.agreed += *answered;
    return KEEL_OK;
}

static keel_status count_choice(evaluation *e, actor *who, const slot *s, size_t d, const keel_choice *choice,
                                bool told, keel_err *err) {
    const keel_evaluate_item *item = e->item;
    keel_answer answer = keel_answer_of_action(&s->log, item->base, item->policy, d, choice->chosen);
    KEEL_TRY(keel_metric_sums_answer(&who->sums, e->config->weight, &s->log, d, e->number, &answer,
                                     s->silent[d], err));
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

/* ---- trajectories ---- */

static size_t count_taken(const keel_decision *decision) {
    size_t count = 0;
    for (size_t c = 0; c < decision->n_candidates; ++c) count += decision->candidates[c].taken;
    return count;
}

/* Does the policy estimate values, or only imitate? */
static bool has_critic(const evaluation *e) {
    return e->item->policy && !e->item->policy->imitates;
}

/* V(s) = sum_a pi(a|s) Q_w(s, a). */
static double value_of(const keel_choice *choice) {
    double value = 0;
    for (size_t a = 0; a < choice->n; ++a)
        if (choice->log_pi[a] > -INFINITY) value += exp((double)choice->log_pi[a]) * (double)choice->q_w[a];
    return value;
}

typedef struct step {
    keel_ope_step ope;
    keel_fqe_step fit;
    size_t decision;
} step;

/* Ratio and reward of a taken candidate; false if the policy's space does not hold it. The behaviour's
 * probability is the logged one; several answers taken at one decision were deployed side by side, each
 * equally; else pi_base stands in. */
static bool make_step(evaluation *e, const slot *s, size_t d, size_t c, step *made, bool *rewarded) {
    keel_ope_step *out = &made->ope;
    const keel_decision *decision = &s->conversation->decisions[d];
    const keel_candidate *candidate = &decision->candidates[c];
    int32_t action = keel_answer_action(e->item->base, decision, c);
    if (action < 0 || !s->policy[d].n) return false;
    size_t taken = count_taken(decision);
    double log_behaviour = (double)s->base[d].log_prior[action];
    const bool outcomes = e->item->base->space == KEEL_SPACE_OUTCOMES;
    e->ope.unused = e->ope.unused || (candidate->propensity.present && outcomes);
    if (candidate->propensity.present && !outcomes)
        log_behaviour = log(candidate->propensity.value);
    else if (taken > 1)
        log_behaviour = -log((double)taken);
    else
        e->ope.estimated = true;
    if (!(log_behaviour > -INFINITY)) return false;
    bool present;
    keel_reward reward = keel_answer_reward(&s->log, d, c);
    out->reward = keel_reward_composite(&reward, e->config->weight, &present);
    out->log_ratio = (double)s->policy[d].log_pi[action] - log_behaviour;
    out->probability = exp((double)s->policy[d].log_pi[action]);
    out->q = has_critic(e) ? (double)s->policy[d].q_w[action] : NAN;
    out->v = has_critic(e) ? value_of(&s->policy[d]) : NAN;
    *rewarded = *rewarded || present;
    made->fit = (keel_fqe_step){.action = action, .reward = (float)out->reward};
    made->decision = d;
    return true;
}

/* ---- fitted Q evaluation ---- */

static uint64_t unit_of(const keel_conversation *conversation) {
    return (uint64_t)keel_conversation_group_hash(conversation);
}

/* What is seen at a decision, and what the policy would do; the action taken and its reward stay as they are.
 */
static keel_status look(slot *s, size_t d, keel_fqe_step *fit, keel_err *err) {
    const keel_features *features = &s->features[d];
    float *pi = keel_arena_alloc(&s->arena, (features->n_actions + 1) * sizeof *pi);
    if (!pi) return keel_nomem(err, "evaluation");
    for (size_t a = 0; a < features->n_actions; ++a) pi[a] = (float)exp((double)s->policy[d].log_pi[a]);
    fit->state = features->state;
    fit->candidates = features->candidates;
    fit->pi = pi;
    fit->n_actions = features->n_actions;
    return KEEL_OK;
}

/* A trajectory goes to the fit, and on the second walk, with the values found, to the estimates. */
static keel_status add_steps(evaluation *e, slot *s, step *steps, size_t count, keel_err *err) {
    keel_ope_step *ope = keel_arena_alloc(&s->arena, (count + 1) * sizeof *ope);
    keel_fqe_step *fit = keel_arena_alloc(&s->arena, (count + 1) * sizeof *fit);
    uint64_t unit = unit_of(s->conversation);
    if (!ope || !fit) return keel_nomem(err, "evaluation");
    for (size_t t = 0; t < count; ++t) {
        ope[t] = steps[t].ope;
        fit[t] = steps[t].fit;
        if (!e->fqe) continue;
        KEEL_TRY(look(s, steps[t].decision, &fit[t], err));
        if (e->collecting) continue;
        KEEL_TRY(keel_fqe_value(e->fqe, unit, &fit[t], &s->arena, &ope[t].q, &ope[t].v, err));
    }
    if (e->collecting) return keel_fqe_add(e->fqe, unit, fit, count, s->conversation->truncated, err);
    return keel_ope_add(&e->ope, e->number, ope, count, err);
}

static keel_status add_single_steps(evaluation *e, slot *s, keel_err *err) {
    const keel_decision *decision = &s->conversation->decisions[0];
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        step only;
        bool rewarded = false;
        if (!decision->candidates[c].taken || !make_step(e, s, 0, c, &only, &rewarded) || !rewarded) continue;
        KEEL_TRY(add_steps(e, s, &only, 1, err));
    }
    return KEEL_OK;
}

/* The conversation as one trajectory of its first taken answers; left out whole if a step is not in the
 * policy's space. */
static keel_status add_trajectory(evaluation *e, slot *s, keel_err *err) {
    const keel_conversation *conversation = s->conversation;
    step *steps = keel_arena_alloc(&s->arena, (conversation->n_decisions + 1) * sizeof *steps);
    if (!steps) return keel_nomem(err, "evaluation");
    size_t length = 0;
    bool rewarded = false;
    for (size_t d = 0; d < conversation->n_decisions; ++d) {
        const keel_decision *decision = &conversation->decisions[d];
        size_t c = 0;
        while (c < decision->n_candidates && !decision->candidates[c].taken) c++;
        if (c == decision->n_candidates) continue;
        if (!make_step(e, s, d, c, &steps[length++], &rewarded)) return KEEL_OK;
    }
    return rewarded ? add_steps(e, s, steps, length, err) : KEEL_OK;
}

static keel_status add_value(evaluation *e, slot *s, keel_err *err) {
    const keel_choice *first = s->conversation->n_decisions ? &s->policy[0] : NULL;
    if (!first || !first->n || (!has_critic(e) && !e->fqe)) return KEEL_OK;
    double own = has_critic(e) ? value_of(first) : NAN, v = own, q;
    if (e->fqe) {
        keel_fqe_step fit = {0};
        KEEL_TRY(look(s, 0, &fit, err));
        KEEL_TRY(keel_fqe_value(e->fqe, unit_of(s->conversation), &fit, &s->arena, &q, &v, err));
    }
    return keel_ope_add_value(&e->ope, e->number, v, own, err);
}

static keel_status add_trajectories(evaluation *e, slot *s, keel_err *err) {
    if (e->config->model == KEEL_MODEL_NONE) return KEEL_OK;
    KEEL_TRY(s->conversation->n_decisions == 1 ? add_single_steps(e, s, err) : add_trajectory(e, s, err));
    return e->collecting ? KEEL_OK : add_value(e, s, err);
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
    *told += comparable;
    KEEL_TRY(count_choice(e, &e->policy, s, d, &s->policy[d], comparable, err));
    KEEL_TRY(count_choice(e, &e->base, s, d, &s->base[d], comparable, err));
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

/* Which means the log has at other decisions of the conversation, but not at this one. */
static keel_status read_silence(evaluation *e, slot *s, keel_err *err) {
    const keel_conversation *conversation = s->conversation;
    unsigned told = 0;
    s->silent = keel_arena_calloc(&s->arena, conversation->n_decisions, sizeof *s->silent);
    if (!s->silent) return keel_nomem(err, "evaluation");
    for (size_t d = 0; d < conversation->n_decisions; ++d) {
        const keel_decision *decision = &conversation->decisions[d];
        for (size_t c = 0; c < decision->n_candidates; ++c) {
            if (!decision->candidates[c].taken) continue;
            keel_reward reward = keel_answer_reward(&s->log, d, c);
            s->silent[d] |= keel_metric_sums_determined(&reward, e->config->weight);
        }
        told |= s->silent[d];
    }
    for (size_t d = 0; d < conversation->n_decisions; ++d) s->silent[d] = told & ~s->silent[d];
    return KEEL_OK;
}

static keel_status count_conversation(evaluation *e, slot *s, keel_err *err) {
    const keel_conversation *conversation = s->conversation;
    size_t answered = 0, told = 0;
    bool borderline;
    s->log = keel_reward_look(&e->reward, conversation);
    if (e->collecting) return add_trajectories(e, s, err);
    KEEL_TRY(read_silence(e, s, err));
    KEEL_TRY(read_mark(s, &borderline, err));
    for (size_t d = 0; d < conversation->n_decisions; ++d)
        KEEL_TRY(count_decision(e, s, d, &answered, &told, err));
    KEEL_TRY(close_conversation(e, &e->logged, conversation, borderline, answered, err));
    KEEL_TRY(close_conversation(e, &e->policy, conversation, borderline, told, err));
    KEEL_TRY(close_conversation(e, &e->base, conversation, borderline, told, err));
    for (size_t i = 0; i < e->n_models; ++i)
        KEEL_TRY(close_conversation(e, &e->models[i], conversation, borderline, answered, err));
    if (e->item) KEEL_TRY(add_trajectories(e, s, err));
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

static keel_status begin(evaluation *e, keel_store *store, const keel_evaluate_config *config,
                         keel_pool *pool, keel_err *err) {
    *e = (evaluation){.store = store, .config = config, .pool = pool};
    KEEL_TRY(keel_judge_error_open(&e->error, store, err));
    e->policy.sums.error = e->logged.sums.error = e->base.sums.error = e->error;
    if (!config->reward) return keel_options_defaults(keel_reward_options, &e->reward, err);
    e->reward = *config->reward;
    return KEEL_OK;
}

static void end(evaluation *e) {
    keel_metric_sums_free(&e->policy.sums);
    keel_metric_sums_free(&e->logged.sums);
    keel_metric_sums_free(&e->base.sums);
    for (size_t i = 0; i < e->n_models; ++i) keel_metric_sums_free(&e->models[i].sums);
    keel_free(e->models);
    keel_judge_error_close(e->error);
    keel_ope_log_free(&e->ope);
    keel_fqe_close(e->fqe);
    keel_arena_free(&e->names);
    for (size_t i = 0; i < BLOCK; ++i) keel_arena_free(&e->slots[i].arena);
}

/* ---- the whole ---- */

/* Source models are worth a row each only when there are several to tell apart. */
static keel_status close_models(evaluation *e, keel_evaluation_set *out, keel_err *err) {
    if (e->n_models < 2) return KEEL_OK;
    out->models = keel_arena_calloc(&out->arena, e->n_models, sizeof *out->models);
    if (!out->models) return keel_nomem(err, "evaluation");
    for (; out->n_models < e->n_models; ++out->n_models) {
        const actor *model = &e->models[out->n_models];
        const keel_metric_sums *sums = &model->sums;
        KEEL_TRY(keel_metric_sums_close(&sums, &model->name, 1, e->config, e->pool,
                                        &out->models[out->n_models], NULL, err));
    }
    return KEEL_OK;
}

/* Every component lies in [-1, 1]. */
static double least_reward(const keel_evaluate_config *config) {
    double sum = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) sum -= config->weight[k];
    return sum;
}

static keel_status close_all(evaluation *e, keel_evaluation_set *out, keel_err *err) {
    const keel_evaluate_config *config = e->config;
    const keel_metric_sums *const sums[] = {&e->policy.sums, &e->logged.sums, &e->base.sums};
    static const char *const names[] = {"policy", "logged", "base"};
    keel_evaluation made[3];
    KEEL_TRY(keel_metric_sums_close(sums, names, 3, config, e->pool, made, out->minus, err));
    out->policy = made[0], out->logged = made[1], out->base = made[2];
    const keel_ope_config ope = {config->gamma, least_reward(config), config->resamples, config->seed,
                                 config->confidence};
    KEEL_TRY(keel_ope_estimate(&e->ope, &ope, e->pool, &out->ope, err));
    return close_models(e, out, err);
}

/* A conversation judged twice would count twice, and every interval would be too narrow. */
static keel_status check_apart(const keel_evaluate_item *items, size_t count, keel_err *err) {
    for (size_t i = 0; i < count; ++i)
        for (size_t j = 0; j < i; ++j) {
            if (keel_split_disjoint(&items[j].split, &items[i].split)) continue;
            keel_fail(err, KEEL_E_USAGE, items[i].split.text,
                      "policies %zu and %zu would be judged on the same conversations", j + 1, i + 1);
            return keel_hint(err, "policies are pooled only over folds that lie apart (trained on rest:K/N, "
                                  "judged with --split held-out); judge others one by one");
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
        KEEL_TRY(walk(e, &items[i].split, err));
    }
    return KEEL_OK;
}

static keel_status finish(evaluation *e, keel_status status, keel_evaluation_set *made,
                          keel_evaluation_set *out) {
    made->judged = keel_judge_error_about(e->error);
    end(e);
    keel_free(e);
    if (status == KEEL_OK)
        *out = *made;
    else
        keel_evaluation_set_free(made);
    return status;
}

keel_status keel_evaluate(keel_store *store, const keel_evaluate_item *items, size_t count,
                          const keel_evaluate_config *config, keel_pool *pool, keel_evaluation_set *out,
                          keel_err *err) {
    evaluation *e = keel_alloc(sizeof *e);
    keel_evaluation_set made = {0};
    if (!e) return keel_nomem(err, "evaluation");
    keel_status status = begin(e, store, config, pool, err);
    if (status == KEEL_OK) status = evaluate_items(e, items, count, err);
    if (status == KEEL_OK) status = close_all(e, &made, err);
    return finish(e, status, &made, out);
}

void keel_evaluation_set_free(keel_evaluation_set *set) {
    keel_arena_free(&set->arena);
    *set = (keel_evaluation_set){0};
}

keel_status keel_evaluate_logged(keel_store *store, const keel_split *split,
                                 const keel_evaluate_config *config, keel_evaluation_set *out,
                                 keel_err *err) {
    evaluation *e = keel_alloc(sizeof *e);
    keel_evaluation_set made = {0};
    if (!e) return keel_nomem(err, "evaluation");
    keel_status status = begin(e, store, config, NULL, err);
    if (status == KEEL_OK) status = walk(e, split, err);
    if (status == KEEL_OK)
        status = keel_metric_sums_close(&(const keel_metric_sums *){&e->logged.sums},
                                        &(const char *){"logged"}, 1, config, NULL, &made.logged, NULL, err);
    if (status == KEEL_OK) status = close_models(e, &made, err);
    return finish(e, status, &made, out);
}
