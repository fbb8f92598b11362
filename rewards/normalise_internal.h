/* Between the files of the normaliser. All texts are folded. */
#ifndef KEEL_REWARDS_NORMALISE_INTERNAL_H
#define KEEL_REWARDS_NORMALISE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/memory.h"

/* ---- normalise_letters.c: what a character may stand for, by its shape ---- */

typedef enum keel__letter_kind {
    KEEL__BREAK,      /* stands between words */
    KEEL__PLAIN,      /* a to z */
    KEEL__APOSTROPHE, /* part of a word where it has one on both sides */
    KEEL__DIGIT,
    KEEL__SIGN,  /* punctuation that looks like a letter */
    KEEL__LATIN, /* another letter of Latin: with accents, strokes, turned round */
    KEEL__ALIKE, /* a letter of another script that is drawn as one of a to z */
    KEEL__OTHER  /* a letter of another script that is not */
} keel__letter_kind;

typedef struct keel__letter {
    keel__letter_kind kind;
    size_t bytes;    /* at least 1 */
    char options[4]; /* of a to z and "'", the likeliest first; "": none */
} keel__letter;

keel__letter keel__letter_at(const char *text, const char *end);
/* The look-alike of one of a to z in the script of a letter of another script; its bytes in out [4], or 0. */
size_t keel__letter_in_script(char plain, const char *of, const char *end, char out[4]);

enum { KEEL__WORD_ROOM = 48 };
/* The most frequent word that the characters may stand for, else their likeliest letters (those without any
 * are left out): its length in out. *cost: KEEL_WORD_UNKNOWN where it is no word. 0 for what is too long. */
size_t keel__letters_read(const char *text, size_t length, char out[KEEL__WORD_ROOM], int *cost);

/* ---- normalise_spaced.c ---- */

/* The text with letters that stand alone, between blanks or between marks, joined to words: the text itself
 * where there are none. NULL when out of memory. */
const char *keel__join_letters(keel_arena *arena, const char *text);

#endif
