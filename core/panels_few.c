/* Products for a few rows of x, where a panel of sixteen would be mostly empty: lanes are sixteen rows of the
 * matrix instead, turned about in registers. Each sum adds the same products in the same order, so its bits
 * are those of the panel's. */
#include <string.h>

#include "core/panels_whole.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define INLINE(isa) __attribute__((always_inline, target(isa))) static inline
#define UNROLL      KEEL__UNROLL
#define VNNI        "avx512f,avx512bw,avx512vl,avx512vnni"

enum { LANES = KEEL_PANEL, MOST = KEEL__FEW };

/* r[i] lane k becomes r[k] lane i. */
INLINE("avx512f") void turn_about(__m512i r[16]) {
    __m512i t[16];
    UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) UNROLL for (int h = 0; h < 2; h++) {
        r[i + 2 * h] = _mm512_unpacklo_epi64(t[i + h], t[i + h + 2]);
        r[i + 2 * h + 1] = _mm512_unpackhi_epi64(t[i + h], t[i + h + 2]);
    }
    UNROLL for (int i = 0; i < 16; i += 8) UNROLL for (int k = 0; k < 4; k++) {
        t[i + k] = _mm512_shuffle_i32x4(r[i + k], r[i + k + 4], 0x88);
        t[i + k + 4] = _mm512_shuffle_i32x4(r[i + k], r[i + k + 4], 0xdd);
    }
    UNROLL for (int k = 0; k < 8; k++) {
        r[k] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88);
        r[k + 8] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd);
    }
}

/* Sixteen sums of a row of x go to its lane of y [.][16]. */
INLINE("avx512f") void put(__m512 sum, float *y, int lane) {
    float sums[LANES];
    _mm512_storeu_ps(sums, sum);
    UNROLL for (int i = 0; i < LANES; i++) y[i * LANES + lane] = sums[i];
}

INLINE("avx512f") void start(__m512 sum[MOST], const float *bias, const int rows) {
    UNROLL for (int r = 0; r < rows; r++) sum[r] = bias ? _mm512_loadu_ps(bias) : _mm512_setzero_ps();
}

INLINE("avx512f")
void f32_tile(const float *x, size_t cols, const float *w, const float *bias, float *y, const int rows) {
    __m512 sum[MOST];
    __m512i t[16];
    size_t k = 0;
    start(sum, bias, rows);
    for (; k + LANES <= cols; k += LANES) {
        UNROLL for (int i = 0; i < 16; i++) {
            t[i] = _mm512_loadu_si512(w + (size_t)i * cols + k);
            _mm_prefetch((const char *)(w + (size_t)(i + 16) * cols + k), _MM_HINT_T1);
        }
        turn_about(t);
        UNROLL for (int j = 0; j < 16; j++) UNROLL for (int r = 0; r < rows; r++) sum[r] = _mm512_fmadd_ps(
            _mm512_castsi512_ps(t[j]), _mm512_set1_ps(x[(k + (size_t)j) * LANES + (size_t)r]), sum[r]);
    }
    for (; k < cols; k++) {
        float column[LANES];
        for (int i = 0; i < LANES; i++) column[i] = w[(size_t)i * cols + k];
        UNROLL for (int r = 0; r < rows; r++) sum[r] =
            _mm512_fmadd_ps(_mm512_loadu_ps(column), _mm512_set1_ps(x[k * LANES + (size_t)r]), sum[r]);
    }
    UNROLL for (int r = 0; r < rows; r++) put(sum[r], y, r);
}

