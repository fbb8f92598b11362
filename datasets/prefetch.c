/* Reading ahead: a thread reads and checks the conversations of one file after the other, in batches, while
 * the one that holds the store adds them, in their order. What is found wrong is told as if one thread did
 * both. */
#include <pthread.h>
#include <string.h>

#include "core/context.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "datasets/import_internal.h"
#include "datasets/store_internal.h"

enum { N_BATCHES = 4, BATCH_BYTES = 1 << 18, HUGE_BYTES = 1 << 24 };

typedef struct item {
    struct item *next;
    keel_conversation conversation;
    const char *where;
    bool merge;
} item;

/* A file's first batch tells its hash and holds nothing; its last tells how reading it ended. */
typedef struct batch {
    keel_arena arena;
    item *first, *last;
    keel_import_report report; /* what was counted while reading */
    char hash[65];
    bool ends;
    keel_status status;
    keel_err err;
} batch;

struct keel__prefetch {
    const keel__files *files;
    keel__import import; /* the reader's */
    const keel_context *caller;
    batch batches[N_BATCHES];
    pthread_t reader;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock: */
    size_t filled, added; /* batches so far; the one being filled is batches[filled % N_BATCHES] */
    size_t file, skipped; /* counted from 1: the file being read, and one of which no more is wanted */
    bool stopped;         /* nothing more is wanted */
};

/* ---- the reader ---- */

/* What is read next goes into the batch that is free now. */
static void use_batch(keel__prefetch *ahead) {
    batch *next = &ahead->batches[ahead->filled % N_BATCHES];
    keel_arena_reset(&next->arena);
    *next = (batch){.arena = next->arena};
    ahead->import.arena = &next->arena;
    ahead->import.report = &next->report;
}

/* Gives the batch away and waits for a free one; where conversations are huge, for all, so that not many of
 * them are in memory. The first batch of a file is waited for if that is all there is to do: a file that is
 * known already need not be read. */
static keel_status hand_over(keel__prefetch *ahead, bool first, keel_err *err) {
    keel_arena *given = ahead->import.arena;
    const bool huge = given->used > HUGE_BYTES;
    pthread_mutex_lock(&ahead->lock);
    ahead->filled++;
    pthread_cond_broadcast(&ahead->changed);
    const size_t most = huge || (first && ahead->filled - ahead->added == 1) ? 0 : N_BATCHES - 1;
    while (!ahead->stopped && ahead->filled - ahead->added > most)
        pthread_cond_wait(&ahead->changed, &ahead->lock);
    const bool stopped = ahead->stopped, wanted = !stopped && ahead->skipped != ahead->file;
    pthread_mutex_unlock(&ahead->lock);
    if (huge && !stopped) keel_arena_free(given);
    if (!stopped) use_batch(ahead);
    return wanted ? KEEL_OK : keel_fail(err, KEEL_E_INTERRUPTED, ahead->import.path, "no more is wanted");
}

keel_status keel__import_next(keel__import *import, keel_err *err) {
    return import->arena->used < BATCH_BYTES ? KEEL_OK : hand_over(import->ahead, false, err);
}

keel_status keel__import_add(keel__import *import, const keel_conversation *conversation, bool merge,
                             const char *where, keel_err *err) {
    keel__prefetch *ahead = import->ahead;
    batch *to = &ahead->batches[ahead->filled % N_BATCHES];
    item *one = keel_arena_calloc(import->arena, 1, sizeof *one);
    if (one) one->where = keel_arena_strdup(import->arena, where);
    if (!one || !one->where) return keel_nomem(err, where);
    one->conversation = *conversation;
    one->merge = merge;
    if (to->last)
        to->last->next = one;
    else
        to->first = one;
    to->last = one;
    return KEEL_OK;
}

static keel_status read_file(keel__prefetch *ahead, const char *path, keel_arena *names, keel_err *err) {
    char hash[65];
    KEEL_TRY(keel__import_name(&ahead->import, path, names, err));
    KEEL_TRY(keel_file_hash(path, hash, err));
    memcpy(ahead->batches[ahead->filled % N_BATCHES].hash, hash, sizeof hash);
    KEEL_TRY(hand_over(ahead, true, err));
    return ahead->files->read(&ahead->import, err);
}

