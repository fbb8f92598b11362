#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/ops.h"
#include "core/optim.h"
#include "core/tape_internal.h"
#include "support/faults.h"

enum { B = 5, I = 3, H = 4, A = 3, MANY = 100 };

static const keel_param NETWORK[] = {
    {"hidden.weight", H, I, KEEL_INIT_UNIFORM, I, true, 0},
    {"hidden.bias", 1, H, KEEL_INIT_ZERO, 0, false, 0},
    {"out.weight", A, H, KEEL_INIT_NORMAL, 0.5, true, 0},
    {"out.bias", 1, A, KEEL_INIT_ONE, 0, false, 0},
};

static void make_network(keel_params *params, uint64_t seed) {
    assert_int_equal(keel_params_make(params, NETWORK, 4, NULL), KEEL_OK);
    keel_rng rng = keel_rng_named(seed, "init", 0);
    keel_params_init(params, &rng);
}

static keel_tensor *forward(keel_tape *tape, const keel_params *params, keel_real *grads, keel_tensor *x) {
    keel_tensor *p[4];
    for (size_t i = 0; i < 4; ++i) p[i] = keel_tape_param(tape, params, i, grads);
    return keel_op_linear(tape, keel_op_linear(tape, x, p[0], p[1], KEEL_RELU), p[2], p[3], KEEL_LINEAR);
}

static const float INPUT[B * I] = {0.5f, -1, 2, 1, 1, 0, -0.5f, 0.25f, 3, 0, 0, 1, 2, -2, 1};
static const float TARGET[B * A] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0};

static keel_tensor *loss_of(keel_tape *tape, const keel_params *params, keel_real *grads) {
    keel_tensor *x = keel_tape_input(tape, INPUT, B, I);
    return keel_op_cross_entropy(tape, forward(tape, params, grads, x), TARGET, NULL, B);
}

/* ---- parameters ---- */

static void a_parameter_table_drives_sizes_names_and_first_values(void **state) {
    (void)state;
    keel_params params, again;
    char name[] = "short lived";
    keel_param table[] = {{name, 3, 7, KEEL_INIT_UNIFORM, 4, true, 0},
                          {"n", 50, 40, KEEL_INIT_NORMAL, 2, false, 0},
                          {"one", 1, 5, KEEL_INIT_ONE, 0, false, 0},
                          {"zero", 1, 1, KEEL_INIT_ZERO, 0, false, 0}};
    assert_int_equal(keel_params_make(&params, table, 4, NULL), KEEL_OK);
    memset(name, 'x', sizeof name - 1);
    assert_string_equal(params.table[0].name, "short lived");
    assert_int_equal(params.size, 32 + 2000 + 16 + 16);
    assert_int_equal((uintptr_t)params.data % 64, 0);
    keel_rng rng = keel_rng_named(1, "init", 0), same = rng;
    keel_params_init(&params, &rng);
    double squares = 0, largest = 0;
    for (size_t i = 0; i < 21; ++i) largest = fmax(largest, fabs((double)params.data[i]));
    for (size_t i = 0; i < 2000; ++i) squares += pow((double)keel_params_at(&params, 1)[i], 2);
    assert_true(largest > 0.3 && largest <= 0.5);
    assert_true(fabs(squares / 2000 - 4) < 4 * 4 * sqrt(2.0 / 2000));
    for (size_t i = 0; i < 5; ++i) assert_true(keel_params_at(&params, 2)[i] == 1);
    assert_true(keel_params_at(&params, 3)[0] == 0);
    assert_int_equal(keel_params_make(&again, table, 4, NULL), KEEL_OK);
    keel_params_init(&again, &same);
    assert_memory_equal(params.data, again.data, params.size * sizeof *params.data);
    keel_params_free(&params), keel_params_free(&again);
    assert_null(params.data);
}

static void a_parameter_table_too_large_is_out_of_memory(void **state) {
    (void)state;
    keel_params params = {.count = 77};
    keel_param table[] = {{"a", SIZE_MAX / 8, 3, KEEL_INIT_ZERO, 0, false, 0}};
    assert_int_equal(keel_params_make(&params, table, 1, NULL), KEEL_E_NOMEM);
    table[0].rows = SIZE_MAX / 2;
    assert_int_equal(keel_params_make(&params, table, 1, NULL), KEEL_E_NOMEM);
    assert_int_equal(params.count, 77);
}

