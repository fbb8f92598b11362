/* The queue of what is served, and the thread that writes it. An entry stays in the queue until it is written
 * or given up. */
#include "experiments/serve/served_log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/secret.h"
#include "experiments/serve/served_count.h"
#include "experiments/serve/served_write.h"

enum {
    QUEUE = 8192,
    QUEUE_BYTES = 64 << 20,
    PAUSE_MS = 250,
    CLOSING_MS = 50,
    GIVE_UP_MS = 3000,
    LOOK_MS = 1000
};

struct keel_served_log {
    keel_served_log_options options;
    keel_context context; /* of the thread; never interrupted: what was accepted is written first */
    keel_store *store;    /* of the log's thread */
    keel_served_count count;
    char salt[65];
    int64_t start;
    pthread_t thread;
    keel_store *asked; /* the same store, to be read from any thread under its own lock */
    pthread_mutex_t asking;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* under the lock: */
    keel_served_entry *ring; /* [options.queue] */
    size_t first, n, bytes;
    bool closing;
    int64_t dropped; /* since the queue was full; not in the store yet */
    keel_served_log_state state;
};

/* ---- the thread ---- */

/* After a failure: entries that come meanwhile do not make it try again sooner. Under the lock. */
static void pause_for(keel_served_log *log, double seconds) {
    const double until = keel_clock() + seconds;
    const bool closing = log->closing;
    while (log->closing == closing && keel_clock_wait(&log->more, &log->lock, until)) {}
}

/* The first entries as they stand in the queue, which nobody else touches. */
static size_t take(keel_served_log *log, keel_served_entry **out) {
    size_t n = log->options.queue - log->first;
    if (n > log->n) n = log->n;
    *out = log->ring + log->first;
    return n < KEEL_SERVED_BATCH ? n : KEEL_SERVED_BATCH;
}

static void leave(keel_served_log *log, const keel_served_written *done) {
    for (size_t i = 0; i < done->entries; i++) {
        keel_served_entry *entry = &log->ring[log->first];
        log->bytes -= entry->bytes;
        keel_arena_free(&entry->arena);
        log->first = (log->first + 1) % log->options.queue;
        log->n--;
    }
    log->state.requests += done->requests;
    log->state.feedback += done->feedback;
    log->state.lost += done->lost;
    log->dropped -= done->dropped;
    log->state.failing = done->failed;
}

/* Writes a batch; false: the store cannot be written now. Under the lock, which is given up meanwhile. */
static bool write_some(keel_served_log *log) {
    keel_served_entry *entries;
    keel_served_written done = {0};
    const size_t n = take(log, &entries);
    const int64_t dropped = log->dropped;
    pthread_mutex_unlock(&log->lock);
    keel_served_write(log->store, log->start, keel_clock_wall(), entries, n, dropped, &done);
    pthread_mutex_lock(&log->lock);
    if (done.failed && !log->state.failing)
        keel_log(KEEL_LOG_INFO, "warning: what is served cannot be logged: %s: %s; serving goes on",
                 done.why.where, done.why.message);
    leave(log, &done);
    return !done.failed;
}

static void look(keel_served_log *log, double *next) {
    if (keel_clock() < *next || log->closing) return;
    pthread_mutex_unlock(&log->lock);
    if (log->options.look) log->options.look(log->options.context, log->store);
    pthread_mutex_lock(&log->lock);
    *next = keel_clock() + LOOK_MS / 1e3;
}

static void *run(void *argument) {
    keel_served_log *log = argument;
    double next_look = 0, failing_since = 0;
    keel_context_use(&log->context);
    pthread_mutex_lock(&log->lock);
    for (;;) {
        const bool due = log->n > 0 || log->dropped > 0;
        if (!due && log->closing) break;
        if (due && !write_some(log)) {
            if (failing_since == 0) failing_since = keel_clock();
            if (log->closing && keel_clock() - failing_since > GIVE_UP_MS / 1e3) break;
            pause_for(log, (log->closing ? CLOSING_MS : PAUSE_MS) / 1e3);
        } else {
            failing_since = 0;
        }
        look(log, &next_look);
        if (!log->n && !log->dropped && !log->closing) keel_clock_wait(&log->more, &log->lock, next_look);
    }
    pthread_mutex_unlock(&log->lock);
    keel_context_use(NULL);
    return NULL;
}

/* ---- opening ---- */

static keel_status read_salt(keel_served_log *log, keel_err *err) {
    static const char key[] = "served_salt";
    keel_arena arena = {0};
    const char *salt = NULL;
    unsigned char bytes[32];
    keel_status status = keel_store_get_setting(log->store, key, &arena, &salt, err);
    if (status == KEEL_OK && salt) snprintf(log->salt, sizeof log->salt, "%s", salt);
    keel_arena_free(&arena);
    if (status != KEEL_OK || salt) return status;
    KEEL_TRY(keel_secret(bytes, sizeof bytes, err));
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(log->salt + 2 * i, 3, "%02x", bytes[i]);
    return keel_store_put_setting(log->store, key, log->salt, err);
}

