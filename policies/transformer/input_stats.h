/* How large the inputs of a model's matrices are, column by column, over all rows that an observer sees: for
 * calibration of number formats, and for the importance of what a column comes from. Sums run over rows in
 * their order, so that they do not depend on how texts were cut into passes, or on threads. */
#ifndef KEEL_POLICIES_TRANSFORMER_INPUT_STATS_H
#define KEEL_POLICIES_TRANSFORMER_INPUT_STATS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "policies/transformer/observer.h"

typedef struct keel_input_columns {
    size_t rows, cols; /* rows that were seen; 0: none */
    double *square;    /* [cols] sums of x^2 */
    float *largest;    /* [cols] largest |x| */
} keel_input_columns;

typedef struct keel_input_stats {
    size_t n;                   /* matrices of the model's table */
    keel_input_columns *matrix; /* [n] */
    bool failed;                /* memory was missing */
} keel_input_stats;

keel_status keel_input_stats_make(keel_input_stats *out, size_t n, keel_err *err);
void keel_input_stats_free(keel_input_stats *stats); /* zeros are harmless */
/* Sees for `stats`, which must stay. */
keel_observer keel_input_stats_observer(keel_input_stats *stats);
/* KEEL_E_NOMEM where memory was missing while it saw. */
keel_status keel_input_stats_check(const keel_input_stats *stats, keel_err *err);
/* out [cols]: the mean of x^2 of each column. The matrix was seen. */
void keel_input_mean_squares(const keel_input_columns *columns, float *out);

#endif
