/* Clocks, for progress, benchmarks and what a decision takes; nothing that is learned depends on them. */
#ifndef KEEL_CORE_CLOCK_H
#define KEEL_CORE_CLOCK_H

double keel_clock(void);        /* monotonic, in seconds */
double keel_clock_thread(void); /* seconds of processor time of the calling thread */

#endif
