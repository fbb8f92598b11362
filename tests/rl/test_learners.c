/* Each learner's loss against golden values and plain formulas, its gradient against differences of the loss.
 * The defects that peers have had in these losses (an action set that is not the state's own, the data's Q
 * not subtracted, a division inside the logarithm, fractions of rewards lost, actions ignored by the
 * likelihood, bootstrapping at the end) each move a number here. */
#include "core/options_internal.h"
#include "rl/batch.h"

#include <math.h>

typedef struct fixture {
    keel_pool *pool;
    keel_learner learner;
    own_batch own;
} fixture;

static fixture f;

static void open_with(const keel_learner_config *config, const keel_qnet_shape *shape) {
    keel_err err = {0};
    memset(&f, 0, sizeof f);
    f.pool = open_pool(1);
    if (keel_learner_open(&f.learner, config, shape, NULL, f.pool, &err) != KEEL_OK)
        fail_msg("%s", err.message);
}

static void tear_down(void) {
    keel_learner_close(&f.learner);
    keel_pool_close(f.pool);
}

static void near(double got, double expected) {
    if (!(fabs(got - expected) <= 1e-6 * fmax(1, fabs(expected))))
        fail_msg("expected %.12g, got %.12g", expected, got);
}

/* ---- gradients ---- */

static void fill_priors(float *prior, const int32_t *offsets, size_t n, size_t acts) {
    for (size_t i = 0; i < (offsets ? (size_t)offsets[n] : n * acts); ++i) prior[i] = -0.3f * (float)(i % 3);
}

/* Every parameter's gradient at one place. A nudge of the multiplier moves the loss one way and is meant to
 * move the multiplier the other. */
static void check_gradient(const keel_learner_config *config, bool sets) {
    static float prior[MAX_ROWS * MAX_SET], gradient[1 << 15];
    static uint8_t declines[MAX_ROWS * MAX_SET];
    keel_qnet_shape shape = shape_of(config, sets, 4, (size_t)config->critics);
    shape.cost = keel_learner_kind_of(config->algorithm)->cost && config->quantiles == 1;
    for (size_t i = 0; i < sizeof declines; ++i) declines[i] = i % 3 == 0;
    open_with(config, &shape);
    random_batch(&f.own, 3, 40, 4, sets);
    memset(f.own.bootstrap, 0, sizeof f.own.bootstrap); /* targets are given, not differentiated */
    fill_priors(prior, sets ? f.own.next_offsets : NULL, 40, 4);
    f.own.batch.next_log_prior = prior;
    f.own.batch.declines = declines;
    gradient_of(&f.learner, &f.own);
    const keel_params *params = &f.learner.params;
    assert_true(params->size <= sizeof gradient / sizeof *gradient);
    memcpy(gradient, f.learner.grads, params->size * sizeof *gradient);
    for (size_t p = 0; p < params->count; ++p) {
        size_t i = params->offset[p] + (7 * p) % (params->table[p].rows * params->table[p].cols);
        const float old = params->data[i], h = 4e-3f;
        params->data[i] = old + h;
        double high = gradient_of(&f.learner, &f.own).total;
        params->data[i] = old - h;
        double low = gradient_of(&f.learner, &f.own).total;
        params->data[i] = old;
        double expected = (high - low) / (2 * (double)h), got = (double)gradient[i];
        if (f.learner.extras.n_scalars && i == f.learner.scalar[0]) expected = -expected;
        if (fabs(got - expected) > 2e-3 + 0.02 * fabs(expected))
            fail_msg("%s %s: expected %g, got %g", keel_algorithms[config->algorithm], params->table[p].name,
                     expected, got);
    }
    tear_down();
}

