/* Segments of a tape: what is not kept is worked out again to the same bits, what is kept in 16 bits is near,
 * and memory falls. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/ops.h"
#include "support/faults.h"

enum { ROWS = 64, WIDTH = 48, LAYERS = 12 };

static const keel_param LAYER[] = {
    {"w", WIDTH, WIDTH, KEEL_INIT_NORMAL, 0.1, true, 0},
    {"b", 1, WIDTH, KEEL_INIT_ZERO, 0, false, 0},
};

typedef struct layer {
    const keel_params *params;
    keel_real *grads;
    keel_rng rng;
} layer;

static keel_params params;
static keel_real input[ROWS * WIDTH], target[ROWS * WIDTH], *grads, *plain;

static int set_up(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "segment", 0);
    for (size_t i = 0; i < ROWS * WIDTH; i++) input[i] = (float)keel_rng_normal(&rng);
    assert_int_equal(keel_params_make(&params, LAYER, 2, NULL), KEEL_OK);
    keel_params_init(&params, &rng);
    grads = keel_calloc(params.size, sizeof *grads);
    plain = keel_calloc(params.size, sizeof *plain);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    keel_params_free(&params);
    keel_free(grads);
    keel_free(plain);
    return 0;
}

static keel_tensor *work(const void *context, keel_tape *tape, keel_tensor *x) {
    const layer *one = context;
    keel_rng rng = one->rng;
    keel_tensor *w = keel_tape_param(tape, one->params, 0, one->grads),
                *b = keel_tape_param(tape, one->params, 1, one->grads);
    keel_tensor *y = keel_op_linear(tape, x, w, b, KEEL_GELU);
    for (int i = 0; i < 4; i++) y = keel_op_mul(tape, y, keel_op_linear(tape, y, w, b, KEEL_TANH));
    return keel_op_add_onto(tape, x,
                            keel_op_linear(tape, keel_op_dropout(tape, y, 0.1f, &rng), w, b, KEEL_LINEAR));
}

static layer layers[LAYERS];

/* The loss after a backward pass; its gradient in grads. */
static float run(keel_tape *tape, keel_keep keep, keel_real scale) {
    keel_tensor *x = keel_tape_input(tape, input, ROWS, WIDTH);
    for (size_t l = 0; l < LAYERS; l++) {
        layers[l] = (layer){&params, grads, keel_rng_named(2, "dropout", l)};
        x = keel_tape_segment(tape, x, keep, true, work, &layers[l]);
    }
    keel_tensor *loss = keel_op_half_square(tape, x, target, NULL, ROWS / scale);
    assert_int_equal(keel_tape_backward(tape, loss, NULL), KEEL_OK);
    return loss->data[0];
}

static size_t bytes_of(keel_keep keep) {
    keel_tape *tape;
    size_t bytes = 0;
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    for (int step = 0; step < 3; step++) {
        keel_tape_reset(tape);
        run(tape, keep, 1);
        if (step) assert_int_equal(keel_tape_bytes(tape), bytes);
        bytes = keel_tape_bytes(tape);
    }
    keel_tape_close(tape);
    return bytes;
}

static void what_is_worked_out_again_is_the_same(void **state) {
    (void)state;
    keel_tape *tape;
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    const float expected = run(tape, KEEL_KEEP_ALL, 1);
    memcpy(plain, grads, params.size * sizeof *plain);
    for (int step = 0; step < 2; step++) {
        keel_tape_reset(tape);
        memset(grads, 0xff, params.size * sizeof *grads);
        assert_true(run(tape, KEEL_KEEP_NOTHING, 1) == expected);
        for (size_t p = 0; p < 2; p++)
            assert_memory_equal(grads + params.offset[p], plain + params.offset[p],
                                LAYER[p].rows * LAYER[p].cols * sizeof *grads);
    }
    keel_tape_close(tape);
}

/* Forward is as it was; the gradient is within the rounding of what it is worked out from. */
static void what_is_kept_in_sixteen_bits_is_near(void **state) {
    (void)state;
    static const keel_keep keeps[] = {KEEL_KEEP_BF16, KEEL_KEEP_HALF};
    static const double within[] = {0x1p-7, 0x1p-10};
    keel_tape *tape;
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    const float expected = run(tape, KEEL_KEEP_ALL, 1);
    memcpy(plain, grads, params.size * sizeof *plain);
    for (int k = 0; k < 2; k++) {
        keel_tape_reset(tape);
        const keel_real scale = k ? 1024 : 1;
        assert_true(fabsf(run(tape, keeps[k], scale) / scale - expected) <= 1e-6f * expected);
        double error = 0, size = 0;
        for (size_t i = 0; i < WIDTH * WIDTH; i++) {
            error += pow((double)(grads[i] / scale - plain[i]), 2);
            size += pow((double)plain[i], 2);
        }
        assert_true(error > 0); /* it is rounded */
        if (!(sqrt(error / size) < within[k])) fail_msg("%d: error %g", k, sqrt(error / size));
    }
    keel_tape_close(tape);
}

