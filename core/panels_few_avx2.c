/* Products for a few rows of x with AVX2, as panels_few.c: lanes are eight rows of the matrix, turned about
 * in registers. Each sum adds the same products in the same order, so its bits are those of the panel's. */
#include <string.h>

#include "core/panels_whole.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2   "avx2,fma"
#define INLINE __attribute__((always_inline, target(AVX2))) static inline
#define UNROLL _Pragma("GCC unroll 16")

enum { LANES = 8, MOST = KEEL__FEW };

/* r[i] lane k becomes r[k] lane i. */
INLINE void turn_about(__m256 r[8]) {
    __m256 t[8];
    UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4) UNROLL for (int h = 0; h < 2; h++) {
        r[i + 2 * h] = _mm256_shuffle_ps(t[i + h], t[i + h + 2], 0x44);
        r[i + 2 * h + 1] = _mm256_shuffle_ps(t[i + h], t[i + h + 2], 0xee);
    }
    UNROLL for (int k = 0; k < 4; k++) {
        t[k] = _mm256_permute2f128_ps(r[k], r[k + 4], 0x20);
        t[k + 4] = _mm256_permute2f128_ps(r[k], r[k + 4], 0x31);
    }
    UNROLL for (int k = 0; k < 8; k++) r[k] = t[k];
}

INLINE void start(__m256 sum[MOST], const float *bias, const int rows) {
    UNROLL for (int r = 0; r < rows; r++) sum[r] = bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps();
}

/* Eight sums of a row of x go to its lane of y [.][16]. */
INLINE void put(const __m256 sum[MOST], float *y, const int rows) {
    float sums[LANES];
    UNROLL for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(sums, sum[r]);
        UNROLL for (int i = 0; i < LANES; i++) y[i * KEEL_PANEL + r] = sums[i];
    }
}

/* Columns k .. k + 7 of eight rows. wide: they are bfloat16. */
INLINE void load(const char *w, size_t row_bytes, size_t k, const int wide, __m256 t[8]) {
    UNROLL for (int i = 0; i < LANES; i++) {
        const char *at = w + (size_t)i * row_bytes + k * (wide ? sizeof(uint16_t) : sizeof(float));
        t[i] = wide ? _mm256_castsi256_ps(_mm256_slli_epi32(
                          _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)at)), 16))
                    : _mm256_loadu_ps((const float *)(const void *)at);
        if (k % (wide ? 32 : 16) == 0) _mm_prefetch(at + 2 * LANES * row_bytes, _MM_HINT_T1);
    }
}

INLINE float one(const char *at, const int wide) {
    uint16_t upper;
    float value;
    if (!wide) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&upper, at, sizeof upper);
    const uint32_t bits = (uint32_t)upper << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE void float_tile(const float *x, size_t cols, const char *w, const float *bias, float *y,
                       const int wide, const int rows) {
    const size_t size = wide ? sizeof(uint16_t) : sizeof(float), row_bytes = cols * size;
    __m256 sum[MOST], t[8];
    size_t k = 0;
    start(sum, bias, rows);
    for (; k + LANES <= cols; k += LANES) {
        load(w, row_bytes, k, wide, t);
        turn_about(t);
        UNROLL for (int j = 0; j < LANES; j++) UNROLL for (int r = 0; r < rows; r++) sum[r] =
            _mm256_fmadd_ps(t[j], _mm256_set1_ps(x[(k + (size_t)j) * KEEL_PANEL + (size_t)r]), sum[r]);
    }
    for (; k < cols; k++) {
        float column[LANES];
        for (int i = 0; i < LANES; i++) column[i] = one(w + (size_t)i * row_bytes + k * size, wide);
        UNROLL for (int r = 0; r < rows; r++) sum[r] =
            _mm256_fmadd_ps(_mm256_loadu_ps(column), _mm256_set1_ps(x[k * KEEL_PANEL + (size_t)r]), sum[r]);
    }
    put(sum, y, rows);
}

/* ---- Q8_0 ---- */

/* Four bytes of each lane: the first and third, the second and fourth as whole numbers of 16 bits. */
INLINE void split_four(__m256i four, __m256i *even, __m256i *odd) {
    *even = _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8);
    *odd = _mm256_srai_epi16(four, 8);
}

