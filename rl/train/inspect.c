#include "rl/train/inspect.h"

#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "policies/policy_internal.h"

/* What a component, or the composite of one head, can return: [0] at a last decision, [1] elsewhere. */
typedef struct reach {
    bool known;
    double low[2], high[2], margin[2];
} reach;

typedef struct look {
    const keel_export *with;
    const keel_policy *policy;
    reach heads[KEEL_N_REWARDS];
    keel_inspection *found;
} look;

/* ---- what rewards allow ---- */

/* The least and largest reward of a component, by the log and by rule. */
static void range_of(const keel_export *with, int k, double *low, double *high) {
    const keel_sampler_summary *about = keel_sampler_about(with->sampler);
    *low = about->reward_low[k];
    *high = about->reward_high[k];
    for (int risk = 0; with->rewards && risk <= KEEL_RISK_DANGEROUS; ++risk)
        for (int outcome = 0; outcome <= KEEL_N_OUTCOMES; ++outcome) {
            const keel_reward rule =
                keel_reward_by_rule(with->rewards, (keel_risk)risk, (keel_outcome)outcome);
            if (!rule.present[k]) continue;
            *low = fmin(*low, (double)rule.value[k]);
            *high = fmax(*high, (double)rule.value[k]);
        }
}

static reach reach_of(const keel_export *with, double low, double high) {
    const double gamma = with->learner->config.gamma,
                 longest = fmax(1, (double)keel_sampler_about(with->sampler)->largest_return_length),
                 horizon = (1 - pow(gamma, longest)) / (1 - gamma);
    reach made = {
        .known = true, .low = {low, fmin(low, horizon * low)}, .high = {high, fmax(high, horizon * high)}};
    for (int i = 0; i < 2; ++i) made.margin[i] = (made.high[i] - made.low[i]) / 20;
    return made;
}

static void find_reach(look *at) {
    const keel_learner *learner = at->with->learner;
    const bool vector = at->policy->net.shape.heads == KEEL_N_REWARDS;
    double least = INFINITY, most = -INFINITY, total = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        double low, high;
        if (!learner->covered[k]) continue;
        range_of(at->with, k, &low, &high);
        least = fmin(least, low);
        most = fmax(most, high);
        total += learner->weight[k];
        if (vector) at->heads[k] = reach_of(at->with, low, high);
    }
    if (!vector && total > 0) at->heads[0] = reach_of(at->with, total * least, total * most);
}

static void check_q(look *at, const keel_batch *batch, size_t b, const keel_choice *choice) {
    const size_t heads = at->policy->net.shape.heads;
    const int place = batch->bootstrap[b] > 0;
    bool outside = false;
    if (!at->with->learner->kind->next_value || at->policy->imitates || !batch->usable[b]) return;
    for (size_t k = 0; k < heads; ++k) {
        const reach *head = &at->heads[k];
        const double q = (double)choice->q[(size_t)batch->action[b] * heads + k],
                     beyond = fmax(head->low[place] - q, q - head->high[place]);
        if (!head->known || !(beyond > head->margin[place])) continue;
        at->found->excess = fmax(at->found->excess, beyond);
        outside = true;
    }
    at->found->valued++;
    at->found->outside += outside;
}

/* ---- decisions ---- */

static keel_features features_of(const look *at, const keel_batch *batch, size_t b) {
    const keel_base *base = at->with->base;
    const bool sets = base->space == KEEL_SPACE_CANDIDATES;
    const size_t first = sets ? (size_t)batch->offsets[b] : b * base->n_acts;
    const size_t n = sets ? (size_t)(batch->offsets[b + 1] - batch->offsets[b]) : base->n_acts;
    return (keel_features){.state_dim = base->state_dim,
                           .candidate_dim = sets ? base->candidate_dim : 0,
                           .n_candidates = sets ? n : 0,
                           .n_actions = n,
                           .state = batch->state + b * base->state_dim,
                           .candidates = sets ? batch->candidates + first * base->candidate_dim : NULL,
                           .log_prior = batch->log_prior + first};
}

static bool same_floats(const float *a, const float *b, size_t n) {
    return n == 0 || (a && b && memcmp(a, b, n * sizeof *a) == 0);
}

/* Several answers may have been taken at one decision: their transitions follow each other. */
static bool same_decision(const keel_features *a, const keel_features *b) {
    return a->n_actions == b->n_actions && same_floats(a->state, b->state, a->state_dim) &&
           same_floats(a->candidates, b->candidates, a->n_candidates * a->candidate_dim) &&
           same_floats(a->log_prior, b->log_prior, a->n_actions);
}

