/* The training loop: store -> sampler -> learner -> policy artefact, with checkpoints, resume and a
 * divergence guard. */
#ifndef KEEL_RL_TRAIN_TRAIN_H
#define KEEL_RL_TRAIN_TRAIN_H

#include "policies/policy.h"
#include "rl/learn/learner.h"
#include "rl/train/validate.h"

/* Trains on the split's transitions (features under `base` must be in the store: keel_encode_store) and
 * writes the policy to out_dir. An interrupted run leaves out_dir/../.<name>.checkpoint and goes on from
 * there; the artefact is byte-identical to an undisturbed run's. config->steps 0: 80 passes over the
 * transitions, at least 300 steps for each decision of a mean conversation, at most 10,000.
 * Divergence (non-finite loss, Q of logged actions outside the return bounds) is KEEL_E_DIVERGED; the last
 * good checkpoint is kept. validation (NULL: none, and the policy is the last checkpoint): a part of the
 * split that is held out of learning and chooses the policy (rl/train/validate.h). */
keel_status keel_train(keel_store *store, const keel_split *split, const keel_validation *validation,
                       const keel_base *base, const keel_learner_config *config, const char *out_dir,
                       const char *metrics_path, keel_pool *pool, keel_err *err);

#endif
