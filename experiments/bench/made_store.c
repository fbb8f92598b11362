#include "experiments/bench/made_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/pcg.h"

enum { MAX_FEATURES = 1 << 16, MAX_ACTS = 64 };

typedef struct making {
    keel_store *store;
    keel_rng rng;
    size_t turns, features;
    const char *const *acts;
    size_t n_acts;
} making;

void bench_need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

/* Its rows' ids end up in decisions and taken. */
static void add_conversation(making *m, size_t index, keel_decision *decisions, keel_candidate *taken) {
    static keel_turn turns[2 * BENCH_MAX_TURNS];
    keel_err err = {0};
    keel_added added;
    char id[24];
    snprintf(id, sizeof id, "%zu", index);
    for (size_t t = 0; t < m->turns; ++t) {
        const char *act = m->acts[keel_rng_below(&m->rng, m->n_acts)];
        turns[2 * t] = (keel_turn){.role = KEEL_ROLE_USER, .text = ""};
        turns[2 * t + 1] = (keel_turn){.role = KEEL_ROLE_ASSISTANT, .text = "", .act = act};
        taken[t] = (keel_candidate){.act = act, .taken = true};
        decisions[t] = (keel_decision){.turn = 2 * t + 1, .n_candidates = 1, .candidates = &taken[t]};
    }
    keel_conversation made = {.source = "bench",
                              .external_id = id,
                              .completed = KEEL_UNKNOWN,
                              .n_turns = 2 * m->turns,
                              .turns = turns,
                              .n_decisions = m->turns,
                              .decisions = decisions};
    bench_need(keel_store_add_conversation(m->store, &made, false, "bench", &added, &err), &err);
}

static void add_features(making *m, int64_t decision) {
    static float state[MAX_FEATURES], prior[MAX_ACTS];
    keel_err err = {0};
    keel_features made = {
        .state_dim = m->features, .n_actions = m->n_acts, .state = state, .log_prior = prior};
    for (size_t i = 0; i < m->features; ++i) state[i] = (float)keel_rng_normal(&m->rng);
    bench_need(keel_store_put_features(m->store, "bench", decision, &made, &err), &err);
}

static void add_transitions(making *m, const keel_decision *decisions) {
    keel_transition made[BENCH_MAX_TURNS];
    keel_err err = {0};
    for (size_t t = 0; t < m->turns; ++t) {
        made[t] = (keel_transition){.decision_id = decisions[t].id,
                                    .candidate_id = decisions[t].candidates[0].id,
                                    .next_decision_id = t + 1 < m->turns ? decisions[t + 1].id : 0,
                                    .terminal = t + 1 == m->turns};
        for (int k = 0; k < KEEL_N_REWARDS; ++k) {
            made[t].reward.value[k] = (float)(2 * keel_rng_uniform(&m->rng) - 1);
            made[t].reward.present[k] = true;
        }
        add_features(m, decisions[t].id);
    }
    bench_need(keel_store_add_transitions(m->store, made, m->turns, &err), &err);
}

void bench_fill_store(keel_store *store, size_t conversations, size_t turns, size_t features,
                      const char *const *acts, size_t n_acts) {
    making m = {store, keel_rng_stream(1, KEEL_STREAM_MADE, 0), turns, features, acts, n_acts};
    keel_decision decisions[BENCH_MAX_TURNS];
    keel_candidate taken[BENCH_MAX_TURNS];
    keel_err err = {0};
    if (turns > BENCH_MAX_TURNS || features > MAX_FEATURES || n_acts > MAX_ACTS) abort();
    bench_need(keel_store_begin(store, &err), &err);
    for (size_t c = 0; c < conversations; ++c) {
        add_conversation(&m, c, decisions, taken);
        add_transitions(&m, decisions);
    }
    bench_need(keel_store_commit(store, &err), &err);
}