static size_t likeliest(const float *log_prior, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; ++i)
        if (log_prior[i] > log_prior[best]) best = i;
    return best;
}

static keel_status inspect_batch(look *at, const keel_batch *batch, keel_arena *arena, keel_err *err) {
    for (size_t b = 0; b < batch->n;) {
        const keel_features features = features_of(at, batch, b);
        keel_choice choice;
        bool agrees = false;
        if (features.n_actions == 0) {
            b++;
            continue;
        }
        KEEL_TRY(keel_policy_decide(at->policy, &features, arena, &choice, err));
        for (bool same = true; same; same = b < batch->n) {
            const keel_features next = features_of(at, batch, b);
            if (!same_decision(&features, &next)) break;
            agrees |= (size_t)batch->action[b] == choice.chosen;
            check_q(at, batch, b, &choice);
            b++;
        }
        at->found->decisions++;
        at->found->fallbacks += choice.fallback;
        at->found->from_log += !agrees;
        at->found->from_base += choice.chosen != likeliest(features.log_prior, features.n_actions);
    }
    return KEEL_OK;
}

keel_status keel_inspect(const keel_export *with, const keel_policy *policy, keel_inspection *out,
                         keel_err *err) {
    const keel_learner_config *config = &with->learner->config;
    const size_t transitions = keel_sampler_about(with->sampler)->transitions, size = (size_t)config->batch;
    const size_t blocks = (transitions + size - 1) / size, most = (KEEL_INSPECTED + size - 1) / size;
    const size_t wanted = blocks < most ? blocks : most;
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    *out = (keel_inspection){.beta_at_limit = config->kl_budget > 0 && !policy->imitates &&
                                              with->learner->kind->next_value &&
                                              policy->beta >= config->beta_limit};
    look at = {.with = with, .policy = policy, .found = out};
    find_reach(&at);
    for (size_t i = 0; status == KEEL_OK && i < wanted; ++i) {
        keel_batch batch;
        keel_arena_reset(&arena);
        status = keel_sampler_read(with->sampler, i * blocks / wanted * size, &batch, err);
        if (status == KEEL_OK) status = inspect_batch(&at, &batch, &arena, err);
    }
    keel_arena_free(&arena);
    return status;
}

/* ---- what is told and recorded ---- */

void keel_inspection_tell(const keel_inspection *found, const keel_export *with, const keel_policy *policy) {
    keel_log(KEEL_LOG_INFO,
             "the policy differs from the base in %zu of %zu decisions that it learned from, from the log in "
             "%zu",
             found->from_base, found->decisions, found->from_log);
    if (found->beta_at_limit)
        keel_log(
            KEEL_LOG_INFO,
            "note: the search for beta stopped at its limit, %g: Q tells the actions apart too little to "
            "spend the KL budget of %g (beta_limit)",
            policy->beta, with->learner->config.kl_budget);
    if (found->outside)
        keel_log(
            KEEL_LOG_INFO,
            "warning: Q of %zu of %zu logged actions lies outside what rewards allow, by up to %.3g: trust rates and intervals of `keel eval`, not Q (keel train --explain)",
            found->outside, found->valued, found->excess);
}

static bool add_count(cJSON *to, const char *key, size_t count) {
    return cJSON_AddNumberToObject(to, key, (double)count) != NULL;
}

bool keel_inspection_add(cJSON *metrics, const keel_inspection *found, const keel_policy *policy) {
    cJSON *differing = cJSON_AddObjectToObject(metrics, "differing");
    bool whole = differing && add_count(differing, "decisions", found->decisions) &&
                 add_count(differing, "from_base", found->from_base) &&
                 add_count(differing, "from_log", found->from_log) &&
                 add_count(differing, "fallbacks", found->fallbacks);
    if (policy->imitates) return whole;
    whole = whole && cJSON_AddNumberToObject(metrics, "beta", policy->beta) &&
            cJSON_AddBoolToObject(metrics, "beta_at_limit", found->beta_at_limit);
    cJSON *outside = whole ? cJSON_AddObjectToObject(metrics, "q_outside") : NULL;
    return outside && add_count(outside, "transitions", found->valued) &&
           add_count(outside, "outside", found->outside) &&
           cJSON_AddNumberToObject(outside, "excess", found->excess);
}