/* What a killed server accepted and did not write is recorded as lost. The count may be of another store that
 * stood here, or of a start that was settled; and a server that was killed before it had a count accepted
 * nothing. */
static keel_status settle(keel_served_log *log, const keel_served_page *before, keel_err *err) {
    int64_t entries = 0;
    bool ended = false;
    const int64_t accepted = before->accepted;
    if (before->start) KEEL_TRY(keel_store_end_start(log->store, before->start, accepted, &ended, err));
    if (ended) KEEL_TRY(keel_store_count_start(log->store, before->start, &entries, err));
    log->state.lost_before = ended && accepted > entries ? accepted - entries : 0;
    if (log->state.lost_before)
        KEEL_TRY(keel_store_add_lost(log->store, before->start, keel_clock_wall(), log->state.lost_before,
                                     "the server ended before they were written", err));
    return keel_store_end_starts(log->store, err);
}

static keel_status begin(keel_served_log *log, const keel_served_page *before, keel_err *err) {
    const char *arms = log->options.arms ? log->options.arms : "{\"default\": 1}";
    KEEL_TRY(keel_store_begin(log->store, err));
    keel_status status = settle(log, before, err);
    if (status == KEEL_OK) status = read_salt(log, err);
    if (status == KEEL_OK)
        status = keel_store_add_start(log->store, keel_clock_wall(), arms, &log->start, err);
    if (status == KEEL_OK) status = keel_store_commit(log->store, err);
    if (status != KEEL_OK) {
        keel_store_rollback(log->store);
        return status;
    }
    keel_served_count_begin(&log->count, log->start);
    if (log->state.lost_before)
        keel_log(KEEL_LOG_INFO, "note: the last server was killed: %lld entries that it accepted were lost",
                 (long long)log->state.lost_before);
    return KEEL_OK;
}

static void close_all(keel_served_log *log, bool settled) {
    keel_store_close(log->asked);
    keel_store_close(log->store);
    keel_served_count_close(&log->count, settled);
    for (size_t i = 0; i < log->n; i++)
        keel_arena_free(&log->ring[(log->first + i) % log->options.queue].arena);
    pthread_cond_destroy(&log->more);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->asking);
    keel_free(log->ring);
    keel_free(log);
}

keel_status keel_served_log_open(keel_served_log **out, const char *store,
                                 const keel_served_log_options *options, keel_err *err) {
    keel_served_page before;
    keel_served_log *log = keel_calloc(1, sizeof *log);
    keel_status status;
    if (!log) return keel_nomem(err, store);
    if (options) log->options = *options;
    if (!log->options.queue) log->options.queue = QUEUE;
    if (!log->options.queue_bytes) log->options.queue_bytes = QUEUE_BYTES;
    log->context = *keel_context_current();
    log->context.interrupted = NULL;
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->asking, NULL);
    keel_clock_condition(&log->more);
    log->ring = keel_calloc(log->options.queue, sizeof *log->ring);
    status = log->ring ? keel_store_check_path(store, err) : keel_nomem(err, store);
    if (status == KEEL_OK) status = keel_served_count_open(&log->count, store, &before, err);
    if (status == KEEL_OK) status = keel_store_open(&log->store, store, KEEL_STORE_CREATE, err);
    if (status == KEEL_OK) status = begin(log, &before, err);
    if (status == KEEL_OK) status = keel_store_open(&log->asked, store, KEEL_STORE_READ, err);
    if (status == KEEL_OK && pthread_create(&log->thread, NULL, run, log) != 0)
        status = keel_fail(err, KEEL_E_NOMEM, store, "the log's thread cannot be started");
    if (status == KEEL_OK)
        *out = log;
    else
        close_all(log, false);
    return status;
}

void keel_served_log_close(keel_served_log *log) {
    keel_err err = {0};
    if (!log) return;
    pthread_mutex_lock(&log->lock);
    log->closing = true;
    pthread_cond_signal(&log->more);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    const int64_t left = (int64_t)log->n + log->dropped;
    bool settled = left == 0, ended;
    if (settled)
        settled =
            keel_store_end_start(log->store, log->start, log->count.page->accepted, &ended, &err) == KEEL_OK;
    else
        keel_log(KEEL_LOG_INFO,
                 "warning: %lld entries that were served could not be logged; the next start records it",
                 (long long)left);
    close_all(log, settled);
}

/* ---- putting ---- */

int64_t keel_served_log_start(const keel_served_log *log) {
    return log->start;
}

/* The hash by which a user is kept: 32 hex digits and a 0. */
static void hash_user(const keel_served_log *log, const char *user, char hash[33]) {
    char hex[65];
    keel_sha256 sum;
    keel_sha256_init(&sum);
    keel_sha256_add_text(&sum, log->salt);
    keel_sha256_add_text(&sum, user);
    keel_sha256_hex(&sum, hex);
    snprintf(hash, 33, "%.32s", hex);
}

