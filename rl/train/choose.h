/* Which of several policies is kept: the one whose lower bound over the log is highest, by conversations that
 * it has not learned from.
 *
 * The split is cut into folds by group. For each fold every contender is trained on the rest, and the fold is
 * judged: what the policy earns over all decisions, minus what the log earned there, paired
 * (rl/judge/evaluate.h, composite_reward of "policy - logged"). The folds are pooled. Where the base was
 * tuned on the split, it is tuned anew on each rest, so that neither features nor prior have seen what
 * judges.
 *
 * Bound: the lower bound of that difference at one-sided confidence 1 - 0.05/n for n contenders. All n bounds
 * hold together with 95 % (Bonferroni), and that of the one kept does although it is the highest. A bound
 * above 0 shows an improvement over the log; if none is, the highest is kept all the same and the artefact
 * says that no improvement was shown. The kept one is then trained on the whole split.
 *
 * A contender whose training diverges, or of which nothing can be judged, is not kept; if nothing can be
 * judged, the first of the list is. */
#ifndef KEEL_RL_TRAIN_CHOOSE_H
#define KEEL_RL_TRAIN_CHOOSE_H

#include "core/api.h"
#include "rl/train/train.h"

KEEL_BEGIN_DECLS

typedef struct keel_contender {
    const char *name;           /* as it is told: "cql:alpha=0.1" */
    keel_learner_config config; /* how it is trained */
    bool base; /* it is the base's prior alone: config trains a critic beside it, which changes no choice
                  (keel_contender_base) */
} keel_contender;

/* Splits up to this many conversations are judged on all folds, longer ones on the first alone. */
enum { KEEL_CHOOSE_SMALL = 2000 };

typedef struct keel_choose_job {
    const keel_train_job *train; /* of the one that is kept; config and choice are not looked at */
    const keel_contender *contenders;
    size_t n;
    double weight[KEEL_N_REWARDS]; /* of the components in what is compared */
    /* How the base was tuned on the split: a configuration of its kind; NULL: it has not seen the split, or
     * cannot be tuned anew, and is taken as it is. */
    const keel_base_config *tuning;
    /* The base knows what policies are compared on by heart, and cannot be tuned anew: the highest is kept,
     * and no verdict is given. */
    bool flattered;
} keel_choose_job;

/* Makes config (a preset of cql) one that keeps to the base's prior. */
void keel_contender_base(keel_learner_config *config);

/* Compares, then trains the one that is kept: keel_train with metrics.choice and lineage.choice. What is
 * trained on the way lies in ".NAME.choice" beside out_dir until the end; an interrupted run goes on from
 * there, to the same bytes. A policy in out_dir that was chosen otherwise is KEEL_E_CONFLICT before any work,
 * unless train->replace. KEEL_E_NOT_FOUND where the split is too small to be cut. */
keel_status keel_choose(const keel_choose_job *job, keel_pool *pool, keel_err *err);

KEEL_END_DECLS

#endif