INLINE("avx512f,avx512bf16")
void bf16_tile(const uint32_t *x, size_t cols, const char *w, const float *bias, float *y, const int rows) {
    const size_t row_bytes = cols * sizeof(uint16_t), pairs = cols / 2;
    __m512 sum[MOST];
    __m512i t[16];
    size_t k = 0;
    start(sum, bias, rows);
    for (; k + LANES <= pairs; k += LANES) {
        UNROLL for (int i = 0; i < 16; i++) {
            t[i] = _mm512_loadu_si512(w + (size_t)i * row_bytes + 4 * k);
            _mm_prefetch(w + (size_t)(i + 16) * row_bytes + 4 * k, _MM_HINT_T1);
        }
        turn_about(t);
        UNROLL for (int j = 0; j < 16; j++) UNROLL for (int r = 0; r < rows; r++) sum[r] =
            _mm512_dpbf16_ps(sum[r], (__m512bh)t[j],
                             (__m512bh)_mm512_set1_epi32((int32_t)x[(k + (size_t)j) * LANES + (size_t)r]));
    }
    for (; k < pairs; k++) {
        uint32_t column[LANES];
        for (int i = 0; i < LANES; i++) memcpy(&column[i], w + (size_t)i * row_bytes + 4 * k, sizeof *column);
        UNROLL for (int r = 0; r < rows; r++) sum[r] =
            _mm512_dpbf16_ps(sum[r], (__m512bh)_mm512_loadu_si512(column),
                             (__m512bh)_mm512_set1_epi32((int32_t)x[k * LANES + (size_t)r]));
    }
    UNROLL for (int r = 0; r < rows; r++) put(sum[r], y, r);
}

/* One block of sixteen rows: t[g] lane i becomes bytes 4 g .. 4 g + 3 of row i. */
INLINE(VNNI) void load_block(const char *w, size_t row_bytes, __m512i t[8]) {
    __m512i a[8], b[8];
    UNROLL for (int i = 0; i < 8; i++) {
        const char *at = w + (size_t)(i % 4 + i / 4 * 8) * row_bytes + sizeof(uint16_t);
        a[i] =
            _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)at)),
                               _mm256_loadu_si256((const __m256i *)(const void *)(at + 4 * row_bytes)), 1);
    }
    UNROLL for (int h = 0; h < 8; h += 4) {
        UNROLL for (int i = 0; i < 4; i += 2) {
            b[h + i] = _mm512_unpacklo_epi32(a[h + i], a[h + i + 1]);
            b[h + i + 1] = _mm512_unpackhi_epi32(a[h + i], a[h + i + 1]);
        }
        UNROLL for (int i = 0; i < 2; i++) {
            a[h + 2 * i] = _mm512_unpacklo_epi64(b[h + i], b[h + i + 2]);
            a[h + 2 * i + 1] = _mm512_unpackhi_epi64(b[h + i], b[h + i + 2]);
        }
    }
    UNROLL for (int g = 0; g < 4; g++) {
        t[g] = _mm512_shuffle_i32x4(a[g], a[g + 4], 0x88);
        t[g + 4] = _mm512_shuffle_i32x4(a[g], a[g + 4], 0xdd);
    }
}

/* The same of Q4_0: t[g] has the halves of sixteen bytes. */
INLINE(VNNI) void load_fours(const char *w, size_t row_bytes, __m512i t[4]) {
    __m512i a[4], b[4];
    UNROLL for (int i = 0; i < 4; i++) {
        const char *at = w + (size_t)i * row_bytes + sizeof(uint16_t);
        a[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)at));
        at += 4 * row_bytes;
        a[i] = _mm512_inserti32x4(a[i], _mm_loadu_si128((const __m128i *)(const void *)at), 1);
        at += 4 * row_bytes;
        a[i] = _mm512_inserti32x4(a[i], _mm_loadu_si128((const __m128i *)(const void *)at), 2);
        at += 4 * row_bytes;
        a[i] = _mm512_inserti32x4(a[i], _mm_loadu_si128((const __m128i *)(const void *)at), 3);
    }
    UNROLL for (int i = 0; i < 4; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        t[2 * i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        t[2 * i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    }
}

/* A block of sixteen rows in bytes above 0, four columns to t[g]: 128 too large, of Q4_0 8. */
INLINE(VNNI) void load_above(const char *w, size_t row_bytes, const int fours, __m512i t[8]) {
    const __m512i sign = _mm512_set1_epi8(-128), mask = _mm512_set1_epi8(15);
    if (!fours) {
        load_block(w, row_bytes, t);
        UNROLL for (int g = 0; g < 8; g++) t[g] = _mm512_xor_si512(t[g], sign);
        return;
    }
    __m512i both[4];
    load_fours(w, row_bytes, both);
    UNROLL for (int g = 0; g < 4; g++) {
        t[g] = _mm512_and_si512(both[g], mask);
        t[g + 4] = _mm512_and_si512(_mm512_srli_epi16(both[g], 4), mask);
    }
}

INLINE(VNNI) __m512 scales_of(const char *w, size_t row_bytes) {
    const __m512i starts =
        _mm512_mullo_epi32(_mm512_set1_epi32((int32_t)row_bytes),
                           _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion" /* in the compiler's own macro, without optimisation */
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_i32gather_epi32(starts, w, 1)));
#pragma GCC diagnostic pop
}

