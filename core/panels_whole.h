/* Between the files of panels: products in whole numbers. */
#ifndef KEEL_CORE_PANELS_WHOLE_H
#define KEEL_CORE_PANELS_WHOLE_H

#include "core/panels_internal.h"

/* Inputs of a panel: 32 columns, four of a row side by side, and what weights of 0 .. 15 instead of -8 .. 7
 * add too much: -8 times the sums of even and of odd columns. */
typedef struct keel__x_block {
    int16_t low[KEEL_PANEL][2];
    int8_t q[KEEL_MATRIX_BLOCK / 4][KEEL_PANEL][4];
} keel__x_block;

/* BLOCKS: of each 32 columns. */
typedef struct keel__scaled_block {
    float scale[KEEL_PANEL];
    keel__x_block x;
} keel__scaled_block;

/* ROWS: this first, then blocks, the last one filled up with zeros. */
typedef struct keel__rows_head {
    float scale[KEEL_PANEL];
    int32_t low[KEEL_PANEL]; /* -128 times the sums of all columns, for weights of 0 .. 255 */
} keel__rows_head;

/* Rows of weights at a time, and their columns: sums over more go on from what stands in y. */
enum {
    KEEL__WHOLE_ROWS = 8,
    KEEL__WHOLE_COLS = 4096,
    KEEL__WHOLE_BLOCKS = KEEL__WHOLE_COLS / KEEL_MATRIX_BLOCK
};

/* Some rows of weights, made bytes, and the panels that they are multiplied with. */
typedef struct keel__whole {
    const char *x;               /* blocks of the first panel, from the first of these columns on */
    size_t x_panel, x_block;     /* bytes from one to the next */
    const keel__rows_head *head; /* ROWS: of the first panel */
    size_t blocks;
    size_t rows;      /* that there are; the others are zeros */
    bool first, last; /* of the columns */
    bool fours;       /* AVX2: q are 0 .. 15, and 8 too large */
    float *y;         /* of the first of these rows */
    size_t y_panel;
    float bias[KEEL__WHOLE_ROWS];
    float scale[KEEL__WHOLE_ROWS][KEEL__WHOLE_BLOCKS];  /* ROWS: the first one */
    int16_t step[KEEL__WHOLE_ROWS][KEEL__WHOLE_BLOCKS]; /* fours: what a block is to be multiplied with */
    uint8_t q[KEEL__WHOLE_ROWS][KEEL__WHOLE_COLS];      /* VNNI: 128 too large; else of 8 bits with a sign */
} keel__whole;

/* Columns 32 first .. of row o of w become row r of the job. */
typedef void keel__take(const keel_matrix *w, size_t o, size_t first, size_t r, keel__whole *job);
/* All rows of the job for so many panels. */
typedef void keel__run(const keel__whole *job, size_t panels);

keel__take keel__take_avx2, keel__take_vnni;
keel__run keel__blocks_avx2, keel__blocks_vnni, keel__rows_avx2, keel__rows_vnni;

size_t keel__blocks_packed(size_t cols);
size_t keel__rows_packed(size_t cols);
void keel__blocks_pack(const float *x, size_t cols, void *to);
void keel__rows_pack(const float *x, size_t cols, void *to);
keel__multiply keel__blocks_multiply, keel__blocks_multiply_avx2, keel__blocks_multiply_vnni;
keel__multiply keel__rows_multiply, keel__rows_multiply_avx2, keel__rows_multiply_vnni;

#endif
