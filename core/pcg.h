/* The permuted congruential generator PCG64 (XSL-RR 128/64; O'Neill 2014, HMC-CS-2014-0905), with independent
 * streams and unbiased bounded draws. State is a visible struct passed by pointer; there is no global
 * generator and no clock. Keel draws from one named stream per purpose. */
#ifndef KEEL_CORE_PCG_H
#define KEEL_CORE_PCG_H

#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 keel_u128;

typedef struct keel_pcg64 {
    keel_u128 state;
    keel_u128 increment; /* odd: selects the stream */
} keel_pcg64;

/* Seeding as in the reference implementation's pcg64_srandom. */
void keel_pcg64_seed(keel_pcg64 *rng, keel_u128 seed, keel_u128 stream);
uint64_t keel_pcg64_next(keel_pcg64 *rng);
/* Uniform in [0, bound), by rejection; bound > 0. */
uint64_t keel_pcg64_below(keel_pcg64 *rng, uint64_t bound);

/* The generator that everything draws from. */
typedef keel_pcg64 keel_rng;

/* The stream `purpose` of `seed`, and within it the substream `index` (a fold, an episode, a critic: 0 if
 * there is but one). Different (purpose, index) never share a stream, so changing what one purpose draws
 * moves no other. */
keel_rng keel_rng_stream(uint64_t seed, const char *purpose, uint64_t index);
uint64_t keel_rng_u64(keel_rng *rng);
uint64_t keel_rng_below(keel_rng *rng, uint64_t bound);
double keel_rng_uniform(keel_rng *rng); /* in [0, 1), 53 bits */
double keel_rng_normal(keel_rng *rng);  /* standard normal; always two draws, nothing cached */
/* Gamma(shape, 1), shape >= 0.1, above 0: Marsaglia & Tsang 2000, and for shapes below 1 their boost. A share
 * of the sum of several is a draw from a Dirichlet distribution. */
double keel_rng_gamma(keel_rng *rng, double shape);
void keel_rng_shuffle(keel_rng *rng, size_t *items, size_t count); /* Fisher-Yates */

#endif
