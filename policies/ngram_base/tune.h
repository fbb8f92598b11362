/* Inside of tuning the built-in base, shared by its files. keel_sft goes through these in order: survey,
 * count, heads, scaling, encoder. Nothing outside policies/ includes this. */
#ifndef KEEL_POLICIES_NGRAM_BASE_TUNE_H
#define KEEL_POLICIES_NGRAM_BASE_TUNE_H

#include "core/parallel.h"
#include "core/sparse.h"
#include "core/tape.h"
#include "policies/ngram_base/model.h"
#include "policies/sft.h"

/* ---- what a split can teach (builtin_survey.c) ---- */

typedef struct keel_survey {
    size_t conversations, decisions;
    size_t taken;      /* decisions with a taken candidate */
    size_t choices;    /* conversations in which a taken candidate was one of several */
    size_t with_act;   /* with a taken candidate that carries an act */
    size_t judged;     /* with a taken candidate whose outcome is judged */
    size_t candidates; /* of all decisions */
    size_t with_risk;  /* conversations whose risk is known */
} keel_survey;
/* The space asked for, or the one that fits the split; KEEL_E_NOT_FOUND with a hint when nothing there
 * supervises it. */
keel_status keel__ngram_base_choose_space(const keel_survey *survey,
                                          const struct keel_ngram_base_config *config,
                                          const keel_split *split, keel_action_space *space, keel_err *err);

typedef struct keel_tuning {
    keel_store *store;
    keel_pool *pool;
    keel_survey survey;
    size_t count;
    int64_t *ids;    /* [count] conversations of the split, as stored: passes read them so */
    size_t *by_name; /* [count] their places by a hash of what they are called, which is what is shuffled */
    keel_conversation **surveyed; /* [n_surveyed] the first of them, in memory until n-grams are counted */
    size_t n_surveyed;
    keel_arena texts; /* of these */
    keel_ngram_base *model;
    struct keel_example *
        *kept;         /* [count] those in memory, up to memory_mb; NULL: read again from the store */
    keel_arena memory; /* of these */
} keel_tuning;

/* Fills survey, conversations and what of them fits half of `room` bytes, in one pass with the split's
 * content hash. */
keel_status keel__ngram_base_survey(keel_tuning *tuning, const keel_split *split, size_t room,
                                    char content[65], keel_err *err);
void keel__ngram_base_forget_texts(keel_tuning *tuning);
void keel__ngram_base_tuning_free(keel_tuning *tuning); /* all but store, pool and model */

/* ---- examples (builtin_example.c) ---- */

/* One decision with what it teaches. */
typedef struct keel_lesson {
    keel_sample sample;
    int32_t act;    /* fixed spaces: index of the taken act or outcome, or -1 */
    size_t n_taken; /* candidate sets, as are those below: [n_candidates] */
    bool *taken;
    int8_t *outcome; /* keel_outcome */
    keel_optional *feedback;
} keel_lesson;

typedef struct keel_example { /* one conversation */
    size_t n_lessons;
    keel_lesson *lesson;
    keel_risk risk;
    int64_t group; /* what heads know it by */
    uint64_t name; /* hash of what it is called */
    bool weighed;  /* its samples are */
} keel_example;

/* Once for an example, from the thread that has it. */
void keel__ngram_base_weigh_example(const keel_ngram_base *model, keel_example *example);

/* Examples, up to `room` of them at a time: out of memory, or out of the store. */
typedef struct keel_reader {
    keel_tuning *tuning;
    size_t room;
    keel_arena *arena;        /* [room] of what was read */
    keel_conversation **read; /* [room] NULL: out of memory */
    keel_example *fresh;      /* [room] */
    keel_example **example;   /* [room] what the last fetch got, good until the next */
} keel_reader;
keel_status keel__ngram_base_reader_open(keel_reader *reader, keel_tuning *tuning, size_t room,
                                         keel_err *err);
void keel__ngram_base_reader_close(keel_reader *reader);
/* example[i] is that of conversation ids[place[i]]. What is read is kept while memory_mb lasts. */
keel_status keel__ngram_base_fetch(keel_reader *reader, const size_t *place, size_t n, keel_err *err);

/* ---- passes over the split (builtin_passes.c), before examples are weighed ---- */

/* Counts in how many texts each bucket occurs, on top of what `from` (may be NULL) has seen, makes room for
 * those that do, and copies from's embeddings. */
keel_status keel__ngram_base_count(keel_tuning *tuning, const keel_ngram_base *from, keel_err *err);
/* Goes on from the checkpoint if its identity is this one, and leaves it there. */
keel_status keel__ngram_base_fit_heads(keel_tuning *tuning, const char identity[65], const char *checkpoint,
                                       keel_err *err);
/* Mean and deviation of the scalar features. */
keel_status keel__ngram_base_scale(keel_tuning *tuning, keel_err *err);

/* ---- loss (builtin_loss.c) ---- */

enum { KEEL_LOSS_RANK, KEEL_LOSS_ACT, KEEL_LOSS_OUTCOME, KEEL_LOSS_RISK, KEEL_N_LOSSES };
extern const char *const keel__ngram_base_losses[KEEL_N_LOSSES];

/* What one shard works with; its memory is reused from update to update. */
typedef struct keel_loss_shard {
    keel_tape *tape;
    keel_sparse_grad sparse; /* of the table */
    float *grads;            /* laid out as model->params.data */
    keel_arena arena;
    double part[KEEL_N_LOSSES]; /* each a share of the batch's mean */
} keel_loss_shard;

typedef struct keel_loss_batch {
    const keel_ngram_base *model;
    keel_example *const *examples; /* [n] */
    size_t n;
    double divisor[KEEL_N_LOSSES]; /* what each loss is a mean over, in the whole batch */
    uint64_t update;
} keel_loss_batch;

void keel__ngram_base_divisors(keel_loss_batch *batch);
/* Loss and gradient of examples first .. last-1; shard numbers the random streams. */
keel_status keel__ngram_base_loss(const keel_loss_batch *batch, size_t first, size_t last, size_t shard,
                                  keel_loss_shard *work, keel_err *err);

/* ---- the encoder (builtin_train.c) ---- */

/* Tunes table and layers from where they are, or from the checkpoint if its identity is this one.
 * metrics_path may be NULL. last gets a running mean of each loss. */
keel_status keel__ngram_base_train(keel_tuning *tuning, const char identity[65], const char *checkpoint,
                                   const char *metrics_path, double last[KEEL_N_LOSSES], uint64_t *updates,
                                   keel_err *err);

#endif
