/* Layers over panels against plain loops in double precision; and a row has the same bits wherever it lies
 * and whatever lies beside it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/gemm.h"
#include "core/half.h"
#include "core/matrix.h"
#include "core/panels_internal.h"
#include "core/pcg.h"

enum { MOST_ROWS = 160, MOST_COLS = 96, MOST = (MOST_ROWS + 1) * MOST_COLS };

static float rows[MOST], panels[MOST], out[MOST], w[MOST_COLS * MOST_COLS], bias[MOST_COLS], gain[MOST_COLS],
    more[MOST], scratch[16 * MOST];

static int set_up(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "panels", 0);
    for (size_t i = 0; i < MOST; i++) rows[i] = (float)keel_rng_normal(&rng);
    for (size_t i = 0; i < MOST; i++) more[i] = (float)keel_rng_normal(&rng);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = (float)keel_rng_normal(&rng) / 8;
    for (size_t i = 0; i < MOST_COLS; i++) bias[i] = (float)keel_rng_normal(&rng);
    for (size_t i = 0; i < MOST_COLS; i++) gain[i] = (float)keel_rng_normal(&rng);
    return 0;
}

/* Rows first .. first + n - 1 of `from` (by rows) become rows at .. of panels; all other lanes hold NaN,
 * which must not spread. */
static void lay(const float *from, size_t first, size_t n, size_t cols, size_t at, float *to) {
    for (size_t i = 0; i < MOST; i++) to[i] = NAN;
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < cols; c++) to[keel_panel_at(at + r, c, cols)] = from[(first + r) * cols + c];
}

static void close_to(double found, double expected, double by, const char *of, size_t r, size_t c) {
    if (!(fabs(found - expected) <= by * fmax(1, fabs(expected))))
        fail_msg("%s, row %zu, column %zu: %.9g, expected %.9g", of, r, c, found, expected);
}

/* Tiles of every size and what they leave over, one panel to many. */
static void a_linear_layer_is_its_sums_and_bias(void **state) {
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},   {5, 3, 2},    {16, 24, 40}, {17, 40, 24}, {33, 7, 9},
                                      {48, 8, 96}, {64, 96, 17}, {65, 96, 64}, {160, 16, 49}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const size_t n = sizes[k][0], in = sizes[k][1], outs = sizes[k][2];
        lay(rows, 0, n, in, 0, panels);
        keel_panel_linear(panels, keel_panels(n), in, w, bias, outs, out);
        for (size_t r = 0; r < n; r++)
            for (size_t o = 0; o < outs; o++) {
                double sum = (double)bias[o];
                for (size_t i = 0; i < in; i++) sum += (double)rows[r * in + i] * (double)w[o * in + i];
                close_to((double)out[keel_panel_at(r, o, outs)], sum, 1e-5, "linear", r, o);
            }
    }
}

static void check_norms(bool rms, double epsilon, double within) {
    static const size_t sizes[][2] = {{1, 1}, {3, 5}, {16, 24}, {37, 96}};
    static float added[MOST];
    for (size_t k = 0; k < 8; k++) {
        const size_t n = sizes[k / 2][0], cols = sizes[k / 2][1];
        const float *other = k % 2 ? added : NULL;
        lay(rows, 0, n, cols, 0, panels);
        lay(more, 0, n, cols, 0, added);
        if (rms)
            keel_panel_rms_norm(panels, other, gain, epsilon, keel_panels(n), cols, out);
        else
            keel_panel_layer_norm(panels, other, gain, bias, epsilon, keel_panels(n), cols);
        for (size_t r = 0; r < n; r++) {
            double x[MOST_COLS], mean = 0, variance = 0;
            for (size_t c = 0; c < cols; c++) {
                x[c] = (double)rows[r * cols + c] + (other ? (double)more[r * cols + c] : 0);
                if (rms)
                    close_to((double)panels[keel_panel_at(r, c, cols)], x[c], 1e-6, "sum", r, c);
                else
                    mean += x[c] / (double)cols;
            }
            for (size_t c = 0; c < cols; c++) variance += (x[c] - mean) * (x[c] - mean) / (double)cols;
            for (size_t c = 0; c < cols; c++)
                close_to((double)(rms ? out : panels)[keel_panel_at(r, c, cols)],
                         (x[c] - mean) / sqrt(variance + epsilon) * (double)gain[c] +
                             (rms ? 0 : (double)bias[c]),
                         within, rms ? "rms norm" : "norm", r, c);
        }
    }
}

