/* Steps per second of conservative Q-learning against the floor: the FLOPs of the matrix products that cannot
 * be avoided, over the SGEMM rate of this OpenBLAS kernel on large square matrices, measured in the same run,
 * interleaved with the steps. Fixed acts, MLP(256, 256); transitions are drawn by the sampler out of a store,
 * as in training. The kinds of learner: "scalar", one head, no dropout, no weight decay, as peers have it;
 * "vector", Keel's defaults, a head per reward component, dropout and weight decay.
 *
 *     bench_cql_step [windows [seconds a window [kind features acts batch]]]
 *     bench_cql_step ask kind features acts batch threads
 *
 * The first prints a line a shape: for one thread steps/s and share of the floor, for two steps/s over those
 * of one thread in the window before; median [least, most] of the windows. CPUs: how many times as many
 * multiply-adds two threads did as one, on matrices in the first cache, in the same window; below 1.9 the two
 * CPUs were sharing a core, or with others, and the two-thread figure says nothing. One thread is timed by
 * its own processor time, so that others on the machine count for little; two by the clock. The second
 * answers each line of standard input, seconds, by: steps/s, SGEMM FLOP/s, CPUs, FLOP of a step.
 *
 * Floor per step, B rows, P weights, P1 of them in the first layer: s forward, s' online, s' target, dW: 2 B
 * P each; dX: 2 B (P - P1). Sampling, elementwise work, gradient sums, Adam and the target network count as
 * nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/gemm.h"
#include "experiments/bench/made_store.h"
#include "rl/learn/learner.h"

enum { MAX_WINDOWS = 99, MAX_THREADS = 64, GEMM = 768, MAX_ACTS = 64, CONVERSATIONS = 64, TURNS = 64 };

typedef struct shape {
    size_t features, acts, batch;
} shape;
static const shape shapes[] = {{32, 12, 32}, {32, 12, 256}, {64, 12, 256}, {384, 16, 256}, {384, 16, 1024}};
static const char *const kinds[] = {"scalar", "vector"};

typedef struct bench {
    keel_pool *pool;
    keel_store *store;
    keel_sampler *sampler;
    keel_learner learner;
    char folder[64];
    char names[MAX_ACTS][24];
    const char *acts[MAX_ACTS];
} bench;

/* ---- life ---- */

static void open_store(bench *b, const shape *s) {
    keel_err err = {0};
    char path[96];
    snprintf(b->folder, sizeof b->folder, "/tmp/bench_cql_step-XXXXXX");
    if (!mkdtemp(b->folder)) {
        perror(b->folder);
        exit(1);
    }
    snprintf(path, sizeof path, "%s/store.db", b->folder);
    for (size_t i = 0; i < s->acts; ++i) {
        snprintf(b->names[i], sizeof b->names[i], "act%zu", i);
        b->acts[i] = b->names[i];
    }
    bench_need(keel_store_open(&b->store, path, KEEL_STORE_CREATE, &err), &err);
    bench_fill_store(b->store, CONVERSATIONS, TURNS, s->features, b->acts, s->acts);
}

static void open_bench(bench *b, const shape *s, const char *kind, size_t threads) {
    keel_err err = {0};
    keel_learner_config config;
    *b = (bench){0};
    bench_need(keel_learner_preset("keel", "cql", &config, &err), &err);
    if (strcmp(kind, "scalar") == 0) {
        config.vector_heads = false;
        config.dropout = config.weight_decay = 0;
    }
    config.batch = (int64_t)s->batch;
    keel_qnet_shape net = {.space = KEEL_SPACE_ACTS,
                           .state_dim = s->features,
                           .n_acts = s->acts,
                           .heads = config.vector_heads ? KEEL_N_REWARDS : 1,
                           .critics = 1,
                           .hidden = config.hidden,
                           .cost = config.vector_heads};
    open_store(b, s);
    keel_sampler_config sampling = {.base_hash = "bench",
                                    .space = KEEL_SPACE_ACTS,
                                    .acts = b->acts,
                                    .n_acts = s->acts,
                                    .state_dim = s->features,
                                    .batch = s->batch,
                                    .cache_bytes = KEEL_SAMPLER_CACHE,
                                    .seed = 1};
    bench_need(keel_sampler_open(&b->sampler, b->store, NULL, &sampling, &err), &err);
    bench_need(keel_pool_open(&b->pool, threads, &err), &err);
    bench_need(keel_learner_open(&b->learner, &config, &net, NULL, b->pool, &err), &err);
}