static void every_gradient_agrees_with_finite_differences_of_the_loss(void **state) {
    (void)state;
    static const char *const variants[][3] = {{"bcq", "support_by", "learned"},
                                              {"awac", "alpha", "0.5"},
                                              {"cql", "quantiles", "5"},
                                              {"cql-lagrange", "lagrange_start", "0.5"},
                                              {"dqn", "td_loss", "square"}};
    for (int algorithm = 0; algorithm < KEEL_N_LEARNERS; ++algorithm)
        for (int sets = 0; sets < 2; ++sets) {
            keel_learner_config config = config_of("keel", keel_algorithms[algorithm]);
            /* Weights of cloning are given, not differentiated. */
            keel_learner_set(&config, "temperature", "1000", NULL);
            check_gradient(&config, sets);
            for (size_t v = 0; v < sizeof variants / sizeof *variants; ++v)
                if (strcmp(variants[v][0], keel_algorithms[algorithm]) == 0)
                    set(&config, variants[v][1], variants[v][2]);
            check_gradient(&config, sets);
        }
}

/* ---- tables: networks without hidden layers over one-hot states ---- */

static keel_learner_config table_config(const char *algorithm, double gamma) {
    keel_learner_config config = config_of("keel", algorithm);
    config.vector_heads = false;
    config.gamma = gamma;
    config.critics = 1;
    config.weight[0] = 1, config.weight[1] = config.weight[2] = 0;
    return config;
}

static void open_tables(const keel_learner_config *config, size_t acts) {
    keel_qnet_shape shape = shape_of(config, false, acts, (size_t)config->critics);
    shape.hidden.count = 0;
    open_with(config, &shape);
    memset(f.learner.params.data, 0, f.learner.params.size * sizeof(float));
    memset(f.learner.target, 0, f.learner.params.size * sizeof(float));
}

/* One state's values in a network's table, of a block laid out as the learner's. */
static void put(const keel_qnet *net, float *block, size_t critic, size_t s, const float *values, size_t n) {
    for (size_t o = 0; o < n; ++o) block[net->params.offset[2 * critic] + o * DIM + s] = values[o];
}

static void put_row(size_t i, size_t s, int32_t action, float reward, int next) {
    f.own.state[i * DIM + s] = 1;
    f.own.action[i] = action;
    f.own.reward[i * KEEL_N_REWARDS] = reward;
    f.own.present[i * KEEL_N_REWARDS] = f.own.usable[i] = 1;
    f.own.bootstrap[i] = next >= 0;
    for (size_t d = 0; next < 0 && d < DIM; ++d) f.own.next_state[i * DIM + d] = NAN;
    if (next >= 0) f.own.next_state[i * DIM + (size_t)next] = 1;
    point(&f.own, i + 1);
}

/* G1 of the reference: state 0, act 1, reward 0.5, then state 1. */
static void open_g1(const keel_learner_config *config) {
    static const float online[2][3] = {{1, 2, 3}, {0.2f, 0.9f, 0.4f}}, target[3] = {0.5f, 0.3f, 0.8f};
    open_tables(config, 3);
    for (size_t s = 0; s < 2; ++s) put(&f.learner.net, f.learner.params.data, 0, s, online[s], 3);
    put(&f.learner.net, f.learner.target, 0, 1, target, 3);
    put_row(0, 0, 1, 0.5f, 1);
}

static double huber(double d) {
    return fabs(d) < 1 ? 0.5 * d * d : fabs(d) - 0.5;
}

/* ---- CQL with a Lagrange multiplier: the reference's 2.2 and 2.3 ---- */

