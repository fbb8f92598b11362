/* A team: the threads of a pool going through one piece of work together, phase by phase, where a phase takes
 * microseconds, so that waking a pool for each would take as long. Tasks of a phase go to whoever is free; a
 * phase ends when its tasks are done, so that nobody waits for a thread that others keep from running.
 * Waiting spins a little, then gives the processor away. What a task makes must not depend on who does it, or
 * in which order. */
#ifndef KEEL_CORE_TEAM_H
#define KEEL_CORE_TEAM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/parallel.h"

typedef struct keel_team keel_team; /* as one thread sees it */

/* Calls work(context, team, member) for each member 0 .. threads - 1 of the pool, and returns when all have
 * returned; members go through the same phases, and may lag behind. pool NULL: one, on this thread. Work
 * cannot fail: memory is taken before. */
typedef void keel_team_work(void *context, keel_team *team, size_t member);
keel_status keel_team_run(keel_pool *pool, keel_team_work *work, void *context, keel_err *err);

/* The next task of this phase that nobody has taken, of `tasks` below 2^32; false: none is left. The one that
 * was taken before is done. */
bool keel_team_take(keel_team *team, size_t tasks, size_t *task);
/* Ends the phase, after take has said false: returns when all its tasks are done, and what they wrote is
 * seen. */
void keel_team_wait(keel_team *team);

#endif
