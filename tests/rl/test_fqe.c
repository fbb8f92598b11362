/* Fitted Q evaluation against worked examples (docs/design.md) and exact values. */
#include "rl/batch.h"
#include "rl/tabular.h"

static void check(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.9g, got %.9g", expected, got);
}

/* ---- golden values ---- */

/* Q(s) = [1, 2], a = 0, r = .5, gamma = .9, target Q(s') = [.5, .4], pi(s') = 1: y = .86, Huber .0098. A
 * greedy target would be .95, one with s for s' 2.3. */
static void the_worked_example_of_a_loss_comes_out(void **state) {
    (void)state;
    keel_learner_config config = config_of("keel", "dqn");
    config.vector_heads = false;
    config.gamma = .9;
    config.batch = 1;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) config.weight[k] = k == KEEL_ACCURACY;
    const keel_qnet_shape shape = {
        .space = KEEL_SPACE_ACTS, .state_dim = 2, .n_acts = 2, .heads = 1, .critics = 1};
    const float q[4] = {1, 9, 2, 9}, target[4] = {2, .5f, 2, .4f}, here[2] = {1, 0}, next[2] = {0, 1},
                reward[KEEL_N_REWARDS] = {.5f}, bootstrap[1] = {1}, pi[2] = {0, 1}, even[2] = {.5f, .5f};
    const uint8_t present[KEEL_N_REWARDS] = {1}, usable[1] = {1};
    const int32_t action[1] = {0};
    keel_batch batch = {.n = 1,
                        .state = here,
                        .action = action,
                        .reward = reward,
                        .present = present,
                        .bootstrap = bootstrap,
                        .usable = usable,
                        .next_state = next,
                        .next_pi = pi};
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_loss_parts parts;
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    memset(learner.params.data, 0, learner.params.size * sizeof *learner.params.data);
    memset(learner.target, 0, learner.params.size * sizeof *learner.target);
    memcpy(learner.params.data + learner.params.offset[0], q, sizeof q);
    memcpy(learner.target + learner.params.offset[0], target, sizeof target);
    assert_int_equal(keel_learner_gradient(&learner, &batch, &parts, NULL), KEEL_OK);
    check(parts.td, .0098, 1e-7);
    batch.next_pi = even; /* in expectation: y = .5 + .9 .45 = .905 */
    assert_int_equal(keel_learner_gradient(&learner, &batch, &parts, NULL), KEEL_OK);
    check(parts.td, .5 * .095 * .095, 1e-7);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static keel_fqe *fit_chain(double tau, int64_t interval) {
    const float states[2][2] = {{1, 0}, {0, 1}}, pi[1] = {1};
    const keel_fqe_step steps[2] = {{.state = states[0], .pi = pi, .n_actions = 1, .reward = 1},
                                    {.state = states[1], .pi = pi, .n_actions = 1, .reward = 2}};
    keel_fqe_config config = tabular_fit_config(1);
    const keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS, .state_dim = 2, .n_acts = 1};
    keel_fqe *fqe;
    config.learner.tau = tau;
    config.learner.target_interval = interval;
    config.learner.batch = 16;
    config.learner.steps = 1500;
    assert_int_equal(keel_fqe_open(&fqe, &config, &shape, NULL), KEEL_OK);
    for (uint64_t unit = 0; unit < 8; ++unit)
        assert_int_equal(keel_fqe_add(fqe, unit, steps, 2, false, NULL), KEEL_OK);
    keel_pool *pool = open_pool(1);
    assert_int_equal(keel_fqe_fit(fqe, pool, NULL), KEEL_OK);
    keel_pool_close(pool);
    return fqe;
}

/* s0 -> s1 -> end, rewards 1 and 2, gamma .9: Q = [2.8, 2.0], whether the target network is copied or
 * follows. */
