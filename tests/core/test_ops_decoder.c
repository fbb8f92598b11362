/* What decoders need, against plain-loop twins in double precision. (Backward passes: test_gradient.c.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "core/ops.h"
#include "core/tape.h"
#include "golden/distil.h"

enum { R = 600, H = 4, G = 2, D = 8, C = 32, V = 1500, O = 300, MOST = R * O };

static keel_tape *tape;
static float x[MOST], y[MOST], z[MOST], weights[MOST];
static double expected[MOST];

static int set_up(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "decoder", 0);
    float *const all[] = {x, y, z, weights};
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < MOST; i++) all[k][i] = (float)keel_rng_normal(&rng);
    return keel_tape_open(&tape, NULL);
}

static int tear_down(void **state) {
    (void)state;
    keel_tape_close(tape);
    return 0;
}

static void expect(const keel_tensor *got, size_t rows, size_t cols, double within) {
    assert_non_null(got);
    assert_int_equal(got->rows, rows);
    assert_int_equal(got->cols, cols);
    for (size_t i = 0; i < rows * cols; i++)
        if (!(fabs((double)got->data[i] - expected[i]) <= within * fmax(1, fabs(expected[i]))))
            fail_msg("element %zu: expected %.9g, got %.9g", i, expected[i], (double)got->data[i]);
}

static void a_norm_by_the_mean_square_is_of_the_sum(void **state) {
    (void)state;
    static float more[R * C];
    keel_tensor *sum;
    memcpy(more, y, sizeof more);
    for (size_t r = 0; r < R; r++) {
        double square = 0;
        for (size_t c = 0; c < C; c++) square += pow((double)x[r * C + c] + (double)y[r * C + c], 2) / C;
        for (size_t c = 0; c < C; c++)
            expected[r * C + c] =
                ((double)x[r * C + c] + (double)y[r * C + c]) / sqrt(square + 0.5) * (double)z[c];
    }
    keel_tensor *in = keel_tape_input(tape, x, R, C), *gain = keel_tape_input(tape, z, 1, C);
    expect(keel_op_rms_norm(tape, in, keel_tape_input(tape, more, R, C), gain, 0.5, &sum), R, C, 2e-6);
    for (size_t i = 0; i < R * C; i++) assert_true(sum->data[i] == x[i] + y[i]);
    memcpy(more, sum->data, sizeof more);
    expect(keel_op_rms_norm(tape, keel_tape_input(tape, more, R, C), NULL, gain, 0.5, NULL), R, C, 2e-6);
}

static void a_gate_is_silu_times_what_it_lets_through(void **state) {
    (void)state;
    static float gate[R * C];
    for (size_t i = 0; i < R * C; i++) gate[i] = 20 * x[i];
    gate[0] = -200, gate[1] = 200, gate[2] = -87.4f, gate[3] = NAN;
    for (size_t i = 0; i < R * C; i++)
        expected[i] = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)y[i];
    keel_tensor *out = keel_op_gate(tape, keel_tape_input(tape, gate, R, C), keel_tape_input(tape, y, R, C));
    assert_true(isnan(out->data[3]));
    out->data[3] = 0, expected[3] = 0;
    expect(out, R, C, 1e-6);
}

static void positions_turn_the_halves_of_each_head(void **state) {
    (void)state;
    static float turn[7 * D], turned[R * H * D];
    static int32_t position[R];
    for (size_t p = 0; p < 7; p++)
        for (size_t i = 0; i < D / 2; i++) {
            const double angle = (double)p * pow(100, -2.0 * (double)i / D);
            turn[p * D + i] = (float)cos(angle), turn[p * D + D / 2 + i] = (float)sin(angle);
        }
    memcpy(turned, x, sizeof turned);
    for (size_t r = 0; r < R; r++) {
        position[r] = (int32_t)(r % 7);
        for (size_t h = 0; h < H; h++)
            for (size_t i = 0; i < D / 2; i++) {
                const double angle = (double)(r % 7) * pow(100, -2.0 * (double)i / D);
                const size_t at = r * H * D + h * D + i;
                const double a = (double)x[at], b = (double)x[at + D / 2];
                expected[at] = a * cos(angle) - b * sin(angle);
                expected[at + D / 2] = b * cos(angle) + a * sin(angle);
            }
    }
    expect(keel_op_rope(tape, keel_tape_input(tape, turned, R, H * D), H, turn, position), R, H * D, 2e-6);
}

/* Texts of 1, 0, 130 and 469 tokens: more than a tile, and fewer. */
static const int32_t TEXTS[] = {0, 1, 1, 131, R};
enum { N_TEXTS = 4 };

