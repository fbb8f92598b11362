/* English words that are known to the judge's normaliser: hashes and frequencies, made by
 * experiments/recipes/judge_words.py (README.md of rewards/judges). All are of a to z and inner apostrophes.
 */
#ifndef KEEL_REWARDS_WORDS_H
#define KEEL_REWARDS_WORDS_H

#include <stddef.h>

#include "core/memory.h"

enum { KEEL_WORD_UNKNOWN = 255, KEEL_WORD_LONGEST = 24 /* letters that are looked up */ };

/* What a word costs: 16 times the binary logarithm of its rank by frequency, rank 2 for the first;
 * KEEL_WORD_UNKNOWN for what is no word. A known word with a regular ending costs as much as without. */
int keel_word_cost(const char *word, size_t length);

/* The most frequent word that is one letter left out, one too many, another one or two swapped away: its
 * length, and the word in out [length + 2]; 0 when there is none. */
size_t keel_word_nearest(const char *word, size_t length, char *out);

/* Words that were written without blanks, with blanks between: appended to out. False, and nothing appended,
 * where more than half of it is no word, or when out of memory (out->failed). */
bool keel_words_split(const char *letters, size_t length, keel_arena *arena, keel_buf *out);

#endif
