/* Every operation's forward pass against its plain-loop twin: double precision, one element at a time,
 * straight from the formula in core/ops.h. (Backward passes: test_gradient.c.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/gemm.h"
#include "core/numeric.h"
#include "core/ops.h"
#include "core/tape.h"

enum { B = 7, I = 19, O = 33, A = 5, K = 3, MOST = 1024 };

typedef struct fixture {
    keel_tape *tape;
    keel_rng rng;
    float x[MOST], y[MOST], w[MOST], target[MOST], weight[MOST];
    double expected[MOST];
} fixture;

static void draw(keel_rng *rng, float *values) {
    for (size_t i = 0; i < MOST; ++i) values[i] = (float)keel_rng_normal(rng);
}

static int set_up(void **state) {
    static fixture f;
    f.rng = keel_rng_named(1, "ops", 0);
    draw(&f.rng, f.x), draw(&f.rng, f.y), draw(&f.rng, f.w);
    for (size_t i = 0; i < MOST; ++i) f.target[i] = (float)keel_rng_uniform(&f.rng);
    for (size_t i = 0; i < MOST; ++i) f.weight[i] = (float)keel_rng_below(&f.rng, 3);
    *state = &f;
    return keel_tape_open(&f.tape, NULL);
}

static int tear_down(void **state) {
    keel_tape_close(((fixture *)*state)->tape);
    return 0;
}

static keel_tensor *input(fixture *f, const float *data, size_t rows, size_t cols) {
    return keel_tape_input(f->tape, data, rows, cols);
}

static void expect(const fixture *f, const keel_tensor *got, size_t rows, size_t cols) {
    assert_non_null(got);
    assert_int_equal(got->rows, rows);
    assert_int_equal(got->cols, cols);
    for (size_t i = 0; i < rows * cols; ++i)
        if (!(fabs((double)got->data[i] - f->expected[i]) <= 2e-6 * fmax(4, fabs(f->expected[i]))))
            fail_msg("element %zu: expected %.9g, got %.9g", i, f->expected[i], (double)got->data[i]);
}

static void a_linear_layer_is_its_sums_bias_and_activation(void **state) {
    fixture *f = *state;
    for (keel_activation act = KEEL_LINEAR; act <= KEEL_GELU; ++act) {
        for (size_t biased = 0; biased < 2; ++biased) {
            for (size_t r = 0; r < B; ++r)
                for (size_t o = 0; o < O; ++o) {
                    double z = biased ? (double)f->y[o] : 0;
                    for (size_t i = 0; i < I; ++i) z += (double)f->x[r * I + i] * (double)f->w[o * I + i];
                    f->expected[r * O + o] = act == KEEL_RELU   ? fmax(z, 0)
                                             : act == KEEL_TANH ? tanh(z)
                                             : act == KEEL_GELU ? z * 0.5 * erfc(-z / sqrt(2))
                                                                : z;
                }
            keel_tensor *b = biased ? input(f, f->y, 1, O) : NULL;
            expect(f, keel_op_linear(f->tape, input(f, f->x, B, I), input(f, f->w, O, I), b, act), B, O);
        }
    }
}

static void columns_outside_of_its_runs_are_nothing_to_a_linear_layer(void **state) {
    fixture *f = *state;
    static const int32_t runs[] = {0, 2, 5, 9, 9, 12}, falling[] = {5, 9, 2, 3}, beyond[] = {5, I + 1};
    static float x[B * I];
    for (size_t i = 0; i < B * I; ++i) x[i] = i % I < 2 || (i % I >= 5 && i % I < 12) ? f->x[i] : NAN;
    for (size_t n = 0; n <= 3; ++n) {
        for (size_t r = 0; r < B; ++r)
            for (size_t o = 0; o < O; ++o) {
                double z = (double)f->y[o];
                for (size_t k = 0; k < n; ++k)
                    for (int32_t i = runs[2 * k]; i < runs[2 * k + 1]; ++i)
                        z += (double)f->x[r * I + (size_t)i] * (double)f->w[o * I + (size_t)i];
                f->expected[r * O + o] = fmax(z, 0);
            }
        expect(f,
               keel_op_linear_runs(f->tape, input(f, x, B, I), input(f, f->w, O, I), input(f, f->y, 1, O),
                                   KEEL_RELU, runs, n),
               B, O);
    }
    keel_tensor *in = input(f, f->x, B, I), *w = input(f, f->w, O, I);
    assert_null(keel_op_linear_runs(f->tape, in, w, NULL, KEEL_RELU, falling, 2));
    keel_tape_reset(f->tape);
    in = input(f, f->x, B, I), w = input(f, f->w, O, I);
    assert_null(keel_op_linear_runs(f->tape, in, w, NULL, KEEL_RELU, beyond, 1));
    keel_tape_reset(f->tape);
}

static void a_linear_layer_lets_nan_through(void **state) {
    fixture *f = *state;
    float one[1] = {1}, bad[1] = {NAN};
    keel_tensor *y =
        keel_op_linear(f->tape, input(f, bad, 1, 1), input(f, one, 1, 1), input(f, one, 1, 1), KEEL_RELU);
    assert_true(isnan(y->data[0]));
}

static void elementwise_operations_follow_their_formulas(void **state) {
    fixture *f = *state;
    keel_tensor *x = input(f, f->x, B, I), *y = input(f, f->y, B, I);
    for (size_t i = 0; i < B * I; ++i) f->expected[i] = (double)f->x[i] + (double)f->y[i];
    expect(f, keel_op_add(f->tape, x, y), B, I);
    for (size_t i = 0; i < B * I; ++i) f->expected[i] = (double)f->x[i] - (double)f->y[i];
    expect(f, keel_op_sub(f->tape, x, y), B, I);
    for (size_t i = 0; i < B * I; ++i) f->expected[i] = (double)f->x[i] * (double)f->y[i];
    expect(f, keel_op_mul(f->tape, x, y), B, I);
    for (size_t i = 0; i < B * I; ++i) f->expected[i] = -2.5 * (double)f->x[i];
    expect(f, keel_op_scale(f->tape, x, -2.5f), B, I);
}

static void row_operations_follow_their_formulas(void **state) {
    fixture *f = *state;
    keel_tensor *x = input(f, f->x, B, I), *y = input(f, f->y, B, I);
    double total = 0;
    for (size_t i = 0; i < B * I; ++i) total += (double)f->x[i];
    f->expected[0] = total / 4;
    expect(f, keel_op_sum(f->tape, x, 0.25f), 1, 1);
    for (size_t r = 0; r < B; ++r) {
        f->expected[r] = 0;
        for (size_t i = 0; i < I; ++i) f->expected[r] += (double)f->x[r * I + i] * (double)f->y[r * I + i];
    }
    expect(f, keel_op_dot(f->tape, x, y), B, 1);
}

static void dropout_keeps_its_share_and_scales_it(void **state) {
    fixture *f = *state;
    keel_tensor *x = input(f, f->x, 32, 32);
    keel_tensor *y = keel_op_dropout(f->tape, x, 0.25f, &f->rng);
    size_t kept = 0;
    for (size_t i = 0; i < MOST; ++i) {
        if (y->data[i] == 0) continue;
        kept++;
        assert_true(fabs((double)y->data[i] - (double)f->x[i] / 0.75) < 1e-6);
    }
    assert_in_range(kept, 768 - 70, 768 + 70); /* five sigma */
    assert_ptr_equal(keel_op_dropout(f->tape, x, 0, &f->rng), x);
}

