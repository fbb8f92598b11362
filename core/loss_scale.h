/* Dynamic loss scaling (Micikevicius et al. 2018): where gradients are kept in binary16, the loss is
 * multiplied by a factor, so that small ones do not vanish, and the gradient divided by it again. A step
 * whose gradient is not finite moves nothing and halves the factor; after 2000 steps that were, it doubles.
 */
#ifndef KEEL_CORE_LOSS_SCALE_H
#define KEEL_CORE_LOSS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct keel_loss_scale {
    double factor;  /* at least 1 */
    uint64_t clean; /* steps since it changed */
} keel_loss_scale;

keel_loss_scale keel_loss_scale_start(void); /* 65536 */
/* After a step: whether its gradient was finite. */
void keel_loss_scale_step(keel_loss_scale *scale, bool finite);

#endif
