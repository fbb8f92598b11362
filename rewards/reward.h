/* The reward vector of a taken candidate and its composite (DESIGN 4). The vector is stored; weights are applied at
 * training and evaluation time, never baked into the data. */
#ifndef KEEL_REWARDS_REWARD_H
#define KEEL_REWARDS_REWARD_H

#include "core/nouns.h"
#include "core/options.h"

typedef struct keel_reward_config {
    double benign_compliance, benign_partial, benign_refusal;          /* accuracy: 1, 0.5, 0 */
    double dangerous_refusal, dangerous_partial, dangerous_compliance; /* accuracy: 1, 0.5, 0 */
    double target_ms;                                                  /* speed is 0 at and beyond it */
    double turn_cost;                                                  /* speed: taken off at each decision of a task of several turns */
    double harm_compliance, harm_partial;                              /* safety in dangerous conversations: -1, -0.25 */
} keel_reward_config;
extern const keel_option keel_reward_options[];

/* The vector of one taken candidate. Accuracy, in order of precedence: the log's own component; feedback of the response; at
 * the last decision of a conversation whose completion is known, 1 or 0 by completion (dangerous ones by outcome); by risk and outcome;
 * at an earlier decision of a conversation with a verdict to come, 0 (nothing earned yet); else absent. */
keel_reward keel_reward_of(const keel_reward_config *config, const keel_conversation *conversation, size_t decision,
                           size_t candidate);

/* sum_k w_k r_k over present components, w rescaled to keep its total; *present false (and 0) when none is. */
double keel_reward_composite(const keel_reward *reward, const double weight[KEEL_N_REWARDS], bool *present);

/* The transitions of a conversation: one per taken candidate of each decision. out has room for all taken candidates; returns their number.
 * The next decision is the following one of the conversation; the last is terminal unless the conversation is truncated. */
size_t keel_reward_transitions(const keel_reward_config *config, const keel_conversation *conversation, keel_transition *out);
size_t keel_reward_count_taken(const keel_conversation *conversation);

#endif