static void dropout_drops_where_sixteen_bits_of_a_draw_are_below_the_rate(void **state) {
    fixture *f = *state;
    const float rates[] = {0.1f, 0.5f, 0.999f};
    for (size_t r = 0; r < 3; ++r) {
        keel_rng same = f->rng;
        keel_tensor *x = input(f, f->x, 32, 32);
        keel_tensor *y = keel_op_dropout(f->tape, x, rates[r], &f->rng);
        double limit = round((double)rates[r] * 65536);
        uint64_t draw = 0;
        for (size_t i = 0; i < MOST; ++i, draw >>= 16) {
            if (i % 4 == 0) draw = keel_rng_u64(&same);
            if ((y->data[i] == 0) != ((double)(draw & 0xffff) < limit)) fail_msg("unit %zu", i);
        }
    }
}

static void arranging_operations_move_the_right_numbers(void **state) {
    fixture *f = *state;
    static const int32_t index[] = {6, 0, 0, 3}, column[B] = {4, 0, 1, 1, 3, 2, 4};
    keel_tensor *x = input(f, f->x, B, A * K), *y = input(f, f->y, B, 2);
    for (size_t r = 0; r < B; ++r)
        for (size_t c = 0; c < A * K + 2; ++c)
            f->expected[r * (A * K + 2) + c] = c < 2 ? f->y[r * 2 + c] : f->x[r * A * K + c - 2];
    expect(f, keel_op_concat(f->tape, (keel_tensor *const[]){y, x}, 2), B, A * K + 2);
    for (size_t r = 0; r < 4; ++r)
        for (size_t c = 0; c < A * K; ++c) f->expected[r * A * K + c] = f->x[(size_t)index[r] * A * K + c];
    expect(f, keel_op_rows(f->tape, x, index, 4), 4, A * K);
    for (size_t r = 0; r < B; ++r) f->expected[r] = f->x[r * A * K + (size_t)column[r]];
    expect(f, keel_op_pick_heads(f->tape, x, column, 1), B, 1);
    for (size_t r = 0; r < B; ++r)
        for (size_t k = 0; k < K; ++k) f->expected[r * K + k] = f->x[r * A * K + k * A + (size_t)column[r]];
    expect(f, keel_op_pick_heads(f->tape, x, column, K), B, K);
    for (size_t stride = 0; stride <= K; stride += K) {
        for (size_t r = 0; r < B; ++r)
            for (size_t a = 0; a < A; ++a) {
                f->expected[r * A + a] = 0;
                for (size_t k = 0; k < K; ++k)
                    f->expected[r * A + a] +=
                        (double)f->w[r * stride + k] * (double)f->x[r * A * K + k * A + a];
            }
        expect(f, keel_op_mix_heads(f->tape, x, f->w, stride, K), B, A);
    }
}

