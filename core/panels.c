#include "core/panels_internal.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "core/simd.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

/* `panels` (1 to 4) from x on, outputs from .. to - 1. */
typedef void kernel(const keel__product *p, const float *x, float *y, size_t panels, size_t from, size_t to);

/* ---- any processor ---- */

KEEL_SIMD static void multiply_plain(const keel__product *p, const float *x, float *y, size_t panels,
                                     size_t from, size_t to) {
    for (; panels > 0; panels--, x += p->x_panel, y += p->y_panel)
        for (size_t o = from; o < to; o++) {
            float sum[KEEL_PANEL];
            for (int lane = 0; lane < KEEL_PANEL; lane++)
                sum[lane] = p->more ? y[o * p->y_step + (size_t)lane] : p->bias ? p->bias[o] : 0;
            for (size_t k = 0; k < p->in; k++) {
                const float factor = p->w[o * p->w_row + k * p->w_step], *v = x + k * p->x_step;
                for (int lane = 0; lane < KEEL_PANEL; lane++) sum[lane] += factor * v[lane];
            }
            memcpy(y + o * p->y_step, sum, sizeof sum);
        }
}

/* ---- AVX-512, AVX2: tiles of sums that stay in registers ---- */

#ifdef HAVE_X86
#define INLINE(isa) __attribute__((always_inline, target(isa))) static inline
#define UNROLL      KEEL__UNROLL

/* panels x rows sums, at most 24; where weights are read once, the next rows are fetched meanwhile. */
INLINE("avx512f")
void tile_512(const keel__product *p, const float *x, float *y, size_t from, const int panels,
              const int rows) {
    const float *w = p->w + from * p->w_row;
    const bool fetch = panels == 1 && p->w_step == 1 && from + 2 * (size_t)rows <= p->out;
    __m512 sum[16][4], v[4];
    y += from * p->y_step;
    UNROLL for (int r = 0; r < rows; r++) {
        const __m512 bias = _mm512_set1_ps(p->bias ? p->bias[from + (size_t)r] : 0);
        UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
            p->more ? _mm512_loadu_ps(y + (size_t)i * p->y_panel + (size_t)r * p->y_step) : bias;
    }
    for (size_t k = 0; k < p->in; k++) {
        UNROLL for (int i = 0; i < panels; i++) v[i] =
            _mm512_loadu_ps(x + (size_t)i * p->x_panel + k * p->x_step);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512 factor = _mm512_set1_ps(w[(size_t)r * p->w_row + k * p->w_step]);
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] = _mm512_fmadd_ps(factor, v[i], sum[r][i]);
        }
        if (fetch && k % 16 == 0)
            UNROLL for (int r = 0; r < rows; r++)
                _mm_prefetch((const char *)(w + (size_t)(rows + r) * p->w_row + k), _MM_HINT_T1);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++)
        _mm512_storeu_ps(y + (size_t)i * p->y_panel + (size_t)r * p->y_step, sum[r][i]);
}

__attribute__((target("avx512f"))) static void multiply_512(const keel__product *p, const float *x, float *y,
                                                            size_t panels, size_t from, size_t to) {
    size_t o = from;
    for (; panels == 1 && o + 16 <= to; o += 16) tile_512(p, x, y, o, 1, 16);
    for (; panels == 1 && o + 8 <= to; o += 8) tile_512(p, x, y, o, 1, 8);
    for (; panels == 2 && o + 8 <= to; o += 8) tile_512(p, x, y, o, 2, 8);
    for (; panels == 3 && o + 8 <= to; o += 8) tile_512(p, x, y, o, 3, 8);
    for (; panels == 4 && o + 4 <= to; o += 4) tile_512(p, x, y, o, 4, 4);
    for (; panels == 4 && o < to; o++) tile_512(p, x, y, o, 4, 1);
    for (; o < to; o++)
        for (size_t i = 0; i < panels; i++) tile_512(p, x + i * p->x_panel, y + i * p->y_panel, o, 1, 1);
}

