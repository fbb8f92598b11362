#include "fixture.h"

#include <math.h>

#include "core/ops.h"
#include "policies/qnet.h"

static const keel_qnet_shape sets = {.space = KEEL_SPACE_CANDIDATES,
                                     .state_dim = 3,
                                     .candidate_dim = 2,
                                     .heads = 3,
                                     .critics = 2,
                                     .hidden = {2, {8, 5}}};
static const keel_qnet_shape acts = {
    .space = KEEL_SPACE_ACTS, .state_dim = 3, .n_acts = 4, .heads = 2, .critics = 1, .hidden = {1, {6}}};

static void a_network_has_the_layers_of_its_shape(void **state) {
    (void)state;
    keel_qnet net;
    assert_ok(keel_qnet_open(&net, &sets, &err));
    assert_int_equal(net.input_dim, 2 + 2 + 3);
    assert_int_equal(net.params.count, 2 * 3 * 2);
    assert_string_equal(net.params.table[6].name, "critic.1.layer.0.weight");
    assert_int_equal(net.params.table[4].rows, 3);
    assert_int_equal(net.params.table[4].cols, 5);
    assert_int_equal(keel_qnet_elements(&sets), 2 * (8 * 8 + 9 * 5 + 6 * 3));
    keel_qnet_close(&net);
    assert_ok(keel_qnet_open(&net, &acts, &err));
    assert_int_equal(net.input_dim, 3);
    assert_int_equal(net.params.table[2].rows, 8);
    keel_qnet_close(&net);
}

static void impossible_shapes_are_refused(void **state) {
    (void)state;
    keel_qnet net;
    keel_qnet_shape shape = sets;
    shape.heads = 4;
    assert_int_equal(keel_qnet_open(&net, &shape, &err), KEEL_E_INVALID);
    contains(err.message, "got 4");
    shape = sets;
    shape.hidden.items[1] = 0;
    assert_int_equal(keel_qnet_open(&net, &shape, &err), KEEL_E_INVALID);
    shape = acts;
    shape.n_acts = 0;
    assert_int_equal(keel_qnet_open(&net, &shape, &err), KEEL_E_INVALID);
    assert_int_equal(keel_qnet_elements(&shape), 0);
}

static void critics_start_apart_and_the_seed_decides(void **state) {
    (void)state;
    keel_qnet a, b;
    assert_ok(keel_qnet_open(&a, &sets, &err));
    assert_ok(keel_qnet_open(&b, &sets, &err));
    keel_qnet_init(&a, 5);
    keel_qnet_init(&b, 5);
    assert_memory_equal(a.params.data, b.params.data, a.params.size * sizeof(float));
    assert_memory_not_equal(keel_params_at(&a.params, 0), keel_params_at(&a.params, 6),
                            7 * 8 * sizeof(float));
    keel_qnet_init(&b, 6);
    assert_memory_not_equal(a.params.data, b.params.data, a.params.size * sizeof(float));
    keel_qnet_close(&a);
    keel_qnet_close(&b);
}

static void rows_hold_candidate_mean_and_state(void **state) {
    (void)state;
    keel_qnet net;
    const float states[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, candidates[] = {1, 10, 3, 30, 5, 50};
    const int32_t offsets[] = {0, 2, 2, 3}; /* the middle set is empty: there is no next decision */
    float x[3 * 7];
    assert_ok(keel_qnet_open(&net, &sets, &err));
    assert_int_equal(keel_qnet_n_rows(&net, offsets, 3), 3);
    keel_qnet_rows(&net, states, candidates, offsets, NULL, 3, x);
    const float expected[] = {1, 10, 2, 20, 1, 2, 3, 3, 30, 2, 20, 1, 2, 3, 5, 50, 5, 50, 7, 8, 9};
    for (size_t i = 0; i < 21; i++) assert_float_equal(x[i], expected[i], 1e-6);
    keel_qnet_close(&net);
}

static void the_order_of_a_set_does_not_matter(void **state) {
    (void)state;
    keel_qnet net;
    keel_arena arena = {0};
    const float one[] = {0.1f, -2, 0.7f}, candidates[] = {1, 2, -3, 0.5f, 0.2f, 4},
                turned[] = {0.2f, 4, 1, 2, -3, 0.5f};
    const int32_t offsets[] = {0, 3};
    float x[3 * 7], q[9], other[9];
    assert_ok(keel_qnet_open(&net, &sets, &err));
    keel_qnet_init(&net, 1);
    keel_qnet_rows(&net, one, candidates, offsets, NULL, 1, x);
    assert_ok(keel_qnet_infer(&net, x, 3, q, NULL, &arena, &err));
    keel_qnet_rows(&net, one, turned, offsets, NULL, 1, x);
    assert_ok(keel_qnet_infer(&net, x, 3, other, NULL, &arena, &err));
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++) assert_float_equal(q[i * 3 + k], other[(i + 1) % 3 * 3 + k], 1e-5);
    assert_true(fabsf(q[0] - q[3]) > 1e-4f);
    keel_arena_free(&arena);
    keel_qnet_close(&net);
}

