/* The logged decisions most like those that a replay shows: what was asked there, what was said, and how it
 * went. */
#ifndef KEEL_EXPERIMENTS_REPLAY_NEAREST_H
#define KEEL_EXPERIMENTS_REPLAY_NEAREST_H

#include <cjson/cJSON.h>

#include "datasets/store.h"
#include "policies/base.h"

enum { KEEL_REPLAY_NEAREST = 3, KEEL_REPLAY_NEAREST_SEATS = 100 };

/* A decision that is shown. */
typedef struct keel_replay_seat {
    keel_place place; /* keel_base_place; n 0: it has none */
    int64_t group;    /* of its conversation, which is not near to itself */
    cJSON *json;      /* gets "nearest": [{"similarity", "conversation", "risk", "completed", "user", "says",
                         "outcome"}], the most similar first */
} keel_replay_seat;

/* One pass over the split's decisions, of which somebody answered. Similarity: the cosine of places. */
keel_status keel_replay_nearest(keel_store *store, const keel_base *base, const keel_split *split,
                                keel_replay_seat *seats, size_t n, keel_err *err);

#endif