static void the_chain_has_its_fixed_point(void **state) {
    (void)state;
    const float states[2][2] = {{1, 0}, {0, 1}}, pi[1] = {1};
    for (int follows = 0; follows < 2; ++follows) {
        keel_fqe *fqe = fit_chain(follows ? .05 : 1, follows ? 0 : 50);
        for (int s = 0; s < 2; ++s) {
            const keel_fqe_step at = {.state = states[s], .pi = pi, .n_actions = 1};
            keel_arena scratch = {0};
            double q, v;
            assert_int_equal(keel_fqe_value(fqe, 0, &at, &scratch, &q, &v, NULL), KEEL_OK);
            check(q, s ? 2.0 : 2.8, 2e-3);
            check(v, q, 1e-9);
            keel_arena_free(&scratch);
        }
        keel_fqe_close(fqe);
    }
}

/* ---- truth ---- */

/* The estimate of the policy's value: mean over first states of v. */
static double start_value(const keel_fqe *fqe, const tabular *t, const episode *episodes, size_t n,
                          bool sets) {
    double sum = 0, v;
    for (size_t i = 0; i < n; ++i) {
        tabular_q(fqe, t->policy, i, episodes[i].steps[0].state, 0, sets, &v);
        sum += v;
    }
    return sum / (double)n;
}

static keel_fqe *fit(const tabular *t, const episode *episodes, size_t n, const keel_fqe_config *config,
                     bool sets, size_t threads) {
    const keel_qnet_shape shape = tabular_shape(sets);
    keel_fqe *fqe;
    keel_pool *pool = open_pool(threads);
    assert_int_equal(keel_fqe_open(&fqe, config, &shape, NULL), KEEL_OK);
    tabular_add(fqe, t->policy, episodes, n, sets);
    assert_int_equal(keel_fqe_fit(fqe, pool, NULL), KEEL_OK);
    keel_pool_close(pool);
    return fqe;
}

static episode episodes[MOST_EPISODES];

static void it_finds_the_exact_values_of_random_processes(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 4; ++seed) {
        bool sets = seed == 4;
        tabular t = tabular_make(seed, .9, .6);
        keel_fqe_config config = tabular_fit_config(2);
        if (sets) config.learner.hidden = (keel_int_list){1, {32}}, config.learner.learning_rate = .01;
        tabular_play(&t, seed, episodes, 2000);
        keel_fqe *fqe = fit(&t, episodes, 2000, &config, sets, 1);
        check(start_value(fqe, &t, episodes, 2000, sets), t.value, .05 * t.value);
        keel_fqe_close(fqe);
        keel_mdp_close(&t.mdp);
    }
}

/* Every Q is that of the table which solves the same equations by counting: the greedy action instead of the
 * expectation, s for s', or steps of a fixed number would be far off. */
static void it_finds_what_a_table_finds_on_the_same_log(void **state) {
    (void)state;
    tabular t = tabular_make(2, .9, .6);
    double table[PAIRS];
    keel_fqe_config config = tabular_fit_config(1);
    config.learner.steps = 2500;
    tabular_play(&t, 2, episodes, 500);
    tabular_count(&t, episodes, 500, table);
    keel_fqe *fqe = fit(&t, episodes, 500, &config, false, 1);
    for (size_t i = 0; i < PAIRS; ++i)
        check(tabular_q(fqe, t.policy, i, i / ACTIONS, i % ACTIONS, false, NULL), table[i], .05);
    keel_fqe_close(fqe);
    keel_mdp_close(&t.mdp);
}

/* The fit sees b's actions, but its value is pi's: here far from b's own. */
static void the_policys_value_is_found_not_the_behaviours(void **state) {
    (void)state;
    tabular t = tabular_make(7, 1, .05);
    double v[STATES];
    assert_int_equal(keel_mdp_evaluate(&t.mdp, t.behaviour, v, NULL, NULL), KEEL_OK);
    assert_true(keel_mdp_start_value(&t.mdp, v) < .8 * t.value);
    keel_fqe_config config = tabular_fit_config(2);
    tabular_play(&t, 7, episodes, 2000);
    keel_fqe *fqe = fit(&t, episodes, 2000, &config, false, 1);
    check(start_value(fqe, &t, episodes, 2000, false), t.value, .05 * t.value);
    keel_fqe_close(fqe);
    keel_mdp_close(&t.mdp);
}

