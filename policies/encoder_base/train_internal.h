/* Between the files of training: train.c runs it, train_vectors.c keeps vectors and judges by them,
 * train_checkpoint.c keeps what it has done. */
#ifndef KEEL_POLICIES_ENCODER_BASE_TRAIN_INTERNAL_H
#define KEEL_POLICIES_ENCODER_BASE_TRAIN_INTERNAL_H

#include "core/metrics.h"
#include "core/sharded_step.h"
#include "policies/encoder_base/train.h"

/* Stages of a training, and numbers of how far one is. */
enum { HEADS, ENCODER, CANDIDATES, N_STAGES };
enum { LEFT_OUT, STAGE, UPDATES, STEPS, TOTAL_UPDATES, BEST_EPOCH, WAITED, N_PROGRESS };

typedef struct keel_encoder_training {
    keel_encoder_tuning *tuning;
    keel_encoder_base *model;
    int64_t at[N_PROGRESS];    /* left out: the fold that this training does without; folds: none */
    size_t size;               /* of what the mode trains */
    keel_real *first, *second; /* [size] AdamW's moments, those of the heads at the end */
    keel_real *best;           /* [size] parameters of the best epoch; NULL without held-out units */
    float best_loss[1], mean[KEEL_N_HEADS]; /* running means of losses; below 0: none yet */
    /* of the stage at hand */
    keel_params trained;
    size_t first_row, n_units, n_held, per_epoch, n_shards;
    uint64_t total;
    keel_encoder_vectors tuned;   /* by the tuned encoder, for the last stage */
    size_t *units, *held, *order; /* [n_units], [n_held], [n_units] of the current epoch */
    int64_t order_epoch;
    keel_encoder_reader reader;
    keel_encoder_shard *shards; /* [n_shards] */
    keel_encoder_batch batch;
    keel_bert_fake fake; /* of the stage that tunes the encoder */
    bool faked;          /* it is there */
    keel_sharded_step *step;
    keel_metrics *metrics;
} keel_encoder_training;

static inline const struct keel_encoder_base_config *keel__encoder_config(const keel_encoder_training *run) {
    return &run->model->config;
}
static inline bool keel__encoder_head_only(const keel_encoder_training *run) {
    return keel__encoder_config(run)->mode == KEEL_BERT_HEAD;
}
/* Whether the stage reads candidates. */
static inline bool keel__encoder_reads(const keel_encoder_training *run) {
    return run->at[STAGE] == CANDIDATES || keel__encoder_config(run)->tune_candidates ||
           keel__encoder_head_only(run);
}
/* Vectors at hand in this stage. */
static inline keel_encoder_vectors *keel__encoder_vectors_of(keel_encoder_training *run) {
    return run->at[STAGE] == CANDIDATES && !keel__encoder_head_only(run) ? &run->tuned : &run->tuning->known;
}

/* Vectors of these units by the encoder as it is, as far as memory_mb allows; the rest is encoded when its
 * turn comes. Heads alone are judged by them too, with the answers that are offered. */
keel_status keel__encoder_encode_missing(keel_encoder_training *run, const size_t *units, size_t n,
                                         keel_err *err);
/* Logits of the units of a fold, or of all, by the model as it is. */
keel_status keel__encoder_judge(keel_encoder_training *run, keel_err *err);

/* Two files: what trainings that are over left, which is small; and the parameters and moments of the one at
 * hand. */
keel_status keel__encoder_keep_folds(keel_encoder_training *run, keel_err *err);
keel_status keel__encoder_keep_training(keel_encoder_training *run, keel_err *err);
/* Goes on from both; files of another run are ignored. *found: there were any. Parameters are those of the
 * training at hand, or false in *begun: it starts anew. */
keel_status keel__encoder_resume(keel_encoder_training *run, bool *found, bool *begun, keel_err *err);

#endif