/* A name that a rule finds something in becomes its hash: what is left would be the name of several. */
static bool clean_name(const keel_served_log *log, const char **name, const char *begins, keel_arena *arena) {
    bool failed = false;
    char hash[33];
    const char *clean = keel_redact_text(log->options.redact, *name, arena, &failed);
    if (failed || clean == *name) return !failed;
    char *own = keel_arena_alloc(arena, strlen(begins) + sizeof hash);
    if (!own) return false;
    hash_user(log, *name, hash);
    snprintf(own, strlen(begins) + sizeof hash, "%s%s", begins, hash);
    *name = own;
    return true;
}

static bool clean(const keel_served_log *log, keel_served *served, keel_arena *arena) {
    keel_conversation *c = served->conversation;
    bool failed = false;
    if (served->user) {
        char hash[33];
        hash_user(log, served->user, hash);
        served->user = keel_arena_strdup(arena, hash);
        if (!served->user) return false;
    }
    served->segment = keel_redact_text(log->options.redact, served->segment, arena, &failed);
    return !failed && clean_name(log, &c->external_id, "talk-", arena) &&
           keel_redact_conversation(log->options.redact, c, arena, NULL) == KEEL_OK;
}

/* Counts the entry and, if it may, queues it; the arena is the log's from here on. */
static bool queue(keel_served_log *log, keel_served_entry entry, bool whole) {
    entry.bytes = entry.arena.used + sizeof entry;
    entry.queued = keel_clock();
    pthread_mutex_lock(&log->lock);
    log->count.page->accepted++;
    const bool fits = whole && !log->closing && log->n < log->options.queue &&
                      log->bytes + entry.bytes <= log->options.queue_bytes;
    if (fits) {
        log->ring[(log->first + log->n++) % log->options.queue] = entry;
        log->bytes += entry.bytes;
    } else {
        log->dropped++;
        log->state.lost++, log->state.dropped++;
    }
    pthread_cond_signal(&log->more);
    pthread_mutex_unlock(&log->lock);
    if (!fits) keel_arena_free(&entry.arena);
    return fits;
}

bool keel_served_log_put(keel_served_log *log, keel_served *served, keel_arena *arena) {
    keel_served_entry entry = {.arena = *arena, .served = served};
    *arena = (keel_arena){0};
    if (!served) return queue(log, entry, false);
    served->start = log->start;
    const bool whole = clean(log, served, &entry.arena);
    entry.name = served->conversation->external_id;
    return queue(log, entry, whole);
}

bool keel_served_log_feedback(keel_served_log *log, const keel_feedback *feedback) {
    keel_served_entry entry = {.feedback = *feedback};
    bool failed = false;
    const char *source = feedback->source ? feedback->source : "";
    entry.feedback.start = log->start;
    entry.feedback.request = keel_arena_strdup(&entry.arena, feedback->request);
    source = keel_arena_strdup(&entry.arena, source);
    if (source) source = keel_redact_text(log->options.redact, source, &entry.arena, &failed);
    entry.feedback.source = source;
    return queue(log, entry, entry.feedback.request && source && !failed);
}

static bool is_queued(keel_served_log *log, const char *request) {
    bool found = false;
    pthread_mutex_lock(&log->lock);
    for (size_t i = log->n; i-- > 0 && !found;) { /* the newest first: it is asked for soon */
        const keel_served *served = log->ring[(log->first + i) % log->options.queue].served;
        found = served && strcmp(served->request, request) == 0;
    }
    pthread_mutex_unlock(&log->lock);
    return found;
}

/* What leaves the queue is in the store by then. */
bool keel_served_log_knows(keel_served_log *log, const char *request) {
    if (is_queued(log, request)) return true;
    pthread_mutex_lock(&log->asking);
    const keel_status status = keel_store_find_served(log->asked, request, NULL);
    pthread_mutex_unlock(&log->asking);
    return status != KEEL_E_NOT_FOUND;
}

void keel_served_log_state_of(keel_served_log *log, keel_served_log_state *out) {
    pthread_mutex_lock(&log->lock);
    *out = log->state;
    out->accepted = log->count.page->accepted;
    out->queued = log->n;
    out->lag = log->n ? keel_clock() - log->ring[log->first].queued : 0;
    pthread_mutex_unlock(&log->lock);
}

void keel_served_log_measure(keel_served_log *log, keel_monitor *monitor) {
    keel_served_log_state s;
    if (!log) return;
    keel_served_log_state_of(log, &s);
    keel_monitor_set(monitor, KEEL_MONITOR_LOG_QUEUE, NULL, (double)s.queued);
    keel_monitor_set(monitor, KEEL_MONITOR_STORE_LAG, NULL, s.lag);
    keel_monitor_set(monitor, KEEL_MONITOR_LOG_WRITTEN, NULL, (double)(s.requests + s.feedback));
    keel_monitor_set(monitor, KEEL_MONITOR_LOG_LOST, "queue full", (double)s.dropped);
    keel_monitor_set(monitor, KEEL_MONITOR_LOG_LOST, "refused", (double)(s.lost - s.dropped));
    keel_monitor_set(monitor, KEEL_MONITOR_LOG_LOST, "killed", (double)s.lost_before);
}
