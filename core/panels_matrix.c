/* Products with matrices of any number format. */
#include <math.h>
#include <string.h>

#include "core/gemm.h"
#include "core/panels_internal.h"
#include "core/simd.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

enum { BLOCK = KEEL_MATRIX_BLOCK, BLOCK_BYTES = KEEL_MATRIX_BLOCK_BYTES };

typedef struct job {
    const char *x; /* packed panels */
    size_t x_panel;
    const char *w;
    size_t w_row; /* bytes */
    const keel_matrix *matrix;
    const float *bias;
    float *y;
    size_t y_panel;
} job;

/* `panels` (1 to 3) from `first` on, outputs from .. to - 1. */
typedef void kernel(const job *j, size_t first, size_t panels, size_t from, size_t to);

/* Some panels of x stay in the second cache while all weights pass, some weights in the first while these
 * panels pass. */
static void by_blocks(kernel *run, size_t x_panel, const void *x, size_t panels, const keel_matrix *w,
                      const float *bias, size_t from, size_t to, float *y) {
    enum { PANELS = 12, OUTPUTS = 48 };
    const job j = {.x = x,
                   .x_panel = x_panel,
                   .w = w->data,
                   .w_row = keel_matrix_row_bytes(w->type, w->cols),
                   .matrix = w,
                   .bias = bias,
                   .y = y,
                   .y_panel = w->rows * KEEL_PANEL};
    for (size_t block = 0; block < panels; block += PANELS) {
        const size_t end = block + PANELS < panels ? block + PANELS : panels;
        for (size_t o = from; o < to; o += OUTPUTS)
            for (size_t i = block, n; i < end; i += n) {
                n = end - i == 4 ? 2 : end - i < 3 ? end - i : 3;
                run(&j, i, n, o, o + OUTPUTS < to ? o + OUTPUTS : to);
            }
    }
}

static bool anywhere(void) {
    return true;
}

/* ---- floats ---- */

static size_t float_bytes(size_t cols) {
    return cols * KEEL_PANEL * sizeof(float);
}

static void pack_floats(const float *x, size_t cols, void *to) {
    memcpy(to, x, float_bytes(cols));
}

/* Columns k .. k + cols - 1 of some rows against panels of `in` columns. */
static void multiply_floats(const float *x, size_t panels, size_t in, size_t k, size_t cols, const float *w,
                            size_t w_row, const float *bias, size_t rows, float *y, size_t y_panel) {
    const keel__product p = {.x = x + k * KEEL_PANEL,
                             .w = w,
                             .bias = bias,
                             .y = y,
                             .in = cols,
                             .out = rows,
                             .x_panel = in * KEEL_PANEL,
                             .x_step = KEEL_PANEL,
                             .w_row = w_row,
                             .w_step = 1,
                             .y_panel = y_panel,
                             .y_step = KEEL_PANEL,
                             .more = k > 0};
    keel__panel_multiply(&p, panels);
}

/* Weights are made floats a tile at a time, the sums going on from tile to tile. */
static void multiply_widened(const keel_matrix *w, const float *x, size_t panels, const float *bias,
                             size_t from, size_t to, float *y) {
    enum { ROWS = 16, COLS = 256 };
    float tile[ROWS][COLS];
    const size_t row_bytes = keel_matrix_row_bytes(w->type, w->cols), size = row_bytes / w->cols;
    for (size_t o = from; o < to; o += ROWS) {
        const size_t rows = to - o < ROWS ? to - o : ROWS;
        for (size_t k = 0; k < w->cols; k += COLS) {
            const size_t cols = w->cols - k < COLS ? w->cols - k : COLS;
            for (size_t r = 0; r < rows; r++) {
                const keel_matrix part = {w->type, 1, cols,
                                          (const char *)w->data + (o + r) * row_bytes + k * size, NULL};
                keel_matrix_read_row(&part, 0, tile[r]);
            }
            multiply_floats(x, panels, w->cols, k, cols, tile[0], COLS, bias ? bias + o : NULL, rows,
                            y + o * KEEL_PANEL, w->rows * KEEL_PANEL);
        }
    }
}

