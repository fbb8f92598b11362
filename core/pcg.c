#include "core/pcg.h"

#include <math.h>

#include "core/hash.h"

/* The multiplier of O'Neill 2014, the reference implementation's default. */
static const keel_u128 MULTIPLIER = (keel_u128)2549297995355413924u << 64 | 4865540595714422341u;

static void pcg64_step(keel_pcg64 *rng) {
    rng->state = rng->state * MULTIPLIER + rng->increment;
}

void keel_pcg64_seed(keel_pcg64 *rng, keel_u128 seed, keel_u128 stream) {
    *rng = (keel_pcg64){0, stream << 1 | 1};
    pcg64_step(rng);
    rng->state += seed;
    pcg64_step(rng);
}

uint64_t keel_rng_u64(keel_rng *rng) {
    pcg64_step(rng);
    uint64_t folded = (uint64_t)(rng->state >> 64) ^ (uint64_t)rng->state;
    unsigned rotation = (unsigned)(rng->state >> 122);
    return folded >> rotation | folded << (-rotation & 63);
}

uint64_t keel_rng_below(keel_rng *rng, uint64_t bound) {
    /* 2^64 mod bound: draws below it would make the small results too likely. */
    uint64_t threshold = -bound % bound, draw;
    do draw = keel_rng_u64(rng);
    while (draw < threshold);
    return draw % bound;
}

/* ---- named streams and draws ---- */

static keel_u128 read_u128(const unsigned char *bytes) {
    keel_u128 value = 0;
    for (size_t i = 0; i < 16; ++i) value = value << 8 | bytes[i];
    return value;
}

const char *const keel_stream_names[] = {
#define X(id, name) name,
    KEEL_STREAMS(X)
#undef X
};

keel_rng keel_rng_stream(uint64_t seed, keel_stream purpose, uint64_t index) {
    return keel_rng_named(seed, keel_stream_names[purpose], index);
}

keel_rng keel_rng_named(uint64_t seed, const char *purpose, uint64_t index) {
    /* Both the start and the stream come from a cryptographic hash: sequences of a linear generator from
     * related starts or increments (index 0, 1, 2, ...) are correlated, those from unrelated ones are not. */
    unsigned char digest[32], numbers[16];
    for (size_t i = 0; i < 8; ++i) {
        numbers[i] = (unsigned char)(seed >> 8 * i);
        numbers[8 + i] = (unsigned char)(index >> 8 * i);
    }
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add(&hash, numbers, sizeof numbers);
    keel_sha256_add_text(&hash, purpose);
    keel_sha256_finish(&hash, digest);
    keel_rng rng;
    keel_pcg64_seed(&rng, read_u128(digest), read_u128(digest + 16));
    return rng;
}

double keel_rng_uniform(keel_rng *rng) {
    return (double)(keel_rng_u64(rng) >> 11) * 0x1p-53;
}

/* Box-Muller, the cosine half. */
double keel_rng_normal(keel_rng *rng) {
    double radius = sqrt(-2.0 * log(1.0 - keel_rng_uniform(rng))); /* 1 - u is never 0 */
    double angle = 6.283185307179586476925 * keel_rng_uniform(rng);
    return radius * cos(angle);
}

double keel_rng_gamma(keel_rng *rng, double shape) {
    if (shape < 1) {
        double boost = pow(1.0 - keel_rng_uniform(rng), 1 / shape); /* at least 2^-530 */
        return keel_rng_gamma(rng, shape + 1) * boost;
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = keel_rng_normal(rng), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log(1.0 - keel_rng_uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

void keel_rng_shuffle(keel_rng *rng, size_t *items, size_t count) {
    for (size_t left = count; left > 1; --left) {
        size_t chosen = (size_t)keel_rng_below(rng, left), item = items[chosen];
        items[chosen] = items[left - 1];
        items[left - 1] = item;
    }
}
