/* What bags owe to a table, against a dense array under random programs of operations and clears. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/ops.h"
#include "core/sparse.h"
#include "core/tape.h"
#include "support/faults.h"

enum { ROWS = 193, COLS = 3, BAG = 12, MOST = 20 };

/* The operations of one round; they stay until the tape is reset. */
typedef struct operation {
    uint32_t id[BAG];
    float weight[BAG], slope[COLS];
    int32_t offsets[2];
} operation;

static void draw(operation *one, keel_rng *rng) {
    one->offsets[0] = 0, one->offsets[1] = (int32_t)keel_rng_below(rng, BAG + 1);
    for (size_t c = 0; c < COLS; ++c) one->slope[c] = (float)keel_rng_below(rng, 7) - 3;
    for (size_t j = 0; j < BAG; ++j) {
        one->id[j] = (uint32_t)keel_rng_below(rng, ROWS);
        one->weight[j] = (float)keel_rng_below(rng, 5) - 2;
    }
}

static void add_terms(const keel_bag_gradient *bags, float dense[ROWS][COLS], float sign) {
    for (size_t s = 0; s < bags->n_bags; ++s)
        for (int32_t j = bags->offsets[s]; j < bags->offsets[s + 1]; ++j)
            for (size_t c = 0; c < COLS; ++c)
                dense[bags->id[j]][c] += sign * bags->weight[j] * bags->slope[s * COLS + c];
}

static void what_is_owed_adds_up_to_the_dense_gradient(void **state) {
    (void)state;
    static float table[ROWS * COLS];
    static operation round[MOST];
    keel_rng rng = keel_rng_named(1, "programs", 0);
    keel_tape *tape;
    keel_sparse_grad grad = {.table_rows = ROWS, .cols = COLS};
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    for (size_t step = 0; step < 300; ++step) {
        float left[ROWS][COLS] = {{0}}; /* small whole numbers, so that sums are exact in any order */
        size_t n = 1 + keel_rng_below(&rng, MOST);
        keel_tape_reset(tape);
        keel_sparse_grad_clear(&grad);
        keel_tensor *loss = keel_op_sum(tape, keel_tape_input(tape, table, 1, 1), 0);
        for (size_t i = 0; i < n; ++i) {
            operation *one = &round[i];
            draw(one, &rng);
            keel_tensor *bag =
                keel_op_embedding_bag(tape, table, ROWS, COLS, one->id, one->weight, one->offsets, 1, &grad);
            keel_tensor *part = keel_op_mul(tape, bag, keel_tape_input(tape, one->slope, 1, COLS));
            loss = keel_op_add(tape, loss, keel_op_sum(tape, part, 1));
            add_terms(&(keel_bag_gradient){1, one->offsets, one->id, one->weight, one->slope}, left, -1);
        }
        assert_int_equal(keel_tape_backward(tape, loss, NULL), KEEL_OK);
        assert_int_equal(grad.count, n);
        for (size_t i = 0; i < n; ++i) add_terms(&grad.bags[i], left, 1);
        for (size_t r = 0; r < ROWS; ++r)
            for (size_t c = 0; c < COLS; ++c) assert_true(left[r][c] == 0);
    }
    keel_sparse_grad_free(&grad);
    keel_tape_close(tape);
}

/* The table in parts, in any order, moves as a plain loop in double precision moves it as a whole. */
static void what_is_owed_is_taken_off_the_rows_however_the_table_is_parted(void **state) {
    (void)state;
    enum { WAYS = 4, BAGS = 3, TERMS = 30 };
    static const size_t parts[WAYS] = {1, 2, 5, ROWS + 4};
    static const int32_t offsets[BAGS + 1] = {0, 11, 11, TERMS};
    static float table[WAYS][ROWS * COLS], weight[MOST][TERMS], slope[MOST][BAGS * COLS];
    static uint32_t id[MOST][TERMS];
    static double expected[ROWS * COLS];
    keel_bag_gradient bags[MOST];
    keel_rng rng = keel_rng_named(3, "programs", 0);
    const keel_sparse_grad grad = {ROWS, COLS, MOST, MOST, bags};
    for (size_t i = 0; i < ROWS * COLS; ++i) {
        for (size_t w = 0; w < WAYS; ++w) table[w][i] = (float)i / 7;
        expected[i] = (double)table[0][i];
    }
    for (size_t i = 0; i < MOST; ++i) {
        bags[i] = (keel_bag_gradient){BAGS, offsets, id[i], weight[i], slope[i]};
        for (size_t k = 0; k < BAGS * COLS; ++k) slope[i][k] = (float)keel_rng_normal(&rng);
        for (size_t j = 0; j < TERMS; ++j) {
            id[i][j] = (uint32_t)keel_rng_below(&rng, ROWS);
            weight[i][j] = (float)keel_rng_normal(&rng);
            size_t bag = j < 11 ? 0 : 2;
            for (size_t c = 0; c < COLS; ++c)
                expected[id[i][j] * COLS + c] -=
                    0.3 * (double)weight[i][j] * (double)slope[i][bag * COLS + c];
        }
    }
    for (size_t w = 0; w < WAYS; ++w)
        for (size_t part = parts[w]; part-- > 0;)
            keel_sparse_grad_descend(&grad, table[w], 0.3, part, parts[w]);
    for (size_t i = 0; i < ROWS * COLS; ++i) assert_true(fabs((double)table[0][i] - expected[i]) < 1e-4);
    for (size_t w = 1; w < WAYS; ++w) assert_memory_equal(table[w], table[0], sizeof table[0]);
}

static void gradients_of_another_shape_are_refused(void **state) {
    (void)state;
    static float table[ROWS * COLS];
    operation one;
    keel_err err = {0};
    keel_rng rng = keel_rng_named(2, "programs", 0);
    keel_tape *tape;
    keel_sparse_grad grad = {.table_rows = ROWS, .cols = COLS + 1};
    draw(&one, &rng);
    assert_int_equal(keel_tape_open(&tape, NULL), KEEL_OK);
    assert_null(keel_op_embedding_bag(tape, table, ROWS, COLS, one.id, one.weight, one.offsets, 1, &grad));
    assert_int_equal(keel_tape_check(tape, NULL, &err), KEEL_E_INVALID);
    keel_tape_close(tape);
}

static keel_status gather(void) {
    keel_tape *tape = NULL;
    keel_sparse_grad grad = {.table_rows = ROWS, .cols = COLS};
    static float table[ROWS * COLS], weight[ROWS];
    static uint32_t id[ROWS];
    static const int32_t offsets[] = {0, ROWS};
    keel_tensor *loss = NULL;
    for (size_t i = 0; i < ROWS; ++i) id[i] = (uint32_t)i;
    KEEL_TRY(keel_tape_open(&tape, NULL));
    for (size_t i = 0; i < MOST; ++i) { /* more operations than the list has room for at first */
        keel_tensor *bag = keel_op_embedding_bag(tape, table, ROWS, COLS, id, weight, offsets, 1, &grad);
        keel_tensor *sum = keel_op_sum(tape, bag, 1);
        loss = i == 0 ? sum : keel_op_add(tape, loss, sum);
    }
    keel_status status = keel_tape_backward(tape, loss, NULL);
    keel_sparse_grad_free(&grad);
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
        cmocka_unit_test(what_is_owed_adds_up_to_the_dense_gradient),
        cmocka_unit_test(what_is_owed_is_taken_off_the_rows_however_the_table_is_parted),
        cmocka_unit_test(gradients_of_another_shape_are_refused),
        cmocka_unit_test(a_gradient_that_cannot_grow_fails_the_backward_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
