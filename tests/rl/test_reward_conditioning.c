/* One policy for many weightings: its loss is that of fixed weights row by row, its weights come from a
 * Dirichlet distribution, and on a process whose best acts depend on them it finds each. */
#include "rl/batch.h"

#include <math.h>

#include "core/memory.h"
#include "policies/weighting.h"
#include "rl/learn/reward_conditioning.h"

enum { WIDE = DIM + KEEL_N_REWARDS };

static keel_learner_config conditioned(const char *algorithm) {
    keel_learner_config config = config_of("keel", algorithm);
    config.conditioned = true;
    return config;
}

static keel_learner open_learner(const keel_learner_config *config, const keel_qnet_shape *shape,
                                 const double *coverage, keel_pool *pool) {
    keel_learner learner;
    keel_err err = {0};
    if (keel_learner_open(&learner, config, shape, coverage, pool, &err) != KEEL_OK)
        fail_msg("%s", err.message);
    return learner;
}

static void near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance)) fail_msg("expected %.9g, got %.9g", expected, got);
}

/* ---- the loss ---- */

/* Row i alone, seen by a learner of one weighting: its states hold the weights already. */
static double row_loss(const keel_learner *many, const keel_learner_config *config, bool sets,
                       const own_batch *own, size_t i, const float *weight, keel_pool *pool) {
    keel_learner_config fixed = *config;
    keel_qnet_shape shape = shape_of(config, sets, 4, (size_t)config->critics);
    float state[WIDE], next[WIDE];
    keel_loss_parts parts;
    fixed.conditioned = false;
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k) fixed.weight[k] = (double)weight[k];
    shape.state_dim = WIDE;
    keel_learner one = open_learner(&fixed, &shape, NULL, pool);
    memcpy(one.params.data, many->params.data, one.params.size * sizeof(float));
    memcpy(one.target, many->target, one.params.size * sizeof(float));
    keel_weighting_extend(own->state + i * DIM, weight, DIM, state);
    keel_weighting_extend(own->next_state + i * DIM, weight, DIM, next);
    keel_batch row = own->batch;
    row.n = 1;
    row.state = state;
    row.next_state = next;
    row.action += i;
    row.reward += i * KEEL_N_REWARDS;
    row.present += i * KEEL_N_REWARDS;
    row.bootstrap += i;
    row.usable += i;
    row.offsets += i;
    row.next_offsets += i;
    row.next_log_prior = row.next_log_prior ? row.next_log_prior + (sets ? 0 : 4 * i) : NULL;
    assert_int_equal(keel_learner_gradient(&one, &row, &parts, NULL), KEEL_OK);
    keel_learner_close(&one);
    return parts.total;
}

static void check_rows(const keel_learner_config *config, bool sets, keel_pool *pool) {
    static own_batch own;
    static float prior[MAX_ROWS * MAX_SET];
    float weight[24 * KEEL_N_REWARDS];
    keel_qnet_shape shape = shape_of(config, sets, 4, (size_t)config->critics);
    keel_rng rng = keel_rng_named(4, "test weights", 0);
    keel_learner many = open_learner(config, &shape, NULL, pool);
    double sum = 0;
    random_batch(&own, 9, 24, 4, sets);
    for (size_t i = 0; i < MAX_ROWS * MAX_SET; ++i) prior[i] = -0.1f * (float)(i % 3);
    own.batch.next_log_prior = prior;
    for (size_t i = 0; i < many.params.size; ++i) many.target[i] += 0.3f * (float)keel_rng_normal(&rng);
    for (size_t i = 0; i < 24; ++i) {
        float *w = weight + i * KEEL_N_REWARDS;
        w[0] = 0.25f * (float)(i % 5);
        w[1] = (1 - w[0]) / 2;
        w[2] = 1 - w[0] - w[1];
        sum += row_loss(&many, config, sets, &own, i, w, pool);
    }
    own.batch.weight = weight;
    near(gradient_of(&many, &own).total, sum / 24, 1e-5 * fmax(1, sum / 24));
    keel_learner_close(&many);
}

static void each_row_is_learned_from_as_under_fixed_weights_of_its_own(void **state) {
    (void)state;
    static const char *const algorithms[] = {"cql", "dqn", "cql-lagrange", "iql", "ilql", "awac", "bcq"};
    keel_pool *pool = open_pool(1);
    for (size_t a = 0; a < sizeof algorithms / sizeof *algorithms; ++a)
        for (int sets = 0; sets < 2; ++sets) {
            keel_learner_config config = conditioned(algorithms[a]);
            if (strcmp(algorithms[a], "bcq") == 0 && sets)
                set(&config, "support", "1e-9"); /* the sets' priors begin elsewhere */
            check_rows(&config, sets, pool);
            if (keel_learner_set(&config, "quantiles", "5", NULL) != KEEL_OK) continue;
            check_rows(&config, sets, pool);
        }
    keel_pool_close(pool);
}

