/* What the files of this folder share. */
#ifndef KEEL_EXPERIMENTS_LEARN_LEARN_INTERNAL_H
#define KEEL_EXPERIMENTS_LEARN_LEARN_INTERNAL_H

#include <cjson/cJSON.h>

#include "experiments/learn/learn_round.h"

/* The base of a round. */
typedef struct keel__learn_base {
    const char *dir;       /* where it is; NULL: it is tuned in this round */
    const char *hash;      /* NULL until it is tuned */
    int64_t conversations; /* that there were when it was tuned */
} keel__learn_base;
/* In the arena; KEEL_E_NOT_FOUND: dir holds none. */
keel_status keel__learn_hash(const char *dir, const char *kind, keel_arena *arena, const char **hash,
                             keel_err *err);

/* A folder OUT/NAME-N and the paths in it, in the arena. */
typedef struct keel__learn_place {
    const char *folder, *snapshot, *work, *base, *policy;
} keel__learn_place;
keel_status keel__learn_place_of(const keel_learn *learn, const char *name, int64_t id, keel_arena *arena,
                                 keel__learn_place *out, keel_err *err);

/* work.db of a place out of a snapshot, unless it is there: rewards derived, features under the base taken
 * over from `older` (NULL: none). And a link to a base that is not to be tuned. */
keel_status keel__learn_prepare(const keel__learn_base *base, const keel__learn_place *place,
                                const char *snapshot, const char *older, int64_t *carried, keel_err *err);

/* Whether answers are to be judged in the work.db. */
keel_status keel__learn_wants_label(const keel_learn *learn, const char *work, bool *wants, keel_err *err);

/* "label -- sft ... -- train ..." of a round, without what judges the policy. */
void keel__learn_say_training(const keel_learn *learn, bool label, bool tune, const char *seed,
                              keel_chain *chain);

typedef struct keel__learn_comparison {
    const char *store, *split;
    const char *policy, *published; /* folders */
    const char *published_hash;
    double confidence; /* two-sided */
    const char *threads;
} keel__learn_comparison;
enum { KEEL__LEARN_ENOUGH = 200 };
/* What the policy earns a conversation more than the published one, paired; absent: nothing can be said.
 * Judged on the split, and once more on what the published one answered itself, where that is enough (own):
 * how another would have gone on is best told there, and there is more of the rest. Conversations of the copy
 * are set apart for it. */
keel_status keel__learn_compare(const keel__learn_comparison *about, keel_optional *low, keel_optional *high,
                                bool *own, keel_err *err);

keel_chain_place keel__learn_chain_place(const keel_learn *learn, const keel__learn_place *place,
                                         keel_arena *arena);

#endif
