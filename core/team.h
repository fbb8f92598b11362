/* A team: the threads of a pool going through one piece of work together, phase by phase, where a phase takes
 * microseconds, so that waking a pool for each would take as long. Tasks of a phase go to whoever is free;
 * the end of a phase waits for all, spinning a little, then giving the processor away. What a task makes must
 * not depend on who does it, or in which order. */
#ifndef KEEL_CORE_TEAM_H
#define KEEL_CORE_TEAM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/parallel.h"

typedef struct keel_team keel_team;

/* Calls work(context, team, thread) once on each thread of the pool at the same time, and returns when all
 * have. pool NULL: on this thread alone. Work cannot fail: memory is taken before. */
typedef void keel_team_work(void *context, keel_team *team, size_t thread);
keel_status keel_team_run(keel_pool *pool, keel_team_work *work, void *context, keel_err *err);

/* The next task of this phase that nobody has taken; false: none of its `tasks` is left. */
bool keel_team_take(keel_team *team, size_t tasks, size_t *task);
/* Ends the phase: returns when all threads have called it, and what any of them wrote is seen by all. */
void keel_team_wait(keel_team *team);

#endif