static void attend_plainly(size_t first, size_t t, size_t h) {
    const size_t group = h / (H / G);
    double p[R], all = 0;
    for (size_t s = first; s <= t; s++) {
        double score = 0;
        for (size_t i = 0; i < D; i++)
            score += (double)x[t * H * D + h * D + i] * (double)y[s * G * D + group * D + i];
        all += p[s] = exp(score / sqrt(D));
    }
    for (size_t i = 0; i < D; i++) {
        double sum = 0;
        for (size_t s = first; s <= t; s++) sum += p[s] / all * (double)z[s * G * D + group * D + i];
        expected[t * H * D + h * D + i] = sum;
    }
}

static void causal_attention_sees_what_was_before_in_its_text(void **state) {
    (void)state;
    for (size_t i = 0; i < N_TEXTS; i++)
        for (int32_t t = TEXTS[i]; t < TEXTS[i + 1]; t++)
            for (size_t h = 0; h < H; h++) attend_plainly((size_t)TEXTS[i], (size_t)t, h);
    keel_tensor *q = keel_tape_input(tape, x, R, H * D), *k = keel_tape_input(tape, y, R, G * D),
                *v = keel_tape_input(tape, z, R, G * D);
    expect(keel_op_causal_attention(tape, q, k, v, H, G, TEXTS, N_TEXTS), R, H * D, 2e-6);
}

/* What a text comes to does not depend on those that it is packed with. */
static void packed_texts_do_not_see_each_other(void **state) {
    (void)state;
    enum { FIRST = 1, N = 130 };
    static const int32_t alone[] = {0, N};
    const keel_tensor *packed =
        keel_op_causal_attention(tape, keel_tape_input(tape, x, R, H * D), keel_tape_input(tape, y, R, G * D),
                                 keel_tape_input(tape, z, R, G * D), H, G, TEXTS, N_TEXTS);
    const keel_tensor *single =
        keel_op_causal_attention(tape, keel_tape_input(tape, x + FIRST * H * D, N, H * D),
                                 keel_tape_input(tape, y + FIRST * G * D, N, G * D),
                                 keel_tape_input(tape, z + FIRST * G * D, N, G * D), H, G, alone, 1);
    assert_memory_equal(packed->data + FIRST * H * D, single->data, N * H * D * sizeof(float));
}

/* Weights in each format give what the same numbers in floats do. */
static void frozen_weights_of_any_format_are_their_numbers(void **state) {
    (void)state;
    static unsigned char stored[O * C * 4 + 1];
    static float widened[O * C];
    for (int type = 0; type < KEEL_N_MATRIX_TYPES; type++)
        for (size_t off = 0; off < 2; off++) { /* at any address */
            const size_t bytes = keel_matrix_row_bytes((keel_matrix_type)type, C);
            const keel_matrix w = {
                .type = (keel_matrix_type)type, .rows = O, .cols = C, .data = stored + off};
            for (size_t o = 0; o < O; o++) {
                keel_matrix_write_row(w.type, weights + o * C, C, stored + off + o * bytes);
                keel_matrix_read_row(&w, o, widened + o * C);
            }
            for (size_t r = 0; r < R; r++)
                for (size_t o = 0; o < O; o++) {
                    double sum = (double)y[o];
                    for (size_t c = 0; c < C; c++) sum += (double)x[r * C + c] * (double)widened[o * C + c];
                    expected[r * O + o] = sum;
                }
            keel_tensor *in = keel_tape_input(tape, x, R, C), *bias = keel_tape_input(tape, y, 1, O);
            expect(keel_op_linear_frozen(tape, in, &w, bias, KEEL_LINEAR, NULL, 0), R, O, 5e-6);
        }
}

