/* What a replay reads: conversations a round at a time, with the features of their decisions under up to two
 * bases. Those that the store has not are made on the threads of a pool. */
#ifndef KEEL_EXPERIMENTS_REPLAY_READ_H
#define KEEL_EXPERIMENTS_REPLAY_READ_H

#include "core/parallel.h"
#include "datasets/store.h"
#include "experiments/replay_filter.h"

enum { KEEL_REPLAY_ROUND = 32, KEEL_REPLAY_BASES = 2 };

typedef struct keel_replay_seen {
    keel_arena arena;
    keel_conversation *conversation;
    bool *asked; /* [n_decisions] the filter reads it and every base can encode it */
    keel_features *features[KEEL_REPLAY_BASES]; /* [n_decisions] where asked */
} keel_replay_seen;

typedef struct keel_replay_round {
    keel_store *store;
    const keel_base *base[KEEL_REPLAY_BASES]; /* the second may be NULL */
    keel_replay_filter *filter;
    keel_pool *pool;
    size_t n;
    keel_replay_seen seen[KEEL_REPLAY_ROUND];
} keel_replay_round;

/* The next conversations of a cursor; n 0 after the last. */
keel_status keel_replay_read(keel_replay_round *round, keel_cursor *cursor, keel_err *err);
/* One conversation by its id. */
keel_status keel_replay_read_one(keel_replay_round *round, int64_t id, keel_err *err);
void keel_replay_round_free(keel_replay_round *round);

#endif