static void the_lagrange_term_and_its_multiplier_move_apart(void **state) {
    (void)state;
    const double gap = 1.4076059644443806;
    static const double cases[][3] = {{5, 10, 0},
                                      {5, 1, 1}}; /* d3rlpy's and young-geng's weight, gap, start */
    for (size_t i = 0; i < 2; ++i) {
        keel_learner_config config = table_config("cql-lagrange", 0.9);
        keel_learner_set_number(&config, "alpha", cases[i][0], NULL);
        keel_learner_set_number(&config, "lagrange_threshold", cases[i][1], NULL);
        open_g1(&config);
        f.learner.params.data[f.learner.scalar[0]] = (float)cases[i][2];
        keel_loss_parts parts = gradient_of(&f.learner, &f.own);
        double term = exp(cases[i][2]) * cases[i][0] * (gap - cases[i][1]);
        near(parts.total, 0.73 + term);
        near((double)f.learner.grads[f.learner.scalar[0]], -term);
        float before = f.learner.params.data[f.learner.scalar[0]];
        step_of(&f.learner, &f.own);
        /* A gap below the threshold lowers the weight, one above raises it. */
        assert_true((f.learner.params.data[f.learner.scalar[0]] > before) == (gap > cases[i][1]));
        tear_down();
    }
}

/* ---- G3: ILQL ---- */

static void open_g3(const char *algorithm, int td_loss) {
    static const float q[2][2][3] = {{{.5f, .1f, -.2f}, {.3f, .9f, 0}}, {{.4f, .2f, -.1f}, {.2f, .7f, .1f}}},
                       targets[2][2][3] = {{{.45f, .1f, -.2f}, {.3f, .8f, 0}},
                                           {{.35f, .2f, -.1f}, {.2f, .85f, .1f}}},
                       v[3] = {.1f, .2f, 0};
    keel_learner_config config = table_config(algorithm, 0.99);
    config.critics = 2;
    config.td_loss = td_loss;
    open_tables(&config, 3);
    for (size_t c = 0; c < 2; ++c)
        for (size_t s = 0; s < 2; ++s) {
            put(&f.learner.net, f.learner.params.data, c, s, q[c][s], 3);
            put(&f.learner.net, f.learner.target, c, s, targets[c][s], 3);
        }
    for (size_t s = 0; s < 3; ++s) put(&f.learner.extra[0], f.learner.params.data, 0, s, &v[s], 1);
    put_row(0, 0, 0, 0, 1);
    put_row(1, 1, 1, 1, -1);
}

static void g3_ilql_comes_out(void **state) {
    (void)state;
    open_g3("ilql", KEEL_TD_SQUARE);
    keel_loss_parts parts = gradient_of(&f.learner, &f.own);
    near(parts.td, 0.116004);
    near(parts.own[0], 0.147875);
    near(parts.conservative, 1.5488870604248264);
    near(parts.total, 0.4187677060424827);
    tear_down();
    open_g3("iql", KEEL_TD_HALF_SQUARE); /* LMRL-Gym's temporal difference is half of it */
    parts = gradient_of(&f.learner, &f.own);
    near(parts.td, 0.058002);
    near(parts.total, 0.058002 + 0.147875);
    tear_down();
}

static void the_value_network_weighs_what_lies_above_it_by_the_expectile(void **state) {
    (void)state;
    open_g3("iql", KEEL_TD_SQUARE);
    const float low = 0.5f; /* above Qhat of state 0, so that its side changes */
    put(&f.learner.extra[0], f.learner.params.data, 0, 0, &low, 1);
    keel_loss_parts parts = gradient_of(&f.learner, &f.own);
    near(parts.own[0], (0.3 * 0.15 * 0.15 + 0.7 * 0.36) / 2);
    tear_down();
}

/* ---- cloning ---- */

static double surprise(const double logits[3], int32_t action) {
    return log(exp(logits[0]) + exp(logits[1]) + exp(logits[2])) - logits[action];
}

static void cloning_goes_by_the_act_that_was_taken(void **state) {
    (void)state;
    static const double logits[3] = {1, 2, 3};
    keel_learner_config config = table_config("bc", 0.9);
    open_g1(&config);
    for (int32_t action = 0; action < 3; ++action) {
        f.own.action[0] = action;
        near(gradient_of(&f.learner, &f.own).total, surprise(logits, action));
        for (size_t o = 0; o < 3; ++o) {
            double pi = exp(logits[o] - surprise(logits, 0) - logits[0]);
            near((double)f.learner.grads[o * DIM], pi - (o == (size_t)action));
        }
    }
    tear_down();
}

