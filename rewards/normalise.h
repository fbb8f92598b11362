/* Responses as judges read them: disguises of letters undone, so that a refusal is the same refusal in
 * look-alike letters of other scripts, in digits and signs for letters, letter by letter with blanks between,
 * with marks on its letters or with slips of the hand. What a letter may stand for follows from its shape
 * (normalise_letters.c); whether it does, from whether that makes a word (words.h). A text that is not
 * English after all is left alone, but for words that mix scripts. */
#ifndef KEEL_REWARDS_NORMALISE_H
#define KEEL_REWARDS_NORMALISE_H

#include <stddef.h>

#include "core/memory.h"

/* The folded text (keel_text_fold) of a response, undisguised; in the arena. Idempotent where nothing is left
 * to undo. At most KEEL_NORMALISE_GROWTH bytes for each of the folded text, and a few. NULL when out of
 * memory. */
enum { KEEL_NORMALISE_GROWTH = 2 };
char *keel_normalise(keel_arena *arena, const char *text, size_t length);

#endif