/* ---- the loss of tokens ---- */

static int32_t target[R];
static float counts[R], log_prob[R];

static double plain_loss(size_t r, size_t vocabulary, double smoothing, double *log_p) {
    static double logits[V];
    double all = 0, mean = 0;
    for (size_t v = 0; v < vocabulary; v++) {
        logits[v] = 0;
        for (size_t c = 0; c < C; c++) logits[v] += (double)x[r * C + c] * (double)weights[v * C + c];
        all += exp(logits[v]), mean += logits[v] / (double)vocabulary;
    }
    *log_p = logits[target[r]] - log(all);
    return log(all) - (1 - smoothing) * logits[target[r]] - smoothing * mean;
}

static keel_token_loss loss_of(size_t vocabulary, float smoothing) {
    for (size_t r = 0; r < R; r++) {
        counts[r] = (float)(r % 3) / 2;
        target[r] = r % 3 ? (int32_t)(r * 37 % vocabulary) : -7;
    }
    return (keel_token_loss){.vocabulary = vocabulary,
                             .target = target,
                             .weight = counts,
                             .offsets = TEXTS,
                             .n = N_TEXTS,
                             .divisor = 7,
                             .smoothing = smoothing,
                             .log_prob = log_prob};
}

static void the_loss_of_tokens_is_their_cross_entropy(void **state) {
    (void)state;
    static const size_t vocabularies[] = {V, 1024, 50, 1};
    static const float smoothings[] = {0, 0.2f};
    static double log_p[R];
    const keel_matrix stored = {.type = KEEL_MATRIX_F32, .rows = V, .cols = C, .data = weights};
    for (size_t k = 0; k < 8; k++) {
        const size_t vocabulary = vocabularies[k / 2];
        keel_token_loss loss = loss_of(vocabulary, smoothings[k % 2]);
        memset(expected, 0, sizeof expected);
        memset(log_p, 0, sizeof log_p);
        for (size_t i = 0; i < N_TEXTS; i++)
            for (int32_t r = TEXTS[i]; r < TEXTS[i + 1]; r++)
                if (counts[r] > 0)
                    expected[i] += (double)counts[r] *
                                   plain_loss((size_t)r, vocabulary, (double)loss.smoothing, &log_p[r]) / 7;
        loss.w = keel_tape_input(tape, weights, V, C);
        keel_tensor *in = keel_tape_input(tape, x, R, C);
        expect(keel_op_token_loss(tape, in, &loss), N_TEXTS, 1, 3e-6);
        for (size_t r = 0; r < R; r++)
            assert_true(fabs((double)log_prob[r] - log_p[r]) <= 1e-5 * fmax(1, fabs(log_p[r])));
        loss.w = NULL, loss.frozen = &stored;
        expect(keel_op_token_loss(tape, in, &loss), N_TEXTS, 1, 3e-6);
    }
}

static void rows_that_do_not_count_are_not_read(void **state) {
    (void)state;
    static float holes[R * C];
    keel_token_loss loss = loss_of(V, 0);
    for (size_t i = 0; i < R * C; i++) holes[i] = i / C % 3 ? x[i] : NAN;
    loss.w = keel_tape_input(tape, weights, V, C);
    const keel_tensor *all = keel_op_token_loss(tape, keel_tape_input(tape, x, R, C), &loss),
                      *some = keel_op_token_loss(tape, keel_tape_input(tape, holes, R, C), &loss);
    assert_memory_equal(all->data, some->data, N_TEXTS * sizeof(float));
    memset(counts, 0, sizeof counts);
    all = keel_op_token_loss(tape, keel_tape_input(tape, x, R, C), &loss);
    for (size_t i = 0; i < N_TEXTS; i++) assert_true(all->data[i] == 0);
}

/* ---- with a teacher, against golden numbers ---- */

