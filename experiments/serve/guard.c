#include "experiments/serve/guard.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/log.h"
#include "datasets/store_policies.h"
#include "experiments/serve/ab_rows.h"

/* The probability that an arm that keeps a guardrail is ever stopped by it. A look takes no more than a
 * twentieth of the time. */
static const double ALPHA = 0.05, EVERY = 10, LEAST_PAUSES = 20;

struct keel_guards {
    char *store;
    keel_guard *of; /* [n] */
    char **texts;   /* [n] */
    size_t n;
    double every;
    keel_context context;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t closing_changed;
    bool closing;        /* under the lock */
    keel_store *watched; /* with its version at the last look */
    int64_t version;
};

/* ---- one look ---- */

static keel_status stop(const keel_guards *guards, const char *arm, const char *text, double limit,
                        keel_err *err) {
    keel_store *store = NULL;
    char note[400];
    snprintf(note, sizeof note, "%.300s: shown to be %s %.4f", text,
             strstr(text, ">=") ? "at most" : "at least", limit);
    KEEL_TRY(keel_store_open(&store, guards->store, KEEL_STORE_WRITE, err));
    const keel_status status = keel_store_publish(
        store,
        &(keel_publication){
            .arm = arm, .at = (double)time(NULL), .why = KEEL_PUBLISHED_GUARDRAIL, .note = note},
        NULL, err);
    keel_store_close(store);
    if (status == KEEL_OK) keel_log(KEEL_LOG_INFO, "warning: guardrail: arm %s is to stop: %s", arm, note);
    return status;
}

/* The first guardrail that the arm breaks stops it. */
static keel_status look_at_arm(const keel_guards *guards, const keel_ab_rows *rows, size_t arm,
                               keel_arena *arena, size_t *stopped, keel_err *err) {
    for (size_t g = 0; g < guards->n; g++) {
        bool broken;
        double limit;
        KEEL_TRY(keel_guard_broken(&guards->of[g], rows->observations, rows->n, rows->n_arms, arm, ALPHA,
                                   arena, &broken, &limit, err));
        if (!broken) continue;
        ++*stopped;
        return stop(guards, rows->arms[arm], guards->texts[g], limit, err);
    }
    return KEEL_OK;
}

static keel_status look(const keel_guards *guards, keel_store *store, keel_arena *arena, size_t *stopped,
                        keel_err *err) {
    static const keel_ab_config config = {.since = NAN};
    keel_ab_rows rows;
    KEEL_TRY(keel_ab_rows_load(store, &config, arena, &rows, err));
    for (size_t arm = 1; arm < rows.n_arms; arm++) {
        keel_publication *last;
        KEEL_TRY(keel_store_published(store, rows.arms[arm], arena, &last, err));
        if (last && !last->policy) continue; /* it is stopped */
        KEEL_TRY(look_at_arm(guards, &rows, arm, arena, stopped, err));
    }
    return KEEL_OK;
}

keel_status keel_guards_look(keel_guards *guards, size_t *stopped, keel_err *err) {
    keel_arena arena = {0};
    int64_t version = 0;
    *stopped = 0;
    if (!guards->watched) KEEL_TRY(keel_store_open(&guards->watched, guards->store, KEEL_STORE_READ, err));
    KEEL_TRY(keel_store_version(guards->watched, &version, err));
    if (version == guards->version) return KEEL_OK;
    const keel_status status = look(guards, guards->watched, &arena, stopped, err);
    if (status == KEEL_OK) guards->version = version;
    keel_arena_free(&arena);
    return status;
}

/* ---- the thread ---- */

/* Sleeps, or wakes when it is to end; under the lock. */
static void pause_for(keel_guards *guards, double seconds) {
    const double until = keel_clock() + seconds;
    while (!guards->closing && keel_clock_wait(&guards->closing_changed, &guards->lock, until)) {}
}

static void *run(void *argument) {
    keel_guards *guards = argument;
    bool failing = false;
    keel_context_use(&guards->context);
    pthread_mutex_lock(&guards->lock);
    for (double pause = guards->every; !guards->closing;) {
        size_t stopped;
        keel_err err = {0};
        pause_for(guards, pause);
        if (guards->closing) break;
        pthread_mutex_unlock(&guards->lock);
        const double begun = keel_clock();
        const keel_status status = keel_guards_look(guards, &stopped, &err);
        if (status != KEEL_OK && !failing)
            keel_log(KEEL_LOG_INFO, "warning: guardrails cannot be looked at: %s: %s", err.where,
                     err.message);
        failing = status != KEEL_OK;
        pause = fmax(guards->every, LEAST_PAUSES * (keel_clock() - begun));
        pthread_mutex_lock(&guards->lock);
    }
    pthread_mutex_unlock(&guards->lock);
    keel_context_use(NULL);
    return NULL;
}

static keel_status fill(keel_guards *guards, const char *store, const char *const *texts, size_t n,
                        keel_err *err) {
    guards->context = *keel_context_current();
    guards->version = -1;
    guards->store = keel_strdup(store);
    guards->of = keel_calloc(n + 1, sizeof *guards->of);
    guards->texts = keel_calloc(n + 1, sizeof *guards->texts);
    if (!guards->store || !guards->of || !guards->texts) return keel_nomem(err, "--guard");
    for (; guards->n < n; guards->n++) {
        KEEL_TRY(keel_guard_parse(texts[guards->n], &guards->of[guards->n], err));
        guards->texts[guards->n] = keel_strdup(texts[guards->n]);
        if (!guards->texts[guards->n]) return keel_nomem(err, "--guard");
    }
    guards->started = pthread_create(&guards->thread, NULL, run, guards) == 0;
    return guards->started ? KEEL_OK
                           : keel_fail(err, KEEL_E_NOMEM, "--guard", "its thread cannot be started");
}

keel_status keel_guards_open(keel_guards **out, const char *store, const char *const *texts, size_t n,
                             double every, keel_err *err) {
    keel_guards *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, "--guard");
    made->every = every > 0 ? every : EVERY;
    pthread_mutex_init(&made->lock, NULL);
    keel_clock_condition(&made->closing_changed);
    const keel_status status = fill(made, store, texts, n, err);
    if (status == KEEL_OK)
        *out = made;
    else
        keel_guards_close(made);
    return status;
}

void keel_guards_close(keel_guards *guards) {
    if (!guards) return;
    pthread_mutex_lock(&guards->lock);
    guards->closing = true;
    pthread_cond_signal(&guards->closing_changed);
    pthread_mutex_unlock(&guards->lock);
    if (guards->started) pthread_join(guards->thread, NULL);
    pthread_cond_destroy(&guards->closing_changed);
    pthread_mutex_destroy(&guards->lock);
    keel_store_close(guards->watched);
    for (size_t i = 0; i < guards->n; i++) keel_free(guards->texts[i]);
    keel_free(guards->texts);
    keel_free(guards->of);
    keel_free(guards->store);
    keel_free(guards);
}
