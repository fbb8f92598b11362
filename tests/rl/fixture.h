/* A store with logs and a base that is known by heart: features are one-hot, so that every number can be
 * worked out by hand. The last digit of the last user text is the state, the last digit of a candidate's text
 * or act its feature; the prior is proportional to 1 + digit for candidate sets and uniform over acts. */
#ifndef KEEL_TESTS_RL_FIXTURE_H
#define KEEL_TESTS_RL_FIXTURE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "datasets/store.h"
#include "policies/policy_internal.h"
#include "rewards/reward.h"
#include "support/scratch.h"

enum { FIXTURE_DIM = 10 };

#define MUST(call)                                                                                           \
    do {                                                                                                     \
        keel_err must_err_ = {0}, *err = &must_err_;                                                         \
        if ((call) != KEEL_OK) fail_msg("%s: %s: %s", #call, must_err_.where, must_err_.message);            \
    } while (0)

static inline size_t last_digit(const char *text) {
    size_t length = text ? strlen(text) : 0;
    return length && text[length - 1] >= '0' && text[length - 1] <= '9' ? (size_t)(text[length - 1] - '0')
                                                                        : 0;
}

static keel_status fixture_encode(const keel_base *base, const keel_conversation *conversation,
                                  size_t decision, keel_arena *scratch, keel_features *out, keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    bool sets = base->space == KEEL_SPACE_CANDIDATES;
    size_t n = sets ? at->n_candidates : base->n_acts;
    float *state = keel_arena_calloc(scratch, FIXTURE_DIM, sizeof *state);
    float *candidates = keel_arena_calloc(scratch, n * FIXTURE_DIM, sizeof *candidates);
    float *prior = keel_arena_calloc(scratch, n, sizeof *prior);
    if (!state || !candidates || !prior) return keel_fail(err, KEEL_E_NOMEM, "fixture", "no memory");
    double total = 0;
    for (size_t t = 0; t < at->turn; ++t)
        if (conversation->turns[t].role == KEEL_ROLE_USER) {
            memset(state, 0, FIXTURE_DIM * sizeof *state);
            state[last_digit(conversation->turns[t].text)] = 1;
        }
    for (size_t i = 0; i < n; ++i) {
        size_t digit = sets ? last_digit(at->candidates[i].text) : 0;
        candidates[i * FIXTURE_DIM + digit] = 1;
        prior[i] = (float)(1 + digit);
        total += 1 + (double)digit;
    }
    for (size_t i = 0; i < n; ++i) prior[i] = (float)log((double)prior[i] / total);
    *out = (keel_features){FIXTURE_DIM, sets ? FIXTURE_DIM : 0,   sets ? n : 0, n,
                           state,       sets ? candidates : NULL, prior};
    return KEEL_OK;
}

typedef keel_status fixture_encoder(const keel_base *base, const keel_conversation *conversation,
                                    size_t decision, keel_arena *scratch, keel_features *out, keel_err *err);

static inline keel_status fixture_each(fixture_encoder *encode, const keel_base *base,
                                       const keel_base_item *items, size_t n, keel_arena *scratch,
                                       keel_err *err) {
    for (size_t i = 0; i < n; ++i)
        for (size_t k = 0; k < items[i].n; ++k) {
            size_t decision = items[i].decision ? items[i].decision[k] : k;
            KEEL_TRY(encode(base, items[i].conversation, decision, scratch, &items[i].features[k], err));
        }
    return KEEL_OK;
}

static keel_status fixture_encode_items(const keel_base *base, const keel_base_item *items, size_t n,
                                        keel_arena *scratch, keel_err *err) {
    return fixture_each(fixture_encode, base, items, n, scratch, err);
}

static void fixture_close(keel_base *base) {
    (void)base;
}

static const keel_base_kind fixture_kind = {
    .type = "fixture", .encode = fixture_encode_items, .close = fixture_close};
static const char *fixture_acts[] = {"act0", "act1", "act2"};

static inline keel_base fixture_base(keel_action_space space) {
    bool sets = space == KEEL_SPACE_CANDIDATES;
    keel_base base = {.kind = &fixture_kind,
                      .space = space,
                      .n_acts = sets ? 0 : 3,
                      .acts = sets ? NULL : fixture_acts,
                      .state_dim = FIXTURE_DIM,
                      .candidate_dim = sets ? FIXTURE_DIM : 0};
    memset(base.hash, 'a' + (int)space, 64);
    return base;
}

/* A policy on the base whose Q of an action is `bias` of its digit (sets) or place (acts), whatever the
 * state. */
static inline void fixture_policy(keel_policy *policy, const keel_base *base, const float *bias,
                                  double beta) {
    *policy = (keel_policy){.n_acts = base->n_acts, .acts = base->acts, .beta = beta, .fallback_act = -1};
    keel_qnet_shape shape = {.space = base->space,
                             .state_dim = base->state_dim,
                             .candidate_dim = base->candidate_dim,
                             .n_acts = base->n_acts,
                             .heads = 1,
                             .critics = 1};
    memcpy(policy->base_hash, base->hash, sizeof policy->base_hash);
    MUST(keel_qnet_open(&policy->net, &shape, err));
    float *weight = policy->net.params.data;
    if (base->space == KEEL_SPACE_CANDIDATES)
        memcpy(weight, bias, FIXTURE_DIM * sizeof *bias); /* a row begins with the candidate */
    else
        memcpy(keel_params_at(&policy->net.params, 1), bias, base->n_acts * sizeof *bias);
    for (size_t risk = 0; risk < 3; ++risk)
        policy->act_outcome[risk] = keel_arena_calloc(&policy->arena, 3, sizeof(keel_outcome));
}

static inline void fixture_policy_free(keel_policy *policy) {
    keel_qnet_close(&policy->net);
    keel_arena_free(&policy->arena);
}

/* ---- logs ---- */

static inline keel_store *fixture_store(const char *name) {
    char folder[256];
    keel_store *store = NULL;
    assert_non_null(scratch_make(folder, name));
    MUST(keel_store_open(&store, scratch_path(folder, "logs.keel"), KEEL_STORE_CREATE, err));
    return store;
}

/* One conversation: user texts alternate with answers; decision d offers candidates[d * width .. ). */
static inline void fixture_add(keel_store *store, const char *id, keel_risk risk, keel_tri completed,
                               const char *const *users, size_t n, keel_candidate *candidates, size_t width) {
    keel_turn turns[32] = {0};
    keel_decision decisions[16];
    for (size_t d = 0; d < n; ++d) {
        keel_candidate *first = &candidates[d * width];
        turns[2 * d] = (keel_turn){.role = KEEL_ROLE_USER, .text = users[d]};
        turns[2 * d + 1] = (keel_turn){
            .role = KEEL_ROLE_ASSISTANT, .text = first->text ? first->text : "", .act = first->act};
        for (size_t c = 0; c < width; ++c)
            if (!first[c].text) first[c].text = "";
        decisions[d] = (keel_decision){.turn = 2 * d + 1, .n_candidates = width, .candidates = first};
    }
    keel_conversation conversation = {.source = "chat",
                                      .external_id = id,
                                      .split = "train",
                                      .risk = risk,
                                      .completed = completed,
                                      .n_turns = 2 * n,
                                      .turns = turns,
                                      .n_decisions = n,
                                      .decisions = decisions};
    keel_added added;
    MUST(keel_store_begin(store, err));
    MUST(keel_store_add_conversation(store, &conversation, false, id, &added, err));
    MUST(keel_store_commit(store, err));
}

/* Transitions of all conversations. */
static inline void fixture_derive_under(keel_store *store, const keel_reward_config *config) {
    keel_cursor *cursor = NULL;
    keel_arena arena = {0};
    keel_conversation *conversation;
    MUST(keel_store_begin(store, err));
    MUST(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, err));
    for (;;) {
        keel_transition transitions[64];
        MUST(keel_cursor_next(cursor, &arena, &conversation, err));
        if (!conversation) break;
        size_t count = keel_reward_transitions(config, conversation, transitions);
        MUST(keel_store_put_transitions(store, conversation->id, transitions, count, err));
        keel_arena_reset(&arena);
    }
    keel_cursor_close(cursor);
    MUST(keel_store_commit(store, err));
    keel_arena_free(&arena);
}

/* By the standard rewards. */
static inline void fixture_derive(keel_store *store) {
    keel_reward_config config = {0};
    MUST(keel_options_defaults(keel_reward_options, &config, err));
    fixture_derive_under(store, &config);
}

#endif