static double plain_logsumexp(const float *x, const uint8_t *mask, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += mask && !mask[i] ? 0 : exp((double)x[i]);
    return log(sum);
}

static void logsumexps_follow_the_formula(void **state) {
    fixture *f = *state;
    uint8_t mask[B * I];
    for (size_t i = 0; i < B * I; ++i) mask[i] = i % 3 == 0;
    keel_tensor *x = input(f, f->x, B, I), *column = input(f, f->x, B * I, 1);
    for (size_t r = 0; r < B; ++r) f->expected[r] = plain_logsumexp(f->x + r * I, NULL, I);
    expect(f, keel_op_logsumexp(f->tape, x, NULL), B, 1);
    for (size_t r = 0; r < B; ++r) f->expected[r] = plain_logsumexp(f->x + r * I, mask + r * I, I);
    expect(f, keel_op_logsumexp(f->tape, x, mask), B, 1);
    static const int32_t offsets[] = {0, 1, 10, B * I};
    for (size_t s = 0; s < 3; ++s)
        f->expected[s] = plain_logsumexp(f->x + offsets[s], NULL, (size_t)(offsets[s + 1] - offsets[s]));
    expect(f, keel_op_segment_logsumexp(f->tape, column, offsets, 3), 3, 1);
}

static void plain_numerics_hold_at_the_edges(void **state) {
    (void)state;
    float huge[] = {1000, 1000}, tiny[] = {-1000, -1001}, none[] = {-INFINITY, -INFINITY}, out[2];
    assert_true(fabs((double)keel__softmax(huge, NULL, 2, NULL) - (1000 + log(2))) < 1e-4);
    assert_true(fabs((double)keel__softmax(tiny, NULL, 2, NULL) - (-1000 + log1p(exp(-1)))) < 1e-4);
    assert_true(keel__softmax(huge, NULL, 0, NULL) == -INFINITY);
    assert_true(keel__softmax(none, NULL, 2, NULL) == -INFINITY);
    keel_softmax(tiny, 2, out);
    assert_true(fabs((double)out[0] - 1 / (1 + exp(-1))) < 1e-6 &&
                fabs((double)(out[0] + out[1]) - 1) < 1e-6);
    keel_softmax(none, 2, out);
    assert_true(out[0] == 0 && out[1] == 0);
    float place[] = {1, NAN};
    assert_true(isnan(keel__softmax(place, NULL, 2, NULL)));
    memcpy(place, huge, sizeof place);
    keel_log_softmax(place, 2, place);
    assert_true(fabs((double)place[1] + log(2)) < 1e-6);
}

