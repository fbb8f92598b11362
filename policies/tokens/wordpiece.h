/* Internal header of the tokenizers: BERT's normaliser and pre-tokenizer, and WordPiece (Wu et al. 2016;
 * Devlin et al. 2018): the longest prefix of a word that is in the vocabulary, then of the rest behind "##".
 */
#ifndef KEEL_POLICIES_TOKENS_WORDPIECE_H
#define KEEL_POLICIES_TOKENS_WORDPIECE_H

#include "policies/tokens/vocabulary.h"

typedef struct keel__wordpiece {
    bool clean, chinese, strip_accents, lowercase;
    const char *prefix; /* "##" */
    size_t max_word;    /* code points; a longer word is unknown */
    int32_t unknown;
} keel__wordpiece;

/* Appends the tokens of text[0 .. length) to out. */
keel_status keel__wordpiece_encode(const keel__wordpiece *model, const keel__vocabulary *vocabulary,
                                   const char *text, size_t length, keel_arena *arena, keel__ids *out,
                                   keel_err *err);

#endif
