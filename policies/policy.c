#include "policies/policy_internal.h"

#include <math.h>
#include <string.h>

#include "core/numeric.h"

/* ---- the tilt: pi proportional to prior * exp(beta * advantage) ---- */

static bool allowed(const float *log_prior, const bool *masked, size_t i) {
    return !(masked && masked[i]) && log_prior[i] > -INFINITY;
}

/* log sum_i prior_i exp(beta adv_i) over the allowed ones, and their pi-mean advantage; -INFINITY and 0 when
 * none is. In double: the KL is a small difference of these. */
static double log_partition(const float *log_prior, const float *advantage, const bool *masked, size_t n,
                            double beta, double *mean_advantage) {
    double high = -INFINITY, sum = 0, weighted = 0;
    for (size_t i = 0; i < n; i++) {
        if (allowed(log_prior, masked, i)) high = fmax(high, log_prior[i] + beta * advantage[i]);
    }
    *mean_advantage = 0;
    if (!(high > -INFINITY)) return -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!allowed(log_prior, masked, i)) continue;
        double weight = exp(log_prior[i] + beta * advantage[i] - high);
        sum += weight;
        weighted += weight * advantage[i];
    }
    *mean_advantage = weighted / sum;
    return high + log(sum);
}

/* KL(pi || pi_base) = sum pi (log pi - log prior) = beta E_pi[adv] - log Z; never below 0 but for rounding.
 */
static double tilt_kl(double beta, double mean_advantage, double log_z) {
    return fmax(0.0, beta * mean_advantage - log_z);
}

void keel_policy_tilt(const float *log_prior, const float *advantage, const bool *masked, size_t n,
                      double beta, float *log_pi, double *kl) {
    double mean_advantage, log_z = log_partition(log_prior, advantage, masked, n, beta, &mean_advantage);
    for (size_t i = 0; i < n; i++) {
        bool open = allowed(log_prior, masked, i);
        log_pi[i] = open ? (float)(log_prior[i] + beta * advantage[i] - log_z) : -INFINITY;
    }
    if (kl) *kl = log_z > -INFINITY ? tilt_kl(beta, mean_advantage, log_z) : 0;
}

/* V shifts all advantages of a decision alike and so drops out: q_w itself serves as advantage. */
static double mean_kl(const float *log_prior, const float *q_w, const int32_t *offsets, size_t n,
                      double beta) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t first = (size_t)offsets[i], size = (size_t)offsets[i + 1] - first;
        double mean, log_z = log_partition(log_prior + first, q_w + first, NULL, size, beta, &mean);
        if (log_z > -INFINITY) sum += tilt_kl(beta, mean, log_z);
    }
    return n > 0 ? sum / (double)n : 0;
}