static void later_parameters_are_parameters_of_their_own(void **state) {
    (void)state;
    keel_params params;
    const keel_param table[] = {{"a", 3, 7, KEEL_INIT_UNIFORM, 4, true, 0},
                                {"b", 2, 40, KEEL_INIT_NORMAL, 2, false, 0},
                                {"c", 1, 5, KEEL_INIT_ONE, 0, false, 0}};
    assert_int_equal(keel_params_make(&params, table, 3, NULL), KEEL_OK);
    const keel_params later = keel_params_from(&params, 1), last = keel_params_from(&later, 1),
                      none = keel_params_from(&params, 3);
    assert_int_equal(later.count, 2);
    assert_int_equal(later.size, 80 + 16);
    assert_string_equal(later.table[0].name, "b");
    assert_ptr_equal(keel_params_at(&later, 1), keel_params_at(&params, 2));
    assert_int_equal(keel_params_offset(&later, 1), 80);
    assert_ptr_equal(keel_params_at(&last, 0), keel_params_at(&params, 2));
    assert_int_equal(keel_params_offset(&last, 0), 0);
    assert_int_equal(last.size, 16);
    assert_int_equal(none.count + none.size, 0);
    keel_params_free(&params);
}

/* ---- memory ---- */

static void a_hundred_training_steps_allocate_nothing(void **state) {
    (void)state;
    faults count;
    faults_begin(&count, 0);
    keel_params params;
    keel_tape *tape;
    keel_adam adam;
    keel_adam_config config = keel_adam_defaults();
    make_network(&params, 1);
    keel_real *grads = keel_calloc(params.size, sizeof *grads);
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&adam, params.size, NULL), KEEL_OK);
    size_t warm = 0;
    for (size_t step = 0; step < MANY + 2; ++step) {
        if (step == 2) warm = count.calls; /* one step to grow, one reset to merge the blocks */
        keel_tape_reset(tape);
        /* ballast, so that the first step needs several blocks */
        assert_non_null(keel__tape_output(tape, 100, 100, true));
        assert_non_null(keel__tape_output(tape, 300, 100, true));
        assert_int_equal(keel_tape_backward(tape, loss_of(tape, &params, grads), NULL), KEEL_OK);
        keel_adam_step(&adam, &config, &params, grads, 1);
    }
    assert_int_equal(count.calls, warm);
    assert_true(keel_tape_bytes(tape) > 100 * 400 * sizeof(keel_real));
    keel_adam_close(&adam);
    keel_tape_close(tape);
    keel_free(grads);
    keel_params_free(&params);
    assert_int_equal(count.live, 0);
    faults_end();
}

static keel_status train_once(keel_err *err) {
    keel_params params = {0};
    keel_tape *tape = NULL;
    keel_adam adam = {0};
    keel_adam_config config = keel_adam_defaults();
    keel_real *grads = NULL;
    keel_status status;
    KEEL_TRY_GOTO(keel_params_make(&params, NETWORK, 4, err), leave);
    KEEL_TRY_GOTO(keel_tape_open(&tape, err), leave);
    KEEL_TRY_GOTO(keel_adam_open(&adam, params.size, err), leave);
    grads = keel_calloc(params.size, sizeof *grads);
    if (!grads) {
        status = keel_fail(err, KEEL_E_NOMEM, NULL, "grads");
        goto leave;
    }
    for (size_t step = 0; step < 2; ++step) {
        keel_tape_reset(tape);
        for (size_t i = 0; i < 40; ++i) keel__tape_output(tape, 30, 30, true); /* several blocks */
        KEEL_TRY_GOTO(keel_tape_backward(tape, loss_of(tape, &params, grads), err), leave);
        keel_adam_step(&adam, &config, &params, grads, 1);
    }
leave:
    keel_free(grads);
    keel_adam_close(&adam);
    keel_tape_close(tape);
    keel_params_free(&params);
    return status;
}

static void every_failed_allocation_is_out_of_memory_and_leaks_nothing(void **state) {
    (void)state;
    faults count;
    faults_begin(&count, 0);
    assert_int_equal(train_once(NULL), KEEL_OK);
    size_t calls = count.calls;
    assert_true(calls > 8);
    for (size_t n = 1; n <= calls; ++n) {
        keel_err err = {0};
        faults_begin(&count, n);
        assert_int_equal(train_once(&err), KEEL_E_NOMEM);
        assert_int_equal(err.code, KEEL_E_NOMEM);
        assert_int_equal(count.live, 0);
    }
    faults_end();
}

/* ---- gradients ---- */

typedef struct world {
    keel_params params;
    keel_tape *tape;
    keel_real *grads;
} world;

static int set_up(void **state) {
    static world w;
    make_network(&w.params, 2);
    w.grads = keel_calloc(w.params.size, sizeof *w.grads);
    *state = &w;
    return keel_tape_open(&w.tape, NULL);
}

