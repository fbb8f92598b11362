/* The matrix product: OpenBLAS, called so that its fastest kernels do the work. */
#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "core/gemm.h"

/* One product, row-major, as BLAS wants it. */
typedef struct product {
    bool transpose_a, transpose_b;
    size_t m, n, k;
    keel_real alpha, beta;
    size_t lda, ldb, ldy;
} product;

static void multiply(const product *p, size_t m, size_t n, const keel_real *a, const keel_real *b,
                     keel_real *y) {
    CBLAS_TRANSPOSE ta = p->transpose_a ? CblasTrans : CblasNoTrans,
                    tb = p->transpose_b ? CblasTrans : CblasNoTrans;
#ifdef KEEL_REAL_DOUBLE
    cblas_dgemm(CblasRowMajor, ta, tb, (blasint)m, (blasint)n, (blasint)p->k, p->alpha, a, (blasint)p->lda, b,
                (blasint)p->ldb, p->beta, y, (blasint)p->ldy);
#else
    cblas_sgemm(CblasRowMajor, ta, tb, (blasint)m, (blasint)n, (blasint)p->k, p->alpha, a, (blasint)p->lda, b,
                (blasint)p->ldb, p->beta, y, (blasint)p->ldy);
#endif
}

/* AVX2 stands for FMA too. */
static keel_gemm_kind look_up_kernel(void) {
    static const struct {
        const char *name;
        keel_gemm_kind kind;
    } kernels[] = {{"SkylakeX", KEEL_GEMM_AVX512},
                   {"Cooperlake", KEEL_GEMM_AVX512},
                   {"SapphireRapids", KEEL_GEMM_AVX512},
                   {"Haswell", KEEL_GEMM_AVX2},
                   {"Zen", KEEL_GEMM_AVX2}};
    const char *name = openblas_get_corename();
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; ++i)
        if (strcmp(name, kernels[i].name) == 0) return kernels[i].kind;
    return KEEL_GEMM_OTHER;
}

keel_gemm_kind keel_gemm_kernel(void) {
    static atomic_int known; /* kind + 1: it stays the same for as long as the program runs */
    int kind = atomic_load_explicit(&known, memory_order_relaxed);
    if (!kind) atomic_store_explicit(&known, kind = (int)look_up_kernel() + 1, memory_order_relaxed);
    return (keel_gemm_kind)(kind - 1);
}

/* OpenBLAS's AVX-512 kernels for small products read their operands where they lie, without packing them
 * first, and come within a tenth of the rate of large square products. It takes them up to a million
 * multiply-adds, and for x w^T only up to 1200 results. A layer at 32 to 256 rows is just beyond that, where
 * packing costs up to two fifths of the time; so it is cut into tiles that are not. The cut depends on the
 * shape alone. Returns the rows of a tile, 0 for one call. */
static size_t tile_rows(const product *p, size_t width) {
    enum { MOST_PRODUCTS = 1000000, MOST_RESULTS = 1024, MOST_SHARED = 1 << 17, LEAST_ROWS = 8 };
    bool dots = !p->transpose_a && p->transpose_b;
    if (sizeof(keel_real) != sizeof(float) || (p->transpose_a && p->transpose_b) ||
        keel_gemm_kernel() != KEEL_GEMM_AVX512)
        return 0;
    if (dots && p->k < 64) return 0;         /* vectors run along k; too short for its overhead */
    if (p->n * p->k > MOST_SHARED) return 0; /* b is read anew for each row of tiles: from the L2 cache */
    size_t results = dots ? MOST_RESULTS : 3 * MOST_RESULTS;
    if (MOST_PRODUCTS / p->k < results) results = MOST_PRODUCTS / p->k;
    if (p->m * p->n <= results) return 0; /* one tile */
    return results / width >= LEAST_ROWS ? results / width : 0;
}

void keel_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
               const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta, keel_real *y,
               size_t ldy) {
    enum { TILE_COLS = 64 };
    if (!m || !n) return;
    if (!k) { /* an empty sum; BLAS would reject the leading dimensions of its operands */
        for (size_t i = 0; i < m; ++i)
            for (size_t j = 0; j < n; ++j) y[i * ldy + j] = beta == 0 ? 0 : beta * y[i * ldy + j];
        return;
    }
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX && lda <= INT_MAX && ldb <= INT_MAX &&
           ldy <= INT_MAX);
    const product p = {transpose_a, transpose_b, m, n, k, alpha, beta, lda, ldb, ldy};
    size_t cols = n < TILE_COLS ? n : TILE_COLS, rows = tile_rows(&p, cols);
    if (!rows) {
        multiply(&p, m, n, a, b, y);
        return;
    }
    for (size_t i = 0; i < m; i += rows)
        for (size_t j = 0; j < n; j += cols)
            multiply(&p, m - i < rows ? m - i : rows, n - j < cols ? n - j : cols,
                     a + (transpose_a ? i : i * lda), b + (transpose_b ? j * ldb : j), y + i * ldy + j);
}

void keel_gemm_alone(void) {
    if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
}

const char *keel_gemm_library(void) {
    return openblas_get_config();
}

void keel_gemv(size_t m, size_t k, const keel_real *a, size_t lda, const keel_real *x, keel_real beta,
               keel_real *y) {
    assert(m <= INT_MAX && k <= INT_MAX && lda <= INT_MAX);
#ifdef KEEL_REAL_DOUBLE
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (blasint)m, (blasint)k, 1, a, (blasint)lda, x, 1, beta, y, 1);
#else
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (blasint)m, (blasint)k, 1, a, (blasint)lda, x, 1, beta, y, 1);
#endif
}