double keel_policy_solve_beta(const float *log_prior, const float *q_w, const int32_t *offsets, size_t n,
                              double budget, double limit) {
    if (mean_kl(log_prior, q_w, offsets, n, limit) <= budget) return limit;
    double low = 0, high = limit;
    for (int round = 0; round < 60; round++) {
        double middle = 0.5 * (low + high);
        if (mean_kl(log_prior, q_w, offsets, n, middle) <= budget)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- deciding ---- */

typedef struct choice_work {                    /* the arrays of a choice while it is made */
    float *q, *cost, *q_w, *advantage, *log_pi; /* cost: NULL without a cost critic */
    bool *masked;
} choice_work;

static bool make_room(choice_work *work, size_t n, size_t heads, bool cost, keel_arena *scratch) {
    work->q = keel_arena_calloc(scratch, n * heads, sizeof(float));
    work->cost = cost ? keel_arena_calloc(scratch, n, sizeof(float)) : NULL;
    work->q_w = keel_arena_calloc(scratch, n, sizeof(float));
    work->advantage = keel_arena_calloc(scratch, n, sizeof(float));
    work->log_pi = keel_arena_calloc(scratch, n, sizeof(float));
    work->masked = keel_arena_calloc(scratch, n, sizeof(bool));
    return work->q && (work->cost || !cost) && work->q_w && work->advantage && work->log_pi && work->masked;
}

static keel_choice show(const choice_work *work, const keel_features *features) {
    return (keel_choice){.n = features->n_actions,
                         .q = work->q,
                         .cost = work->cost,
                         .q_w = work->q_w,
                         .advantage = work->advantage,
                         .log_prior = features->log_prior,
                         .log_pi = work->log_pi,
                         .masked = work->masked,
                         .distance = (double)NAN};
}

static size_t argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static keel_status check_features(const keel_policy *policy, const keel_features *features, keel_err *err) {
    const keel_qnet_shape *shape = &policy->net.shape;
    bool sets = shape->space == KEEL_SPACE_CANDIDATES;
    size_t state_dim = shape->state_dim - (policy->conditioned ? KEEL_N_REWARDS : 0);
    if (features->n_actions == 0)
        return keel_fail(err, KEEL_E_INVALID, "policy", "a decision without any candidate");
    if (features->state_dim != state_dim || (sets && features->candidate_dim != shape->candidate_dim) ||
        (!sets && features->n_actions != shape->n_acts) || (sets && !features->candidates))
        return keel_fail(err, KEEL_E_CONFLICT, "policy",
                         "expected features of state %zu, candidate %zu, acts %zu, got %zu, %zu, %zu",
                         state_dim, shape->candidate_dim, shape->n_acts, features->state_dim,
                         features->candidate_dim, features->n_actions);
    return KEEL_OK;
}

/* What the network sees of the state: the weights too, where those are an input. NULL when out of memory. */
static const float *state_seen(const keel_policy *policy, const keel_features *features,
                               keel_arena *scratch) {
    float weight[KEEL_N_REWARDS];
    if (!policy->conditioned) return features->state;
    float *state = keel_arena_alloc(scratch, policy->net.shape.state_dim * sizeof *state);
    for (size_t k = 0; k < KEEL_N_REWARDS; k++) weight[k] = (float)policy->weight[k];
    if (state) keel_weighting_extend(features->state, weight, features->state_dim, state);
    return state;
}

keel_status keel_policy_rows(const keel_policy *policy, const keel_features *features, keel_arena *scratch,
                             const float **x, size_t *rows, keel_err *err) {
    const keel_qnet *net = &policy->net;
    const bool sets = net->shape.space == KEEL_SPACE_CANDIDATES;
    const int32_t offsets[2] = {0, (int32_t)features->n_actions};
    const float *state = state_seen(policy, features, scratch);
    float *made = NULL;
    *rows = sets ? features->n_actions : 1;
    if (state && sets) made = keel_arena_alloc(scratch, *rows * net->input_dim * sizeof *made);
    if (!state || (sets && !made)) return keel_nomem(err, "policy");
    if (sets) keel_qnet_rows(net, state, features->candidates, offsets, NULL, 1, made);
    *x = sets ? made : state;
    return KEEL_OK;
}

/* Outputs of the network [n, outputs] of one decision. */
static keel_status run_network(const keel_policy *policy, const keel_features *features, float *out,
                               keel_arena *scratch, keel_err *err) {
    const keel_qnet *net = &policy->net;
    size_t n = features->n_actions, outputs = keel_qnet_outputs(&net->shape);
    const float *x;
    size_t rows;
    KEEL_TRY(keel_policy_rows(policy, features, scratch, &x, &rows, err));
    if (net->shape.space == KEEL_SPACE_CANDIDATES)
        return keel_qnet_infer(net, x, rows, out, NULL, scratch, err);
    float *by_head = keel_arena_alloc(scratch, n * outputs * sizeof *by_head); /* head-major: turn round */
    if (!by_head) return keel_nomem(err, "policy");
    KEEL_TRY(keel_qnet_infer(net, x, rows, by_head, NULL, scratch, err));
    for (size_t i = 0; i < n * outputs; i++) out[(i % n) * outputs + i / n] = by_head[i];
    return KEEL_OK;
}

/* A value that is no number is above no threshold: it would let pass what the threshold is there to stop. */
static keel_status check_judgement(const float *q, size_t count, keel_err *err) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(q[i])) {
            keel_fail(err, KEEL_E_INVALID, "policy", "the Q-network's values are not finite");
            return keel_hint(err, "features or weights are out of any range it was trained in");
        }
    return KEEL_OK;
}

