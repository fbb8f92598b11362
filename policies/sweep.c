#include "policies/sweep.h"

#include "core/interrupt.h"
#include "core/progress.h"

typedef struct round {
    const keel_sweep *sweep;
    keel_cursor *cursor; /* where the sweep has no ids */
    size_t done;
    keel_conversation *conversation[KEEL_SWEEP_SLOTS];
    keel_arena arena[KEEL_SWEEP_SLOTS];
} round_state;

static keel_status work_slot(void *context, size_t shard, size_t thread, keel_err *err) {
    round_state *round = context;
    (void)thread;
    return round->sweep->work(round->sweep->context, shard, round->conversation[shard], &round->arena[shard],
                              err);
}

/* The next conversations, at most a slot each. */
static keel_status read_slots(round_state *round, size_t *n, keel_err *err) {
    const keel_sweep *sweep = round->sweep;
    for (*n = 0; *n < KEEL_SWEEP_SLOTS; ++*n) {
        keel_arena *arena = &round->arena[*n];
        keel_conversation **into = &round->conversation[*n];
        size_t at = round->done + *n;
        keel_arena_reset(arena);
        if (sweep->ids && at == sweep->count) break;
        if (sweep->ids)
            KEEL_TRY(keel_store_conversation(sweep->store, sweep->ids[at], arena, into, err));
        else
            KEEL_TRY(keel_cursor_next(round->cursor, arena, into, err));
        if (!*into) break;
    }
    return KEEL_OK;
}

static keel_status read_round(round_state *round, size_t *n, keel_err *err) {
    bool held;
    KEEL_TRY(keel_store_hold(round->sweep->store, &held, err));
    keel_status status = read_slots(round, n, err);
    keel_store_release(round->sweep->store, held);
    return status;
}

static keel_status run_round(round_state *round, bool *stop, keel_err *err) {
    const keel_sweep *sweep = round->sweep;
    size_t n;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, sweep->what, "stopped after %zu conversations",
                         round->done);
    KEEL_TRY(read_round(round, &n, err));
    KEEL_TRY(keel_pool_run(sweep->pool, n, work_slot, round, err));
    for (size_t i = 0; i < n && !*stop; i++)
        KEEL_TRY(sweep->merge(sweep->context, i, round->conversation[i], stop, err));
    round->done += n;
    *stop = *stop || n < KEEL_SWEEP_SLOTS;
    return KEEL_OK;
}

keel_status keel_sweep_run(const keel_sweep *sweep, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    bool stop = false;
    round_state *round = keel_calloc(1, sizeof *round);
    if (!round) return keel_fail(err, KEEL_E_NOMEM, sweep->what, "no memory for a pass");
    round->sweep = sweep;
    if (!sweep->ids)
        status = keel_cursor_open(&round->cursor, sweep->store, sweep->split, KEEL_ORDER_STORED, err);
    keel_progress_start(&progress, sweep->what, sweep->count);
    while (status == KEEL_OK && !stop) {
        status = run_round(round, &stop, err);
        keel_progress_step(&progress, round->done, NULL);
    }
    keel_progress_end(&progress, round->done);
    for (size_t i = 0; i < KEEL_SWEEP_SLOTS; i++) keel_arena_free(&round->arena[i]);
    keel_cursor_close(round->cursor);
    keel_free(round);
    return status;
}
