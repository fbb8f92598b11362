/* What a draw does to candidate sets. A log of one response a prompt has sets of one, and a set of several
 * has the models that were deployed then: a learner that sees nothing else learns nothing of other answers,
 * and takes one complying rival for a proof that complying is right. */
#include <math.h>
#include <string.h>

#include "datasets/sampler_internal.h"

bool keel__others_wanted(const keel_sampler_config *config) {
    const keel_sampler_others *others = &config->others;
    return config->space == KEEL_SPACE_CANDIDATES &&
           (others->drop > 0 || others->plant > 0 || others->alternatives > 0);
}

size_t keel__others_most(const keel_sampler_config *config) {
    return config->others.alternatives + (config->others.plant > 0);
}

/* ---- the pool ---- */

keel_status keel__pool_room(keel__pool *pool, const keel_sampler_config *config, size_t n, keel_arena *arena,
                            keel_err *err) {
    *pool = (keel__pool){.state = keel_arena_calloc(arena, n * config->state_dim, sizeof(float)),
                         .row = keel_arena_calloc(arena, n * config->candidate_dim, sizeof(float)),
                         .group = keel_arena_calloc(arena, n, sizeof(int64_t)),
                         .outcome = keel_arena_calloc(arena, n, 1),
                         .complying = keel_arena_calloc(arena, n, sizeof(size_t))};
    bool whole = pool->state && pool->row && pool->group && pool->outcome && pool->complying;
    return whole ? KEEL_OK : keel_nomem(err, "sampler");
}

void keel__pool_add(keel__pool *pool, const keel_sampler_config *config, const keel__record *record,
                    const float *state, const float *row) {
    size_t at = pool->n++;
    memcpy(pool->state + at * config->state_dim, state, config->state_dim * sizeof *state);
    memcpy(pool->row + at * config->candidate_dim, row, config->candidate_dim * sizeof *row);
    pool->group[at] = record->group;
    pool->outcome[at] = record->outcome;
    if (record->outcome == KEEL_OUTCOME_COMPLIANCE) pool->complying[pool->n_complying++] = at;
}

/* ---- one set ---- */

void keel__rule_fill(const keel_sampler_config *config, const keel__record *record, int outcome,
                     float *reward, uint8_t *present) {
    memset(reward, 0, KEEL_N_REWARDS * sizeof *reward);
    memset(present, 0, KEEL_N_REWARDS);
    if (!config->rule || !record->alone) return;
    const keel_reward *rule = &config->rule[record->risk * (1 + KEEL_N_OUTCOMES) + outcome];
    for (size_t k = 0; k < KEEL_N_REWARDS; k++) {
        present[k] = rule->present[k];
        if (rule->present[k]) reward[k] = rule->value[k];
    }
}

/* A row at the end of the set, of which no rule says anything yet. */
static size_t add_row(const keel_sampler_config *config, keel__set *set, const float *row, float log_prior,
                      float log_weight) {
    size_t at = set->all++;
    memcpy(set->to_rows + at * config->candidate_dim, row, config->candidate_dim * sizeof *row);
    set->to_log_prior[at] = log_prior;
    set->to_log_weight[at] = log_weight;
    memset(set->to_rule + at * KEEL_N_REWARDS, 0, KEEL_N_REWARDS * sizeof *set->to_rule);
    memset(set->to_present + at * KEEL_N_REWARDS, 0, KEEL_N_REWARDS);
    set->to_declines[at] = 0;
    return at;
}

static bool fits(const keel_sampler_config *config, const keel__pool *pool, const keel__set *set, size_t at) {
    size_t dim = config->candidate_dim;
    if (pool->group[at] == set->record->group) return false;
    for (size_t i = 0; i < set->all; i++)
        if (memcmp(set->to_rows + i * dim, pool->row + at * dim, dim * sizeof(float)) == 0) return false;
    return true;
}

