/* Stores of made-up conversations, for benchmarks. */
#ifndef KEEL_EXPERIMENTS_BENCH_MADE_STORE_H
#define KEEL_EXPERIMENTS_BENCH_MADE_STORE_H

#include "datasets/store.h"

enum { BENCH_MAX_TURNS = 64 };

/* A bench that cannot go on says why and ends the program. */
void bench_need(keel_status status, const keel_err *err);

/* Fills a new store in one transaction: conversations of `turns` decisions (at most BENCH_MAX_TURNS), each a
 * transition, over the acts, uniform rewards in
 * [-1, 1], all components present; normal features under the base "bench". */
void bench_fill_store(keel_store *store, size_t conversations, size_t turns, size_t features,
                      const char *const *acts, size_t n_acts);

#endif
