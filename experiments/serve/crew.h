/* Threads that work on jobs in batches: a thread that is free takes all that waits, up to a number, and
 * works on it together. So a batch is as large as the load makes it, and nobody waits for one to fill. */
#ifndef KEEL_EXPERIMENTS_SERVE_CREW_H
#define KEEL_EXPERIMENTS_SERVE_CREW_H

#include "experiments/serve/job.h"

typedef struct keel_crew keel_crew;
/* Called in one of the threads, with jobs in the order in which they came; scratch is the thread's, reset
 * before. */
typedef void keel_crew_work(void *context, keel_job **jobs, size_t n, keel_arena *scratch);

/* threads >= 1; most: of a batch. The threads work under the context of the caller. */
keel_status keel_crew_open(keel_crew **out, size_t threads, size_t most, keel_crew_work *work, void *context,
                           keel_err *err);
void keel_crew_put(keel_crew *crew, keel_job *job); /* from any thread; linked, so it always fits */
size_t keel_crew_waiting(keel_crew *crew);
/* Works on what waits, then ends the threads. NULL is harmless. */
void keel_crew_close(keel_crew *crew);

#endif