/* After a file that fails too: whether that matters, the one that adds decides. */
static void *read_files(void *argument) {
    keel__prefetch *ahead = argument;
    keel_arena names = {0};
    bool wanted = true;
    keel_context_use(ahead->caller);
    for (size_t i = 0; i < ahead->files->count && wanted; i++) {
        keel_err err = {0};
        keel_arena_reset(&names);
        pthread_mutex_lock(&ahead->lock);
        ahead->file = i + 1;
        pthread_mutex_unlock(&ahead->lock);
        keel_status status = read_file(ahead, ahead->files->paths[i], &names, &err);
        pthread_mutex_lock(&ahead->lock);
        wanted = !ahead->stopped;
        pthread_mutex_unlock(&ahead->lock);
        if (!wanted) break;
        batch *last = &ahead->batches[ahead->filled % N_BATCHES];
        last->ends = true;
        last->status = status;
        last->err = err;
        hand_over(ahead, false, NULL);
    }
    keel_arena_free(&names);
    return NULL;
}

/* ---- the one that adds ---- */

keel_status keel__prefetch_open(keel__prefetch **out, const keel__files *files, keel_err *err) {
    keel__prefetch *ahead = keel_calloc(1, sizeof *ahead);
    if (!ahead) return keel_nomem(err, "import");
    ahead->files = files;
    ahead->caller = keel_context_current();
    ahead->import.ahead = ahead;
    use_batch(ahead);
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    if (pthread_create(&ahead->reader, NULL, read_files, ahead) == 0) {
        *out = ahead;
        return KEEL_OK;
    }
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    keel_free(ahead);
    return keel_fail(err, KEEL_E_NOMEM, "import", "no thread can be started to read the files");
}

void keel__prefetch_close(keel__prefetch *ahead) {
    pthread_mutex_lock(&ahead->lock);
    ahead->stopped = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    pthread_join(ahead->reader, NULL);
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    for (int i = 0; i < N_BATCHES; i++) keel_arena_free(&ahead->batches[i].arena);
    keel_free(ahead);
}

static batch *take_batch(keel__prefetch *ahead) {
    pthread_mutex_lock(&ahead->lock);
    while (ahead->added == ahead->filled) pthread_cond_wait(&ahead->changed, &ahead->lock);
    batch *taken = &ahead->batches[ahead->added % N_BATCHES];
    pthread_mutex_unlock(&ahead->lock);
    return taken;
}

/* skip: the file (counted from 1) of which no more is wanted, or 0. */
static void give_back(keel__prefetch *ahead, size_t skip) {
    pthread_mutex_lock(&ahead->lock);
    ahead->added++;
    if (skip) ahead->skipped = skip;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
}

static keel_status add_item(keel__import *import, item *one, keel_err *err) {
    keel_added added;
    int64_t candidates;
    keel_import_report *report = import->report;
    keel_conversation *conversation = &one->conversation;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, one->where, "nothing of this file was kept");
    if (import->split) conversation->split = import->split;
    KEEL_TRY(keel__store_add(import->store, conversation, one->merge, one->where, &added, &candidates, err));
    report->candidates += candidates;
    report->unchanged += added == KEEL_ADDED_NOTHING;
    report->extended += added == KEEL_ADDED_CANDIDATES;
    const bool seen = added == KEEL_ADDED_NEW && !one->merge && import->each;
    report->unseen += added != KEEL_ADDED_NOTHING && !seen;
    if (added != KEEL_ADDED_NEW) return KEEL_OK;
    report->conversations++;
    report->turns += (int64_t)conversation->n_turns;
    report->decisions += (int64_t)conversation->n_decisions;
    report->completed += conversation->completed == KEEL_YES;
    return seen ? import->each(import->user, conversation, err) : KEEL_OK;
}

static keel_status add_batch(keel__import *import, const batch *from, keel_err *err) {
    for (item *one = from->first; one; one = one->next) KEEL_TRY(add_item(import, one, err));
    import->report->early_difference += from->report.early_difference;
    import->report->prompts_differ += from->report.prompts_differ;
    if (from->status != KEEL_OK && err) *err = from->err;
    return from->status;
}

keel_status keel__prefetch_begin(keel__prefetch *ahead, char hash[65], keel_err *err) {
    const batch *first = take_batch(ahead);
    if (first->ends && err) *err = first->err;
    if (first->ends) return first->status; /* it could not be hashed */
    memcpy(hash, first->hash, sizeof first->hash);
    return KEEL_OK;
}

keel_status keel__prefetch_add(keel__prefetch *ahead, keel__import *import, size_t file, bool skip,
                               keel_err *err) {
    keel_status status = KEEL_OK;
    bool ends = false;
    give_back(ahead, skip ? file + 1 : 0);
    while (!ends && status == KEEL_OK) {
        const batch *from = take_batch(ahead);
        if (!skip) status = add_batch(import, from, err);
        ends = from->ends;
        give_back(ahead, 0);
    }
    return status;
}
