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
    bool ends; /* the last one of its reader: status says how reading ended */
    keel_status status;
    keel_err err;
} batch;

/* A reader that is read ahead. */
typedef struct slot {
    keel_reader *reader; /* of the thread, until it has finished with it */
    bool hashed;
    keel_status hash_status;
    keel_err hash_err;
    char hash[65];
} slot;

/* Readers are counted from 0; number n has slots[n % 2], as at most the current one and the next are there.
 */
typedef struct prefetch {
    slot slots[2];
    const keel_context *caller;
    batch batches[N_BATCHES];
    pthread_t thread;
    bool started; /* the thread */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* of the one who reads: */
    batch *batch;
    item *at;
    size_t current;
    /* under the lock: */
    size_t filled, taken; /* batches so far; the thread fills batches[filled % N_BATCHES] */
    size_t given, finished,
        skipped;  /* readers: to the thread, by the thread; no more is wanted of those below */
    bool stopped; /* nothing more is wanted at all */
} prefetch;

/* ---- the thread ---- */

/* Hands the filled batch over and waits until another is free. Where conversations are huge it waits until
 * none is in memory. False: no more is wanted of reader n. */
static bool hand_over(prefetch *p, batch *given, size_t n) {
    const bool huge = given->arena.used > HUGE_BYTES;
    pthread_mutex_lock(&p->lock);
    p->filled++;
    pthread_cond_broadcast(&p->changed);
    const size_t most = huge ? 0 : N_BATCHES - 1;
    while (!p->stopped && p->filled - p->taken > most) pthread_cond_wait(&p->changed, &p->lock);
    const bool wanted = !p->stopped && p->skipped <= n, freed = huge && !p->stopped;
    pthread_mutex_unlock(&p->lock);
    if (freed) keel_arena_free(&given->arena);
    return wanted;
}

static batch *free_batch(prefetch *p) {
    batch *next = &p->batches[p->filled % N_BATCHES];
    keel_arena_reset(&next->arena);
    *next = (batch){.arena = next->arena};
    return next;
}

static keel_status read_item(keel_reader *from, batch *into, bool *end, keel_err *err) {
    keel_read read;
    KEEL_TRY(keel_reader_next(from, &into->arena, &read, err));
    *end = !read.conversation && !read.bad;
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

static void compute_hash(prefetch *p, slot *of) {
    of->hash_status = keel_source_hash(of->reader->source, of->hash, &of->hash_err);
    pthread_mutex_lock(&p->lock);
    of->hashed = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void read_one(prefetch *p, size_t n) {
    slot *from = &p->slots[n % 2];
    bool wanted = true;
    compute_hash(p, from);
    for (bool end = false; !end;) {
        batch *into = free_batch(p);
        end = !wanted;
        while (!end && into->status == KEEL_OK && into->arena.used < BATCH_BYTES)
            into->status = read_item(from->reader, into, &end, &into->err);
        end = end || into->status != KEEL_OK;
        into->ends = end;
        wanted = hand_over(p, into, n);
    }
}

static void *read_ahead(void *argument) {
    prefetch *p = argument;
    keel_context_use(p->caller);
    pthread_mutex_lock(&p->lock);
    for (size_t n = 0;; p->finished = ++n) {
        while (!p->stopped && p->given == n) pthread_cond_wait(&p->changed, &p->lock);
        if (p->stopped) break;
        pthread_mutex_unlock(&p->lock);
        read_one(p, n);
        pthread_mutex_lock(&p->lock);
    }
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

static void next_batch(prefetch *p) {
    if (p->batch) give_back(p);
    p->batch = take_batch(p);
    p->at = p->batch->first;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    prefetch *p = reader->state;
    (void)arena;
    while (!p->at) {
        if (p->batch && p->batch->ends) {
            memcpy(reader->counts, keel_prefetch_current(reader)->counts, sizeof reader->counts);
            if (p->batch->status != KEEL_OK && err) *err = p->batch->err;
            return p->batch->status;
        }
        next_batch(p);
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
    for (size_t n = p->current; n < p->given; n++) keel_reader_close(p->slots[n % 2].reader);
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
    p->caller = keel_context_current();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    made->opened = true; /* so that close frees all this */
    keel_prefetch_follow(made, reader);
    p->started = pthread_create(&p->thread, NULL, read_ahead, p) == 0;
    if (!p->started) {
        keel_reader_close(made);
        return keel_fail(err, KEEL_E_NOMEM, "import", "cannot start a thread that reads ahead");
    }
    *out = made;
    return KEEL_OK;
}

void keel_prefetch_follow(keel_reader *prefetching, keel_reader *reader) {
    prefetch *p = prefetching->state;
    pthread_mutex_lock(&p->lock);
    p->slots[p->given++ % 2] = (slot){.reader = reader};
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void keel_prefetch_advance(keel_reader *prefetching) {
    prefetch *p = prefetching->state;
    pthread_mutex_lock(&p->lock);
    p->skipped = p->current + 1;
    pthread_mutex_unlock(&p->lock);
    while (!p->batch || !p->batch->ends) next_batch(p);
    give_back(p);
    p->batch = NULL;
    p->at = NULL;
    keel_reader_close(p->slots[p->current++ % 2].reader);
    memset(prefetching->counts, 0, sizeof prefetching->counts);
}

const keel_reader *keel_prefetch_current(const keel_reader *prefetching) {
    const prefetch *p = prefetching->state;
    return p->slots[p->current % 2].reader;
}

keel_status keel_prefetch_hash(keel_reader *prefetching, char hex[65], keel_err *err) {
    prefetch *p = prefetching->state;
    const slot *of = &p->slots[p->current % 2];
    pthread_mutex_lock(&p->lock);
    while (!of->hashed) pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (of->hash_status != KEEL_OK && err) *err = of->hash_err;
    if (of->hash_status == KEEL_OK) memcpy(hex, of->hash, sizeof of->hash);
    return of->hash_status;
}

bool keel_prefetch_done(keel_reader *prefetching) {
    prefetch *p = prefetching->state;
    pthread_mutex_lock(&p->lock);
    const bool done = p->finished > p->current;
    pthread_mutex_unlock(&p->lock);
    return done;
}
