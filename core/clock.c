#include "core/clock.h"

#include <math.h>
#include <time.h>

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct timespec parts(double seconds) {
    const double whole = floor(fmax(seconds, 0));
    return (struct timespec){.tv_sec = (time_t)whole, .tv_nsec = (long)(1e9 * (fmax(seconds, 0) - whole))};
}

double keel_clock(void) {
    return seconds(CLOCK_MONOTONIC);
}

double keel_clock_thread(void) {
    return seconds(CLOCK_THREAD_CPUTIME_ID);
}

double keel_clock_wall(void) {
    return seconds(CLOCK_REALTIME);
}

bool keel_clock_write(double at, char out[24]) {
    struct tm parts;
    const time_t seconds = isfinite(at) ? (time_t)at : 0;
    const bool good = isfinite(at) && gmtime_r(&seconds, &parts);
    if (!good || !strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &parts)) out[0] = '\0';
    return out[0];
}

void keel_clock_sleep(double seconds) {
    const struct timespec t = parts(seconds);
    nanosleep(&t, NULL);
}

void keel_clock_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool keel_clock_wait(pthread_cond_t *condition, pthread_mutex_t *lock, double until) {
    const struct timespec t = parts(until);
    return pthread_cond_timedwait(condition, lock, &t) == 0;
}
