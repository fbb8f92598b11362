#include "rl/learn/reward_conditioning.h"

#include <math.h>

#include "policies/weighting.h"

keel_status keel_reward_conditioning_check(const keel_learner_config *config, keel_err *err) {
    static const char where[] = "conditioned";
    double total = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) total += config->weight[k];
    if (!config->vector_heads)
        return keel_fail(err, KEEL_E_INVALID, where,
                         "a head for each component is weighed: vector_heads: expected true, got false");
    if (config->keep_top < 100)
        return keel_fail(err, KEEL_E_INVALID, where,
                         "conversations are chosen by one composite: keep_top: expected 100, got %g",
                         config->keep_top);
    if (fabs(total - 1) > 1e-9)
        return keel_fail(err, KEEL_E_INVALID, where,
                         "weights (of %s) are shares: expected a sum of 1, got %g", keel_reward_list, total);
    return KEEL_OK;
}

/* Dirichlet over the components that are covered: shares of gamma draws. */
static void draw(const keel_learner *learner, keel_rng *rng, float *weight) {
    double part[KEEL_N_REWARDS] = {0}, total = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        if (learner->covered[k]) part[k] = keel_rng_gamma(rng, learner->config.concentration[k]);
        total += part[k];
    }
    for (int k = 0; k < KEEL_N_REWARDS; ++k) weight[k] = (float)(part[k] / total);
}

keel_status keel_reward_conditioning_batch(const keel_learner *learner, const keel_batch *batch,
                                           keel_arena *arena, keel_batch *out, keel_err *err) {
    size_t n = batch->n, wide = learner->net.shape.state_dim, dim = wide - KEEL_N_REWARDS;
    keel_arena_reset(arena);
    float *state = keel_arena_alloc(arena, n * wide * sizeof *state);
    float *next_state = keel_arena_alloc(arena, n * wide * sizeof *next_state);
    float *drawn = keel_arena_alloc(arena, n * KEEL_N_REWARDS * sizeof *drawn);
    if (!state || !next_state || !drawn)
        return keel_fail(err, KEEL_E_NOMEM, "learner", "no memory for the weights of a step");
    keel_rng rng = keel_rng_stream((uint64_t)learner->config.seed, KEEL_STREAM_WEIGHTS, learner->step);
    for (size_t i = 0; !batch->weight && i < n; ++i) draw(learner, &rng, drawn + i * KEEL_N_REWARDS);
    const float *weight = batch->weight ? batch->weight : drawn;
    for (size_t i = 0; i < n; ++i) {
        const float *own = weight + i * KEEL_N_REWARDS;
        keel_weighting_extend(batch->state + i * dim, own, dim, state + i * wide);
        keel_weighting_extend(batch->next_state + i * dim, own, dim, next_state + i * wide);
    }
    *out = *batch;
    out->state = state;
    out->next_state = next_state;
    out->weight = weight;
    return KEEL_OK;
}
