#include "experiments/replay_read.h"

#include "policies/encode_store.h"

static bool can_ask(const keel_replay_round *round, const keel_conversation *conversation, size_t place) {
    for (size_t b = 0; b < KEEL_REPLAY_BASES; b++)
        if (round->base[b] && !keel_base_can_encode(round->base[b], &conversation->decisions[place]))
            return false;
    return keel_replay_filter_reads(round->filter, conversation, place);
}

/* Which decisions are asked about, and their features as far as the store has them. */
static keel_status look(keel_replay_round *round, keel_replay_seen *seen, keel_err *err) {
    const size_t n = seen->conversation->n_decisions;
    seen->asked = keel_arena_calloc(&seen->arena, n + 1, sizeof *seen->asked);
    if (!seen->asked) return keel_nomem(err, "replay");
    for (size_t d = 0; d < n; d++) seen->asked[d] = can_ask(round, seen->conversation, d);
    for (size_t b = 0; b < KEEL_REPLAY_BASES; b++) {
        keel_features *to = seen->features[b] = keel_arena_calloc(&seen->arena, n + 1, sizeof *to);
        if (!to) return keel_nomem(err, "replay");
        for (size_t d = 0; round->base[b] && d < n; d++) {
            bool found;
            if (seen->asked[d])
                KEEL_TRY(keel_encode_store_find(round->base[b], round->store,
                                                &seen->conversation->decisions[d], &seen->arena, &to[d],
                                                &found, err));
        }
    }
    return KEEL_OK;
}

/* Under one base; what the store had has actions. */
static keel_status encode_missing(const keel_base *base, keel_replay_seen *seen, keel_features *to,
                                  keel_err *err) {
    const size_t n = seen->conversation->n_decisions;
    size_t *missing = keel_arena_alloc(&seen->arena, (n + 1) * sizeof *missing);
    keel_base_item item = {.conversation = seen->conversation, .decision = missing};
    item.features = keel_arena_calloc(&seen->arena, n + 1, sizeof *item.features);
    if (!missing || !item.features) return keel_nomem(err, "replay");
    for (size_t d = 0; d < n; d++)
        if (seen->asked[d] && !to[d].n_actions) missing[item.n++] = d;
    if (item.n) KEEL_TRY(keel_base_encode(base, &item, 1, &seen->arena, err));
    for (size_t i = 0; i < item.n; i++) to[missing[i]] = item.features[i];
    return KEEL_OK;
}

static keel_status encode(void *context, size_t index, size_t thread, keel_err *err) {
    keel_replay_round *round = context;
    keel_replay_seen *seen = &round->seen[index];
    (void)thread;
    for (size_t b = 0; b < KEEL_REPLAY_BASES; b++)
        if (round->base[b]) KEEL_TRY(encode_missing(round->base[b], seen, seen->features[b], err));
    return KEEL_OK;
}

keel_status keel_replay_read(keel_replay_round *round, keel_cursor *cursor, keel_err *err) {
    for (round->n = 0; round->n < KEEL_REPLAY_ROUND; round->n++) {
        keel_replay_seen *seen = &round->seen[round->n];
        keel_arena_reset(&seen->arena);
        KEEL_TRY(keel_cursor_next(cursor, &seen->arena, &seen->conversation, err));
        if (!seen->conversation) break;
        KEEL_TRY(look(round, seen, err));
    }
    return keel_pool_run(round->pool, round->n, encode, round, err);
}

keel_status keel_replay_read_one(keel_replay_round *round, int64_t id, keel_err *err) {
    keel_replay_seen *seen = &round->seen[0];
    KEEL_TRY(keel_store_conversation(round->store, id, &seen->arena, &seen->conversation, err));
    KEEL_TRY(look(round, seen, err));
    round->n = 1;
    return keel_pool_run(round->pool, 1, encode, round, err);
}

void keel_replay_round_free(keel_replay_round *round) {
    for (size_t i = 0; i < KEEL_REPLAY_ROUND; i++) keel_arena_free(&round->seen[i].arena);
}
