#include "policies/encode_store.h"

#include "core/interrupt.h"
#include "core/progress.h"

keel_status keel_encode_store_find(const keel_base *base, keel_store *store, const keel_decision *decision,
                                   keel_arena *arena, keel_features *out, bool *found, keel_err *err) {
    bool sets = base->space == KEEL_SPACE_CANDIDATES;
    size_t n_actions = keel_base_n_actions(base, decision);
    keel_features read = {0};
    bool there;
    KEEL_TRY(keel_store_get_features(store, base->hash, decision->id, arena, &read, &there, err));
    if (there && (read.state_dim != base->state_dim || read.n_actions != n_actions ||
                  (sets && (read.n_candidates != n_actions || read.candidate_dim != base->candidate_dim))))
        return keel_fail(
            err, KEEL_E_STORE, keel_store_path(store),
            "features of decision %lld are %zu + %zu x %zu + %zu floats, expected %zu + %zu x %zu "
            "+ %zu: the store is damaged",
            (long long)decision->id, read.state_dim, read.n_candidates, read.candidate_dim, read.n_actions,
            base->state_dim, sets ? n_actions : 0, base->candidate_dim, n_actions);
    *out = read;
    *found = there;
    return KEEL_OK;
}

keel_status keel_encode_store_decision(const keel_base *base, keel_store *store,
                                       const keel_conversation *conversation, size_t decision,
                                       keel_arena *arena, keel_features *out, keel_err *err) {
    bool found;
    KEEL_TRY(
        keel_encode_store_find(base, store, &conversation->decisions[decision], arena, out, &found, err));
    return found ? KEEL_OK : keel_base_encode_decision(base, conversation, decision, arena, out, err);
}

enum { DECISIONS_A_TRANSACTION = 4096, CONVERSATIONS_A_BATCH = 4, BATCHES = 16 };
enum { SLOTS = BATCHES * CONVERSATIONS_A_BATCH };

typedef struct encoding {
    keel_store *store;
    const keel_base *base;
    keel_pool *pool;
    keel_cursor *cursor;
    keel_arena arena[SLOTS];     /* of each conversation that was read, and of the lists of its item */
    keel_arena scratch[BATCHES]; /* of what is encoded */
    keel_base_item item[SLOTS];
    size_t n; /* items of this round */
    size_t conversations, pending, done;
    keel_arena there;
} encoding;

/* ---- a round: read, encode, keep ---- */

/* The decisions that the base can encode. */
static keel_status list_decisions(const keel_base *base, const keel_conversation *conversation,
                                  keel_arena *arena, keel_base_item *out, keel_err *err) {
    size_t *decision = keel_arena_alloc(arena, conversation->n_decisions * sizeof *decision);
    *out = (keel_base_item){.conversation = conversation, .decision = decision};
    out->features = keel_arena_calloc(arena, conversation->n_decisions, sizeof *out->features);
    if (!decision || !out->features) return keel_nomem(err, "encode");
    for (size_t i = 0; i < conversation->n_decisions; i++)
        if (keel_base_can_encode(base, &conversation->decisions[i])) decision[out->n++] = i;
    return KEEL_OK;
}

static keel_status read_items(encoding *to, keel_err *err) {
    for (to->n = 0; to->n < SLOTS; to->n++) {
        keel_arena *arena = &to->arena[to->n];
        keel_conversation *conversation;
        keel_arena_reset(arena);
        KEEL_TRY(keel_cursor_next(to->cursor, arena, &conversation, err));
        if (!conversation) break;
        KEEL_TRY(list_decisions(to->base, conversation, arena, &to->item[to->n], err));
    }
    return KEEL_OK;
}

static keel_status encode_batch(void *context, size_t batch, size_t thread, keel_err *err) {
    encoding *to = context;
    size_t first = batch * CONVERSATIONS_A_BATCH, n = to->n - first;
    (void)thread;
    keel_arena_reset(&to->scratch[batch]);
    return keel_base_encode(to->base, to->item + first, n < CONVERSATIONS_A_BATCH ? n : CONVERSATIONS_A_BATCH,
                            &to->scratch[batch], err);
}

