/* The logistic regression: its two solvers agree where their problems are the same, what it finds is where
 * the gradient in double precision vanishes, rows left out take no part, and memory may run out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/logistic.h"
#include "core/pcg.h"
#include "support/faults.h"
#include "support/interrupt.h"

enum { ROWS = 90, USED = 40, ROW_COLUMNS = 6, CLASSES = 3, COLUMNS = USED + 1, L = KEEL_LOGISTIC_LANES };

static keel_err err;
static keel_arena arena;
static float column_scale[USED];
static int class_of[ROWS];          /* by the first column of a row, one in ten otherwise */
static signed char labels[ROWS][L]; /* output 0: class above 0 */
static const signed char *label[ROWS];
static unsigned char fold[ROWS]; /* the last third is fold 1 */

static keel_logistic_matrix make_matrix(void) {
    keel_logistic_matrix x = {.rows = ROWS, .used = USED, .column_scale = column_scale};
    keel_rng rng;
    keel_pcg64_seed(&rng, 3, 1);
    assert_true(keel_logistic_room(&x, (size_t)ROWS * ROW_COLUMNS, &arena));
    for (size_t c = 0; c < USED; c++) column_scale[c] = 1 + 0.02f * (float)c;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < ROW_COLUMNS; j++)
            x.column[r * ROW_COLUMNS + j] = (uint32_t)(6 * j + keel_rng_below(&rng, 6));
        x.start[r + 1] = (r + 1) * ROW_COLUMNS;
        x.row_scale[r] = 0.3f + 0.01f * (float)(r % 7);
        class_of[r] = (int)(r % 10 ? x.column[r * ROW_COLUMNS] % CLASSES : r / 10 % CLASSES);
        for (size_t h = 0; h < L; h++) labels[r][h] = h ? KEEL_LOGISTIC_UNKNOWN : class_of[r] > 0;
        label[r] = labels[r];
        fold[r] = r >= ROWS / 3 * 2;
    }
    keel_logistic_transpose(&x);
    return x;
}

static keel_logistic_task class_task(const keel_logistic_matrix *x) {
    return (keel_logistic_task){.x = x,
                                .outputs = CLASSES,
                                .lambda = {0.1, 0.1, 0.1},
                                .class_of = class_of,
                                .iterations = 300,
                                .where = "test"};
}

static double logit(const keel_logistic_matrix *x, const float *weight, size_t outputs, size_t r, size_t k) {
    double sum = 0;
    for (size_t i = x->start[r]; i < x->start[r + 1]; i++)
        sum += (double)column_scale[x->column[i]] * (double)weight[x->column[i] * outputs + k];
    return (double)x->row_scale[r] * sum + (double)weight[USED * outputs + k];
}

/* |gradient| of the objective of classes over the first n rows, in double precision. */
static double gradient_norm(const keel_logistic_matrix *x, const float *weight, size_t n) {
    double gradient[COLUMNS][CLASSES], square = 0;
    for (size_t c = 0; c < COLUMNS; c++)
        for (size_t k = 0; k < CLASSES; k++) gradient[c][k] = 0.1 * (double)weight[c * CLASSES + k];
    for (size_t r = 0; r < n; r++) {
        double p[CLASSES], sum = 0;
        for (size_t k = 0; k < CLASSES; k++) sum += p[k] = exp(logit(x, weight, CLASSES, r, k));
        for (size_t k = 0; k < CLASSES; k++) {
            const double told = p[k] / sum - (class_of[r] == (int)k);
            gradient[USED][k] += told;
            for (size_t i = x->start[r]; i < x->start[r + 1]; i++)
                gradient[x->column[i]][k] +=
                    told * (double)x->row_scale[r] * (double)column_scale[x->column[i]];
        }
    }
    for (size_t c = 0; c < COLUMNS; c++)
        for (size_t k = 0; k < CLASSES; k++) square += gradient[c][k] * gradient[c][k];
    return sqrt(square);
}

static void classes_end_where_the_gradient_in_double_precision_vanishes(void **state) {
    (void)state;
    const keel_logistic_matrix x = make_matrix();
    const keel_logistic_task task = class_task(&x);
    float weight[COLUMNS * CLASSES], again[COLUMNS * CLASSES], zero[COLUMNS * CLASSES] = {0};
    assert_int_equal(keel_logistic_fit(&task, weight, &err), KEEL_OK);
    assert_true(gradient_norm(&x, zero, ROWS) > 1);
    if (gradient_norm(&x, weight, ROWS) > 2e-3) fail_msg("gradient %g", gradient_norm(&x, weight, ROWS));
    assert_int_equal(keel_logistic_fit(&task, again, &err), KEEL_OK);
    assert_memory_equal(weight, again, sizeof weight);
    keel_arena_free(&arena);
}

static void rows_left_out_take_no_part(void **state) {
    (void)state;
    const keel_logistic_matrix x = make_matrix();
    keel_logistic_task task = class_task(&x);
    float weight[COLUMNS * CLASSES];
    task.fold = fold;
    task.left_out = 1;
    assert_int_equal(keel_logistic_fit(&task, weight, &err), KEEL_OK);
    if (gradient_norm(&x, weight, ROWS / 3 * 2) > 2e-3) fail_msg("the gradient of the others is not 0");
    assert_true(gradient_norm(&x, weight, ROWS) > 0.1);
    keel_arena_free(&arena);
}

