/* The cart and the pole against values worked out by hand and what is known of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "experiments/processes/cartpole.h"

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

/* From rest and upright: push = 10 / 1.1, turning = -push / (0.5 (4/3 - 0.1 / 1.1)), speeding = push - 0.05
 * turning / 1.1. */
static void one_push_from_rest_is_what_the_equations_say(void **state) {
    (void)state;
    keel_cartpole pole = {0};
    keel_cartpole_step(&pole, 1);
    double push = 10 / 1.1, turning = -push / (0.5 * (4.0 / 3 - 0.1 / 1.1));
    near(pole.state[0], 0, 0);
    near(pole.state[1], 0.02 * (push - 0.05 * turning / 1.1), 1e-12);
    near(pole.state[2], 0, 0);
    near(pole.state[3], 0.02 * turning, 1e-12);
    keel_cartpole left = {0};
    keel_cartpole_step(&left, 0);
    near(left.state[1], -pole.state[1], 1e-15);
}

/* Printed by gymnasium's CartPole-v1 (float32 there) for the same state and a push to the right. */
static void one_push_on_the_move_is_what_the_peer_computes(void **state) {
    (void)state;
    keel_cartpole pole = {.state = {.1, .2, -.05, .3}};
    const double expected[4] = {.104, .39579764, -.044, -.00802331};
    keel_cartpole_step(&pole, 1);
    for (int i = 0; i < 4; ++i) near(pole.state[i], expected[i], 1e-7);
}

static double mean_steps(bool balanced) {
    double sum = 0;
    for (uint64_t e = 0; e < 200; ++e) {
        keel_rng rng = keel_rng_named(1, "episode", e);
        keel_cartpole pole;
        keel_cartpole_reset(&pole, &rng);
        while (!pole.fell && !pole.cut_off)
            keel_cartpole_step(&pole, balanced ? keel_cartpole_balance(&pole) : (int)keel_rng_below(&rng, 2));
        sum += pole.steps;
    }
    return sum / 200;
}

static void who_acts_at_random_falls_soon_and_who_balances_never(void **state) {
    (void)state;
    double random = mean_steps(false);
    assert_true(random > 18 && random < 27); /* about 22 */
    near(mean_steps(true), 500, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_push_from_rest_is_what_the_equations_say),
        cmocka_unit_test(one_push_on_the_move_is_what_the_peer_computes),
        cmocka_unit_test(who_acts_at_random_falls_soon_and_who_balances_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