static void a_norm_is_that_of_the_row(void **state) {
    (void)state;
    check_norms(false, 1e-12, 2e-5);
}

static void an_rms_norm_is_that_of_the_row(void **state) {
    (void)state;
    check_norms(true, 1e-5, 2e-6);
}

/* Attention of row r of a text: q, k, v are columns 0, 1, 2 times W of rows. */
static double seen(const float *text, size_t n, size_t heads, size_t head_dim, size_t r, size_t c) {
    const size_t width = heads * head_dim, row = 3 * width, head = c / head_dim * head_dim;
    double score[MOST_ROWS], most = -INFINITY, sum = 0, mean = 0;
    for (size_t j = 0; j < n; j++) {
        score[j] = 0;
        for (size_t d = 0; d < head_dim; d++)
            score[j] += (double)text[r * row + head + d] * (double)text[j * row + width + head + d] /
                        sqrt((double)head_dim);
        most = fmax(most, score[j]);
    }
    for (size_t j = 0; j < n; j++) sum += score[j] = exp(score[j] - most);
    for (size_t j = 0; j < n; j++) mean += score[j] / sum * (double)text[j * row + 2 * width + c];
    return mean;
}

static void attention_stays_within_a_text(void **state) {
    (void)state;
    static const struct {
        size_t heads, head_dim, n;
        int32_t offsets[6];
    } cases[] = {{1, 1, 1, {0, 1}},
                 {2, 3, 5, {0, 1, 6, 7, 23, 40}},
                 {3, 8, 4, {0, 17, 33, 65, 81}},
                 {1, 32, 3, {0, 100, 101, 160}}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const size_t heads = cases[k].heads, head_dim = cases[k].head_dim, width = heads * head_dim,
                     all = (size_t)cases[k].offsets[cases[k].n];
        lay(rows, 0, all, 3 * width, 0, panels);
        assert_true(keel_panel_attention_room(heads, head_dim, 100) <= sizeof scratch / sizeof *scratch);
        keel_panel_attention(panels, heads, head_dim, cases[k].offsets, cases[k].n, out, scratch);
        for (size_t i = 0; i < cases[k].n; i++) {
            const size_t first = (size_t)cases[k].offsets[i], n = (size_t)cases[k].offsets[i + 1] - first;
            for (size_t r = 0; r < n; r++)
                for (size_t c = 0; c < width; c++)
                    close_to((double)out[keel_panel_at(first + r, c, width)],
                             seen(rows + first * 3 * width, n, heads, head_dim, r, c), 1e-5, "attention",
                             first + r, c);
        }
    }
}

/* A text of twenty rows through all three, alone and behind others. */
static void run(size_t at, float *result) {
    enum { N = 20, WIDTH = 24, TAIL = 5 };
    static float wide[MOST], all[MOST];
    int32_t offsets[] = {0, (int32_t)at, (int32_t)at + N, (int32_t)at + N + TAIL};
    const bool alone = at == 0;
    const size_t n = alone ? N : at + N + TAIL, count = keel_panels(n);
    lay(rows, 0, N, WIDTH, at, all);
    if (!alone) {
        lay(more, 0, n, WIDTH, 0, all);
        for (size_t r = 0; r < N; r++)
            for (size_t c = 0; c < WIDTH; c++) all[keel_panel_at(at + r, c, WIDTH)] = rows[r * WIDTH + c];
    }
    keel_panel_linear(all, count, WIDTH, w, bias, 3 * WIDTH, wide);
    keel_panel_attention(wide, 3, WIDTH / 3, alone ? offsets + 1 : offsets, alone ? 1 : 3, out, scratch);
    keel_panel_layer_norm(out, all, gain, bias, 1e-12, count, WIDTH);
    for (size_t r = 0; r < N; r++)
        for (size_t c = 0; c < WIDTH; c++) result[r * WIDTH + c] = out[keel_panel_at(at + r, c, WIDTH)];
}

