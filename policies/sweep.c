#include "policies/sweep.h"

#include "core/log.h"

typedef struct round {
    const keel_sweep *sweep;
    keel_conversation *conversation[KEEL_SWEEP_SLOTS];
    keel_arena arena[KEEL_SWEEP_SLOTS];
} round_state;

static keel_status work_slot(void *context, size_t shard, size_t thread, keel_err *err) {
    round_state *round = context;
    (void)thread;
    return round->sweep->work(round->sweep->context, shard, round->conversation[shard], &round->arena[shard],
                              err);
}

static keel_status read_round(round_state *round, size_t first, size_t n, keel_err *err) {
    const keel_sweep *sweep = round->sweep;
    keel_status status = KEEL_OK;
    bool held;
    KEEL_TRY(keel_store_hold(sweep->store, &held, err));
    for (size_t i = 0; status == KEEL_OK && i < n; i++) {
        keel_arena_reset(&round->arena[i]);
        status = keel_store_conversation(sweep->store, sweep->ids[first + i], &round->arena[i],
                                         &round->conversation[i], err);
    }
    keel_store_release(sweep->store, held);
    return status;
}

static keel_status run_round(round_state *round, size_t first, size_t n, bool *stop, keel_err *err) {
    const keel_sweep *sweep = round->sweep;
    KEEL_TRY(read_round(round, first, n, err));
    KEEL_TRY(keel_pool_run(sweep->pool, n, work_slot, round, err));
    for (size_t i = 0; i < n && !*stop; i++)
        KEEL_TRY(sweep->merge(sweep->context, i, round->conversation[i], stop, err));
    return KEEL_OK;
}

keel_status keel_sweep_run(const keel_sweep *sweep, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    bool stop = false;
    round_state *round = keel_calloc(1, sizeof *round);
    if (!round) return keel_fail(err, KEEL_E_NOMEM, sweep->what, "no memory for a pass");
    round->sweep = sweep;
    keel_progress_start(&progress, sweep->what, sweep->count);
    for (size_t done = 0; status == KEEL_OK && !stop && done < sweep->count;) {
        size_t left = sweep->count - done, n = left < KEEL_SWEEP_SLOTS ? left : KEEL_SWEEP_SLOTS;
        if (keel_interrupted())
            status =
                keel_fail(err, KEEL_E_INTERRUPTED, sweep->what, "stopped at %zu of %zu", done, sweep->count);
        else
            status = run_round(round, done, n, &stop, err);
        done += n;
        keel_progress_step(&progress, done, NULL);
    }
    keel_progress_end(&progress, sweep->count);
    for (size_t i = 0; i < KEEL_SWEEP_SLOTS; i++) keel_arena_free(&round->arena[i]);
    keel_free(round);
    return status;
}
