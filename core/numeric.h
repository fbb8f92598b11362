/* Plain numerics shared by losses, samplers and policies. */
#ifndef KEEL_CORE_NUMERIC_H
#define KEEL_CORE_NUMERIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tensor.h"

/* log of the sum of exp over the allowed entries (mask NULL: all); p, if not NULL, gets the softmax, zero
 * where not allowed. p may be x. -INFINITY if nothing is allowed. The one place where a maximum is
 * subtracted. */
keel_real keel__softmax(const keel_real *x, const uint8_t *mask, size_t count, keel_real *p);

void keel_log_softmax(const keel_real *x, size_t count, keel_real *out); /* may be in place */
void keel_softmax(const keel_real *x, size_t count, keel_real *out);
/* x y / (|x| |y|); 0 where one is all zeros. */
double keel_cosine(const float *x, const float *y, size_t n);
/* False where a number is not finite. */
bool keel_all_finite(const keel_real *x, size_t count);
/* The largest of x; count at least 1. */
keel_real keel_largest(const keel_real *x, size_t count);
/* Of doubles, the smaller first: for qsort. */
int keel_by_value(const void *a, const void *b);
/* The sum of x, and of x y: in double over eight lanes, so that the order is one in any width. */
double keel_sum(const keel_real *x, size_t count);
double keel_dot(const keel_real *x, const keel_real *y, size_t count);
void keel_multiply_by(keel_real *x, keel_real factor, size_t count); /* x <- factor x */
void keel_add_to(const keel_real *x, size_t count, keel_real *y);    /* y <- y + x; they lie apart */
/* out <- (x - mean) scale, cut at four deviations; scale: 1 / deviation. out may be x. */
void keel_standardise(const keel_real *x, const keel_real *mean, const keel_real *scale, size_t count,
                      keel_real *out);
/* x <- tanh x, within four units in the last place; libm's goes by one element at a time. */
void keel_tanh(keel_real *x, size_t count);
/* x <- e^(x - shift) for x <= shift, within four units in the last place; 0 where that is below e^-87. */
void keel_exp_below(keel_real *x, size_t count, keel_real shift);
/* Softmax of factor * x down each of the sixteen columns of x [rows, 16]; factor > 0. */
void keel_softmax_columns(keel_real *x, size_t rows, keel_real factor);
/* most [16]: the largest of each of the sixteen columns of x [rows, 16], rows at least 1; sum [16]: of
 * e^(x - most) down them. log of the sum of e^x is most + log sum. */
void keel_sum_columns(const keel_real *x, size_t rows, keel_real *most, double *sum);
/* y = x (1 + erf(x / sqrt 2)) / 2, the exact GELU (Hendrycks & Gimpel 2016), within 1e-6 (1 + |x|); y may be
 * x. */
void keel_gelu(const keel_real *x, size_t count, keel_real *y);
/* dy <- dy times the slope of GELU at x, which is within 1e-6 (1 + |x|). */
void keel_gelu_backward(const keel_real *x, size_t count, keel_real *dy);

/* y = x s(x) up with s(x) = 1 / (1 + e^-x) (SiLU; Elfwing et al. 2018), within a few units in the last place;
 * y may be x. */
void keel_silu_times(const keel_real *x, const keel_real *up, size_t count, keel_real *y);
/* dx <- dy up times the slope of SiLU at x; dup <- dy x s(x). */
void keel_silu_times_backward(const keel_real *x, const keel_real *up, const keel_real *dy, size_t count,
                              keel_real *dx, keel_real *dup);

/* sum[cols] += weight[j] table[id[j]] for each j in turn; ids are within the table [., cols]. */
void keel_add_rows(const keel_real *table, size_t cols, const uint32_t *id, const keel_real *weight,
                   size_t count, keel_real *sum);

#endif
