/* What a base that loaded must do: finite features, and a prior that sums to one. */
#ifndef KEEL_TESTS_FUZZ_BASE_USE_H
#define KEEL_TESTS_FUZZ_BASE_USE_H

#include <math.h>

#include "fuzz.h"
#include "policies/base.h"

static inline void fuzz_use_base(const keel_base *base, keel_arena *arena) {
    keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = "How do I bake bread? \xe6\x80\x8e"},
                         {.role = KEEL_ROLE_ASSISTANT, .text = "Flour, water."},
                         {.role = KEEL_ROLE_USER, .text = ""}};
    keel_candidate candidates[] = {{.text = "Mix flour and water."}, {.text = "No.", .taken = true}};
    keel_decision decision = {.turn = 3, .n_candidates = 2, .candidates = candidates};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "1",
                                      .split = "train",
                                      .n_turns = 3,
                                      .turns = turns,
                                      .n_decisions = 1,
                                      .decisions = &decision};
    keel_features features;
    double sum = 0;
    if (!fuzz_ok(keel_base_encode_decision(base, &conversation, 0, arena, &features, &fuzz_err))) return;
    for (size_t i = 0; i < features.state_dim; i++) FUZZ_CHECK(isfinite(features.state[i]));
    for (size_t i = 0; features.candidates && i < 2 * features.candidate_dim; i++)
        FUZZ_CHECK(isfinite(features.candidates[i]));
    for (size_t i = 0; i < features.n_actions; i++) sum += exp(features.log_prior[i]);
    FUZZ_CHECK(fabs(sum - 1) < 1e-3);
}

#endif
