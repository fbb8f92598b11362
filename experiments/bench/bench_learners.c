/* Every learner's step against its floor, as bench_cql_step measures CQL's, and its share of the floor
 * against CQL's in the same run: the FLOPs of the matrix products that an algorithm cannot do without, over
 * the SGEMM rate on large square matrices. Fixed acts, MLP(256, 256), one thread, a batch that lies in
 * memory.
 *
 *     bench_learners [windows [seconds a window [features acts batch]]]
 *
 * A line a learner: steps/s, share of its floor, that share over CQL's of the same window; medians [least,
 * most]. "heads 1" is CQL with one head; its last column is the steps/s of vector heads over its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/gemm.h"
#include "rl/learn/learner.h"

enum { MAX_WINDOWS = 99, GEMM = 512, HIDDEN = 256, N_LEARNERS = KEEL_N_LEARNERS + 2, CQL = 0 };

typedef struct shape {
    size_t features, acts, batch;
} shape;

typedef struct bench {
    char name[32];
    keel_pool *pool;
    keel_learner learner;
    double flops; /* of a step */
    double steps[MAX_WINDOWS], share[MAX_WINDOWS], ratio[MAX_WINDOWS];
} bench;

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "%s: %s\n", err->where, err->message);
    exit(1);
}

static void *room(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (!memory) exit(1);
    return memory;
}

static float *normal(keel_rng *rng, size_t n) {
    float *x = room(n * sizeof *x);
    for (size_t i = 0; i < n; ++i) x[i] = 0.3f * (float)keel_rng_normal(rng);
    return x;
}

/* Every transition goes on, so that nothing of the look-ahead is saved. */
static keel_batch make_batch(const shape *s) {
    keel_rng rng = keel_rng_stream(1, KEEL_STREAM_MADE, 0);
    size_t n = s->batch;
    int32_t *action = room(n * sizeof *action);
    uint8_t *ones = room(n * KEEL_N_REWARDS);
    float *bootstrap = room(n * sizeof *bootstrap);
    for (size_t i = 0; i < n; ++i) {
        action[i] = (int32_t)keel_rng_below(&rng, s->acts);
        bootstrap[i] = 1;
    }
    memset(ones, 1, n * KEEL_N_REWARDS);
    return (keel_batch){.n = n,
                        .state = normal(&rng, n * s->features),
                        .next_state = normal(&rng, n * s->features),
                        .reward = normal(&rng, n * KEEL_N_REWARDS),
                        .action = action,
                        .present = ones,
                        .usable = ones,
                        .bootstrap = bootstrap,
                        .next_log_prior = normal(&rng, n * s->acts)};
}

/* 2 B P for each of `passes` forward passes and dW; 2 B (P - P1) for dX. */
static double flops_of(const keel_qnet *net, size_t batch, int passes) {
    double first = (double)net->input_dim * HIDDEN, acts = (double)(net->shape.n_acts);
    double all = first + HIDDEN * HIDDEN + HIDDEN * acts * (double)keel_qnet_outputs(&net->shape);
    return 2 * (double)batch * (double)net->shape.critics * ((passes + 2) * all - first);
}

static double flops_per_step(const keel_learner *learner, size_t batch) {
    const keel_learner_kind *kind = learner->kind;
    bool best = kind->next_value && (!learner->extras.n_networks || learner->extras.support > 0);
    int passes = !kind->next_value ? 1 : best ? 3 : 2; /* s; s' by the target network; s' online as well */
    double sum = flops_of(&learner->net, batch, passes);
    for (size_t i = 0; i < learner->extras.n_networks; ++i)
        sum += flops_of(&learner->extra[i], batch, 2); /* s, s' */
    return sum;
}