/* pi(s) and pi(s') by logits; Q(s) = (1, 2, 3), Qbar(s') = (.5, .3, .8). */
static keel_loss_parts awac_loss(const char *cloning, const char *limit, int32_t action) {
    static const float here[3] = {0.5f, 0, -0.5f}, next[3] = {1, 0, 0};
    keel_learner_config config = table_config("awac", 0.9);
    set(&config, "cloning", cloning);
    set(&config, "temperature", "2");
    set(&config, "weight_limit", limit);
    open_g1(&config);
    put(&f.learner.extra[0], f.learner.params.data, 0, 0, here, 3);
    put(&f.learner.extra[0], f.learner.params.data, 0, 1, next, 3);
    f.own.action[0] = action;
    keel_loss_parts parts = gradient_of(&f.learner, &f.own);
    tear_down();
    return parts;
}

static void awac_clones_by_advantage_and_bootstraps_from_the_actors_mean(void **state) {
    (void)state;
    static const double logits[3] = {0.5, 0, -0.5};
    double mean = 0, norm = exp(0.5) + 1 + exp(-0.5);
    for (int a = 0; a < 3; ++a) mean += exp(logits[a]) / norm * (a + 1);
    double y = 0.5 + 0.9 * (exp(1) * 0.5 + 0.3 + 0.8) / (exp(1) + 2);
    for (int32_t a = 0; a < 3; ++a) {
        double advantage = a + 1 - mean;
        keel_loss_parts parts = awac_loss("exp", "20", a);
        near(parts.td, huber(a + 1 - y));
        near(parts.own[0], exp(advantage / 2) * surprise(logits, a));
        near(parts.total, parts.td + parts.own[0]);
        near(awac_loss("exp", "0.5", a).own[0], fmin(exp(advantage / 2), 0.5) * surprise(logits, a));
        near(awac_loss("binary", "20", a).own[0], advantage > 0 ? surprise(logits, a) : 0);
    }
}

/* ---- BCQ ---- */

static void bcq_looks_ahead_only_at_what_the_behaviour_supports(void **state) {
    (void)state;
    static const float narrow[3] = {-1, -2.3f, -1.1f}, wide[3] = {-1, -2.1f, -1.1f}; /* log 0.3 = -1.204 */
    keel_err err = {0};
    keel_loss_parts parts;
    for (int learned = 0; learned < 2; ++learned) {
        keel_learner_config config = table_config("bcq", 0.9);
        set(&config, "support_by", learned ? "learned" : "base");
        open_g1(&config);
        for (int open = 0; open < 2; ++open) {
            const float *prior = open ? wide : narrow;
            if (learned)
                put(&f.learner.extra[0], f.learner.params.data, 0, 1, prior, 3);
            else
                f.own.batch.next_log_prior = prior;
            /* Act 1 is the online network's best; without it act 2: y = 0.77 or 1.22. */
            near(gradient_of(&f.learner, &f.own).td, open ? 0.73 : 0.3042);
        }
        f.own.batch.next_log_prior = NULL;
        assert_int_equal(keel_learner_gradient(&f.learner, &f.own.batch, &parts, &err),
                         learned ? KEEL_OK : KEEL_E_USAGE);
        tear_down();
    }
}

/* ---- quantiles ---- */

enum { QUANTILES = 7 };

static double plain_quantiles(const float *theta, const float *y) {
    double sum = 0;
    for (int j = 0; j < QUANTILES; ++j)
        for (int i = 0; i < QUANTILES; ++i) {
            double u = (double)y[i] - (double)theta[j], tau = (j + 0.5) / QUANTILES;
            sum += fabs(tau - (u < 0)) * huber(u) / QUANTILES;
        }
    return sum;
}