static keel_status keep_item(encoding *to, const keel_base_item *item, keel_err *err) {
    for (size_t i = 0; i < item->n; i++) {
        const keel_decision *decision = &item->conversation->decisions[item->decision[i]];
        keel_features there;
        bool found = false;
        keel_arena_reset(&to->there);
        KEEL_TRY(keel_store_get_features(to->store, to->base->hash, decision->id, &to->there, &there, &found,
                                         err));
        if (found) continue;
        if (to->pending == 0) KEEL_TRY(keel_store_begin(to->store, err));
        to->pending++;
        KEEL_TRY(keel_store_put_features(to->store, to->base->hash, decision->id, &item->features[i], err));
    }
    if (to->pending < DECISIONS_A_TRANSACTION) return KEEL_OK;
    to->done += to->pending;
    to->pending = 0;
    return keel_store_commit(to->store, err);
}

static keel_status run_round(encoding *to, keel_err *err) {
    bool held;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, "encode", "stopped after %zu conversations",
                         to->conversations);
    KEEL_TRY(keel_store_hold(to->store, &held, err));
    keel_status status = read_items(to, err);
    keel_store_release(to->store, held);
    if (status != KEEL_OK) return status;
    size_t batches = (to->n + CONVERSATIONS_A_BATCH - 1) / CONVERSATIONS_A_BATCH;
    KEEL_TRY(keel_pool_run(to->pool, batches, encode_batch, to, err));
    for (size_t i = 0; i < to->n; i++) KEEL_TRY(keep_item(to, &to->item[i], err));
    to->conversations += to->n;
    return KEEL_OK;
}

/* ---- all rounds ---- */

static keel_status run_rounds(encoding *to, size_t total, keel_err *err) {
    keel_progress progress;
    keel_status status;
    keel_progress_start(&progress, "encode", total);
    do {
        status = run_round(to, err);
        keel_progress_step(&progress, to->conversations, NULL);
    } while (status == KEEL_OK && to->n == SLOTS);
    keel_progress_end(&progress, to->conversations);
    return status;
}

/* What an interrupted pass has done is kept, what a failed one has not committed is not. */
static keel_status settle(encoding *to, keel_status status, keel_err *err) {
    if (to->pending == 0) return status;
    if (status != KEEL_OK && status != KEEL_E_INTERRUPTED) {
        keel_store_rollback(to->store);
        return status;
    }
    KEEL_TRY(keel_store_commit(to->store, status == KEEL_OK ? err : NULL));
    to->done += to->pending;
    return status;
}

static keel_status encode_split(encoding *to, const keel_split *split, keel_err *err) {
    size_t total;
    KEEL_TRY(keel_store_count_conversations(to->store, split, &total, err));
    KEEL_TRY(keel_cursor_open(&to->cursor, to->store, split, KEEL_ORDER_STORED, err));
    keel_status status = settle(to, run_rounds(to, total, err), err);
    for (size_t i = 0; i < SLOTS; i++) keel_arena_free(&to->arena[i]);
    for (size_t i = 0; i < BATCHES; i++) keel_arena_free(&to->scratch[i]);
    keel_arena_free(&to->there);
    keel_cursor_close(to->cursor);
    return status;
}

keel_status keel_encode_store(keel_store *store, const keel_split *split, const keel_base *base,
                              keel_pool *pool, size_t *encoded, keel_err *err) {
    size_t missing = 0;
    KEEL_TRY(keel_store_check_split(store, split, err));
    KEEL_TRY(keel_store_missing_features(store, base->hash, split, &missing, err));
    if (missing > 0) {
        encoding *to = keel_calloc(1, sizeof *to);
        if (!to) return keel_nomem(err, "encode");
        *to = (encoding){.store = store, .base = base, .pool = pool};
        keel_status status = encode_split(to, split, err);
        missing = to->done;
        keel_free(to);
        if (status != KEEL_OK) return status;
    }
    if (encoded) *encoded = missing;
    return KEEL_OK;
}