/* What weights above 0 add too much is known of x's block. */
INLINE(VNNI)
void whole_tile(const keel__scaled_block *x, size_t cols, const char *w, const float *bias, float *y,
                const int fours, const int rows) {
    const size_t bytes = fours ? KEEL_MATRIX_Q4_0_BYTES : KEEL_MATRIX_BLOCK_BYTES,
                 row_bytes = cols / KEEL_MATRIX_BLOCK * bytes;
    /* of the sixteen rows behind these: their bytes follow one another */
    const char *next = w + LANES * row_bytes;
    __m512 sum[MOST];
    start(sum, bias, rows);
    for (size_t c = 0; c < cols; c += KEEL_MATRIX_BLOCK, w += bytes, x++) {
        __m512i t[8], whole[MOST];
        load_above(w, row_bytes, fours, t);
        for (int i = 0; i < (fours ? 5 : 9); i++, next += 64) _mm_prefetch(next, _MM_HINT_T1);
        UNROLL for (int r = 0; r < rows; r++) {
            const int32_t low = x->x.low[r][0] + x->x.low[r][1];
            whole[r] = _mm512_set1_epi32(fours ? low : 16 * low);
        }
        UNROLL for (int g = 0; g < 8; g++) UNROLL for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x->x.q[g][r], sizeof four);
            whole[r] = _mm512_dpbusd_epi32(whole[r], t[g], _mm512_set1_epi32(four));
        }
        const __m512 scale = scales_of(w, row_bytes);
        UNROLL for (int r = 0; r < rows; r++) sum[r] = _mm512_fmadd_ps(
            _mm512_cvtepi32_ps(whole[r]), _mm512_mul_ps(scale, _mm512_set1_ps(x->scale[r])), sum[r]);
    }
    UNROLL for (int r = 0; r < rows; r++) put(sum[r], y, r);
}

/* Sixteen outputs at a time; returns the first that is left over. */
__attribute__((target("avx512f"))) size_t keel__few_f32(const void *x, size_t rows, const keel_matrix *w,
                                                        const float *bias, size_t from, size_t to, float *y) {
    size_t o = from;
    if (w->type != KEEL_MATRIX_F32 || (uintptr_t)w->data % sizeof(float)) return from;
    for (; o + LANES <= to; o += LANES)
        KEEL__BY_ROWS(f32_tile, x, w->cols, (const float *)w->data + o * w->cols, bias ? bias + o : NULL,
                      y + o * LANES)
    return o;
}

__attribute__((target("avx512f,avx512bf16"))) size_t keel__few_bf16(const void *x, size_t rows,
                                                                    const keel_matrix *w, const float *bias,
                                                                    size_t from, size_t to, float *y) {
    const size_t row_bytes = w->cols * sizeof(uint16_t);
    size_t o = from;
    for (; o + LANES <= to; o += LANES)
        KEEL__BY_ROWS(bf16_tile, x, w->cols, (const char *)w->data + o * row_bytes, bias ? bias + o : NULL,
                      y + o * LANES)
    return o;
}

__attribute__((target(VNNI))) size_t keel__few_blocks(const void *x, size_t rows, const keel_matrix *w,
                                                      const float *bias, size_t from, size_t to, float *y) {
    const size_t row_bytes = keel_matrix_row_bytes(w->type, w->cols);
    size_t o = from;
    for (; o + LANES <= to; o += LANES) {
        const char *at = (const char *)w->data + o * row_bytes;
        if (w->type == KEEL_MATRIX_Q4_0)
            KEEL__BY_ROWS(whole_tile, x, w->cols, at, bias ? bias + o : NULL, y + o * LANES, 1)
        else
            KEEL__BY_ROWS(whole_tile, x, w->cols, at, bias ? bias + o : NULL, y + o * LANES, 0)
    }
    return o;
}
#endif