static void fill_wave(float *to, size_t n, double step, double factor) {
    for (size_t i = 0; i < n; i++) to[i] = (float)(sin((double)i * step + 1) * factor);
}

static void near_golden(const float *got, const double *golden, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - golden[i]) <= 2e-6 * fmax(1, fabs(golden[i]))))
            fail_msg("number %zu: expected %.9g, got %.9g", i, golden[i], (double)got[i]);
}

static void what_a_teacher_says_is_learned_too(void **state) {
    (void)state;
    enum { ROWS = 7, COLS = 6, OTHER = 5, WORDS = 1100, LISTED = 6 };
    static const int32_t texts[] = {0, 2, 5, ROWS}, next[] = {4, 0, 99, 1099, 1024, 3, 7};
    static const float count[] = {1, 0.5f, 0, 2, 1.5f, 0.25f, 1}, mix[] = {1, -0.5f, 2};
    static const size_t listed[LISTED] = {0, 7, 99, 1023, 1024, 1099};
    static float w[WORDS * COLS], u[ROWS * OTHER], v[WORDS * OTHER];
    keel_param table[] = {{.name = "x", .rows = ROWS, .cols = COLS},
                          {.name = "w", .rows = WORDS, .cols = COLS}};
    keel_params params;
    assert_int_equal(keel_params_make(&params, table, 2, NULL), KEEL_OK);
    keel_real *grads = keel_calloc(params.size, sizeof *grads);
    fill_wave(w, WORDS * COLS, 0.71, 1);
    memcpy(keel_params_at(&params, 1), w, sizeof w);
    fill_wave(keel_params_at(&params, 0), ROWS * COLS, 0.37, 1);
    fill_wave(u, ROWS * OTHER, 0.53, 1.5);
    fill_wave(v, WORDS * OTHER, 0.29, 1.5);
    const keel_matrix head = {.type = KEEL_MATRIX_F32, .rows = WORDS, .cols = OTHER, .data = v};
    const keel_token_teacher teacher = {.x = u, .w = &head, .share = 0.3f, .temperature = 2};
    const keel_token_loss loss = {.w = keel_tape_param(tape, &params, 1, grads),
                                  .vocabulary = WORDS,
                                  .target = next,
                                  .weight = count,
                                  .offsets = texts,
                                  .n = 3,
                                  .divisor = 3,
                                  .smoothing = 0.1f,
                                  .teacher = &teacher};
    keel_tensor *sums = keel_op_token_loss(tape, keel_tape_param(tape, &params, 0, grads), &loss);
    assert_non_null(sums);
    near_golden(sums->data, golden_texts, 3);
    keel_tensor *all = keel_op_sum(tape, keel_op_mul(tape, sums, keel_tape_input(tape, mix, 3, 1)), 1);
    assert_int_equal(keel_tape_backward(tape, all, NULL), KEEL_OK);
    near_golden(grads, golden_dx, ROWS * COLS);
    const keel_real *dw = grads + (keel_params_at(&params, 1) - keel_params_at(&params, 0));
    for (size_t i = 0; i < LISTED; i++) near_golden(dw + listed[i] * COLS, golden_dw + i * COLS, COLS);
    keel_tape_reset(tape);
    keel_free(grads);
    keel_params_free(&params);
}

/* A teacher that says the same costs nothing beyond the share of cross-entropy that is left. */
static void a_teacher_that_agrees_costs_nothing(void **state) {
    (void)state;
    const keel_matrix same = {.type = KEEL_MATRIX_F32, .rows = V, .cols = C, .data = weights};
    const keel_token_teacher teacher = {.x = x, .w = &same, .share = 0.25f, .temperature = 3};
    keel_token_loss loss = loss_of(V, 0.2f);
    loss.w = keel_tape_input(tape, weights, V, C);
    const keel_tensor *alone = keel_op_token_loss(tape, keel_tape_input(tape, x, R, C), &loss);
    for (size_t i = 0; i < N_TEXTS; i++) expected[i] = 0.75 * (double)alone->data[i];
    loss.teacher = &teacher;
    expect(keel_op_token_loss(tape, keel_tape_input(tape, x, R, C), &loss), N_TEXTS, 1, 3e-6);
}