static void bags_follow_their_formulas(void **state) {
    fixture *f = *state;
    static const int32_t offsets[] = {0, 2, 2, B};
    static const uint32_t id[] = {3, 3, 0, 18, 7, 1, 18};
    for (size_t s = 0; s < 3; ++s)
        for (size_t c = 0; c < I; ++c) {
            double bag = 0;
            for (size_t j = (size_t)offsets[s]; j < (size_t)offsets[s + 1]; ++j)
                bag += (double)f->w[j] * (double)f->x[id[j] * I + c];
            f->expected[s * I + c] = bag;
        }
    expect(f, keel_op_embedding_bag(f->tape, f->x, I, I, id, f->w, offsets, 3, NULL), 3, I);
}

static void elementwise_losses_follow_their_formulas(void **state) {
    fixture *f = *state;
    keel_tensor *x = input(f, f->x, B, A);
    for (size_t weighted = 0; weighted < 2; ++weighted) {
        double huber = 0, square = 0, logistic = 0;
        for (size_t i = 0; i < B * A; ++i) {
            double z = (double)f->x[i], t = (double)f->target[i], e = fabs(z - t);
            double w = weighted ? (double)f->weight[i] : 1, p = 1 / (1 + exp(-z));
            huber += w * (e <= 0.75 ? e * e / 2 : 0.75 * e - 0.75 * 0.75 / 2);
            square += w * e * e / 2;
            logistic -= w * (t * log(p) + (1 - t) * log(1 - p));
        }
        const float *weight = weighted ? f->weight : NULL;
        f->expected[0] = huber / 3;
        expect(f, keel_op_huber(f->tape, x, f->target, weight, 0.75f, 3), 1, 1);
        f->expected[0] = square / 3;
        expect(f, keel_op_half_square(f->tape, x, f->target, weight, 3), 1, 1);
        f->expected[0] = logistic / 3;
        expect(f, keel_op_logistic(f->tape, x, f->target, weight, 3), 1, 1);
    }
}

static void cross_entropies_follow_their_formulas(void **state) {
    fixture *f = *state;
    for (size_t r = 0; r < B; ++r) { /* targets that sum to one in each row */
        float sum = 0;
        for (size_t a = 0; a < A; ++a) sum += f->target[r * A + a];
        for (size_t a = 0; a < A; ++a) f->target[r * A + a] /= sum;
    }
    static const int32_t offsets[] = {0, A, 2 * A, 3 * A, 4 * A, 5 * A, 6 * A, 7 * A};
    for (size_t weighted = 0; weighted < 2; ++weighted) {
        double loss = 0;
        for (size_t i = 0; i < B * A; ++i) {
            double all = plain_logsumexp(f->x + i / A * A, NULL, A),
                   w = weighted ? (double)f->weight[i / A] : 1;
            loss -= w * (double)f->target[i] * ((double)f->x[i] - all);
        }
        const float *weight = weighted ? f->weight : NULL;
        f->expected[0] = loss / 7;
        expect(f, keel_op_cross_entropy(f->tape, input(f, f->x, B, A), f->target, weight, 7), 1, 1);
        keel_tensor *column = input(f, f->x, B * A, 1);
        expect(f, keel_op_segment_cross_entropy(f->tape, column, offsets, B, f->target, weight, 7), 1, 1);
    }
}

static void losses_stay_finite_at_extreme_logits(void **state) {
    fixture *f = *state;
    float far[] = {200, -200, 0}, target[] = {0, 1, 0.5f}, barred[] = {1, 2, -INFINITY},
          sure[] = {0.5f, 0.5f, 0};
    f->expected[0] = 400 + log(2);
    expect(f, keel_op_logistic(f->tape, input(f, far, 1, 3), target, NULL, 1), 1, 1);
    f->expected[0] = log(exp(1) + exp(2)) - 1.5;
    expect(f, keel_op_cross_entropy(f->tape, input(f, barred, 1, 3), sure, NULL, 1), 1, 1);
}

static void matrix_products_take_all_transpositions_and_empty_sums(void **state) {
    fixture *f = *state;
    enum { M = 3, N = 5, L = 4 };
    for (size_t form = 0; form < 4; ++form) {
        bool ta = form & 1, tb = form & 2;
        float got[M * N];
        for (size_t i = 0; i < M * N; ++i) got[i] = f->y[i];
        keel_gemm(ta, tb, M, N, L, 0.5f, f->x, ta ? M : L, f->w, tb ? L : N, 2, got, N);
        for (size_t m = 0; m < M; ++m)
            for (size_t n = 0; n < N; ++n) {
                double sum = 0;
                for (size_t l = 0; l < L; ++l)
                    sum +=
                        (double)f->x[ta ? l * M + m : m * L + l] * (double)f->w[tb ? n * L + l : l * N + n];
                assert_true(fabs(0.5 * sum + 2 * (double)f->y[m * N + n] - (double)got[m * N + n]) < 1e-5);
            }
    }
    float kept[2] = {1, NAN};
    keel_gemm(false, false, 1, 1, 0, 1, f->x, 0, f->w, 1, 2, kept, 1);
    keel_gemm(false, false, 1, 1, 0, 1, f->x, 0, f->w, 1, 0, kept + 1, 1);
    assert_true(kept[0] == 2 && kept[1] == 0);
    keel_gemm(false, false, 0, 3, 2, 1, f->x, 2, f->w, 3, 0, kept, 3);
    assert_true(kept[0] == 2);
}