/* Q of each head, C and Q_w - lambda C of each action. */
static keel_status judge(const keel_policy *policy, const keel_features *features, const choice_work *work,
                         keel_arena *scratch, keel_err *err) {
    const keel_qnet_shape *shape = &policy->net.shape;
    size_t n = features->n_actions, outputs = keel_qnet_outputs(shape);
    float *out = keel_arena_alloc(scratch, n * outputs * sizeof *out);
    if (!out) return keel_nomem(err, "policy");
    KEEL_TRY(run_network(policy, features, out, scratch, err));
    KEEL_TRY(check_judgement(out, n * outputs, err));
    for (size_t i = 0; i < n; i++) {
        const float *one = out + i * outputs;
        memcpy(work->q + i * shape->heads, one, shape->heads * sizeof *one);
        if (work->cost) work->cost[i] = (float)keel_qnet_cost(shape, one, 1);
        work->q_w[i] = (float)keel_qnet_objective(shape, policy->weight, policy->cost_weight, one, 1);
    }
    return KEEL_OK;
}

static bool has_threshold(const keel_policy *policy) {
    return policy->net.shape.cost && !policy->imitates && policy->harm_threshold < INFINITY;
}

/* The action that is the fixed answer at this place: the candidate that says the same, so that its features
 * are the same, where the base offers it as that (keel_base_encode). */
static size_t fixed_action(const keel_features *features, size_t place) {
    const size_t dim = features->candidate_dim;
    if (features->log_prior[place] > -INFINITY) return place;
    for (size_t i = 0; i < place; i++)
        if (memcmp(features->candidates + i * dim, features->candidates + place * dim,
                   dim * sizeof *features->candidates) == 0)
            return i;
    return place;
}

/* What refuses or hands over is no harm, whatever the critic thinks of it. */
static bool declines(const keel_policy *policy, const keel_features *features, size_t action) {
    const size_t n = features->n_actions;
    if (policy->net.shape.space != KEEL_SPACE_CANDIDATES) return policy->declines && policy->declines[action];
    for (size_t place = n - (policy->n_fixed < n ? policy->n_fixed : n); place < n; place++)
        if (action == place || action == fixed_action(features, place)) return true;
    return false;
}

double keel_policy_least_prior(const float *log_prior, size_t n, double support) {
    double most = -INFINITY;
    for (size_t i = 0; support > 0 && i < n; i++) most = fmax(most, (double)log_prior[i]);
    return support > 0 ? most + log(support) : -INFINITY;
}

/* What is taken when the threshold leaves nothing: the policy's fallback act, or else the least harmful of
 * what is offered. */
static size_t fall_back(const keel_policy *policy, const float *log_prior, const float *cost, size_t n) {
    size_t best = n;
    if (policy->fallback_act >= 0 && (size_t)policy->fallback_act < n &&
        log_prior[policy->fallback_act] > -INFINITY)
        return (size_t)policy->fallback_act;
    for (size_t i = 0; i < n; i++)
        if (log_prior[i] > -INFINITY && (best == n || cost[i] < cost[best])) best = i;
    return best == n ? 0 : best;
}

/* What is taken where the state is unfamiliar; n where nothing is known to be safe. */
static size_t leave(const keel_policy *policy, const keel_features *features, const float *cost) {
    const bool sets = policy->net.shape.space == KEEL_SPACE_CANDIDATES;
    const size_t n = features->n_actions;
    if (sets && policy->n_fixed && policy->n_fixed <= n) return fixed_action(features, n - policy->n_fixed);
    return (!sets && policy->fallback_act >= 0) || cost ? fall_back(policy, features->log_prior, cost, n) : n;
}

