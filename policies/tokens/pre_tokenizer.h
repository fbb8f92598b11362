/* Internal header of the tokenizers: from a normalised text to the pieces that the model sees one by one.
 * Every type of pre-tokenizer comes down to a chain of four kinds of step. */
#ifndef KEEL_POLICIES_TOKENS_PRE_TOKENIZER_H
#define KEEL_POLICIES_TOKENS_PRE_TOKENIZER_H

#include "policies/tokens/pattern.h"

/* What becomes of the matches of a pattern, and of what lies between them. */
typedef enum keel__split_behavior {
    KEEL__SPLIT_REMOVED,
    KEEL__SPLIT_ISOLATED,
    KEEL__SPLIT_WITH_PREVIOUS,
    KEEL__SPLIT_WITH_NEXT,
    KEEL__SPLIT_CONTIGUOUS
} keel__split_behavior;

typedef struct keel__pre_tokenizer_step {
    enum { KEEL__SPLIT, KEEL__PREFIX, KEEL__REPLACE } kind;
    const keel__pattern *pattern; /* of a split, of what is replaced */
    keel__split_behavior behavior;
    bool invert;      /* matches and what lies between them change places */
    const char *text; /* PREFIX: is put before what does not begin with it; REPLACE: instead of a match */
    bool first_only;  /* PREFIX: only at the beginning of the whole text */
} keel__pre_tokenizer_step;

typedef struct keel__pre_tokenizer {
    keel__pre_tokenizer_step *step;
    size_t n;
    bool bytes; /* ByteLevel, at the end: the model's symbols are the bytes of a piece */
} keel__pre_tokenizer;

keel_status keel__pre_tokenizer_read(const keel__reader *r, const cJSON *json, keel__pre_tokenizer *to);

typedef struct keel__piece {
    const char *text;
    size_t length;
    bool first; /* of the whole text */
} keel__piece;

/* Hands each piece to take, in order. */
typedef keel_status keel__take_piece(void *context, const char *text, size_t length);
keel_status keel__pre_tokenizer_run(const keel__pre_tokenizer *pre, keel__matching *matching,
                                    keel__piece piece, keel__take_piece *take, void *context);

#endif
