/* Products in whole numbers with AVX-512-VNNI and AVX2. */
#include "core/panels_whole.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define INLINE(isa) __attribute__((always_inline, target(isa))) static inline
#define UNROLL      _Pragma("GCC unroll 16")
#define VNNI        "avx512f,avx512bw,avx512vl,avx512vnni"
#define AVX2        "avx2,fma"

enum { BLOCK = KEEL_MATRIX_BLOCK, ROWS = KEEL__WHOLE_ROWS };

static inline int32_t four_at(const int8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four;
}

static inline const float *scales_at(const keel__whole *job, size_t panel) {
    return (const float *)(const void *)((const char *)job->x_scale + panel * job->x_panel);
}

/* ---- AVX-512-VNNI ---- */

INLINE(VNNI) void rows_tile_512(const keel__whole *job, size_t first, const int panels) {
    const char *x = job->x + first * job->x_panel;
    float *y = job->y + first * job->y_panel;
    __m512i sum[ROWS][3], v[3];
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
        _mm512_set1_epi32(job->offset[r][0]);
    UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int i = 0; i < panels; i++) if (!job->first && r < (int)job->rows) sum[r][i] =
            _mm512_add_epi32(sum[r][i], _mm512_loadu_si512(y + (size_t)i * job->y_panel + r * KEEL_PANEL));
    for (size_t k = 0; k < job->cols; k += 4, x += KEEL__FOURS) {
        UNROLL for (int i = 0; i < panels; i++) v[i] = _mm512_loadu_si512(x + (size_t)i * job->x_panel);
        UNROLL for (int r = 0; r < ROWS; r++) {
            const __m512i factor = _mm512_set1_epi32(four_at(job->q[r] + k));
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] = _mm512_dpbusd_epi32(sum[r][i], v[i], factor);
        }
    }
    UNROLL for (int i = 0; i < panels; i++) {
        const __m512 scale = _mm512_loadu_ps(scales_at(job, first + (size_t)i));
        UNROLL for (int r = 0; r < ROWS; r++) {
            float *to = y + (size_t)i * job->y_panel + r * KEEL_PANEL;
            if (r >= (int)job->rows) continue;
            const __m512 ready = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][i]),
                                                 _mm512_mul_ps(_mm512_set1_ps(job->scale[r][0]), scale),
                                                 _mm512_set1_ps(job->bias[r]));
            _mm512_storeu_si512(to, job->last ? _mm512_castps_si512(ready) : sum[r][i]);
        }
    }
}

__attribute__((target(VNNI))) void keel__rows_vnni(const keel__whole *job, size_t panels) {
    size_t i = 0;
    for (; i + 3 <= panels && panels - i != 4; i += 3) rows_tile_512(job, i, 3);
    for (; i + 2 <= panels; i += 2) rows_tile_512(job, i, 2);
    if (i < panels) rows_tile_512(job, i, 1);
}

