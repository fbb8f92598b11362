#include "experiments/compress_measure.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/log.h"
#include "experiments/cli_resources.h"
#include "rl/judge/metric_sums.h"

typedef struct measuring {
    const keel_compress_decider *who[2]; /* before, after */
    double *seconds[2];                  /* [most] */
    size_t n, most;
    keel_rate changed;
    keel_arena scratch;
} measuring;

static keel_status decide(const keel_compress_decider *who, const keel_conversation *conversation, size_t d,
                          keel_arena *scratch, keel_choice *choice, keel_err *err) {
    keel_features features;
    KEEL_TRY(keel_base_encode_decision(who->base, conversation, d, scratch, &features, err));
    return who->policy ? keel_policy_decide_at(who->policy, who->base, conversation, d, &features, scratch,
                                               choice, err)
                       : keel_base_decide(&features, scratch, choice, err);
}

static keel_status measure_decision(measuring *m, const keel_conversation *conversation, size_t d,
                                    keel_err *err) {
    size_t chosen[2];
    if (keel_interrupted()) return keel_fail(err, KEEL_E_INTERRUPTED, "compress", "stopped while measuring");
    for (int i = 0; i < 2; i++) {
        keel_choice choice;
        keel_arena_reset(&m->scratch);
        const double start = keel_clock_thread();
        KEEL_TRY(decide(m->who[i], conversation, d, &m->scratch, &choice, err));
        m->seconds[i][m->n] = keel_clock_thread() - start;
        chosen[i] = choice.chosen;
    }
    m->n++;
    keel_rate_count(&m->changed, chosen[0] != chosen[1]);
    return KEEL_OK;
}

static keel_status measure_conversation(measuring *m, const keel_conversation *conversation, size_t *counted,
                                        keel_err *err) {
    const size_t first = m->n;
    for (size_t d = 0; d < conversation->n_decisions && m->n < m->most; d++)
        if (keel_base_n_actions(m->who[0]->base, &conversation->decisions[d]) > 1)
            KEEL_TRY(measure_decision(m, conversation, d, err));
    keel_rate_end(&m->changed);
    *counted += m->n > first;
    return KEEL_OK;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(double *seconds, size_t n) {
    qsort(seconds, n, sizeof *seconds, by_size);
    return n ? 500 * (seconds[(n - 1) / 2] + seconds[n / 2]) : 0;
}

static keel_status measure(measuring *m, keel_corpus *corpus, keel_arena *read, size_t *counted,
                           keel_err *err) {
    for (size_t i = 0; i < corpus->count && m->n < m->most; i++) {
        keel_conversation *conversation;
        keel_arena_reset(read);
        KEEL_TRY(corpus->read(corpus, &corpus->by_name[i], 1, read, &conversation, err));
        KEEL_TRY(measure_conversation(m, conversation, counted, err));
    }
    return KEEL_OK;
}

keel_status keel_compress_measure(const keel_compress_decider *before, const keel_compress_decider *after,
                                  keel_corpus *corpus, size_t most, keel_compress_measured *out,
                                  keel_err *err) {
    measuring m = {.who = {before, after}, .most = most};
    keel_arena read = {0};
    *out = (keel_compress_measured){0};
    for (int i = 0; i < 2; i++) m.seconds[i] = keel_alloc(most * sizeof *m.seconds[i]);
    keel_status status = m.seconds[0] && m.seconds[1] ? measure(&m, corpus, &read, &out->conversations, err)
                                                      : keel_nomem(err, "compress");
    if (status == KEEL_OK) {
        out->decisions = m.n;
        out->latency_before_ms = median_ms(m.seconds[0], m.n);
        out->latency_ms = median_ms(m.seconds[1], m.n);
        out->changed = keel_rate_interval(&m.changed, 0.95);
    }
    for (int i = 0; i < 2; i++) keel_free(m.seconds[i]);
    keel_arena_free(&m.scratch);
    keel_arena_free(&read);
    return status;
}

bool keel_compress_measure_put_times(const keel_compress_measured *measured, cJSON *metrics) {
    return measured->decisions == 0 ||
           (cJSON_AddNumberToObject(metrics, "latency_ms_before", measured->latency_before_ms) &&
            cJSON_AddNumberToObject(metrics, "latency_ms", measured->latency_ms));
}

/* ---- of folders ---- */

enum { BEFORE, AFTER, N_SIDES };
enum { MEMORY = 64 << 20 };

typedef struct sides {
    keel_base *base[N_SIDES];
    keel_policy *policy[N_SIDES];
} sides;

static keel_status open_sides(sides *s, const keel_compress_places *const places[N_SIDES], keel_err *err) {
    for (int i = 0; i < N_SIDES; i++) {
        KEEL_TRY(keel_base_open(&s->base[i], places[i]->base, err));
        if (places[i]->policy) KEEL_TRY(keel_policy_load(&s->policy[i], places[i]->policy, err));
        if (places[i]->policy) KEEL_TRY(keel_policy_check_base(s->policy[i], s->base[i], err));
    }
    return KEEL_OK;
}

static keel_status measure_sides(const sides *s, keel_store *store, const keel_split *split, size_t most,
                                 keel_compress_measured *out, keel_err *err) {
    const keel_compress_decider before = {s->base[BEFORE], s->policy[BEFORE]},
                                after = {s->base[AFTER], s->policy[AFTER]};
    keel_corpus *corpus = NULL;
    KEEL_TRY(keel_store_corpus_open(&corpus, store, split, MEMORY, err));
    const keel_status status = keel_compress_measure(&before, &after, corpus, most, out, err);
    keel_store_corpus_close(corpus);
    return status;
}

keel_status keel_compress_measure_folders(const keel_compress_places *before,
                                          const keel_compress_places *after, keel_store *store,
                                          const keel_split *split, size_t most, keel_compress_measured *out,
                                          keel_err *err) {
    const keel_compress_places *const places[N_SIDES] = {before, after};
    keel_err told = {0};
    sides s = {0};
    *out = (keel_compress_measured){0};
    keel_status status = open_sides(&s, places, &told);
    if (status == KEEL_OK)
        status = measure_sides(&s, store, split, most, out, &told);
    else if (status == KEEL_E_UNSUPPORTED) {
        keel_log(KEEL_LOG_INFO, "note: not measured on decisions: %s", told.message);
        status = KEEL_OK;
    }
    if (status != KEEL_OK && err) *err = told;
    for (int i = 0; i < N_SIDES; i++) {
        keel_policy_close(s.policy[i]);
        keel_base_close(s.base[i]);
    }
    return status;
}
