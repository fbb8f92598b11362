/* Inside of training: from a trained learner to a policy artefact. */
#ifndef KEEL_RL_TRAIN_EXPORT_H
#define KEEL_RL_TRAIN_EXPORT_H

#include "policies/policy.h"
#include "rl/train/acts.h"
#include "rl/train/checkpoint.h"
#include "rl/train/constrain_internal.h"
#include "rl/train/train.h"
#include "rl/train/validate_internal.h"

typedef struct keel_export {
    keel_store *store;
    const keel_split *split;   /* what the policy is said to be trained on */
    const keel_split *learned; /* what of it was learned from: all but a validation part */
    const keel_base *base;
    const keel_acts *acts;
    const keel_learner *learner;
    keel_sampler *sampler;
    const cJSON *lineage;              /* of the artefact: keel_artefact_identify */
    const keel_loss_window *window;    /* the last lines' loss parts */
    const keel_validation *validation; /* with trials, or NULL */
    const keel_validation_trials *trials;
    const keel_constraint *constraint; /* sets the harm threshold; or NULL */
    const keel_reward_config *rewards;
    const keel_train_choice *choice; /* how the policy was chosen; or NULL */
    bool quiet;                      /* nothing is told of the policy */
} keel_export;

/* Solves for beta. Free with keel_export_free, whatever comes
 * back. */
keel_status keel_export_make(const keel_export *with, keel_policy *out, keel_err *err);
void keel_export_free(keel_policy *policy);
/* Makes the policy, tests its harm threshold if there is a constraint, and writes the artefact. */
keel_status keel_export_policy(const keel_export *with, const char *out_dir, keel_err *err);

#endif
