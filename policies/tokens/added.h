/* Internal header of the tokenizers: added tokens, which are looked for in the text itself before anything
 * else is done to it: the longest that begins first. */
#ifndef KEEL_POLICIES_TOKENS_ADDED_H
#define KEEL_POLICIES_TOKENS_ADDED_H

#include "policies/tokens/normalizer.h"
#include "policies/tokens/vocabulary.h"

typedef struct keel__added_token {
    const char *content; /* as it is looked for: normalised, if it is */
    size_t length;
    int32_t id;
    bool special, single_word, left, right; /* left, right: takes white space on that side with it */
    bool normalized;                        /* is looked for in the normalised text */
} keel__added_token;

typedef struct keel__added {
    keel__added_token *token; /* [n] by content's first byte, then the longest first */
    size_t n;
    size_t begins[257]; /* of each first byte, and the end */
} keel__added;

/* The tokens join the vocabulary, which has room for them. */
keel_status keel__added_read(const keel__reader *r, const cJSON *list, const keel__normalizer *normalizer,
                             keel__added *to);

typedef struct keel__added_match {
    size_t start, end;
    const keel__added_token *token; /* NULL: none is left */
} keel__added_match;

/* The next token of those that are (not) normalised, sought from *from on; *from: behind it afterwards. done:
 * where the match before it ended, which white space is not taken from. */
keel__added_match keel__added_next(const keel__added *added, bool normalized, const char *text, size_t length,
                                   size_t done, size_t *from);

#endif
