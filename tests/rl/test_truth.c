/* Off-policy estimates against exact values of random processes. */
#include "rl/tabular.h"

#include "rl/clusters.h"

static episode episodes[MOST_EPISODES];

static void check(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.9g, got %.9g", expected, got);
}

/* ---- from episodes to estimates ---- */

static double v_of(const tabular *t, const double *q, size_t state) {
    double sum = 0;
    for (size_t a = 0; a < ACTIONS; ++a) sum += t->policy[state * ACTIONS + a] * q[state * ACTIONS + a];
    return sum;
}

/* b of each pair as the log has it: of the states' visits, the share that took it. */
static void count_behaviour(const episode *log, size_t n, double *out) {
    double seen[STATES] = {0};
    memset(out, 0, PAIRS * sizeof *out);
    for (size_t i = 0; i < n; ++i)
        for (size_t s = 0; s < log[i].n; ++s) {
            seen[log[i].steps[s].state]++;
            out[log[i].steps[s].state * ACTIONS + log[i].steps[s].action]++;
        }
    for (size_t p = 0; p < PAIRS; ++p) out[p] /= fmax(1, seen[p / ACTIONS]);
}

/* behaviour NULL: the propensities logged. q [2][PAIRS]: of even and of odd conversations. */
static void add_episode(keel_ope_log *to, const tabular *t, const double *behaviour, double (*q)[PAIRS],
                        size_t i, const episode *e) {
    keel_ope_step steps[LONGEST];
    for (size_t s = 0; s < e->n; ++s) {
        size_t state = e->steps[s].state, pair = state * ACTIONS + e->steps[s].action;
        double b = behaviour ? behaviour[pair] : e->steps[s].propensity;
        steps[s] = (keel_ope_step){log(t->policy[pair] / b), t->policy[pair], e->steps[s].reward,
                                   q[i % 2][pair], v_of(t, q[i % 2], state)};
    }
    assert_int_equal(keel_ope_add(to, i, steps, e->n, NULL), KEEL_OK);
    assert_int_equal(keel_ope_add_value(to, i, steps[0].v, steps[0].v, NULL), KEEL_OK);
}

static keel_ope estimate(const tabular *t, const double *behaviour, double (*q)[PAIRS], size_t n,
                         size_t resamples) {
    keel_ope_log log = {.estimated = behaviour != NULL};
    const keel_ope_config config = {.gamma = t->mdp.gamma, .resamples = resamples, .seed = 1};
    keel_ope out;
    for (size_t i = 0; i < n; ++i) add_episode(&log, t, behaviour, q, i, &episodes[i]);
    assert_int_equal(keel_ope_estimate(&log, &config, NULL, &out, NULL), KEEL_OK);
    keel_ope_log_free(&log);
    return out;
}

/* Cross-fitted tables: q[0] of the odd conversations, for the even, and the other way round. */
static void count_both(const tabular *t, size_t n, double (*q)[PAIRS]) {
    static episode half[MOST_EPISODES / 2 + 1];
    for (size_t side = 0; side < 2; ++side) {
        size_t m = 0;
        for (size_t i = 1 - side; i < n; i += 2) half[m++] = episodes[i];
        tabular_count(t, half, m, q[side]);
    }
}

/* ---- with ample data, near the truth ---- */

static void check_near(const keel_ope *got, const char *what, uint64_t seed, double value) {
    for (size_t k = KEEL_OPE_PDIS; k < KEEL_OPE_LOGGED; ++k)
        if (!(fabs(got->estimate[k].value - value) <= .05 * value))
            fail_msg("%s, seed %d: %s is %g, expected %g", what, (int)seed, keel_ope_names[k],
                     got->estimate[k].value, value);
    assert_true(got->headline && got->lower <= value);
}

