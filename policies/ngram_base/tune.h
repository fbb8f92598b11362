/* Internal header of tuning the n-gram base, shared by its files. keel__ngram_base_tune calls them in this
 * order: count n-grams, fit linear probes, standardise features, train the encoder. */
#ifndef KEEL_POLICIES_NGRAM_BASE_TUNE_H
#define KEEL_POLICIES_NGRAM_BASE_TUNE_H

#include "core/parallel.h"
#include "core/sparse.h"
#include "core/tape.h"
#include "policies/ngram_base/model.h"

/* ---- tune.c ---- */

enum { KEEL_CHECKPOINT_ENCODER = 0, KEEL_CHECKPOINT_PROBES = 1 };
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
} keel_tuning;

/* ---- example.c ---- */

/* One decision with its labels. */
typedef struct keel_lesson {
    keel_sample sample;
    int32_t act;     /* fixed spaces: index of the taken act or outcome, or -1 */
    size_t n_taken;  /* number of true values in `taken` */
    bool *taken;     /* [n_candidates], as are the next two; candidate sets only */
    int8_t *outcome; /* keel_outcome */
    keel_optional *feedback;
} keel_lesson;

/* One conversation. */
typedef struct keel_example {
    size_t n_lessons;
    keel_lesson *lesson;
    keel_risk risk;
    int64_t group; /* keel_conversation_group_hash */
    uint64_t name; /* keel_conversation_name_hash */
    bool weighed;  /* whether keel__ngram_base_weigh_example was called */
} keel_example;

/* Turns buckets into weighted rows, the first time it is called for an example; one thread an example. */
void keel__ngram_base_weigh_example(const keel_ngram_base *model, keel_example *example);

/* Reads up to `room` examples at a time, from memory or from the corpus. */
typedef struct keel_example_reader {
    keel_tuning *tuning;
    size_t room, n_read; /* n_read: of the last fetch, from the corpus */
    keel_arena *arena;   /* [room], as are those below; the first n_read are in use */
    size_t *slot;        /* place in `example` of what was read */
    size_t *place;       /* place of it in the corpus */
    keel_conversation **read;
    keel_example *fresh;
    keel_example **example; /* the examples of the last fetch, valid until the next */
} keel_example_reader;
keel_status keel__ngram_base_reader_open(keel_example_reader *reader, keel_tuning *tuning, size_t room,
                                         keel_err *err);
void keel__ngram_base_reader_close(keel_example_reader *reader);
/* example[i] is made from the conversation at place[i] of the corpus. It is kept in memory while memory_mb
 * allows. */
keel_status keel__ngram_base_fetch(keel_example_reader *reader, const size_t *place, size_t n, keel_err *err);

/* ---- passes over the corpus (passes.c), before examples are weighed ---- */

/* Counts in how many texts each bucket occurs, adds the counts of tuning->from, makes one row for each bucket
 * that occurs, and copies the embeddings of tuning->from. */
keel_status keel__ngram_base_count(keel_tuning *tuning, keel_err *err);
/* Fits the linear probes. Goes on from their checkpoint if its identity is this one, and leaves it there. */
keel_status keel__ngram_base_fit_heads(keel_tuning *tuning, keel_err *err);
/* Mean and deviation of the scalar features. */
keel_status keel__ngram_base_scale(keel_tuning *tuning, keel_err *err);

/* ---- loss.c ---- */

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

/* ---- train.c ---- */

/* Trains table and layers from where they are, or from the checkpoint if its identity is this one. last gets
 * a running mean of each loss. */
keel_status keel__ngram_base_train(keel_tuning *tuning, double last[KEEL_N_LOSSES], uint64_t *updates,
                                   keel_err *err);

#endif