/* ---- cross-fitting ---- */

static void what_judges_a_conversation_has_not_seen_it(void **state) {
    (void)state;
    enum { N = 40 };
    tabular t = tabular_make(3, .9, .6);
    keel_fqe_config config = tabular_fit_config(2);
    config.learner.steps = 60;
    tabular_play(&t, 3, episodes, N);
    keel_fqe *before = fit(&t, episodes, N, &config, false, 1);
    episodes[11].steps[0].reward = 1000;
    keel_fqe *after = fit(&t, episodes, N, &config, false, 1);
    size_t moved = 0;
    for (uint64_t unit = 0; unit < N; ++unit) {
        size_t s = episodes[11].steps[0].state, a = episodes[11].steps[0].action;
        bool same = tabular_q(before, t.policy, unit, s, a, false, NULL) ==
                    tabular_q(after, t.policy, unit, s, a, false, NULL);
        if (unit == 11) assert_true(same);
        moved += !same;
    }
    assert_in_range(moved, N / 4, 3 * N / 4); /* those of the other fold */
    keel_fqe_close(before);
    keel_fqe_close(after);
    keel_mdp_close(&t.mdp);
}

static void a_fold_without_others_is_not_judged(void **state) {
    (void)state;
    tabular t = tabular_make(3, .9, .6);
    keel_fqe_config config = tabular_fit_config(2);
    config.learner.steps = 5;
    tabular_play(&t, 3, episodes, 1);
    keel_fqe *fqe = fit(&t, episodes, 1, &config, false, 1);
    assert_true(isnan(tabular_q(fqe, t.policy, 0, 0, 0, false, NULL)));
    keel_fqe_close(fqe);
    fqe = fit(&t, episodes, 0, &config, false, 1); /* nothing at all */
    assert_true(isnan(tabular_q(fqe, t.policy, 0, 0, 0, false, NULL)));
    keel_fqe_close(fqe);
    keel_mdp_close(&t.mdp);
}

static void threads_change_no_bit(void **state) {
    (void)state;
    tabular t = tabular_make(5, .9, .6);
    keel_fqe_config config = tabular_fit_config(2);
    config.learner.steps = 50;
    config.learner.batch = 256;
    config.learner.hidden = (keel_int_list){1, {16}};
    tabular_play(&t, 5, episodes, 100);
    keel_fqe *one = fit(&t, episodes, 100, &config, false, 1),
             *three = fit(&t, episodes, 100, &config, false, 3);
    for (size_t i = 0; i < PAIRS; ++i)
        assert_true(tabular_q(one, t.policy, i, i / ACTIONS, i % ACTIONS, false, NULL) ==
                    tabular_q(three, t.policy, i, i / ACTIONS, i % ACTIONS, false, NULL));
    keel_fqe_close(one);
    keel_fqe_close(three);
    keel_mdp_close(&t.mdp);
}

/* ---- what is learned from ---- */