static void refused(keel_tensor *result, const char *operation) {
    keel_err err = {0};
    assert_null(result);
    assert_int_equal(keel_tape_check(tape, result, &err), KEEL_E_INVALID);
    assert_string_equal(err.where, operation);
    keel_tape_reset(tape);
}

static void misfits_are_refused(void **state) {
    (void)state;
#define IN(rows, cols) keel_tape_input(tape, x, rows, cols)
    const keel_matrix w = {.type = KEEL_MATRIX_F32, .rows = 3, .cols = C, .data = weights};
    keel_token_loss loss = loss_of(V, 0);
    refused(keel_op_rms_norm(tape, IN(3, 4), NULL, IN(1, 3), 0, NULL), "keel_op_rms_norm");
    refused(keel_op_rms_norm(tape, IN(3, 4), IN(3, 3), IN(1, 4), 0, NULL), "keel_op_rms_norm");
    refused(keel_op_gate(tape, IN(3, 4), IN(4, 3)), "keel_op_gate");
    refused(keel_op_add_onto(tape, IN(3, 4), IN(4, 3)), "keel_op_add_onto");
    refused(keel_op_rope(tape, IN(3, 9), 3, x, TEXTS), "keel_op_rope");
    refused(keel_op_causal_attention(tape, IN(R, 12), IN(R, 8), IN(R, 8), 3, 2, TEXTS, N_TEXTS),
            "keel_op_causal_attention");
    refused(keel_op_causal_attention(tape, IN(R, 12), IN(R, 4), IN(R, 8), 3, 1, TEXTS, N_TEXTS),
            "keel_op_causal_attention");
    refused(keel_op_causal_attention(tape, IN(R, 12), IN(R, 4), IN(R, 4), 3, 1, TEXTS, N_TEXTS - 1),
            "keel_op_causal_attention");
    refused(keel_op_linear_frozen(tape, IN(R, C + 1), &w, NULL, KEEL_LINEAR, NULL, 0), "keel_op_linear");
    loss.w = IN(V, C);
    target[1] = V;
    refused(keel_op_token_loss(tape, IN(R, C), &loss), "keel_op_token_loss");
    loss = loss_of(V, 0), loss.w = IN(V - 1, C);
    refused(keel_op_token_loss(tape, IN(R, C), &loss), "keel_op_token_loss");
    loss.w = IN(V, C), loss.n = N_TEXTS - 1;
    refused(keel_op_token_loss(tape, IN(R, C), &loss), "keel_op_token_loss");
    keel_token_teacher teacher = {.x = x, .w = &w, .share = 0.5f, .temperature = 1};
    loss = loss_of(V, 0), loss.w = IN(V, C), loss.teacher = &teacher;
    refused(keel_op_token_loss(tape, IN(R, C), &loss), "keel_op_token_loss");
    loss = loss_of(3, 0), loss.w = IN(V, C), loss.teacher = &teacher, teacher.temperature = 0;
    refused(keel_op_token_loss(tape, IN(R, C), &loss), "keel_op_token_loss");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_norm_by_the_mean_square_is_of_the_sum),
        cmocka_unit_test(a_gate_is_silu_times_what_it_lets_through),
        cmocka_unit_test(positions_turn_the_halves_of_each_head),
        cmocka_unit_test(causal_attention_sees_what_was_before_in_its_text),
        cmocka_unit_test(packed_texts_do_not_see_each_other),
        cmocka_unit_test(frozen_weights_of_any_format_are_their_numbers),
        cmocka_unit_test(the_loss_of_tokens_is_their_cross_entropy),
        cmocka_unit_test(rows_that_do_not_count_are_not_read),
        cmocka_unit_test(what_a_teacher_says_is_learned_too),
        cmocka_unit_test(a_teacher_that_agrees_costs_nothing),
        cmocka_unit_test(misfits_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
