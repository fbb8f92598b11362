#include "core/parallel.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "core/context.h"
#include "core/gemm.h"

typedef struct worker {
    keel_pool *pool;
    size_t thread;
    pthread_t handle;
} worker;

struct keel_pool {
    pthread_mutex_t lock;
    pthread_cond_t start; /* a round began, or the pool closes */
    pthread_cond_t done;  /* the last busy worker finished its round */
    size_t threads;       /* the calling thread included */
    worker *workers;      /* [threads - 1] */
    uint64_t round;
    size_t busy; /* workers that have not finished this round */
    bool closing;
    /* the round's work, all under the lock */
    keel_shard_work *work;
    void *context;
    const keel_context *caller; /* under which the work is done */
    size_t shards;
    size_t *cursor; /* [threads] of each thread's own shards, the next that nobody has taken */
    size_t failed;  /* lowest failing shard; == shards: none */
    keel_status status;
    keel_err err;
};

/* A thread's own shards are the same in every round of as many, so that what they work on stays in the cache
 * of its processor: first .. first of the next thread - 1. */
static size_t first_own(const keel_pool *pool, size_t thread) {
    return pool->shards * thread / pool->threads;
}

/* The next of the thread's own shards, or of another's that is behind; pool->shards: none left. Those above a
 * failed one are left out, which still leaves the lowest failure of all to be found. */
static size_t take_shard(keel_pool *pool, size_t thread) {
    pthread_mutex_lock(&pool->lock);
    size_t shard = pool->shards;
    for (size_t i = 0; i < pool->threads && shard == pool->shards; ++i) {
        size_t owner = (thread + i) % pool->threads, next = pool->cursor[owner];
        if (next >= first_own(pool, owner + 1) || next >= pool->failed) continue;
        shard = next;
        pool->cursor[owner]++;
    }
    pthread_mutex_unlock(&pool->lock);
    return shard;
}

static void note_failure(keel_pool *pool, size_t shard, keel_status status, const keel_err *err) {
    pthread_mutex_lock(&pool->lock);
    if (shard < pool->failed) {
        pool->failed = shard;
        pool->status = status;
        pool->err = *err;
    }
    pthread_mutex_unlock(&pool->lock);
}

static void work_through(keel_pool *pool, size_t thread) {
    keel_err err = {0};
    for (size_t shard; (shard = take_shard(pool, thread)) < pool->shards;) {
        err = (keel_err){0};
        keel_status status = pool->work(pool->context, shard, thread, &err);
        if (status != KEEL_OK) note_failure(pool, shard, status, &err);
    }
}

static void *worker_main(void *argument) {
    worker *self = argument;
    keel_pool *pool = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == seen && !pool->closing) pthread_cond_wait(&pool->start, &pool->lock);
        if (pool->closing) break;
        seen = pool->round;
        keel_context_use(pool->caller);
        pthread_mutex_unlock(&pool->lock);
        work_through(pool, self->thread);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

keel_status keel_pool_open(keel_pool **out, size_t threads, keel_err *err) {
    if (!threads) threads = keel_context_current()->threads;
    if (!threads) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        threads = online > 0 ? (size_t)online : 1;
    }
    keel_gemm_alone();
    keel_pool *pool = keel_calloc(1, sizeof *pool);
    worker *workers = keel_calloc(threads, sizeof *workers);
    size_t *cursor = keel_calloc(threads, sizeof *cursor);
    if (!pool || !workers || !cursor) {
        keel_free(cursor);
        keel_free(workers);
        keel_free(pool);
        return keel_fail(err, KEEL_E_NOMEM, "keel_pool_open", "no memory for a pool of %zu threads", threads);
    }
    *pool = (keel_pool){.threads = 1, .workers = workers, .cursor = cursor};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (; pool->threads < threads; pool->threads++) {
        worker *next = &workers[pool->threads - 1];
        *next = (worker){.pool = pool, .thread = pool->threads};
        if (pthread_create(&next->handle, NULL, worker_main, next) != 0) {
            size_t started = pool->threads;
            keel_pool_close(pool);
            return keel_fail(err, KEEL_E_NOMEM, "keel_pool_open", "only %zu of %zu threads could be started",
                             started, threads);
        }
    }
    *out = pool;
    return KEEL_OK;
}

void keel_pool_close(keel_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i + 1 < pool->threads; ++i) pthread_join(pool->workers[i].handle, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->start);
    pthread_mutex_destroy(&pool->lock);
    keel_free(pool->cursor);
    keel_free(pool->workers);
    keel_free(pool);
}

size_t keel_pool_threads(const keel_pool *pool) {
    return pool->threads;
}

keel_status keel_pool_run(keel_pool *pool, size_t shards, keel_shard_work *work, void *context,
                          keel_err *err) {
    bool alone = pool->threads == 1 || shards <= 1; /* then nobody need be woken */
    pthread_mutex_lock(&pool->lock);
    pool->work = work, pool->context = context, pool->caller = keel_context_current();
    pool->shards = pool->failed = shards;
    for (size_t t = 0; t < pool->threads; ++t) pool->cursor[t] = first_own(pool, t);
    pool->status = KEEL_OK;
    if (!alone) {
        pool->round++;
        pool->busy = pool->threads - 1;
        pthread_cond_broadcast(&pool->start);
    }
    pthread_mutex_unlock(&pool->lock);
    work_through(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (!alone && pool->busy) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    if (pool->status != KEEL_OK && err) *err = pool->err;
    return pool->status;
}
