/* Products with matrices of any number format. */
#include <assert.h>
#include <string.h>

#include "core/gemm.h"
#include "core/half.h"
#include "core/panels_whole.h"
#include "core/simd.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

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

#ifdef HAVE_X86
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
#endif

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
static void multiply_widened(const void *x, size_t panels, const keel_matrix *w, const float *bias,
                             size_t from, size_t to, float *y) {
    enum { ROWS = 16, COLS = 256 };
    float tile[ROWS][COLS];
    for (size_t o = from; o < to; o += ROWS) {
        const size_t rows = to - o < ROWS ? to - o : ROWS;
        for (size_t k = 0; k < w->cols; k += COLS) {
            const size_t cols = w->cols - k < COLS ? w->cols - k : COLS;
            for (size_t r = 0; r < rows; r++) keel_matrix_read(w, o + r, k, cols, tile[r]);
            multiply_floats(x, panels, w->cols, k, cols, tile[0], COLS, bias ? bias + o : NULL, rows,
                            y + o * KEEL_PANEL, w->rows * KEEL_PANEL);
        }
    }
}

static void multiply_float_form(const void *x, size_t panels, const keel_matrix *w, const float *bias,
                                size_t from, size_t to, float *y) {
    if (w->type != KEEL_MATRIX_F32 || (uintptr_t)w->data % sizeof(float)) {
        multiply_widened(x, panels, w, bias, from, to, y);
        return;
    }
    multiply_floats(x, panels, w->cols, 0, w->cols, (const float *)w->data + from * w->cols, w->cols,
                    bias ? bias + from : NULL, to - from, y + from * KEEL_PANEL, w->rows * KEEL_PANEL);
}

#ifdef HAVE_X86
#define INLINE(isa) __attribute__((always_inline, target(isa))) static inline
#define UNROLL      KEEL__UNROLL

static bool has_avx2(void) {
    return keel_gemm_kernel() != KEEL_GEMM_OTHER;
}

static bool has_512(void) {
    return keel_gemm_kernel() == KEEL_GEMM_AVX512;
}

