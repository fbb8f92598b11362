#include "fixture.h"

#include <math.h>

#include "policies/policy_internal.h"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "weighting") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, &err);
}

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-9)) fail_msg("expected %.12g, got %.12g", expected, got);
}

/* ---- the lattice ---- */

static void the_points_are_all_weightings_in_quarters(void **state) {
    (void)state;
    double sum[KEEL_N_REWARDS] = {0}, code[KEEL_N_LATTICE];
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) {
        double w[KEEL_N_REWARDS];
        keel_weighting_point(i, w);
        near(w[0] + w[1] + w[2], 1);
        code[i] = 0;
        for (int k = 0; k < KEEL_N_REWARDS; k++) {
            assert_true(w[k] >= 0 && fmod(4 * w[k], 1) == 0);
            sum[k] += w[k];
            code[i] = 10 * code[i] + 4 * w[k];
        }
        for (size_t j = 0; j < i; j++) assert_true(code[j] != code[i]);
    }
    for (int k = 0; k < KEEL_N_REWARDS; k++) near(sum[k], KEEL_N_LATTICE / 3.0);
}

/* What is linear in w is found everywhere: 1 / beta = a + b w0 + c w1. */
static void between_points_one_over_beta_is_linear(void **state) {
    (void)state;
    double beta[KEEL_N_LATTICE], w[KEEL_N_REWARDS];
    keel_rng rng = keel_rng_named(1, "weighting", 0);
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) {
        keel_weighting_point(i, w);
        beta[i] = 1 / (0.1 + 2 * w[0] + 0.7 * w[1]);
    }
    for (int i = 0; i < 500; i++) {
        w[0] = keel_rng_uniform(&rng) * (i % 3 > 0); /* edges too */
        w[1] = (1 - w[0]) * (i % 5 ? keel_rng_uniform(&rng) : i % 2);
        w[2] = 1 - w[0] - w[1];
        near(1 / keel_weighting_beta(beta, w), 0.1 + 2 * w[0] + 0.7 * w[1]);
    }
}

static void at_a_point_beta_is_its_own_and_between_two_lies_between(void **state) {
    (void)state;
    double beta[KEEL_N_LATTICE], w[KEEL_N_REWARDS];
    keel_rng rng = keel_rng_named(2, "weighting", 0);
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) beta[i] = i == 3 ? 0 : 50 * keel_rng_uniform(&rng);
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) {
        keel_weighting_point(i, w);
        near(keel_weighting_beta(beta, w), beta[i]);
    }
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) beta[i] = 1 + (double)i;
    w[0] = 0.6, w[1] = 0.3, w[2] = 0.1; /* in the triangle of (2, 2, 0), (3, 1, 0) and (2, 1, 1) quarters */
    near(keel_weighting_beta(beta, w), 1 / (0.2 / beta[12] + 0.4 / beta[13] + 0.4 / beta[8]));
}

/* ---- a policy asked for weightings ---- */

enum { ACTS = 3, STATE = 2, SEEN = STATE + KEEL_N_REWARDS };

/* Q_k of act a is w_k where a == k, else 0; beta is 2 at every corner but safety's. */
static keel_policy conditioned_policy(void) {
    static const char *acts[ACTS] = {"a", "b", "c"};
    static keel_outcome row[ACTS];
    keel_qnet_shape shape = {
        .space = KEEL_SPACE_ACTS, .state_dim = SEEN, .n_acts = ACTS, .heads = KEEL_N_REWARDS, .critics = 1};
    keel_policy policy = {.algorithm = "cql",
                          .split = "train",
                          .weight = {0.6, 0.3, 0.1},
                          .own_weight = {0.6, 0.3, 0.1},
                          .beta = 7,
                          .own_beta = 7,
                          .harm_threshold = INFINITY,
                          .conditioned = true,
                          .covered = {true, true, false},
                          .n_acts = ACTS,
                          .acts = acts,
                          .fallback_act = -1};
    for (int i = 0; i < 3; i++) policy.act_outcome[i] = row;
    for (size_t i = 0; i < KEEL_N_LATTICE; i++) policy.lattice_beta[i] = 2 + (double)i;
    memset(policy.base_hash, 'a', 64);
    assert_ok(keel_qnet_open(&policy.net, &shape, &err));
    for (size_t k = 0; k < KEEL_N_REWARDS; k++) policy.net.params.data[(k * ACTS + k) * SEEN + STATE + k] = 1;
    return policy;
}

