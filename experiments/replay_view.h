/* One decision of a replay: as JSON, and as a transcript for people. */
#ifndef KEEL_EXPERIMENTS_REPLAY_VIEW_H
#define KEEL_EXPERIMENTS_REPLAY_VIEW_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "experiments/choice_view.h"

/* A decision that was replayed. All borrowed. */
typedef struct keel_replayed {
    const keel_policy *policy;
    const keel_base *base;
    const keel_conversation *conversation;
    size_t place; /* in its decisions */
    const keel_choice *choice;
    keel_choice_verdict verdict;
} keel_replayed;

/* {"conversation", "source", "risk", "turn", "turns", "user": what the user said last, "context": [{"role",
 * "says", "model"}] all turns before it, "agrees": null where the log does not tell, "open", "logged" and
 * "chosen": places in "actions", "value", "kl", "why", "words": [{"about", "of",
 * "probability", "words": [{"word", "part"}]}] what the base reads in request and answers, "actions": as
 * keel_choice_view_action has them}. Texts of the context are cut at KEEL_REPLAY_CUT bytes. scratch is for
 * the words. */
enum { KEEL_REPLAY_CUT = 4000 };
keel_status keel_replay_view(const keel_replayed *decision, keel_arena *scratch, cJSON **out, keel_err *err);

/* A text, of a long one its first `most` bytes and how many follow. One that is lost for want of memory
 * counts (keel_json_lost). */
void keel_replay_add_text(cJSON *to, const char *key, const char *text, size_t most);

/* The transcript, what was said and what the policy would say, why, the words that count and, where they were
 * looked for, the nearest decisions; with detail the table of all actions and the numbers behind why. Text of
 * logs is made harmless for a terminal. */
void keel_replay_view_print(const cJSON *decision, bool detail, FILE *out);

/* What `keel replay` found in all, a line for each finding: how many decisions passed the filters, are shown,
 * differ, and how the policy compares with that of --diff. */
void keel_replay_view_summary(const cJSON *result, keel_buf *out);

#endif
