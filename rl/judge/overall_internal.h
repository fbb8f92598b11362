/* Between the files of keel_overall. */
#ifndef KEEL_RL_JUDGE_OVERALL_INTERNAL_H
#define KEEL_RL_JUDGE_OVERALL_INTERNAL_H

#include "core/spool.h"
#include "rl/judge/overall.h"
#include "rl/judge/ridge_fqe.h"

enum { OVERALL_HEADS = KEEL_RIDGE_HEADS, OVERALL_PLAYERS = KEEL_OVERALL_PLAYERS };
_Static_assert((int)OVERALL_PLAYERS == (int)KEEL_RIDGE_POLICIES, "a fit for each player");

/* Returns that are estimated of a conversation: the composite, the components, then by risk: of dangerous
 * ones full refusals and full compliances; of others refusals in full or part and the completion; the answers
 * judged. */
enum overall_head {
    HEAD_COMPOSITE,
    HEAD_COMPONENT,
    HEAD_FIRST = HEAD_COMPONENT + KEEL_N_REWARDS,
    HEAD_SECOND,
    HEAD_JUDGED
};

/* What the log and the rules say of a conversation, whoever answers. */
typedef struct overall_facts {
    bool applies[KEEL_N_REWARDS];                     /* the component can be known here */
    bool logged[KEEL_N_REWARDS];                      /* the log knows it of some answer taken */
    double low[KEEL_N_REWARDS], high[KEEL_N_REWARDS]; /* what a conversation can earn */
    double end[KEEL_N_REWARDS][2];                    /* what one answer can */
    double share[KEEL_N_REWARDS];                     /* of the composite; 0 for what does not apply */
    keel_overall_stratum stratum;
    size_t answered;
    size_t cases; /* how many answers of such a conversation may be judged */
} overall_facts;

/* What somebody earned of a component. */
typedef struct overall_part {
    double low, high, least, most;
    keel_overall_source source;
    keel_overall_stratum stratum;
    double weight; /* of its evidence */
} overall_part;

/* A conversation of several decisions, one trajectory for each answer taken at its last; its steps follow
 * those of the trajectory before it. */
typedef struct overall_trajectory {
    size_t number, length;
    double part; /* 1 over the trajectories of the conversation */
    overall_facts facts;
    bool same[OVERALL_PLAYERS]; /* the player would have done all of it */
    bool task;                  /* its completion is known and asked for */
    bool benign;
    double total[OVERALL_HEADS]; /* logged */
} overall_trajectory;

typedef struct overall_step {
    double log_ratio[OVERALL_PLAYERS];
    double off[OVERALL_PLAYERS][OVERALL_HEADS]; /* r - q */
    double v[OVERALL_PLAYERS][OVERALL_HEADS];
} overall_step;

struct keel_overall {
    double weight[KEEL_N_REWARDS];
    keel_overall_sums sums[KEEL_N_OVERALL_WHO];
    const keel_base *base; /* of the item at hand; NULL: the log alone */
    const keel_policy *policy;
    bool absent[OVERALL_PLAYERS]; /* of some item */
    keel_ridge_fqe *fit[KEEL_N_OVERALL_STRATA];
    keel_spool *raw[KEEL_N_OVERALL_STRATA];          /* raw_step: of the item at hand */
    keel_spool *pending;                             /* of conversations of one decision, likewise */
    bool several[KEEL_N_OVERALL_STRATA];             /* there are conversations of several decisions */
    keel_spool *trajectories[KEEL_N_OVERALL_STRATA]; /* of all items */
    keel_spool *steps[KEEL_N_OVERALL_STRATA];
};

overall_facts keel__overall_read_facts(const double weight[KEEL_N_REWARDS], const keel_reward_view *log);
/* v + 1[agrees] odds (reward - q): one decision's share of a doubly robust estimate (Dudik, Langford & Li
 * 2011); v the model's value of the policy's choice, q that of what was done, odds 1 / b. Golden:
 * `doubly_robust`. */
double keel__overall_doubly_robust(double v, bool agrees, double odds, double reward, double q);
overall_part keel__overall_sure(const overall_facts *facts, double value);
overall_part keel__overall_open_part(const overall_facts *facts, int component);
/* Hits of so many cases, known. */
keel_status keel__overall_put_cases(keel_overall_sums *sums, size_t number, keel_overall_measure measure,
                                    const overall_facts *facts, double hits, double cases, keel_err *err);
/* Adds all components and the composite: as the parts have it, or its own value (and what it is known to be)
 * if that is no NaN and no part is unknown. */
keel_status keel__overall_put(keel_overall_sums *sums, size_t number, const overall_facts *facts,
                              const overall_part *parts, double composite, double known, double part,
                              keel_err *err);
/* overall_returns.c: the returns of a stratum's trajectories, into the sums. */
keel_status keel__overall_returns(keel_overall *overall, keel_overall_stratum stratum, keel_err *err);

#endif