static bool has_vnni(void) {
    return keel_gemm_kernel() == KEEL_GEMM_AVX512 && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

/* ---- AVX-512 with BF16: two numbers to a lane ---- */

#define BF16 "avx512f,avx512bf16"

static size_t twos_size(size_t cols) {
    return (cols + 1) / 2 * KEEL_PANEL * sizeof(uint32_t);
}

KEEL_SIMD static void join_twos(const float *restrict x, size_t pairs, uint32_t *restrict to) {
    for (size_t k = 0; k < pairs; k++)
        for (size_t lane = 0; lane < KEEL_PANEL; lane++)
            to[k * KEEL_PANEL + lane] = keel_bf16_from_float(x[2 * k * KEEL_PANEL + lane]) |
                                        (uint32_t)keel_bf16_from_float(x[(2 * k + 1) * KEEL_PANEL + lane])
                                            << 16;
}

static void pack_twos(const float *x, size_t cols, void *to) {
    uint32_t *at = to;
    join_twos(x, cols / 2, at);
    for (size_t lane = 0; cols % 2 && lane < KEEL_PANEL; lane++)
        at[cols / 2 * KEEL_PANEL + lane] = keel_bf16_from_float(x[(cols - 1) * KEEL_PANEL + lane]);
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
    {"floats by AVX-512", KEEL_PANEL_FLOATS, 1, has_512, float_bytes, pack_floats, multiply_float_form,
     keel__few_f32},
    {"floats by AVX2", KEEL_PANEL_FLOATS, 1, has_avx2, float_bytes, pack_floats, multiply_float_form,
     keel__few_f32_avx2},
#endif
    {"floats", KEEL_PANEL_FLOATS, 1, anywhere, float_bytes, pack_floats, multiply_float_form, NULL},
#ifdef HAVE_X86
    {"BF16 by AVX512-BF16", KEEL_PANEL_BF16, 2, keel_gemm_has_bf16, twos_size, pack_twos, multiply_bf16_512,
     keel__few_bf16},
    {"BF16 made wider, AVX2", KEEL_PANEL_BF16, 1, has_avx2, float_bytes, pack_floats, multiply_widened,
     keel__few_bf16_avx2},
#endif
    {"BF16 made wider", KEEL_PANEL_BF16, 1, anywhere, float_bytes, pack_floats, multiply_widened, NULL},
#ifdef HAVE_X86
    {"blocks by AVX512-VNNI", KEEL_PANEL_BLOCKS, KEEL_MATRIX_BLOCK, has_vnni, keel__blocks_packed,
     keel__blocks_pack, keel__blocks_multiply_vnni, keel__few_blocks},
    {"blocks by AVX2", KEEL_PANEL_BLOCKS, KEEL_MATRIX_BLOCK, has_avx2, keel__blocks_packed, keel__blocks_pack,
     keel__blocks_multiply_avx2, keel__few_blocks_avx2},
#endif
    {"blocks", KEEL_PANEL_BLOCKS, KEEL_MATRIX_BLOCK, anywhere, keel__blocks_packed, keel__blocks_pack,
     keel__blocks_multiply, NULL},
#ifdef HAVE_X86
    {"rows by AVX512-VNNI", KEEL_PANEL_ROWS, 1, has_vnni, keel__rows_packed, keel__rows_pack,
     keel__rows_multiply_vnni, keel__few_rows},
    {"rows by AVX2", KEEL_PANEL_ROWS, 1, has_avx2, keel__rows_packed, keel__rows_pack,
     keel__rows_multiply_avx2, keel__few_rows_avx2},
#endif
    {"rows", KEEL_PANEL_ROWS, 1, anywhere, keel__rows_packed, keel__rows_pack, keel__rows_multiply, NULL},
};
const size_t keel__n_panel_kernels = sizeof keel__panel_kernels / sizeof *keel__panel_kernels;

keel_panel_form keel_panel_form_of(const keel_matrix *w) {
    static const keel_panel_form forms[KEEL_N_MATRIX_TYPES] = {
        [KEEL_MATRIX_F32] = KEEL_PANEL_FLOATS,  [KEEL_MATRIX_BF16] = KEEL_PANEL_BF16,
        [KEEL_MATRIX_Q8_0] = KEEL_PANEL_BLOCKS, [KEEL_MATRIX_I8] = KEEL_PANEL_ROWS,
        [KEEL_MATRIX_Q4_0] = KEEL_PANEL_BLOCKS, [KEEL_MATRIX_Q4_G32] = KEEL_PANEL_ROWS};
    const keel_panel_form form = forms[w->type];
    const bool whole = form == KEEL_PANEL_BLOCKS || form == KEEL_PANEL_ROWS;
    return whole && w->inputs == KEEL_INPUTS_F32 ? KEEL_PANEL_FLOATS : form;
}

static const keel__panel_kernel *best_kernel(keel_panel_form form, size_t cols) {
    const keel__panel_kernel *k = keel__panel_kernels;
    while (k->form != form || cols % k->multiple || !k->available()) k++;
    return k;
}

size_t keel_panel_packed(keel_panel_form form, size_t cols) {
    return best_kernel(form, cols)->packed(cols);
}

void keel_panel_pack(keel_panel_form form, const float *x, size_t panels, size_t cols, size_t from, size_t to,
                     void *packed) {
    const keel__panel_kernel *k = best_kernel(form, cols);
    const size_t before = form == KEEL_PANEL_ROWS ? 0 : k->packed(from);
    assert(form != KEEL_PANEL_ROWS || (from == 0 && to == cols));
    for (size_t i = 0; i < panels; i++)
        k->pack(x + (i * cols + from) * KEEL_PANEL, to - from, (char *)packed + i * k->packed(cols) + before);
}

void keel_panel_matrix(const void *packed, size_t rows, const keel_matrix *w, const float *bias, size_t from,
                       size_t to, float *y) {
    const keel__panel_kernel *k = best_kernel(keel_panel_form_of(w), w->cols);
    if (rows <= KEEL__FEW && k->few) from = k->few(packed, rows, w, bias, from, to, y);
    if (from < to) k->multiply(packed, keel_panels(rows), w, bias, from, to, y);
}
