#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/optim.h"
#include "core/schedule.h"
#include "golden/schedule.h"

static void expect_near(double got, double expected, double relative) {
    if (!(fabs(got - expected) <= relative * fabs(expected)))
        fail_msg("expected %.12g, got %.12g", expected, got);
}

/* Kingma & Ba 2015, Algorithm 1, by hand: p0 = 1, lr = 0.1, gradients 2 and then -1, betas 0.9 and 0.999, eps
 * 1e-8. t = 1: m = 0.2, v = 0.004, corrected 2 and 4, p = 1 - 0.1 * 2 / (2 + 1e-8) = 0.9000000005 t = 2: m =
 * 0.18 - 0.1 = 0.08, v = 0.003996 + 0.001 = 0.004996, corrected 0.08 / 0.19 = 0.421052631579 and 0.004996 /
 * 0.001999 = 2.499249624812, p = 0.9000000005 - 0.1 * 0.421052631579 / 1.580901521509 = 0.8733662974 */
static void adam_takes_the_steps_worked_out_by_hand(void **state) {
    (void)state;
    keel_params params;
    keel_adam adam;
    keel_adam_config config = keel_adam_defaults();
    config.learning_rate = 0.1;
    keel_param table[] = {{"p", 1, 1, KEEL_INIT_ONE, 0, true, 0}};
    assert_int_equal(keel_params_make(&params, table, 1, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&adam, params.size, NULL), KEEL_OK);
    keel_params_init(&params, NULL);
    float grads[16] = {2};
    keel_adam_step(&adam, &config, &params, grads, 1);
    expect_near((double)params.data[0], 0.9000000005, 1e-7);
    expect_near((double)adam.first[0], 0.2, 1e-6);
    expect_near((double)adam.second[0], 0.004, 1e-6);
    grads[0] = -1;
    keel_adam_step(&adam, &config, &params, grads, 1);
    expect_near((double)params.data[0], 0.8733662974, 2e-7);
    expect_near((double)adam.first[0], 0.08, 1e-6);
    expect_near((double)adam.second[0], 0.004996, 1e-6);
    assert_int_equal(adam.steps, 2);
    keel_adam_close(&adam);
    keel_params_free(&params);
}

/* The textbook loop in double precision, as the twin. */
typedef struct plain_adam {
    double p, m, v;
} plain_adam;

static void plain_step(plain_adam *one, const keel_adam_config *c, double g, double t, double rate,
                       double decay) {
    one->m = c->beta1 * one->m + (1 - c->beta1) * g;
    one->v = c->beta2 * one->v + (1 - c->beta2) * g * g;
    double m = one->m / (1 - pow(c->beta1, t)), v = one->v / (1 - pow(c->beta2, t));
    one->p = one->p - rate * decay * one->p - rate * m / (sqrt(v) + c->epsilon);
}

static void adamw_follows_its_twin_and_decays_only_what_the_table_says(void **state) {
    (void)state;
    enum { ROWS = 3, COLS = 7, STEPS = 200 };
    keel_params params;
    keel_adam adam;
    keel_adam_config config = {0.01, 0.8, 0.95, 0.05, 0.1};
    keel_param table[] = {{"w", ROWS, COLS, KEEL_INIT_NORMAL, 1, true, 0},
                          {"b", 1, COLS, KEEL_INIT_NORMAL, 1, false, 3}};
    assert_int_equal(keel_params_make(&params, table, 2, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&adam, params.size, NULL), KEEL_OK);
    keel_rng rng = keel_rng_named(1, "adam", 0);
    keel_params_init(&params, &rng);
    float grads[64];
    plain_adam twin[64] = {{0}};
    for (size_t i = 0; i < params.size; ++i) twin[i].p = (double)params.data[i];
    for (size_t t = 1; t <= STEPS; ++t) {
        double factor = 1.0 / (double)t;
        for (size_t i = 0; i < params.size; ++i) grads[i] = (float)keel_rng_normal(&rng);
        keel_adam_step(&adam, &config, &params, grads, factor);
        for (size_t i = 0; i < params.size; ++i)
            plain_step(&twin[i], &config, (double)grads[i], (double)t,
                       config.learning_rate * factor * (i < params.offset[1] ? 1 : 3),
                       i < params.offset[1] ? config.weight_decay : 0);
    }
    for (size_t i = 0; i < ROWS * COLS; ++i) expect_near((double)params.data[i], twin[i].p, 2e-5);
    for (size_t i = 0; i < COLS; ++i)
        expect_near((double)keel_params_at(&params, 1)[i], twin[params.offset[1] + i].p, 2e-5);
    keel_adam_close(&adam);
    keel_params_free(&params);
}