/* ---- the draws ---- */

static void weights_are_dirichlet_over_what_was_logged(void **state) {
    (void)state;
    enum { STEPS = 400 };
    static own_batch own;
    static const double concentration[] = {2, 5, 1}, expected[] = {2.0 / 3, 0, 1.0 / 3},
                        coverage[] = {1, 0, 0.1};
    keel_pool *pool = open_pool(1);
    keel_learner_config config = conditioned("cql");
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    keel_arena arena = {0};
    double sum[KEEL_N_REWARDS] = {0}, squares = 0, n = STEPS * MAX_ROWS;
    memcpy(config.concentration, concentration, sizeof concentration);
    keel_learner learner = open_learner(&config, &shape, coverage, pool);
    random_batch(&own, 1, MAX_ROWS, 4, false);
    for (learner.step = 0; learner.step < STEPS; ++learner.step) {
        keel_batch drawn;
        assert_int_equal(keel_reward_conditioning_batch(&learner, &own.batch, &arena, &drawn, NULL), KEEL_OK);
        for (size_t i = 0; i < MAX_ROWS; ++i) {
            const float *w = drawn.weight + i * KEEL_N_REWARDS;
            assert_true(w[1] == 0.0f);
            near((double)w[0] + (double)w[2], 1, 1e-6);
            assert_memory_equal(drawn.state + i * WIDE, own.state + i * DIM, DIM * sizeof(float));
            assert_memory_equal(drawn.next_state + i * WIDE + DIM, w, KEEL_N_REWARDS * sizeof(float));
            for (int k = 0; k < KEEL_N_REWARDS; ++k) sum[k] += (double)w[k];
            squares += (double)w[0] * (double)w[0];
        }
    }
    const double variance = 2.0 / 36; /* a (A - a) / (A^2 (A + 1)) of Dirichlet(2, 1) */
    for (int k = 0; k < KEEL_N_REWARDS; ++k) near(sum[k] / n, expected[k], 4 * sqrt(variance / n));
    near(squares / n - sum[0] / n * (sum[0] / n), variance, 0.002);
    keel_learner_close(&learner);
    keel_arena_free(&arena);
    keel_pool_close(pool);
}

static void run_steps(size_t threads, float *out, size_t room) {
    static own_batch own;
    keel_pool *pool = open_pool(threads);
    keel_learner_config config = conditioned("cql");
    keel_qnet_shape shape = shape_of(&config, true, 0, 1);
    keel_learner learner = open_learner(&config, &shape, NULL, pool);
    for (uint64_t i = 0; i < 10; ++i) {
        random_batch(&own, i, MAX_ROWS - (i % 2), 0, true);
        step_of(&learner, &own);
    }
    assert_true(learner.params.size <= room);
    memcpy(out, learner.params.data, learner.params.size * sizeof *out);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void the_bytes_do_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    enum { ROOM = 1 << 14 };
    static float one[ROOM], more[ROOM];
    run_steps(1, one, ROOM);
    for (size_t threads = 2; threads <= 8; threads *= 4) {
        run_steps(threads, more, ROOM);
        assert_memory_equal(one, more, sizeof one);
    }
}

static void what_cannot_be_weighed_is_said_before_training(void **state) {
    (void)state;
    static const struct {
        const char *algorithm, *message;
        double top, accuracy;
        bool vector;
    } cases[] = {{"cql", "vector_heads", 100, 0.6, false},
                 {"cql", "keep_top", 50, 0.6, true},
                 {"cql", "sum of 1, got 1.4", 100, 1, true}};
    keel_pool *pool = open_pool(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        keel_learner_config config = conditioned(cases[i].algorithm);
        keel_err err = {0};
        keel_learner learner;
        config.vector_heads = cases[i].vector;
        config.keep_top = cases[i].top;
        config.weight[KEEL_ACCURACY] = cases[i].accuracy;
        keel_qnet_shape shape = shape_of(&config, false, 4, 1);
        assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, &err), KEEL_E_INVALID);
        if (!strstr(err.message, cases[i].message)) fail_msg("\"%s\"", err.message);
    }
    keel_pool_close(pool);
}

/* ---- a process whose best acts depend on the weights ---- */

/* State 0: act 0 ends with what is fair to both; acts 1 and 2 go on to state 1, where act 0 ends with
 * accuracy and act 1 with speed, and act 2 with all the safety lost. So what going on is worth depends on how
 * one would go on then: on the weights. */
