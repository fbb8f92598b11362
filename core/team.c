#include "core/team.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { LINE = 64 }; /* each counter has a cache line to itself */

/* What all members see. A phase is over once its tasks are done, not once all have come: one that was kept
 * from running finds later that the phase is over, and goes on to the next. */
typedef struct shared {
    keel_team_work *work;
    void *context;
    _Alignas(LINE) atomic_uint_fast64_t place; /* phase << 32 | next task of it */
    _Alignas(LINE) atomic_size_t done;         /* tasks of this phase */
} shared;

struct keel_team {
    shared *all;
    uint64_t phase; /* that this member is in */
    bool holds;     /* a task, one of `tasks` */
    size_t tasks;
};

static uint64_t phase_of(uint64_t place) {
    return place >> 32;
}

/* The member's task is done; the last of a phase begins the next. */
static void finish(keel_team *team) {
    if (!team->holds) return;
    team->holds = false;
    if (atomic_fetch_add_explicit(&team->all->done, 1, memory_order_acq_rel) + 1 < team->tasks) return;
    atomic_store_explicit(&team->all->done, 0, memory_order_relaxed);
    atomic_store_explicit(&team->all->place, (team->phase + 1) << 32, memory_order_release);
}

bool keel_team_take(keel_team *team, size_t tasks, size_t *task) {
    finish(team);
    team->tasks = tasks;
    uint64_t place = atomic_load_explicit(&team->all->place, memory_order_acquire);
    while (phase_of(place) == team->phase && (uint32_t)place < tasks) {
        if (!atomic_compare_exchange_weak_explicit(&team->all->place, &place, place + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        *task = (uint32_t)place;
        team->holds = true;
        return true;
    }
    return false;
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
    uint64_t place = team->phase << 32;
    if (team->tasks == 0) /* whoever comes first ends what has no tasks */
        atomic_compare_exchange_strong_explicit(&team->all->place, &place, (team->phase + 1) << 32,
                                                memory_order_acq_rel, memory_order_acquire);
    for (unsigned tries = 0;
         phase_of(atomic_load_explicit(&team->all->place, memory_order_acquire)) == team->phase; tries++)
        pause_for(tries);
    team->phase++;
}

static keel_status member(void *context, size_t shard, size_t thread, keel_err *err) {
    shared *all = context;
    keel_team team = {.all = all};
    (void)thread, (void)err;
    all->work(all->context, &team, shard);
    return KEEL_OK;
}

keel_status keel_team_run(keel_pool *pool, keel_team_work *work, void *context, keel_err *err) {
    shared all = {.work = work, .context = context};
    atomic_init(&all.place, 0);
    atomic_init(&all.done, 0);
    return pool ? keel_pool_run(pool, keel_pool_threads(pool), member, &all, err) : member(&all, 0, 0, err);
}
