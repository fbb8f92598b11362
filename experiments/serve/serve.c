/* Opening and closing: the parts in the order in which a request meets them, ended in the same order, so that
 * none hands on to one that is gone. */
#include "experiments/serve/serve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/hash.h"
#include "core/log.h"
#include "datasets/store_policies.h"
#include "experiments/serve/serve_internal.h"

/* ---- what parts call ---- */

static bool is_gone(const keel_job *job) {
    return keel_http_gone(job->exchange);
}

static void is_ready(void *context, keel_job *job) {
    keel_serve *serve = context;
    keel_crew_put(serve->crew, job);
}

static keel_status read_expected(keel_serve *serve, keel_store *store, keel_arena *arena, keel_err *err) {
    keel_registered_policy *policies;
    const char *gates = NULL;
    size_t n;
    KEEL_TRY(keel_store_policies(store, arena, &policies, &n, err));
    for (size_t i = 0; i < n; i++)
        if (strcmp(policies[i].hash, serve->expected) == 0) gates = policies[i].gates;
    return keel_drift_expect(serve->drift, gates, err);
}

/* What the gates of the first arm's policy want of it, if it was registered. */
static void expect(keel_serve *serve, keel_store *store) {
    const keel_version *version = keel_versions_take(serve->versions, 0);
    keel_arena arena = {0};
    keel_err err = {0};
    const bool same = strcmp(serve->expected, version->hash) == 0;
    snprintf(serve->expected, sizeof serve->expected, "%s", version->hash);
    keel_version_release(version);
    if (!same && read_expected(serve, store, &arena, &err) != KEEL_OK)
        keel_log(KEEL_LOG_INFO, "warning: no drift is seen: %s: %s", err.where, err.message);
    keel_arena_free(&arena);
}

/* In the log's thread, about once a second. */
static void look(void *context, keel_store *store) {
    keel_serve *serve = context;
    keel_err err = {0};
    serve->named = serve->named || keel_versions_start(serve->versions, store, &err) == KEEL_OK;
    if (!serve->named || keel_versions_follow(serve->versions, store, &err) != KEEL_OK)
        keel_log(KEEL_LOG_INFO, "warning: publications could not be followed: %s", err.message);
    expect(serve, store);
}

/* ---- opening ---- */

static keel_status open_versions(keel_serve *serve, keel_err *err) {
    const keel_serve_options *options = &serve->options;
    const keel_versions_options versions = {.base = options->base,
                                            .harm_threshold = options->harm_threshold,
                                            .fallback_unfamiliar = options->fallback_unfamiliar,
                                            .monitor = serve->monitor};
    KEEL_TRY(keel_versions_open(&serve->versions, options->arms, &versions, err));
    if (options->writer) KEEL_TRY(keel_base_open(&serve->writer, options->writer, err));
    return keel_judge_fit(&serve->judge, keel_judge_kinds[0], NULL, 0, err);
}

static keel_status open_log(keel_serve *serve, keel_err *err) {
    const keel_serve_options *options = &serve->options;
    keel_buf arms = {0};
    KEEL_TRY(keel_threads_open(&serve->threads, 0, err));
    if (options->redact) KEEL_TRY(keel_redact_open(&serve->redact, options->redact, err));
    if (!options->store) return KEEL_OK;
    keel_arms_json(options->arms, &arms);
    const keel_served_log_options log = {
        .arms = arms.data, .redact = serve->redact, .look = look, .context = serve};
    keel_status status =
        arms.failed ? keel_nomem(err, "serve") : keel_served_log_open(&serve->log, options->store, &log, err);
    keel_buf_free(&arms);
    if (status == KEEL_OK) /* requests are counted from 1 again: what is tried is drawn anew */
        serve->options.seed = keel_hash64_mix(options->seed, (uint64_t)keel_served_log_start(serve->log));
    if (status != KEEL_OK || !options->n_guards) return status;
    return keel_guards_open(&serve->guards, options->store, options->guards, options->n_guards, 0, err);
}