static void quantiles_are_regressed_on_those_of_the_best_next_act(void **state) {
    (void)state;
    static float theta[3 * QUANTILES], next[3 * QUANTILES], y[QUANTILES];
    keel_rng rng = keel_rng_named(1, "quantiles", 0);
    keel_learner_config config = table_config("dqn", 0.9);
    config.quantiles = QUANTILES;
    for (int round = 0; round < 20; ++round) {
        open_tables(&config, 3);
        fill_normal(&rng, theta, 3 * QUANTILES);
        fill_normal(&rng, next, 3 * QUANTILES);
        put(&f.learner.net, f.learner.params.data, 0, 0, theta, 3 * QUANTILES);
        put(&f.learner.net, f.learner.params.data, 0, 1, next, 3 * QUANTILES);
        for (int j = 0; j < 3 * QUANTILES; ++j) next[j] += 0.1f * (float)(j % 5);
        put(&f.learner.net, f.learner.target, 0, 1, next, 3 * QUANTILES);
        put_row(0, 0, 1, 0.5f, 1);
        int best = 0;
        double mean[3] = {0};
        for (int a = 0; a < 3; ++a) {
            for (int j = 0; j < QUANTILES; ++j)
                mean[a] += (double)f.learner.params.data[(size_t)(j * 3 + a) * DIM + 1];
            if (mean[a] > mean[best]) best = a;
        }
        for (int j = 0; j < QUANTILES; ++j) y[j] = 0.5f + 0.9f * next[j * 3 + best];
        float taken[QUANTILES];
        for (int j = 0; j < QUANTILES; ++j) taken[j] = theta[j * 3 + 1];
        near(gradient_of(&f.learner, &f.own).td, plain_quantiles(taken, y));
        tear_down();
    }
}

/* ---- the cost of harm ---- */

/* The next act is the best one by Q, and its cost is the most that a critic says of it, never below 0. */
static void the_cost_looks_ahead_to_what_q_would_take(void **state) {
    (void)state;
    static const float q[6] = {0, 2, 1, 9, 0.3f, -5}, other[6] = {0, 2, 1, 9, 0.4f, -5},
                       none[6] = {0, 2, 1, 9, -1, 3};
    keel_learner_config config = table_config("cql", 0.9);
    config.critics = 2;
    set(&config, "alpha", "0");
    set(&config, "cost_pessimism", "0");
    keel_qnet_shape shape = shape_of(&config, false, 3, 2);
    shape.hidden.count = 0;
    shape.cost = true;
    open_with(&config, &shape);
    memset(f.learner.params.data, 0, f.learner.params.size * sizeof(float));
    memset(f.learner.target, 0, f.learner.params.size * sizeof(float));
    for (size_t c = 0; c < 2; ++c) put(&f.learner.net, f.learner.params.data, c, 1, q, 3);
    put(&f.learner.net, f.learner.target, 0, 1, q, 6);
    put(&f.learner.net, f.learner.target, 1, 1, other, 6);
    put_row(0, 0, 1, 0, 1);
    f.own.reward[KEEL_SAFETY] = -0.25f;
    f.own.present[KEEL_SAFETY] = 1;
    near(gradient_of(&f.learner, &f.own).td_cost,
         2 * huber(0.25 + 0.9 * 0.4)); /* of two critics, both at 0 */
    for (size_t c = 0; c < 2; ++c) put(&f.learner.net, f.learner.target, c, 1, none, 6);
    near(gradient_of(&f.learner, &f.own).td_cost, 2 * huber(0.25));
    uint8_t declines[3] = {0, 1, 0};
    f.own.batch.declines = declines;
    near(gradient_of(&f.learner, &f.own).td_cost, 0); /* whatever follows */
    tear_down();
}

