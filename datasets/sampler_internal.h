/* The two rooms of the sampler: which transitions can be drawn (sampler_records.c), and their features in
 * minibatches (sampler.c). Nobody else includes this. */
#ifndef KEEL_DATASETS_SAMPLER_INTERNAL_H
#define KEEL_DATASETS_SAMPLER_INTERNAL_H

#include "core/spool.h"
#include "datasets/sampler.h"
#include "datasets/store_internal.h"

/* One transition that can be drawn. features and next are row ids of the features table, or in memory 1 +
 * slot; next is 0 when there is no next decision. */
typedef struct keel__record {
    int64_t features, next;
    float reward[KEEL_N_REWARDS];
    uint8_t present[KEEL_N_REWARDS];
    uint8_t usable;
    int32_t action;
    float bootstrap;
} keel__record;

/* What records are listed of. All borrowed. */
typedef struct keel__records_of {
    keel_store *store;
    const keel_split *split;
    const keel_sampler_config *config;
    size_t n_actions; /* of a fixed space */
} keel__records_of;

/* A statement over the split: head, the split's clause, tail; ":base" is the base's hash. */
keel_status keel__records_prepare(const keel__records_of *of, const char *head, const char *tail,
                                  sqlite3_stmt **out, keel_err *err);

/* How many decisions and candidates the split has, and at most how many transitions. */
typedef struct keel__records_sizes {
    size_t decisions, candidates, transitions;
} keel__records_sizes;
keel_status keel__records_measure(const keel__records_of *of, keel__records_sizes *out, keel_err *err);

/* Lists them into list, which has room for `room`, or, where list is NULL, onto the spool: conversations by
 * the hash of source and name, so that the order of imports does not matter. Where they go to a spool memory
 * does not grow with the store; else they are held twice on the way. KEEL_E_NOT_FOUND with a hint when there
 * are none. */
keel_status keel__records_list(const keel__records_of *of, keel__record *list, size_t room, keel_spool *spool,
                               keel_sampler_summary *summary, keel_err *err);

#endif