static keel_status open_stages(keel_serve *serve, keel_err *err) {
    const keel_serve_options *options = &serve->options;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const size_t threads = options->threads ? options->threads : online > 0 ? (size_t)online : 1;
    if (options->n_upstreams)
        KEEL_TRY(keel_upstreams_open(&serve->upstreams, options->upstreams, options->n_upstreams,
                                     serve->monitor, err));
    const keel_gather_options gather = {.upstreams = serve->upstreams,
                                        .writer = serve->writer,
                                        .ask = &serve->options.ask,
                                        .gone = is_gone,
                                        .ready = is_ready,
                                        .context = serve};
    KEEL_TRY(keel_jobs_open(&serve->jobs, options->queue, err));
    KEEL_TRY(keel_gather_open(&serve->gather, &gather, err));
    KEEL_TRY(keel_crew_open(&serve->crew, threads, options->most_batch, keel__serve_work, serve, err));
    return keel_admin_open(&serve->admin, serve->versions, options->store, err);
}

/* A server that drains answers what it has: its threads stop when it is told to, not at the first signal. */
static bool is_stopped(void *user) {
    const keel_serve *serve = user;
    return serve->stopped;
}

keel_status keel_serve_open(keel_serve **out, const keel_serve_options *options, keel_err *err) {
    keel_serve *serve = keel_calloc(1, sizeof *serve);
    *out = NULL;
    if (!serve) return keel_nomem(err, "serve");
    serve->options = *options;
    serve->started = floor(keel_clock_wall());
    serve->under = *keel_context_current();
    serve->under.interrupted = is_stopped;
    serve->under.user = serve;
    const keel_context *before = keel_context_use(&serve->under);
    keel_status status = keel_monitor_open(&serve->monitor, err);
    if (status == KEEL_OK) status = keel_drift_open(&serve->drift, err);
    if (status == KEEL_OK) status = open_versions(serve, err);
    if (status == KEEL_OK) status = open_log(serve, err);
    if (status == KEEL_OK) status = open_stages(serve, err);
    if (status != KEEL_OK) keel_serve_close(serve);
    keel_context_use(before);
    if (status == KEEL_OK) *out = serve;
    return status;
}

bool keel_serve_has_writer(keel_serve *serve) {
    bool all = true;
    for (size_t i = 0; i < serve->options.arms->n; i++) {
        const keel_version *version = keel_versions_take(serve->versions, i);
        const bool chooses = version->base->space == KEEL_SPACE_CANDIDATES;
        all = all && (!chooses || keel_gather_can_write(serve->gather, version->base));
        keel_version_release(version);
    }
    return all;
}

/* ---- closing ---- */

void keel_serve_behind(keel_serve *serve, const keel_http_server *door) {
    serve->door = door;
}

void keel_serve_stop(keel_serve *serve) {
    serve->stopped = true;
    keel_admin_close(serve->admin);
    keel_gather_stop(serve->gather);
    keel_upstreams_close(serve->upstreams); /* their jobs are handed on, as are those of gather */
    keel_gather_drain(serve->gather);
    keel_crew_close(serve->crew);
    keel_gather_close(serve->gather);
    keel_guards_close(serve->guards);
    if (serve->log) keel_served_log_state_of(serve->log, &serve->log_state);
    keel_served_log_close(serve->log);
    serve->admin = NULL;
    serve->upstreams = NULL;
    serve->gather = NULL;
    serve->crew = NULL;
    serve->guards = NULL;
    serve->log = NULL;
}

void keel_serve_close(keel_serve *serve) {
    if (!serve) return;
    keel_serve_stop(serve);
    keel_jobs_close(serve->jobs);
    keel_judge_free(serve->judge);
    keel_base_close(serve->writer);
    keel_versions_close(serve->versions);
    keel_threads_close(serve->threads);
    keel_redact_close(serve->redact);
    keel_drift_close(serve->drift);
    keel_monitor_close(serve->monitor);
    keel_free(serve);
}

keel_serve_tally keel_serve_counted(const keel_serve *serve) {
    const keel_monitor *monitor = serve->monitor;
    keel_serve_tally tally = {.gone = keel_monitor_value(monitor, KEEL_MONITOR_GONE, NULL),
                              .logged = (double)(serve->log_state.accepted - serve->log_state.lost),
                              .lost = (double)serve->log_state.lost};
    for (size_t i = 0; i < serve->options.arms->n; i++) {
        const char *arm = serve->options.arms->of[i].name;
        tally.answered += keel_monitor_value(monitor, KEEL_MONITOR_DECISIONS, arm);
        tally.fallbacks += keel_monitor_value(monitor, KEEL_MONITOR_FALLBACKS, arm);
    }
    return tally;
}