/* Q alone would take act 1, Q - 10 C takes act 2, which costs nothing. */
static void under_a_multiplier_targets_take_what_it_leaves(void **state) {
    (void)state;
    static const float q[6] = {0, 2, 1, 9, 0.3f, -5};
    keel_learner_config config = table_config("cql-constrained", 0.9);
    set(&config, "alpha", "0");
    set(&config, "cost_pessimism", "0");
    set(&config, "multiplier_start", "10");
    keel_qnet_shape shape = shape_of(&config, false, 3, 1);
    shape.hidden.count = 0;
    shape.cost = true;
    open_with(&config, &shape);
    const float start = f.learner.params.data[f.learner.scalar[0]];
    memset(f.learner.params.data, 0, f.learner.params.size * sizeof(float));
    memset(f.learner.target, 0, f.learner.params.size * sizeof(float));
    f.learner.params.data[f.learner.scalar[0]] = start;
    put(&f.learner.net, f.learner.params.data, 0, 1, q, 6);
    put(&f.learner.net, f.learner.target, 0, 1, q, 6);
    put_row(0, 0, 1, 0, 1);
    f.own.present[KEEL_SAFETY] = 1;
    keel_loss_parts parts = gradient_of(&f.learner, &f.own);
    near(parts.td, huber(0.9));
    near(parts.td_cost, 0);
    f.learner.params.data[f.learner.scalar[0]] = 0;
    parts = gradient_of(&f.learner, &f.own);
    near(parts.td, huber(1.8));
    near(parts.td_cost, huber(0.9 * 0.3));
    tear_down();
}

/* ---- ensembles ---- */

static void targets_take_the_least_or_the_mean_of_the_critics(void **state) {
    (void)state;
    static const float two[2][3] = {{0.5f, 0.3f, 0.8f}, {0.5f, 0.7f, 0.8f}};
    for (int ensemble = 0; ensemble < 2; ++ensemble) {
        keel_learner_config config = table_config("dqn", 0.9);
        config.critics = 2;
        config.ensemble = ensemble;
        open_g1(&config);
        for (size_t c = 0; c < 2; ++c) put(&f.learner.net, f.learner.target, c, 1, two[c], 3);
        double y = 0.5 + 0.9 * (ensemble == KEEL_ENSEMBLE_MIN ? 0.3 : 0.5);
        near(gradient_of(&f.learner, &f.own).td, huber(2 - y) + huber(y)); /* the second critic's Q is 0 */
        tear_down();
    }
}

/* ---- what does not go together ---- */

