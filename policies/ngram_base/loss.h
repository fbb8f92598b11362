/* Internal header of the n-gram base: the loss of one shard. */
#ifndef KEEL_POLICIES_NGRAM_BASE_LOSS_H
#define KEEL_POLICIES_NGRAM_BASE_LOSS_H

#include "core/sparse.h"
#include "core/tape.h"
#include "policies/ngram_base/example.h"

enum { KEEL_LOSS_RANK, KEEL_LOSS_ACT, KEEL_LOSS_OUTCOME, KEEL_LOSS_RISK, KEEL_N_LOSSES };
extern const char *const keel__ngram_base_losses[KEEL_N_LOSSES];

/* What one shard works with; its memory is reused from update to update. */
typedef struct keel_ngram_base_shard {
    keel_tape *tape;
    keel_sparse_grad sparse; /* of the table */
    float *grads;            /* laid out as model->params.data; the step's */
    keel_arena arena;
    double part[KEEL_N_LOSSES]; /* each a share of the batch's mean */
} keel_ngram_base_shard;

typedef struct keel_ngram_base_batch {
    const keel_ngram_base *model;
    keel_example *const *examples; /* [n] */
    size_t n;
    double divisor[KEEL_N_LOSSES]; /* number of terms that each loss is a mean over, in the whole batch */
    uint64_t update;
} keel_ngram_base_batch;

void keel__ngram_base_divisors(keel_ngram_base_batch *batch);
/* Loss and gradient of examples first .. last-1; shard numbers the random streams. */
keel_status keel__ngram_base_loss(const keel_ngram_base_batch *batch, size_t first, size_t last, size_t shard,
                                  keel_ngram_base_shard *work, keel_err *err);

#endif