static void multiply_f32(const void *x, size_t panels, const keel_matrix *w, const float *bias, size_t from,
                         size_t to, float *y) {
    if ((uintptr_t)w->data % sizeof(float)) {
        multiply_widened(w, x, panels, bias, from, to, y);
        return;
    }
    multiply_floats(x, panels, w->cols, 0, w->cols, (const float *)w->data + from * w->cols, w->cols,
                    bias ? bias + from : NULL, to - from, y + from * KEEL_PANEL, w->rows * KEEL_PANEL);
}

static void multiply_bf16(const void *x, size_t panels, const keel_matrix *w, const float *bias, size_t from,
                          size_t to, float *y) {
    multiply_widened(w, x, panels, bias, from, to, y);
}

/* ---- Q8_0: of each row and block, whole numbers q and a scale ---- */

/* Nearest, ties to even; what is not a number becomes -127, its scale not finite either. */
static inline float nearest(float x) {
    const float to_whole = 12582912.0f, limited = x > -127 ? x < 127 ? x : 127 : -127;
    return (limited + to_whole) - to_whole;
}

/* One block of a panel [32][16]. */
KEEL_SIMD static void quantise(const float *restrict x, float *restrict scale, int32_t *restrict q) {
    float most[KEEL_PANEL] = {0}, factor[KEEL_PANEL];
    for (int k = 0; k < BLOCK; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const float size = fabsf(x[k * KEEL_PANEL + lane]);
            most[lane] = size > most[lane] ? size : most[lane];
        }
    for (int lane = 0; lane < KEEL_PANEL; lane++) {
        scale[lane] = most[lane] / 127;
        factor[lane] = most[lane] > 0 ? 127 / most[lane] : 0;
    }
    for (int k = 0; k < BLOCK; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++)
            q[k * KEEL_PANEL + lane] = (int32_t)nearest(x[k * KEEL_PANEL + lane] * factor[lane]);
}

typedef struct bytes_block {
    float scale[KEEL_PANEL];
    int8_t q[BLOCK][KEEL_PANEL];
} bytes_block;

static size_t bytes_size(size_t cols) {
    return cols / BLOCK * sizeof(bytes_block);
}

static void pack_bytes(const float *x, size_t cols, void *to) {
    bytes_block *block = to;
    int32_t q[BLOCK * KEEL_PANEL];
    for (size_t c = 0; c < cols; c += BLOCK, block++) {
        quantise(x + c * KEEL_PANEL, block->scale, q);
        for (int i = 0; i < BLOCK * KEEL_PANEL; i++) block->q[i / KEEL_PANEL][i % KEEL_PANEL] = (int8_t)q[i];
    }
}

KEEL_SIMD static void add_block(const bytes_block *x, const int8_t *w, float scale, float *sum) {
    int32_t whole[KEEL_PANEL] = {0};
    for (int k = 0; k < BLOCK; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) whole[lane] += w[k] * x->q[k][lane];
    for (int lane = 0; lane < KEEL_PANEL; lane++)
        sum[lane] = fmaf((float)whole[lane], scale * x->scale[lane], sum[lane]);
}

static void run_q8_plain(const job *j, size_t first, size_t panels, size_t from, size_t to) {
    for (size_t i = first; i < first + panels; i++)
        for (size_t o = from; o < to; o++) {
            const bytes_block *x = (const bytes_block *)(const void *)(j->x + i * j->x_panel);
            const char *w = j->w + o * j->w_row;
            float *sum = j->y + i * j->y_panel + o * KEEL_PANEL;
            for (int lane = 0; lane < KEEL_PANEL; lane++) sum[lane] = j->bias ? j->bias[o] : 0;
            for (size_t c = 0; c < j->matrix->cols; c += BLOCK, w += BLOCK_BYTES)
                add_block(x++, (const int8_t *)w + sizeof(uint16_t), keel__q8_scale(w), sum);
        }
}

