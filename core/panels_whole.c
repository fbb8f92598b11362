/* Products in whole numbers: inputs made ready, weights made bytes, and the kernel for any processor. */
#include "core/panels_whole.h"

#include <math.h>

#include "core/simd.h"

enum { BLOCK = KEEL_MATRIX_BLOCK, HALF = KEEL_MATRIX_BLOCK / 2 };

/* ---- inputs ---- */

/* Nearest, ties to even; what is not a number becomes -127, its scale not finite either. */
static inline float nearest(float x) {
    const float to_whole = 12582912.0f, limited = x > -127 ? x < 127 ? x : 127 : -127;
    return (limited + to_whole) - to_whole;
}

/* The largest size of each lane, as bits: those of what is not a number come last. */
KEEL_SIMD static void largest(const float *restrict x, size_t cols, uint32_t *restrict most) {
    uint32_t m[KEEL_PANEL] = {0};
    for (size_t k = 0; k < cols; k++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            uint32_t bits;
            memcpy(&bits, x + k * KEEL_PANEL + (size_t)lane, sizeof bits);
            bits &= 0x7fffffffu;
            m[lane] = bits > m[lane] ? bits : m[lane];
        }
    memcpy(most, m, sizeof m);
}

/* Four columns of a panel. */
static inline void join_four(const float *restrict x, const float *restrict factor, uint32_t *restrict to) {
    for (int lane = 0; lane < KEEL_PANEL; lane++) {
        uint32_t four = 0;
        for (int i = 0; i < 4; i++)
            four |= (uint32_t)((int32_t)nearest(x[i * KEEL_PANEL + lane] * factor[lane]) + 128) << 8 * i;
        to[lane] = four;
    }
}

KEEL_SIMD static void join_fours(const float *restrict x, size_t fours, const float *restrict factor,
                                 uint32_t *restrict to) {
    for (size_t k = 0; k < fours; k++) join_four(x + 4 * k * KEEL_PANEL, factor, to + k * KEEL_PANEL);
}

static void scales_of(const float *x, size_t cols, float *scale, float *factor) {
    uint32_t bits[KEEL_PANEL];
    largest(x, cols, bits);
    for (int lane = 0; lane < KEEL_PANEL; lane++) {
        float most;
        memcpy(&most, bits + lane, sizeof most);
        keel_row_scale(most, scale + lane, factor + lane);
    }
}

size_t keel__blocks_packed(size_t cols) {
    return cols / BLOCK * sizeof(keel__fours_block);
}

size_t keel__rows_packed(size_t cols) {
    return KEEL__SCALES + (cols + 3) / 4 * KEEL__FOURS;
}

void keel__blocks_pack(const float *x, size_t cols, void *to) {
    keel__fours_block *block = to;
    float factor[KEEL_PANEL];
    for (size_t c = 0; c < cols; c += BLOCK, block++) {
        scales_of(x + c * KEEL_PANEL, BLOCK, block->scale, factor);
        join_fours(x + c * KEEL_PANEL, BLOCK / 4, factor, (uint32_t *)(void *)block->q);
    }
}

void keel__rows_pack(const float *x, size_t cols, void *to) {
    const size_t whole = cols / 4 * 4;
    uint32_t *q = (uint32_t *)(void *)((char *)to + KEEL__SCALES);
    float factor[KEEL_PANEL], rest[4 * KEEL_PANEL] = {0};
    scales_of(x, cols, to, factor);
    join_fours(x, whole / 4, factor, q);
    if (whole == cols) return;
    memcpy(rest, x + whole * KEEL_PANEL, (cols - whole) * KEEL_PANEL * sizeof *rest);
    join_fours(rest, 1, factor, q + whole / 4 * KEEL_PANEL);
}

/* ---- weights ---- */

static int32_t sum_of(const int8_t *q, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += q[i];
    return sum;
}

static void widen_fours(const unsigned char *from, int step, int8_t *q) {
    for (size_t i = 0; i < HALF; i++) {
        q[i] = (int8_t)(step * ((from[i] & 15) - 8));
        q[i + HALF] = (int8_t)(step * ((from[i] >> 4) - 8));
    }
}

/* Columns k .. k + job->cols - 1 of row o. */
static void take_row(const keel_matrix *w, size_t o, size_t k, size_t r, keel__whole *job) {
    const keel_matrix_type type = w->type;
    const size_t block_bytes = keel_matrix_row_bytes(type, 2 * BLOCK) - keel_matrix_row_bytes(type, BLOCK);
    const unsigned char *row = (const unsigned char *)w->data + o * keel_matrix_row_bytes(type, w->cols),
                        *at = row + keel_matrix_row_bytes(type, k);
    const size_t cols = w->cols - k < job->cols ? w->cols - k : job->cols;
    int8_t *q = job->q[r];
    if (type == KEEL_MATRIX_I8) {
        memcpy(q, at, cols);
        memset(q + cols, 0, job->cols - cols);
    }
    for (size_t c = 0; type != KEEL_MATRIX_I8 && c < cols; c += BLOCK, at += block_bytes) {
        if (type == KEEL_MATRIX_Q8_0) memcpy(q + c, at + 2, BLOCK);
        if (type == KEEL_MATRIX_Q4_0) widen_fours(at + 2, 1, q + c);
        if (type == KEEL_MATRIX_Q4_G32) widen_fours(at + 1, *at & 15, q + c);
        if (type == KEEL_MATRIX_Q4_G32) continue;
        job->scale[r][c / BLOCK] = keel__half_scale(at);
        job->offset[r][c / BLOCK] = -128 * sum_of(q + c, BLOCK);
    }
    if (type != KEEL_MATRIX_I8 && type != KEEL_MATRIX_Q4_G32) return;
    memcpy(job->scale[r], row, sizeof(float));
    job->offset[r][0] = -128 * sum_of(q, job->cols);
}

