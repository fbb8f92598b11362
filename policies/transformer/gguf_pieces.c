#include "policies/transformer/gguf_pieces.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 256 };

typedef struct entry {
    const char *text;
    uint32_t id;
} entry;

static int by_text(const void *a, const void *b) {
    return strcmp(((const entry *)a)->text, ((const entry *)b)->text);
}

/* The best first; equal ones in the order in which they were found. */
static int by_score(const void *a, const void *b) {
    const keel_gguf_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static const entry *find(const entry *sorted, size_t n, const char *text) {
    const entry key = {.text = text};
    return n ? bsearch(&key, sorted, n, sizeof *sorted, by_text) : NULL;
}

/* Cuts a piece wherever both parts are pieces, the longest left part first. */
static bool cut_piece(const entry *sorted, size_t n, const char *text, float score, keel_arena *arena,
                      keel_gguf_merge **out, size_t *count, size_t *capacity) {
    char left[MOST_BYTES + 1];
    for (size_t at = strlen(text); at-- > 1;) {
        if (((unsigned char)text[at] & 0xc0) == 0x80) continue; /* within a code point */
        const entry *right_one = find(sorted, n, text + at);
        if (!right_one) continue;
        memcpy(left, text, at);
        left[at] = '\0';
        const entry *left_one = find(sorted, n, left);
        if (!left_one) continue;
        if (!keel_arena_grow(arena, out, *count, capacity, sizeof **out)) return false;
        (*out)[*count] = (keel_gguf_merge){
            .left = left_one->id, .right = right_one->id, .score = score, .order = (uint32_t)*count};
        (*count)++;
    }
    return true;
}

keel_status keel_gguf_find_merges(const char *const *text, const float *score, const bool *is_piece, size_t n,
                                  keel_arena *arena, keel_gguf_merge **out, size_t *count, const char *where,
                                  keel_err *err) {
    size_t pieces = 0, capacity = 0;
    entry *sorted = keel_arena_alloc(arena, n * sizeof *sorted);
    if (!sorted) return keel_nomem(err, where);
    *out = NULL;
    *count = 0;
    for (size_t id = 0; id < n; id++) {
        if (!is_piece[id]) continue;
        if (strlen(text[id]) > MOST_BYTES)
            return keel_fail(err, KEEL_E_UNSUPPORTED, where, "token %zu: a piece of more than %d bytes", id,
                             MOST_BYTES);
        if (!isfinite(score[id]))
            return keel_fail(err, KEEL_E_PARSE, where, "token %zu: its score is no number", id);
        sorted[pieces++] = (entry){text[id], (uint32_t)id};
    }
    qsort(sorted, pieces, sizeof *sorted, by_text);
    for (size_t id = 0; id < n; id++)
        if (is_piece[id] && !cut_piece(sorted, pieces, text[id], score[id], arena, out, count, &capacity))
            return keel_nomem(err, where);
    if (*count) qsort(*out, *count, sizeof **out, by_score);
    return KEEL_OK;
}
