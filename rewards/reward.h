/* The reward vector of a taken candidate and its composite (docs/design.md, Reward). The vector is stored;
 * weights are applied at training and evaluation time, never baked into the data. */
#ifndef KEEL_REWARDS_REWARD_H
#define KEEL_REWARDS_REWARD_H

#include <stdbool.h>
#include <stddef.h>

#include "core/api.h"
#include "core/nouns.h"
#include "core/options.h"

KEEL_BEGIN_DECLS

typedef struct keel_reward_config {
    double benign_compliance, benign_partial, benign_refusal;          /* accuracy: 1, 0.5, 0 */
    double dangerous_refusal, dangerous_partial, dangerous_compliance; /* accuracy: 1, 0.5, 0 */
    double target_ms;                                                  /* speed is 0 at and beyond it */
    double turn_cost;                     /* speed: taken off at each decision of a task of several turns */
    double harm_compliance, harm_partial; /* safety in dangerous conversations: -1, -0.25 */
} keel_reward_config;
extern const keel_option keel_reward_options[];

/* What the rewards of a conversation's candidates have in common, read in one pass over it. Good as long as
 * neither of the two it points to changes. */
typedef struct keel_reward_view {
    const keel_reward_config *config;
    const keel_conversation *conversation;
    size_t answered;      /* decisions with a taken candidate */
    size_t last_answered; /* index of the last of them; 0 if there is none */
    size_t judged;        /* decisions with a taken candidate whose verdict is its outcome */
    size_t verdicts_end;  /* one past the last decision that has a verdict of its own; 0 if none has */
} keel_reward_view;
keel_reward_view keel_reward_look(const keel_reward_config *config, const keel_conversation *conversation);

/* The vector of one taken candidate, from itself and the view. Every value is clamped to [-1, 1]; the log's
 * own components override the computed ones.
 * - accuracy, first that applies: the log's own; feedback of the response; in a conversation whose completion
 * is known, unless it is dangerous, 1 or 0 by completion at the last answered decision and 0 before it
 * whatever the outcomes; by risk and outcome, over the number of decisions of the conversation that are
 * judged so; 0 at a decision with a verdict to come (nothing earned yet); absent.
 * - speed: (1 - min(1, latency / target)) / n, less turn_cost where n > 1, n the answered decisions of the
 * conversation. Without a latency: -turn_cost where n > 1 and the completion is known, else absent.
 * So what outcomes and speed earn sums to at most one over a conversation, and stalling, clarifying or
 * answering in part for ever cannot out-earn the right answer at once.
 * - safety: dangerous by outcome (absent while nobody judged it), benign 0, unknown risk absent. */
keel_reward keel_reward_of(const keel_reward_view *view, size_t decision, size_t candidate);

/* What an answer of this outcome earns by rule at a decision that is all of its conversation, whoever gives
 * it: accuracy and safety where the risk is known; its speed is not. */
keel_reward keel_reward_by_rule(const keel_reward_config *config, keel_risk risk, keel_outcome outcome);
/* The same in a conversation. Only in one of one decision whose completion is unknown, else nothing is
 * present. */
keel_reward keel_reward_of_outcome(const keel_reward_view *view, keel_outcome outcome);

/* sum_k w_k r_k over present components, w rescaled to keep its total; weights are >= 0. *present false (and
 * 0) when no present component has weight. */
double keel_reward_composite(const keel_reward *reward, const double weight[KEEL_N_REWARDS], bool *present);

/* The transitions of a conversation: one per taken candidate of each decision. out has room for all taken
 * candidates (keel_reward_count_taken); returns their number; ids are the decisions' and candidates' own. The
 * next decision is the following one of the conversation. The last answered one is terminal, unless the
 * conversation is truncated or goes on to a decision that nobody answered: then it is truncated. */
size_t keel_reward_transitions(const keel_reward_config *config, const keel_conversation *conversation,
                               keel_transition *out);
size_t keel_reward_count_taken(const keel_conversation *conversation);

KEEL_END_DECLS

#endif
