/* Fake quantisation: what is held is what the format holds, gradients are torch's
 * (golden/make_fake_quant.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/fake_quant.h"
#include "core/memory.h"
#include "core/ops.h"
#include "golden/fake_quant.h"

enum { ROWS = 3, COLS = 64, W = 0, VECTOR = 1, FACTORS = 2, N_PARAMS = 3 };

static const float FACTOR[ROWS] = {1, 0.7f, 0.4f};
static keel_params params;
static keel_fake_quant fake;
static keel_err err;

static void make(keel_matrix_type type, bool factors) {
    const keel_param table[N_PARAMS] = {{.name = "w", .rows = ROWS, .cols = COLS},
                                        {.name = "vector", .rows = 1, .cols = COLS + 1},
                                        {.name = "factors", .rows = 1, .cols = ROWS}};
    const keel_matrix_type types[N_PARAMS] = {type, KEEL_MATRIX_F32, KEEL_MATRIX_F32};
    const int of[N_PARAMS] = {FACTORS, KEEL_FAKE_QUANT_NO_FACTORS, KEEL_FAKE_QUANT_NO_FACTORS};
    assert_int_equal(keel_params_make(&params, table, N_PARAMS, &err), KEEL_OK);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
        keel_params_at(&params, W)[i] = (float)pow(sin((double)i * 0.37 + 1), 3);
    for (size_t i = 0; i < COLS + 1; i++) keel_params_at(&params, VECTOR)[i] = (float)sin((double)i);
    memcpy(keel_params_at(&params, FACTORS), FACTOR, sizeof FACTOR);
    assert_int_equal(keel_fake_quant_open(&fake, &params, types, factors ? of : NULL, &err), KEEL_OK);
    assert_int_equal(keel_fake_quant_hold(&fake, &params, NULL, &err), KEEL_OK);
}

static void unmake(void) {
    keel_fake_quant_close(&fake);
    keel_params_free(&params);
}

static void near(const float *got, const double *golden, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - golden[i]) <= 5e-6 * fmax(1, fabs(golden[i]))))
            fail_msg("%s %zu: expected %.9g, got %.9g", what, i, golden[i], (double)got[i]);
}

static void follow(keel_matrix_type type, const double *held, const double *dw, const double *dfactor) {
    make(type, true);
    near(keel_params_at(&fake.held, W), held, (size_t)ROWS * COLS, "held");
    float *grads = keel_calloc(params.size, sizeof *grads);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) grads[i] = (float)cos((double)i * 0.9);
    keel_fake_quant_flow(&fake, &params, grads);
    near(grads, dw, (size_t)ROWS * COLS, "gradient");
    near(grads + keel_params_offset(&params, FACTORS), dfactor, ROWS, "gradient of the factor of row");
    keel_free(grads);
    unmake();
}

static void factors_learn_as_in_torch(void **state) {
    (void)state;
    follow(KEEL_MATRIX_I8, golden_i8_held, golden_i8_dw, golden_i8_dfactor);
    follow(KEEL_MATRIX_Q8_0, golden_q8_0_held, golden_q8_0_dw, golden_q8_0_dfactor);
}

static const keel_matrix_type types[] = {KEEL_MATRIX_BF16, KEEL_MATRIX_Q8_0, KEEL_MATRIX_I8, KEEL_MATRIX_Q4_0,
                                         KEEL_MATRIX_Q4_G32};
enum { N_TYPES = sizeof types / sizeof *types };

/* A row that keel_matrix_write_row wrote, read again. */
static void written(keel_matrix_type type, const float *row, float *out) {
    char code[COLS * sizeof(float)];
    const keel_matrix one = {.type = type, .rows = 1, .cols = COLS, .data = code};
    keel_matrix_write_row(type, row, COLS, code);
    keel_matrix_read_row(&one, 0, out);
}

static void what_is_held_is_what_the_format_holds(void **state) {
    (void)state;
    float out[COLS];
    for (size_t k = 0; k < N_TYPES; k++) {
        make(types[k], false);
        for (size_t r = 0; r < ROWS; r++) {
            written(types[k], keel_params_at(&params, W) + r * COLS, out);
            assert_memory_equal(out, keel_params_at(&fake.held, W) + r * COLS, sizeof out);
        }
        assert_memory_equal(keel_params_at(&fake.held, VECTOR), keel_params_at(&params, VECTOR),
                            (COLS + 1) * sizeof(float));
        unmake();
    }
}

