/* Products for a few rows of x with AVX2, as panels_few.c: lanes are eight rows of the matrix, turned about
 * in registers. Each sum adds the same products in the same order, so its bits are those of the panel's. */
#include <string.h>

#include "core/half.h"
#include "core/panels_whole.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2   "avx2,fma,f16c"
#define INLINE __attribute__((always_inline, target(AVX2))) static inline
#define UNROLL KEEL__UNROLL

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
    return keel_bf16_to_float(upper);
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

/* ---- Q8_0, Q4_0 ---- */

/* Four bytes of each lane: the first and third, the second and fourth as whole numbers of 16 bits. */
INLINE void split_four(__m256i four, __m256i *even, __m256i *odd) {
    *even = _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8);
    *odd = _mm256_srai_epi16(four, 8);
}

INLINE float scale_at(const char *block) {
    uint16_t half;
    memcpy(&half, block, sizeof half);
    return _cvtsh_ss(half);
}

INLINE int32_t four_of(const keel__x_block *x, int g, int r) {
    int32_t four;
    memcpy(&four, x->q[g][r], sizeof four);
    return four;
}

INLINE void bytes_block(const keel__x_block *x, const char *w, size_t row_bytes, __m256i whole[MOST],
                        const int rows) {
    __m256 t[8];
    UNROLL for (int i = 0; i < LANES; i++) t[i] =
        _mm256_loadu_ps((const float *)(const void *)(w + (size_t)i * row_bytes + sizeof(uint16_t)));
    turn_about(t);
    UNROLL for (int r = 0; r < rows; r++) whole[r] = _mm256_setzero_si256();
    UNROLL for (int g = 0; g < 8; g++) {
        __m256i first, second;
        split_four(_mm256_castps_si256(t[g]), &first, &second);
        UNROLL for (int r = 0; r < rows; r++) {
            __m256i even, odd;
            split_four(_mm256_set1_epi32(four_of(x, g, r)), &even, &odd);
            whole[r] = _mm256_add_epi32(
                whole[r], _mm256_add_epi32(_mm256_madd_epi16(first, even), _mm256_madd_epi16(second, odd)));
        }
    }
}

/* Columns 4 g .. 4 g + 3 of eight rows in the lower halves of t[g]'s bytes, 16 columns on in the upper ones.
 */
INLINE void load_fours(const char *w, size_t row_bytes, __m256i t[4]) {
    __m256i a[4], b[4];
    UNROLL for (int i = 0; i < 4; i++) {
        const char *at = w + (size_t)i * row_bytes + sizeof(uint16_t);
        a[i] = _mm256_set_m128i(_mm_loadu_si128((const __m128i *)(const void *)(at + 4 * row_bytes)),
                                _mm_loadu_si128((const __m128i *)(const void *)at));
    }
    UNROLL for (int i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        t[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
        t[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
    }
}

/* Sums of 16 bits, as weights 8 too large and x->low are those of the block. */
INLINE void fours_block(const keel__x_block *x, const char *w, size_t row_bytes, __m256i whole[MOST],
                        const int rows) {
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i t[4], twos[MOST];
    load_fours(w, row_bytes, t);
    UNROLL for (int r = 0; r < rows; r++) {
        int32_t low;
        memcpy(&low, x->low[r], sizeof low);
        twos[r] = _mm256_set1_epi32(low);
    }
    UNROLL for (int g = 0; g < 4; g++) {
        const __m256i low = _mm256_and_si256(t[g], mask),
                      high = _mm256_and_si256(_mm256_srli_epi16(t[g], 4), mask);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m256i v = _mm256_maddubs_epi16(low, _mm256_set1_epi32(four_of(x, g, r)));
            twos[r] = _mm256_add_epi16(
                twos[r],
                _mm256_add_epi16(v, _mm256_maddubs_epi16(high, _mm256_set1_epi32(four_of(x, g + 4, r)))));
        }
    }
    UNROLL for (int r = 0; r < rows; r++) whole[r] = _mm256_madd_epi16(twos[r], _mm256_set1_epi16(1));
}

INLINE void whole_tile(const keel__scaled_block *x, size_t cols, const char *w, const float *bias, float *y,
                       const int fours, const int rows) {
    const size_t bytes = fours ? KEEL_MATRIX_Q4_0_BYTES : KEEL_MATRIX_BLOCK_BYTES,
                 row_bytes = cols / KEEL_MATRIX_BLOCK * bytes;
    const char *next = w + 2 * LANES * row_bytes;
    __m256 sum[MOST];
    start(sum, bias, rows);
    for (size_t c = 0; c < cols; c += KEEL_MATRIX_BLOCK, w += bytes, x++) {
        __m256i whole[MOST];
        float scales[LANES];
        UNROLL for (int i = 0; i < LANES; i++) scales[i] = scale_at(w + (size_t)i * row_bytes);
        for (int i = 0; i < (fours ? 3 : 5); i++, next += 64) _mm_prefetch(next, _MM_HINT_T1);
        if (fours)
            fours_block(&x->x, w, row_bytes, whole, rows);
        else
            bytes_block(&x->x, w, row_bytes, whole, rows);
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
    const size_t row_bytes = keel_matrix_row_bytes(w->type, w->cols),
                 end = from + (to - from) / KEEL_PANEL * KEEL_PANEL;
    for (size_t o = from; o < end; o += LANES) {
        const char *at = (const char *)w->data + o * row_bytes;
        if (w->type == KEEL_MATRIX_Q4_0)
            KEEL__BY_ROWS(whole_tile, x, w->cols, at, bias ? bias + o : NULL, y + o * KEEL_PANEL, 1)
        else
            KEEL__BY_ROWS(whole_tile, x, w->cols, at, bias ? bias + o : NULL, y + o * KEEL_PANEL, 0)
    }
    return end;
}
#endif
