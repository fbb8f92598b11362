#include "policies/compress/rank.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

typedef struct ranked {
    double importance;
    uint32_t place;
} ranked;

static int by_importance(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->importance != y->importance) return x->importance < y->importance ? -1 : 1;
    return x->place > y->place ? -1 : 1;
}

keel_status keel_rank(const double *importance, size_t n, uint32_t *order, keel_err *err) {
    ranked *all = keel_alloc((n + 1) * sizeof *all);
    if (!all) return keel_nomem(err, "compress");
    for (size_t i = 0; i < n; i++) all[i] = (ranked){importance[i], (uint32_t)i};
    qsort(all, n, sizeof *all, by_importance);
    for (size_t i = 0; i < n; i++) order[i] = all[i].place;
    keel_free(all);
    return KEEL_OK;
}

static int by_place(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void keel_rank_stay(const uint32_t *order, size_t n, size_t gone, uint32_t *out) {
    memcpy(out, order + gone, (n - gone) * sizeof *out);
    qsort(out, n - gone, sizeof *out, by_place);
}
