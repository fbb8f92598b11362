#include "experiments/serve/crew.h"

#include <pthread.h>

#include "core/context.h"

struct keel_crew {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    keel_job *first, *last;
    size_t waiting, most, threads;
    bool closing;
    pthread_t *thread; /* [threads] */
    keel_crew_work *work;
    void *context;
    const keel_context *caller;
};

/* All that waits, up to `most`. */
static size_t take(keel_crew *crew, keel_job **batch) {
    size_t n = 0;
    for (; crew->first && n < crew->most; n++) {
        batch[n] = crew->first;
        crew->first = crew->first->next;
        batch[n]->next = NULL;
    }
    if (!crew->first) crew->last = NULL;
    crew->waiting -= n;
    return n;
}

static void *work(void *argument) {
    keel_crew *crew = argument;
    keel_arena scratch = {0};
    keel_context_use(crew->caller);
    keel_job **batch = keel_calloc(crew->most, sizeof *batch);
    pthread_mutex_lock(&crew->lock);
    while (batch) {
        while (!crew->first && !crew->closing) pthread_cond_wait(&crew->wake, &crew->lock);
        const size_t n = take(crew, batch);
        if (n == 0) break;
        pthread_mutex_unlock(&crew->lock);
        keel_arena_reset(&scratch);
        crew->work(crew->context, batch, n, &scratch);
        pthread_mutex_lock(&crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    keel_free(batch);
    keel_arena_free(&scratch);
    return NULL;
}

keel_status keel_crew_open(keel_crew **out, size_t threads, size_t most, keel_crew_work *worker,
                           void *context, keel_err *err) {
    keel_crew *crew = keel_calloc(1, sizeof *crew);
    *out = NULL;
    if (crew) crew->thread = keel_calloc(threads, sizeof *crew->thread);
    if (!crew || !crew->thread) {
        keel_free(crew);
        return keel_nomem(err, "serve");
    }
    crew->most = most, crew->work = worker, crew->context = context;
    crew->caller = keel_context_current();
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->wake, NULL);
    for (; crew->threads < threads; crew->threads++)
        if (pthread_create(&crew->thread[crew->threads], NULL, work, crew) != 0) {
            const size_t made = crew->threads;
            keel_crew_close(crew);
            return keel_fail(err, KEEL_E_NOMEM, "serve", "only %zu of %zu threads could be started", made,
                             threads);
        }
    *out = crew;
    return KEEL_OK;
}

void keel_crew_put(keel_crew *crew, keel_job *job) {
    pthread_mutex_lock(&crew->lock);
    job->next = NULL;
    if (crew->last)
        crew->last->next = job;
    else
        crew->first = job;
    crew->last = job;
    crew->waiting++;
    pthread_cond_signal(&crew->wake);
    pthread_mutex_unlock(&crew->lock);
}

size_t keel_crew_waiting(keel_crew *crew) {
    pthread_mutex_lock(&crew->lock);
    const size_t waiting = crew->waiting;
    pthread_mutex_unlock(&crew->lock);
    return waiting;
}

void keel_crew_close(keel_crew *crew) {
    if (!crew) return;
    pthread_mutex_lock(&crew->lock);
    crew->closing = true;
    pthread_cond_broadcast(&crew->wake);
    pthread_mutex_unlock(&crew->lock);
    for (size_t i = 0; i < crew->threads; i++) pthread_join(crew->thread[i], NULL);
    pthread_cond_destroy(&crew->wake);
    pthread_mutex_destroy(&crew->lock);
    keel_free(crew->thread);
    keel_free(crew);
}