static void a_row_is_the_same_in_any_place(void **state) {
    (void)state;
    static float alone[480], here[480];
    run(0, alone);
    for (size_t at = 1; at < 60; at++) {
        run(at, here);
        if (memcmp(alone, here, sizeof alone) != 0) fail_msg("behind %zu rows: other bits", at);
    }
}

/* What a product with a matrix is, by its definition: in double precision where sums may round differently,
 * and in whole numbers the very bits. */
static float in_floats(const float *x, const float *weights, size_t cols, bool rounded, float start) {
    double sum = (double)start;
    for (size_t c = 0; c < cols; c++)
        sum += (double)(rounded ? keel_bf16_to_float(keel_bf16_from_float(x[c])) : x[c]) * (double)weights[c];
    return (float)sum;
}

static float half_of(const unsigned char *at) {
    return keel_half_to_float((uint16_t)(at[0] | at[1] << 8));
}

/* Column c of a row of 4 bits: q - 8. */
static int four_of(const unsigned char *q, size_t c) {
    return (c % 32 < 16 ? q[c % 16] & 15 : q[c % 16] >> 4) - 8;
}

static float in_blocks(keel_matrix_type type, const float *x, const unsigned char *row, size_t cols,
                       float start) {
    float exact = start;
    for (size_t c = 0; c < cols; c += 32, row += type == KEEL_MATRIX_Q8_0 ? 34 : 18) {
        float most = 0;
        int32_t whole = 0;
        for (size_t i = c; i < c + 32; i++) most = fmaxf(most, fabsf(x[i]));
        for (size_t i = c; i < c + 32 && most > 0; i++)
            whole += (int32_t)nearbyintf(x[i] * (127 / most)) *
                     (type == KEEL_MATRIX_Q8_0 ? (int8_t)row[2 + i - c] : four_of(row + 2, i));
        exact = fmaf((float)whole, half_of(row) * (most / 127), exact);
    }
    return exact;
}

static float in_rows(keel_matrix_type type, const float *x, const unsigned char *row, size_t cols,
                     float start) {
    int8_t *q = malloc(cols);
    float scale, of_row;
    int32_t whole = 0;
    assert_non_null(q);
    keel_row_quantise(x, cols, q, &scale);
    memcpy(&of_row, row, sizeof of_row);
    for (size_t c = 0; c < cols; c++) {
        const unsigned char *block = row + 4 + c / 32 * 17;
        whole += q[c] * (type == KEEL_MATRIX_I8 ? (int8_t)row[4 + c] : *block * four_of(block + 1, c));
    }
    free(q);
    return fmaf((float)whole, of_row * scale, start);
}

static float by_definition(const keel__panel_kernel *k, keel_matrix_type type, const float *x,
                           const float *weights, const unsigned char *row, size_t cols, float start) {
    const bool rounded = k->form == KEEL_PANEL_BF16 && k->packed(64) < 64 * KEEL_PANEL * sizeof(float);
    if (k->form == KEEL_PANEL_BLOCKS) return in_blocks(type, x, row, cols, start);
    if (k->form == KEEL_PANEL_ROWS) return in_rows(type, x, row, cols, start);
    return in_floats(x, weights, cols, rounded, start);
}

/* Whether the kernel multiplies with the type. */
static bool takes(const keel__panel_kernel *k, keel_matrix_type type, size_t cols) {
    const keel_matrix as_it_is = {.type = type}, floats = {.type = type, .inputs = KEEL_INPUTS_F32};
    return cols % keel_matrix_multiple(type) == 0 && cols % k->multiple == 0 &&
           (keel_panel_form_of(&as_it_is) == k->form || keel_panel_form_of(&floats) == k->form);
}