static void multiply_q8_plain(const void *x, size_t panels, const keel_matrix *w, const float *bias,
                              size_t from, size_t to, float *y) {
    by_blocks(run_q8_plain, bytes_size(w->cols), x, panels, w, bias, from, to, y);
}

#ifdef HAVE_X86
#define INLINE(isa) __attribute__((always_inline, target(isa))) static inline
#define UNROLL      _Pragma("GCC unroll 16")

/* ---- AVX2: pairs of 16 bits ---- */

static bool has_avx2(void) {
    return keel_gemm_kernel() != KEEL_GEMM_OTHER;
}

static size_t pairs_size(size_t cols) {
    return cols / BLOCK * sizeof(keel__pairs_block);
}

static void pack_pairs(const float *x, size_t cols, void *to) {
    keel__pairs_block *block = to;
    int32_t q[BLOCK * KEEL_PANEL];
    for (size_t c = 0; c < cols; c += BLOCK, block++) {
        quantise(x + c * KEEL_PANEL, block->scale, q);
        for (int i = 0; i < BLOCK * KEEL_PANEL; i++)
            block->q[i / KEEL_PANEL / 2][i % KEEL_PANEL][i / KEEL_PANEL % 2] = (int16_t)q[i];
    }
}

INLINE("avx2,fma") void q8_tile_256(const job *j, size_t panel, size_t from, const int rows) {
    const char *x = j->x + panel * j->x_panel, *w = j->w + from * j->w_row;
    float *y = j->y + panel * j->y_panel + from * KEEL_PANEL;
    __m256 sum[3][2];
    UNROLL for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] =
        _mm256_set1_ps(j->bias ? j->bias[from + (size_t)r] : 0);
    for (size_t c = 0; c < j->matrix->cols; c += BLOCK, x += sizeof(keel__pairs_block), w += BLOCK_BYTES) {
        int16_t wide[3][BLOCK];
        __m256i whole[3][2];
        UNROLL for (int r = 0; r < rows; r++) {
            const char *q = w + (size_t)r * j->w_row + sizeof(uint16_t);
            UNROLL for (int half = 0; half < 2; half++) {
                const __m128i narrow = _mm_loadu_si128((const __m128i *)(const void *)(q + 16 * half));
                _mm256_storeu_si256((__m256i *)(void *)(wide[r] + 16 * half), _mm256_cvtepi8_epi16(narrow));
                whole[r][half] = _mm256_setzero_si256();
            }
        }
        for (int k = 0; k < BLOCK / 2; k++) {
            const __m256i *v = (const __m256i *)(const void *)(x + KEEL_PANEL * sizeof(float) + 64 * k);
            const __m256i low = _mm256_loadu_si256(v), high = _mm256_loadu_si256(v + 1);
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t pair;
                memcpy(&pair, wide[r] + 2 * k, sizeof pair);
                const __m256i factor = _mm256_set1_epi32(pair);
                whole[r][0] = _mm256_add_epi32(whole[r][0], _mm256_madd_epi16(factor, low));
                whole[r][1] = _mm256_add_epi32(whole[r][1], _mm256_madd_epi16(factor, high));
            }
        }
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int half = 0; half < 2; half++) {
            const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(keel__q8_scale(w + (size_t)r * j->w_row)),
                                               _mm256_loadu_ps((const float *)(const void *)x + 8 * half));
            sum[r][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[r][half]), scale, sum[r][half]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int half = 0; half < 2; half++)
        _mm256_storeu_ps(y + r * KEEL_PANEL + 8 * half, sum[r][half]);
}

__attribute__((target("avx2,fma"))) static void run_q8_256(const job *j, size_t first, size_t panels,
                                                           size_t from, size_t to) {
    for (size_t i = first; i < first + panels; i++) {
        size_t o = from;
        for (; o + 3 <= to; o += 3) q8_tile_256(j, i, o, 3);
        for (; o < to; o++) q8_tile_256(j, i, o, 1);
    }
}

