/* Scales of quantised rows, chosen for the numbers that they are to stand for. */
#ifndef KEEL_CORE_MATRIX_FIT_H
#define KEEL_CORE_MATRIX_FIT_H

#include "core/matrix.h"
#include "core/status.h"

typedef enum keel_matrix_method {
    KEEL_FIT_ABSMAX,     /* keel_matrix_write_row */
    KEEL_FIT_PERCENTILE, /* the same of numbers whose size is limited to the percentile of what shares a scale
                          */
    KEEL_FIT_MSE /* of many scales (and steps) the one whose sum of importance (x - value)^2 is least; never
                    more than ABSMAX's */
} keel_matrix_method;

typedef struct keel_matrix_fit {
    keel_matrix_method method;
    double percentile; /* 0 < percentile <= 100, by the nearest rank; PERCENTILE alone */
    const float
        *importance; /* [cols], finite and >= 0: mean squares of the inputs, say; NULL: all 1; MSE alone */
} keel_matrix_fit;

/* A row of finite numbers in the type; F32 and BF16 as keel_matrix_write_row does. to: keel_matrix_row_bytes.
 * KEEL_E_NOMEM alone. */
keel_status keel_matrix_fit_row(keel_matrix_type type, const float *from, size_t cols,
                                const keel_matrix_fit *how, void *to, keel_err *err);

#endif