static keel_choice decide(const keel_policy *policy, keel_arena *arena) {
    static const float prior[ACTS] = {-1.1f, -1.1f, -1.1f}, state[STATE] = {5, 5};
    const keel_features features = {
        .state_dim = STATE, .n_actions = ACTS, .state = state, .log_prior = prior};
    keel_choice choice;
    assert_ok(keel_policy_decide(policy, &features, arena, &choice, &err));
    return choice;
}

static void check_decisions(keel_policy *policy) {
    keel_arena arena = {0};
    static const double speed[] = {0.25, 0.75, 0}, standard[] = {0.6, 0.3, 0.1};
    keel_choice choice = decide(policy, &arena);
    assert_int_equal(choice.chosen, 0);
    near((double)choice.q_w[0], (double)(0.6f * 0.6f));
    assert_ok(keel_policy_weigh(policy, speed, &err));
    choice = decide(policy, &arena);
    assert_int_equal(choice.chosen, 1);
    near((double)choice.q_w[1], 0.5625);
    near(policy->beta, policy->lattice_beta[11]);
    assert_ok(keel_policy_weigh(policy, standard, &err)); /* its own beta, not the lattice's */
    near(policy->beta, 7);
    keel_arena_free(&arena);
}

static void a_policy_decides_by_the_weights_it_is_given(void **state) {
    (void)state;
    keel_policy policy = conditioned_policy(), *loaded = NULL;
    policy.covered[KEEL_SAFETY] = true;
    check_decisions(&policy);
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "p"), &err));
    assert_memory_equal(loaded->covered, policy.covered, sizeof policy.covered);
    check_decisions(loaded);
    keel_policy_close(loaded);
    keel_qnet_close(&policy.net);
}

static void what_it_cannot_weigh_is_refused(void **state) {
    (void)state;
    static const double safe[] = {0, 0, 1}, fast[] = {0, 1, 0};
    static const double bad[][KEEL_N_REWARDS] = {{0.5, 0.5, 0.5}, {0.3, 0.3, 0},    {1.5, -0.5, 0},
                                                 {NAN, 1, 0},     {INFINITY, 0, 0}, {0, 0, 0}};
    keel_policy policy = conditioned_policy();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(keel_policy_weigh(&policy, bad[i], &err), KEEL_E_INVALID);
        contains(err.message, "sum to 1");
    }
    assert_int_equal(keel_policy_weigh(&policy, safe, &err), KEEL_E_INVALID);
    contains(err.message, "safety: expected 0");
    near(policy.weight[0], 0.6);
    assert_ok(keel_policy_weigh(&policy, fast, &err)); /* what was never logged has no weight here */
    policy.conditioned = false;
    assert_int_equal(keel_policy_weigh(&policy, fast, &err), KEEL_E_INVALID);
    contains(err.message, "one weighting");
    contains(err.hint, "conditioned=true");
    keel_qnet_close(&policy.net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_points_are_all_weightings_in_quarters),
        cmocka_unit_test(between_points_one_over_beta_is_linear),
        cmocka_unit_test(at_a_point_beta_is_its_own_and_between_two_lies_between),
        cmocka_unit_test_setup_teardown(a_policy_decides_by_the_weights_it_is_given, set_up, tear_down),
        cmocka_unit_test(what_it_cannot_weigh_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