static void multiply_q8_256(const void *x, size_t panels, const keel_matrix *w, const float *bias,
                            size_t from, size_t to, float *y) {
    by_blocks(run_q8_256, pairs_size(w->cols), x, panels, w, bias, from, to, y);
}

/* ---- AVX-512 with VNNI: four whole numbers of 8 bits to a lane, those of x above 0 ---- */

typedef struct fours_block {
    float scale[KEEL_PANEL];
    uint32_t q[BLOCK / 4][KEEL_PANEL];
} fours_block;

#define VNNI "avx512f,avx512bw,avx512vl,avx512vnni"

static bool has_512(void) {
    return keel_gemm_kernel() == KEEL_GEMM_AVX512;
}

static bool has_vnni(void) {
    return keel_gemm_kernel() == KEEL_GEMM_AVX512 && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

static size_t fours_size(size_t cols) {
    return cols / BLOCK * sizeof(fours_block);
}

KEEL_SIMD static void join_fours(const int32_t *restrict q, uint32_t (*restrict to)[KEEL_PANEL]) {
    for (int k = 0; k < BLOCK / 4; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const int32_t *from = q + 4 * k * KEEL_PANEL + lane;
            to[k][lane] = (uint32_t)(from[0] + 128) | (uint32_t)(from[KEEL_PANEL] + 128) << 8 |
                          (uint32_t)(from[2 * KEEL_PANEL] + 128) << 16 |
                          (uint32_t)(from[3 * KEEL_PANEL] + 128) << 24;
        }
}

static void pack_fours(const float *x, size_t cols, void *to) {
    fours_block *block = to;
    int32_t q[BLOCK * KEEL_PANEL];
    for (size_t c = 0; c < cols; c += BLOCK, block++) {
        quantise(x + c * KEEL_PANEL, block->scale, q);
        join_fours(q, block->q);
    }
}

/* panels x rows sums twice, at most 12 each: whole numbers of a block, and floats. */
INLINE(VNNI) void q8_tile_512(const job *j, size_t first, size_t from, const int panels, const int rows) {
    const size_t blocks = j->matrix->cols / BLOCK;
    const char *x = j->x + first * j->x_panel, *w = j->w + from * j->w_row;
    const int32_t *offset = j->matrix->sums + from * blocks;
    float *y = j->y + first * j->y_panel + from * KEEL_PANEL;
    const bool fetch = panels == 1 && from + 2 * (size_t)rows <= j->matrix->rows;
    __m512 sum[12][3];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
        _mm512_set1_ps(j->bias ? j->bias[from + (size_t)r] : 0);
    for (size_t b = 0; b < blocks; b++, x += sizeof(fours_block), w += BLOCK_BYTES) {
        __m512i whole[12][3], v[3];
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++) whole[r][i] =
            _mm512_set1_epi32(offset[(size_t)r * blocks + b]);
        UNROLL for (int k = 0; k < BLOCK / 4; k++) {
            UNROLL for (int i = 0; i < panels; i++) v[i] =
                _mm512_loadu_si512(x + (size_t)i * j->x_panel + 64 + 64 * k);
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, w + (size_t)r * j->w_row + sizeof(uint16_t) + 4 * k, sizeof four);
                const __m512i factor = _mm512_set1_epi32(four);
                UNROLL for (int i = 0; i < panels; i++) whole[r][i] =
                    _mm512_dpbusd_epi32(whole[r][i], v[i], factor);
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            int16_t half;
            memcpy(&half, w + (size_t)r * j->w_row, sizeof half);
            const __m512 scale = _mm512_cvtph_ps(_mm256_set1_epi16(half));
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[r][i]),
                                _mm512_mul_ps(scale, _mm512_loadu_ps(x + (size_t)i * j->x_panel)), sum[r][i]);
            if (fetch && b % 2 == 0) _mm_prefetch(w + (size_t)(rows + r) * j->w_row, _MM_HINT_T1);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++)
        _mm512_storeu_ps(y + (size_t)i * j->y_panel + r * KEEL_PANEL, sum[r][i]);
}