static int tear_down(void **state) {
    world *w = *state;
    keel_tape_close(w->tape);
    keel_free(w->grads);
    keel_params_free(&w->params);
    return 0;
}

static void a_parameter_put_on_the_tape_twice_gathers_both_gradients(void **state) {
    world *w = *state;
    keel_tensor *one = keel_op_sum(w->tape, keel_tape_param(w->tape, &w->params, 1, w->grads), 2);
    keel_params view = w->params; /* another struct around the same block is the same parameter */
    keel_tensor *two = keel_op_sum(w->tape, keel_tape_param(w->tape, &view, 1, w->grads), 3);
    assert_int_equal(keel_tape_backward(w->tape, keel_op_add(w->tape, one, two), NULL), KEEL_OK);
    for (size_t i = 0; i < H; ++i) assert_true(w->grads[w->params.offset[1] + i] == 5);
}

static void a_step_overwrites_the_gradients_of_the_step_before(void **state) {
    world *w = *state;
    keel_real *first = keel_calloc(w->params.size, sizeof *first);
    for (size_t step = 0; step < 3; ++step) {
        keel_tape_reset(w->tape);
        assert_int_equal(keel_tape_backward(w->tape, loss_of(w->tape, &w->params, w->grads), NULL), KEEL_OK);
        if (step == 0) memcpy(first, w->grads, w->params.size * sizeof *first);
        assert_memory_equal(first, w->grads, w->params.size * sizeof *first);
    }
    keel_free(first);
}

static void a_parameter_the_loss_does_not_use_gets_a_zero_gradient(void **state) {
    world *w = *state;
    for (size_t i = 0; i < w->params.size; ++i) w->grads[i] = 7;
    keel_tensor *used = keel_tape_param(w->tape, &w->params, 1, w->grads);
    keel_tensor *unused = keel_tape_param(w->tape, &w->params, 3, w->grads);
    assert_non_null(keel_op_scale(w->tape, unused, 3)); /* a dead end */
    assert_int_equal(keel_tape_backward(w->tape, keel_op_sum(w->tape, used, 1), NULL), KEEL_OK);
    for (size_t i = 0; i < A; ++i) assert_true(w->grads[w->params.offset[3] + i] == 0);
    for (size_t i = 0; i < H * I; ++i) assert_true(w->grads[i] == 7); /* never on the tape: untouched */
}

static void frozen_parameters_and_inputs_carry_no_gradient(void **state) {
    world *w = *state;
    keel_tensor *x = keel_tape_input(w->tape, INPUT, B, I);
    keel_tensor *y = forward(w->tape, &w->params, NULL, x);
    assert_null(x->grad);
    assert_null(y->grad);
    assert_int_equal(keel_tape_backward(w->tape, keel_op_sum(w->tape, y, 1), NULL), KEEL_OK);
    for (size_t i = 0; i < w->params.size; ++i) assert_true(w->grads[i] == 0);
}

static void forward_only_passes_give_the_same_outputs_and_keep_no_gradient(void **state) {
    world *w = *state;
    keel_tensor *loss = loss_of(w->tape, &w->params, w->grads);
    float recorded = loss->data[0];
    assert_non_null(loss->grad);
    keel_tape_record(w->tape, false);
    keel_tape_reset(w->tape);
    loss = loss_of(w->tape, &w->params, w->grads);
    assert_null(loss->grad);
    assert_memory_equal(&loss->data[0], &recorded, sizeof recorded);
    assert_int_equal(keel_tape_check(w->tape, loss, NULL), KEEL_OK);
    assert_null(keel__tape_output(w->tape, 2, 2, true)->grad);
}

static void every_parameter_moves_in_one_step(void **state) {
    world *w = *state;
    keel_real *before = keel_calloc(w->params.size, sizeof *before);
    memcpy(before, w->params.data, w->params.size * sizeof *before);
    keel_adam adam;
    keel_adam_config config = keel_adam_defaults();
    assert_int_equal(keel_adam_open(&adam, w->params.size, NULL), KEEL_OK);
    assert_int_equal(keel_tape_backward(w->tape, loss_of(w->tape, &w->params, w->grads), NULL), KEEL_OK);
    keel_adam_step(&adam, &config, &w->params, w->grads, 1);
    for (size_t p = 0; p < 4; ++p) {
        size_t at = w->params.offset[p], size = NETWORK[p].rows * NETWORK[p].cols;
        assert_memory_not_equal(before + at, w->params.data + at, size * sizeof *before);
    }
    keel_adam_close(&adam);
    keel_free(before);
}

/* ---- wrong use ---- */

