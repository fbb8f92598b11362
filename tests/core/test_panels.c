/* Layers over panels against plain loops in double precision; and a row has the same bits wherever it lies
 * and whatever lies beside it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/panels.h"
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

static void a_norm_is_that_of_the_row(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {3, 5}, {16, 24}, {37, 96}};
    static float added[MOST];
    for (size_t k = 0; k < 8; k++) {
        const size_t n = sizes[k / 2][0], cols = sizes[k / 2][1];
        const bool with = k % 2;
        lay(rows, 0, n, cols, 0, panels);
        lay(more, 0, n, cols, 0, added);
        keel_panel_layer_norm(panels, with ? added : NULL, gain, bias, 1e-12, keel_panels(n), cols);
        for (size_t r = 0; r < n; r++) {
            double x[MOST_COLS], mean = 0, variance = 0;
            for (size_t c = 0; c < cols; c++)
                mean += x[c] = (double)rows[r * cols + c] + (with ? (double)more[r * cols + c] : 0);
            mean /= (double)cols;
            for (size_t c = 0; c < cols; c++) variance += (x[c] - mean) * (x[c] - mean) / (double)cols;
            for (size_t c = 0; c < cols; c++)
                close_to((double)panels[keel_panel_at(r, c, cols)],
                         (x[c] - mean) / sqrt(variance + 1e-12) * (double)gain[c] + (double)bias[c], 2e-5,
                         "norm", r, c);
        }
    }
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_layer_is_its_sums_and_bias),
        cmocka_unit_test(a_norm_is_that_of_the_row),
        cmocka_unit_test(attention_stays_within_a_text),
        cmocka_unit_test(a_row_is_the_same_in_any_place),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