static void check_matrix(const keel__panel_kernel *k, keel_matrix_type type, size_t n, size_t cols,
                         size_t outs, bool with_bias) {
    const size_t row_bytes = keel_matrix_row_bytes(type, cols), count = keel_panels(n);
    const bool exact = k->form == KEEL_PANEL_BLOCKS || k->form == KEEL_PANEL_ROWS;
    if (!takes(k, type, cols)) return;
    unsigned char *data = malloc(outs * row_bytes + 1);
    float *weights = malloc(outs * cols * sizeof *weights);
    char *packed = malloc(count * k->packed(cols));
    assert_true(data && weights && packed);
    keel_matrix m = {.type = type, .rows = outs, .cols = cols, .data = data + 1};
    for (size_t o = 0; o < outs; o++) {
        keel_matrix_write_row(type, w + o * cols % (MOST_COLS * (MOST_COLS - 1)), cols,
                              data + 1 + o * row_bytes);
        keel_matrix_read_row(&m, o, weights + o * cols);
    }
    lay(rows, 0, n, cols, 0, panels);
    for (size_t i = 0; i < count; i++)
        k->pack(panels + i * cols * KEEL_PANEL, cols, packed + i * k->packed(cols));
    for (size_t i = 0; i < count * outs * KEEL_PANEL; i++) out[i] = 77;
    const size_t from = outs > 20 ? 3 : 0, to = outs > 20 ? outs - 2 : outs;
    k->multiply(packed, count, &m, with_bias ? bias : NULL, from, to, out);
    for (size_t r = 0; r < n; r++)
        for (size_t o = 0; o < outs; o++) {
            const double found = (double)out[keel_panel_at(r, o, outs)];
            if (o < from || o >= to) {
                assert_true(found == 77);
                continue;
            }
            close_to(found,
                     (double)by_definition(k, type, rows + r * cols, weights + o * cols,
                                           data + 1 + o * row_bytes, cols, with_bias ? bias[o] : 0),
                     exact ? 0 : 1e-5, k->name, r, o);
        }
    free(data);
    free(weights);
    free(packed);
}

/* Every kernel that the processor has, at an odd address, one panel to many, a part of the rows. */
static void a_matrix_of_any_format_is_its_sums(void **state) {
    (void)state;
    static const size_t sizes[][3] = {{1, 32, 1},  {3, 64, 40},  {16, 96, 12}, {17, 32, 25},
                                      {33, 96, 9}, {48, 64, 96}, {64, 96, 17}, {160, 32, 49}};
    for (size_t i = 0; i < keel__n_panel_kernels; i++) {
        const keel__panel_kernel *k = &keel__panel_kernels[i];
        if (!k->available()) {
            print_message("%s: left out, this processor (or OPENBLAS_CORETYPE) is without\n", k->name);
            continue;
        }
        for (int type = 0; type < KEEL_N_MATRIX_TYPES; type++) {
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                check_matrix(k, type, sizes[s][0], sizes[s][1], sizes[s][2], s % 2);
            check_matrix(k, type, 5, 7, 3, true);
            check_matrix(k, type, 18, 94, 31, false);
        }
    }
}

/* One to four rows by rows of the matrix: the bits of the panel's product; other lanes and outputs are left.
 */
static void check_few(const keel__panel_kernel *k, keel_matrix_type type, size_t cols, size_t outs) {
    const size_t row_bytes = keel_matrix_row_bytes(type, cols);
    if (!takes(k, type, cols)) return;
    unsigned char *data = malloc((outs + 1) * row_bytes);
    char *packed = malloc(k->packed(cols));
    static float expected[MOST];
    assert_true(data && packed);
    const keel_matrix m = {.type = type, .rows = outs, .cols = cols, .data = data};
    for (size_t o = 0; o < outs; o++) keel_matrix_write_row(type, w + o * 7, cols, data + o * row_bytes);
    for (size_t n = 1; n <= KEEL__FEW; n++) {
        lay(rows, 0, n, cols, 0, panels);
        k->pack(panels, cols, packed);
        k->multiply(packed, 1, &m, n % 2 ? bias : NULL, 0, outs, expected);
        for (size_t i = 0; i < outs * KEEL_PANEL; i++) out[i] = 77;
        const size_t from = n % 2, left = k->few(packed, n, &m, n % 2 ? bias : NULL, from, outs, out);
        assert_true(left == from || left == from + (outs - from) / 16 * 16);
        for (size_t o = 0; o < outs; o++)
            for (size_t r = 0; r < KEEL_PANEL; r++) {
                const float found = out[o * KEEL_PANEL + r];
                if (found != (o < from || o >= left || r >= n ? 77 : expected[o * KEEL_PANEL + r]))
                    fail_msg("%s, %zu rows: output %zu, row %zu: %.9g", k->name, n, o, r, (double)found);
            }
    }
    free(data);
    free(packed);
}