INLINE("avx2,fma")
void tile_256(const keel__product *p, const float *x, float *y, size_t from, const int rows) {
    const float *w = p->w + from * p->w_row;
    __m256 sum[6][2];
    UNROLL for (int r = 0; r < rows; r++) {
        const float *so_far = y + (from + (size_t)r) * p->y_step;
        const __m256 bias = _mm256_set1_ps(p->bias ? p->bias[from + (size_t)r] : 0);
        sum[r][0] = p->more ? _mm256_loadu_ps(so_far) : bias;
        sum[r][1] = p->more ? _mm256_loadu_ps(so_far + 8) : bias;
    }
    for (size_t k = 0; k < p->in; k++) {
        const __m256 low = _mm256_loadu_ps(x + k * p->x_step), high = _mm256_loadu_ps(x + k * p->x_step + 8);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m256 factor = _mm256_set1_ps(w[(size_t)r * p->w_row + k * p->w_step]);
            sum[r][0] = _mm256_fmadd_ps(factor, low, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(factor, high, sum[r][1]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        float *to = y + (from + (size_t)r) * p->y_step;
        _mm256_storeu_ps(to, sum[r][0]);
        _mm256_storeu_ps(to + 8, sum[r][1]);
    }
}

__attribute__((target("avx2,fma"))) static void multiply_256(const keel__product *p, const float *x, float *y,
                                                             size_t panels, size_t from, size_t to) {
    for (; panels > 0; panels--, x += p->x_panel, y += p->y_panel) {
        size_t o = from;
        for (; o + 6 <= to; o += 6) tile_256(p, x, y, o, 6);
        for (; o + 2 <= to; o += 2) tile_256(p, x, y, o, 2);
        for (; o < to; o++) tile_256(p, x, y, o, 1);
    }
}
#endif

static kernel *best_kernel(void) {
#ifdef HAVE_X86
    const keel_gemm_kind kind = keel_gemm_kernel();
    if (kind == KEEL_GEMM_AVX512) return multiply_512;
    if (kind == KEEL_GEMM_AVX2) return multiply_256;
#endif
    return multiply_plain;
}

/* Where there are few outputs, four panels keep enough sums going at a time. */
static size_t panels_at_once(size_t panels, size_t outputs) {
    const size_t most = outputs < 8 ? 4 : 3;
    return panels < most ? panels : panels == 4 && most == 3 ? 2 : most;
}

/* Some panels of x stay in the second cache while all weights pass, some weights in the first while these
 * panels pass. */
void keel__panel_multiply(const keel__product *p, size_t panels) {
    enum { PANELS = 12, OUTPUTS = 48 };
    kernel *const run = best_kernel();
    for (size_t block = 0; block < panels; block += PANELS) {
        const size_t end = block + PANELS < panels ? block + PANELS : panels;
        for (size_t o = 0; o < p->out; o += OUTPUTS) {
            const size_t to = o + OUTPUTS < p->out ? o + OUTPUTS : p->out;
            for (size_t i = block, n; i < end; i += n) {
                n = panels_at_once(end - i, to - o);
                run(p, p->x + i * p->x_panel, p->y + i * p->y_panel, n, o, to);
            }
        }
    }
}

void keel_panel_linear(const float *x, size_t panels, size_t in, const float *w, const float *bias,
                       size_t out, float *y) {
    const keel__product p = {.x = x,
                             .w = w,
                             .bias = bias,
                             .y = y,
                             .in = in,
                             .out = out,
                             .x_panel = in * KEEL_PANEL,
                             .x_step = KEEL_PANEL,
                             .w_row = in,
                             .w_step = 1,
                             .y_panel = out * KEEL_PANEL,
                             .y_step = KEEL_PANEL};
    keel__panel_multiply(&p, panels);
}

/* ---- layer norm ---- */

KEEL_SIMD static void norm_panel(float *restrict x, const float *restrict more, const float *restrict gain,
                                 const float *restrict bias, double epsilon, size_t cols) {
    double mean[KEEL_PANEL] = {0}, square[KEEL_PANEL] = {0};
    float middle[KEEL_PANEL], factor[KEEL_PANEL];
    for (size_t c = 0; c < cols; c++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const size_t at = c * KEEL_PANEL + (size_t)lane;
            if (more) x[at] += more[at];
            mean[lane] += (double)x[at];
        }
    for (int lane = 0; lane < KEEL_PANEL; lane++) mean[lane] /= (double)cols;
    for (size_t c = 0; c < cols; c++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const double d = (double)x[c * KEEL_PANEL + (size_t)lane] - mean[lane];
            square[lane] += d * d;
        }
    for (int lane = 0; lane < KEEL_PANEL; lane++) {
        middle[lane] = (float)mean[lane];
        factor[lane] = (float)(1 / sqrt(square[lane] / (double)cols + epsilon));
    }
    for (size_t c = 0; c < cols; c++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const size_t at = c * KEEL_PANEL + (size_t)lane;
            x[at] = (x[at] - middle[lane]) * factor[lane] * gain[c] + bias[c];
        }
}

void keel_panel_layer_norm(float *x, const float *more, const float *gain, const float *bias, double epsilon,
                           size_t panels, size_t cols) {
    const size_t size = cols * KEEL_PANEL;
    for (size_t i = 0; i < panels; i++)
        norm_panel(x + i * size, more ? more + i * size : NULL, gain, bias, epsilon, cols);
}

KEEL_SIMD static void rms_norm_panel(float *restrict x, const float *restrict more,
                                     const float *restrict gain, double epsilon, size_t cols,
                                     float *restrict out) {
    double square[KEEL_PANEL] = {0};
    float factor[KEEL_PANEL];
    for (size_t c = 0; c < cols; c++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const size_t at = c * KEEL_PANEL + (size_t)lane;
            if (more) x[at] += more[at];
            square[lane] += (double)x[at] * (double)x[at];
        }
    for (int lane = 0; lane < KEEL_PANEL; lane++)
        factor[lane] = (float)(1 / sqrt(square[lane] / (double)cols + epsilon));
    for (size_t c = 0; c < cols; c++)
        for (int lane = 0; lane < KEEL_PANEL; lane++) {
            const size_t at = c * KEEL_PANEL + (size_t)lane;
            out[at] = x[at] * factor[lane] * gain[c];
        }
}

void keel_panel_rms_norm(float *x, const float *more, const float *gain, double epsilon, size_t panels,
                         size_t cols, float *out) {
    const size_t size = cols * KEEL_PANEL;
    for (size_t i = 0; i < panels; i++)
        rms_norm_panel(x + i * size, more ? more + i * size : NULL, gain, epsilon, cols, out + i * size);
}

/* ---- attention ---- */

/* One text, by columns: to[c][whole], rows first .. first + n - 1 of panels. Sixteen numbers are written at a
 * time: what is beyond the text is the next column's, which is written over, or lies in lanes that mean
 * nothing. */
static void take_text(const float *panels, size_t cols, size_t first, size_t n, size_t whole, float *to) {
    for (size_t c = 0; c < cols; c++, to += whole)
        for (size_t t = 0; t < n; t += KEEL_PANEL - (first + t) % KEEL_PANEL)
            memcpy(to + t, panels + keel_panel_at(first + t, c, cols), KEEL_PANEL * sizeof *to);
}

static void put_text(const float *text, size_t cols, size_t first, size_t n, size_t whole, float *panels) {
    for (size_t t = 0, some; t < n; t += some) {
        float *to = panels + keel_panel_at(first + t, 0, cols);
        some = KEEL_PANEL - (first + t) % KEEL_PANEL;
        if (some > n - t) some = n - t;
        for (size_t c = 0; c < cols; c++)
            memcpy(to + c * KEEL_PANEL, text + c * whole + t, some * sizeof *to);
    }
}

/* One head of one text: q, k, v, out [head_dim][whole]; scores [whole / 16][whole][16]. */
static void attend(const float *q, const float *k, const float *v, size_t head_dim, size_t n, size_t whole,
                   float *out, float *scores) {
    const size_t panels = whole / KEEL_PANEL, size = whole * KEEL_PANEL;
    const keel__product score = {.x = q,
                                 .w = k,
                                 .y = scores,
                                 .in = head_dim,
                                 .out =
                                     (n + 7) / 8 * 8, /* a tile costs less than the rows that are left over */
                                 .x_panel = KEEL_PANEL,
                                 .x_step = whole,
                                 .w_row = 1,
                                 .w_step = whole,
                                 .y_panel = size,
                                 .y_step = KEEL_PANEL};
    const keel__product mix = {.x = scores,
                               .w = v,
                               .y = out,
                               .in = n,
                               .out = head_dim,
                               .x_panel = size,
                               .x_step = KEEL_PANEL,
                               .w_row = whole,
                               .w_step = 1,
                               .y_panel = KEEL_PANEL,
                               .y_step = whole};
    keel__panel_multiply(&score, panels);
    for (size_t i = 0; i < panels; i++)
        keel_softmax_columns(scores + i * size, n, 1 / sqrtf((float)head_dim));
    keel__panel_multiply(&mix, panels);
}

void keel_panel_attention(const float *qkv, size_t heads, size_t head_dim, const int32_t *offsets, size_t n,
                          float *out, float *scratch) {
    const size_t width = heads * head_dim;
    for (size_t i = 0; i < n; i++) {
        const size_t first = (size_t)offsets[i], tokens = (size_t)(offsets[i + 1] - offsets[i]),
                     whole = keel_panels(tokens) * KEEL_PANEL;
        float *q = scratch, *k = q + width * whole, *v = k + width * whole,
              *seen = v + width * whole + KEEL_PANEL, *scores = seen + width * whole;
        take_text(qkv, 3 * width, first, tokens, whole, q);
        for (size_t h = 0; h < heads; h++) {
            const size_t at = h * head_dim * whole;
            attend(q + at, k + at, v + at, head_dim, tokens, whole, seen + at, scores);
        }
        put_text(seen, width, first, tokens, whole, out);
    }
}
