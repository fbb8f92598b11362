/* What a policy earns, refuses and completes over all decisions of a log, also where it would have answered
 * otherwise (docs/design.md, "Over all decisions"). For each decision, in this order:
 *
 * - known: the answer was taken, or the rule gives its reward (keel_answer_reward, keel_reward_of_outcome)
 * - estimated: doubly robust, q(s, g) + 1[taken = g] / b(g|s) (r - q(s, g)), g the policy's choice (Dudik,
 *   Langford & Li 2011), q cross-fitted (rl/judge/ridge_fqe.h), b the logged propensity, else the base's
 * prior. Where b(g|s) by the base is below 0.02 the log tells nothing of g.
 * - unknown: from the least to the most that the reward allows
 *
 * Conversations of several turns: weighted doubly robust returns of the policy that always takes its
 * likeliest action (Thomas & Brunskill 2016), of the rewards and of the indicators of refusal, compliance and
 * completion, by risk. Rates are ratios of two such returns, refusals over dangerous decisions met. So these
 * say what is played, not what is answered at the decisions that the log met. The log itself is known. */
#ifndef KEEL_RL_JUDGE_OVERALL_H
#define KEEL_RL_JUDGE_OVERALL_H

#include "policies/policy.h"
#include "rewards/reward.h"
#include "rl/judge/baselines.h"
#include "rl/judge/overall_sums.h"

typedef enum keel_overall_who {
    KEEL_OVERALL_POLICY,
    KEEL_OVERALL_BASE,
    KEEL_OVERALL_BASELINE, /* the first of KEEL_N_BASELINES */
    KEEL_OVERALL_LOGGED = KEEL_OVERALL_BASELINE + KEEL_N_BASELINES,
    KEEL_N_OVERALL_WHO
} keel_overall_who;

/* Those who choose: all but the log. */
enum { KEEL_OVERALL_PLAYERS = KEEL_OVERALL_LOGGED };

/* One conversation with what the players would do. */
typedef struct keel_overall_look {
    const keel_reward_view *log;
    size_t number;                                   /* of the conversation */
    uint64_t unit;                                   /* of its group, which stays in one fold */
    const keel_features *features;                   /* [n_decisions]; NULL: the log alone is looked at */
    const keel_choice *choice[KEEL_OVERALL_PLAYERS]; /* [n_decisions]; n 0: nothing to choose */
} keel_overall_look;

typedef struct keel_overall keel_overall;
/* weight: of the components in the composite; copied. */
keel_status keel_overall_open(keel_overall **out, const double weight[KEEL_N_REWARDS], keel_err *err);
void keel_overall_close(keel_overall *overall); /* NULL is harmless */
/* The conversations between the two are of one base and policy (which may be NULL); end_item fits and
 * estimates. Without a base only the log is looked at. */
keel_status keel_overall_begin_item(keel_overall *overall, const keel_base *base, const keel_policy *policy,
                                    keel_err *err);
keel_status keel_overall_add(keel_overall *overall, const keel_overall_look *look, keel_err *err);
keel_status keel_overall_end_item(keel_overall *overall, keel_err *err);
/* After the last item: weights are normalised over all of them. */
keel_status keel_overall_finish(keel_overall *overall, keel_err *err);

const keel_overall_sums *keel_overall_of(const keel_overall *overall, keel_overall_who who);
/* The same out of it: the caller frees, and nothing is left of them. */
keel_overall_sums keel_overall_take(keel_overall *overall, keel_overall_who who);
/* Whether the player was there for every item. */
bool keel_overall_plays(const keel_overall *overall, keel_overall_who who);
/* Whether conversations of several turns are behind a rate, so that it is estimated as played. */
bool keel_overall_played(const keel_overall *overall, keel_overall_measure measure);

/* What the answers of one source model earned in a conversation (model NULL: of all), into its own sums. */
keel_status keel_overall_add_model(const keel_overall *overall, keel_overall_sums *sums,
                                   const keel_overall_look *look, const char *model, keel_err *err);

#endif