static void few_rows_have_the_bits_of_panels(void **state) {
    (void)state;
    for (size_t i = 0; i < keel__n_panel_kernels; i++) {
        const keel__panel_kernel *k = &keel__panel_kernels[i];
        if (!k->few) continue;
        if (!k->available()) {
            print_message("%s: left out, this processor (or OPENBLAS_CORETYPE) is without\n", k->name);
            continue;
        }
        for (int type = 0; type < KEEL_N_MATRIX_TYPES; type++) {
            check_few(k, type, 96, 80);
            check_few(k, type, 32, 17);
            check_few(k, type, 64, 5);
            check_few(k, type, 90, 50);
            check_few(k, type, 23, 33);
        }
    }
}

/* Tiles of weights that are made wider: sums go on over more columns than a tile has. */
static void sums_go_on_from_tile_to_tile(void **state) {
    (void)state;
    enum { COLS = 700, OUTS = 19 };
    static float x[COLS * KEEL_PANEL], y[OUTS * KEEL_PANEL];
    static uint16_t data[OUTS * COLS];
    for (size_t i = 0; i < COLS * KEEL_PANEL; i++) x[i] = rows[i];
    for (size_t o = 0; o < OUTS; o++)
        keel_matrix_write_row(KEEL_MATRIX_BF16, w + o * 300, COLS, data + o * COLS);
    const keel_matrix m = {.type = KEEL_MATRIX_BF16, .rows = OUTS, .cols = COLS, .data = data};
    for (size_t i = 0; i < keel__n_panel_kernels; i++) {
        const keel__panel_kernel *k = &keel__panel_kernels[i];
        if (k->form != KEEL_PANEL_BF16 || k->packed(COLS) != sizeof x) continue;
        k->multiply(x, 1, &m, bias, 0, OUTS, y);
        for (size_t o = 0; o < OUTS; o++)
            for (size_t r = 0; r < KEEL_PANEL; r++) {
                double sum = (double)bias[o];
                for (size_t c = 0; c < COLS; c++)
                    sum += (double)keel_bf16_to_float(data[o * COLS + c]) * (double)x[c * KEEL_PANEL + r];
                close_to((double)y[o * KEEL_PANEL + r], sum, 1e-5, "tiles", r, o);
            }
    }
}

/* What a row comes to: in any lane, beside others, for any part of the outputs. */
static void check_beside(const keel__panel_kernel *k, keel_matrix_type type) {
    enum { COLS = 64, OUTS = 29 };
    static unsigned char data[OUTS * COLS * sizeof(float)];
    static float alone[OUTS];
    if (!takes(k, type, COLS)) return;
    for (size_t o = 0; o < OUTS; o++)
        keel_matrix_write_row(type, w + o * COLS, COLS, data + o * keel_matrix_row_bytes(type, COLS));
    const keel_matrix m = {.type = type, .rows = OUTS, .cols = COLS, .data = data};
    char *packed = malloc(9 * k->packed(COLS));
    assert_non_null(packed);
    for (size_t at = 0; at < 130; at += 7) {
        lay(more, 0, 140, COLS, 0, panels);
        for (size_t c = 0; c < COLS; c++) panels[keel_panel_at(at, c, COLS)] = rows[c];
        const size_t count = keel_panels(at + 1);
        for (size_t p = 0; p < count; p++)
            k->pack(panels + p * COLS * KEEL_PANEL, COLS, packed + p * k->packed(COLS));
        k->multiply(packed, count, &m, bias, 0, at % 2 ? 10 : OUTS, out);
        if (at % 2) k->multiply(packed, count, &m, bias, 10, OUTS, out);
        for (size_t o = 0; o < OUTS; o++) {
            if (at == 0) alone[o] = out[keel_panel_at(0, o, OUTS)];
            assert_true(alone[o] == out[keel_panel_at(at, o, OUTS)]);
        }
    }
    free(packed);
}

static void a_row_has_the_same_bits_beside_others(void **state) {
    (void)state;
    for (size_t i = 0; i < keel__n_panel_kernels; i++)
        for (int type = 0; keel__panel_kernels[i].available() && type < KEEL_N_MATRIX_TYPES; type++)
            check_beside(&keel__panel_kernels[i], type);
}

