/* What must hold of the learner whatever the numbers. */
#include "core/options_internal.h"
#include "rl/batch.h"

#include <math.h>
#include <stdlib.h>

#include "core/context.h"

/* ---- the gradient is the loss's ---- */

static void check_gradient(bool sets, size_t critics, const char *algorithm) {
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_learner_config config = config_of("keel", algorithm);
    keel_qnet_shape shape = shape_of(&config, sets, 4, critics);
    config.critics = (int64_t)critics;
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    random_batch(&own, 3, 40, 4, sets);
    memset(own.bootstrap, 0, sizeof own.bootstrap); /* targets jump where a nudge changes the argmax of s' */
    gradient_of(&learner, &own);
    const keel_params *params = &learner.net.params;
    float *gradient = malloc(params->size * sizeof *gradient);
    memcpy(gradient, learner.grads, params->size * sizeof *gradient);
    for (size_t p = 0; p < params->count; ++p) {
        size_t i = params->offset[p] + (7 * p) % (params->table[p].rows * params->table[p].cols);
        const float old = params->data[i], h = 4e-3f;
        params->data[i] = old + h;
        double high = gradient_of(&learner, &own).total;
        params->data[i] = old - h;
        double low = gradient_of(&learner, &own).total;
        params->data[i] = old;
        double expected = (high - low) / (2 * (double)h), got = (double)gradient[i];
        if (fabs(got - expected) > 2e-3 + 0.02 * fabs(expected))
            fail_msg("%s: expected %g, got %g", params->table[p].name, expected, got);
    }
    free(gradient);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void the_gradient_agrees_with_finite_differences_of_the_loss(void **state) {
    (void)state;
    check_gradient(false, 1, "cql");
    check_gradient(true, 1, "cql");
    check_gradient(false, 2, "cql");
    check_gradient(true, 2, "dqn");
    check_gradient(true, 1, "bc");
}

static double huber(double d) {
    return fabs(d) < 1 ? 0.5 * d * d : fabs(d) - 0.5;
}

/* What inference gives of rows: the critics' mean and minimum; of two critics the other is 2 mean - minimum.
 */
typedef struct plain_q {
    float mean[3 * MAX_ROWS * MAX_SET], least[3 * MAX_ROWS * MAX_SET];
} plain_q;

static double plain_q_w(const keel_learner *learner, const plain_q *q, int32_t row) {
    double sum = 0;
    for (int k = 0; k < 3; ++k) sum += learner->weight[k] * (double)q->mean[3 * row + k];
    return sum;
}

static double plain_row_loss(const keel_learner *learner, const own_batch *own, size_t i, const plain_q *here,
                             const plain_q *next, const plain_q *target) {
    int32_t at = own->offsets[i] + own->action[i], choice = -1;
    double loss = 0, sum = 0;
    for (int32_t r = own->next_offsets[i]; r < own->next_offsets[i + 1]; ++r)
        if (choice < 0 || plain_q_w(learner, next, r) > plain_q_w(learner, next, choice)) choice = r;
    for (int k = 0; k < 3; ++k) {
        double y = (double)own->reward[3 * i + (size_t)k], least = (double)here->least[3 * at + k];
        double most = 2 * (double)here->mean[3 * at + k] - least;
        if (choice >= 0) y += learner->config.gamma * (double)target->least[3 * choice + k];
        if (!own->present[3 * i + (size_t)k]) continue;
        loss += huber(least - y) + (learner->net.shape.critics > 1 ? huber(most - y) : 0);
    }
    for (int32_t r = own->offsets[i]; r < own->offsets[i + 1]; ++r) sum += exp(plain_q_w(learner, here, r));
    return loss + 0.1 * (log(sum) - plain_q_w(learner, here, at));
}

/* The loss over sets of one or two critics, written out plainly. */
static double plain_set_loss(const keel_learner *learner, const own_batch *own) {
    static plain_q here, next, target;
    keel_arena arena = {0};
    const keel_qnet *net = &learner->net;
    size_t n = own->batch.n, rows = (size_t)own->offsets[n], next_rows = (size_t)own->next_offsets[n];
    float *x = keel_arena_alloc(&arena, (rows + next_rows) * net->input_dim * sizeof *x);
    float *x_next = x + rows * net->input_dim;
    keel_qnet_rows(net, own->state, own->candidates, own->offsets, NULL, n, x);
    keel_qnet_rows(net, own->next_state, own->next_candidates, own->next_offsets, NULL, n, x_next);
    keel_qnet frozen = *net;
    frozen.params.data = learner->target;
    keel_qnet_infer(net, x, rows, here.mean, here.least, &arena, NULL);
    keel_qnet_infer(net, x_next, next_rows, next.mean, next.least, &arena, NULL);
    keel_qnet_infer(&frozen, x_next, next_rows, target.mean, target.least, &arena, NULL);
    double loss = 0;
    for (size_t i = 0; i < n; ++i) loss += plain_row_loss(learner, own, i, &here, &next, &target);
    keel_arena_free(&arena);
    return loss / (double)n;
}

static void check_set_loss(size_t critics) {
    static own_batch own;
    keel_pool *pool = open_pool(2);
    keel_learner learner;
    keel_learner_config config = config_of("keel", "cql");
    keel_qnet_shape shape = shape_of(&config, true, 0, critics);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    for (int i = 0; i < 5; ++i) {
        random_batch(&own, (uint64_t)i, 50, 0, true);
        own.present[7] = own.present[30] = 0;
        double expected = plain_set_loss(&learner, &own), got = step_of(&learner, &own).total;
        if (fabs(got - expected) > 1e-5 * fabs(expected)) fail_msg("expected %.9g, got %.9g", expected, got);
    }
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void the_loss_over_candidate_sets_is_the_formula(void **state) {
    (void)state;
    check_set_loss(1);
    check_set_loss(2);
}

/* ---- the same bytes, the same memory ---- */

static void run_steps(size_t threads, bool sets, double clip, unsigned char *out, size_t room) {
    static own_batch own;
    keel_pool *pool = open_pool(threads);
    keel_learner learner;
    keel_learner_config config = config_of("keel", "cql");
    config.dropout = 0.1;
    config.clip_norm = clip;
    keel_qnet_shape shape = shape_of(&config, sets, 4, 1);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    for (uint64_t i = 0; i < 20; ++i) {
        random_batch(&own, i, MAX_ROWS - (i % 2), 4, sets);
        step_of(&learner, &own);
    }
    size_t bytes = learner.net.params.size * sizeof(float);
    assert_true(2 * bytes <= room);
    memset(out, 0, room);
    memcpy(out, learner.net.params.data, bytes);
    memcpy(out + bytes, learner.target, bytes);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void the_bytes_do_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    static unsigned char one[1 << 16], many[1 << 16];
    for (int sets = 0; sets < 2; ++sets) {
        run_steps(1, sets, 0.05, one, sizeof one);
        run_steps(2, sets, 0.05, many, sizeof many);
        assert_memory_equal(one, many, sizeof one);
        run_steps(8, sets, 0.05, many, sizeof many);
        assert_memory_equal(one, many, sizeof one);
        run_steps(1, sets, 0, many, sizeof many);
        assert_memory_not_equal(one, many, sizeof one); /* clipping matters, so the comparison can fail */
    }
}

static size_t allocations;
static void *counting_resize(void *user, void *old, size_t bytes) {
    (void)user;
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return realloc(old, bytes);
}
static void counting_release(void *user, void *old) {
    (void)user;
    free(old);
}

static void check_allocations(bool sets) {
    static own_batch own;
    keel_pool *pool = open_pool(2);
    keel_learner learner;
    keel_learner_config config = config_of("keel", "cql");
    keel_qnet_shape shape = shape_of(&config, sets, 4, 2);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    random_batch(&own, 1, MAX_ROWS, 4, sets);
    for (int i = 0; i < 2; ++i) step_of(&learner, &own);
    allocations = 0;
    for (int i = 0; i < 100; ++i) step_of(&learner, &own);
    size_t seen = allocations;
    keel_learner_close(&learner);
    keel_pool_close(pool);
    assert_int_equal(seen, 0);
}

static void a_step_allocates_nothing_once_the_sizes_are_known(void **state) {
    (void)state;
    keel_context counting;
    keel_context_init(&counting);
    counting.allocator = (keel_allocator){counting_resize, counting_release, NULL, NULL};
    keel_context_use(&counting);
    check_allocations(false);
    check_allocations(true);
    keel_context_use(NULL);
}

/* ---- targets ---- */

static bool target_is_online(const keel_learner *learner) {
    return memcmp(learner->target, learner->net.params.data, learner->net.params.size * sizeof(float)) == 0;
}

/* Logs of single decisions: no tape is there to run a forward pass on, no next state to read. */
static void check_no_look_ahead(bool sets) {
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_shard shard = {0};
    const float *y, *weight;
    keel_learner_config config = config_of("keel", "cql");
    keel_qnet_shape shape = shape_of(&config, sets, 4, 1);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    random_batch(&own, 2, 20, 4, sets);
    memset(own.bootstrap, 0, sizeof own.bootstrap);
    own.batch.next_state = own.batch.next_candidates = NULL;
    assert_int_equal(keel_target_make(&learner, &own.batch, 4, 12, &shard, &y, &weight, NULL), KEEL_OK);
    assert_memory_equal(y, own.reward + 4 * KEEL_N_REWARDS, 12 * KEEL_N_REWARDS * sizeof *y);
    keel_arena_free(&shard.arena);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void targets_without_next_decisions_take_no_forward_pass(void **state) {
    (void)state;
    check_no_look_ahead(false);
    check_no_look_ahead(true);
}

static void hard_copies_fall_right_after_step_1_and_each_interval_from_there(void **state) {
    (void)state;
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_learner_config config = config_of("d3rlpy", "cql");
    config.target_interval = 3;
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    random_batch(&own, 1, 32, 4, false);
    for (int step = 1; step <= 8; ++step) {
        step_of(&learner, &own);
        assert_int_equal(target_is_online(&learner), step % 3 == 1);
    }
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void the_step_size_falls_to_nothing_over_the_steps(void **state) {
    (void)state;
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_learner_config config = config_of("keel", "cql");
    config.rate_decay = true;
    config.steps = 2;
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    random_batch(&own, 1, 32, 4, false);
    for (int step = 0; step < 3; ++step) {
        float before = learner.net.params.data[0];
        step_of(&learner, &own);
        assert_int_equal(learner.net.params.data[0] != before, step < 2);
    }
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static bool has(const keel_learner_config *config, const char *key, double value) {
    cJSON *json = keel_options_to_json(keel_learner_options(config->algorithm), config);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    bool same = item && item->valuedouble == value;
    cJSON_Delete(json);
    return same;
}

static void the_d3rlpy_preset_has_its_defaults(void **state) {
    (void)state;
    keel_learner_config config;
    assert_int_equal(keel_learner_preset("d3rlpy", "cql", &config, NULL), KEEL_OK);
    assert_true(has(&config, "alpha", 1) && config.gamma == 0.99 && config.learning_rate == 6.25e-5 &&
                config.batch == 32);
    assert_true(config.target_interval == 8000 && config.tau == 1 && !config.vector_heads &&
                config.critics == 1);
    assert_true(config.td_loss == KEEL_TD_HUBER && config.hidden.count == 2 && config.hidden.items[1] == 256);
    assert_true(config.double_q && config.quantiles == 1 && config.n_step == 1);
    assert_int_equal(keel_learner_preset("d3", "cql", &config, NULL), KEEL_E_USAGE);
    assert_int_not_equal(keel_learner_preset("keel", "sac", &config, NULL), KEEL_OK);
}

static void the_presets_of_quantile_agents_have_their_settings(void **state) {
    (void)state;
    keel_learner_config config;
    keel_err err = {0};
    assert_int_equal(keel_learner_preset("tianshou", "cql", &config, NULL), KEEL_OK);
    assert_true(has(&config, "alpha", 10) && config.quantiles == 200 && config.learning_rate == 1e-4 &&
                config.batch == 32 && config.target_interval == 500 && config.tau == 1);
    assert_true(config.double_q && !config.vector_heads && config.gamma == 0.99);
    assert_int_equal(keel_learner_preset("atari", "cql", &config, NULL), KEEL_OK);
    assert_true(has(&config, "alpha", 4) && config.quantiles == 200 && config.learning_rate == 5e-5 &&
                config.adam_epsilon == 1e-2 / 32 && config.target_interval == 2000 && !config.double_q);
    assert_int_equal(keel_learner_preset("tianshou", "iql", &config, &err), KEEL_E_USAGE);
    assert_string_equal(err.message, "tianshou has no settings for iql");
    assert_non_null(strstr(err.hint, "cql"));
    assert_int_equal(keel_learner_preset("d3rlpy", "awac", &config, &err), KEEL_E_USAGE);
    assert_string_equal(err.hint, "it has some for cql, dqn, bc");
}

/* ILQL's and trlx's beta is 0 unless somebody sets it: the policy is the prior then. */
static void by_default_what_was_learned_counts(void **state) {
    (void)state;
    for (int a = 0; a < KEEL_N_LEARNERS; ++a) {
        keel_learner_config config;
        assert_int_equal(keel_learner_preset("keel", keel_algorithms[a], &config, NULL), KEEL_OK);
        assert_true(config.kl_budget > 0 && config.beta > 0 && config.beta_limit > 0);
    }
}

/* ---- what the conservative term does ---- */

/* No hidden layer, one-hot states: the weights are the table Q(s, a). */
static void open_table(keel_learner *learner, const char *algorithm, double rate, size_t acts,
                       keel_pool *pool) {
    keel_learner_config config = config_of("keel", algorithm);
    config.vector_heads = false;
    config.weight[0] = 1, config.weight[1] = config.weight[2] = 0;
    config.learning_rate = rate;
    config.tau = 0.05;
    config.gamma = 0.9;
    keel_qnet_shape shape = shape_of(&config, false, acts, 1);
    shape.hidden.count = 0;
    assert_int_equal(keel_learner_open(learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    memset(learner->net.params.data, 0, learner->net.params.size * sizeof(float));
}

static double table_q(const keel_learner *learner, size_t s, size_t a) {
    const float *weight = learner->net.params.data, *bias = keel_params_at(&learner->net.params, 1);
    return (double)weight[a * DIM + s] + (double)bias[a];
}

static void put_row(own_batch *own, size_t i, size_t s, int32_t action, float reward, int next) {
    own->state[i * DIM + s] = 1;
    own->action[i] = action;
    own->reward[i * KEEL_N_REWARDS] = reward;
    own->present[i * KEEL_N_REWARDS] = own->usable[i] = 1;
    own->bootstrap[i] = next >= 0;
    if (next >= 0) own->next_state[i * DIM + (size_t)next] = 1;
}

static void an_action_absent_from_the_data_falls_every_step(void **state) {
    (void)state;
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    open_table(&learner, "cql", 1e-2, 3, pool);
    memset(&own, 0, sizeof own);
    for (size_t i = 0; i < 20; ++i) put_row(&own, i, 0, (int32_t)(i % 2), 0.5f, -1);
    point(&own, 20);
    double before = table_q(&learner, 0, 2);
    for (int step = 0; step < 200; ++step) {
        assert_true(step_of(&learner, &own).conservative > 0);
        double after = table_q(&learner, 0, 2);
        assert_true(after < before);
        before = after;
    }
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void a_constant_added_to_every_q_leaves_the_conservative_term_alone(void **state) {
    (void)state;
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    open_table(&learner, "cql", 1e-2, 4, pool);
    keel_rng rng = keel_rng_named(1, "table", 0);
    fill_normal(&rng, learner.net.params.data, 4 * DIM);
    random_batch(&own, 5, 30, 4, false);
    double before = gradient_of(&learner, &own).conservative;
    float *bias = keel_params_at(&learner.net.params, 1);
    for (size_t a = 0; a < 4; ++a) bias[a] += 3;
    assert_true(fabs(gradient_of(&learner, &own).conservative - before) < 1e-5);
    bias[0] += 1;
    assert_true(fabs(gradient_of(&learner, &own).conservative - before) > 1e-3);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

/* State 0 leads to state 1, where the behaviour mostly takes the worse arm 0 (0.3) and sometimes arm 1 (0.7);
 * arm 2 is never taken and starts out much too high. */
static void train_two_arms(const char *algorithm, double q[2][3]) {
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    open_table(&learner, algorithm, 5e-3, 3, pool);
    learner.net.params.data[2 * DIM + 1] = 2; /* Q(1, 2) */
    memcpy(learner.target, learner.net.params.data, learner.net.params.size * sizeof(float));
    memset(&own, 0, sizeof own);
    for (size_t i = 0; i < 40; ++i) {
        if (i % 2)
            put_row(&own, i, 0, (int32_t)(i / 2 % 3), 0, 1);
        else
            put_row(&own, i, 1, i % 8 == 0, i % 8 == 0 ? 0.7f : 0.3f, -1);
    }
    point(&own, 40);
    for (int step = 0; step < 4000; ++step) step_of(&learner, &own);
    for (size_t s = 0; s < 2; ++s)
        for (size_t a = 0; a < 3; ++a) q[s][a] = table_q(&learner, s, a);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void cql_finds_the_better_arm_where_dqn_believes_in_one_never_tried(void **state) {
    (void)state;
    double cql[2][3], dqn[2][3];
    train_two_arms("cql", cql);
    train_two_arms("dqn", dqn);
    assert_true(cql[1][1] > cql[1][0] && cql[1][1] > cql[1][2]); /* the better arm */
    assert_true(dqn[1][2] > dqn[1][1]);                          /* the one never tried */
    assert_true(cql[1][2] < dqn[1][2]);
    double truth = 0.9 * 0.7, dqn_value = fmax(dqn[0][0], fmax(dqn[0][1], dqn[0][2]));
    double cql_value = fmax(cql[0][0], fmax(cql[0][1], cql[0][2]));
    assert_true(dqn_value > truth + 0.5); /* the overestimate is carried back */
    assert_true(fabs(cql_value - truth) < 0.25);
}

/* ---- absent rewards and unusable transitions ---- */

static double head_gradient(const keel_learner *learner, size_t head, size_t acts) {
    size_t last = learner->net.params.count - 1; /* bias of the last layer: [heads * acts], head-major */
    const float *bias = learner->grads + learner->net.params.offset[last];
    double sum = 0;
    for (size_t a = 0; a < acts; ++a) sum += fabs((double)bias[head * acts + a]);
    return sum;
}

static void a_head_learns_only_from_the_transitions_that_have_its_component(void **state) {
    (void)state;
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_learner_config config = config_of("keel", "dqn");
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    random_batch(&own, 9, 30, 4, false);
    for (size_t i = 0; i < 30; ++i) own.present[i * KEEL_N_REWARDS + KEEL_SPEED] = 0;
    keel_loss_parts parts = gradient_of(&learner, &own);
    assert_true(parts.td_head[KEEL_SPEED] == 0 && head_gradient(&learner, KEEL_SPEED, 4) == 0);
    assert_true(parts.td_head[KEEL_ACCURACY] > 0 && head_gradient(&learner, KEEL_ACCURACY, 4) > 0);
    own.present[4 * KEEL_N_REWARDS + KEEL_SPEED] = 1;
    assert_true(gradient_of(&learner, &own).td_head[KEEL_SPEED] > 0);
    memset(own.usable, 0, sizeof own.usable);
    assert_true(gradient_of(&learner, &own).td == 0);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

static void components_without_coverage_hand_their_weight_to_the_rest(void **state) {
    (void)state;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_err err = {0};
    keel_learner_config config = config_of("keel", "cql");
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    const double coverage[] = {0.4, 0, 1}, none[] = {0, 0, 0};
    assert_int_equal(keel_learner_open(&learner, &config, &shape, coverage, pool, NULL), KEEL_OK);
    assert_true(fabs(learner.weight[0] - 0.6 / 0.7) < 1e-12 && learner.weight[1] == 0);
    assert_true(fabs(learner.weight[2] - 0.1 / 0.7) < 1e-12);
    keel_learner_close(&learner);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, none, pool, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.hint, "label"));
    keel_pool_close(pool);
}

static void contradictory_configurations_are_refused(void **state) {
    (void)state;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_err err = {0};
    keel_learner_config config = config_of("keel", "dqn");
    keel_qnet_shape shape = shape_of(&config, false, 4, 1);
    config = config_of("keel", "bc");
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, &err), KEEL_E_INVALID);
    assert_string_equal(err.message, "expected 1 head, got 3: bc learns no values");
    config = config_of("keel", "cql");
    shape.heads = 2;
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "expected 1 or 3 heads, got 2"));
    keel_pool_close(pool);
}

/* ---- every parameter moves ---- */

static void one_step_moves_every_parameter_and_its_target(void **state) {
    (void)state;
    static own_batch own;
    keel_pool *pool = open_pool(1);
    keel_learner learner;
    keel_learner_config config = config_of("keel", "cql");
    keel_qnet_shape shape = shape_of(&config, true, 0, 2);
    assert_int_equal(keel_learner_open(&learner, &config, &shape, NULL, pool, NULL), KEEL_OK);
    keel_params *params = &learner.net.params;
    float *before = malloc(params->size * sizeof *before);
    memcpy(before, params->data, params->size * sizeof *before);
    random_batch(&own, 2, MAX_ROWS, 0, true);
    step_of(&learner, &own);
    for (size_t p = 0; p < params->count; ++p) {
        size_t at = params->offset[p], bytes = params->table[p].rows * params->table[p].cols * sizeof(float);
        assert_memory_not_equal(before + at, params->data + at, bytes);
        assert_memory_not_equal(before + at, learner.target + at, bytes);
    }
    free(before);
    keel_learner_close(&learner);
    keel_pool_close(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_agrees_with_finite_differences_of_the_loss),
        cmocka_unit_test(the_loss_over_candidate_sets_is_the_formula),
        cmocka_unit_test(the_bytes_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(a_step_allocates_nothing_once_the_sizes_are_known),
        cmocka_unit_test(targets_without_next_decisions_take_no_forward_pass),
        cmocka_unit_test(hard_copies_fall_right_after_step_1_and_each_interval_from_there),
        cmocka_unit_test(the_step_size_falls_to_nothing_over_the_steps),
        cmocka_unit_test(the_d3rlpy_preset_has_its_defaults),
        cmocka_unit_test(the_presets_of_quantile_agents_have_their_settings),
        cmocka_unit_test(by_default_what_was_learned_counts),
        cmocka_unit_test(an_action_absent_from_the_data_falls_every_step),
        cmocka_unit_test(a_constant_added_to_every_q_leaves_the_conservative_term_alone),
        cmocka_unit_test(cql_finds_the_better_arm_where_dqn_believes_in_one_never_tried),
        cmocka_unit_test(a_head_learns_only_from_the_transitions_that_have_its_component),
        cmocka_unit_test(components_without_coverage_hand_their_weight_to_the_rest),
        cmocka_unit_test(contradictory_configurations_are_refused),
        cmocka_unit_test(one_step_moves_every_parameter_and_its_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
