/* Rounds of learning at rest (keel learn): what each one learned from, and what came of it. A round learns
 * from a snapshot, a copy of the store of one moment, so that it can be made again, and so that whoever
 * writes to the store waits no longer than for a row. */
#ifndef KEEL_DATASETS_STORE_ROUNDS_H
#define KEEL_DATASETS_STORE_ROUNDS_H

#include "datasets/store.h"

/* Writes the store, as it is at this moment, to a new file: whole, or not at all. Writers go on meanwhile.
 * Not inside a transaction. A snapshot that lies there already is replaced. */
keel_status keel_store_snapshot(keel_store *store, const char *path, keel_err *err);

/* Takes features under a base over from an older copy of the same store, of decisions at which nothing has
 * changed: neither what was said up to there nor the candidates. Those that are there already stay. Not
 * inside a transaction. *carried (may be NULL): how many. */
keel_status keel_store_carry_features(keel_store *store, const char *older, const char *base_hash,
                                      int64_t *carried, keel_err *err);

/* Moves the conversations of a split that a policy, and no other and not in shadow, answered in a server into
 * another split. It is for copies: in a store they stay where they are. */
keel_status keel_store_set_apart(keel_store *store, const char *split, const char *policy, const char *into,
                                 keel_err *err);
/* How many conversations that would be. */
keel_status keel_store_count_answered(keel_store *store, const char *split, const char *policy,
                                      int64_t *count, keel_err *err);

typedef struct keel_round {
    int64_t id;                         /* from 1 */
    double at;                          /* when its snapshot was made: seconds since 1970, UTC */
    const char *snapshot;               /* path */
    const char *content;                /* content hash of all that is in it */
    int64_t conversations;              /* in it */
    const char *offsets;                /* JSON: of each topic the next offset of each partition, in it */
    int64_t served;                     /* the last request served that is in it; 0: none */
    const char *policy_before, *policy; /* hashes: what was published, what was trained; NULL: none */
    const char *gates;                  /* JSON array of eval; NULL: not judged */
    const char *verdict;                /* in words */
    bool published;
    const char *config; /* JSON: all that the round was asked */
    int64_t seed;
} keel_round;

/* Adds the round under its id. */
keel_status keel_store_put_round(keel_store *store, const keel_round *round, keel_err *err);
/* All, the first one first; in the arena. */
keel_status keel_store_rounds(keel_store *store, keel_arena *arena, keel_round **out, size_t *count,
                              keel_err *err);
/* offsets and served of a round from what the store holds now; offsets in the arena. */
keel_status keel_store_reached(keel_store *store, keel_arena *arena, const char **offsets, int64_t *served,
                               keel_err *err);

#endif
