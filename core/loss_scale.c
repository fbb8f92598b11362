#include "core/loss_scale.h"

keel_loss_scale keel_loss_scale_start(void) {
    return (keel_loss_scale){.factor = 65536};
}

void keel_loss_scale_step(keel_loss_scale *scale, bool finite) {
    enum { CLEAN = 2000 };
    if (!finite)
        *scale = (keel_loss_scale){.factor = scale->factor > 2 ? scale->factor / 2 : 1};
    else if (++scale->clean == CLEAN)
        *scale = (keel_loss_scale){.factor = scale->factor * 2};
}