/* Two classes at lambda are one labelled output at lambda / 2: w = w_1 - w_0, w_1 = -w_0. */
static void both_solvers_agree_on_two_classes(void **state) {
    (void)state;
    const keel_logistic_matrix x = make_matrix();
    float pair[COLUMNS * 2], one[COLUMNS];
    int two[ROWS];
    keel_logistic_task task = class_task(&x);
    for (size_t r = 0; r < ROWS; r++) two[r] = class_of[r] > 0;
    task.outputs = 2;
    task.class_of = two;
    assert_int_equal(keel_logistic_fit(&task, pair, &err), KEEL_OK);
    task = (keel_logistic_task){.x = &x,
                                .outputs = 1,
                                .lambda = {0.05},
                                .fits = {true},
                                .label = label,
                                .iterations = 5000,
                                .where = "test"};
    assert_int_equal(keel_logistic_fit(&task, one, &err), KEEL_OK);
    for (size_t r = 0; r < ROWS; r++) {
        const double z = logit(&x, one, 1, r, 0),
                     difference = logit(&x, pair, 2, r, 1) - logit(&x, pair, 2, r, 0);
        if (fabs(z - difference) > 2e-3 * (1 + fabs(z))) fail_msg("row %zu: %g and %g", r, z, difference);
    }
    keel_arena_free(&arena);
}

/* Of every third row a teacher alone says something, of every third it says something beside the label. In
 * double precision the gradient vanishes where the solver ends. */
static void a_teacher_is_learned_at_its_temperature_beside_the_labels(void **state) {
    (void)state;
    enum { SHARE_TENTHS = 3, T = 2 };
    const keel_logistic_matrix x = make_matrix();
    static float told[ROWS][L];
    const float *soft[ROWS];
    float weight[COLUMNS];
    double slope[COLUMNS] = {0}, first[COLUMNS] = {0}, size = 0, before = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t h = 0; h < L; h++) told[r][h] = h || r % 3 == 2 ? NAN : 0.1f + 0.008f * (float)r;
        if (r % 3 == 0) labels[r][0] = KEEL_LOGISTIC_UNKNOWN;
        soft[r] = told[r];
    }
    const keel_logistic_task task = {.x = &x,
                                     .outputs = 1,
                                     .lambda = {0.05},
                                     .fits = {true},
                                     .label = label,
                                     .soft = soft,
                                     .share = SHARE_TENTHS / 10.0,
                                     .temperature = T,
                                     .iterations = 5000,
                                     .where = "test"};
    assert_int_equal(keel_logistic_fit(&task, weight, &err), KEEL_OK);
    for (size_t r = 0; r < ROWS; r++) {
        const double share = r % 3 == 2   ? 0
                             : r % 3 == 0 ? 1
                                          : SHARE_TENTHS / 10.0,
                     p = (double)told[r][0], z = logit(&x, weight, 1, r, 0);
        double by = 0, at_zero = 0;
        if (share < 1) by += (1 - share) * (1 / (1 + exp(-z)) - labels[r][0]);
        if (share < 1) at_zero += (1 - share) * (0.5 - labels[r][0]);
        if (share > 0) by += share * T * (1 / (1 + exp(-z / T)) - p);
        if (share > 0) at_zero += share * T * (0.5 - p);
        for (size_t j = 0; j < ROW_COLUMNS; j++) {
            const size_t c = x.column[r * ROW_COLUMNS + j];
            slope[c] += by * (double)x.row_scale[r] * (double)column_scale[c];
            first[c] += at_zero * (double)x.row_scale[r] * (double)column_scale[c];
        }
        slope[USED] += by;
        first[USED] += at_zero;
    }
    for (size_t c = 0; c < COLUMNS; c++) {
        size += pow(slope[c] + 0.05 * (double)weight[c], 2);
        before += first[c] * first[c];
    }
    assert_true(sqrt(size) < 1e-3 * sqrt(before));
    keel_arena_free(&arena);
}

static void it_stops_when_asked_to(void **state) {
    (void)state;
    const keel_logistic_matrix x = make_matrix();
    const keel_logistic_task task = class_task(&x);
    float weight[COLUMNS * CLASSES];
    interrupt_set(true);
    assert_int_equal(keel_logistic_fit(&task, weight, &err), KEEL_E_INTERRUPTED);
    interrupt_set(false);
    assert_string_equal(err.where, "test");
    keel_arena_free(&arena);
}

static void every_allocation_may_fail_without_a_leak(void **state) {
    (void)state;
    faults allocator;
    const keel_logistic_matrix x = make_matrix();
    const keel_logistic_task task = class_task(&x);
    float weight[COLUMNS * CLASSES];
    keel_status status = KEEL_E_NOMEM;
    size_t n = 0;
    for (; status != KEEL_OK && n < 100; n++) {
        faults_begin(&allocator, n + 1);
        status = keel_logistic_fit(&task, weight, &err);
        assert_int_equal(allocator.live, 0);
        faults_end();
        assert_true(status == KEEL_OK || status == KEEL_E_NOMEM);
    }
    assert_int_equal(status, KEEL_OK);
    assert_true(n > 1);
    keel_arena_free(&arena);
}

int main(void) {
    interrupt_listen();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_end_where_the_gradient_in_double_precision_vanishes),
        cmocka_unit_test(rows_left_out_take_no_part),
        cmocka_unit_test(both_solvers_agree_on_two_classes),
        cmocka_unit_test(a_teacher_is_learned_at_its_temperature_beside_the_labels),
        cmocka_unit_test(it_stops_when_asked_to),
        cmocka_unit_test(every_allocation_may_fail_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