static const float paid[2][3][KEEL_N_REWARDS] = {{{0.6f, 0.6f, 0}, {0, 0, 0}, {-0.2f, -0.2f, 0}},
                                                 {{1, 0, 0}, {0, 1, 0}, {0.5f, 0.5f, -1}}};
static const double gamma_of = 0.9;

static void fill_process(own_batch *own) {
    memset(own, 0, sizeof *own);
    for (size_t i = 0; i < MAX_ROWS; ++i) {
        size_t s = i % 2, a = i / 2 % 3;
        bool goes_on = s == 0 && a > 0;
        own->state[i * DIM + s] = 1;
        own->next_state[i * DIM + 1] = 1;
        own->bootstrap[i] = goes_on;
        own->usable[i] = 1;
        own->action[i] = (int32_t)a;
        memcpy(own->reward + i * KEEL_N_REWARDS, paid[s][a], sizeof paid[s][a]);
    }
    memset(own->present, 1, sizeof own->present);
    point(own, MAX_ROWS);
}

static double worth(const double *w, const double *q) {
    return w[0] * q[0] + w[1] * q[1] + w[2] * q[2];
}

/* Exact Q_k of (s, a) under the best policy for w. */
static void exact(const double *w, size_t s, size_t a, double q[KEEL_N_REWARDS]) {
    double next[3][KEEL_N_REWARDS];
    size_t best = 0;
    for (int k = 0; k < KEEL_N_REWARDS; ++k) q[k] = (double)paid[s][a][k];
    if (s == 1 || a == 0) return;
    for (size_t b = 0; b < 3; ++b) {
        exact(w, 1, b, next[b]);
        if (worth(w, next[b]) > worth(w, next[best])) best = b;
    }
    for (int k = 0; k < KEEL_N_REWARDS; ++k) q[k] += gamma_of * next[best][k];
}

/* The learned values of a state under w, against the exact ones; returns the best act. */
static size_t check_state(const keel_learner *learner, const double *w, size_t s) {
    float state[WIDE] = {0}, q[9];
    keel_arena arena = {0};
    size_t best = 0, right = 0;
    double value[3], truth[3][KEEL_N_REWARDS];
    state[s] = 1;
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k) state[DIM + k] = (float)w[k];
    assert_int_equal(keel_qnet_infer(&learner->net, state, 1, q, NULL, &arena, NULL), KEEL_OK);
    for (size_t a = 0; a < 3; ++a) {
        const double of[] = {(double)q[a], (double)q[3 + a], (double)q[6 + a]};
        exact(w, s, a, truth[a]);
        value[a] = worth(w, of);
        near(value[a], worth(w, truth[a]), 0.06);
        if (value[a] > value[best]) best = a;
        if (worth(w, truth[a]) > worth(w, truth[right])) right = a;
    }
    assert_int_equal(best, right);
    keel_arena_free(&arena);
    return best;
}

static void every_weighting_finds_its_own_best_acts(void **state) {
    (void)state;
    static own_batch own;
    static const double w[][KEEL_N_REWARDS] = {
        {1, 0, 0}, {0, 1, 0}, {0.5, 0.5, 0}, {0.8, 0.1, 0.1}, {0.1, 0.8, 0.1}};
    static const size_t first[] = {1, 1, 0, 1, 1}, second[] = {0, 1, 0, 0, 1};
    keel_pool *pool = open_pool(1);
    keel_learner_config config = conditioned("dqn");
    keel_qnet_shape shape = shape_of(&config, false, 3, 1);
    config.gamma = gamma_of;
    config.tau = 0.05;
    config.learning_rate = 3e-3;
    config.steps = 4000;
    config.rate_decay = true;
    shape.hidden = (keel_int_list){2, {48, 48}};
    keel_learner learner = open_learner(&config, &shape, NULL, pool);
    fill_process(&own);
    for (int64_t i = 0; i < config.steps; ++i) step_of(&learner, &own);
    for (size_t i = 0; i < sizeof w / sizeof *w; ++i) {
        assert_int_equal(check_state(&learner, w[i], 0), first[i]);
        if (i != 2) assert_int_equal(check_state(&learner, w[i], 1), second[i]);
    }
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_is_learned_from_as_under_fixed_weights_of_its_own),
        cmocka_unit_test(weights_are_dirichlet_over_what_was_logged),
        cmocka_unit_test(the_bytes_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(what_cannot_be_weighed_is_said_before_training),
        cmocka_unit_test(every_weighting_finds_its_own_best_acts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
