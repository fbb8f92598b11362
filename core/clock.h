/* The monotonic clock, for progress and benchmarks; no result depends on it. */
#ifndef KEEL_CORE_CLOCK_H
#define KEEL_CORE_CLOCK_H

double keel_clock(void); /* seconds */

#endif
