#include "core/pcg.h"

#include <math.h>

#include "core/hash.h"

/* The multipliers of O'Neill 2014, the reference implementation's defaults. */
static const uint64_t MULTIPLIER_64 = 6364136223846793005u;
static const keel_u128 MULTIPLIER_128 = (keel_u128)2549297995355413924u << 64 | 4865540595714422341u;

/* ---- PCG32: XSH-RR 64/32 ---- */

static void pcg32_step(keel_pcg32 *rng) {
    rng->state = rng->state * MULTIPLIER_64 + rng->increment;
}

void keel_pcg32_seed(keel_pcg32 *rng, uint64_t seed, uint64_t stream) {
    *rng = (keel_pcg32){0, stream << 1 | 1};
    pcg32_step(rng);
    rng->state += seed;
    pcg32_step(rng);
}

uint32_t keel_pcg32_next(keel_pcg32 *rng) {
    uint64_t old =
        rng->state; /* the 64-bit generator puts out the state before the step, the 128-bit one after */
    pcg32_step(rng);
    uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27);
    unsigned rotation = (unsigned)(old >> 59);
    return shifted >> rotation | shifted << (-rotation & 31);
}

uint32_t keel_pcg32_below(keel_pcg32 *rng, uint32_t bound) {
    /* 2^32 mod bound: draws below it would make the small results too likely. */
    uint32_t threshold = -bound % bound, draw;
    do draw = keel_pcg32_next(rng);
    while (draw < threshold);
    return draw % bound;
}

/* Brown 1994, "Random number generation with arbitrary strides": composes x -> multiplier x + increment with
 * itself by squaring. Unsigned wrap-around makes -n a jump back, because the period is the modulus. */
void keel_pcg32_advance(keel_pcg32 *rng, uint64_t delta) {
    uint64_t multiplier = MULTIPLIER_64, increment = rng->increment;
    uint64_t all_multiplier = 1, all_increment = 0;
    for (; delta; delta >>= 1) {
        if (delta & 1) {
            all_multiplier *= multiplier;
            all_increment = all_increment * multiplier + increment;
        }
        increment *= multiplier + 1;
        multiplier *= multiplier;
    }
    rng->state = rng->state * all_multiplier + all_increment;
}

/* ---- PCG64: XSL-RR 128/64 ---- */

static void pcg64_step(keel_pcg64 *rng) {
    rng->state = rng->state * MULTIPLIER_128 + rng->increment;
}

void keel_pcg64_seed(keel_pcg64 *rng, keel_u128 seed, keel_u128 stream) {
    *rng = (keel_pcg64){0, stream << 1 | 1};
    pcg64_step(rng);
    rng->state += seed;
    pcg64_step(rng);
}

uint64_t keel_pcg64_next(keel_pcg64 *rng) {
    pcg64_step(rng);
    uint64_t folded = (uint64_t)(rng->state >> 64) ^ (uint64_t)rng->state;
    unsigned rotation = (unsigned)(rng->state >> 122);
    return folded >> rotation | folded << (-rotation & 63);
}

uint64_t keel_pcg64_below(keel_pcg64 *rng, uint64_t bound) {
    uint64_t threshold = -bound % bound, draw;
    do draw = keel_pcg64_next(rng);
    while (draw < threshold);
    return draw % bound;
}

void keel_pcg64_advance(keel_pcg64 *rng, keel_u128 delta) {
    keel_u128 multiplier = MULTIPLIER_128, increment = rng->increment;
    keel_u128 all_multiplier = 1, all_increment = 0;
    for (; delta; delta >>= 1) {
        if (delta & 1) {
            all_multiplier *= multiplier;
            all_increment = all_increment * multiplier + increment;
        }
        increment *= multiplier + 1;
        multiplier *= multiplier;
    }
    rng->state = rng->state * all_multiplier + all_increment;
}

/* ---- named streams and draws ---- */

static keel_u128 read_u128(const unsigned char *bytes) {
    keel_u128 value = 0;
    for (size_t i = 0; i < 16; ++i) value = value << 8 | bytes[i];
    return value;
}

keel_rng keel_rng_stream(uint64_t seed, const char *purpose, uint64_t index) {
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

uint64_t keel_rng_u64(keel_rng *rng) {
    return keel_pcg64_next(rng);
}

uint64_t keel_rng_below(keel_rng *rng, uint64_t bound) {
    return keel_pcg64_below(rng, bound);
}

double keel_rng_uniform(keel_rng *rng) {
    return (double)(keel_pcg64_next(rng) >> 11) * 0x1p-53;
}

/* Box-Muller, the cosine half. */
double keel_rng_normal(keel_rng *rng) {
    double radius = sqrt(-2.0 * log(1.0 - keel_rng_uniform(rng))); /* 1 - u is never 0 */
    double angle = 6.283185307179586476925 * keel_rng_uniform(rng);
    return radius * cos(angle);
}

void keel_rng_shuffle(keel_rng *rng, size_t *items, size_t count) {
    for (size_t left = count; left > 1; --left) {
        size_t chosen = (size_t)keel_pcg64_below(rng, left), item = items[chosen];
        items[chosen] = items[left - 1];
        items[left - 1] = item;
    }
}
