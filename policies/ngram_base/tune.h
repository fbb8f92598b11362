/* Internal header of tuning the n-gram base, shared by its files. keel__ngram_base_tune calls them in this
 * order: ask the teacher, count n-grams, fit linear probes, standardise features, train the encoder. */
#ifndef KEEL_POLICIES_NGRAM_BASE_TUNE_H
#define KEEL_POLICIES_NGRAM_BASE_TUNE_H

#include "core/parallel.h"
#include "policies/ngram_base/model.h"
#include "policies/soft_labels.h"

enum { KEEL_CHECKPOINT_ENCODER, KEEL_CHECKPOINT_STATES, KEEL_CHECKPOINT_CANDIDATES };
extern const char *const keel__ngram_base_checkpoints[]; /* suffixes, by these indices */

keel_status keel__ngram_base_tune(const keel_base_tuning *job, keel_base **out, keel_base_report *report,
                                  keel_err *err);

typedef struct keel_tuning {
    const keel_base_tuning *job;
    keel_corpus *corpus;
    keel_ngram_base *model;
    const keel_ngram_base *from; /* or NULL */
    struct keel_example **kept;  /* [corpus->count] examples in memory, up to memory_mb; NULL: read again */
    keel_arena memory;           /* of the kept examples */
    keel_soft_labels *soft;      /* of the job's teacher, or NULL */
} keel_tuning;

#endif