static void what_a_learner_has_no_use_for_is_no_key_of_it(void **state) {
    (void)state;
    static const struct {
        const char *algorithm, *key, *value;
        bool taken;
    } cases[] = {{"iql", "quantiles", "10", false},      {"awac", "quantiles", "10", false},
                 {"bc", "quantiles", "10", false},       {"bcq", "quantiles", "10", true},
                 {"iql", "alpha", "0.5", false},         {"bcq", "alpha", "0.5", false},
                 {"dqn", "alpha", "0.5", false},         {"bc", "alpha", "1", false},
                 {"ilql", "alpha", "0", true},           {"cql", "alpha", "0", true},
                 {"cql-lagrange", "alpha", "0", false},  {"cql", "expectile", "0.9", false},
                 {"bc", "vector_heads", "false", false}, {"bc", "conditioned", "true", false},
                 {"filtered-bc", "tau", "1", false},     {"filtered-bc", "keep_top", "20", true},
                 {"awac", "kl_budget", "1", false},      {"bcq", "kl_budget", "1", true},
                 {"cql", "lagrange_start", "0", false},  {"dqn", "support", "0.3", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        keel_err err = {0};
        keel_learner_config config = config_of("keel", cases[i].algorithm), before = config;
        keel_status status = keel_learner_set(&config, cases[i].key, cases[i].value, &err);
        if ((status == KEEL_OK) != cases[i].taken) fail_msg("%s of %s", cases[i].key, cases[i].algorithm);
        if (cases[i].taken) continue;
        assert_non_null(strstr(err.message, cases[i].key));
        assert_memory_equal(&config, &before, sizeof config);
    }
}

static void quantiles_go_with_hubers_loss_alone(void **state) {
    (void)state;
    keel_err err = {0};
    keel_learner_config config = config_of("keel", "cql");
    set(&config, "quantiles", "10");
    assert_int_equal(keel_learner_check(&config, &err), KEEL_OK);
    set(&config, "td_loss", "square");
    assert_int_equal(keel_learner_check(&config, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "huber"));
}

/* What is recorded of a run is what its learner takes, and comes back as it was. */
static void a_configuration_has_the_common_keys_and_its_own(void **state) {
    (void)state;
    for (int a = 0; a < KEEL_N_LEARNERS; ++a) {
        keel_learner_config config = config_of("keel", keel_algorithms[a]), again;
        const keel_option *table = keel_learner_options(a);
        memcpy(&again, &config, sizeof again);
        cJSON *json = keel_options_to_json(table, &config);
        for (const keel_option *row = keel_learner_common_options; row->key; ++row)
            assert_non_null(cJSON_GetObjectItemCaseSensitive(json, row->key));
        for (const keel_option *row = table; row->key; ++row)
            for (const keel_option *other = row + 1; other->key; ++other)
                assert_string_not_equal(row->key, other->key);
        assert_int_equal(keel_options_json(table, &again, json, "test", NULL), KEEL_OK);
        assert_memory_equal(&again, &config, sizeof config);
        assert_string_equal(cJSON_GetObjectItemCaseSensitive(json, "algorithm")->valuestring,
                            keel_algorithms[a]);
        cJSON_Delete(json);
    }
}

static keel_status clip_row(void *context, size_t shard, float *gradient, size_t size, keel_err *err) {
    const double limit = *(double *)context;
    double squares = 0;
    (void)shard, (void)err;
    for (size_t i = 0; i < size; ++i) squares += (double)gradient[i] * (double)gradient[i];
    for (size_t i = 0; squares > limit * limit && i < size; ++i)
        gradient[i] *= (float)(limit / sqrt(squares));
    return KEEL_OK;
}

/* With shards of one row, the gradient of no transition counts for more than the limit. */
static void a_filter_bounds_what_each_transition_changes(void **state) {
    (void)state;
    double limit = 1e-4;
    keel_learner_config config = config_of("keel", "cql");
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    config.shard_rows = 1;
    open_with(&config, &shape);
    random_batch(&f.own, 5, 20, 4, false);
    assert_true(gradient_of(&f.learner, &f.own).gradient_norm > 20 * limit);
    keel_learner_filter(&f.learner, clip_row, &limit);
    assert_true(gradient_of(&f.learner, &f.own).gradient_norm <= 20 * limit * 1.001);
    tear_down();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_agrees_with_finite_differences_of_the_loss),
        cmocka_unit_test(the_lagrange_term_and_its_multiplier_move_apart),
        cmocka_unit_test(g3_ilql_comes_out),
        cmocka_unit_test(the_value_network_weighs_what_lies_above_it_by_the_expectile),
        cmocka_unit_test(cloning_goes_by_the_act_that_was_taken),
        cmocka_unit_test(awac_clones_by_advantage_and_bootstraps_from_the_actors_mean),
        cmocka_unit_test(bcq_looks_ahead_only_at_what_the_behaviour_supports),
        cmocka_unit_test(quantiles_are_regressed_on_those_of_the_best_next_act),
        cmocka_unit_test(the_cost_looks_ahead_to_what_q_would_take),
        cmocka_unit_test(under_a_multiplier_targets_take_what_it_leaves),
        cmocka_unit_test(targets_take_the_least_or_the_mean_of_the_critics),
        cmocka_unit_test(what_a_learner_has_no_use_for_is_no_key_of_it),
        cmocka_unit_test(quantiles_go_with_hubers_loss_alone),
        cmocka_unit_test(a_configuration_has_the_common_keys_and_its_own),
        cmocka_unit_test(a_filter_bounds_what_each_transition_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
