/* Steps per second of conservative Q-learning against the floor: the FLOPs of the matrix products that cannot
 * be avoided, over the SGEMM rate measured in the same run, interleaved with the steps. Fixed acts, MLP(256,
 * 256), one scalar head (as d3rlpy's) and three heads; batches are drawn before timing unless sampling is
 * measured elsewhere.
 *
 *     bench_cql_step [windows [seconds a window]]
 *
 * Floor per step, P weights, P1 of them in the first layer: s forward, s' online, s' target, dW: 2 B P each;
 * dX: 2 B (P - P1). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "rl/learner.h"

enum { MAX_WINDOWS = 99, GEMM = 768 };

typedef struct shape {
    size_t features, acts, batch;
} shape;
static const shape shapes[] = {{32, 12, 32}, {32, 12, 256}, {64, 12, 256}, {384, 16, 256}, {384, 16, 1024}};

typedef struct bench {
    keel_pool *pool;
    keel_learner learner;
    keel_batch batch;
    float *memory;
    uint8_t *bytes;
    int32_t *action;
} bench;

static void die(const keel_err *err) {
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

static void make_batch(bench *b, const shape *s) {
    keel_rng rng = keel_rng_stream(1, "bench", 0);
    size_t n = s->batch, floats = n * (2 * s->features + KEEL_N_REWARDS + 1);
    b->memory = malloc(floats * sizeof *b->memory);
    b->bytes = malloc(n * (KEEL_N_REWARDS + 1));
    b->action = malloc(n * sizeof *b->action);
    if (!b->memory || !b->bytes || !b->action) exit(1);
    for (size_t i = 0; i < floats; ++i) b->memory[i] = (float)keel_rng_normal(&rng);
    float *bootstrap = b->memory + n * (2 * s->features + KEEL_N_REWARDS);
    for (size_t i = 0; i < n; ++i) {
        b->action[i] = (int32_t)keel_rng_below(&rng, s->acts);
        bootstrap[i] = 1;
    }
    memset(b->bytes, 1, n * (KEEL_N_REWARDS + 1));
    b->batch = (keel_batch){.n = n,
                            .state = b->memory,
                            .next_state = b->memory + n * s->features,
                            .reward = b->memory + 2 * n * s->features,
                            .bootstrap = bootstrap,
                            .action = b->action,
                            .present = b->bytes,
                            .usable = b->bytes + n * KEEL_N_REWARDS};
}

static void open_bench(bench *b, const shape *s, bool vector, size_t threads) {
    keel_err err = {0};
    keel_learner_config config;
    *b = (bench){0};
    if (keel_learner_preset(vector ? "keel" : "d3rlpy", "cql", &config, &err) != KEEL_OK) die(&err);
    config.batch = (int64_t)s->batch;
    keel_qnet_shape net = {.space = KEEL_SPACE_ACTS,
                           .state_dim = s->features,
                           .n_acts = s->acts,
                           .heads = vector ? KEEL_N_REWARDS : 1,
                           .critics = 1,
                           .hidden = config.hidden};
    if (keel_pool_open(&b->pool, threads, &err) != KEEL_OK ||
        keel_learner_open(&b->learner, &config, &net, NULL, b->pool, &err) != KEEL_OK)
        die(&err);
    make_batch(b, s);
}

static void close_bench(bench *b) {
    keel_learner_close(&b->learner);
    keel_pool_close(b->pool);
    free(b->memory);
    free(b->bytes);
    free(b->action);
}

static double steps_per_second(bench *b, double seconds) {
    keel_err err = {0};
    keel_loss_parts parts;
    size_t steps = 0;
    double start = keel_clock(), now;
    do {
        for (int i = 0; i < 8; ++i, ++steps)
            if (keel_learner_step(&b->learner, &b->batch, &parts, &err) != KEEL_OK) die(&err);
        now = keel_clock();
    } while (now - start < seconds);
    return (double)steps / (now - start);
}

static double flops_per_second(double seconds) {
    static float a[GEMM * GEMM], x[GEMM * GEMM], y[GEMM * GEMM];
    size_t products = 0;
    for (size_t i = 0; i < GEMM * GEMM; ++i) a[i] = x[i] = (float)(i % 7) - 3;
    double start = keel_clock(), now;
    do {
        keel_gemm(false, true, GEMM, GEMM, GEMM, 1, a, GEMM, x, GEMM, 0, y, GEMM);
        products++;
        now = keel_clock();
    } while (now - start < seconds);
    return 2.0 * GEMM * GEMM * GEMM * (double)products / (now - start);
}

static double flops_per_step(const shape *s, size_t heads) {
    double first = (double)s->features * 256, all = first + 256 * 256 + 256.0 * (double)(s->acts * heads);
    return 2 * (double)s->batch * (5 * all - first);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(const shape *s, bool vector, size_t threads, int windows, double seconds) {
    double steps[MAX_WINDOWS], share[MAX_WINDOWS];
    bench b;
    open_bench(&b, s, vector, threads);
    steps_per_second(&b, seconds);
    for (int w = 0; w < windows; ++w) {
        double rate = flops_per_second(seconds / 2);
        steps[w] = steps_per_second(&b, seconds);
        share[w] = steps[w] * flops_per_step(s, vector ? KEEL_N_REWARDS : 1) / rate;
    }
    qsort(steps, (size_t)windows, sizeof *steps, by_value);
    qsort(share, (size_t)windows, sizeof *share, by_value);
    int middle = windows / 2;
    printf("%4zu %4zu %5zu %6d %7zu  %8.0f [%.0f, %.0f]  %5.2f [%.2f, %.2f]\n", s->features, s->acts,
           s->batch, vector ? KEEL_N_REWARDS : 1, threads, steps[middle], steps[0], steps[windows - 1],
           share[middle], share[0], share[windows - 1]);
    fflush(stdout);
    close_bench(&b);
}

int main(int argc, char **argv) {
    int windows = argc > 1 ? atoi(argv[1]) : 9;
    double seconds = argc > 2 ? atof(argv[2]) : 0.3;
    if (windows < 1 || windows > MAX_WINDOWS || seconds <= 0) {
        fprintf(stderr, "usage: bench_cql_step [windows 1-%d [seconds a window]]\n", (int)MAX_WINDOWS);
        return 2;
    }
    printf("features acts batch heads threads  steps/s, median [low, high]  share of one thread's SGEMM "
           "floor\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i)
        for (size_t threads = 1; threads <= 2; ++threads)
            for (int vector = 0; vector < 2; ++vector) run(&shapes[i], vector, threads, windows, seconds);
    return 0;
}
