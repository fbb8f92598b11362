/* Which decisions a replay shows. */
#ifndef KEEL_EXPERIMENTS_REPLAY_FILTER_H
#define KEEL_EXPERIMENTS_REPLAY_FILTER_H

#include "experiments/cli.h"
#include "experiments/replay_view.h"
#include "rl/judge/answer.h"

/* Everything that is given must hold. -1 or NULL: not given. */
typedef struct keel_replay_filter {
    int risk;                /* of the conversation */
    int outcome, answer;     /* of what was logged; of what the policy would say */
    const char *text;        /* case-folded; within some turn before the decision */
    bool unfamiliar;         /* the policy marks the state so */
    const char *key, *value; /* of a slice: a key of meta and its value, "model" for who wrote the answer */
    keel_arena arena;
} keel_replay_filter;

/* Rows of the flags that it reads. */
#define KEEL_REPLAY_FILTER_FLAGS                                                                             \
    {"--risk", "NAME", false, false, "only conversations of this risk: benign, dangerous, unknown"},         \
        {"--outcome", "NAME", false, false,                                                                  \
         "only where the logged answer is one: compliance, partial_refusal, refusal, none (unjudged)"},      \
        {"--answer", "NAME", false, false, "only where the policy's answer is known to be one of these"},    \
        {"--only-unfamiliar", NULL, false, false, "only states unlike any that the policy learned from"},    \
        {"--text", "TEXT", false, false, "only where this was said before, in whatever case"}, {             \
        "--slice", "KEY=VALUE", false, false,                                                                \
            "only conversations whose meta has this value; model=NAME: whose answer this model wrote"        \
    }

keel_status keel_replay_filter_open(keel_replay_filter *filter, const keel_cli *cli, keel_err *err);
void keel_replay_filter_close(keel_replay_filter *filter);
/* What does not depend on the policy. */
bool keel_replay_filter_reads(keel_replay_filter *filter, const keel_conversation *conversation,
                              size_t place);
/* The rest: the outcome of the policy's answer, as far as the log or the rule tells it, and what it says of
 * the state. */
bool keel_replay_filter_takes(const keel_replay_filter *filter, const keel_answer *answer,
                              const keel_choice *choice);

#endif
