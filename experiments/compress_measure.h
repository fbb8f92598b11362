/* What a smaller base, with its policy or without, is beside what it was, on logged decisions: how long one
 * decision takes, and whether the choice has changed. */
#ifndef KEEL_EXPERIMENTS_COMPRESS_MEASURE_H
#define KEEL_EXPERIMENTS_COMPRESS_MEASURE_H

#include <cjson/cJSON.h>

#include "datasets/store.h"
#include "rl/judge/intervals.h"

typedef struct keel_compress_measured {
    size_t decisions;                     /* looked at: those with at least two actions */
    double latency_ms, latency_before_ms; /* medians of processor time; a decision at a time, the two in turn,
                                             on the calling thread */
    keel_interval changed; /* share of decisions whose choice is another; n 0: there are none */
} keel_compress_measured;

/* Adds "latency_ms" and "latency_ms_before" to metrics, which the same command does not give again; nothing
 * where no decision was looked at. false: no memory. */
bool keel_compress_measure_put_times(const keel_compress_measured *measured, cJSON *metrics);

typedef struct keel_compress_places {
    const char *base, *policy; /* folders; policy NULL: the base's first choice is measured */
} keel_compress_places;

/* Decisions of a split's conversations in their order by name, until there are `most`. Times depend on the
 * machine and on what else runs there; `changed` does not. A base that decides nothing by itself (an encoder
 * as it came) is left out with a word, *out zeros. KEEL_E_INTERRUPTED. */
keel_status keel_compress_measure(const keel_compress_places *before, const keel_compress_places *after,
                                  keel_store *store, const keel_split *split, size_t most,
                                  keel_compress_measured *out, keel_err *err);

#endif
