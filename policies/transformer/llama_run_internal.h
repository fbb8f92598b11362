/* Between the files of decoders at work: llama_sequence.c, llama_layer.c, llama_head.c, llama_run.c. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_RUN_INTERNAL_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_RUN_INTERNAL_H

#include "core/panels.h"
#include "core/team.h"
#include "policies/transformer/llama_internal.h"
#include "policies/transformer/llama_run.h"

/* ---- keys, values and what the last norm made, in blocks of positions ---- */

enum { KEEL__BLOCK = 64 }; /* positions, a multiple of KEEL_PANEL */

struct keel_llama_sequence {
    const keel_llama *llama;
    const keel_llama_sequence *parent; /* NULL: none */
    size_t shared;                     /* positions of the parent's, virtual ones included */
    size_t length;                     /* positions, the parent's and virtual ones included */
    size_t unread;                     /* virtual tokens to be read first */
    void **block;                      /* [n_blocks] of positions from `shared` on */
    size_t n_blocks, capacity;
    bool fed; /* is in a feed of the run that is being checked */
};

/* A run of positions in one block. */
typedef struct keel__piece {
    float *block;
    size_t first, count; /* its block begins at position `first` */
} keel__piece;

/* The one that a position is in. */
static inline const keel__piece *keel__piece_of(const keel__piece *pieces, size_t position) {
    while (position >= pieces->first + pieces->count) pieces++;
    return pieces;
}

/* Of one key and value head in one layer: keys [BLOCK / 16][head_dim][16], positions as lanes; values
 * [BLOCK][value_width]. */
static inline size_t keel__value_width(const keel_llama_config *c) {
    return keel_panels(c->head_dim) * KEEL_PANEL;
}
float *keel__keys(const keel_llama_config *config, float *block, size_t layer, size_t head);
float *keel__values(const keel_llama_config *config, float *block, size_t layer, size_t head);
/* [hidden] of a position, behind the last norm. */
float *keel__hidden(const keel_llama_config *config, const keel__piece *pieces, size_t position);

int32_t *keel__block_ids(const keel_llama_config *config, float *block); /* [BLOCK], virtual ones below 0 */
/* Ids of the whole text, without virtual tokens. */
void keel__sequence_ids(const keel_llama_sequence *sequence, int32_t *id);

/* Room for positions up to `length`; what is there stays. */
keel_status keel__sequence_reserve(keel_llama_sequence *sequence, size_t length, keel_err *err);
/* Positions 0 .. length - 1 in order, those of parents first; in the arena. NULL: no memory. */
keel__piece *keel__sequence_pieces(const keel_llama_sequence *sequence, size_t length, keel_arena *arena,
                                   size_t *n);

/* ---- one pass over some rows ---- */

typedef struct keel__row {
    size_t feed, position;
    int32_t id; /* -1 - v: virtual token v */
} keel__row;

typedef struct keel__text {
    const keel__piece *pieces;
    size_t n_pieces;
} keel__text;

/* Inputs in each form that the model's matrices want. */
typedef struct keel__packed {
    void *of[KEEL_N_PANEL_FORMS];
    size_t cols;
} keel__packed;

typedef struct keel__pass {
    const keel_llama *llama;
    unsigned forms; /* bit f: the model has matrices that want form f */
    bool lora;      /* corrections that are not merged */
    const keel__text *texts;
    const keel__row *row;
    size_t rows, panels; /* of this pass */
    size_t most_positions;
    float *x, *y;     /* panels of hidden columns: residual stream, what is added to it next */
    float *q, *k, *v; /* panels of the heads' columns */
    float *queries;   /* [kv head][row][query head of it][head_dim], turned and / sqrt(head_dim) */
    float *seen;      /* panels of heads * head_dim columns */
    float *gate, *up; /* panels of inner columns */
    float *normed;    /* panels of hidden columns, where there is an observer */
    float *turn;      /* [row][head_dim] */
    float *low[KEEL__N_LLAMA_TARGETS]; /* panels of rank columns: A x */
    keel__packed hidden, heads, inner;
    float **scratch; /* of each thread */
} keel__pass;

/* Floats of a thread's scratch. */
size_t keel__pass_scratch(const keel__pass *pass);
/* All layers over the rows of the pass; keys, values and hidden vectors go to the texts' pieces. */
void keel__pass_run(keel__pass *pass, keel_team *team, size_t thread);

/* ---- the product with the vocabulary ---- */

typedef struct keel__wanted {
    const float *hidden;
    int32_t target;  /* of log_prob */
    float *log_prob; /* NULL: not wanted */
    float *logits;   /* [vocab]; NULL: not wanted */
} keel__wanted;

keel_status keel__head_run(const keel_llama *llama, const keel__wanted *wanted, size_t n, keel_pool *pool,
                           keel_arena *scratch, keel_err *err);

/* Rows from .. to - 1 of a matrix. */
keel_matrix keel__matrix_part(const keel_matrix *matrix, size_t from, size_t to);

#endif
