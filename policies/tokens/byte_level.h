/* Internal header of the tokenizers: GPT-2's alphabet, in which each byte is a printable code point: 33 to
 * 126, 161 to 172 and 174 to 255 stand for themselves, the other 68 for U+0100 and on, in order. */
#ifndef KEEL_POLICIES_TOKENS_BYTE_LEVEL_H
#define KEEL_POLICIES_TOKENS_BYTE_LEVEL_H

#include <stddef.h>

/* Writes the code point of a byte, at most two bytes and a NUL; how many. */
size_t keel__byte_level_put(unsigned char byte, char out[3]);
/* The bytes that a token stands for, or -1 where a code point is not of the alphabet; out [length of token].
 */
ptrdiff_t keel__byte_level_get(const char *token, size_t length, char *out);

#endif