static double distance(const keel_sampler_config *config, const keel__pool *pool, const keel__set *set,
                       size_t at) {
    const float *other = pool->state + at * config->state_dim;
    double sum = 0;
    for (size_t i = 0; i < config->state_dim; i++) {
        double d = (double)set->state[i] - (double)other[i];
        sum += d * d;
    }
    return sum;
}

enum { TRIES = 4 }; /* for a response that fits; a pool of one group has none */

static size_t any_other(const keel_sampler_config *config, const keel__pool *pool, const size_t *among,
                        size_t n, const keel__set *set, keel_rng *rng) {
    for (int i = 0; n > 0 && i < TRIES; i++) {
        size_t at = keel_rng_below(rng, n);
        if (among) at = among[at];
        if (fits(config, pool, set, at)) return at;
    }
    return pool->n;
}

static size_t near_other(const keel_sampler_config *config, const keel__pool *pool, const keel__set *set,
                         keel_rng *rng) {
    size_t best = pool->n;
    double nearest = INFINITY;
    for (int i = 0; i < KEEL_SAMPLER_NEAREST; i++) {
        size_t at = keel_rng_below(rng, pool->n);
        double far = distance(config, pool, set, at);
        if (far >= nearest || !fits(config, pool, set, at)) continue;
        nearest = far;
        best = at;
    }
    return best;
}

/* A refusal of another conversation is a refusal here: where the rule says what it earns it is learned from,
 * and is no action of which nothing is known. */
static void apply_rule(const keel_sampler_config *config, keel_outcome outcome, size_t row, keel__set *set) {
    uint8_t *present = set->to_present + row * KEEL_N_REWARDS;
    set->to_declines[row] = outcome == KEEL_OUTCOME_REFUSAL;
    keel__rule_fill(config, set->record, (int)outcome, set->to_rule + row * KEEL_N_REWARDS, present);
    for (size_t k = 0; k < KEEL_N_REWARDS; k++)
        if (present[k]) set->to_log_weight[row] = -INFINITY;
}

static void keep_own(const keel_sampler_config *config, const keel__pool *pool, keel_rng *rng,
                     keel__set *set) {
    const size_t taken = (size_t)set->action, logged = set->n - config->n_fixed;
    for (size_t i = 0; i < set->n; i++) {
        bool rival = i < logged && i != taken;
        if (pool && rival && keel_rng_uniform(rng) < config->others.drop) continue;
        if (i == taken) set->action = (int32_t)set->all;
        size_t row = add_row(config, set, set->rows + i * config->candidate_dim, set->log_prior[i], 0);
        if (i >= logged) apply_rule(config, config->fixed[i - logged].outcome, row, set);
        if (i == taken) set->to_declines[row] = set->record->outcome == KEEL_OUTCOME_REFUSAL;
    }
}

static void add_alternative(const keel_sampler_config *config, const keel__pool *pool, size_t at,
                            float log_weight, keel__set *set) {
    size_t row = add_row(config, set, pool->row + at * config->candidate_dim, -INFINITY, log_weight);
    if (pool->outcome[at] == KEEL_OUTCOME_REFUSAL) apply_rule(config, KEEL_OUTCOME_REFUSAL, row, set);
}

void keel__others_fill(const keel_sampler_config *config, const keel__pool *pool, keel_rng *rng,
                       keel__set *set) {
    const keel_sampler_others *others = &config->others;
    set->all = 0;
    keep_own(config, pool, rng, set);
    if (pool && pool->n_complying && keel_rng_uniform(rng) < others->plant) {
        size_t at = any_other(config, pool, pool->complying, pool->n_complying, set, rng);
        if (at < pool->n) add_row(config, set, pool->row + at * config->candidate_dim, -INFINITY, 0);
    }
    set->own = set->all;
    double n = (double)others->alternatives, stand = others->stands_for > 0 ? others->stands_for : n;
    for (size_t i = 0; pool && i < others->alternatives; i++) {
        size_t at =
            i % 2 ? any_other(config, pool, NULL, pool->n, set, rng) : near_other(config, pool, set, rng);
        if (at < pool->n) add_alternative(config, pool, at, (float)log(stand / n), set);
    }
}
