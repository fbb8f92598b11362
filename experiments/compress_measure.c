#include "experiments/compress_measure.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "core/numeric.h"
#include "datasets/store_corpus.h"
#include "experiments/cli_resources.h"
#include "policies/policy.h"
#include "rl/judge/metric_sums.h"

enum { BEFORE, AFTER, N_SIDES };
enum { MEMORY = 64 << 20 };

typedef struct measuring {
    keel_base *base[N_SIDES];
    keel_policy *policy[N_SIDES]; /* NULL: the base's first choice */
    double *seconds[N_SIDES];     /* [most] */
    size_t n, most;
    keel_rate changed;
    keel_arena scratch, read;
} measuring;

static keel_status decide(measuring *m, int side, const keel_conversation *conversation, size_t d,
                          keel_choice *choice, keel_err *err) {
    keel_features features;
    KEEL_TRY(keel_base_encode_decision(m->base[side], conversation, d, &m->scratch, &features, err));
    return m->policy[side] ? keel_policy_decide_at(m->policy[side], m->base[side], conversation, d, &features,
                                                   &m->scratch, choice, err)
                           : keel_base_decide(&features, &m->scratch, choice, err);
}

static keel_status measure_decision(measuring *m, const keel_conversation *conversation, size_t d,
                                    keel_err *err) {
    size_t chosen[N_SIDES];
    if (keel_interrupted()) return keel_fail(err, KEEL_E_INTERRUPTED, "compress", "stopped while measuring");
    for (int i = 0; i < N_SIDES; i++) {
        keel_choice choice;
        keel_arena_reset(&m->scratch);
        const double start = keel_clock_thread();
        KEEL_TRY(decide(m, i, conversation, d, &choice, err));
        m->seconds[i][m->n] = keel_clock_thread() - start;
        chosen[i] = choice.chosen;
    }
    m->n++;
    keel_rate_count(&m->changed, chosen[BEFORE] != chosen[AFTER]);
    return KEEL_OK;
}

static keel_status measure_conversation(measuring *m, const keel_conversation *conversation, keel_err *err) {
    for (size_t d = 0; d < conversation->n_decisions && m->n < m->most; d++)
        if (keel_base_n_actions(m->base[BEFORE], &conversation->decisions[d]) > 1)
            KEEL_TRY(measure_decision(m, conversation, d, err));
    keel_rate_end(&m->changed);
    return KEEL_OK;
}

static keel_status measure(measuring *m, keel_corpus *corpus, keel_err *err) {
    for (size_t i = 0; i < corpus->count && m->n < m->most; i++) {
        keel_conversation *conversation;
        keel_arena_reset(&m->read);
        KEEL_TRY(corpus->read(corpus, &corpus->by_name[i], 1, &m->read, &conversation, err));
        KEEL_TRY(measure_conversation(m, conversation, err));
    }
    return KEEL_OK;
}

static double median_ms(double *seconds, size_t n) {
    qsort(seconds, n, sizeof *seconds, keel_by_value);
    return n ? 500 * (seconds[(n - 1) / 2] + seconds[n / 2]) : 0;
}

/* ---- folders ---- */

static keel_status open_side(measuring *m, int side, const keel_compress_places *places, keel_err *err) {
    KEEL_TRY(keel_base_open(&m->base[side], places->base, err));
    if (!places->policy) return KEEL_OK;
    KEEL_TRY(keel_policy_load(&m->policy[side], places->policy, err));
    return keel_policy_check_base(m->policy[side], m->base[side], err);
}

static keel_status measure_split(measuring *m, keel_store *store, const keel_split *split, keel_err *err) {
    keel_corpus *corpus = NULL;
    for (int i = 0; i < N_SIDES; i++) {
        m->seconds[i] = keel_alloc(m->most * sizeof *m->seconds[i]);
        if (!m->seconds[i]) return keel_nomem(err, "compress");
    }
    KEEL_TRY(keel_store_corpus_open(&corpus, store, split, MEMORY, err));
    const keel_status status = measure(m, corpus, err);
    keel_store_corpus_close(corpus);
    return status;
}

static void close_all(measuring *m) {
    for (int i = 0; i < N_SIDES; i++) {
        keel_policy_close(m->policy[i]);
        keel_base_close(m->base[i]);
        keel_free(m->seconds[i]);
    }
    keel_arena_free(&m->scratch);
    keel_arena_free(&m->read);
}

keel_status keel_compress_measure(const keel_compress_places *before, const keel_compress_places *after,
                                  keel_store *store, const keel_split *split, size_t most,
                                  keel_compress_measured *out, keel_err *err) {
    measuring m = {.most = most};
    keel_err told = {0};
    *out = (keel_compress_measured){0};
    keel_status status = open_side(&m, BEFORE, before, &told);
    if (status == KEEL_OK) status = open_side(&m, AFTER, after, &told);
    const bool decides = status != KEEL_E_UNSUPPORTED;
    if (!decides) keel_log(KEEL_LOG_INFO, "note: not measured on decisions: %s", told.message);
    status = !decides ? KEEL_OK : status == KEEL_OK ? measure_split(&m, store, split, &told) : status;
    if (status == KEEL_OK && decides)
        *out = (keel_compress_measured){.decisions = m.n,
                                        .latency_before_ms = median_ms(m.seconds[BEFORE], m.n),
                                        .latency_ms = median_ms(m.seconds[AFTER], m.n),
                                        .changed = keel_rate_interval(&m.changed, 0.95)};
    if (status != KEEL_OK && err) *err = told;
    close_all(&m);
    return status;
}

bool keel_compress_measure_put_times(const keel_compress_measured *measured, cJSON *metrics) {
    return measured->decisions == 0 ||
           (cJSON_AddNumberToObject(metrics, "latency_ms_before", measured->latency_before_ms) &&
            cJSON_AddNumberToObject(metrics, "latency_ms", measured->latency_ms));
}
