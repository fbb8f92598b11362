/* Between the files of panels: the product that everything is made of. */
#ifndef KEEL_CORE_PANELS_INTERNAL_H
#define KEEL_CORE_PANELS_INTERNAL_H

#include <stdbool.h>
#include <string.h>

#include "core/matrix.h"
#include "core/panels.h"
#include "core/simd.h"

/* y[p][o] = bias[o] + sum over k of w[o][k] x[p][k], each y[p][o] and x[p][k] a vector of sixteen lanes; in
 * steps of floats, so that texts within panels are multiplied too. bias NULL: zeros. */
typedef struct keel__product {
    const float *x, *w, *bias;
    float *y;
    size_t in, out;
    size_t x_panel, x_step; /* to the next panel, to the next k */
    size_t w_row, w_step;   /* to the next o, to the next k */
    size_t y_panel, y_step; /* to the next panel, to the next o */
    bool more;              /* the sum goes on from what stands in y, not from bias */
} keel__product;

void keel__panel_multiply(const keel__product *product, size_t panels);

/* Rows of x up to which a product goes by rows of the matrix: of the first panel alone, whose other lanes are
 * left as they are. Returns the first output that it leaves to the panel's product. */
enum { KEEL__FEW = 4 };
typedef size_t keel__few(const void *packed, size_t rows, const keel_matrix *w, const float *bias,
                         size_t from, size_t to, float *y);
keel__few keel__few_f32, keel__few_bf16, keel__few_blocks,
    keel__few_rows; /* AVX-512F; with BF16; with VNNI */
keel__few keel__few_f32_avx2, keel__few_bf16_avx2, keel__few_blocks_avx2,
    keel__few_rows_avx2; /* AVX2 and FMA */

/* Panels with rows from .. to - 1 of a matrix. */
typedef void keel__multiply(const void *packed, size_t panels, const keel_matrix *w, const float *bias,
                            size_t from, size_t to, float *y);

/* Products with matrices whose inputs have one form, by one set of instructions. */
typedef struct keel__panel_kernel {
    const char *name;
    keel_panel_form form;
    size_t multiple;                                     /* that columns must be of */
    bool (*available)(void);                             /* on this processor */
    size_t (*packed)(size_t cols);                       /* bytes of a panel that is made ready */
    void (*pack)(const float *x, size_t cols, void *to); /* one panel */
    keel__multiply *multiply;
    keel__few *few; /* of the same bits; NULL: none */
} keel__panel_kernel;

/* Of each form the best first; the last one runs anywhere. */
extern const keel__panel_kernel keel__panel_kernels[];
extern const size_t keel__n_panel_kernels;

/* A tile for as many rows as there are, 1 to 4: the compiler then knows how many. */
#define KEEL__BY_ROWS(tile, ...)                                                                             \
    switch (rows) {                                                                                          \
    case 1:                                                                                                  \
        tile(__VA_ARGS__, 1);                                                                                \
        break;                                                                                               \
    case 2:                                                                                                  \
        tile(__VA_ARGS__, 2);                                                                                \
        break;                                                                                               \
    case 3:                                                                                                  \
        tile(__VA_ARGS__, 3);                                                                                \
        break;                                                                                               \
    default:                                                                                                 \
        tile(__VA_ARGS__, 4);                                                                                \
    }

#endif
