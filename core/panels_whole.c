/* Products in whole numbers: inputs made ready, rows of weights one after the other, and the kernel for any
 * processor. */
#include "core/panels_whole.h"

#include <math.h>

#include "core/half.h"

enum { BLOCK = KEEL_MATRIX_BLOCK, HALF = KEEL_MATRIX_BLOCK / 2, PANEL_OF_FOUR = 4 * KEEL_PANEL };

/* ---- inputs ---- */

/* What is not a number becomes -127, its scale not finite either. */
static inline int32_t whole_of(float x) {
    return (int32_t)keel_round_within(x, -127, 127);
}

/* The largest size of each lane, as bits: those of what is not a number come last. */
KEEL_SIMD static void largest(const float *restrict x, size_t cols, uint32_t *restrict most) {
    uint32_t m[KEEL_PANEL] = {0};
    for (size_t k = 0; k < cols; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const uint32_t bits = keel_float_bits(x[k * KEEL_PANEL + (size_t)lane]) & 0x7fffffffu;
            m[lane] = bits > m[lane] ? bits : m[lane];
        }
    memcpy(most, m, sizeof m);
}

/* Columns of one block (fewer than 32: the rest are zeros); adds up all of a lane. */
KEEL_SIMD static void fill_block(const float *restrict x, const float *restrict factor, int32_t *restrict sum,
                                 keel__x_block *restrict to) {
    int32_t even[KEEL_PANEL] = {0}, odd[KEEL_PANEL] = {0};
    uint32_t four[KEEL_PANEL];
    for (int k = 0; k < BLOCK / 4; k++, x += PANEL_OF_FOUR) {
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const int32_t a = whole_of(x[lane] * factor[lane]),
                          b = whole_of(x[KEEL_PANEL + lane] * factor[lane]),
                          c = whole_of(x[2 * KEEL_PANEL + lane] * factor[lane]),
                          d = whole_of(x[3 * KEEL_PANEL + lane] * factor[lane]);
            even[lane] += a + c;
            odd[lane] += b + d;
            four[lane] = ((uint32_t)a & 255) | ((uint32_t)b & 255) << 8 | ((uint32_t)c & 255) << 16 |
                         (uint32_t)d << 24;
        }
        memcpy(to->q[k], four, sizeof four);
    }
    for (int lane = 0; lane < KEEL_PANEL; lane++) {
        four[lane] = ((uint32_t)(-8 * even[lane]) & 0xffff) | (uint32_t)(-8 * odd[lane]) << 16;
        sum[lane] += even[lane] + odd[lane];
    }
    memcpy(to->low, four, sizeof four);
}

static void scales_of(const float *x, size_t cols, float *scale, float *factor) {
    uint32_t bits[KEEL_PANEL];
    largest(x, cols, bits);
    for (int lane = 0; lane < KEEL_PANEL; lane++)
        keel_row_scale(keel_float_of_bits(bits[lane]), scale + lane, factor + lane);
}

static size_t blocks_of(size_t cols) {
    return (cols + BLOCK - 1) / BLOCK;
}

size_t keel__blocks_packed(size_t cols) {
    return blocks_of(cols) * sizeof(keel__scaled_block);
}

size_t keel__rows_packed(size_t cols) {
    return sizeof(keel__rows_head) + blocks_of(cols) * sizeof(keel__x_block);
}

void keel__blocks_pack(const float *x, size_t cols, void *to) {
    keel__scaled_block *block = to;
    float factor[KEEL_PANEL];
    int32_t unused[KEEL_PANEL] = {0};
    for (size_t c = 0; c < cols; c += BLOCK, block++, x += BLOCK * KEEL_PANEL) {
        scales_of(x, BLOCK, block->scale, factor);
        fill_block(x, factor, unused, &block->x);
    }
}

