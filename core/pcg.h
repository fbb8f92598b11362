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

/* The generator that everything draws from. */
typedef keel_pcg64 keel_rng;

/* X(id, name): what random numbers are drawn for. Each purpose has its streams to itself, so that changing
 * what one draws moves no other; a name is claimed once, here. */
#define KEEL_STREAMS(X)                                                                                      \
    X(BASE_INIT, "init")           /* layers of a base; index 0 */                                           \
    X(BASE_EMBEDDING, "embedding") /* its table; index 0 */                                                  \
    X(BASE_ORDER, "order")         /* of conversations; index: epoch */                                      \
    X(BASE_UPDATE, "update")       /* dropout and negatives; index: update, shard */                         \
    X(CRITIC_INIT, "critic")       /* networks of a learner; index: place in the block */                    \
    X(SAMPLE, "sample")            /* minibatches; index: step */                                            \
    X(OTHERS, "others")            /* what they add to candidate sets; index: step */                        \
    X(DROPOUT, "dropout")          /* of a learner; index: step, first row */                                \
    X(WEIGHTS, "weights")          /* of the reward's components; index: step */                             \
    X(FQE_LEARNER, "fqe learner")  /* seeds of its learners; index: fold */                                  \
    X(FQE_SAMPLE, "fqe")           /* its minibatches; index: fold, step */                                  \
    X(BOOTSTRAP, "bootstrap")      /* index: resample */                                                     \
    X(CORRECTED, "corrected")      /* resamples of rates corrected for the judge's error; index: resample */ \
    X(AGREEMENT, "agreement")      /* of judges with labels; index: resample */                              \
    X(BEHAVIOUR, "behaviour")      /* of a simulated desk; index: episode, as those below */                 \
    X(DESK_SCENE, "support-desk scene")                                                                      \
    X(DESK_USER, "support-desk user")                                                                        \
    X(DESK_NOISE, "support-desk noise")                                                                      \
    X(DESK_TEXT, "support-desk text")                                                                        \
    X(DESK_LATENCY, "support-desk latency")                                                                  \
    X(PROCESS, "mdp")               /* small processes of benches and tests; index 0 */                      \
    X(EPISODE, "episode")           /* played in benches; index: episode */                                  \
    X(DRAW, "draw")                 /* of their minibatches; index: batch */                                 \
    X(HABIT, "habit")               /* of their behaviours */                                                \
    X(ACT, "act")                   /* actions of the value experiment; index: episode */                    \
    X(JUDGED, "judged")             /* episodes that judge; index: episode */                                \
    X(SAMPLER, "sampler")           /* seeds of samplers; index: run */                                      \
    X(ONE_RESPONSE, "one response") /* of several that were given; index: hash of the conversation's name */ \
    X(REPLAY, "replay")             /* which decisions a replay shows; index 0 */                            \
    X(SLIPS, "slips")               /* of the hand, in copies of responses; index 0 */                       \
    X(GENERATE, "generate")         /* tokens that a decoder says; index 0 */                                \
    X(SEARCH, "search")             /* trials of a search; index: trial, or 0 for where its design begins */ \
    X(EXPLORE, "explore")           /* what a server tries; index: request */                                \
    X(MADE, "bench")                /* made-up data of benches */

typedef enum keel_stream {
#define X(id, name) KEEL_STREAM_##id,
    KEEL_STREAMS(X)
#undef X
        KEEL_N_STREAMS
} keel_stream;
extern const char *const keel_stream_names[KEEL_N_STREAMS];

/* The stream of a purpose under `seed`, and within it the substream `index` (a fold, an episode, a critic: 0
 * if there is but one). */
keel_rng keel_rng_stream(uint64_t seed, keel_stream purpose, uint64_t index);
/* The same for a purpose outside the list: for tests. */
keel_rng keel_rng_named(uint64_t seed, const char *purpose, uint64_t index);
uint64_t keel_rng_u64(keel_rng *rng);
uint64_t keel_rng_below(keel_rng *rng, uint64_t bound); /* in [0, bound), by rejection; bound > 0 */
double keel_rng_uniform(keel_rng *rng);                 /* in [0, 1), 53 bits */
double keel_rng_normal(keel_rng *rng); /* standard normal; always two draws, nothing cached */
/* Gamma(shape, 1), shape >= 0.1, above 0: Marsaglia & Tsang 2000, and for shapes below 1 their boost. A share
 * of the sum of several is a draw from a Dirichlet distribution. */
double keel_rng_gamma(keel_rng *rng, double shape);
void keel_rng_shuffle(keel_rng *rng, size_t *items, size_t count); /* Fisher-Yates */

#endif
