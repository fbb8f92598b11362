/* The matrix product with operands rounded to bfloat16 and sums in float. Blocks of both operands are laid
 * out anew as they are rounded: of b, panels of 64 columns with two rows of k in each 32-bit word; of a, rows
 * of such words. A tile of six rows by a panel stays in registers. */
#include <stdint.h>

#include "core/gemm.h"
#include "core/half.h"
#include "core/simd.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(KEEL_REAL_DOUBLE)
#include <immintrin.h>
#define HAVE_X86 1
#endif

/* Of a block: rows of a, columns of b, the length of sums. */
enum { ROWS = 96, COLS = 256, DEPTH = 256, PANEL = 64, TILE = 6 };

typedef struct operand {
    const keel_real *data;
    size_t row, depth; /* steps to the next row of a or column of b, and to the next k; one of them is 1 */
} operand;

typedef struct product {
    operand a, b;
    size_t m, n, k;
    keel_real alpha, beta;
    keel_real *y;
    size_t ldy;
} product;

/* ---- any processor ---- */

KEEL_SIMD static void round_row(const keel_real *restrict from, size_t n, keel_real *restrict to) {
    for (size_t i = 0; i < n; ++i)
        to[i] = (keel_real)keel_bf16_to_float(keel_bf16_from_float((float)from[i]));
}

/* A block as [rows, depth], or as [depth, rows] where it lies so. */
static void round_block(const operand *from, size_t row, size_t rows, size_t k, size_t depth, keel_real *to) {
    const keel_real *first = from->data + row * from->row + k * from->depth;
    if (from->depth == 1)
        for (size_t r = 0; r < rows; ++r) round_row(first + r * from->row, depth, to + r * depth);
    else
        for (size_t d = 0; d < depth; ++d) round_row(first + d * from->depth, rows, to + d * rows);
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static void multiply_plain(const product *p) {
    keel_real a[ROWS * DEPTH], b[COLS * DEPTH];
    for (size_t k = 0; k < p->k; k += DEPTH)
        for (size_t j = 0; j < p->n; j += COLS) {
            const size_t depth = least(DEPTH, p->k - k), cols = least(COLS, p->n - j);
            round_block(&p->b, j, cols, k, depth, b);
            for (size_t i = 0; i < p->m; i += ROWS) {
                const size_t rows = least(ROWS, p->m - i);
                round_block(&p->a, i, rows, k, depth, a);
                keel_gemm(p->a.depth != 1, p->b.depth == 1, rows, cols, depth, p->alpha, a,
                          p->a.depth == 1 ? depth : rows, b, p->b.depth == 1 ? depth : cols, k ? 1 : p->beta,
                          p->y + i * p->ldy + j, p->ldy);
            }
        }
}

/* ---- AVX512-BF16 ---- */

#ifdef HAVE_X86
#define ISA    "avx512f,avx512bw,avx512vl,avx512bf16"
#define INLINE __attribute__((always_inline, target(ISA))) static inline
#define UNROLL KEEL__UNROLL

/* Sixteen floats, those from n on zero. */
INLINE __m512 some(const float *x, size_t n) {
    return n >= 16 ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x);
}

/* Words of (low, high), element by element. */
INLINE __m512i pairs_of(__m512 low, __m512 high) {
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order), both);
}

/* Words of neighbours. */
INLINE __m512i pairs_along(const float *x, size_t n) {
    return (__m512i)_mm512_cvtne2ps_pbh(some(x + 16, n > 16 ? n - 16 : 0), some(x, n));
}

