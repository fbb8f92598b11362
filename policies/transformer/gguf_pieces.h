/* SentencePiece's vocabularies in GGUF files: from scores of pieces to the merges of a BPE, as the converters
 * of transformers make them. */
#ifndef KEEL_POLICIES_TRANSFORMER_GGUF_PIECES_H
#define KEEL_POLICIES_TRANSFORMER_GGUF_PIECES_H

#include "policies/transformer/gguf.h"

typedef struct keel_gguf_merge {
    uint32_t left, right; /* ids */
    float score;          /* of the piece that they make */
    uint32_t order;
} keel_gguf_merge;

/* Every pair of pieces that make a piece together, the best first: higher score, then the longer left piece.
 * is_piece [n]: which tokens take part. In the arena. KEEL_E_UNSUPPORTED for pieces of more than 256 bytes.
 */
keel_status keel_gguf_find_merges(const char *const *text, const float *score, const bool *is_piece, size_t n,
                                  keel_arena *arena, keel_gguf_merge **out, size_t *count, const char *where,
                                  keel_err *err);

#endif