static void exponentials_and_gelu_are_those_of_libm(void **state) {
    (void)state;
    for (double x = -100; x <= 0; x += 0.013) {
        float got = (float)x + 3;
        const double expected = exp((double)got - 3);
        keel_exp_below(&got, 1, 3);
        if (x < -87 ? got != 0 && !(fabs((double)got - expected) <= 1e-37)
                    : !(fabs((double)got - expected) <= 5e-7 * expected))
            fail_msg("e^%.9g: %.9g, expected %.9g", x, (double)got, expected);
    }
    for (double x = -9; x <= 9; x += 0.00137) {
        float got = (float)x;
        const double at = (double)got, expected = at / 2 * (1 + erf(at / sqrt(2.0)));
        keel_gelu(&got, 1, &got);
        if (!(fabs((double)got - expected) <= 1e-6 * (1 + fabs(at))))
            fail_msg("GELU of %.9g: %.9g, expected %.9g", at, (double)got, expected);
        const float x_was = (float)x;
        const double slope =
            (1 + erf(at / sqrt(2.0))) / 2 + at * exp(-at * at / 2) / sqrt(2 * 3.14159265358979323846);
        float dy = 2;
        keel_gelu_backward(&x_was, 1, &dy);
        if (!(fabs((double)dy / 2 - slope) <= 1e-6 * (1 + fabs(at))))
            fail_msg("slope of GELU at %.9g: %.9g, expected %.9g", at, (double)dy / 2, slope);
    }
    float odd[] = {NAN, 3, -INFINITY};
    keel_exp_below(odd, 3, 3);
    assert_true(isnan(odd[0]) && odd[1] == 1 && odd[2] == 0);
    float far[] = {NAN, 40, -40};
    float slopes[] = {1, 1, 1};
    keel_gelu_backward(far, 3, slopes);
    assert_true(isnan(slopes[0]) && slopes[1] == 1 && fabsf(slopes[2]) < 1e-6f);
    keel_gelu(far, 3, far);
    assert_true(isnan(far[0]) && far[1] == 40 && fabsf(far[2]) < 1e-4f);
}

static void tanh_is_within_four_units_in_the_last_place(void **state) {
    (void)state;
    for (double x = 1e-30; x < 100; x *= 1.001)
        for (int sign = -1; sign <= 1; sign += 2) {
            float got = (float)(sign * x);
            double expected = tanh((double)got);
            keel_tanh(&got, 1);
            if (fabs((double)got - expected) > 4 * ldexp(1, ilogb(expected) - 23))
                fail_msg("tanh of %.9g: %.9g, expected %.9g", sign * x, (double)got, expected);
        }
    float odd[] = {0, -0.0f, INFINITY, -INFINITY, NAN};
    keel_tanh(odd, 5);
    assert_true(odd[0] == 0 && !signbit(odd[0]) && odd[1] == 0 && signbit(odd[1]));
    assert_true(odd[2] == 1 && odd[3] == -1 && isnan(odd[4]));
}

static void a_matrix_times_a_vector_is_the_product_with_one_column(void **state) {
    (void)state;
    enum { ROWS = 9, COLS = 21, LDA = 23 };
    static const float betas[] = {0, 1, 2};
    float a[ROWS * LDA], x[COLS], y[ROWS], got[ROWS];
    keel_rng rng = keel_rng_named(1, "vector", 0);
    for (size_t i = 0; i < ROWS * LDA; ++i) a[i] = (float)keel_rng_normal(&rng);
    for (size_t i = 0; i < COLS; ++i) x[i] = (float)keel_rng_normal(&rng);
    for (size_t b = 0; b < 3; ++b) {
        for (size_t m = 0; m < ROWS; ++m) y[m] = got[m] = (float)m;
        keel_gemm(false, false, ROWS, 1, COLS, 1, a, LDA, x, 1, betas[b], y, 1);
        keel_gemv(ROWS, COLS, a, LDA, x, betas[b], got);
        for (size_t m = 0; m < ROWS; ++m) assert_true(fabs((double)got[m] - (double)y[m]) < 1e-4);
    }
}

