/* Pruning of Q-networks: units that say nothing go first, and what does not vary goes into biases. */
#include "fixture.h"

#include <math.h>

#include "policies/compress/prune_qnet.h"
#include "policies/compress/rank.h"
#include "policies/policy_internal.h"

enum { ROWS = 50 };

static const keel_qnet_shape sets = {.space = KEEL_SPACE_CANDIDATES,
                                     .state_dim = 4,
                                     .candidate_dim = 3,
                                     .heads = 3,
                                     .critics = 2,
                                     .hidden = {2, {24, 16}},
                                     .cost = true};

static float x[ROWS * 10];
static keel_arena arena;

static int set_up(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "rows", 0);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)keel_rng_normal(&rng);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static keel_qnet open_net(uint64_t seed) {
    keel_qnet net;
    assert_ok(keel_qnet_open(&net, &sets, &err));
    keel_qnet_init(&net, seed);
    return net;
}

static float *row(keel_qnet *net, size_t critic, size_t layer, bool bias) {
    return keel_params_at(&net->params, 2 * (critic * 3 + layer) + bias);
}

/* Half of the units of each hidden layer, others in each critic. */
static bool is_dull(size_t critic, size_t layer, size_t unit) {
    return (unit + critic + layer) % 2 == 0;
}

static void judge(const keel_qnet *net, float *q) {
    assert_ok(keel_qnet_infer(net, x, ROWS, q, NULL, &arena, &err));
}

static void same(const keel_qnet *a, const keel_qnet *b) {
    float one[ROWS * 4], other[ROWS * 4];
    judge(a, one);
    judge(b, other);
    for (size_t i = 0; i < ROWS * 4; i++)
        if (!(fabsf(one[i] - other[i]) < 1e-5f))
            fail_msg("%zu: %g, expected %g", i, (double)one[i], (double)other[i]);
}

/* What is dull is not read by the next layer, or has no weights of its own; or, seen on rows alone, does not
 * vary though it has. */
static void units_that_say_nothing_go_first(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        keel_qnet net[2] = {open_net(3), open_net(3)};
        for (int k = 0; k < 2; k++)
            for (size_t critic = 0; critic < 2; critic++)
                for (size_t layer = 0; layer < 2; layer++) {
                    const size_t in = layer ? 24 : 10, units = layer ? 16 : 24, out = layer ? 4 : 16;
                    for (size_t u = 0; u < units; u++) {
                        if (!is_dull(critic, layer, u)) continue;
                        float *own = row(&net[k], critic, layer, false) + u * in;
                        for (size_t o = 0; how < 2 && o < out; o++)
                            row(&net[k], critic, layer + 1, false)[o * units + u] = 0;
                        for (size_t i = 0; how >= 2 && i < in; i++) own[i] = 0;
                        if (how == 2) row(&net[k], critic, layer, true)[u] = 0;
                        if (how == 3) row(&net[k], critic, layer, true)[u] = (float)u / 4;
                    }
                }
        keel_qnet_shape half = sets;
        half.hidden.items[0] = 12, half.hidden.items[1] = 8;
        const double ratio = 1 - (double)keel_qnet_elements(&half) / (double)keel_qnet_elements(&sets);
        assert_ok(keel_prune_qnet(&net[1], ratio, how % 2 ? x : NULL, ROWS, &err));
        assert_int_equal(net[1].shape.hidden.items[0], 12);
        assert_int_equal(net[1].shape.hidden.items[1], 8);
        same(&net[1], &net[0]);
        keel_qnet_close(&net[0]);
        keel_qnet_close(&net[1]);
    }
}

/* Little varies the judgement less than a random choice would: against units that go by their place. */
static void what_varies_least_goes(void **state) {
    (void)state;
    keel_qnet whole = open_net(5), pruned = open_net(5);
    float q[ROWS * 4], p[ROWS * 4], mean[4] = {0};
    double error = 0, spread = 0;
    judge(&whole, q);
    assert_ok(keel_prune_qnet(&pruned, .3, x, ROWS, &err));
    judge(&pruned, p);
    for (size_t i = 0; i < ROWS * 4; i++) mean[i % 4] += q[i] / ROWS;
    for (size_t i = 0; i < ROWS * 4; i++) {
        error += pow((double)(q[i] - p[i]), 2);
        spread += pow((double)(q[i] - mean[i % 4]), 2);
    }
    if (!(error < .35 * spread)) fail_msg("%g of the variance is lost", error / spread);
    keel_qnet_close(&whole);
    keel_qnet_close(&pruned);
}

static void the_share_is_that_of_weights(void **state) {
    (void)state;
    for (int tenth = 1; tenth < 9; tenth++) {
        keel_qnet net = open_net(1);
        const double before = (double)keel_qnet_elements(&net.shape);
        assert_ok(keel_prune_qnet(&net, tenth / 10.0, NULL, 0, &err));
        const double left = (double)keel_qnet_elements(&net.shape) / before;
        assert_true(left <= 1 - tenth / 10.0 && left > 1 - tenth / 10.0 - .08);
        keel_qnet_close(&net);
    }
    keel_qnet net = open_net(1);
    assert_int_equal(keel_prune_qnet(&net, .99, NULL, 0, &err), KEEL_E_INVALID);
    contains(err.message, "cannot go");
    assert_int_equal(net.shape.hidden.items[0], 24);
    keel_qnet_close(&net);
}

/* At 8 bits, what is written is the network that is left, not the bytes of the one before. */
static void at_8_bits_the_pruned_network_is_written(void **state) {
    (void)state;
    const keel_compress_config config = {.critic_ratio = .5};
    keel_policy policy = {.algorithm = "cql", .split = "train", .fallback_act = -1, .net = open_net(7)};
    keel_policy *loaded = NULL;
    char folder[256];
    assert_true(scratch_make(folder, "pruned"));
    memset(policy.base_hash, 'a', 64);
    assert_ok(keel_policy_pack(&policy, &err));
    assert_ok(keel_prune_policy(&policy, NULL, &config, NULL, &err));
    assert_true(policy.net.shape.hidden.items[0] < 24);
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "p"), &err));
    assert_non_null(loaded->packed);
    for (size_t i = 0; i < policy.net.params.count; i++) {
        const keel_param *param = &policy.net.params.table[i];
        assert_memory_equal(keel_params_at(&policy.net.params, i), keel_params_at(&loaded->net.params, i),
                            param->rows * param->cols * sizeof(float));
    }
    keel_policy_close(loaded);
    keel_arena_free(&policy.arena);
    keel_qnet_close(&policy.net);
    assert_ok(keel_folder_remove(folder, &err));
}

static void of_equal_units_the_last_goes_first(void **state) {
    (void)state;
    static const double importance[] = {2, 1, 3, 1, 2};
    static const uint32_t expected[] = {3, 1, 4, 0, 2}, stays[] = {0, 2};
    uint32_t order[5], left[2];
    assert_ok(keel_rank(importance, 5, order, &err));
    assert_memory_equal(order, expected, sizeof order);
    keel_rank_stay(order, 5, 3, left);
    assert_memory_equal(left, stays, sizeof left);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_equal_units_the_last_goes_first),
        cmocka_unit_test(units_that_say_nothing_go_first),
        cmocka_unit_test(what_varies_least_goes),
        cmocka_unit_test(the_share_is_that_of_weights),
        cmocka_unit_test(at_8_bits_the_pruned_network_is_written),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