/* Whole numbers of a block, and floats: twice panels x rows sums. */
INLINE(VNNI)
void blocks_tile_512(const keel__whole *job, size_t first, const int from, const int panels, const int rows) {
    const char *x = job->x + first * job->x_panel;
    float *y = job->y + first * job->y_panel + from * KEEL_PANEL;
    __m512 sum[ROWS][3];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
        job->first ? _mm512_set1_ps(job->bias[from + r])
                   : _mm512_loadu_ps(y + (size_t)i * job->y_panel + r * KEEL_PANEL);
    for (size_t b = 0; b < job->cols / BLOCK; b++, x += sizeof(keel__fours_block)) {
        __m512i whole[ROWS][3], v[3];
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++) whole[r][i] =
            _mm512_set1_epi32(job->offset[from + r][b]);
        UNROLL for (int k = 0; k < BLOCK / 4; k++) {
            UNROLL for (int i = 0; i < panels; i++) v[i] =
                _mm512_loadu_si512(x + (size_t)i * job->x_panel + KEEL__SCALES + KEEL__FOURS * k);
            UNROLL for (int r = 0; r < rows; r++) {
                const __m512i factor = _mm512_set1_epi32(four_at(job->q[from + r] + b * BLOCK + 4 * k));
                UNROLL for (int i = 0; i < panels; i++) whole[r][i] =
                    _mm512_dpbusd_epi32(whole[r][i], v[i], factor);
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512 scale = _mm512_set1_ps(job->scale[from + r][b]);
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] = _mm512_fmadd_ps(
                _mm512_cvtepi32_ps(whole[r][i]),
                _mm512_mul_ps(scale, _mm512_loadu_ps(x + (size_t)i * job->x_panel)), sum[r][i]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        if (from + r >= (int)job->rows) continue;
        UNROLL for (int i = 0; i < panels; i++)
            _mm512_storeu_ps(y + (size_t)i * job->y_panel + r * KEEL_PANEL, sum[r][i]);
    }
}

__attribute__((target(VNNI))) void keel__blocks_vnni(const keel__whole *job, size_t panels) {
    for (int r = 0; r < (int)job->rows; r += 4) {
        size_t i = 0;
        for (; i + 3 <= panels && panels - i != 4; i += 3) blocks_tile_512(job, i, r, 3, 4);
        for (; i + 2 <= panels; i += 2) blocks_tile_512(job, i, r, 2, 4);
        if (i < panels) blocks_tile_512(job, i, r, 1, 4);
    }
}

/* ---- AVX2: |w| times x with the sign of w: sums of two such products are of 16 bits ---- */

INLINE(AVX2) __m256i add_four(__m256i sum, __m256i size, __m256i factor, __m256i x) {
    const __m256i twos = _mm256_maddubs_epi16(size, _mm256_sign_epi8(x, factor));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
}

/* Rows from .. from + rows - 1 of a panel: so many fours of columns. */
INLINE(AVX2) void add_fours(const int8_t *q, const char *x, size_t fours, __m256i sum[][2], const int rows) {
    const __m256i sign = _mm256_set1_epi8(-128);
    for (size_t k = 0; k < fours; k++, x += KEEL__FOURS) {
        __m256i v[2];
        UNROLL for (int h = 0; h < 2; h++) v[h] =
            _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)(x + 32 * h)), sign);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m256i factor = _mm256_set1_epi32(four_at(q + r * KEEL__WHOLE_COLS + 4 * k)),
                          size = _mm256_abs_epi8(factor);
            UNROLL for (int h = 0; h < 2; h++) sum[r][h] = add_four(sum[r][h], size, factor, v[h]);
        }
    }
}

INLINE(AVX2) void rows_tile_256(const keel__whole *job, size_t panel, const int from, const int rows) {
    float *y = job->y + panel * job->y_panel + from * KEEL_PANEL;
    __m256i sum[ROWS][2];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) sum[r][h] =
        job->first || from + r >= (int)job->rows
            ? _mm256_setzero_si256()
            : _mm256_loadu_si256((const __m256i *)(const void *)(y + r * KEEL_PANEL + 8 * h));
    add_fours(job->q[from], job->x + panel * job->x_panel, job->cols / 4, sum, rows);
    UNROLL for (int r = 0; r < rows; r++) {
        if (from + r >= (int)job->rows) continue;
        UNROLL for (int h = 0; h < 2; h++) {
            const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(job->scale[from + r][0]),
                                               _mm256_loadu_ps(scales_at(job, panel) + 8 * h)),
                         ready = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r][h]), scale,
                                                 _mm256_set1_ps(job->bias[from + r]));
            _mm256_storeu_ps(y + r * KEEL_PANEL + 8 * h, job->last ? ready : _mm256_castsi256_ps(sum[r][h]));
        }
    }
}

__attribute__((target(AVX2))) void keel__rows_avx2(const keel__whole *job, size_t panels) {
    for (int r = 0; r < (int)job->rows; r += 4)
        for (size_t i = 0; i < panels; i++) rows_tile_256(job, i, r, 4);
}

INLINE(AVX2) void blocks_tile_256(const keel__whole *job, size_t panel, const int from, const int rows) {
    const char *x = job->x + panel * job->x_panel;
    float *y = job->y + panel * job->y_panel + from * KEEL_PANEL;
    __m256 sum[2][2];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) sum[r][h] =
        job->first ? _mm256_set1_ps(job->bias[from + r]) : _mm256_loadu_ps(y + r * KEEL_PANEL + 8 * h);
    for (size_t b = 0; b < job->cols / BLOCK; b++, x += sizeof(keel__fours_block)) {
        __m256i whole[2][2];
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) whole[r][h] =
            _mm256_setzero_si256();
        add_fours(job->q[from] + b * BLOCK, x + KEEL__SCALES, BLOCK / 4, whole, rows);
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) {
            const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(job->scale[from + r][b]),
                                               _mm256_loadu_ps((const float *)(const void *)x + 8 * h));
            sum[r][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[r][h]), scale, sum[r][h]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) if (from + r < (int)job->rows)
        _mm256_storeu_ps(y + r * KEEL_PANEL + 8 * h, sum[r][h]);
}

__attribute__((target(AVX2))) void keel__blocks_avx2(const keel__whole *job, size_t panels) {
    for (int r = 0; r < (int)job->rows; r += 2)
        for (size_t i = 0; i < panels; i++) blocks_tile_256(job, i, r, 2);
}
#endif
