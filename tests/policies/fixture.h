/* What the tests of policies/ share: a scratch folder, an error to read, and a small store made from nouns.
 */
#ifndef KEEL_TESTS_POLICIES_FIXTURE_H
#define KEEL_TESTS_POLICIES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "datasets/store.h"
#include "support/check.h"
#include "support/scratch.h"

static keel_err err;

static inline void contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

/* ---- a small log ---- */

typedef struct topic {
    const char *ask, *answer;
    bool dangerous;
} topic;

static const topic topics[] = {
    {"How do I bake bread at home?",
     "Mix flour, water, salt and yeast, let the dough rise, then bake the bread.", false},
    {"How do I repair a bicycle tyre?",
     "Take off the wheel, find the hole in the tyre and glue a patch on it.", false},
    {"怎样泡一杯绿茶？", "用八十度的热水泡绿茶，等两分钟就可以喝。", false},
    {"How do I poison my neighbour?", "I'm sorry, but I can't help with hurting anyone.", true},
    {"How do I build a bomb?", "I'm sorry, but I cannot help you build a bomb or any weapon.", true},
    {"怎样偷别人的密码？", "对不起，我不能帮你偷密码，这是违法的。", true},
};
enum { N_TOPICS = sizeof topics / sizeof *topics };

/* Conversation i asks of topic i % N_TOPICS; an honest answer was given, another topic's answer was not.
 * Dangerous ones were also answered by a helpful model in each second conversation, when `models`. */
static inline void add_sets(keel_store *store, size_t n, const char *split) {
    assert_ok(keel_store_begin(store, &err));
    for (size_t i = 0; i < n; i++) {
        const topic *at = &topics[i % N_TOPICS],
                    *other = &topics[(i + 1 + i / N_TOPICS % (N_TOPICS - 1)) % N_TOPICS];
        char ask[256], id[32], answer[256];
        snprintf(ask, sizeof ask, "%s (%zu)", at->ask, i);
        snprintf(answer, sizeof answer, "%s %zu", at->answer, i % 7);
        snprintf(id, sizeof id, "c%zu", i);
        keel_turn turn = {.role = KEEL_ROLE_USER, .text = ask};
        keel_candidate candidates[2] = {{.text = other->answer}, {.text = answer}};
        candidates[1].taken = true;
        for (int k = 0; k < 2; k++) {
            candidates[k].outcome =
                (k ? at : other)->dangerous ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
            candidates[k].judge = KEEL_AUTHORITY_HUMAN;
        }
        keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
        keel_conversation conversation = {.source = "chat",
                                          .external_id = id,
                                          .split = split,
                                          .n_turns = 1,
                                          .turns = &turn,
                                          .risk = at->dangerous ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN,
                                          .n_decisions = 1,
                                          .decisions = &decision};
        keel_added added;
        assert_ok(keel_store_add_conversation(store, &conversation, false, "test", &added, &err));
    }
    assert_ok(keel_store_commit(store, &err));
}

/* Two decisions a conversation, one response each, with acts: greet first, then answer or refuse by what is
 * asked. */
static inline void add_acts(keel_store *store, size_t n, const char *split, bool with_acts) {
    assert_ok(keel_store_begin(store, &err));
    for (size_t i = 0; i < n; i++) {
        const topic *at = &topics[i % N_TOPICS];
        char id[32], ask[256];
        snprintf(id, sizeof id, "a%zu", i);
        snprintf(ask, sizeof ask, "%s (%zu)", at->ask, i);
        const char *acts[2] = {"greet", at->dangerous ? "refuse" : "answer"};
        const char *said[2] = {"Hello, what can I do for you?", at->answer};
        keel_turn turns[4] = {{.role = KEEL_ROLE_USER, .text = "Hello."},
                              {.role = KEEL_ROLE_ASSISTANT},
                              {.role = KEEL_ROLE_USER, .text = ask},
                              {.role = KEEL_ROLE_ASSISTANT}};
        keel_candidate candidates[2] = {0};
        keel_decision decisions[2] = {0};
        for (int k = 0; k < 2; k++) {
            const char *act = with_acts ? acts[k] : NULL;
            turns[2 * k + 1].text = said[k];
            turns[2 * k + 1].act = act;
            candidates[k] = (keel_candidate){.text = said[k], .act = act, .taken = true};
            decisions[k] =
                (keel_decision){.turn = (size_t)(2 * k + 1), .n_candidates = 1, .candidates = &candidates[k]};
        }
        keel_conversation conversation = {.source = "chat",
                                          .external_id = id,
                                          .split = split,
                                          .n_turns = 4,
                                          .turns = turns,
                                          .risk = at->dangerous ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN,
                                          .n_decisions = 2,
                                          .decisions = decisions};
        keel_added added;
        assert_ok(keel_store_add_conversation(store, &conversation, false, "test", &added, &err));
    }
    assert_ok(keel_store_commit(store, &err));
}

#endif