static void apply_threshold(const keel_policy *policy, const keel_features *features, const choice_work *work,
                            keel_choice *out) {
    const float *log_prior = features->log_prior;
    size_t open = 0, others = 0, harms = 0;
    const bool threshold = has_threshold(policy);
    double least = keel_policy_least_prior(log_prior, out->n, policy->support);
    for (size_t i = 0; i < out->n; i++) {
        const bool kept = declines(policy, features, i);
        bool harmful = threshold && !kept && (double)work->cost[i] > policy->harm_threshold;
        work->masked[i] = harmful || !(log_prior[i] > -INFINITY) || (double)log_prior[i] < least;
        harms += harmful;
        open += !work->masked[i];
        others += !work->masked[i] && !kept;
    }
    out->fallback = harms > 0 && others == 0;
    out->chosen = out->n; /* still to be chosen */
    if (harms > 0 && open == 0) out->chosen = fall_back(policy, log_prior, work->cost, out->n);
}

/* Behaviour cloning: the network's output is log pi, the prior only says what is on offer. */
static void imitate(const float *log_prior, const choice_work *work, keel_choice *out) {
    for (size_t i = 0; i < out->n; i++) work->log_pi[i] = work->masked[i] ? -INFINITY : work->q_w[i];
    keel_log_softmax(work->log_pi, out->n, work->log_pi);
    out->kl = 0;
    for (size_t i = 0; i < out->n; i++)
        if (!work->masked[i])
            out->kl += exp((double)work->log_pi[i]) * ((double)work->log_pi[i] - log_prior[i]);
}

static void choose(const keel_policy *policy, const float *log_prior, const choice_work *work,
                   keel_choice *out) {
    if (out->chosen < out->n) {
        for (size_t i = 0; i < out->n; i++) work->log_pi[i] = i == out->chosen ? 0 : -INFINITY;
        out->kl = -(double)log_prior[out->chosen];
        return;
    }
    if (policy->imitates)
        imitate(log_prior, work, out);
    else
        keel_policy_tilt(log_prior, work->advantage, work->masked, out->n, policy->beta, work->log_pi,
                         &out->kl);
    out->chosen = argmax(work->log_pi, out->n);
}

keel_status keel_policy_weigh(keel_policy *policy, const double weight[KEEL_N_REWARDS], keel_err *err) {
    if (!policy->conditioned) {
        keel_fail(err, KEEL_E_INVALID, "weights",
                  "the policy was trained for one weighting and decides by no other");
        return keel_hint(err, "train one for all with --set conditioned=true");
    }
    KEEL_TRY(keel_weighting_check(weight, err));
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        if (weight[k] > 0 && !policy->covered[k])
            return keel_fail(err, KEEL_E_INVALID, "weights",
                             "%s: expected 0, since its log never had it, got %g", keel_reward_name(k),
                             weight[k]);
    bool own = true;
    for (int k = 0; k < KEEL_N_REWARDS; k++) own = own && weight[k] == policy->own_weight[k];
    policy->beta = own ? policy->own_beta : keel_weighting_beta(policy->lattice_beta, weight);
    memcpy(policy->weight, weight, sizeof policy->weight);
    return KEEL_OK;
}

static keel_status decide(const keel_policy *policy, const keel_features *features, bool leaves,
                          keel_arena *scratch, keel_choice *out, keel_err *err) {
    choice_work work;
    size_t n = features->n_actions;
    bool offered = false;
    KEEL_TRY(check_features(policy, features, err));
    for (size_t i = 0; i < n; i++) offered = offered || features->log_prior[i] > -INFINITY;
    if (!offered) return keel_fail(err, KEEL_E_INVALID, "policy", "none of the %zu actions is on offer", n);
    if (!make_room(&work, n, policy->net.shape.heads, policy->net.shape.cost, scratch))
        return keel_nomem(err, "policy");
    KEEL_TRY(judge(policy, features, &work, scratch, err));
    keel_choice made = show(&work, features);
    log_partition(features->log_prior, work.q_w, NULL, n, 0, &made.value); /* beta 0: the prior's own mean */
    for (size_t i = 0; i < n; i++) work.advantage[i] = work.q_w[i] - (float)made.value;
    apply_threshold(policy, features, &work, &made);
    const size_t fixed = leaves ? leave(policy, features, work.cost) : n;
    if (fixed < n) {
        made.fallback = true;
        made.chosen = fixed;
    }
    choose(policy, features->log_prior, &work, &made);
    *out = made;
    return KEEL_OK;
}

