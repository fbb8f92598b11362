/* A base's folder from a fuzzer's input, and what a base that loads must do: finite features, and a prior
 * that sums to one. */
#ifndef KEEL_TESTS_FUZZ_BASE_USE_H
#define KEEL_TESTS_FUZZ_BASE_USE_H

#include <math.h>

#include "artefact_parts.h"
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

/* names [n]: its files, one a part of the input. */
static inline int fuzz_base_folder(const char *type, const char *const *names, size_t n, const uint8_t *data,
                                   size_t size) {
    keel_base *base = NULL;
    keel_arena arena = {0};
    const char *dir = fuzz_artefact("base", type, data, size, names, n);
    if (fuzz_ok(keel_base_load(&base, dir, &fuzz_err))) {
        fuzz_use_base(base, &arena);
        (void)keel_base_act_index(base, "refuse");
    }
    keel_base_close(base);
    keel_arena_free(&arena);
    return 0;
}

#endif