static void every_estimate_is_near_the_exact_value(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; ++seed) {
        tabular t = tabular_make(seed, .9, .6);
        double q[2][PAIRS], behaviour[PAIRS];
        tabular_play(&t, seed, episodes, MOST_EPISODES);
        count_both(&t, MOST_EPISODES, q);
        keel_ope got = estimate(&t, NULL, q, MOST_EPISODES, 50);
        check_near(&got, "logged propensities", seed, t.value);
        assert_false(got.propensities_estimated);
        count_behaviour(episodes, MOST_EPISODES, behaviour);
        got = estimate(&t, behaviour, q, MOST_EPISODES, 50);
        check_near(&got, "counted propensities", seed, t.value);
        assert_true(got.propensities_estimated);
        keel_mdp_close(&t.mdp);
    }
}

/* A model that is wrong costs the doubly robust nothing but width, and the direct method everything. */
static void the_doubly_robust_forgive_a_wrong_model(void **state) {
    (void)state;
    tabular t = tabular_make(11, .9, .6);
    double q[2][PAIRS];
    keel_rng rng = keel_rng_named(11, "noise", 0);
    for (size_t p = 0; p < PAIRS; ++p) q[0][p] = q[1][p] = t.q[p] + .5 + .2 * keel_rng_normal(&rng);
    tabular_play(&t, 11, episodes, MOST_EPISODES);
    keel_ope got = estimate(&t, NULL, q, MOST_EPISODES, 50);
    assert_true(got.estimate[KEEL_OPE_DM].value > 1.2 * t.value);
    for (size_t k = KEEL_OPE_DR; k <= KEEL_OPE_MAGIC; ++k)
        check(got.estimate[k].value, t.value, .05 * t.value);
    keel_mdp_close(&t.mdp);
}

/* ---- intervals ---- */

typedef struct coverage {
    size_t logs, low, plain, covered[KEEL_N_OPE];
} coverage;

/* The percentile interval, of PDIS by conversation. */
static bool plain_covers(const tabular *t, size_t n) {
    double sum[MOST_EPISODES], count[MOST_EPISODES];
    for (size_t i = 0; i < n; ++i) {
        double rho = 1, discount = 1;
        sum[i] = 0;
        count[i] = 1;
        for (size_t s = 0; s < episodes[i].n; ++s, discount *= t->mdp.gamma) {
            const keel_mdp_step *at = &episodes[i].steps[s];
            rho *= t->policy[at->state * ACTIONS + at->action] / at->propensity;
            sum[i] += discount * rho * at->reward;
        }
    }
    const keel_interval got = cluster_mean(sum, count, n, 300, 1);
    return got.low <= t->value && t->value <= got.high;
}

static void add_log(coverage *c, const tabular *t, uint64_t seed, size_t n) {
    double q[2][PAIRS];
    tabular_play(t, seed, episodes, n);
    count_both(t, n, q);
    keel_ope got = estimate(t, NULL, q, n, 300);
    for (size_t k = 0; k < KEEL_OPE_LOGGED; ++k)
        c->covered[k] += got.estimate[k].low <= t->value && t->value <= got.estimate[k].high;
    c->low += got.lower <= t->value;
    c->plain += plain_covers(t, n);
    c->logs++;
}

static void nominal_intervals_of_95_percent_cover_90_to_99(void **state) {
    (void)state;
    tabular t = tabular_make(21, .9, .6);
    coverage c = {0};
    for (uint64_t seed = 0; seed < 200; ++seed) add_log(&c, &t, 100 + seed, 250);
    for (size_t k = 0; k < KEEL_OPE_LOGGED; ++k)
        if (k != KEEL_OPE_SELF && (c.covered[k] < 180 || c.covered[k] > 198))
            fail_msg("%s: %zu of %zu", keel_ope_names[k], c.covered[k], c.logs);
    assert_in_range(c.plain, 180, 198);
    assert_in_range(c.low, 190, 200);
    keel_mdp_close(&t.mdp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_estimate_is_near_the_exact_value),
        cmocka_unit_test(the_doubly_robust_forgive_a_wrong_model),
        cmocka_unit_test(nominal_intervals_of_95_percent_cover_90_to_99),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
