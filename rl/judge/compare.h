/* Which of two policies earns more where they answer otherwise: the difference of composite rewards at the
 * decisions of the log, conversation by conversation, the first minus the second.
 *
 * At a decision where both answer alike it is 0. Elsewhere each component is known for an answer that the log
 * took, that has its own label, or whose reward the rule gives (rl/judge/answer.h); of any other answer it
 * lies between what the rules allow. So the difference is known up to [least, most]; its interval joins the
 * lower end of the bootstrap over conversations of the least and the upper end of that of the most, and both
 * are widened for what no conversation has shown yet (keel_difference_interval). In conversations of several
 * turns it says what is answered at the log's decisions, not what is met when a policy is played. */
#ifndef KEEL_RL_JUDGE_COMPARE_H
#define KEEL_RL_JUDGE_COMPARE_H

#include "rewards/reward.h"
#include "rl/judge/answer.h"
#include "rl/judge/intervals.h"

typedef struct keel_compare keel_compare;

typedef struct keel_compared {
    size_t conversations, decisions; /* that were added */
    size_t differing;                /* decisions where the two answer otherwise */
    size_t known;                    /* of them, where what both earn is known */
    double least, most;              /* of the mean difference, as what is unknown is worst or best */
    keel_interval difference;        /* value: the middle of the two; n: conversations */
} keel_compared;

/* weight: of the components in the composite. */
keel_status keel_compare_open(keel_compare **out, const double weight[KEEL_N_REWARDS], keel_err *err);
void keel_compare_close(keel_compare *compare); /* NULL is harmless */
/* What the two answer at one decision of a conversation; same: it is the same answer, of which nothing needs
 * to be known. */
void keel_compare_add(keel_compare *compare, const keel_reward_view *log, const keel_answer answer[2],
                      bool same);
keel_status keel_compare_end_conversation(keel_compare *compare, keel_err *err);
keel_status keel_compare_finish(const keel_compare *compare, size_t resamples, uint64_t seed,
                                double confidence, keel_compared *out, keel_err *err);

#endif
