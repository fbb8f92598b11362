/* The training loop: store -> sampler -> learner -> policy artefact, with checkpoints, resume and a
 * divergence guard. */
#ifndef KEEL_RL_TRAIN_TRAIN_H
#define KEEL_RL_TRAIN_TRAIN_H

#include "core/api.h"
#include "core/parallel.h"
#include "core/status.h"
#include "datasets/store.h"
#include "policies/base.h"
#include "rewards/reward.h"
#include "rl/learn/learner_config.h"
#include "rl/train/constrain.h"
#include "rl/train/dual.h"
#include "rl/train/validate.h"

KEEL_BEGIN_DECLS

/* How the policy was chosen among others (rl/train/choose.h). */
typedef struct keel_train_choice {
    const char *identity; /* of all that was compared; lineage.choice */
    const char *json;     /* what came of it; metrics.choice */
} keel_train_choice;

typedef struct keel_train_job {
    keel_store *store;
    const keel_split *split;           /* NULL: all */
    const keel_validation *validation; /* a part of the split that is held out of learning and chooses the
                                          policy (rl/train/validate.h); NULL: the policy is the last step's */
    const keel_constraint
        *constraint;       /* a part that is held out of all of this and sets the harm threshold by
                              a bound on harm (rl/train/constrain.h); NULL: the configuration's */
    const keel_dual *dual; /* a part that is held out likewise and moves the multiplier of a constraint;
                              needed by learners that have one, NULL for others */
    const keel_base *base;
    const keel_reward_config *rewards; /* how the rewards in the store were computed */
    const keel_learner_config *config; /* steps 0: 80 passes over the transitions, at least 300 steps for each
                                          decision of a mean conversation, at most 10,000 */
    const char *out_dir;
    const char *metrics_path; /* JSON Lines of each part of the loss, or NULL */
    bool replace;             /* a policy in out_dir that another run made */
    bool once; /* one of many: a policy in out_dir that this run made stands, and nothing is told */
    const keel_train_choice *choice; /* or NULL */
} keel_train_job;

/* KEEL_E_INVALID for a configuration that keel_train would refuse: values that do not go together, or that
 * make no policy. */
keel_status keel_train_check(const keel_learner_config *config, keel_err *err);

/* Encodes what the base has not encoded yet, trains on the split's transitions and writes the policy to
 * out_dir. Configuration, logs, split, base and rewards make the run's identity: a policy of another identity
 * in out_dir is KEEL_E_CONFLICT before any work, unless job->replace. An interrupted run leaves
 * out_dir/../.<name>.checkpoint, and one of the same identity goes on from there; its artefact is
 * byte-identical to an undisturbed run's. Divergence (non-finite loss, Q of logged actions outside the return
 * bounds) is KEEL_E_DIVERGED; the last good checkpoint is kept.
 * A constraint that no threshold meets is KEEL_E_GATE: nothing is written, and the checkpoint stays. */
keel_status keel_train(const keel_train_job *job, keel_pool *pool, keel_err *err);

KEEL_END_DECLS

#endif