INLINE void q8_tile(const keel__fours_block *x, size_t cols, const char *w, const float *bias, float *y,
                    const int rows) {
    const size_t row_bytes = cols / KEEL_MATRIX_BLOCK * KEEL_MATRIX_BLOCK_BYTES;
    __m256 sum[MOST];
    start(sum, bias, rows);
    for (size_t c = 0; c < cols; c += KEEL_MATRIX_BLOCK, w += KEEL_MATRIX_BLOCK_BYTES, x++) {
        __m256 t[8];
        __m256i whole[MOST];
        float scales[LANES];
        UNROLL for (int i = 0; i < LANES; i++) {
            const char *at = w + (size_t)i * row_bytes;
            t[i] = _mm256_loadu_ps((const float *)(const void *)(at + sizeof(uint16_t)));
            scales[i] = keel__half_scale(at);
            _mm_prefetch(at + 2 * LANES * row_bytes, _MM_HINT_T1);
        }
        turn_about(t);
        UNROLL for (int r = 0; r < rows; r++) whole[r] = _mm256_setzero_si256();
        UNROLL for (int g = 0; g < 8; g++) {
            __m256i first, second;
            split_four(_mm256_castps_si256(t[g]), &first, &second);
            UNROLL for (int r = 0; r < rows; r++) {
                uint32_t four;
                __m256i even, odd;
                memcpy(&four, x->q[g][r], sizeof four);
                split_four(_mm256_set1_epi32((int32_t)(four ^ 0x80808080u)), &even, &odd);
                whole[r] = _mm256_add_epi32(whole[r], _mm256_add_epi32(_mm256_madd_epi16(first, even),
                                                                       _mm256_madd_epi16(second, odd)));
            }
        }
        UNROLL for (int r = 0; r < rows; r++) sum[r] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[r]),
                            _mm256_mul_ps(_mm256_loadu_ps(scales), _mm256_set1_ps(x->scale[r])), sum[r]);
    }
    put(sum, y, rows);
}

/* ---- by rows ---- */

/* Sixteen outputs at a time, as the other kernels of few rows; what is over is left to the panel's product.
 */
__attribute__((target(AVX2))) size_t keel__few_f32_avx2(const void *x, size_t rows, const keel_matrix *w,
                                                        const float *bias, size_t from, size_t to, float *y) {
    const size_t row_bytes = w->cols * sizeof(float), end = from + (to - from) / KEEL_PANEL * KEEL_PANEL;
    if (w->type != KEEL_MATRIX_F32 || (uintptr_t)w->data % sizeof(float)) return from;
    for (size_t o = from; o < end; o += LANES)
        KEEL__BY_ROWS(float_tile, x, w->cols, (const char *)w->data + o * row_bytes, bias ? bias + o : NULL,
                      y + o * KEEL_PANEL, 0)
    return end;
}

__attribute__((target(AVX2))) size_t keel__few_bf16_avx2(const void *x, size_t rows, const keel_matrix *w,
                                                         const float *bias, size_t from, size_t to,
                                                         float *y) {
    const size_t row_bytes = w->cols * sizeof(uint16_t), end = from + (to - from) / KEEL_PANEL * KEEL_PANEL;
    for (size_t o = from; o < end; o += LANES)
        KEEL__BY_ROWS(float_tile, x, w->cols, (const char *)w->data + o * row_bytes, bias ? bias + o : NULL,
                      y + o * KEEL_PANEL, 1)
    return end;
}

__attribute__((target(AVX2))) size_t keel__few_blocks_avx2(const void *x, size_t rows, const keel_matrix *w,
                                                           const float *bias, size_t from, size_t to,
                                                           float *y) {
    if (w->type != KEEL_MATRIX_Q8_0) return from;
    const size_t row_bytes = w->cols / KEEL_MATRIX_BLOCK * KEEL_MATRIX_BLOCK_BYTES,
                 end = from + (to - from) / KEEL_PANEL * KEEL_PANEL;
    for (size_t o = from; o < end; o += LANES)
        KEEL__BY_ROWS(q8_tile, x, w->cols, (const char *)w->data + o * row_bytes, bias ? bias + o : NULL,
                      y + o * KEEL_PANEL)
    return end;
}
#endif