keel_status keel_policy_decide(const keel_policy *policy, const keel_features *features, keel_arena *scratch,
                               keel_choice *out, keel_err *err) {
    return decide(policy, features, false, scratch, out, err);
}

keel_status keel_policy_decide_at(const keel_policy *policy, const keel_base *base,
                                  const keel_conversation *conversation, size_t decision,
                                  const keel_features *features, keel_arena *scratch, keel_choice *out,
                                  keel_err *err) {
    keel_place place;
    double distance = (double)NAN;
    if (policy->familiar.n) {
        KEEL_TRY(keel_base_place(base, conversation, decision, features, false, scratch, &place, err));
        distance = keel_familiar_distance(&policy->familiar, &place);
    }
    const bool unfamiliar = distance > policy->familiar.threshold; /* false for NaN */
    KEEL_TRY(decide(policy, features, unfamiliar && policy->leave_unfamiliar, scratch, out, err));
    out->distance = distance;
    out->unfamiliar = unfamiliar;
    return KEEL_OK;
}

void keel_policy_when_unfamiliar(keel_policy *policy, bool fall_back) {
    policy->leave_unfamiliar = fall_back;
}

keel_status keel_policy_mask_above(keel_policy *policy, double threshold, keel_err *err) {
    if (!policy->net.shape.cost)
        return keel_fail(
            err, KEEL_E_USAGE, "--harm-threshold",
            "this policy (%s) has no critic of the cost of harm: its algorithm has none, or its log "
            "held no harm",
            policy->algorithm);
    policy->harm_threshold = threshold;
    return KEEL_OK;
}

keel_status keel_policy_check_familiar(const keel_policy *policy, keel_err *err) {
    if (policy->familiar.n) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, "--unfamiliar", "this policy does not know the states that it learned from");
    return keel_hint(err, "train it anew");
}

keel_status keel_base_decide(const keel_features *features, keel_arena *scratch, keel_choice *out,
                             keel_err *err) {
    choice_work work;
    size_t n = features->n_actions;
    if (n == 0) return keel_fail(err, KEEL_E_INVALID, "base", "a decision without any candidate");
    if (!make_room(&work, n, 1, false, scratch)) return keel_nomem(err, "base");
    memcpy(work.log_pi, features->log_prior, n * sizeof *work.log_pi);
    for (size_t i = 0; i < n; i++) work.masked[i] = !(features->log_prior[i] > -INFINITY);
    *out = show(&work, features);
    out->chosen = argmax(work.log_pi, n);
    return KEEL_OK;
}

keel_status keel_policy_check_base(const keel_policy *policy, const keel_base *base, keel_err *err) {
    if (strcmp(policy->base_hash, base->hash) == 0) return KEEL_OK;
    keel_fail(err, KEEL_E_CONFLICT, "policy", "it was trained on base %.64s, but the base given is %.64s",
              policy->base_hash, base->hash);
    return keel_hint(err, "give the base the policy was trained on, or train a policy on this one");
}

keel_status keel_policy_rebind(keel_policy *policy, const keel_base *base, keel_err *err) {
    const keel_qnet_shape *shape = &policy->net.shape;
    bool same = shape->space == base->space && policy->n_acts == base->n_acts &&
                shape->candidate_dim == base->candidate_dim && policy->n_fixed == base->n_fixed &&
                shape->state_dim == base->state_dim + (policy->conditioned ? KEEL_N_REWARDS : 0);
    for (size_t i = 0; same && i < policy->n_acts; i++) same = strcmp(policy->acts[i], base->acts[i]) == 0;
    if (!same) {
        keel_fail(err, KEEL_E_CONFLICT, "policy",
                  "this base has other features or actions than the policy's");
        return keel_hint(err, "train a policy on it: keel train");
    }
    memcpy(policy->base_hash, base->hash, sizeof policy->base_hash);
    return KEEL_OK;
}
