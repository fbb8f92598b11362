/* Schedules of the learning rate: a factor for each step. */
#ifndef KEEL_CORE_SCHEDULE_H
#define KEEL_CORE_SCHEDULE_H

#include <stddef.h>

typedef enum keel_schedule {
    KEEL_SCHEDULE_CONSTANT,
    KEEL_SCHEDULE_LINEAR, /* down to 0 */
    KEEL_SCHEDULE_COSINE, /* half a cosine down to 0 (Loshchilov & Hutter 2017, without restarts) */
    KEEL_N_SCHEDULES
} keel_schedule;
extern const char *const keel_schedule_names[KEEL_N_SCHEDULES + 1]; /* NULL-terminated */

/* Of step 0, 1, ..: step / warm_up while that is below 1, then the schedule over what is left of `steps`,
 * after which it stays. As get_*_schedule_with_warmup of transformers: with a warm-up step 0 moves nothing.
 */
double keel_schedule_factor(keel_schedule schedule, size_t step, size_t warm_up, size_t steps);

#endif