void keel__rows_pack(const float *x, size_t cols, void *to) {
    keel__rows_head *head = to;
    keel__x_block *block = (keel__x_block *)(head + 1);
    float factor[KEEL_PANEL], rest[BLOCK * KEEL_PANEL] = {0};
    int32_t sum[KEEL_PANEL] = {0};
    scales_of(x, cols, head->scale, factor);
    for (size_t c = 0; c < cols; c += BLOCK, block++, x += BLOCK * KEEL_PANEL) {
        if (cols - c < BLOCK) memcpy(rest, x, (cols - c) * KEEL_PANEL * sizeof *rest);
        fill_block(cols - c < BLOCK ? rest : x, factor, sum, block);
    }
    for (int lane = 0; lane < KEEL_PANEL; lane++) head->low[lane] = -128 * sum[lane];
}

/* ---- all rows of a matrix, some at a time ---- */

static void take_rows(keel__take *take, const keel_matrix *w, const float *bias, size_t o, size_t k,
                      keel__whole *job) {
    for (size_t r = 0; r < KEEL__WHOLE_ROWS; r++) {
        job->bias[r] = bias && r < job->rows ? bias[o + r] : 0;
        if (r < job->rows) {
            take(w, o + r, k / BLOCK, r, job);
            continue;
        }
        memset(job->q[r], 0, job->blocks * BLOCK);
        memset(job->scale[r], 0, sizeof job->scale[r]);
        memset(job->step[r], 0, sizeof job->step[r]);
    }
}

/* Some panels stay in the second cache while all weights pass, some weights in the first while these panels
 * pass. */
static void multiply(keel__take *take, keel__run *run, bool by_rows, const char *x, size_t panels,
                     const keel_matrix *w, const float *bias, size_t from, size_t to, float *y) {
    enum { PANELS = 12 };
    const size_t all = blocks_of(w->cols) * BLOCK, head = by_rows ? sizeof(keel__rows_head) : 0;
    keel__whole job; /* 40 KB: what is not needed is not set */
    job.x_block = by_rows ? sizeof(keel__x_block) : sizeof(keel__scaled_block);
    job.x_panel = head + all / BLOCK * job.x_block;
    job.y_panel = w->rows * KEEL_PANEL;
    job.fours = w->type == KEEL_MATRIX_Q4_0 || w->type == KEEL_MATRIX_Q4_G32;
    for (size_t p = 0; p < panels; p += PANELS)
        for (size_t o = from; o < to; o += KEEL__WHOLE_ROWS)
            for (size_t k = 0; k < all; k += KEEL__WHOLE_COLS) {
                job.blocks = (all - k < KEEL__WHOLE_COLS ? all - k : KEEL__WHOLE_COLS) / BLOCK;
                job.rows = to - o < KEEL__WHOLE_ROWS ? to - o : KEEL__WHOLE_ROWS;
                job.first = k == 0;
                job.last = k + job.blocks * BLOCK == all;
                job.head = (const keel__rows_head *)(const void *)(x + p * job.x_panel);
                job.x = x + p * job.x_panel + head + k / BLOCK * job.x_block;
                job.y = y + p * job.y_panel + o * KEEL_PANEL;
                take_rows(take, w, bias, o, k, &job);
                run(&job, panels - p < PANELS ? panels - p : PANELS);
            }
}

/* ---- any processor ---- */

static void widen_fours(const unsigned char *from, int step, uint8_t *q) {
    for (size_t i = 0; i < HALF; i++) {
        q[i] = (uint8_t)(step * ((from[i] & 15) - 8));
        q[i + HALF] = (uint8_t)(step * ((from[i] >> 4) - 8));
    }
}