/* A conversation that was cut off teaches nothing of its last step; one that ended pays what it paid. */
static void a_step_that_was_cut_off_teaches_nothing(void **state) {
    (void)state;
    const float here[1] = {1}, pi[2] = {1, 0};
    for (int cut = 0; cut < 2; ++cut) {
        keel_fqe_config config = tabular_fit_config(1);
        const keel_qnet_shape shape = {.space = KEEL_SPACE_ACTS, .state_dim = 1, .n_acts = 2};
        keel_fqe *fqe;
        keel_arena scratch = {0};
        keel_pool *pool = open_pool(1);
        const keel_fqe_step ended = {.state = here, .pi = pi, .n_actions = 2, .reward = 1},
                            other = {.state = here, .pi = pi, .n_actions = 2, .reward = 5};
        double q, v;
        config.learner.steps = 400;
        assert_int_equal(keel_fqe_open(&fqe, &config, &shape, NULL), KEEL_OK);
        assert_int_equal(keel_fqe_add(fqe, 1, &ended, 1, false, NULL), KEEL_OK);
        assert_int_equal(keel_fqe_add(fqe, 2, &other, 1, cut, NULL), KEEL_OK);
        assert_int_equal(keel_fqe_fit(fqe, pool, NULL), KEEL_OK);
        assert_int_equal(keel_fqe_value(fqe, 1, &ended, &scratch, &q, &v, NULL), KEEL_OK);
        check(q, cut ? 1 : 3, cut ? .01 : .3);
        keel_arena_free(&scratch);
        keel_fqe_close(fqe);
        keel_pool_close(pool);
    }
}

/* Each conversation is one step, whose reward is the number of its state. */
static void what_does_not_fit_is_thinned_by_conversation(void **state) {
    (void)state;
    enum { N = 4000 };
    const double even[PAIRS] = {0};
    keel_fqe_config config = tabular_fit_config(2);
    const keel_qnet_shape shape = tabular_shape(false);
    keel_fqe *fqe;
    config.memory = 100000;
    assert_int_equal(keel_fqe_open(&fqe, &config, &shape, NULL), KEEL_OK);
    for (size_t i = 0; i < N; ++i)
        episodes[i] = (episode){1, {{.state = i % 7 % STATES, .reward = (double)(i % 7), .end = true}}};
    tabular_add(fqe, even, episodes, N, false);
    assert_in_range(keel_fqe_count(fqe), N / 40, N / 4);
    keel_pool *pool = open_pool(1);
    assert_int_equal(keel_fqe_fit(fqe, pool, NULL), KEEL_OK);
    for (size_t s = 0; s < 7; ++s) check(tabular_q(fqe, even, s, s, 0, false, NULL), (double)s, .1);
    keel_pool_close(pool);
    keel_fqe_close(fqe);
}

static void what_diverges_is_told(void **state) {
    (void)state;
    tabular t = tabular_make(6, .9, .6);
    keel_fqe_config config = tabular_fit_config(2);
    const keel_qnet_shape shape = tabular_shape(false);
    keel_fqe *fqe;
    keel_err err = {0};
    keel_pool *pool = open_pool(1);
    tabular_play(&t, 6, episodes, 20);
    episodes[3].steps[0].reward = 1e300;
    assert_int_equal(keel_fqe_open(&fqe, &config, &shape, NULL), KEEL_OK);
    tabular_add(fqe, t.policy, episodes, 20, false);
    assert_int_equal(keel_fqe_fit(fqe, pool, &err), KEEL_E_DIVERGED);
    keel_fqe_close(fqe);
    config.folds = 0;
    assert_int_equal(keel_fqe_open(&fqe, &config, &shape, &err), KEEL_E_INVALID);
    keel_pool_close(pool);
    keel_mdp_close(&t.mdp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_of_a_loss_comes_out),
        cmocka_unit_test(the_chain_has_its_fixed_point),
        cmocka_unit_test(it_finds_the_exact_values_of_random_processes),
        cmocka_unit_test(it_finds_what_a_table_finds_on_the_same_log),
        cmocka_unit_test(the_policys_value_is_found_not_the_behaviours),
        cmocka_unit_test(what_judges_a_conversation_has_not_seen_it),
        cmocka_unit_test(a_fold_without_others_is_not_judged),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(a_step_that_was_cut_off_teaches_nothing),
        cmocka_unit_test(what_does_not_fit_is_thinned_by_conversation),
        cmocka_unit_test(what_diverges_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
