/* What an evaluation works with, between evaluate.c and evaluate_trajectories.c. */
#ifndef KEEL_RL_JUDGE_EVALUATE_WORK_H
#define KEEL_RL_JUDGE_EVALUATE_WORK_H

#include "rl/judge/evaluate.h"
#include "rl/judge/fqe.h"
#include "rl/judge/metric_sums.h"
#include "rl/judge/overall.h"

enum { BLOCK = 64 }; /* conversations decided in parallel between two reads of the store */

/* Policy, base, logged behaviour or source model. */
typedef struct actor {
    const char *name;
    keel_metric_sums sums;
    keel_overall_sums earned; /* of source models alone: those of the others are in keel_overall */
    size_t agreed;            /* decisions of the conversation at hand where the log took the same answer */
} actor;

/* One conversation with what policy and base would do at each decision. */
typedef struct slot {
    keel_arena arena; /* holds all of it */
    keel_conversation *conversation;
    keel_reward_view log;                    /* of the conversation, while it is counted */
    keel_features *features;                 /* [n_decisions] */
    bool *found;                             /* [n_decisions] features came from the store */
    keel_choice *policy, *base;              /* [n_decisions]; n is 0 where there is nothing to choose */
    keel_choice *baseline[KEEL_N_BASELINES]; /* likewise, and where there is no such baseline */
} slot;

typedef struct evaluation {
    keel_store *store;
    const keel_evaluate_config *config;
    keel_reward_config reward;
    keel_pool *pool;
    const keel_evaluate_item *item; /* at hand; NULL: the logged behaviour alone */
    size_t number;                  /* conversations so far, over all items */
    actor policy, logged, base, baseline[KEEL_N_BASELINES];
    actor *models;
    size_t n_models, model_capacity;
    keel_judge_error *error; /* of the judge whose labels are counted; NULL: there is none */
    keel_overall *overall;
    keel_ope_log ope;
    keel_fqe *fqe;   /* of the item at hand; NULL: the model is another */
    bool collecting; /* steps for the fit, on a first walk; nothing is counted then */
    keel_differing differing;
    keel_arena names;
    slot slots[BLOCK];
} evaluation;

/* The number of a conversation's group, which stays in one fold. */
uint64_t keel__evaluate_unit(const keel_conversation *conversation);
/* The steps of a conversation, for the off-policy estimates and for the fit behind them. */
keel_status keel__evaluate_trajectories(evaluation *e, slot *s, keel_err *err);

#endif
