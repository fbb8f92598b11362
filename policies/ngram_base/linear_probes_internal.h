/* Internal header of the linear probes: linear_probes.c collects rows, gives logits, reads and writes files;
 * linear_probes_fit.c fits. */
#ifndef KEEL_POLICIES_NGRAM_BASE_LINEAR_PROBES_INTERNAL_H
#define KEEL_POLICIES_NGRAM_BASE_LINEAR_PROBES_INTERNAL_H

#include "policies/ngram_base/linear_probes.h"

/* One decision as it was added; a single allocation holds it all. */
typedef struct keel__linear_probes_unit {
    uint64_t draw; /* units with the smallest draws are kept, in ascending order of them */
    int64_t group;
    size_t n_rows, n_pairs, entries;
    size_t *end;                   /* [n_rows] of each row's ids */
    uint32_t *id;                  /* [entries] */
    float *dense;                  /* [n_rows, config.n_dense] */
    keel_linear_probes_pair *pair; /* [n_pairs] */
    float *soft;                   /* [n_rows, KEEL_LINEAR_PROBES_MAX] as keel_logistic_task.soft */
    signed char *label;            /* [n_rows, KEEL_LINEAR_PROBES_MAX] a keel_tri */
} keel__linear_probes_unit;

struct keel_linear_probes_builder {
    keel_linear_probes_config config;
    keel__linear_probes_unit **unit; /* [count] */
    size_t count, room;
    size_t entries; /* of all units, rows counted too */
    uint64_t limit; /* draws below it are kept */
};

/* A column is an id that occurred. Weights of one set: [used + n_dense + 1, n_heads], the bias last. */
struct keel_linear_probes {
    size_t n_ids, n_dense, n_heads, sets, used, n_groups;
    int32_t *id;        /* [used] of each column */
    int32_t *column_of; /* [n_ids] or -1 */
    float *idf;         /* [used + 1]; the last is that of an id that never occurred */
    float *dense;       /* [2, n_dense] mean, factor */
    float *weight;      /* [sets, used + n_dense + 1, n_heads]; set f did not see fold f, the last saw all */
    unsigned char *packed; /* [sets, n_heads] rows over the ids (core/packed.h); NULL: weights are whole */
    unsigned char fitted[KEEL_LINEAR_PROBES_MAX];
    int64_t *group; /* [n_groups] ascending: groups of fitted rows */
    keel_arena arena;
};

/* Heads of these sizes with room for everything, zeroed, no column yet. */
keel_status keel__linear_probes_make(keel_linear_probes **out, const keel_linear_probes *sizes,
                                     keel_err *err);
size_t keel__linear_probes_fold(int64_t group, size_t folds); /* independent of the folds of splits */

#endif