__attribute__((target(VNNI))) static void run_q8_512(const job *j, size_t first, size_t panels, size_t from,
                                                     size_t to) {
    size_t o = from;
    for (; panels == 1 && o + 8 <= to; o += 8) q8_tile_512(j, first, o, 1, 8);
    for (; panels == 2 && o + 6 <= to; o += 6) q8_tile_512(j, first, o, 2, 6);
    for (; panels == 3 && o + 4 <= to; o += 4) q8_tile_512(j, first, o, 3, 4);
    for (; o < to; o++)
        for (size_t i = first; i < first + panels; i++) q8_tile_512(j, i, o, 1, 1);
}

static void multiply_q8_512(const void *x, size_t panels, const keel_matrix *w, const float *bias,
                            size_t from, size_t to, float *y) {
    by_blocks(run_q8_512, fours_size(w->cols), x, panels, w, bias, from, to, y);
}

/* ---- AVX-512 with BF16: two numbers to a lane ---- */

#define BF16 "avx512f,avx512bf16"

static bool has_bf16(void) {
    return keel_gemm_kernel() == KEEL_GEMM_AVX512 && __builtin_cpu_supports("avx512bf16");
}

static size_t twos_size(size_t cols) {
    return (cols + 1) / 2 * KEEL_PANEL * sizeof(uint32_t);
}

static inline uint32_t upper_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fc0; /* as keel_bf16_from_float */
}

KEEL_SIMD static void join_twos(const float *restrict x, size_t pairs, uint32_t *restrict to) {
    for (size_t k = 0; k < pairs; k++)
        for (size_t lane = 0; lane < KEEL_PANEL; lane++)
            to[k * KEEL_PANEL + lane] = upper_half(x[2 * k * KEEL_PANEL + lane]) |
                                        upper_half(x[(2 * k + 1) * KEEL_PANEL + lane]) << 16;
}

static void pack_twos(const float *x, size_t cols, void *to) {
    uint32_t *at = to;
    join_twos(x, cols / 2, at);
    for (size_t lane = 0; cols % 2 && lane < KEEL_PANEL; lane++)
        at[cols / 2 * KEEL_PANEL + lane] = upper_half(x[(cols - 1) * KEEL_PANEL + lane]);
}

INLINE(BF16) void bf16_tile(const job *j, size_t first, size_t from, const int panels, const int rows) {
    const char *x = j->x + first * j->x_panel, *w = j->w + from * j->w_row;
    const size_t cols = j->matrix->cols;
    float *y = j->y + first * j->y_panel + from * KEEL_PANEL;
    const bool fetch = panels == 1 && from + 2 * (size_t)rows <= j->matrix->rows;
    __m512 sum[12][3];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
        _mm512_set1_ps(j->bias ? j->bias[from + (size_t)r] : 0);
    for (size_t k = 0; k < cols; k += 2) {
        __m512i v[3];
        UNROLL for (int i = 0; i < panels; i++) v[i] =
            _mm512_loadu_si512(x + (size_t)i * j->x_panel + k * KEEL_PANEL * sizeof(uint16_t));
        UNROLL for (int r = 0; r < rows; r++) {
            uint32_t two = 0;
            memcpy(&two, w + (size_t)r * j->w_row + k * sizeof(uint16_t), sizeof two);
            const __m512i factor = _mm512_set1_epi32((int32_t)two);
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
                _mm512_dpbf16_ps(sum[r][i], (__m512bh)v[i], (__m512bh)factor);
        }
        if (fetch && k % 32 == 0)
            UNROLL for (int r = 0; r < rows; r++)
                _mm_prefetch(w + (size_t)(rows + r) * j->w_row + k * sizeof(uint16_t), _MM_HINT_T1);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++)
        _mm512_storeu_ps(y + (size_t)i * j->y_panel + r * KEEL_PANEL, sum[r][i]);
}