/* One of y = op(a) op(b) / 2 + 2 y, each with room between its rows, where element i of y was i. */
static void check_product(keel_rng *rng, bool ta, bool tb, size_t m, size_t n, size_t k) {
    static float a[1 << 18], b[1 << 18], y[1 << 18];
    size_t lda = (ta ? m : k) + 1, ldb = (tb ? k : n) + 2, ldy = n + 3;
    for (size_t i = 0; i < (ta ? k : m) * lda; ++i) a[i] = (float)keel_rng_normal(rng);
    for (size_t i = 0; i < (tb ? n : k) * ldb; ++i) b[i] = (float)keel_rng_normal(rng);
    for (size_t i = 0; i < m * ldy; ++i) y[i] = (float)i;
    keel_gemm(ta, tb, m, n, k, 0.5f, a, lda, b, ldb, 2, y, ldy);
    for (size_t i = 0; i < m * ldy; ++i) {
        size_t row = i / ldy, col = i % ldy;
        double expected = (double)i, size = 1 + expected;
        if (col < n) expected *= 2;
        for (size_t l = 0; col < n && l < k; ++l) {
            double term =
                (double)a[ta ? l * lda + row : row * lda + l] * (double)b[tb ? col * ldb + l : l * ldb + col];
            expected += term / 2;
            size += fabs(term);
        }
        if (fabs((double)y[i] - expected) > 1e-6 * size)
            fail_msg("[%zu, %zu, %zu] %d%d, element %zu: %g, expected %g", m, n, k, ta, tb, i, (double)y[i],
                     expected);
    }
}

/* Shapes on both sides of every limit within which a product is cut into tiles. */
static void matrix_products_beyond_a_tile_are_their_sums(void **state) {
    fixture *f = *state;
    static const size_t shapes[][3] = {{33, 65, 64}, {100, 70, 63}, {129, 3, 300}, {50, 130, 1100}};
    for (size_t s = 0; s < 4; ++s)
        for (int form = 0; form < 4; ++form)
            check_product(&f->rng, form & 1, form & 2, shapes[s][0], shapes[s][1], shapes[s][2]);
}

static void operations_on_no_rows_give_no_rows(void **state) {
    fixture *f = *state;
    static const int32_t offsets[] = {0};
    keel_tensor *x = input(f, f->x, 0, A), *w = input(f, f->w, 2, A);
    keel_tensor *y = keel_op_linear(f->tape, x, w, NULL, KEEL_RELU);
    assert_int_equal(y->rows, 0);
    assert_int_equal(keel_op_logsumexp(f->tape, x, NULL)->rows, 0);
    assert_int_equal(keel_op_segment_logsumexp(f->tape, input(f, f->x, 0, 1), offsets, 0)->rows, 0);
    assert_true(keel_op_sum(f->tape, y, 1)->data[0] == 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_linear_layer_is_its_sums_bias_and_activation),
        TEST(columns_outside_of_its_runs_are_nothing_to_a_linear_layer),
        TEST(a_linear_layer_lets_nan_through),
        TEST(elementwise_operations_follow_their_formulas),
        TEST(row_operations_follow_their_formulas),
        TEST(dropout_keeps_its_share_and_scales_it),
        TEST(dropout_drops_where_sixteen_bits_of_a_draw_are_below_the_rate),
        TEST(arranging_operations_move_the_right_numbers),
        TEST(logsumexps_follow_the_formula),
        TEST(plain_numerics_hold_at_the_edges),
        TEST(bags_follow_their_formulas),
        TEST(elementwise_losses_follow_their_formulas),
        TEST(cross_entropies_follow_their_formulas),
        TEST(losses_stay_finite_at_extreme_logits),
        TEST(matrix_products_take_all_transpositions_and_empty_sums),
        TEST(a_matrix_times_a_vector_is_the_product_with_one_column),
        TEST(tanh_is_within_four_units_in_the_last_place),
        TEST(exponentials_and_gelu_are_those_of_libm),
        TEST(matrix_products_beyond_a_tile_are_their_sums),
        TEST(operations_on_no_rows_give_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