static void take_plain(const keel_matrix *w, size_t o, size_t first, size_t r, keel__whole *job) {
    const size_t bytes = keel_matrix_row_bytes(w->type, w->cols), k = first * BLOCK,
                 cols = w->cols - k < job->blocks * BLOCK ? w->cols - k : job->blocks * BLOCK;
    const unsigned char *row = (const unsigned char *)w->data + o * bytes,
                        *at = row + keel_matrix_row_bytes(w->type, k);
    uint8_t *q = job->q[r];
    memcpy(job->scale[r], row, sizeof(float)); /* of those that have it there */
    if (w->type == KEEL_MATRIX_I8) {
        memcpy(q, at, cols);
        memset(q + cols, 0, job->blocks * BLOCK - cols);
        return;
    }
    for (size_t b = 0; b < job->blocks; b++, q += BLOCK) {
        if (w->type == KEEL_MATRIX_Q4_G32) {
            widen_fours(at + 1, *at & 15, q);
            at += KEEL_MATRIX_G32_BYTES;
            continue;
        }
        job->scale[r][b] = keel_half_at(at);
        if (w->type == KEEL_MATRIX_Q8_0)
            memcpy(q, at + 2, BLOCK);
        else
            widen_fours(at + 2, 1, q);
        at += w->type == KEEL_MATRIX_Q8_0 ? KEEL_MATRIX_BLOCK_BYTES : KEEL_MATRIX_Q4_0_BYTES;
    }
}

KEEL_SIMD static void add_block(const keel__x_block *restrict x, const uint8_t *restrict q,
                                int32_t *restrict sum) {
    for (int k = 0; k < BLOCK; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) sum[lane] += x->q[k / 4][lane][k % 4] * (int8_t)q[k];
}

static const keel__x_block *block_at(const keel__whole *job, size_t panel, size_t b) {
    const size_t scales = job->x_block - sizeof(keel__x_block);
    return (const keel__x_block *)(const void *)(job->x + panel * job->x_panel + b * job->x_block + scales);
}

static void rows_plain(const keel__whole *job, size_t panels) {
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < job->rows; r++) {
            const keel__rows_head *head =
                (const keel__rows_head *)(const void *)((const char *)job->head + p * job->x_panel);
            float *y = job->y + p * job->y_panel + r * KEEL_PANEL;
            int32_t sum[KEEL_PANEL] = {0};
            if (!job->first) memcpy(sum, y, sizeof sum);
            for (size_t b = 0; b < job->blocks; b++)
                add_block(block_at(job, p, b), job->q[r] + b * BLOCK, sum);
            if (!job->last) memcpy(y, sum, sizeof sum);
            for (int lane = 0; job->last && lane < KEEL_PANEL; lane++)
                y[lane] = fmaf((float)sum[lane], job->scale[r][0] * head->scale[lane], job->bias[r]);
        }
}

static void blocks_plain(const keel__whole *job, size_t panels) {
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < job->rows; r++) {
            float *y = job->y + p * job->y_panel + r * KEEL_PANEL;
            for (int lane = 0; job->first && lane < KEEL_PANEL; lane++) y[lane] = job->bias[r];
            for (size_t b = 0; b < job->blocks; b++) {
                const float *scale =
                    (const float *)(const void *)(job->x + p * job->x_panel + b * job->x_block);
                int32_t sum[KEEL_PANEL] = {0};
                add_block(block_at(job, p, b), job->q[r] + b * BLOCK, sum);
                for (int lane = 0; lane < KEEL_PANEL; lane++)
                    y[lane] = fmaf((float)sum[lane], job->scale[r][b] * scale[lane], y[lane]);
            }
        }
}

/* ---- by instructions ---- */

#define MULTIPLY(name, take, run, by_rows)                                                                   \
    void name(const void *x, size_t panels, const keel_matrix *w, const float *bias, size_t from, size_t to, \
              float *y) {                                                                                    \
        multiply(take, run, by_rows, x, panels, w, bias, from, to, y);                                       \
    }
MULTIPLY(keel__blocks_multiply, take_plain, blocks_plain, false)
MULTIPLY(keel__rows_multiply, take_plain, rows_plain, true)
#if defined(__x86_64__) && defined(__GNUC__)
MULTIPLY(keel__blocks_multiply_avx2, keel__take_avx2, keel__blocks_avx2, false)
MULTIPLY(keel__rows_multiply_avx2, keel__take_avx2, keel__rows_avx2, true)
MULTIPLY(keel__blocks_multiply_vnni, keel__take_vnni, keel__blocks_vnni, false)
MULTIPLY(keel__rows_multiply_vnni, keel__take_vnni, keel__rows_vnni, true)
#endif