static void memory_falls_with_what_is_kept(void **state) {
    (void)state;
    const size_t all = bytes_of(KEEL_KEEP_ALL), bf16 = bytes_of(KEEL_KEEP_BF16),
                 half = bytes_of(KEEL_KEEP_HALF), nothing = bytes_of(KEEL_KEEP_NOTHING);
    assert_int_equal(bf16, half);
    assert_true((double)bf16 < 0.75 * (double)all);
    assert_true((double)nothing < 0.5 * (double)all);
}

/* A gradient beyond the range of binary16 comes out as what is not finite: the trainer sees it. */
static void what_is_too_large_for_binary16_shows(void **state) {
    (void)state;
    keel_tape *tape;
    size_t finite = 0;
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    run(tape, KEEL_KEEP_HALF, 1e9f);
    for (size_t i = 0; i < WIDTH * WIDTH; i++) finite += isfinite(grads[i]) ? 1 : 0;
    assert_true(finite < WIDTH * WIDTH);
    keel_tape_close(tape);
}

static keel_tensor *nested(const void *context, keel_tape *tape, keel_tensor *x) {
    return keel_tape_segment(tape, x, KEEL_KEEP_NOTHING, true, work, context);
}

static keel_tensor *misfit(const void *context, keel_tape *tape, keel_tensor *x) {
    (void)context;
    return keel_op_gate(tape, x, keel_tape_input(tape, input, 1, 1));
}

static void what_fails_within_is_told(void **state) {
    (void)state;
    keel_tape *tape;
    keel_err err = {0};
    layers[0] = (layer){&params, grads, keel_rng_named(2, "dropout", 0)};
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    for (keel_keep keep = KEEL_KEEP_BF16; keep <= KEEL_KEEP_NOTHING; keep++)
        for (int k = 0; k < 2; k++) {
            keel_tape_reset(tape);
            keel_tensor *in = keel_tape_input(tape, input, ROWS, WIDTH);
            assert_null(keel_tape_segment(tape, in, keep, true, k ? nested : misfit, &layers[0]));
            assert_int_equal(keel_tape_check(tape, NULL, &err), KEEL_E_INVALID);
            assert_string_equal(err.where, k ? "keel_tape_segment" : "keel_op_gate");
        }
    keel_tape_reset(tape);
    run(tape, KEEL_KEEP_NOTHING, 1);
    keel_tape_close(tape);
}

static keel_status train(keel_keep keep, keel_err *err) {
    keel_tape *tape;
    KEEL_TRY(keel_tape_open(&tape, err));
    keel_tensor *x = keel_tape_input(tape, input, ROWS, WIDTH);
    for (size_t l = 0; l < LAYERS; l++) {
        layers[l] = (layer){&params, grads, keel_rng_named(2, "dropout", l)};
        x = keel_tape_segment(tape, x, keep, true, work, &layers[l]);
    }
    keel_status status = keel_tape_backward(tape, keel_op_sum(tape, x, 1), err);
    keel_tape_close(tape);
    return status;
}

static void every_failed_allocation_is_out_of_memory(void **state) {
    (void)state;
    for (keel_keep keep = KEEL_KEEP_ALL; keep <= KEEL_KEEP_NOTHING; keep++) {
        faults count;
        faults_begin(&count, 0);
        assert_int_equal(train(keep, NULL), KEEL_OK);
        const size_t calls = count.calls;
        for (size_t n = 1; n <= calls; n++) {
            faults_begin(&count, n);
            assert_int_equal(train(keep, NULL), KEEL_E_NOMEM);
            assert_int_equal(count.live, 0);
        }
        faults_end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_worked_out_again_is_the_same),
        cmocka_unit_test(what_is_kept_in_sixteen_bits_is_near),
        cmocka_unit_test(memory_falls_with_what_is_kept),
        cmocka_unit_test(what_is_too_large_for_binary16_shows),
        cmocka_unit_test(what_fails_within_is_told),
        cmocka_unit_test(every_failed_allocation_is_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
