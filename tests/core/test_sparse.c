/* Sparse gradients against a dense array under random programs of bags, reads and clears. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/tape.h"
#include "support/faults.h"

enum { ROWS = 193, COLS = 3, BAG = 12 };

typedef struct model {
    float value[ROWS][COLS];
    bool touched[ROWS];
} model;

/* Adds one random bag to both; small whole numbers, so that float sums are exact in any order. */
static void add_bag(keel_tape *tape, keel_rng *rng, keel_sparse_grad *grad, model *dense) {
    static float table[ROWS * COLS];
    uint32_t id[BAG];
    float weight[BAG], slope[COLS];
    int32_t offsets[] = {0, (int32_t)keel_rng_below(rng, BAG + 1)};
    for (size_t c = 0; c < COLS; ++c) slope[c] = (float)keel_rng_below(rng, 7) - 3;
    for (size_t j = 0; j < BAG; ++j) {
        id[j] = (uint32_t)keel_rng_below(rng, ROWS);
        weight[j] = (float)keel_rng_below(rng, 5) - 2;
    }
    for (int32_t j = 0; j < offsets[1]; ++j) {
        dense->touched[id[j]] = true;
        for (size_t c = 0; c < COLS; ++c) dense->value[id[j]][c] += weight[j] * slope[c];
    }
    keel_tape_reset(tape);
    keel_tensor *bag = keel_op_embedding_bag(tape, table, ROWS, COLS, id, weight, offsets, 1, grad);
    keel_tensor *loss = keel_op_sum(tape, keel_op_mul(tape, bag, keel_tape_input(tape, slope, 1, COLS)), 1);
    assert_int_equal(keel_tape_backward(tape, loss, NULL), KEEL_OK);
}

static void expect_same(keel_sparse_grad *grad, const model *dense) {
    const uint32_t *rows = keel__sparse_grad_rows(grad);
    size_t touched = 0, count = keel_sparse_grad_count(grad);
    for (uint32_t r = 0; r < ROWS; ++r) {
        const keel_real *row = keel__sparse_grad_find(grad, r);
        assert_int_equal(row != NULL, dense->touched[r]);
        for (size_t c = 0; row && c < COLS; ++c) assert_true(row[c] == dense->value[r][c]);
        touched += row != NULL;
    }
    assert_int_equal(count, touched);
    for (size_t i = 0; i < count; ++i)
        for (size_t j = 0; j < i; ++j) assert_int_not_equal(rows[i], rows[j]);
    for (size_t i = 0; i < count; ++i) assert_true(dense->touched[rows[i]]);
}

static void random_programs_agree_with_a_dense_array(void **state) {
    (void)state;
    keel_rng rng = keel_rng_stream(1, "programs", 0);
    keel_tape *tape;
    keel_sparse_grad *grad;
    static model dense;
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    assert_int_equal(keel_sparse_grad_open(&grad, ROWS, COLS, NULL), KEEL_OK);
    for (size_t step = 0; step < 4000; ++step) {
        size_t action = keel_rng_below(&rng, 20);
        if (action < 12) add_bag(tape, &rng, grad, &dense);
        if (action >= 12 && action < 19) expect_same(grad, &dense);
        if (action == 19) {
            keel_sparse_grad_clear(grad);
            memset(&dense, 0, sizeof dense);
        }
    }
    keel_sparse_grad_close(grad);
    keel_sparse_grad_close(NULL);
    keel_tape_close(tape);
}

static keel_status gather(void) {
    keel_tape *tape = NULL;
    keel_sparse_grad *grad = NULL;
    keel_status status;
    static float table[ROWS * COLS], weight[ROWS];
    static uint32_t id[ROWS];
    static const int32_t offsets[] = {0, ROWS};
    for (size_t i = 0; i < ROWS; ++i) id[i] = (uint32_t)i;
    KEEL_TRY_GOTO(keel_tape_open(&tape, NULL), leave);
    KEEL_TRY_GOTO(keel_sparse_grad_open(&grad, ROWS, COLS, NULL), leave);
    keel_tensor *bag = keel_op_embedding_bag(tape, table, ROWS, COLS, id, weight, offsets, 1, grad);
    status = keel_tape_backward(tape, keel_op_sum(tape, bag, 1), NULL);
leave:
    keel_sparse_grad_close(grad);
    keel_tape_close(tape);
    return status;
}

static void a_gradient_that_cannot_grow_fails_the_backward_pass(void **state) {
    (void)state;
    faults count;
    faults_begin(&count, 0);
    assert_int_equal(gather(), KEEL_OK);
    size_t calls = count.calls;
    for (size_t n = 1; n <= calls; ++n) {
        faults_begin(&count, n);
        assert_int_equal(gather(), KEEL_E_NOMEM);
        assert_int_equal(count.live, 0);
    }
    faults_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs_agree_with_a_dense_array),
        cmocka_unit_test(a_gradient_that_cannot_grow_fails_the_backward_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
