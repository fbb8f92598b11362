/* Fake quantisation: tuning computes with weights as a number format would hold them, while it moves the
 * floats behind them. The gradient passes to these as if nothing had been rounded (the straight-through
 * estimator; Bengio et al. 2013, Jacob et al. 2018). Codes and scales are those of keel_matrix_write_row, so
 * that the tuned floats written in the format are the weights that were computed with.
 *
 * Learned factors (LSQ; Esser et al. 2020, equation 3): a row's weights are limited to its factor times the
 * largest of what shares a scale (the row in I8, else a block of 32 columns), which makes the scales that
 * much smaller. A weight that is limited has no gradient; the factor's is the sum over the row of gradient
 * times (v - w) / factor, v what w is held as, or of gradient times plus or minus the largest where w is
 * limited. */
#ifndef KEEL_CORE_FAKE_QUANT_H
#define KEEL_CORE_FAKE_QUANT_H

#include "core/matrix.h"
#include "core/parallel.h"
#include "core/params.h"

enum { KEEL_FAKE_QUANT_NO_FACTORS = -1 };

typedef struct keel_fake_quant {
    keel_params held; /* laid out as the parameters: what the formats hold of them, others as they are */
    keel_matrix_type *type; /* [count] */
    int *factors;           /* [count] the parameter [1, rows] with a parameter's factors, or none */
} keel_fake_quant;

/* type, factors [params->count], copied; factors NULL: none. F32 is not quantised. KEEL_E_UNSUPPORTED names a
 * parameter whose width the format cannot have. Holds nothing yet. */
keel_status keel_fake_quant_open(keel_fake_quant *out, const keel_params *params,
                                 const keel_matrix_type *type, const int *factors, keel_err *err);
void keel_fake_quant_close(keel_fake_quant *fake); /* one that is all zeros is harmless */
/* Brings factors into [1/8, 1] and fake->held to the parameters as they are now. pool NULL: this thread. */
keel_status keel_fake_quant_hold(keel_fake_quant *fake, keel_params *params, keel_pool *pool, keel_err *err);
/* grads, laid out as the parameters: in, of what is held; out, of the parameters. Nothing to do without
 * factors. */
void keel_fake_quant_flow(const keel_fake_quant *fake, const keel_params *params, float *grads);
/* Limits weights by their factors for good: written in the format, they are what is held. */
void keel_fake_quant_settle(const keel_fake_quant *fake, keel_params *params);

#endif
