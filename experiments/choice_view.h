/* What a policy thinks of the actions at a decision, as JSON and as a table for people: what `keel replay`
 * and `keel decide` show. */
#ifndef KEEL_EXPERIMENTS_CHOICE_VIEW_H
#define KEEL_EXPERIMENTS_CHOICE_VIEW_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "policies/policy.h"

/* What is said by an action of the decision: the text of the candidate, or its act where it has no text; the
 * name of an act or outcome. Never NULL. */
const char *keel_choice_view_says(const keel_base *base, const keel_decision *decision, size_t action);
/* The taken action that the choice is compared with: of several, the one that the policy likes best; -1 if
 * none is an action. */
int64_t keel_choice_view_logged(const keel_base *base, const keel_decision *decision,
                                const keel_choice *choice);

/* Whether the policy does as the log did. UNTOLD: the log does not say, in the policy's terms, what it did.
 * OPEN: nothing was answered. */
typedef enum keel_choice_verdict {
    KEEL_CHOICE_DIFFERS,
    KEEL_CHOICE_AGREES,
    KEEL_CHOICE_UNTOLD,
    KEEL_CHOICE_OPEN
} keel_choice_verdict;
keel_choice_verdict keel_choice_view_compare(const keel_base *base, const keel_decision *decision,
                                             const keel_choice *choice);

/* The action that the chosen one won against: the next best; -1 if there is no other. */
int64_t keel_choice_view_runner_up(const keel_choice *choice);
/* One action: {"says", "model", "outcome", "taken", "chosen", "masked", "q": {component: Q}, "cost",
 * "advantage", "log_prior", "log_pi", "probability"}. */
cJSON *keel_choice_view_action(const keel_policy *policy, const keel_base *base,
                               const keel_decision *decision, const keel_choice *choice, size_t action);
/* Why the chosen action won against another: {"against", "sentence", "reason", "margin", "shapley": {part:
 * value}, "parts": {...}, "fallback", "above_harm_threshold"}. The sentence is one of a fixed set and true:
 * without what it names the other would be nearer, or chosen (policies/explain.h, `reason`). shapley sums to
 * margin = pi(chosen) - pi(other). parts takes log pi(chosen) - log pi(other) apart: the prior's part and
 * beta w_k (Q_k(chosen) - Q_k(other)) of each head, and of the cost under a multiplier; where the other is
 * masked there is no such difference. logged: the other is what the log did. */
cJSON *keel_choice_view_why(const keel_policy *policy, const keel_choice *choice, size_t other, bool logged);

/* "unfamiliar" and "distance" (null: not known) of a choice, into an object. */
void keel_choice_view_familiarity(cJSON *to, const keel_choice *choice);

/* A whole choice, as `keel chat --json` prints it: {"actions", "says", "fallback", "harm_threshold",
 * "unfamiliar", "why"}, of which all but "says" may be missing; text of others is made harmless for a
 * terminal. */
void keel_choice_view_print_choice(const cJSON *choice, FILE *out);
/* A list of actions as a table; text of logs is made harmless for a terminal. */
void keel_choice_view_print(const cJSON *actions, FILE *out);
/* The sentence; the numbers behind it. why may be NULL. */
void keel_choice_view_print_why(const cJSON *why, FILE *out);
void keel_choice_view_print_numbers(const cJSON *why, FILE *out);

#endif