static void take_rows(const keel_matrix *w, const float *bias, size_t o, size_t k, keel__whole *job) {
    for (size_t r = 0; r < KEEL__WHOLE_ROWS; r++) {
        if (r < job->rows) {
            take_row(w, o + r, k, r, job);
            job->bias[r] = bias ? bias[o + r] : 0;
            continue;
        }
        memset(job->q[r], 0, job->cols);
        memset(job->offset[r], 0, sizeof job->offset[r]);
        memset(job->scale[r], 0, sizeof job->scale[r]);
        job->bias[r] = 0;
    }
}

/* Some panels stay in the second cache while all weights pass, some weights in the first while these panels
 * pass. */
static void multiply(keel__whole_kernel *run, bool by_rows, const char *x, size_t panels,
                     const keel_matrix *w, const float *bias, size_t from, size_t to, float *y) {
    enum { PANELS = 12 };
    const size_t all = (w->cols + 3) / 4 * 4, before = by_rows ? KEEL__SCALES : 0,
                 x_panel = by_rows ? keel__rows_packed(w->cols) : keel__blocks_packed(w->cols);
    keel__whole job; /* 40 KB: what is not needed is not set */
    job.x_panel = x_panel;
    job.y_panel = w->rows * KEEL_PANEL;
    for (size_t p = 0; p < panels; p += PANELS)
        for (size_t o = from; o < to; o += KEEL__WHOLE_ROWS)
            for (size_t k = 0; k < all; k += KEEL__WHOLE_COLS) {
                const char *start = x + p * x_panel;
                job.cols = all - k < KEEL__WHOLE_COLS ? all - k : KEEL__WHOLE_COLS;
                job.rows = to - o < KEEL__WHOLE_ROWS ? to - o : KEEL__WHOLE_ROWS;
                job.first = k == 0;
                job.last = k + job.cols == all;
                job.x_scale = (const float *)(const void *)start;
                job.x = start + before + (by_rows ? k / 4 * KEEL__FOURS : keel__blocks_packed(k));
                job.y = y + p * job.y_panel + o * KEEL_PANEL;
                take_rows(w, bias, o, k, &job);
                run(&job, panels - p < PANELS ? panels - p : PANELS);
            }
}

/* ---- any processor ---- */

KEEL_SIMD static void add_fours(const uint8_t *restrict x, size_t fours, const int8_t *restrict q,
                                int32_t *restrict sum) {
    for (size_t k = 0; k < fours; k++, x += KEEL__FOURS)
        for (int i = 0; i < 4; i++)
            for (int lane = 0; lane < KEEL_PANEL; lane++)
                sum[lane] += (x[4 * lane + i] - 128) * q[4 * k + (size_t)i];
}

static void rows_plain(const keel__whole *job, size_t panels) {
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < job->rows; r++) {
            float *y = job->y + p * job->y_panel + r * KEEL_PANEL;
            const float *scale = (const float *)(const void *)((const char *)job->x_scale + p * job->x_panel);
            int32_t sum[KEEL_PANEL] = {0};
            if (!job->first) memcpy(sum, y, sizeof sum);
            add_fours((const uint8_t *)job->x + p * job->x_panel, job->cols / 4, job->q[r], sum);
            if (!job->last) memcpy(y, sum, sizeof sum);
            for (int lane = 0; job->last && lane < KEEL_PANEL; lane++)
                y[lane] = fmaf((float)sum[lane], job->scale[r][0] * scale[lane], job->bias[r]);
        }
}

static void blocks_plain(const keel__whole *job, size_t panels) {
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < job->rows; r++) {
            const keel__fours_block *x = (const keel__fours_block *)(const void *)(job->x + p * job->x_panel);
            float *y = job->y + p * job->y_panel + r * KEEL_PANEL;
            for (int lane = 0; job->first && lane < KEEL_PANEL; lane++) y[lane] = job->bias[r];
            for (size_t b = 0; b < job->cols / BLOCK; b++, x++) {
                int32_t sum[KEEL_PANEL] = {0};
                add_fours(x->q[0][0], BLOCK / 4, job->q[r] + b * BLOCK, sum);
                for (int lane = 0; lane < KEEL_PANEL; lane++)
                    y[lane] = fmaf((float)sum[lane], job->scale[r][b] * x->scale[lane], y[lane]);
            }
        }
}

#define MULTIPLY(name, run, by_rows)                                                                         \
    void name(const void *x, size_t panels, const keel_matrix *w, const float *bias, size_t from, size_t to, \
              float *y) {                                                                                    \
        multiply(run, by_rows, x, panels, w, bias, from, to, y);                                             \
    }
MULTIPLY(keel__blocks_multiply, blocks_plain, false)
MULTIPLY(keel__rows_multiply, rows_plain, true)
#if defined(__x86_64__) && defined(__GNUC__)
MULTIPLY(keel__blocks_multiply_avx2, keel__blocks_avx2, false)
MULTIPLY(keel__rows_multiply_avx2, keel__rows_avx2, true)
MULTIPLY(keel__blocks_multiply_vnni, keel__blocks_vnni, false)
MULTIPLY(keel__rows_multiply_vnni, keel__rows_vnni, true)
#endif