static void close_bench(bench *b) {
    keel_learner_close(&b->learner);
    keel_pool_close(b->pool);
    keel_sampler_close(b->sampler);
    keel_store_close(b->store);
    keel_folder_remove(b->folder, NULL);
}

/* ---- measuring ---- */

static double clock_of(bool alone) {
    return alone ? keel_clock_thread() : keel_clock();
}

static double steps_per_second(bench *b, double seconds) {
    keel_err err = {0};
    keel_batch batch;
    keel_loss_parts parts;
    size_t steps = 0;
    bool alone = keel_pool_threads(b->pool) == 1;
    double start = clock_of(alone), now;
    do {
        for (int i = 0; i < 8; ++i, ++steps) {
            bench_need(keel_sampler_draw(b->sampler, b->learner.step, &batch, &err), &err);
            bench_need(keel_learner_step(&b->learner, &batch, &parts, &err), &err);
        }
        now = clock_of(alone);
    } while (now - start < seconds);
    return (double)steps / (now - start);
}

static double flops_per_second(double seconds) {
    static float a[GEMM * GEMM], x[GEMM * GEMM], y[GEMM * GEMM];
    size_t products = 0;
    for (size_t i = 0; i < GEMM * GEMM; ++i) a[i] = x[i] = (float)(i % 7) - 3;
    double start = clock_of(true), now;
    do {
        keel_gemm(false, true, GEMM, GEMM, GEMM, 1, a, GEMM, x, GEMM, 0, y, GEMM);
        products++;
        now = clock_of(true);
    } while (now - start < seconds);
    return 2.0 * GEMM * GEMM * GEMM * (double)products / (now - start);
}

static double flops_per_step(const shape *s, size_t heads) {
    double first = (double)s->features * 256, all = first + 256 * 256 + 256.0 * (double)(s->acts * heads);
    return 2 * (double)s->batch * (5 * all - first);
}

/* Products that stay in the first cache and keep every multiply-adder of a core busy, so that two threads get
 * no further than one where their CPUs are one core's. */
static keel_status spin(void *context, size_t shard, size_t thread, keel_err *err) {
    enum { SIDE = 48, REPEATS = 4000 };
    static float a[SIDE * SIDE], y[MAX_THREADS][SIDE * SIDE];
    (void)context, (void)thread, (void)err;
    for (int i = 0; i < REPEATS; ++i)
        keel_gemm(false, false, SIDE, SIDE, SIDE, 1, a, SIDE, a, SIDE, 0, y[shard], SIDE);
    return KEEL_OK;
}

static double spins_per_second(bench *b, size_t shards, double seconds) {
    size_t rounds = 0;
    double start = clock_of(false), now;
    do {
        keel_pool_run(b->pool, shards, spin, NULL, NULL);
        rounds++;
        now = clock_of(false);
    } while (now - start < seconds);
    return (double)(rounds * shards) / (now - start);
}

typedef struct window {
    double steps, flops, cpus;
} window;

