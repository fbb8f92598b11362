#include "rewards/words.h"

#include <string.h>

#include "core/hash.h"
#include "rewards/refusal_internal.h"

/* ---- the table: ascending; a hash in the upper 56 bits, the cost in the lower 8 ---- */

static uint64_t row_at(size_t i) {
    const unsigned char *at = keel__words_builtin + 8 * i;
    uint64_t row = 0;
    for (size_t b = 8; b > 0; b--) row = row << 8 | at[b - 1];
    return row;
}

static int look_up(uint64_t hash) {
    size_t low = 0, high = keel__words_builtin_length / 8;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const uint64_t row = row_at(middle);
        if (row >> 8 == hash >> 8) return (int)(row & 0xFF);
        if (row < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return KEEL_WORD_UNKNOWN;
}

static int exact_cost(const char *word, size_t length) {
    return length > 0 && length <= KEEL_WORD_LONGEST ? look_up(keel_hash64(word, length, 0))
                                                     : KEEL_WORD_UNKNOWN;
}

/* Regular endings, which few texts are enough to have each word with; stems of fewer letters have them by
 * chance. */
int keel_word_cost(const char *word, size_t length) {
    static const char *const endings[] = {"'s", "'d", "'ll", "'re", "'ve", "s", "es", "d", "ed", "ing", "ly"};
    enum { STEM = 4 };
    const int cost = exact_cost(word, length);
    if (cost != KEEL_WORD_UNKNOWN) return cost;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t n = strlen(endings[i]), stem = length > n ? length - n : 0;
        if (stem < (*endings[i] == '\'' ? 1 : STEM) || memcmp(word + stem, endings[i], n) != 0) continue;
        const int of_stem = exact_cost(word, stem);
        if (of_stem != KEEL_WORD_UNKNOWN) return of_stem;
    }
    return KEEL_WORD_UNKNOWN;
}

/* ---- slips of the hand (Damerau 1964) ---- */

typedef struct nearest {
    char tried[KEEL_WORD_LONGEST + 2], *out;
    size_t length;
    int cost;
} nearest;

static void consider(nearest *best, size_t length) {
    const int cost = exact_cost(best->tried, length);
    if (cost >= best->cost) return;
    best->cost = cost;
    best->length = length;
    memcpy(best->out, best->tried, length);
}

static void consider_letters(nearest *best, size_t at, size_t length) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz'";
    for (const char *c = letters; *c; c++) {
        best->tried[at] = *c;
        consider(best, length);
    }
}

size_t keel_word_nearest(const char *word, size_t length, char *out) {
    nearest best = {.out = out, .cost = KEEL_WORD_UNKNOWN};
    if (length >= KEEL_WORD_LONGEST) return 0;
    for (size_t i = 0; i <= length; i++) {
        memcpy(best.tried, word, i);
        if (i < length) {
            memcpy(best.tried + i, word + i + 1, length - i - 1); /* one too many */
            consider(&best, length - 1);
            memcpy(best.tried + i, word + i, length - i); /* another one */
            consider_letters(&best, i, length);
        }
        if (i + 1 < length) { /* swapped */
            memcpy(best.tried + i, word + i, length - i);
            best.tried[i] = word[i + 1], best.tried[i + 1] = word[i];
            consider(&best, length);
        }
        memcpy(best.tried + i + 1, word + i, length - i); /* left out */
        consider_letters(&best, i, length + 1);
    }
    return best.length;
}

/* ---- words without blanks: the split that costs least (Viterbi 1967) ---- */

enum {
    BLANK = 53,      /* 16 log2 of the words' harmonic number: with it, costs are -16 log2 of shares */
    STRANGE = 160,   /* of what is no word, */
    PER_LETTER = 64, /* and of each of its letters */
    NO = 1 << 30
};

static int cost_of(const char *word, size_t length) {
    const int known = exact_cost(word, length);
    return BLANK + (known != KEEL_WORD_UNKNOWN ? known : STRANGE + PER_LETTER * (int)length);
}

/* The ends of the words, last first, in ends [length]; their number. Letters of what is no word: *strange. */
static size_t split(const char *letters, size_t length, int *cost, size_t *from, size_t *ends,
                    size_t *strange) {
    size_t words = 0;
    cost[0] = 0;
    for (size_t end = 1; end <= length; end++) {
        cost[end] = NO;
        for (size_t n = 1; n <= end && n <= KEEL_WORD_LONGEST; n++) {
            const int whole = cost[end - n] + cost_of(letters + end - n, n);
            if (whole >= cost[end]) continue;
            cost[end] = whole;
            from[end] = end - n;
        }
    }
    *strange = 0;
    for (size_t end = length; end > 0; end = from[end]) {
        ends[words++] = end;
        if (exact_cost(letters + from[end], end - from[end]) == KEEL_WORD_UNKNOWN)
            *strange += end - from[end];
    }
    return words;
}

bool keel_words_split(const char *letters, size_t length, keel_arena *arena, keel_buf *out) {
    int *cost = keel_arena_alloc(arena, (length + 1) * sizeof *cost);
    size_t *from = keel_arena_alloc(arena, (length + 1) * sizeof *from), strange;
    size_t *ends = keel_arena_alloc(arena, (length + 1) * sizeof *ends);
    if (!cost || !from || !ends) out->failed = true;
    if (out->failed || length == 0) return false;
    size_t words = split(letters, length, cost, from, ends, &strange);
    if (strange * 2 > length) return false;
    for (size_t start = 0; words > 0; start = ends[words]) {
        if (start > 0) keel_buf_text(out, " ");
        keel_buf_append(out, letters + start, ends[--words] - start);
    }
    return true;
}
