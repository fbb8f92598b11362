#include "datasets/prefetch.h"

#include <pthread.h>
#include <string.h>

#include "core/context.h"
#include "datasets/reader_internal.h"

enum { N_BATCHES = 4, BATCH_BYTES = 1 << 18, HUGE_BYTES = 1 << 24 };

typedef struct item {
    struct item *next;
    keel_read read;
} item;

typedef struct batch {
    keel_arena arena;
    item *first, *last;
    bool ends; /* nothing comes after it: status says how reading ended */
    keel_status status;
    keel_err err;
} batch;

typedef struct prefetch {
    keel_reader *inner; /* of the thread, until it is done */
    const keel_context *caller;
    batch batches[N_BATCHES];
    pthread_t thread;
    bool started; /* the thread */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* of the one who reads: */
    batch *current;
    item *at;
    /* under the lock: */
    size_t filled, taken; /* batches so far; the thread fills batches[filled % N_BATCHES] */
    bool hashed, done;
    bool stopped; /* nothing more is wanted */
    keel_status hash_status;
    keel_err hash_err;
    char hash[65];
} prefetch;

/* ---- the thread ---- */

/* Hands the filled batch over and waits until another is free. Where conversations are huge it waits until
 * none is in memory. False: nothing more is wanted. */
static bool hand_over(prefetch *p, batch *given) {
    const bool huge = given->arena.used > HUGE_BYTES;
    pthread_mutex_lock(&p->lock);
    p->filled++;
    pthread_cond_broadcast(&p->changed);
    const size_t most = huge ? 0 : N_BATCHES - 1;
    while (!p->stopped && p->filled - p->taken > most) pthread_cond_wait(&p->changed, &p->lock);
    const bool wanted = !p->stopped;
    pthread_mutex_unlock(&p->lock);
    if (huge && wanted) keel_arena_free(&given->arena);
    return wanted;
}

static batch *free_batch(prefetch *p) {
    batch *next = &p->batches[p->filled % N_BATCHES];
    keel_arena_reset(&next->arena);
    *next = (batch){.arena = next->arena};
    return next;
}

static keel_status read_item(prefetch *p, batch *into, bool *end, keel_err *err) {
    keel_read read;
    KEEL_TRY(keel_reader_next(p->inner, &into->arena, &read, err));
    *end = !read.conversation;
    if (*end) return KEEL_OK;
    item *one = keel_arena_calloc(&into->arena, 1, sizeof *one);
    if (!one) return keel_nomem(err, read.where);
    one->read = read;
    if (into->last)
        into->last->next = one;
    else
        into->first = one;
    into->last = one;
    return KEEL_OK;
}

static void compute_hash(prefetch *p) {
    char hash[65] = "";
    keel_err err = {0};
    keel_status status = keel_source_hash(p->inner->source, hash, &err);
    pthread_mutex_lock(&p->lock);
    memcpy(p->hash, hash, sizeof hash);
    p->hash_status = status;
    p->hash_err = err;
    p->hashed = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void *read_ahead(void *argument) {
    prefetch *p = argument;
    bool end = false, wanted = true;
    keel_context_use(p->caller);
    compute_hash(p);
    while (!end && wanted) {
        batch *into = free_batch(p);
        while (!end && into->status == KEEL_OK && into->arena.used < BATCH_BYTES)
            into->status = read_item(p, into, &end, &into->err);
        end = end || into->status != KEEL_OK;
        into->ends = end;
        wanted = hand_over(p, into);
    }
    pthread_mutex_lock(&p->lock);
    p->done = true;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- the reader ---- */

static batch *take_batch(prefetch *p) {
    pthread_mutex_lock(&p->lock);
    while (p->taken == p->filled) pthread_cond_wait(&p->changed, &p->lock);
    batch *taken = &p->batches[p->taken % N_BATCHES];
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static void give_back(prefetch *p) {
    pthread_mutex_lock(&p->lock);
    p->taken++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    prefetch *p = reader->state;
    (void)arena;
    while (!p->at) {
        if (p->current && p->current->ends) {
            memcpy(reader->counts, p->inner->counts, sizeof reader->counts);
            if (p->current->status != KEEL_OK && err) *err = p->current->err;
            return p->current->status;
        }
        if (p->current) give_back(p);
        p->current = take_batch(p);
        p->at = p->current->first;
    }
    *out = p->at->read;
    p->at = p->at->next;
    return KEEL_OK;
}

static void close_prefetch(keel_reader *reader) {
    prefetch *p = reader->state;
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->started) pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    for (int i = 0; i < N_BATCHES; i++) keel_arena_free(&p->batches[i].arena);
    keel_reader_close(p->inner);
}

static const keel_reader_kind prefetch_kind = {
    .state_size = sizeof(prefetch), .next = next, .close = close_prefetch};

keel_status keel_prefetch_open(keel_reader **out, keel_reader *reader, keel_err *err) {
    keel_reader *made;
    keel_status status = keel__reader_make(&made, &prefetch_kind, reader->format, reader->source, err);
    if (status != KEEL_OK) {
        reader->source = NULL;
        keel_reader_close(reader);
        return status;
    }
    made->source = NULL; /* it stays the inner reader's */
    prefetch *p = made->state;
    p->inner = reader;
    p->caller = keel_context_current();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    made->opened = true; /* so that close frees all this */
    p->started = pthread_create(&p->thread, NULL, read_ahead, p) == 0;
    if (!p->started) {
        keel_reader_close(made);
        return keel_fail(err, KEEL_E_NOMEM, "import", "cannot start a thread that reads ahead");
    }
    *out = made;
    return KEEL_OK;
}

keel_status keel_prefetch_hash(keel_reader *reader, char hex[65], keel_err *err) {
    prefetch *p = reader->state;
    pthread_mutex_lock(&p->lock);
    while (!p->hashed) pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (p->hash_status != KEEL_OK && err) *err = p->hash_err;
    if (p->hash_status == KEEL_OK) memcpy(hex, p->hash, sizeof p->hash);
    return p->hash_status;
}

bool keel_prefetch_done(keel_reader *reader) {
    prefetch *p = reader->state;
    pthread_mutex_lock(&p->lock);
    const bool done = p->done;
    pthread_mutex_unlock(&p->lock);
    return done;
}
