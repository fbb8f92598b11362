#include "core/team.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { LINE = 64 }; /* each counter has a cache line to itself */

struct keel_team {
    size_t threads;
    keel_team_work *work;
    void *context;
    _Alignas(LINE) atomic_size_t next;    /* task */
    _Alignas(LINE) atomic_size_t arrived; /* threads at the end of this phase */
    _Alignas(LINE) atomic_uint phase;
};

bool keel_team_take(keel_team *team, size_t tasks, size_t *task) {
    *task = atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed);
    return *task < tasks;
}

static void pause_for(unsigned tries) {
    enum { SPINS = 2000, YIELDS = 64 };
    if (tries < SPINS) {
#if defined(__x86_64__) && defined(__GNUC__)
        __builtin_ia32_pause();
#endif
    } else if (tries < SPINS + YIELDS) {
        sched_yield();
    } else {
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

void keel_team_wait(keel_team *team) {
    const unsigned phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == team->threads) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->next, 0, memory_order_relaxed);
        atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
        return;
    }
    for (unsigned tries = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase; tries++)
        pause_for(tries);
}

static keel_status member(void *context, size_t shard, size_t thread, keel_err *err) {
    keel_team *team = context;
    (void)thread, (void)err;
    keel_team_wait(team); /* until all are here: so no thread gets two shards */
    team->work(team->context, team, shard);
    return KEEL_OK;
}

keel_status keel_team_run(keel_pool *pool, keel_team_work *work, void *context, keel_err *err) {
    keel_team team = {.threads = pool ? keel_pool_threads(pool) : 1, .work = work, .context = context};
    atomic_init(&team.next, 0);
    atomic_init(&team.arrived, 0);
    atomic_init(&team.phase, 0);
    if (!pool) return member(&team, 0, 0, err);
    return keel_pool_run(pool, team.threads, member, &team, err);
}
