/* Internal header of tuning the encoder base, shared by its files: what is learned from, and from where. */
#ifndef KEEL_POLICIES_ENCODER_BASE_TUNE_H
#define KEEL_POLICIES_ENCODER_BASE_TUNE_H

#include "policies/encoder_base/loss.h"

/* A decision that teaches at least one head. */
typedef struct keel_encoder_unit {
    size_t place; /* of its conversation in the corpus */
    uint32_t decision, n_candidates;
    uint32_t fold;          /* of its group, below config.folds; 0 without folds */
    bool held_out;          /* takes no part in training: training stops by it */
    size_t first_candidate; /* among those of all units: its own, then the answers offered beside them */
} keel_encoder_unit;

/* Tokens of a unit's texts, without what is put around them: those that are read, those of them that the
 * vocabulary does not know, and those that are not read, of its state and of its candidates. */
typedef struct keel_encoder_read_counts {
    size_t read, unknown, cut_state, cut_candidates;
} keel_encoder_read_counts;

/* Vectors of units' texts, as far as there is memory. */
typedef struct keel_encoder_vectors {
    bool candidates; /* of candidates too, else of states alone */
    bool offers;     /* of the answers offered beside them too */
    float **of;      /* [n] each [1 + candidates, hidden]; NULL: not at hand */
    size_t bytes;    /* in all of them */
} keel_encoder_vectors;

typedef struct keel_encoder_tuning {
    const keel_base_tuning *job;
    keel_encoder_base *model;
    size_t first;                 /* row of the first trained parameter */
    size_t n, n_candidates;       /* candidates with the answers offered beside them */
    bool offers;                  /* lessons have those too, behind the decision's candidates */
    keel_encoder_unit *unit;      /* [n] by the names of their conversations */
    float *origin;                /* trained parameters before training: [size of the view from `first`] */
    keel_encoder_vectors known;   /* by the encoder as it came */
    keel_encoder_vectors *filled; /* those that a pass works out */
    /* what encoders that were tuned without a unit say of it, and its keys */
    int64_t *state_key, *candidate_key;     /* [n], [n_candidates] */
    uint64_t *candidate_hash;               /* [n_candidates] of what is read of it: keel_reading.hash */
    float *state_logits, *candidate_logits; /* [n, n_state], [n_candidates, n_candidate] */
    keel_soft_labels *soft;                 /* of the job's teacher, or NULL */
    keel_encoder_read_counts *counts;       /* [n] of its texts */
    keel_arena arena;
} keel_encoder_tuning;

/* Places of its checkpoints among the job's; those of the n-gram base follow. */
enum { KEEL_CHECKPOINT_FOLDS, KEEL_CHECKPOINT_TRAINING, KEEL_CHECKPOINT_BESIDE };

keel_status keel__encoder_base_tune(const keel_base_tuning *job, keel_base **out, keel_base_report *report,
                                    keel_err *err);

/* Reads units as lessons, up to `room` at a time. A fetch whose units all have vectors at hand makes no
 * tokens: of a candidate its hash alone is told. */
typedef struct keel_encoder_reader {
    keel_encoder_tuning *tuning;
    const keel_encoder_vectors *vectors; /* that lessons get; NULL: none */
    bool recalls;                        /* the last fetch made no tokens */
    size_t room, n;
    const size_t *at; /* [n] of the last fetch */
    keel_arena *arena;
    size_t *place;
    keel_conversation **read;
    keel_encoder_lesson *lesson; /* [n], valid until the next fetch */
} keel_encoder_reader;
keel_status keel__encoder_reader_open(keel_encoder_reader *reader, keel_encoder_tuning *tuning, size_t room,
                                      keel_err *err);
void keel__encoder_reader_close(keel_encoder_reader *reader);
/* lesson[i] is that of unit at[i]. */
keel_status keel__encoder_fetch(keel_encoder_reader *reader, const size_t *at, size_t n, keel_err *err);

/* Calls look for runs of up to ONCE lessons of the units at[0 .. n), on all threads of the pool, in no order;
 * slot: the first of the run. The result must not depend on how units are cut into runs. */
enum { KEEL_ENCODER_ONCE = 16 };
typedef keel_status keel_encoder_look(keel_encoder_tuning *tuning, const size_t *at,
                                      keel_encoder_lesson *lesson, size_t n, keel_arena *scratch,
                                      keel_err *err);
keel_status keel__encoder_look_at(keel_encoder_tuning *tuning, const char *what, const size_t *at, size_t n,
                                  keel_encoder_look *look, keel_err *err);

/* Vectors of the texts of lessons: each lesson's state and candidates, one behind the other, by the encoder
 * as it is; out [sum of 1 + n_candidates, hidden], where states that no head reads are zero. */
keel_status keel__encoder_vectors(const keel_encoder_base *model, const keel_encoder_lesson *lesson, size_t n,
                                  keel_arena *scratch, float *out, keel_err *err);

#endif
