/* Internal header of the tokenizers: from tokens back to a text. */
#ifndef KEEL_POLICIES_TOKENS_DECODER_H
#define KEEL_POLICIES_TOKENS_DECODER_H

#include "policies/tokens/pattern.h"

typedef struct keel_bytes {
    const void *data;
    size_t length;
} keel_bytes;

/* The strings of a decoding: one for each token at first, in the arena of the matching. */
typedef struct keel__decoding {
    keel_bytes *string; /* [n] */
    size_t n;
    bool middle; /* one token in the middle of a text: its bytes, whole code points or not */
    keel__matching matching;
} keel__decoding;

typedef struct keel__decoder_step {
    keel_status (*run)(const struct keel__decoder_step *step, keel__decoding *on);
    const keel__pattern *pattern;
    const char *text;   /* instead of a match; what is stripped; prefix of what goes on */
    size_t start, stop; /* how many are stripped on each side */
    bool clean;         /* WordPiece: no blanks before marks */
} keel__decoder_step;

typedef struct keel__decoder {
    keel__decoder_step *step;
    size_t n;
} keel__decoder;

keel_status keel__decoder_read(const keel__reader *r, const cJSON *json, keel__decoder *to);
/* Leaves one string: valid UTF-8, unless middle. */
keel_status keel__decoder_run(const keel__decoder *decoder, keel__decoding *on);

#endif
