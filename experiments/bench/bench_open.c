/* From a store in a file to training on it: seconds until the first minibatch is in hand (opening the store,
 * its sampler, one draw of 256) and for 100 minibatches more. The file is in the system's cache.
 *
 *     bench_open [transitions [turns a conversation [rounds]]]      default: 1000000 20 3
 *
 * 64 features, 12 acts; some 700 bytes of disk a transition, in a folder below TMPDIR that is removed again.
 * Once with memory for all of it, once within 64 MB, of which the sampler takes half as training does.
 * Medians [least, most]. The peer is peers/open_store.py. */
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/process.h"
#include "datasets/sampler.h"
#include "experiments/bench/made_store.h"

enum { FEATURES = 64, ACTS = 12, BATCH = 256, DRAWS = 100, MAX_ROUNDS = 99 };

static const char *const acts[ACTS] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};

static void make(const char *path, size_t transitions, size_t turns) {
    keel_err err = {0};
    keel_store *store;
    bench_need(keel_store_open(&store, path, KEEL_STORE_CREATE, &err), &err);
    bench_fill_store(store, transitions / turns, turns, FEATURES, acts, ACTS);
    keel_store_close(store);
}

/* seconds: to the first minibatch, of the others. Returns the transitions there are. */
static size_t open_and_draw(const char *path, size_t limit, double seconds[2]) {
    keel_err err = {0};
    keel_store *store;
    keel_sampler *sampler;
    keel_batch batch;
    keel_process_limit_memory(limit);
    double start = keel_clock();
    bench_need(keel_store_open(&store, path, KEEL_STORE_READ, &err), &err);
    size_t half = keel_memory_left() / 2;
    keel_sampler_config config = {.base_hash = "bench",
                                  .space = KEEL_SPACE_ACTS,
                                  .acts = acts,
                                  .n_acts = ACTS,
                                  .state_dim = FEATURES,
                                  .batch = BATCH,
                                  .cache_bytes = half < KEEL_SAMPLER_CACHE ? half : KEEL_SAMPLER_CACHE,
                                  .seed = 1};
    bench_need(keel_sampler_open(&sampler, store, NULL, &config, &err), &err);
    bench_need(keel_sampler_draw(sampler, 0, &batch, &err), &err);
    double ready = keel_clock();
    for (uint64_t step = 1; step <= DRAWS; ++step)
        bench_need(keel_sampler_draw(sampler, step, &batch, &err), &err);
    seconds[0] = ready - start;
    seconds[1] = keel_clock() - ready;
    size_t transitions = keel_sampler_about(sampler)->transitions;
    keel_sampler_close(sampler);
    keel_store_close(store);
    return transitions;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_spread(double *values, int rounds) {
    qsort(values, (size_t)rounds, sizeof *values, by_value);
    printf("  %.3f [%.3f, %.3f]", values[rounds / 2], values[0], values[rounds - 1]);
}

static void measure(const char *path, const char *name, size_t limit, int rounds) {
    double first[MAX_ROUNDS], others[MAX_ROUNDS];
    size_t transitions = 0;
    for (int i = 0; i < rounds; ++i) {
        double seconds[2];
        transitions = open_and_draw(path, limit, seconds);
        first[i] = seconds[0], others[i] = seconds[1];
    }
    printf("%-8s %11zu", name, transitions);
    print_spread(first, rounds);
    print_spread(others, rounds);
    putchar('\n');
    fflush(stdout);
}

int main(int argc, char **argv) {
    keel_process_own();
    keel_store_use_allocator();
    long transitions = argc > 1 ? atol(argv[1]) : 1000000, turns = argc > 2 ? atol(argv[2]) : 20,
         rounds = argc > 3 ? atol(argv[3]) : 3;
    const char *parent = getenv("TMPDIR");
    char folder[512], path[600];
    double spent[2];
    if (argc > 4 || turns < 1 || turns > BENCH_MAX_TURNS || transitions < turns || rounds < 1 ||
        rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_open [transitions [turns (1-%d) [rounds (1-%d)]]]\n",
                (int)BENCH_MAX_TURNS, (int)MAX_ROUNDS);
        return 2;
    }
    snprintf(folder, sizeof folder, "%s/bench_open-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    snprintf(path, sizeof path, "%s/store.db", folder);
    make(path, (size_t)transitions, (size_t)turns);
    open_and_draw(path, SIZE_MAX, spent);
    puts("memory   transitions  seconds to the first minibatch  of 100 more");
    measure(path, "enough", SIZE_MAX, (int)rounds);
    measure(path, "64 MB", 64 << 20, (int)rounds);
    keel_folder_remove(folder, NULL);
    return 0;
}
