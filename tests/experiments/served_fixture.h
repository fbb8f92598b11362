/* What tests of serving share: requests that were answered, made in an arena of their own. */
#ifndef KEEL_TESTS_EXPERIMENTS_SERVED_FIXTURE_H
#define KEEL_TESTS_EXPERIMENTS_SERVED_FIXTURE_H

#include <string.h>

#include "datasets/store_served.h"

/* A talk of so many exchanges, in which the user says `says`, `says` ... and the assistant "answer K of
 * NAME"; the last answer is what was served, beside a refusal. */
static inline keel_served *made_served(keel_arena *into, const char *request, const char *name,
                                       const char *says, size_t exchanges) {
    keel_served *s = keel_arena_calloc(into, 1, sizeof *s);
    keel_conversation *c = keel_arena_calloc(into, 1, sizeof *c);
    keel_turn *turns = keel_arena_calloc(into, 2 * exchanges, sizeof *turns);
    keel_decision *decision = keel_arena_calloc(into, 1, sizeof *decision);
    keel_candidate *candidates = keel_arena_calloc(into, 2, sizeof *candidates);
    if (!s || !c || !turns || !decision || !candidates) return NULL;
    for (size_t i = 0; i < exchanges; i++) {
        char text[200];
        snprintf(text, sizeof text, "answer %zu of %.100s", i, name);
        turns[2 * i] = (keel_turn){.role = KEEL_ROLE_USER, .text = keel_arena_strdup(into, says)};
        turns[2 * i + 1] = (keel_turn){.role = KEEL_ROLE_ASSISTANT, .text = keel_arena_strdup(into, text)};
        if (!turns[2 * i].text || !turns[2 * i + 1].text) return NULL;
    }
    candidates[0] = (keel_candidate){
        .text = turns[2 * exchanges - 1].text, .taken = true, .propensity = {true, 0.75}, .model = "m"};
    candidates[1] = (keel_candidate){.text = "I cannot help with that.", .model = "fixed"};
    *decision = (keel_decision){.turn = 2 * exchanges - 1, .n_candidates = 2, .candidates = candidates};
    *c = (keel_conversation){.source = KEEL_SERVED_SOURCE,
                             .external_id = keel_arena_strdup(into, name),
                             .completed = KEEL_UNKNOWN,
                             .n_turns = 2 * exchanges,
                             .turns = turns,
                             .n_decisions = 1,
                             .decisions = decision};
    *s = (keel_served){.request = keel_arena_strdup(into, request),
                       .conversation = c,
                       .would = -1,
                       .policy = "p",
                       .arm = "a",
                       .segment = "",
                       .at = 1000,
                       .propensity = {true, 0.75}};
    return c->external_id && s->request ? s : NULL;
}

#endif
