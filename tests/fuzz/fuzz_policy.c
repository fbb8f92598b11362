/* A policy's folder: config.json and model.safetensors. What loads holds numbers only, and decides. */
#include <math.h>

#include "artefact_parts.h"
#include "policies/policy_internal.h"

/* Features in the policy's own shape: two candidates, or every act alike. */
static void decide(const keel_policy *policy, keel_arena *arena) {
    const keel_qnet_shape *shape = &policy->net.shape;
    bool sets = shape->space == KEEL_SPACE_CANDIDATES;
    size_t n = sets ? 2 : shape->n_acts, rows = sets ? 2 : 0;
    size_t state_dim = shape->state_dim - (policy->conditioned ? KEEL_N_REWARDS : 0);
    float *state = keel_arena_calloc(arena, state_dim, sizeof *state);
    float *candidates = keel_arena_calloc(arena, rows * shape->candidate_dim, sizeof *candidates);
    float *prior = keel_arena_alloc(arena, n * sizeof *prior);
    FUZZ_CHECK(state && candidates && prior);
    for (size_t i = 0; i < n; i++) prior[i] = logf(1 / (float)n);
    keel_features features = {state_dim, sets ? shape->candidate_dim : 0, rows, n,
                              state,     sets ? candidates : NULL,        prior};
    keel_choice choice;
    if (!fuzz_ok(keel_policy_decide(policy, &features, arena, &choice, &fuzz_err))) return;
    FUZZ_CHECK(choice.n == n && choice.chosen < n && !isnan(choice.log_pi[choice.chosen]));
    const keel_place place = {.n = 2, .dim = {1, 5}, .weight = {0.6f, 0.8f}};
    const double distance = keel_familiar_distance(&policy->familiar, &place);
    FUZZ_CHECK(policy->familiar.n ? distance > -300 && distance < 300 : isnan(distance));
}

static void check_numbers(const keel_policy *policy) {
    double sum = policy->beta + policy->cost_weight + fmin(policy->harm_threshold, 1e6); /* INFINITY: none */
    for (int k = 0; k < KEEL_N_REWARDS; k++) sum += policy->weight[k];
    for (size_t i = 0; i < policy->net.params.size; i++) FUZZ_CHECK(isfinite(policy->net.params.data[i]));
    FUZZ_CHECK(isfinite(sum) && policy->beta >= 0);
    for (int k = 0; k < KEEL_N_REWARDS; k++) FUZZ_CHECK(policy->weight[k] >= 0);
}

/* Under every weighting of the lattice that it takes. */
static void decide_weighed(keel_policy *policy, keel_arena *arena) {
    for (size_t i = 0; policy->conditioned && i < KEEL_N_LATTICE; i++) {
        double weight[KEEL_N_REWARDS];
        keel_weighting_point(i, weight);
        if (!fuzz_ok(keel_policy_weigh(policy, weight, &fuzz_err))) continue;
        check_numbers(policy);
        decide(policy, arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"config.json", "model.safetensors"};
    keel_policy *policy = NULL;
    keel_arena arena = {0};
    const char *dir = fuzz_artefact("policy", "cql", data, size, names, 2);
    if (fuzz_ok(keel_policy_load(&policy, dir, &fuzz_err))) {
        check_numbers(policy);
        decide(policy, &arena);
        decide_weighed(policy, &arena);
    }
    keel_policy_close(policy);
    keel_arena_free(&arena);
    return 0;
}
