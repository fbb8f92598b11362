/* Internal header of the tokenizers: what is done to a text before it is split. */
#ifndef KEEL_POLICIES_TOKENS_NORMALIZER_H
#define KEEL_POLICIES_TOKENS_NORMALIZER_H

#include "policies/tokens/pattern.h"

typedef struct keel__normalizer_step {
    keel_status (*run)(const struct keel__normalizer_step *step, keel__matching *matching, const char **text,
                       size_t *length);
    int form;         /* options of utf8proc */
    const char *text; /* what is put before, or instead of a match */
    const keel__pattern *pattern;
    bool clean, chinese, strip_accents, lowercase; /* of BERT */
} keel__normalizer_step;

typedef struct keel__normalizer {
    keel__normalizer_step *step;
    size_t n;
} keel__normalizer;

keel_status keel__normalizer_read(const keel__reader *r, const cJSON *json, keel__normalizer *to);
/* text[0 .. length), valid UTF-8; what comes out is in the arena of the matching, or the same. */
keel_status keel__normalizer_run(const keel__normalizer *normalizer, keel__matching *matching,
                                 const char **text, size_t *length);
bool keel__normalizer_lowercases(const keel__normalizer *normalizer);

#endif
