#include "policies/encoder_base/near.h"

#include "core/numeric.h"

/* -2, below any cosine, where one has no vector. */
static double nearness(const float *x, const float *y, size_t n) {
    return x && y ? keel_cosine(x, y, n) : -2;
}

/* Moves the unit at `from` to `to`, before it; those between keep their order. */
static void move_up(size_t *unit, double *near, size_t from, size_t to) {
    const size_t moved = unit[from];
    const double its = near[from];
    for (size_t i = from; i > to; i--) {
        unit[i] = unit[i - 1];
        near[i] = near[i - 1];
    }
    unit[to] = moved;
    near[to] = its;
}

/* The first of units [n] and the `size` - 1 nearest to it come first. */
static void gather(size_t *unit, size_t n, const float *const *vector, size_t width, size_t size) {
    double near[KEEL_NEAR_WINDOW];
    for (size_t i = 1; i < n; i++) near[i] = nearness(vector[unit[0]], vector[unit[i]], width);
    for (size_t to = 1; to < size && to < n; to++) {
        size_t best = to;
        for (size_t i = to + 1; i < n; i++)
            if (near[i] > near[best]) best = i;
        move_up(unit, near, best, to);
    }
}

void keel__encoder_order_near(size_t *unit, size_t n, const float *const *vector, size_t width, size_t batch,
                              size_t shard) {
    size_t end = 0;
    for (size_t at = 0; at < n;) {
        const size_t left = batch - at % batch, size = shard < left ? shard : left;
        if (at >= end) end = n - at < KEEL_NEAR_WINDOW ? n : at + KEEL_NEAR_WINDOW;
        gather(unit + at, end - at, vector, width, size);
        at += size;
    }
}
