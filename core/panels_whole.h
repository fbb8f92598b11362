/* Between the files of panels: products in whole numbers. Inputs of a panel are bytes 128 above what they
 * stand for, four columns of a row side by side; weights are made bytes of 8 bits some rows at a time. */
#ifndef KEEL_CORE_PANELS_WHOLE_H
#define KEEL_CORE_PANELS_WHOLE_H

#include "core/panels_internal.h"

/* BLOCKS: of 32 columns. ROWS: one scale of the panel, and then all columns, the last four filled up with
 * zeros. */
typedef struct keel__fours_block {
    float scale[KEEL_PANEL];
    uint8_t q[KEEL_MATRIX_BLOCK / 4][KEEL_PANEL][4];
} keel__fours_block;

enum { KEEL__FOURS = 4 * KEEL_PANEL, KEEL__SCALES = KEEL_PANEL * sizeof(float) }; /* bytes */

/* Rows of weights at a time, and their columns: sums over more go on from what stands in y. */
enum {
    KEEL__WHOLE_ROWS = 8,
    KEEL__WHOLE_COLS = 4096,
    KEEL__WHOLE_BLOCKS = KEEL__WHOLE_COLS / KEEL_MATRIX_BLOCK
};

typedef struct keel__whole {
    const char *x; /* packed panels, from the first of these columns on; ROWS: without scales */
    size_t x_panel;
    const float *x_scale; /* ROWS: of the first panel, x_panel bytes from one to the next */
    size_t cols;          /* ROWS: a multiple of 4 */
    size_t rows;          /* that there are; the others are zeros */
    bool first, last;     /* of the columns */
    float bias[KEEL__WHOLE_ROWS];
    float *y; /* of the first of these rows */
    size_t y_panel;
    int8_t q[KEEL__WHOLE_ROWS][KEEL__WHOLE_COLS];
    float scale[KEEL__WHOLE_ROWS][KEEL__WHOLE_BLOCKS];    /* ROWS: the first one */
    int32_t offset[KEEL__WHOLE_ROWS][KEEL__WHOLE_BLOCKS]; /* -128 times the sum of q, by block or of all */
} keel__whole;

/* All rows of it for so many panels. */
typedef void keel__whole_kernel(const keel__whole *job, size_t panels);
keel__whole_kernel keel__blocks_vnni, keel__rows_vnni, keel__blocks_avx2, keel__rows_avx2;

size_t keel__blocks_packed(size_t cols);
size_t keel__rows_packed(size_t cols);
void keel__blocks_pack(const float *x, size_t cols, void *to);
void keel__rows_pack(const float *x, size_t cols, void *to);
keel__multiply keel__blocks_multiply_vnni, keel__rows_multiply_vnni, keel__blocks_multiply_avx2,
    keel__rows_multiply_avx2, keel__blocks_multiply, keel__rows_multiply;

#endif
