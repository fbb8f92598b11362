/* A tensor: a dense matrix with its gradient.
 *
 * keel_real is float; the gradient tests compile the numeric files of this room with -DKEEL_REAL_DOUBLE, to
 * check every operation against central differences in double precision. */
#ifndef KEEL_CORE_TENSOR_H
#define KEEL_CORE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

#ifdef KEEL_REAL_DOUBLE
typedef double keel_real;
#else
typedef float keel_real;
#endif

/* A dense row-major matrix; a vector is [n, 1], a scalar [1, 1]. Higher ranks are views by the operations
 * that need them. */
typedef struct keel_tensor {
    size_t rows, cols;
    keel_real *data; /* [rows, cols] */
    keel_real *grad; /* same shape; NULL where no gradient flows */
    bool grad_ready; /* something was written to grad since it was made or cleared */
    bool grad_lent;  /* grad is the caller's memory, as a parameter's is */
} keel_tensor;

#endif
