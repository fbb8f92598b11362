/* The processes whose values are known: closed forms, Bellman's equations, and episodes that agree with them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/processes/mdp.h"

enum { MOST_STEPS = 4096 };

static void must(keel_status status, const keel_err *err) {
    if (status != KEEL_OK) fail_msg("%s: %s", err->where, err->message);
}

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.12g, got %.12g", expected, got);
}

/* Five states in a row, two actions: on (right; reward 1 and the end after the last) and out (the end, reward
 * way_out). Who is short-sighted leaves. */
static void make_chain(keel_mdp *out, double way_out, double gamma) {
    enum { N = 5, ACTIONS = 2, OUT = 1 };
    keel_err err;
    must(keel_mdp_open(out, N, ACTIONS, gamma, &err), &err);
    out->start[0] = 1;
    out->reward[(N - 1) * ACTIONS] = 1;
    for (size_t s = 0; s < N; ++s) {
        out->reward[s * ACTIONS + OUT] = way_out;
        if (s + 1 < N) out->next[s * ACTIONS * N + s + 1] = 1;
    }
}

static void in_a_chain_the_value_is_the_discounted_prize_or_the_way_out(void **state) {
    (void)state;
    keel_mdp mdp;
    keel_err err;
    double v[5], q[10], policy[10];
    make_chain(&mdp, 0.5, 0.9);
    must(keel_mdp_solve(&mdp, v, q, policy, &err), &err);
    for (size_t s = 0; s < 5; ++s) {
        near(v[s], pow(0.9, 4 - (double)s), 1e-12);
        near(q[2 * s + 1], 0.5, 1e-12);
        near(policy[2 * s], 1, 0);
    }
    near(keel_mdp_start_value(&mdp, v), pow(0.9, 4), 1e-12);
    keel_mdp_close(&mdp);
    make_chain(&mdp, 0.9, 0.9); /* now leaving at once is better */
    must(keel_mdp_solve(&mdp, v, NULL, policy, &err), &err);
    near(v[0], 0.9, 1e-12);
    near(policy[1], 1, 0);
    keel_mdp_close(&mdp);
}

static void values_satisfy_bellmans_equations_and_the_greedy_policy_earns_them(void **state) {
    (void)state;
    keel_mdp mdp;
    keel_err err;
    double v[30], q[180], best[180], again[30];
    for (uint64_t seed = 0; seed < 5; ++seed) {
        must(keel_mdp_random(&mdp, 30, 6, 4, 0.1, 0.95, seed, &err), &err);
        must(keel_mdp_solve(&mdp, v, q, best, &err), &err);
        for (size_t s = 0; s < 30; ++s) {
            double most = -INFINITY;
            for (size_t a = 0; a < 6; ++a) {
                double sum = mdp.reward[s * 6 + a];
                for (size_t t = 0; t < 30; ++t) sum += 0.95 * mdp.next[(s * 6 + a) * 30 + t] * v[t];
                near(q[s * 6 + a], sum, 1e-12);
                most = fmax(most, sum);
            }
            near(v[s], most, 1e-11);
        }
        must(keel_mdp_evaluate(&mdp, best, again, NULL, &err), &err);
        for (size_t s = 0; s < 30; ++s) near(again[s], v[s], 1e-11);
        keel_mdp_close(&mdp);
    }
}

static void mean_returns_of_episodes_agree_with_exact_values(void **state) {
    (void)state;
    enum { EPISODES = 20000 };
    static keel_mdp_step steps[MOST_STEPS];
    keel_mdp mdp;
    keel_err err;
    double v[30], policy[180], sum = 0, squares = 0;
    must(keel_mdp_random(&mdp, 30, 6, 4, 0.2, 0.9, 7, &err), &err);
    must(keel_mdp_solve(&mdp, NULL, NULL, policy, &err), &err);
    keel_mdp_soften(&mdp, policy, 0.3, policy);
    must(keel_mdp_evaluate(&mdp, policy, v, NULL, &err), &err);
    for (uint64_t e = 0; e < EPISODES; ++e) {
        keel_rng rng = keel_rng_named(3, "behaviour", e);
        size_t n = keel_mdp_episode(&mdp, policy, &rng, steps, MOST_STEPS);
        double gain = 0, discount = 1;
        for (size_t t = 0; t < n; ++t, discount *= 0.9) gain += discount * steps[t].reward;
        assert_true(steps[n - 1].end);
        sum += gain;
        squares += gain * gain;
    }
    double mean = sum / EPISODES, error = sqrt((squares / EPISODES - mean * mean) / EPISODES);
    near(mean, keel_mdp_start_value(&mdp, v), 4 * error);
    keel_mdp_close(&mdp);
}

static void an_episode_is_linked_and_says_whether_it_ended_or_was_cut_off(void **state) {
    (void)state;
    static keel_mdp_step steps[MOST_STEPS];
    keel_mdp mdp;
    double policy[10] = {.75, .25, .75, .25, .75, .25, .75, .25, .75, .25};
    make_chain(&mdp, 0.1, 1);
    size_t cut = 0;
    for (uint64_t e = 0; e < 200; ++e) {
        keel_rng rng = keel_rng_named(1, "behaviour", e);
        size_t n = keel_mdp_episode(&mdp, policy, &rng, steps, 3);
        assert_in_range(n, 1, 3);
        for (size_t t = 0; t + 1 < n; ++t) {
            assert_false(steps[t].end);
            assert_int_equal(steps[t].next, steps[t + 1].state);
            near(steps[t].propensity, policy[steps[t].action], 0);
        }
        cut += !steps[n - 1].end;
    }
    assert_in_range(cut, 50, 120); /* .75^3 of 200 is 84 */
    keel_mdp_close(&mdp);
}

static void what_need_not_end_is_refused_rather_than_valued(void **state) {
    (void)state;
    keel_mdp mdp;
    keel_err err;
    must(keel_mdp_open(&mdp, 1, 1, 1, &err), &err);
    mdp.start[0] = mdp.next[0] = mdp.reward[0] = 1;
    double v = -7, one = 1;
    assert_int_equal(keel_mdp_evaluate(&mdp, &one, &v, NULL, &err), KEEL_E_DIVERGED);
    near(v, -7, 0);
    keel_mdp_close(&mdp);
    assert_int_equal(keel_mdp_open(&mdp, 0, 1, 1, &err), KEEL_E_INVALID);
    assert_int_equal(keel_mdp_random(&mdp, 3, 3, 2, 0, 1, 1, &err), KEEL_E_INVALID);
    assert_int_equal(keel_mdp_open(&mdp, SIZE_MAX / 2, 3, 1, &err), KEEL_E_NOMEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_chain_the_value_is_the_discounted_prize_or_the_way_out),
        cmocka_unit_test(values_satisfy_bellmans_equations_and_the_greedy_policy_earns_them),
        cmocka_unit_test(mean_returns_of_episodes_agree_with_exact_values),
        cmocka_unit_test(an_episode_is_linked_and_says_whether_it_ended_or_was_cut_off),
        cmocka_unit_test(what_need_not_end_is_refused_rather_than_valued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
