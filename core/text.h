/* Text of any language: UTF-8 checking, folding, words and n-grams over Unicode code points (utf8proc
 * underneath). */
#ifndef KEEL_CORE_TEXT_H
#define KEEL_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* Length of the longest valid UTF-8 prefix (no surrogates, no overlong forms, no NUL): == length when all is
 * valid. */
size_t keel_utf8_valid_prefix(const char *text, size_t length);

/* Bytes at the start of a text that begin a code point and do not go on as one: what a single U+FFFD stands
 * for (The Unicode Standard, 3.9, "U+FFFD Substitution of Maximal Subparts"); at least 1. *unfinished (may be
 * NULL): the text ends within it, and more bytes could make it whole. */
size_t keel_utf8_broken(const char *text, size_t length, bool *unfinished);

/* Largest byte length <= max_bytes that ends on a code point (never cuts one). */
size_t keel_utf8_cut(const char *text, size_t length, size_t max_bytes);

/* In place: each part that is no UTF-8, such as half a letter, becomes '?'. */
void keel_utf8_mend(char *text);

/* Whether a terminal can be shown a code point: control characters, and format characters such as
 * bidirectional overrides, can rewrite what is on the screen. -1, for a byte that is no UTF-8, cannot be
 * shown. */
bool keel_text_shows(int32_t point);
/* In place: line breaks and tabs become blanks, what else cannot be shown '?'. */
void keel_text_tame(char *text);

/* Whether a known name is nearer to a misspelt one than those before it, by edits (Levenshtein 1966). *fewest
 * begins at 0, for as many as a misspelling may have; names of 64 bytes and more are near nothing. */
bool keel_text_nearer(const char *misspelt, const char *known, size_t *fewest);

/* Case-folded, NFKC-normalised copy in the arena (Unicode's NFKC_Casefold, which also drops invisible code
 * points; typographic apostrophes become '\''). The text ends at its first byte that is not valid. NULL when
 * out of memory. */
char *keel_text_fold(keel_arena *arena, const char *text, size_t length);

/* A word of folded text: a run of letters, digits and inner apostrophes; a single CJK, Hiragana, Katakana or
 * Hangul code point counts as a word of its own, because those scripts write no spaces; any other symbol or
 * punctuation mark is a word of its own too. White space separates. */
typedef struct keel_word {
    const char *text; /* into the folded text, not NUL-terminated */
    uint32_t length;  /* bytes */
    uint64_t hash;    /* keel_hash64 of the bytes, seed 0 */
} keel_word;

/* Splits folded text into words in the arena; *count gets their number. NULL only when out of memory. */
keel_word *keel_text_words(keel_arena *arena, const char *folded, size_t *count);

#endif
