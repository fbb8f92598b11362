/* Layers for inference over panels: rows [R, C] lie as [R / 16][C][16], a row a lane. So a matrix of weights
 * [out, in] is multiplied where it lies, while BLAS copies it first, which for a short text takes longer than
 * the product; and a lane's sum runs over the inputs in their order (by fused multiply-adds where the kernel
 * that OpenBLAS takes has them too), so that what a row comes to depends on that row alone: not on how many
 * there are, where it lies among them, or on threads. Lanes beyond the last row are worked out and mean
 * nothing. */
#ifndef KEEL_CORE_PANELS_H
#define KEEL_CORE_PANELS_H

#include <stddef.h>
#include <stdint.h>

#include "core/matrix.h"

enum { KEEL_PANEL = 16 };

static inline size_t keel_panels(size_t rows) {
    return (rows + KEEL_PANEL - 1) / KEEL_PANEL;
}
/* Where column c of a row lies. */
static inline size_t keel_panel_at(size_t row, size_t c, size_t cols) {
    return (row / KEEL_PANEL * cols + c) * KEEL_PANEL + row % KEEL_PANEL;
}

/* y = x w^T + bias: x panels of `in` columns, w [out, in], bias [out], y panels of `out` columns. */
void keel_panel_linear(const float *x, size_t panels, size_t in, const float *w, const float *bias,
                       size_t out, float *y);

/* What inputs are made before products: once for all matrices that want the same. */
typedef enum keel_panel_form {
    KEEL_PANEL_FLOATS, /* as they are: F32, and what has KEEL_INPUTS_F32 */
    KEEL_PANEL_BF16,   /* bfloat16 where the processor multiplies these, else floats */
    KEEL_PANEL_BLOCKS, /* whole numbers of 8 bits with a scale (the largest size / 127) for each row and 32
                          columns: Q8_0, Q4_0 */
    KEEL_PANEL_ROWS,   /* the same for each row, as keel_row_quantise: I8, Q4_G32 */
    KEEL_N_PANEL_FORMS
} keel_panel_form;
keel_panel_form keel_panel_form_of(const keel_matrix *w);

/* The same with a matrix of any number format, for rows from .. to - 1 of w alone, bias NULL: zeros. Products
 * of BLOCKS and ROWS have the same bits on every processor. */
size_t keel_panel_packed(keel_panel_form form, size_t cols); /* bytes of one panel */
/* Columns from .. to - 1 of panels of `cols` columns; from is a multiple of 32, to too or cols; ROWS wants
 * them all at once. */
void keel_panel_pack(keel_panel_form form, const float *x, size_t panels, size_t cols, size_t from, size_t to,
                     void *packed);
/* rows: of x; lanes beyond them are worked out or left as they are. */
void keel_panel_matrix(const void *packed, size_t rows, const keel_matrix *w, const float *bias, size_t from,
                       size_t to, float *y);

/* x = (x + more - mean) / sqrt(variance + epsilon) * gain + bias by rows, as keel_op_layer_norm; more may be
 * NULL. */
void keel_panel_layer_norm(float *x, const float *more, const float *gain, const float *bias, double epsilon,
                           size_t panels, size_t cols);

/* x = x + more, out = x / sqrt(mean x^2 + epsilon) * gain by rows (Zhang & Sennrich 2019); more may be NULL.
 */
void keel_panel_rms_norm(float *x, const float *more, const float *gain, double epsilon, size_t panels,
                         size_t cols, float *out);

/* softmax(q k^T / sqrt d) v within each text and head, as keel_op_attention: qkv panels of 3 H d columns, out
 * panels of H d; text i is rows offsets[i] .. offsets[i + 1] - 1. Sixteen numbers behind qkv are read and
 * mean nothing. scratch: keel_panel_attention_room of the longest text. */
void keel_panel_attention(const float *qkv, size_t heads, size_t head_dim, const int32_t *offsets, size_t n,
                          float *out, float *scratch);
static inline size_t keel_panel_attention_room(size_t heads, size_t head_dim, size_t tokens) {
    const size_t whole = keel_panels(tokens) * KEEL_PANEL;
    return whole * (4 * heads * head_dim + whole) + KEEL_PANEL;
}

#endif