static void polyak_moves_the_target_by_tau(void **state) {
    (void)state;
    float target[3] = {1, 2, 3}, online[3] = {3, 2, -1};
    keel_polyak(target, online, 3, 0.25);
    assert_true(target[0] == 1.5f && target[1] == 2 && target[2] == 2);
    keel_polyak(target, online, 3, 1);
    assert_memory_equal(target, online, sizeof target);
}

static void schedules_are_those_of_transformers(void **state) {
    (void)state;
    for (int k = 0; k < KEEL_N_SCHEDULES; ++k)
        for (size_t step = 0; step <= GOLDEN_STEPS; ++step)
            expect_near(keel_schedule_factor((keel_schedule)k, step, GOLDEN_WARM_UP, GOLDEN_STEPS),
                        golden_factors[k][step], 1e-12);
    assert_true(keel_schedule_factor(KEEL_SCHEDULE_LINEAR, 0, 0, 10) == 1);
    assert_true(keel_schedule_factor(KEEL_SCHEDULE_COSINE, 11, 0, 10) == 0);
    assert_true(keel_schedule_factor(KEEL_SCHEDULE_LINEAR, 3, 9, 2) == 3.0 / 9);
    assert_true(keel_schedule_factor(KEEL_SCHEDULE_LINEAR, 9, 9, 9) == 0);
}

/* Vectors of any width, and the single elements left over at the end of a loop, are rounded alike. */
static void an_updates_bits_do_not_depend_on_the_width_of_vectors(void **state) {
    (void)state;
    enum { N = 77, ROOM = 16 * N };
    keel_param whole = {"all", N, 1, KEEL_INIT_ZERO, 0, true, 0}, single[N];
    keel_params together, apart;
    keel_adam adam[2];
    keel_rng rng = keel_rng_named(1, "width", 0);
    for (size_t i = 0; i < N; ++i) single[i] = (keel_param){"one", 1, 1, KEEL_INIT_ZERO, 0, true, 0};
    assert_int_equal(keel_params_make(&together, &whole, 1, NULL), KEEL_OK);
    assert_int_equal(keel_params_make(&apart, single, N, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&adam[0], together.size, NULL), KEEL_OK);
    assert_int_equal(keel_adam_open(&adam[1], apart.size, NULL), KEEL_OK);
    keel_adam_config config = keel_adam_defaults();
    config.weight_decay = 0.01;
    for (int step = 0; step < 20; ++step) {
        float grads[ROOM] = {0}, scattered[ROOM] = {0};
        for (size_t i = 0; i < N; ++i)
            grads[i] = scattered[apart.offset[i]] =
                (float)(keel_rng_normal(&rng) * pow(10, (double)(i % 9) - 6));
        keel_adam_step(&adam[0], &config, &together, grads, 1);
        keel_adam_step(&adam[1], &config, &apart, scattered, 1);
        for (size_t i = 0; i < N; ++i)
            assert_memory_equal(&together.data[i], keel_params_at(&apart, i), sizeof(float));
    }
    keel_adam_close(&adam[1]);
    keel_adam_close(&adam[0]);
    keel_params_free(&apart);
    keel_params_free(&together);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_takes_the_steps_worked_out_by_hand),
        cmocka_unit_test(adamw_follows_its_twin_and_decays_only_what_the_table_says),
        cmocka_unit_test(polyak_moves_the_target_by_tau),
        cmocka_unit_test(schedules_are_those_of_transformers),
        cmocka_unit_test(an_updates_bits_do_not_depend_on_the_width_of_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
