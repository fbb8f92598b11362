/* Supervised tuning of a base on logged responses, whatever its kind: from a split of a store to an artefact.
 */
#ifndef KEEL_POLICIES_SFT_H
#define KEEL_POLICIES_SFT_H

#include "core/api.h"
#include "core/parallel.h"
#include "datasets/store.h"
#include "policies/policy.h"

KEEL_BEGIN_DECLS

/* Tunes `spec` (the name of a kind, or the folder of a base to go on from) on the split (NULL: all) and
 * writes the artefact to out_dir; one that another run made is KEEL_E_CONFLICT unless `replace`. config: the
 * configuration struct of spec's kind (keel_base_find_kind); NULL: its defaults. A run that was interrupted
 * goes on from its checkpoints beside out_dir. The same inputs and seed give the same bytes, whatever the
 * pool's size. metrics_path (JSON Lines of each part of the loss) may be NULL. */
keel_status keel_sft(keel_store *store, const keel_split *split, const char *spec,
                     const keel_base_config *config, const char *out_dir, bool replace,
                     const char *metrics_path, keel_pool *pool, keel_err *err);

/* What a run may have besides; all borrowed, NULL or 0: nothing. */
typedef struct keel_sft_extras {
    /* Answers to be offered at every decision of candidate sets in place of what fixed_answers has: each a
     * refusal, or a hand-over: a refusal whose act is KEEL_HAND_OVER. Text, outcome and act alone; at most
     * KEEL_MOST_FIXED. KEEL_E_INVALID over another space, KEEL_E_CONFLICT where spec is a base, which has its
     * own. */
    const keel_candidate *fixed;
    size_t n_fixed;
    /* The base learns what this policy would have said in place of what was said. The policy's own base comes
     * with it. */
    const keel_policy *teacher;
    /* Without a policy: a base that the tuned one learns from beside the log (keel_base_tuning.teacher_base).
     * KEEL_E_UNSUPPORTED where spec's kind learns from none. */
    const keel_base *teacher_base;
    const char *teacher_split; /* what that base was tuned on, for the lineage */
} keel_sft_extras;

keel_status keel_sft_with(keel_store *store, const keel_split *split, const char *spec,
                          const keel_base_config *config, const keel_sft_extras *extras, const char *out_dir,
                          bool replace, const char *metrics_path, keel_pool *pool, keel_err *err);

KEEL_END_DECLS

#endif