/* Inference is the tape's forward pass of each critic: mean and minimum over them. */
static void inference_agrees_with_the_tape(void **state) {
    (void)state;
    enum { ROWS = 5 };
    keel_qnet net;
    keel_arena arena = {0};
    keel_tape *tape;
    float x[ROWS * 7], q[ROWS * 3], low[ROWS * 3];
    assert_ok(keel_qnet_open(&net, &sets, &err));
    keel_qnet_init(&net, 3);
    for (size_t i = 0; i < ROWS * 7; i++) x[i] = sinf((float)i);
    assert_ok(keel_qnet_infer(&net, x, ROWS, q, low, &arena, &err));
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *in = keel_tape_input(tape, x, ROWS, 7);
    keel_tensor *a = keel_qnet_forward(tape, &net, net.params.data, NULL, 0, in, 0, NULL);
    keel_tensor *b = keel_qnet_forward(tape, &net, net.params.data, NULL, 1, in, 0, NULL);
    assert_true(a && b && a->rows == ROWS && a->cols == 3);
    for (size_t i = 0; i < ROWS * 3; i++) {
        assert_float_equal(q[i], (a->data[i] + b->data[i]) / 2, 1e-5);
        assert_float_equal(low[i], fminf(a->data[i], b->data[i]), 1e-5);
    }
    keel_tape_close(tape);
    keel_arena_free(&arena);
    keel_qnet_close(&net);
}

static void every_parameter_gets_a_gradient(void **state) {
    (void)state;
    keel_qnet net;
    keel_tape *tape;
    float x[4 * 3], *grads;
    assert_ok(keel_qnet_open(&net, &acts, &err));
    keel_qnet_init(&net, 3);
    for (size_t i = 0; i < 12; i++) x[i] = cosf((float)i);
    grads = keel_calloc(net.params.size, sizeof *grads);
    assert_ok(keel_tape_open(&tape, &err));
    keel_tensor *q =
        keel_qnet_forward(tape, &net, net.params.data, grads, 0, keel_tape_input(tape, x, 4, 3), 0, NULL);
    assert_ok(keel_tape_backward(tape, keel_op_sum(tape, keel_op_mul(tape, q, q), 1), &err));
    for (size_t i = 0; i < net.params.count; i++) {
        const keel_param *param = &net.params.table[i];
        double sum = 0;
        for (size_t j = 0; j < param->rows * param->cols; j++) sum += fabsf(grads[net.params.offset[i] + j]);
        if (!(sum > 0)) fail_msg("%s has no gradient", param->name);
    }
    keel_tape_close(tape);
    keel_free(grads);
    keel_qnet_close(&net);
}

/* Heads of two quantiles, outputs three apart: 0.5 * 3 + 0.3 * (-2) + 0.2 * 10. */
static void the_composite_weighs_the_means_of_the_heads(void **state) {
    (void)state;
    static const float q[] = {2, 9, 9, 4, 9, 9, -1, 9, 9, -3, 9, 9, 8, 9, 9, 12};
    static const double weight[] = {0.5, 0.3, 0.2};
    keel_qnet_shape shape = {.heads = 3, .quantiles = 2};
    assert_true(fabs(keel_qnet_composite(&shape, weight, q, 3) - 2.9) < 1e-12);
    assert_true(keel_qnet_share(&shape, weight, 1) == 0.25 && keel_qnet_share(&shape, weight, 5) == 0.1);
    shape = (keel_qnet_shape){.heads = 3};
    assert_true(fabs(keel_qnet_composite(&shape, weight, q, 3) - (0.5 * 2 + 0.3 * 4 - 0.2)) < 1e-12);
    shape.heads = 1; /* its Q itself */
    assert_true(keel_qnet_composite(&shape, NULL, q, 3) == 2 && keel_qnet_share(&shape, NULL, 0) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_composite_weighs_the_means_of_the_heads),
        cmocka_unit_test(a_network_has_the_layers_of_its_shape),
        cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(critics_start_apart_and_the_seed_decides),
        cmocka_unit_test(rows_hold_candidate_mean_and_state),
        cmocka_unit_test(the_order_of_a_set_does_not_matter),
        cmocka_unit_test(inference_agrees_with_the_tape),
        cmocka_unit_test(every_parameter_gets_a_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
