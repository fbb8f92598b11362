#include "experiments/serve/served_write.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "rl/learn/derive.h"

/* ---- one transaction ---- */

typedef struct batch {
    keel_store *store;
    keel_served_entry *entries;
    size_t n;
    keel_arena arena; /* until the transaction ends */
    int64_t *changed; /* conversations, [n] */
    size_t n_changed;
    int64_t requests, feedback, lost; /* lost: feedback about nothing */
    bool begun;                       /* nobody else held the store */
} batch;

static keel_status add_requests(batch *b, keel_err *err) {
    keel_served *served = keel_arena_calloc(&b->arena, b->n, sizeof *served);
    size_t n = 0;
    if (!served) return keel_nomem(err, "served");
    for (size_t i = 0; i < b->n; i++) {
        if (!b->entries[i].served) continue;
        b->entries[i].served->conversation->external_id = b->entries[i].name;
        served[n++] = *b->entries[i].served;
    }
    b->requests = (int64_t)n;
    KEEL_TRY(keel_store_add_served(b->store, served, n, &b->arena, err));
    for (size_t i = 0; i < n; i++) b->changed[b->n_changed++] = served[i].conversation->id;
    return KEEL_OK;
}

/* What is about no request that is known is lost by itself: anybody may send it, and all others of the batch
 * would be written one by one for it. */
static keel_status add_one_feedback(batch *b, int64_t start, double at, const keel_feedback *feedback,
                                    keel_err *err) {
    keel_err own = {0};
    const keel_status status = keel_store_add_feedback(b->store, feedback, &b->changed[b->n_changed], &own);
    if (status == KEEL_E_NOT_FOUND) {
        b->lost++;
        return keel_store_add_lost(b->store, start, at, 1, own.message, err);
    }
    if (status != KEEL_OK) {
        *err = own;
        return status;
    }
    b->n_changed++, b->feedback++;
    return KEEL_OK;
}

static keel_status add_feedback(batch *b, int64_t start, double at, keel_err *err) {
    for (size_t i = 0; i < b->n; i++)
        if (!b->entries[i].served) KEEL_TRY(add_one_feedback(b, start, at, &b->entries[i].feedback, err));
    return KEEL_OK;
}

static int by_id(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static keel_status derive(batch *b, keel_err *err) {
    keel_reward_config rewards;
    keel_arena arena = {0};
    int64_t transitions = 0;
    keel_status status = keel_derive_settle_rewards(b->store, &rewards, err);
    if (b->n_changed) qsort(b->changed, b->n_changed, sizeof *b->changed, by_id);
    keel_store_gather(b->store);
    for (size_t i = 0; i < b->n_changed && status == KEEL_OK; i++) {
        if (i && b->changed[i] == b->changed[i - 1]) continue;
        keel_arena_reset(&arena);
        status = keel_derive_conversation(b->store, b->changed[i], &rewards, &arena, &transitions, err);
    }
    keel_arena_free(&arena);
    return status;
}

static keel_status fill(batch *b, int64_t start, double at, int64_t dropped, keel_err *err) {
    b->changed = keel_arena_calloc(&b->arena, b->n + 1, sizeof *b->changed);
    if (!b->changed) return keel_nomem(err, "served");
    KEEL_TRY(add_requests(b, err));
    KEEL_TRY(add_feedback(b, start, at, err));
    KEEL_TRY(derive(b, err));
    return dropped ? keel_store_add_lost(b->store, start, at, dropped, "the queue was full", err) : KEEL_OK;
}

static keel_status transact(batch *b, int64_t start, double at, int64_t dropped, keel_err *err) {
    KEEL_TRY(keel_store_begin(b->store, err));
    b->begun = true;
    keel_status status = fill(b, start, at, dropped, err);
    if (status == KEEL_OK) status = keel_store_commit(b->store, err);
    if (status != KEEL_OK) keel_store_rollback(b->store);
    keel_arena_free(&b->arena);
    return status;
}

/* ---- one by one ---- */

static keel_status write_lost(keel_store *store, int64_t start, double at, const char *why, keel_err *err) {
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = keel_store_add_lost(store, start, at, 1, why, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

static void note(keel_served_written *out, const keel_err *err) {
    out->failed = true;
    out->why = *err;
}

/* Whether nothing could be written now, whatever it is: another process writes, the disk or memory is full.
 */
static bool is_of_store(const batch *b, keel_status status) {
    return !b->begun || status == KEEL_E_NOMEM || status == KEEL_E_IO;
}

/* An entry that cannot be written is given up if the store takes a note of that; else the store is at fault.
 */
static void write_one(keel_store *store, int64_t start, double at, keel_served_entry *entry,
                      keel_served_written *out) {
    keel_err err = {0}, other = {0};
    batch one = {.store = store, .entries = entry, .n = 1};
    keel_status status = transact(&one, start, at, 0, &err);
    if (status == KEEL_OK) {
        out->requests += one.requests;
        out->feedback += one.feedback;
        out->lost += one.lost;
    } else if (is_of_store(&one, status) || write_lost(store, start, at, err.message, &other) != KEEL_OK) {
        note(out, &err);
        return;
    } else {
        out->lost++;
        keel_log(KEEL_LOG_INFO, "note: not logged: %s: %s", err.where, err.message);
    }
    out->entries++;
}

void keel_served_write(keel_store *store, int64_t start, double at, keel_served_entry *entries, size_t n,
                       int64_t dropped, keel_served_written *out) {
    keel_err err = {0};
    batch all = {.store = store, .entries = entries, .n = n};
    *out = (keel_served_written){0};
    if (transact(&all, start, at, dropped, &err) == KEEL_OK) {
        out->entries = n, out->requests = all.requests, out->feedback = all.feedback;
        out->lost = all.lost, out->dropped = dropped;
        return;
    }
    if (n == 0 || !all.begun) note(out, &err);
    for (size_t i = 0; i < n && !out->failed; i++) write_one(store, start, at, &entries[i], out);
}
