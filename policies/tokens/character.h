/* Internal header of the tokenizers: kinds of code points, as the libraries that the tokenizers were made
 * with see them. */
#ifndef KEEL_POLICIES_TOKENS_CHARACTER_H
#define KEEL_POLICIES_TOKENS_CHARACTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool keel__character_is_space(int32_t c);       /* Unicode's White_Space */
bool keel__character_is_numeric(int32_t c);     /* \p{N} */
bool keel__character_is_word(int32_t c);        /* \w of Rust's regular expressions */
bool keel__character_is_punctuation(int32_t c); /* of BERT: ASCII's, and \p{P} of Unicode 8 */
bool keel__character_is_chinese(int32_t c); /* of BERT: the ranges of the original, the late fifth included */
bool keel__character_is_dropped(int32_t c); /* of BERT: control and format characters */
bool keel__character_is_mark(int32_t c);    /* of BERT: \p{Mn} of Unicode 8 */

/* The code point at text[at), valid UTF-8, and the bytes that it takes. */
int32_t keel__character_at(const char *text, size_t length, size_t at, size_t *used);

#endif
