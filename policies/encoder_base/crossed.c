#include "policies/encoder_base/crossed.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    int64_t key;
    size_t at;
} entry;

static int by_key(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->key != y->key) return (x->key > y->key) - (x->key < y->key);
    return (x->at > y->at) - (x->at < y->at);
}

keel_status keel_crossed_make(keel_crossed *out, const int64_t *key, const float *logits, size_t n,
                              size_t width, keel_arena *arena, keel_err *err) {
    entry *sorted = keel_calloc(n + 1, sizeof *sorted);
    *out = (keel_crossed){.width = width,
                          .key = keel_arena_calloc(arena, n + 1, sizeof *out->key),
                          .logits = keel_arena_calloc(arena, n * width + 1, sizeof *out->logits)};
    if (!sorted || !out->key || !out->logits) {
        keel_free(sorted);
        return keel_nomem(err, "encoder base");
    }
    for (size_t i = 0; i < n; i++) sorted[i] = (entry){key[i], i};
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && sorted[i].key == sorted[i - 1].key) continue;
        out->key[out->n] = sorted[i].key;
        memcpy(out->logits + out->n++ * width, logits + sorted[i].at * width, width * sizeof *logits);
    }
    keel_free(sorted);
    return KEEL_OK;
}

static int by_value(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

const float *keel_crossed_find(const keel_crossed *table, int64_t key) {
    const int64_t *found = table->n ? bsearch(&key, table->key, table->n, sizeof key, by_value) : NULL;
    return found ? table->logits + (size_t)(found - table->key) * table->width : NULL;
}
