#include <tgmath.h>

#include "core/tape.h"
#include "core/tensor.h"

/* The largest allowed entry. Nothing allowed, or only -INFINITY: 0, because subtracting -INFINITY would make
 * NaN out of what is an empty sum. */
static keel_real shift_of(const keel_real *x, const uint8_t *mask, size_t count) {
    keel_real largest = -INFINITY;
    for (size_t i = 0; i < count; ++i)
        if ((!mask || mask[i]) && x[i] > largest) largest = x[i];
    return isinf(largest) && largest < 0 ? 0 : largest;
}

keel_real keel__softmax(const keel_real *x, const uint8_t *mask, size_t count, keel_real *p) {
    keel_real shift = shift_of(x, mask, count);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
        keel_real e = !mask || mask[i] ? exp(x[i] - shift) : 0;
        sum += (double)e;
        if (p) p[i] = e;
    }
    if (p && sum > 0) {
        keel_real scale = (keel_real)(1 / sum);
        for (size_t i = 0; i < count; ++i) p[i] *= scale;
    }
    return shift + (keel_real)log(sum);
}

void keel_log_softmax(const keel_real *x, size_t count, keel_real *out) {
    keel_real shift = shift_of(x, NULL, count);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += (double)exp(x[i] - shift);
    keel_real rest = (keel_real)log(sum); /* added to a large shift it would be rounded away */
    for (size_t i = 0; i < count; ++i) out[i] = x[i] - shift - rest;
}

void keel_softmax(const keel_real *x, size_t count, keel_real *out) {
    keel__softmax(x, NULL, count, out);
}
