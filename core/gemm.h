/* The matrix product: the one door to BLAS (gemm.c), which gemm_plain.c does without. */
#ifndef KEEL_CORE_GEMM_H
#define KEEL_CORE_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/tensor.h"

/* y[M,N] = alpha * op(a) op(b) + beta * y, row-major. */
void keel_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
               const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta, keel_real *y,
               size_t ldy);
/* From now on products run on the calling thread alone, so that results do not depend on how many threads
 * BLAS would like to use. Whoever opens what multiplies calls it: a pool, a tape, an encoder. */
void keel_gemm_alone(void);
/* What multiplies, in the words of the library: static; "none" where it is Keel itself. */
const char *keel_gemm_library(void);
/* The instructions of the kernel that OpenBLAS takes, by itself or as OPENBLAS_CORETYPE says: what else
 * multiplies goes by it, so that one setting decides on all bits. */
typedef enum keel_gemm_kind { KEEL_GEMM_OTHER, KEEL_GEMM_AVX2, KEEL_GEMM_AVX512 } keel_gemm_kind;
keel_gemm_kind keel_gemm_kernel(void);
/* The same with a and b rounded to bfloat16 (to nearest, ties to even; what is below the least normal number
 * may become 0) and sums in float: by AVX512-BF16 where the processor has it, else by the kernel above. */
void keel_gemm_bf16(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
                    const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta,
                    keel_real *y, size_t ldy);
bool keel_gemm_has_bf16(void); /* whether by AVX512-BF16 */
/* y[M] = a[M,K] x + beta * y: a row alone, for which a product of matrices would first copy all of a. */
void keel_gemv(size_t m, size_t k, const keel_real *a, size_t lda, const keel_real *x, keel_real beta,
               keel_real *y);

#endif
