/* One round of learning: what is new in the store is copied into a snapshot, judged and encoded there, and a
 * policy is trained from it, compared with the one that is served, and published if it is better.
 *
 *   OUT/round-N/snapshot.db    the store of that moment, never written again
 *   OUT/round-N/work.db        a copy in which answers are judged and states encoded; what still holds of the
 *                              features of the round before is taken over
 *   OUT/round-N/base           the base: tuned in this round, or a link to where it is
 *   OUT/round-N/policy, steps  what was trained, and the results of its steps
 *
 * The store itself is written to twice, by one short transaction each: the splits of new groups, and the row
 * of the round with the publication. A round that was cut off goes on where it was. */
#ifndef KEEL_EXPERIMENTS_LEARN_LEARN_ROUND_H
#define KEEL_EXPERIMENTS_LEARN_LEARN_ROUND_H

#include "datasets/store_rounds.h"
#include "experiments/recipe_chain.h"

typedef enum keel_learn_label {
    KEEL_LEARN_LABEL_AUTO,
    KEEL_LEARN_LABEL_ALWAYS,
    KEEL_LEARN_LABEL_NEVER
} keel_learn_label;

/* What a round is asked; texts are borrowed. */
typedef struct keel_learn {
    keel_store *store; /* for writing */
    const char *out;   /* this and base are paths from the root on (keel_path_absolute) */
    const char *base;  /* of the first round; NULL: tuned there */
    const char *tune;  /* what a base is tuned from, as `keel sft` takes it; NULL: the base stays the same */
    const char *const *tune_sets; /* [n_tune_sets] of sft */
    size_t n_tune_sets;
    double growth; /* a base is tuned anew once there are so many times the conversations of its own tuning */
    const char *split, *test, *arm;
    const char *algo, *max_harm;            /* as `keel train` takes them; NULL: its defaults */
    const char *const *sets, *const *gates; /* [n_sets] of train, [n_gates] of eval */
    size_t n_sets, n_gates;
    const char *threads;
    keel_learn_label label;
    double error; /* chance, over all rounds together, that a policy is published that is no better */
    int64_t seed; /* of round N: seed + N */
    int64_t keep; /* snapshots of so many last rounds stay */
    bool publishes;
} keel_learn;

typedef struct keel_learned {
    keel_round round;        /* id 0: nothing was new */
    int64_t added;           /* conversations since the round before */
    int64_t carried;         /* features that were taken over */
    bool labelled, tuned;    /* answers were judged; the base was tuned anew */
    keel_optional low, high; /* what it earns a conversation more than the one that is served */
    double confidence;       /* of that */
    bool own;                /* also judged on what the published one answered itself */
} keel_learned;

/* Texts of *out lie in the arena. KEEL_E_GATE, KEEL_E_DIVERGED of a training are no failures of the round:
 * its verdict says so. */
keel_status keel_learn_round(const keel_learn *learn, keel_arena *arena, keel_learned *out, keel_err *err);

/* Makes the policy of a round once more, from its snapshot, in OUT/again-N; *same: all files of the two are
 * the same bytes. KEEL_E_NOT_FOUND: no such round, or its snapshot is not kept any more; KEEL_E_CONFLICT: the
 * snapshot is not what it was. */
keel_status keel_learn_again(const keel_learn *learn, int64_t id, keel_arena *arena, bool *same,
                             const char **differs, keel_err *err);

#endif