__attribute__((target(BF16))) static void run_bf16(const job *j, size_t first, size_t panels, size_t from,
                                                   size_t to) {
    size_t o = from;
    for (; panels == 1 && o + 12 <= to; o += 12) bf16_tile(j, first, o, 1, 12);
    for (; panels == 2 && o + 8 <= to; o += 8) bf16_tile(j, first, o, 2, 8);
    for (; panels == 3 && o + 8 <= to; o += 8) bf16_tile(j, first, o, 3, 8);
    for (; o < to; o++)
        for (size_t i = first; i < first + panels; i++) bf16_tile(j, i, o, 1, 1);
}
static void multiply_bf16_512(const void *x, size_t panels, const keel_matrix *w, const float *bias,
                              size_t from, size_t to, float *y) {
    by_blocks(run_bf16, twos_size(w->cols), x, panels, w, bias, from, to, y);
}
#endif

const keel__panel_kernel keel__panel_kernels[] = {
#ifdef HAVE_X86
    {"F32 by AVX-512", KEEL_MATRIX_F32, 1, has_512, float_bytes, pack_floats, multiply_f32, keel__few_f32},
    {"F32 by AVX2", KEEL_MATRIX_F32, 1, has_avx2, float_bytes, pack_floats, multiply_f32, keel__few_f32_avx2},
#endif
    {"F32", KEEL_MATRIX_F32, 1, anywhere, float_bytes, pack_floats, multiply_f32, NULL},
#ifdef HAVE_X86
    {"BF16 by AVX512-BF16", KEEL_MATRIX_BF16, 2, has_bf16, twos_size, pack_twos, multiply_bf16_512,
     keel__few_bf16},
    {"BF16 made wider, AVX2", KEEL_MATRIX_BF16, 1, has_avx2, float_bytes, pack_floats, multiply_bf16,
     keel__few_bf16_avx2},
#endif
    {"BF16 made wider", KEEL_MATRIX_BF16, 1, anywhere, float_bytes, pack_floats, multiply_bf16, NULL},
#ifdef HAVE_X86
    {"Q8_0 by AVX512-VNNI", KEEL_MATRIX_Q8_0, BLOCK, has_vnni, fours_size, pack_fours, multiply_q8_512,
     keel__few_q8},
    {"Q8_0 by AVX2", KEEL_MATRIX_Q8_0, BLOCK, has_avx2, pairs_size, pack_pairs, multiply_q8_256,
     keel__few_q8_avx2},
#endif
    {"Q8_0 plain", KEEL_MATRIX_Q8_0, BLOCK, anywhere, bytes_size, pack_bytes, multiply_q8_plain, NULL},
};
const size_t keel__n_panel_kernels = sizeof keel__panel_kernels / sizeof *keel__panel_kernels;

static const keel__panel_kernel *best_kernel(keel_matrix_type type, size_t cols) {
    const keel__panel_kernel *k = keel__panel_kernels;
    while (k->type != type || cols % k->multiple || !k->available()) k++;
    return k;
}

size_t keel_panel_packed(keel_matrix_type type, size_t cols) {
    return best_kernel(type, cols)->packed(cols);
}

void keel_panel_pack(keel_matrix_type type, const float *x, size_t panels, size_t cols, size_t from,
                     size_t to, void *packed) {
    const keel__panel_kernel *k = best_kernel(type, cols);
    for (size_t i = 0; i < panels; i++)
        k->pack(x + (i * cols + from) * KEEL_PANEL, to - from,
                (char *)packed + i * k->packed(cols) + k->packed(from));
}

void keel_panel_matrix(const void *packed, size_t rows, const keel_matrix *w, const float *bias, size_t from,
                       size_t to, float *y) {
    const keel__panel_kernel *k = best_kernel(w->type, w->cols);
    if (rows <= KEEL__FEW && k->few) from = k->few(packed, rows, w, bias, from, to, y);
    if (from < to) k->multiply(packed, keel_panels(rows), w, bias, from, to, y);
}
