/* Internal header of the tokenizers: the tokens that stand around a text, or a pair of texts. */
#ifndef KEEL_POLICIES_TOKENS_POST_PROCESSOR_H
#define KEEL_POLICIES_TOKENS_POST_PROCESSOR_H

#include <stdbool.h>

#include "policies/tokens/component.h"

/* What is put together: a token, or one of the texts. */
typedef struct keel__frame_piece {
    int32_t token; /* -1: a text */
    int text;      /* 0: the first, 1: the second */
    int32_t type;  /* segment */
} keel__frame_piece;

enum { KEEL__FRAME_PIECES = 16 };

typedef struct keel__frame {
    keel__frame_piece piece[KEEL__FRAME_PIECES];
    size_t n, tokens;
} keel__frame;

/* to: of one text, of a pair. Without a post-processor: the texts alone. */
keel_status keel__post_processor_read(const keel__reader *r, const cJSON *json, keel__frame to[2]);

#endif
