/* Internal header of the tokenizers: WordPiece (Wu et al. 2016; Devlin et al. 2018): the longest prefix of a
 * word that is in the vocabulary, then of the rest behind "##". */
#ifndef KEEL_POLICIES_TOKENS_WORDPIECE_H
#define KEEL_POLICIES_TOKENS_WORDPIECE_H

#include "policies/tokens/component.h"
#include "policies/tokens/vocabulary.h"

typedef struct keel__wordpiece {
    const keel__vocabulary *vocabulary;
    const char *prefix; /* "##" */
    size_t max_word;    /* code points; a longer word is unknown */
    int32_t unknown;
} keel__wordpiece;

keel_status keel__wordpiece_read(const keel__reader *r, const cJSON *model, keel__wordpiece *to);
/* Appends the tokens of one word. */
keel_status keel__wordpiece_encode(const keel__wordpiece *model, const char *word, size_t length,
                                   keel_arena *scratch, keel__ids *out, keel_err *err);

#endif