/* The algorithms in the table's order, then CQL with one head, then with quantiles. */
static void open_bench(bench *b, const shape *s, int index) {
    keel_err err = {0};
    keel_learner_config config;
    bool one_head = index == KEEL_N_LEARNERS, quantiles = index == KEEL_N_LEARNERS + 1;
    const char *name = index < KEEL_N_LEARNERS ? keel_algorithms[index] : "cql";
    snprintf(b->name, sizeof b->name, "%s", one_head ? "heads 1" : quantiles ? "quantiles 32" : name);
    need(keel_learner_preset("keel", name, &config, &err), &err);
    config.batch = (int64_t)s->batch;
    if (one_head || quantiles) config.vector_heads = false;
    if (quantiles) config.quantiles = 32;
    keel_qnet_shape net = {.space = KEEL_SPACE_ACTS,
                           .state_dim = s->features,
                           .n_acts = s->acts,
                           .heads = config.vector_heads ? KEEL_N_REWARDS : 1,
                           .cost = config.vector_heads && config.quantiles == 1 &&
                                   keel_learner_kind_of(config.algorithm)->cost,
                           .critics = (size_t)config.critics,
                           .hidden = {2, {HIDDEN, HIDDEN}}};
    need(keel_pool_open(&b->pool, 1, &err), &err);
    need(keel_learner_open(&b->learner, &config, &net, NULL, b->pool, &err), &err);
    b->flops = flops_per_step(&b->learner, s->batch);
}

static double steps_per_second(bench *b, const keel_batch *batch, double seconds) {
    keel_err err = {0};
    keel_loss_parts parts;
    size_t steps = 0;
    double start = keel_clock_thread();
    do {
        for (int i = 0; i < 4; ++i, ++steps) need(keel_learner_step(&b->learner, batch, &parts, &err), &err);
    } while (keel_clock_thread() - start < seconds);
    return (double)steps / (keel_clock_thread() - start);
}

static double flops_per_second(double seconds) {
    static float a[GEMM * GEMM], x[GEMM * GEMM], y[GEMM * GEMM];
    size_t products = 0;
    for (size_t i = 0; i < GEMM * GEMM; ++i) a[i] = x[i] = (float)(i % 7) - 3;
    double start = keel_clock_thread();
    do {
        keel_gemm(false, true, GEMM, GEMM, GEMM, 1, a, GEMM, x, GEMM, 0, y, GEMM);
        products++;
    } while (keel_clock_thread() - start < seconds);
    return 2.0 * GEMM * GEMM * GEMM * (double)products / (keel_clock_thread() - start);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_spread(double *values, int windows, int decimals) {
    qsort(values, (size_t)windows, sizeof *values, by_value);
    printf("  %.*f [%.*f, %.*f]", decimals, values[windows / 2], decimals, values[0], decimals,
           values[windows - 1]);
}

static void measure(bench *all, const keel_batch *batch, int window, double seconds) {
    for (int i = 0; i < N_LEARNERS; ++i) {
        double rate = flops_per_second(seconds / 4);
        all[i].steps[window] = steps_per_second(&all[i], batch, seconds);
        all[i].share[window] = all[i].steps[window] * all[i].flops / rate;
        all[i].ratio[window] = all[i].share[window] / all[CQL].share[window];
    }
    bench *one = &all[KEEL_N_LEARNERS];
    one->ratio[window] = all[CQL].steps[window] / one->steps[window];
}

int main(int argc, char **argv) {
    static bench all[N_LEARNERS];
    int windows = argc > 1 ? atoi(argv[1]) : 5;
    double seconds = argc > 2 ? atof(argv[2]) : 0.3;
    shape s = {64, 12, 256};
    if (argc == 6) s = (shape){(size_t)atoi(argv[3]), (size_t)atoi(argv[4]), (size_t)atoi(argv[5])};
    if (windows < 1 || windows > MAX_WINDOWS || !(seconds > 0) || !s.features || !s.acts || !s.batch) {
        fprintf(stderr, "usage: bench_learners [windows (1-%d) [seconds a window [features acts batch]]]\n",
                (int)MAX_WINDOWS);
        return 2;
    }
    keel_batch batch = make_batch(&s);
    for (int i = 0; i < N_LEARNERS; ++i) open_bench(&all[i], &s, i);
    for (int i = 0; i < N_LEARNERS; ++i) steps_per_second(&all[i], &batch, seconds / 4);
    for (int w = 0; w < windows; ++w) measure(all, &batch, w, seconds);
    printf("%zu features, %zu acts, batch %zu\nlearner        steps/s  share of floor  of CQL's\n",
           s.features, s.acts, s.batch);
    for (int i = 0; i < N_LEARNERS; ++i) {
        printf("%-13s", all[i].name);
        print_spread(all[i].steps, windows, 0);
        print_spread(all[i].share, windows, 2);
        print_spread(all[i].ratio, windows, 2);
        putchar('\n');
        keel_learner_close(&all[i].learner);
        keel_pool_close(all[i].pool);
    }
    return 0;
}
