/* The matrix product without BLAS, for programs that are to be small and static: columns of b are laid out as
 * panels, and the panels' kernels do the work, rows of a being their weights. Takes the place of gemm.c. */
#include "core/gemm.h"

#include "core/panels_internal.h"

/* Of a block of b: how long its sums are, and its columns; of y, rows that are set aside at a time. */
enum { DEPTH = 256, COLS = 4 * KEEL_PANEL, ROWS = 64 };

typedef struct operand {
    const float *data;
    size_t row, col; /* steps to the next row, to the next column */
} operand;

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static void scale(float *y, size_t rows, size_t cols, size_t ldy, float beta) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) y[i * ldy + j] = beta == 0 ? 0 : beta * y[i * ldy + j];
}

/* alpha b[depth, cols] as panels, zeros beyond cols. */
static void pack(const operand *b, size_t depth, size_t cols, float alpha, float *panels) {
    for (size_t j = 0; j < keel_panels(cols) * KEEL_PANEL; j++)
        for (size_t k = 0; k < depth; k++)
            panels[keel_panel_at(j, k, depth)] = j < cols ? alpha * b->data[k * b->row + j * b->col] : 0;
}

/* y += a b for whole panels. */
static void add_panels(const operand *a, const float *panels, size_t n, size_t rows, size_t depth, float *y,
                       size_t ldy) {
    const keel__product p = {.x = panels,
                             .w = a->data,
                             .y = y,
                             .in = depth,
                             .out = rows,
                             .x_panel = depth * KEEL_PANEL,
                             .x_step = KEEL_PANEL,
                             .w_row = a->row,
                             .w_step = a->col,
                             .y_panel = KEEL_PANEL,
                             .y_step = ldy,
                             .more = true};
    keel__panel_multiply(&p, n);
}

/* The same for the columns of a panel that is not full, set aside. */
static void add_rest(const operand *a, const float *panel, size_t rows, size_t depth, size_t cols, float *y,
                     size_t ldy) {
    float aside[ROWS * KEEL_PANEL] = {0};
    for (size_t i = 0; i < rows; i += ROWS) {
        const size_t some = least(ROWS, rows - i);
        const operand part = {a->data + i * a->row, a->row, a->col};
        for (size_t r = 0; r < some; r++)
            memcpy(aside + r * KEEL_PANEL, y + (i + r) * ldy, cols * sizeof *aside);
        add_panels(&part, panel, 1, some, depth, aside, KEEL_PANEL);
        for (size_t r = 0; r < some; r++)
            memcpy(y + (i + r) * ldy, aside + r * KEEL_PANEL, cols * sizeof *aside);
    }
}

void keel_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
               const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta, keel_real *y,
               size_t ldy) {
    float panels[DEPTH * COLS];
    const operand left = {a, transpose_a ? 1 : lda, transpose_a ? lda : 1},
                  right = {b, transpose_b ? 1 : ldb, transpose_b ? ldb : 1};
    if (beta != 1) scale(y, m, n, ldy, beta);
    for (size_t at = 0; at < k; at += DEPTH)
        for (size_t j = 0; j < n; j += COLS) {
            const size_t depth = least(DEPTH, k - at), cols = least(COLS, n - j), whole = cols / KEEL_PANEL;
            const operand row = {left.data + at * left.col, left.row, left.col},
                          block = {right.data + at * right.row + j * right.col, right.row, right.col};
            pack(&block, depth, cols, alpha, panels);
            if (whole) add_panels(&row, panels, whole, m, depth, y + j, ldy);
            if (cols % KEEL_PANEL)
                add_rest(&row, panels + whole * depth * KEEL_PANEL, m, depth, cols % KEEL_PANEL,
                         y + j + whole * KEEL_PANEL, ldy);
        }
}

void keel_gemv(size_t m, size_t k, const keel_real *a, size_t lda, const keel_real *x, keel_real beta,
               keel_real *y) {
    for (size_t i = 0; i < m; i++) {
        float lanes[KEEL_PANEL] = {0}, sum = beta == 0 ? 0 : beta * y[i];
        size_t c = 0;
        for (; c + KEEL_PANEL <= k; c += KEEL_PANEL)
            for (size_t lane = 0; lane < KEEL_PANEL; lane++)
                lanes[lane] += a[i * lda + c + lane] * x[c + lane];
        for (; c < k; c++) sum += a[i * lda + c] * x[c];
        for (size_t lane = 0; lane < KEEL_PANEL; lane++) sum += lanes[lane];
        y[i] = sum;
    }
}

void keel_gemm_alone(void) {}

const char *keel_gemm_library(void) {
    return "none";
}

/* What OpenBLAS takes SkylakeX for, and Haswell. */
keel_gemm_kind keel_gemm_kernel(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return KEEL_GEMM_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KEEL_GEMM_AVX2;
#endif
    return KEEL_GEMM_OTHER;
}
