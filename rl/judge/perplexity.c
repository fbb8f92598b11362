#include "rl/judge/perplexity.h"

#include <math.h>
#include <string.h>

#include "core/interrupt.h"
#include "core/progress.h"
#include "rl/judge/bootstrap.h"

/* Terms of a conversation. */
enum { LOG_PROB, TOKENS, RESPONSES, WIDTH };

enum { AT_ONCE = 32 };

typedef struct judging {
    const keel_base *base;
    keel_conversation *read[AT_ONCE];
    keel_arena arena[AT_ONCE];
    double *row[AT_ONCE];
} judging;

static keel_status judge(void *context, size_t i, size_t thread, keel_err *err) {
    judging *j = context;
    const keel_conversation *c = j->read[i];
    (void)thread;
    keel_base_said said;
    KEEL_TRY(keel_base_likelihood(j->base, c, &said, err));
    j->row[i][LOG_PROB] = said.log_prob;
    j->row[i][TOKENS] = (double)said.tokens;
    j->row[i][RESPONSES] = (double)said.responses;
    return KEEL_OK;
}

static keel_status judge_some(judging *j, keel_store *store, const int64_t *ids, double *rows, size_t n,
                              keel_pool *pool, keel_err *err) {
    bool held;
    keel_status status = KEEL_OK;
    KEEL_TRY(keel_store_hold(store, &held, err));
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        keel_arena_reset(&j->arena[i]);
        j->row[i] = rows + i * WIDTH;
        status = keel_store_conversation(store, ids[i], &j->arena[i], &j->read[i], err);
    }
    keel_store_release(store, held);
    return status == KEEL_OK ? keel_pool_run(pool, n, judge, j, err) : status;
}

static keel_status judge_all(judging *j, keel_store *store, const int64_t *ids, size_t count, double *rows,
                             keel_pool *pool, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    keel_progress_start(&progress, "foretell responses", count);
    for (size_t at = 0; at < count && status == KEEL_OK; at += AT_ONCE) {
        const size_t n = count - at < AT_ONCE ? count - at : AT_ONCE;
        status = keel_interrupted()
                     ? keel_fail(err, KEEL_E_INTERRUPTED, "perplexity", "stopped after %zu conversations", at)
                     : judge_some(j, store, ids + at, rows + at * WIDTH, n, pool, err);
        keel_progress_step(&progress, at + n, NULL);
    }
    keel_progress_end(&progress, count);
    for (size_t i = 0; i < AT_ONCE; i++) keel_arena_free(&j->arena[i]);
    return status;
}

static double perplexity(const void *context, size_t index, const double *total) {
    (void)context, (void)index;
    return total[TOKENS] > 0 ? exp(-total[LOG_PROB] / total[TOKENS]) : NAN;
}

static keel_status summarise(const double *rows, size_t count, keel_pool *pool, keel_perplexity *out,
                             keel_err *err) {
    const keel_bootstrap_plan plan = {.resamples = 1000, .seed = 1, .confidence = 0.95};
    double total[WIDTH] = {0};
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < WIDTH; k++) total[k] += rows[i * WIDTH + k];
    *out = (keel_perplexity){.responses = (size_t)total[RESPONSES],
                             .tokens = (size_t)total[TOKENS],
                             .log_prob = total[LOG_PROB],
                             .perplexity = perplexity(NULL, 0, total)};
    return keel_bootstrap(rows, WIDTH, count, &plan, perplexity, NULL, 1, pool, &out->low, &out->high, err);
}

keel_status keel_perplexity_of(keel_store *store, const keel_split *split, const keel_base *base,
                               keel_pool *pool, keel_perplexity *out, keel_err *err) {
    judging *j = keel_calloc(1, sizeof *j);
    int64_t *ids = NULL;
    double *rows = NULL;
    size_t count;
    if (!j) return keel_nomem(err, "perplexity");
    j->base = base;
    keel_status status = keel_store_conversation_ids(store, split, KEEL_ORDER_NAMED, &ids, &count, err);
    if (status == KEEL_OK && !(rows = keel_calloc(count * WIDTH + 1, sizeof *rows)))
        status = keel_nomem(err, "perplexity");
    if (status == KEEL_OK) status = judge_all(j, store, ids, count, rows, pool, err);
    if (status == KEEL_OK) status = summarise(rows, count, pool, out, err);
    keel_free(rows);
    keel_free(ids);
    keel_free(j);
    return status;
}
