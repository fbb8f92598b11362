#include "core/schedule.h"

#include <math.h>

const char *const keel_schedule_names[KEEL_N_SCHEDULES + 1] = {"constant", "linear", "cosine", NULL};

double keel_schedule_factor(keel_schedule schedule, size_t step, size_t warm_up, size_t steps) {
    const double pi = 3.14159265358979323846;
    if (step < warm_up) return (double)step / (double)warm_up;
    if (schedule == KEEL_SCHEDULE_CONSTANT) return 1;
    if (step >= steps) return 0;
    const double done = (double)(step - warm_up) / (double)(steps - warm_up);
    return schedule == KEEL_SCHEDULE_LINEAR ? 1 - done : (1 + cos(pi * done)) / 2;
}
