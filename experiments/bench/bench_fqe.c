/* How long fitted Q evaluation takes with its standard settings.
 *
 *     bench_fqe [TRANSITIONS [THREADS]]      100,000 and one thread for each processor
 *
 * Trajectories of 8 steps, states of 256 random features, 16 acts: the size of a dialogue log under the
 * built-in base. Rewards are 1 at each step, so that the value is known: sum of gamma^t over the steps left.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "rl/judge/fqe.h"

enum { DIM = 256, ACTS = 16, LENGTH = 8 };

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

typedef struct trajectory {
    float state[LENGTH][DIM], pi[ACTS];
    keel_fqe_step steps[LENGTH];
} trajectory;

/* The first features count the steps, the others are noise. */
static void make(trajectory *out, uint64_t unit) {
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, unit);
    for (size_t a = 0; a < ACTS; ++a) out->pi[a] = 1.0f / ACTS;
    for (size_t t = 0; t < LENGTH; ++t) {
        for (size_t i = 0; i < DIM; ++i)
            out->state[t][i] = i < LENGTH ? (float)(i == t) : (float)(0.1 * keel_rng_normal(&rng));
        out->steps[t] = (keel_fqe_step){.state = out->state[t],
                                        .pi = out->pi,
                                        .n_actions = ACTS,
                                        .action = (int32_t)keel_rng_below(&rng, ACTS),
                                        .reward = 1};
    }
}

int main(int argc, char **argv) {
    size_t transitions = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 100000;
    size_t threads = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
    const keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS, .state_dim = DIM, .n_acts = ACTS};
    static trajectory one;
    keel_err err = {0};
    keel_fqe_config config;
    keel_fqe *fqe;
    keel_pool *pool;
    keel_arena scratch = {0};
    double q, v, expected = 0;
    need(keel_fqe_standard(&config, &err), &err);
    need(keel_fqe_open(&fqe, &config, &shape, &err), &err);
    need(keel_pool_open(&pool, threads, &err), &err);
    for (uint64_t unit = 0; unit < transitions / LENGTH; ++unit) {
        make(&one, unit);
        need(keel_fqe_add(fqe, unit, one.steps, LENGTH, false, &err), &err);
    }
    double start = keel_clock();
    need(keel_fqe_fit(fqe, pool, &err), &err);
    double seconds = keel_clock() - start;
    need(keel_fqe_value(fqe, 0, &one.steps[0], &scratch, &q, &v, &err), &err);
    for (int t = 0; t < LENGTH; ++t) expected += pow(config.learner.gamma, t);
    printf("%zu transitions, %zu threads: %.1f s; value %.3f, exact %.3f\n", keel_fqe_count(fqe),
           keel_pool_threads(pool), seconds, v, expected);
    keel_arena_free(&scratch);
    keel_pool_close(pool);
    keel_fqe_close(fqe);
    return 0;
}