static window measure(bench *b, double seconds) {
    size_t threads = keel_pool_threads(b->pool);
    window w = {.cpus = 1};
    w.flops = flops_per_second(seconds / 2);
    if (threads > 1) w.cpus = spins_per_second(b, threads, seconds / 4) / spins_per_second(b, 1, seconds / 4);
    w.steps = steps_per_second(b, seconds);
    return w;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_spread(double *values, int windows, int width, int decimals) {
    qsort(values, (size_t)windows, sizeof *values, by_value);
    printf(" %*.*f [%.*f, %.*f]", width, decimals, values[windows / 2], decimals, values[0], decimals,
           values[windows - 1]);
}

static void run(const shape *s, const char *kind, int windows, double seconds) {
    double steps[MAX_WINDOWS], share[MAX_WINDOWS], gain[MAX_WINDOWS], cpus[MAX_WINDOWS];
    bench one, two;
    open_bench(&one, s, kind, 1);
    open_bench(&two, s, kind, 2);
    double flops = flops_per_step(s, one.learner.net.shape.heads);
    measure(&one, seconds), measure(&two, seconds);
    for (int i = 0; i < windows; ++i) {
        window alone = measure(&one, seconds), both = measure(&two, seconds);
        steps[i] = alone.steps;
        share[i] = alone.steps * flops / alone.flops;
        gain[i] = both.steps / alone.steps;
        cpus[i] = both.cpus;
    }
    printf("%-6s %8zu %4zu %5zu", kind, s->features, s->acts, s->batch);
    print_spread(steps, windows, 5, 0);
    print_spread(share, windows, 5, 2);
    print_spread(gain, windows, 5, 2);
    print_spread(cpus, windows, 5, 2);
    putchar('\n');
    fflush(stdout);
    close_bench(&two);
    close_bench(&one);
}

static void answer(const shape *s, const char *kind, size_t threads) {
    char line[64];
    bench b;
    open_bench(&b, s, kind, threads);
    double flops = flops_per_step(s, b.learner.net.shape.heads);
    while (fgets(line, sizeof line, stdin)) {
        window w = measure(&b, atof(line));
        printf("%.6g %.6g %.4g %.6g\n", w.steps, w.flops, w.cpus, flops);
        fflush(stdout);
    }
    close_bench(&b);
}

/* ---- command line ---- */

static int usage(void) {
    fprintf(
        stderr,
        "usage: bench_cql_step [windows (1-%d) [seconds a window [scalar|vector features acts (at most %d) "
        "batch]]]\n       bench_cql_step ask scalar|vector features acts batch threads (at most %d)\n",
        (int)MAX_WINDOWS, (int)MAX_ACTS, (int)MAX_THREADS);
    return 2;
}

static size_t count(const char *text, size_t most) {
    long value = strtol(text, NULL, 10);
    return value > 0 && (size_t)value <= most ? (size_t)value : 0;
}

static bool read_shape(char **argv, const char **kind, shape *s) {
    *kind = kinds[strcmp(argv[0], kinds[1]) == 0];
    *s = (shape){count(argv[1], 1 << 16), count(argv[2], MAX_ACTS), count(argv[3], 1 << 16)};
    return strcmp(argv[0], *kind) == 0 && s->features && s->acts && s->batch;
}

int main(int argc, char **argv) {
    int windows = argc > 1 ? atoi(argv[1]) : 9;
    double seconds = argc > 2 ? atof(argv[2]) : 0.2;
    const char *kind;
    shape one;
    if (argc == 7 && strcmp(argv[1], "ask") == 0) {
        size_t threads = count(argv[6], MAX_THREADS);
        if (!read_shape(argv + 2, &kind, &one) || !threads) return usage();
        answer(&one, kind, threads);
        return 0;
    }
    bool all = argc <= 3;
    if (windows < 1 || windows > MAX_WINDOWS || seconds <= 0 || (!all && argc != 7)) return usage();
    if (!all && !read_shape(argv + 3, &kind, &one)) return usage();
    printf("OpenBLAS kernel %s; median [least, most] of %d windows of %g s\n"
           "kind   features acts batch  steps/s  share of the floor  two threads over one  CPUs\n",
           openblas_get_corename(), windows, seconds);
    if (!all) run(&one, kind, windows, seconds);
    for (size_t i = 0; all && i < sizeof shapes / sizeof *shapes; ++i)
        for (size_t k = 0; k < 2; ++k) run(&shapes[i], kinds[k], windows, seconds);
    return 0;
}