/* What is left in the end, written in the format, is what was computed with, learned factors or not. */
static void settled_weights_are_those_that_were_held(void **state) {
    (void)state;
    float out[COLS];
    for (size_t k = 1; k < N_TYPES; k++) {
        make(types[k], true);
        keel_fake_quant_settle(&fake, &params);
        for (size_t r = 0; r < ROWS; r++) {
            written(types[k], keel_params_at(&params, W) + r * COLS, out);
            assert_memory_equal(out, keel_params_at(&fake.held, W) + r * COLS, sizeof out);
        }
        unmake();
    }
}

static void threads_change_nothing(void **state) {
    (void)state;
    keel_pool *pool;
    make(KEEL_MATRIX_Q4_G32, true);
    float before[ROWS * COLS], *now = keel_params_at(&fake.held, W);
    memcpy(before, now, sizeof before);
    memset(now, 0, sizeof before);
    assert_int_equal(keel_pool_open(&pool, 3, &err), KEEL_OK);
    assert_int_equal(keel_fake_quant_hold(&fake, &params, pool, &err), KEEL_OK);
    assert_memory_equal(before, now, sizeof before);
    keel_pool_close(pool);
    unmake();
}

static void factors_stay_within_their_range(void **state) {
    (void)state;
    make(KEEL_MATRIX_I8, true);
    float *factor = keel_params_at(&params, FACTORS);
    factor[0] = 1.5f, factor[1] = -2, factor[2] = 0.3f;
    assert_int_equal(keel_fake_quant_hold(&fake, &params, NULL, &err), KEEL_OK);
    assert_true(factor[0] == 1 && factor[1] == 0.125f && factor[2] == 0.3f);
    unmake();
}

static void widths_that_a_format_cannot_have_are_named(void **state) {
    (void)state;
    const keel_param table[] = {{.name = "odd", .rows = 2, .cols = 40}};
    static const keel_matrix_type four = KEEL_MATRIX_Q4_0, eight = KEEL_MATRIX_I8;
    assert_int_equal(keel_params_make(&params, table, 1, &err), KEEL_OK);
    assert_int_equal(keel_fake_quant_open(&fake, &params, &four, NULL, &err), KEEL_E_UNSUPPORTED);
    assert_string_equal(err.where, "odd");
    assert_int_equal(keel_fake_quant_open(&fake, &params, &eight, NULL, &err), KEEL_OK);
    unmake();
}

/* ---- inputs ---- */

static void inputs_are_those_of_the_kernel(void **state) {
    (void)state;
    static const struct {
        keel_matrix_type type;
        size_t group; /* 0: as they are */
    } cases[] = {{KEEL_MATRIX_F32, 0},   {KEEL_MATRIX_BF16, 0},  {KEEL_MATRIX_I8, COLS},
                 {KEEL_MATRIX_Q8_0, 32}, {KEEL_MATRIX_Q4_0, 32}, {KEEL_MATRIX_Q4_G32, COLS}};
    keel_tape *tape;
    make(KEEL_MATRIX_F32, false);
    float *grads = keel_calloc(params.size, sizeof *grads), mix[ROWS * COLS];
    const float *w = keel_params_at(&params, W);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) mix[i] = (float)cos((double)i);
    assert_int_equal(keel_tape_open(&tape, &err), KEEL_OK);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        keel_tensor *x = keel_tape_param(tape, &params, W, grads),
                    *y = keel_op_round_inputs(tape, x, cases[k].type);
        assert_non_null(y);
        if (!cases[k].group) assert_ptr_equal(x, y);
        for (size_t at = 0; cases[k].group && at < (size_t)ROWS * COLS; at += cases[k].group) {
            int8_t q[COLS];
            float scale;
            keel_row_quantise(w + at, cases[k].group, q, &scale);
            for (size_t i = 0; i < cases[k].group; i++)
                assert_true(y->data[at + i] == scale * (float)q[i] &&
                            fabsf(y->data[at + i] - w[at + i]) <= scale);
        }
        keel_tensor *sum = keel_op_sum(tape, keel_op_mul(tape, y, keel_tape_input(tape, mix, ROWS, COLS)), 1);
        assert_int_equal(keel_tape_backward(tape, sum, &err), KEEL_OK);
        for (size_t i = 0; i < (size_t)ROWS * COLS; i++) assert_true(grads[i] == mix[i]);
        keel_tape_reset(tape);
    }
    assert_null(keel_op_round_inputs(tape, keel_tape_input(tape, mix, 2, 40), KEEL_MATRIX_Q8_0));
    keel_tape_close(tape);
    keel_free(grads);
    unmake();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_learn_as_in_torch),
        cmocka_unit_test(what_is_held_is_what_the_format_holds),
        cmocka_unit_test(settled_weights_are_those_that_were_held),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(factors_stay_within_their_range),
        cmocka_unit_test(widths_that_a_format_cannot_have_are_named),
        cmocka_unit_test(inputs_are_those_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