/* Sums over more columns than weights are made bytes of at a time; and weights and inputs of the largest
 * size, whose sums of two products are the largest that instructions make. */
static void whole_numbers_of_many_columns(void **state) {
    (void)state;
    enum { COLS = 4160, OUTS = 9 };
    float *x = malloc(COLS * sizeof *x), *lanes = malloc(COLS * KEEL_PANEL * sizeof *lanes);
    unsigned char *data = malloc(OUTS * COLS * 4);
    static float y[OUTS * KEEL_PANEL];
    assert_true(x && lanes && data);
    for (int large = 0; large < 2; large++)
        for (size_t i = 0; i < keel__n_panel_kernels; i++) {
            const keel__panel_kernel *k = &keel__panel_kernels[i];
            const bool exact = k->form == KEEL_PANEL_BLOCKS || k->form == KEEL_PANEL_ROWS;
            for (int type = KEEL_MATRIX_Q8_0; exact && k->available() && type < KEEL_N_MATRIX_TYPES; type++) {
                const size_t bytes = keel_matrix_row_bytes(type, COLS);
                const keel_matrix m = {.type = type, .rows = OUTS, .cols = COLS, .data = data};
                if (!takes(k, type, COLS)) continue;
                for (size_t o = 0; o < OUTS; o++) {
                    for (size_t c = 0; c < COLS; c++)
                        x[c] = large ? o % 2 ? -1 : 1 : rows[(o * 300 + c) % MOST];
                    keel_matrix_write_row(type, x, COLS, data + o * bytes);
                }
                for (size_t c = 0; c < COLS; c++) x[c] = large ? c % 7 ? -3 : 3 : more[c];
                for (size_t c = 0; c < COLS * KEEL_PANEL; c++) lanes[c] = x[c / KEEL_PANEL];
                char *packed = malloc(k->packed(COLS));
                assert_non_null(packed);
                k->pack(lanes, COLS, packed);
                k->multiply(packed, 1, &m, bias, 0, OUTS, y);
                for (size_t o = 0; o < OUTS; o++) {
                    const float expected = by_definition(k, type, x, NULL, data + o * bytes, COLS, bias[o]);
                    if (y[o * KEEL_PANEL] != expected || y[o * KEEL_PANEL + 15] != expected)
                        fail_msg("%s, %s: %.9g, expected %.9g", k->name, keel_matrix_type_name(type),
                                 (double)y[o * KEEL_PANEL], (double)expected);
                }
                free(packed);
            }
        }
    free(x);
    free(lanes);
    free(data);
}

/* Inputs that are made ready part by part, by whoever has them. */
static void parts_are_made_ready_as_the_whole_is(void **state) {
    (void)state;
    lay(rows, 0, 20, 96, 0, panels);
    for (int form = 0; form < KEEL_N_PANEL_FORMS; form++) {
        if (form == KEEL_PANEL_ROWS) continue; /* wants all columns at once */
        const size_t bytes = keel_panel_packed(form, 96);
        char *whole = malloc(2 * bytes), *parts = malloc(2 * bytes);
        assert_true(whole && parts);
        keel_panel_pack(form, panels, 2, 96, 0, 96, whole);
        keel_panel_pack(form, panels, 2, 96, 32, 96, parts);
        keel_panel_pack(form, panels, 2, 96, 0, 32, parts);
        for (size_t i = 0; i < 2 * bytes; i++)
            if (whole[i] != parts[i]) fail_msg("form %d: byte %zu differs", form, i);
        free(whole);
        free(parts);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_layer_is_its_sums_and_bias),
        cmocka_unit_test(a_norm_is_that_of_the_row),
        cmocka_unit_test(an_rms_norm_is_that_of_the_row),
        cmocka_unit_test(attention_stays_within_a_text),
        cmocka_unit_test(a_row_is_the_same_in_any_place),
        cmocka_unit_test(a_matrix_of_any_format_is_its_sums),
        cmocka_unit_test(few_rows_have_the_bits_of_panels),
        cmocka_unit_test(sums_go_on_from_tile_to_tile),
        cmocka_unit_test(parts_are_made_ready_as_the_whole_is),
        cmocka_unit_test(a_row_has_the_same_bits_beside_others),
        cmocka_unit_test(whole_numbers_of_many_columns),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