static void expect_refused(world *w, keel_tensor *result, const char *operation) {
    keel_err err = {0};
    assert_null(result);
    keel_tensor *after = keel_op_sum(w->tape, result, 1);
    assert_null(after);
    assert_null(keel__tape_output(w->tape, 1, 1, true)); /* nothing after a failure counts */
    assert_int_equal(keel_tape_backward(w->tape, after, &err), KEEL_E_INVALID);
    assert_string_equal(err.where, operation);
    keel_tape_reset(w->tape);
}

static void misfits_are_refused_and_told_by_name(void **state) {
    world *w = *state;
    keel_tape *t = w->tape;
    static const int32_t outside[] = {0, 1, 2, 0, 3}, negative[] = {0, -1, 0, 0, 0}, falls[] = {0, 3, 1},
                         gap[] = {0, 0, 5};
    static const uint8_t none[B * I] = {1, 1, 1, 0, 0, 0, 1};
    static const uint32_t id[] = {0, 9};
    static const int32_t both[] = {0, 2};
    keel_rng rng = keel_rng_named(1, "x", 0);
#define X      keel_tape_input(t, INPUT, B, I)
#define COLUMN keel_tape_input(t, INPUT, B, 1)
    expect_refused(w, keel_op_linear(t, X, X, keel_tape_input(t, INPUT, 1, B + 1), KEEL_RELU),
                   "keel_op_linear");
    expect_refused(w, keel_op_linear(t, X, COLUMN, NULL, KEEL_RELU), "keel_op_linear");
    expect_refused(
        w, keel_op_linear_branched(t, X, X, NULL, KEEL_LINEAR, &(keel_branch){COLUMN, COLUMN, 1, 1}, 1),
        "keel_op_linear");
    expect_refused(w, keel_op_add(t, X, COLUMN), "keel_op_add");
    expect_refused(w, keel_op_mul(t, X, COLUMN), "keel_op_mul");
    expect_refused(w, keel_op_dot(t, X, COLUMN), "keel_op_dot");
    expect_refused(w, keel_op_concat(t, (keel_tensor *const[]){X, keel_tape_input(t, INPUT, 1, 1)}, 2),
                   "keel_op_concat");
    expect_refused(w, keel_op_rows(t, X, (const int32_t[]){B}, 1), "keel_op_rows");
    expect_refused(w, keel_op_pick_heads(t, X, outside, 1), "keel_op_pick_heads");
    expect_refused(w, keel_op_pick_heads(t, X, negative, 1), "keel_op_pick_heads");
    expect_refused(w, keel_op_pick_heads(t, X, outside, 2), "keel_op_pick_heads");
    expect_refused(w, keel_op_mix_heads(t, X, INPUT, 0, 2), "keel_op_mix_heads");
    expect_refused(w, keel_op_logsumexp(t, X, none), "keel_op_logsumexp");
    expect_refused(w, keel_op_segment_logsumexp(t, COLUMN, gap, 2), "keel_op_segment_logsumexp");
    expect_refused(w, keel_op_embedding_bag(t, INPUT, B, I, id, INPUT, falls, 2, NULL),
                   "keel_op_embedding_bag");
    expect_refused(w, keel_op_embedding_bag(t, INPUT, B, I, id, INPUT, both, 1, NULL),
                   "keel_op_embedding_bag");
    expect_refused(w, keel_op_dropout(t, X, 1, &rng), "keel_op_dropout");
}

static void a_loss_that_is_no_scalar_is_refused(void **state) {
    world *w = *state;
    keel_err err = {0};
    keel_tensor *x = keel_tape_input(w->tape, INPUT, B, I);
    assert_int_equal(keel_tape_backward(w->tape, x, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "[5, 3]"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_table_drives_sizes_names_and_first_values),
        cmocka_unit_test(a_parameter_table_too_large_is_out_of_memory),
        cmocka_unit_test(later_parameters_are_parameters_of_their_own),
        cmocka_unit_test(a_hundred_training_steps_allocate_nothing),
        cmocka_unit_test(every_failed_allocation_is_out_of_memory_and_leaks_nothing),
        TEST(a_parameter_put_on_the_tape_twice_gathers_both_gradients),
        TEST(a_step_overwrites_the_gradients_of_the_step_before),
        TEST(a_parameter_the_loss_does_not_use_gets_a_zero_gradient),
        TEST(frozen_parameters_and_inputs_carry_no_gradient),
        TEST(forward_only_passes_give_the_same_outputs_and_keep_no_gradient),
        TEST(every_parameter_moves_in_one_step),
        TEST(misfits_are_refused_and_told_by_name),
        TEST(a_loss_that_is_no_scalar_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