INLINE void transpose(__m512i w[16]) {
    __m512i t[16];
    UNROLL for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(w[2 * i], w[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(w[2 * i], w[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        w[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        w[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        w[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        w[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(w[i], w[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(w[i], w[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_i32x4(w[8 + i], w[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_i32x4(w[8 + i], w[12 + i], 0xdd);
    }
    UNROLL for (int i = 0; i < 8; i++) {
        w[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
        w[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    }
}

/* 16 rows by 32 of k as words [16 rows][16], or across: [16 of k][16 rows]. Beyond rows and depth: zeros. */
INLINE void take_words(const operand *from, size_t row, size_t rows, size_t k, size_t depth, bool across,
                       __m512i w[16]) {
    const float *x = from->data + row * from->row + k * from->depth;
    const __m512 none = _mm512_setzero_ps();
    const bool along = from->depth == 1;
    if (along)
        for (size_t r = 0; r < 16; r++)
            w[r] = r < rows ? pairs_along(x + r * from->row, depth) : _mm512_setzero_si512();
    else
        for (size_t d = 0; d < 16; d++) {
            const float *at = x + 2 * d * from->depth;
            w[d] = pairs_of(2 * d < depth ? some(at, rows) : none,
                            2 * d + 1 < depth ? some(at + from->depth, rows) : none);
        }
    if (along == across) transpose(w);
}

/* a: [rows up to a multiple of 16][DEPTH / 2] */
__attribute__((target(ISA))) static void pack_rows(const operand *from, size_t row, size_t rows, size_t k,
                                                   size_t depth, uint32_t *to) {
    __m512i w[16];
    for (size_t r = 0; r < rows; r += 16)
        for (size_t d = 0; d < depth; d += 32) {
            take_words(from, row + r, rows - r, k + d, depth - d, false, w);
            UNROLL for (int i = 0; i < 16; i++)
                _mm512_storeu_si512(to + (r + (size_t)i) * (DEPTH / 2) + d / 2, w[i]);
        }
}

/* b: [panels][DEPTH / 2][PANEL] */
__attribute__((target(ISA))) static void pack_panels(const operand *from, size_t col, size_t cols, size_t k,
                                                     size_t depth, uint32_t *to) {
    __m512i w[16];
    for (size_t c = 0; c < cols; c += 16)
        for (size_t d = 0; d < depth; d += 32) {
            uint32_t *at = to + (c / PANEL * (DEPTH / 2) + d / 2) * PANEL + c % PANEL;
            take_words(from, col + c, cols - c, k + d, depth - d, true, w);
            UNROLL for (int i = 0; i < 16; i++) _mm512_storeu_si512(at + i * PANEL, w[i]);
        }
}

/* y [rows, cols up to 64] = alpha (sum + what stands there) as beta says; words: of the depth. */
INLINE void tile(const uint32_t *a, const uint32_t *b, size_t words, keel_real alpha, keel_real beta,
                 float *y, size_t ldy, size_t cols, const int rows) {
    __m512 sum[TILE][4];
    __m512i v[4];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < 4; c++) sum[r][c] = _mm512_setzero_ps();
    for (size_t d = 0; d < words; d++, b += PANEL) {
        UNROLL for (int c = 0; c < 4; c++) v[c] = _mm512_loadu_si512(b + 16 * c);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512i one = _mm512_set1_epi32((int)a[r * (DEPTH / 2) + (int)d]);
            UNROLL for (int c = 0; c < 4; c++) sum[r][c] =
                _mm512_dpbf16_ps(sum[r][c], (__m512bh)one, (__m512bh)v[c]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < 4; c++) {
        const size_t from = 16 * (size_t)c, left = cols > from ? cols - from : 0;
        const __mmask16 kept = (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1);
        float *to = y + (size_t)r * ldy + from;
        __m512 z = _mm512_mul_ps(_mm512_set1_ps(alpha), sum[r][c]);
        if (beta != 0)
            z = _mm512_add_ps(z, _mm512_mul_ps(_mm512_set1_ps(beta), _mm512_maskz_loadu_ps(kept, to)));
        _mm512_mask_storeu_ps(to, kept, z);
    }
}

__attribute__((target(ISA))) static void run_tile(const uint32_t *a, const uint32_t *b, size_t words,
                                                  keel_real alpha, keel_real beta, float *y, size_t ldy,
                                                  size_t cols, size_t rows) {
    switch (rows) {
    case 6:
        tile(a, b, words, alpha, beta, y, ldy, cols, 6);
        return;
    case 5:
        tile(a, b, words, alpha, beta, y, ldy, cols, 5);
        return;
    case 4:
        tile(a, b, words, alpha, beta, y, ldy, cols, 4);
        return;
    case 3:
        tile(a, b, words, alpha, beta, y, ldy, cols, 3);
        return;
    case 2:
        tile(a, b, words, alpha, beta, y, ldy, cols, 2);
        return;
    default:
        tile(a, b, words, alpha, beta, y, ldy, cols, 1);
    }
}

static void multiply_512(const product *p) {
    _Alignas(64) uint32_t a[ROWS * DEPTH / 2], b[COLS * DEPTH / 2];
    for (size_t j = 0; j < p->n; j += COLS)
        for (size_t k = 0; k < p->k; k += DEPTH) {
            const size_t depth = least(DEPTH, p->k - k), cols = least(COLS, p->n - j),
                         words = (depth + 1) / 2;
            pack_panels(&p->b, j, cols, k, depth, b);
            for (size_t i = 0; i < p->m; i += ROWS) {
                const size_t rows = least(ROWS, p->m - i);
                pack_rows(&p->a, i, rows, k, depth, a);
                for (size_t c = 0; c < cols; c += PANEL)
                    for (size_t r = 0; r < rows; r += TILE)
                        run_tile(a + r * (DEPTH / 2), b + c * (DEPTH / 2), words, p->alpha, k ? 1 : p->beta,
                                 p->y + (i + r) * p->ldy + j + c, p->ldy, least(PANEL, cols - c),
                                 least(TILE, rows - r));
            }
        }
}
#endif

bool keel_gemm_has_bf16(void) {
#ifdef HAVE_X86
    return keel_gemm_kernel() == KEEL_GEMM_AVX512 && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

void keel_gemm_bf16(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
                    const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta,
                    keel_real *y, size_t ldy) {
    const product p = {.a = {a, transpose_a ? 1 : lda, transpose_a ? lda : 1},
                       .b = {b, transpose_b ? ldb : 1, transpose_b ? 1 : ldb},
                       .m = m,
                       .n = n,
                       .k = k,
                       .alpha = alpha,
                       .beta = beta,
                       .y = y,
                       .ldy = ldy};
    if (k == 0) {
        keel_gemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, y, ldy);
        return;
    }
#ifdef HAVE_X86
    if (keel_gemm_has_bf16()) {
        multiply_512(&p);
        return;
    }
#endif
    multiply_plain(&p);
}
