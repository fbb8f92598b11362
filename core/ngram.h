/* N-grams of texts, hashed into buckets: words, runs of words, and character n-grams over code points of each
 * word with boundary marks ("<w", "wor", "rd>"). A word of a single code point (as in Chinese or Japanese
 * text) has no character n-grams: it is one itself, and runs of such words are what longer n-grams are. */
#ifndef KEEL_CORE_NGRAM_H
#define KEEL_CORE_NGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "core/text.h"

typedef struct keel_ngram_rules {
    size_t word_high;           /* runs of 1 .. word_high words */
    size_t char_low, char_high; /* code points, marks included; char_high < char_low: none */
    size_t max_words;           /* of one text */
    uint32_t buckets;
} keel_ngram_rules;

/* Buckets hit, ascending, each once; in the arena. */
typedef struct keel_grams {
    size_t count;
    uint32_t *bucket;
} keel_grams;

/* N-grams of n texts taken together (runs never cross from one text into the next). Different salts hash the
 * same n-gram differently. characters false: words and their runs only. n_words (may be NULL) gets the number
 * of words read. */
keel_status keel_ngram_texts(const keel_ngram_rules *rules, const char *const *texts, size_t n, uint64_t salt,
                             bool characters, keel_arena *arena, keel_grams *out, size_t *n_words,
                             keel_err *err);

/* The n-grams of one text as they come, and whose they are: those of word i are bucket[start[i]] up to
 * bucket[start[i + 1]]; the first runs[i] of them are the runs of 1, 2, ... words that end with it, the
 * others its characters. A bucket may come more than once. */
typedef struct keel_ngram_trace {
    size_t n_words;
    const keel_word *word; /* [n_words], folded */
    const size_t *start;   /* [n_words + 1] */
    const size_t *runs;    /* [n_words] */
    const uint32_t *bucket;
} keel_ngram_trace;

/* The same n-grams as keel_ngram_texts gives of this text; all in the arena. */
keel_status keel_ngram_trace_text(const keel_ngram_rules *rules, const char *text, uint64_t salt,
                                  bool characters, keel_arena *arena, keel_ngram_trace *out, keel_err *err);

/* The buckets of any of n parts, which were made by rules of as many buckets. keel_ngram_texts of n texts is
 * the union of keel_ngram_texts of each. */
keel_status keel_ngram_union(const keel_ngram_rules *rules, const keel_grams *parts, size_t n,
                             keel_arena *arena, keel_grams *out, keel_err *err);

/* A stretch of a text whose n-grams are told apart from those of the text's other stretches by its salt. */
typedef struct keel_ngram_window {
    keel_ngram_rules rules; /* max_words: its length; buckets: the same in all windows of a call */
    bool ending;            /* the last words of the text instead of the first */
    uint64_t salt;
} keel_ngram_window;

/* N-grams of all windows of one text, and one bucket for the number of bits of its number of words (salted by
 * length_salt). */
keel_status keel_ngram_windows(const keel_ngram_window *windows, size_t n, const char *text,
                               uint64_t length_salt, keel_arena *arena, keel_grams *out, keel_err *err);

/* Whole tokens (dialogue acts with their positions). */
keel_status keel_ngram_tokens(const keel_ngram_rules *rules, const char *const *tokens, size_t n,
                              uint64_t salt, keel_arena *arena, keel_grams *out, keel_err *err);

#endif
