/* What a judge learns from besides the responses themselves: a copy of each with slips of the hand. Its
 * n-grams are others, its label is the same, so that no verdict hangs on a single word. */
#include "core/hash.h"
#include "core/pcg.h"
#include "core/text.h"
#include "rewards/refusal_internal.h"

enum {
    ONE_IN = 12 /* letters is slipped on */,
    BEGINNING = 600 /* bytes: the rest would cost time and tell little */
};

typedef enum slip { LEFT_OUT, DOUBLED, ANOTHER, SWAPPED, N_SLIPS, NONE } slip;

static bool is_letter(char c) {
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

char *keel__refusal_slips(const keel_answer *answer, keel_arena *arena) {
    const size_t length = keel_utf8_cut(answer->text, answer->length, BEGINNING);
    const char *const end = answer->text + length;
    char *out = keel_arena_alloc(arena, 2 * length + 1);
    size_t n = 0;
    if (!out) return NULL;
    keel_rng random = keel_rng_stream(keel_hash64(answer->text, answer->length, 0), KEEL_STREAM_SLIPS, 0);
    for (const char *at = answer->text; at < end; at++) {
        const bool slips = is_letter(*at) && keel_rng_below(&random, ONE_IN) == 0;
        slip kind = slips ? (slip)keel_rng_below(&random, N_SLIPS) : NONE;
        if (kind == SWAPPED && !(at + 1 < end && is_letter(at[1]))) kind = NONE;
        if (kind == ANOTHER) out[n++] = (char)('a' + keel_rng_below(&random, 26));
        if (kind == DOUBLED) out[n++] = *at;
        if (kind == SWAPPED) out[n++] = at[1];
        if (kind == DOUBLED || kind == SWAPPED || kind == NONE) out[n++] = *at;
        at += kind == SWAPPED;
    }
    out[n] = '\0';
    return out;
}
