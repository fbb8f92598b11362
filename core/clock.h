/* Clocks, for progress, benchmarks, waits and what a decision takes; nothing that is learned depends on them.
 * Times are in seconds. */
#ifndef KEEL_CORE_CLOCK_H
#define KEEL_CORE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>

double keel_clock(void);        /* monotonic */
double keel_clock_thread(void); /* of the processor, for the calling thread */
double keel_clock_wall(void);   /* since 1970 */

/* A time since 1970 as 2026-11-30T14:00:00Z; false, "": it has no such form. */
bool keel_clock_write(double at, char out[24]);

void keel_clock_sleep(double seconds); /* a signal ends it sooner */

/* A condition whose waits may have an end, whatever is done to the wall clock meanwhile. */
void keel_clock_condition(pthread_cond_t *condition);
/* Waits, at most until a time of keel_clock, under the lock. false: that time has come. As with every
 * condition, true does not say that what is waited for has happened. */
bool keel_clock_wait(pthread_cond_t *condition, pthread_mutex_t *lock, double until);

#endif
