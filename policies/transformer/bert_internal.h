/* Between the files of the encoder: bert_encode.c runs it, bert_tape.c differentiates it. */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_INTERNAL_H
#define KEEL_POLICIES_TRANSFORMER_BERT_INTERNAL_H

#include "policies/transformer/bert.h"

/* Where the tokens of a batch lie. */
typedef struct keel__bert_places {
    size_t rows, longest; /* longest: tokens of the longest text */
    int32_t *row;         /* of each token, in the arena */
} keel__bert_places;

/* Checks the batch and places its tokens. */
keel_status keel__bert_place(const keel_bert *bert, const keel_bert_batch *batch, keel_arena *arena,
                             keel__bert_places *out, keel_err *err);
/* Place in params of a row of a layer. */
static inline size_t keel__bert_row(size_t layer, size_t row) {
    return KEEL_BERT_FIRST_LAYER + layer * KEEL_BERT_LAYER + row;
}

#endif
