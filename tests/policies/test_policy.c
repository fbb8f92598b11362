#include "fixture.h"

#include <math.h>

#include "core/pcg.h"
#include "policies/artefact.h"
#include "policies/policy_internal.h"

static char folder[256];

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "policy") ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return keel_folder_remove(folder, &err);
}

/* ---- the tilt ---- */

/* G4 of the reference: prior [.5, .3, .2], Q [.2, .5, -.4], V = .1; made in double precision. */
static void the_tilt_gives_the_golden_numbers(void **state) {
    (void)state;
    const float log_prior[] = {logf(.5f), logf(.3f), logf(.2f)}, advantage[] = {.1f, .4f, -.5f};
    const double expected[2][3] = {{0.492746782396, 0.399083150473, 0.108170067131},
                                   {0.330212022358, 0.657805514114, 0.011982463528}};
    const double beta[2] = {1, 4}, divergence[2] = {0.040210222562, 0.345735546193};
    float log_pi[3];
    double kl = -1;
    for (int i = 0; i < 2; i++) {
        keel_policy_tilt(log_prior, advantage, NULL, 3, beta[i], log_pi, &kl);
        for (int a = 0; a < 3; a++) assert_float_equal(exp((double)log_pi[a]), expected[i][a], 1e-6);
        assert_float_equal(kl, divergence[i], 1e-6);
    }
    keel_policy_tilt(log_prior, advantage, NULL, 3, 0, log_pi, &kl);
    for (int a = 0; a < 3; a++) assert_float_equal(log_pi[a], log_prior[a], 1e-6);
    assert_float_equal(kl, 0, 1e-7);
}

static void masked_actions_get_nothing_and_the_rest_shares_it(void **state) {
    (void)state;
    const float log_prior[] = {logf(.5f), logf(.3f), logf(.2f)}, advantage[] = {0, 0, 0};
    const bool masked[] = {true, false, false};
    float log_pi[3];
    double kl;
    keel_policy_tilt(log_prior, advantage, masked, 3, 1, log_pi, &kl);
    assert_true(isinf(log_pi[0]) && log_pi[0] < 0);
    assert_float_equal(exp((double)log_pi[1]), 0.6, 1e-6);
    assert_float_equal(kl, -log(0.5), 1e-6);
}

static void beta_is_the_largest_within_the_budget(void **state) {
    (void)state;
    const float log_prior[] = {logf(.5f), logf(.3f), logf(.2f), logf(.5f), logf(.5f)},
                q[] = {.2f, .5f, -.4f, 1, 1};
    const int32_t offsets[] = {0, 3, 5};
    double beta = keel_policy_solve_beta(log_prior, q, offsets, 2, 0.345735546193 / 2,
                                         100); /* the second set costs nothing */
    assert_float_equal(beta, 4, 1e-4);
    assert_float_equal(keel_policy_solve_beta(log_prior, q, offsets, 2, 10, 100), 100, 0);
}

/* ---- deciding, with networks of one layer whose weights are set by hand ---- */

/* Candidate sets: q[k] of a candidate is its k-th feature, its cost what the last one is below 0. */
static keel_policy set_policy(double beta, double threshold) {
    keel_policy policy = {.algorithm = "cql",
                          .split = "train",
                          .weight = {0.6, 0.3, 0.1},
                          .beta = beta,
                          .harm_threshold = threshold,
                          .fallback_act = -1};
    keel_qnet_shape shape = {.space = KEEL_SPACE_CANDIDATES,
                             .state_dim = 1,
                             .candidate_dim = 3,
                             .heads = 3,
                             .critics = 1,
                             .cost = true};
    memset(policy.base_hash, 'a', 64);
    assert_ok(keel_qnet_open(&policy.net, &shape, &err));
    memset(policy.net.params.data, 0, policy.net.params.size * sizeof(float));
    for (size_t k = 0; k < 3; k++) keel_params_at(&policy.net.params, 0)[k * policy.net.input_dim + k] = 1;
    keel_params_at(&policy.net.params, 0)[3 * policy.net.input_dim + KEEL_SAFETY] = -1;
    return policy;
}

static const float no_state[] = {0}, half[] = {-0.6931472f, -0.6931472f};

static keel_features two(const float *candidates, const float *log_prior) {
    return (keel_features){.state_dim = 1,
                           .candidate_dim = 3,
                           .n_candidates = 2,
                           .n_actions = 2,
                           .state = no_state,
                           .candidates = candidates,
                           .log_prior = log_prior};
}

static void the_better_candidate_is_chosen_by_the_composite(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 10);
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 0, -1, 0, 1, 0}; /* Q_w: .6 - .1, .3 */
    keel_features features = two(candidates, half);
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_int_equal(choice.chosen, 0);
    assert_float_equal(choice.q_w[0], 0.5, 1e-6);
    assert_float_equal(choice.q_w[1], 0.3, 1e-6);
    assert_float_equal(choice.value, 0.4, 1e-6);
    assert_float_equal(choice.advantage[1], -0.1, 1e-6);
    assert_float_equal(exp((double)choice.log_pi[0]), 1 / (1 + expf(-0.4f)), 1e-6);
    assert_false(choice.fallback);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void what_is_above_the_threshold_is_never_chosen(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 0.5);
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 0, -1, 0, 0, -0.4f};
    keel_features features = two(candidates, half);
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_true(choice.masked[0]);
    assert_int_equal(choice.chosen, 1);
    assert_true(isinf(choice.log_pi[0]));
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void without_a_threshold_nothing_is_masked(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, INFINITY), *loaded = NULL;
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 0, -1e9f, 0, 1, -1e9f};
    keel_features features = two(candidates, half);
    policy.weight[KEEL_SAFETY] = 0;
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "p"), &err));
    assert_ok(keel_policy_decide(loaded, &features, &arena, &choice, &err));
    assert_int_equal(choice.chosen, 0);
    assert_false(choice.masked[0] || choice.masked[1] || choice.fallback);
    keel_policy_close(loaded);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void what_is_at_the_threshold_is_not_above_it_and_ties_go_to_the_first(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 0.5);
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 0, -0.5f, 1, 0, -0.5f};
    keel_features features = two(candidates, half);
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_false(choice.masked[0] || choice.masked[1] || choice.fallback);
    assert_int_equal(choice.chosen, 0);
    assert_ok(keel_base_decide(&features, &arena, &choice, &err));
    assert_int_equal(choice.chosen, 0);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void when_all_is_harm_the_least_is_the_fallback(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 0.5);
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 1, -1, 0, 0, -0.9f};
    keel_features features = two(candidates, half);
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_true(choice.fallback);
    assert_int_equal(choice.chosen, 1);
    assert_float_equal(choice.log_pi[1], 0, 0);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

/* Fixed acts, head-major: q[k * 2 + a] comes from the bias, the cost last. */
static keel_policy act_policy(const float bias[8]) {
    static const char *names[] = {"answer", "refuse"};
    keel_policy policy = {.algorithm = "cql",
                          .split = "train",
                          .weight = {1, 0, 0},
                          .beta = 1,
                          .harm_threshold = 0.5,
                          .n_acts = 2,
                          .acts = names,
                          .fallback_act = 1};
    keel_qnet_shape shape = {
        .space = KEEL_SPACE_ACTS, .state_dim = 1, .n_acts = 2, .heads = 3, .critics = 1, .cost = true};
    memset(policy.base_hash, 'b', 64);
    assert_ok(keel_qnet_open(&policy.net, &shape, &err));
    memset(policy.net.params.data, 0, policy.net.params.size * sizeof(float));
    memcpy(keel_params_at(&policy.net.params, 1), bias, 8 * sizeof(float));
    return policy;
}

static keel_features acts(const float *log_prior) {
    return (keel_features){.state_dim = 1, .n_actions = 2, .state = no_state, .log_prior = log_prior};
}

static void fixed_acts_read_head_major_values_and_fall_back_to_the_named_act(void **state) {
    (void)state;
    const float bias[] = {0.25f, 0.75f, 0, 0,
                          -1,    -2,    1, 2}; /* accuracy, speed, safety, cost of answer, refuse */
    keel_policy policy = act_policy(bias);
    keel_arena arena = {0};
    keel_choice choice;
    keel_features features = acts(half);
    policy.harm_threshold = 3;
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_float_equal(choice.q[0 * 3 + KEEL_SAFETY], -1, 0);
    assert_float_equal(choice.q[1 * 3 + KEEL_ACCURACY], 0.75, 0);
    assert_float_equal(choice.cost[0], 1, 0);
    assert_float_equal(choice.cost[1], 2, 0);
    assert_int_equal(choice.chosen, 1);
    policy.harm_threshold = 1.5;
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_int_equal(choice.chosen, 0);
    policy.harm_threshold = 0;
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_true(choice.fallback);
    assert_int_equal(choice.chosen, 1);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

/* Whatever the critic thinks of them: refusals of which it never saw one (field logs without any). */
static void what_refuses_is_never_masked_as_harm(void **state) {
    (void)state;
    const float bias[] = {1, 0, 0, 0, 0, 0, 2, 3};
    bool refuse[] = {false, true};
    keel_policy policy = act_policy(bias), sets = set_policy(2, 0.5);
    keel_arena arena = {0};
    keel_choice choice;
    keel_features features = acts(half);
    policy.declines = refuse;
    policy.fallback_act = -1;
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_true(choice.masked[0] && !choice.masked[1] && choice.fallback);
    assert_int_equal(choice.chosen, 1);
    assert_float_equal(choice.log_pi[1], 0, 0);
    const float harmful[] = {1, 1, -3, 0, 0, -4};
    features = two(harmful, half);
    sets.n_fixed = 1;
    assert_ok(keel_policy_decide(&sets, &features, &arena, &choice, &err));
    assert_true(choice.masked[0] && !choice.masked[1] && choice.fallback);
    assert_int_equal(choice.chosen, 1);
    /* a fixed answer that is a candidate is that one (keel_base_encode) */
    const float copied[] = {1, 1, -3, 0, 0, -4, 0, 0, -4}, once[] = {-0.6931472f, -0.6931472f, -INFINITY};
    keel_features three = two(copied, once);
    three.n_candidates = three.n_actions = 3;
    assert_ok(keel_policy_decide(&sets, &three, &arena, &choice, &err));
    assert_true(choice.masked[0] && !choice.masked[1] && choice.masked[2] && choice.fallback);
    assert_int_equal(choice.chosen, 1);
    assert_true(isfinite(choice.kl));
    sets.harm_threshold = 3; /* then there is a choice */
    assert_ok(keel_policy_decide(&sets, &features, &arena, &choice, &err));
    assert_true(!choice.masked[0] && !choice.fallback);
    assert_int_equal(choice.chosen, 0);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
    keel_qnet_close(&sets.net);
}

static void the_multiplier_weighs_the_cost(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, INFINITY), *loaded = NULL;
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 0, -0.5f, 0, 1, 0}; /* Q_w - C: .6 - .05 - .5, .3 */
    keel_features features = two(candidates, half);
    policy.cost_weight = 1;
    policy.n_fixed = 1;
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "p"), &err));
    assert_ok(keel_policy_decide(loaded, &features, &arena, &choice, &err));
    assert_float_equal(choice.q_w[0], 0.05, 1e-6);
    assert_float_equal(choice.cost[0], 0.5, 1e-6);
    assert_float_equal(choice.cost[1], 0, 0);
    assert_int_equal(choice.chosen, 1);
    assert_int_equal(loaded->n_fixed, 1);
    keel_policy_close(loaded);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void acts_not_on_offer_are_masked(void **state) {
    (void)state;
    const float bias[] = {0, 1, 0, 0, 0, 0, 0, 0}, offered[] = {0, -INFINITY};
    keel_policy policy = act_policy(bias);
    keel_arena arena = {0};
    keel_choice choice;
    keel_features features = acts(offered);
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_int_equal(choice.chosen, 0);
    assert_true(choice.masked[1]);
    assert_float_equal(choice.value, 0, 0);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void acts_below_their_share_of_the_likeliest_are_masked(void **state) {
    (void)state;
    const float bias[] = {0, 1, 0, 0, 0, 0, 0, 0}, prior[] = {-0.1f, -1.5f}; /* exp(-1.4) = 0.2466 */
    keel_policy policy = act_policy(bias);
    keel_arena arena = {0};
    keel_choice choice;
    keel_features features = acts(prior);
    policy.beta = 10;
    for (int narrow = 0; narrow < 2; narrow++) {
        policy.support = narrow ? 0.25 : 0.24;
        assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
        assert_int_equal(choice.chosen, !narrow);
        assert_int_equal(choice.masked[1], narrow);
    }
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void an_imitator_is_its_network_alone(void **state) {
    (void)state;
    const float bias[] = {0.5f, 0, 0, 0, 0, 0, 9, 9}, prior[] = {-4.6051702f, -0.0100503f};
    keel_policy policy = act_policy(bias);
    policy.imitates = true;
    keel_arena arena = {0};
    keel_choice choice;
    keel_features features = acts(prior);
    assert_ok(keel_policy_decide(&policy, &features, &arena, &choice, &err));
    assert_int_equal(choice.chosen, 0);
    const double first = 1 / (1 + exp(-0.5)); /* its share; KL to the prior of 0.01 and 0.99 */
    const double kl = first * log(first / 0.01) + (1 - first) * log((1 - first) / 0.99);
    assert_true(fabs(exp((double)choice.log_pi[0]) - first) < 1e-6 && fabs(choice.kl - kl) < 1e-5);
    assert_false(choice.fallback);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

static void features_of_another_size_are_refused(void **state) {
    (void)state;
    keel_policy policy = set_policy(1, 1);
    keel_arena arena = {0};
    keel_choice choice;
    keel_features features = two(half, half);
    features.candidate_dim = 1;
    assert_int_equal(keel_policy_decide(&policy, &features, &arena, &choice, &err), KEEL_E_CONFLICT);
    contains(err.message, "candidate 3");
    features = two(half, half);
    features.n_actions = 0;
    assert_int_equal(keel_policy_decide(&policy, &features, &arena, &choice, &err), KEEL_E_INVALID);
    contains(err.message, "without any candidate");
    assert_int_equal(keel_base_decide(&features, &arena, &choice, &err), KEEL_E_INVALID);
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

/* What is saved is what decides, and saved again it has the same bytes. */
static void at_8_bits_a_policy_is_the_same_on_disk(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 0.5), *loaded = NULL, *again = NULL;
    char hash[2][65];
    const double whole = keel_policy_bytes(&policy);
    keel_rng rng = keel_rng_named(1, "packed", 0);
    for (size_t i = 0; i < policy.net.params.size; i++)
        policy.net.params.data[i] = (float)keel_rng_normal(&rng);
    const float before = policy.net.params.data[0];
    assert_ok(keel_policy_pack(&policy, &err));
    assert_true(keel_policy_bytes(&policy) < whole);
    assert_true(fabsf(policy.net.params.data[0] - before) < 0.05f);
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "p"), &err));
    for (size_t i = 0; i < policy.net.params.count; i++) {
        const keel_param *param = &policy.net.params.table[i];
        assert_memory_equal(keel_params_at(&policy.net.params, i), keel_params_at(&loaded->net.params, i),
                            param->rows * param->cols * sizeof(float));
    }
    assert_ok(keel_policy_save(loaded, scratch_path(folder, "q"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_file_hash(scratch_path(folder, "p/model.safetensors"), hash[0], &err));
    assert_ok(keel_file_hash(scratch_path(folder, "q/model.safetensors"), hash[1], &err));
    assert_string_equal(hash[0], hash[1]);
    memset(policy.packed[0], 0xff, sizeof(float)); /* a scale that is no number */
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_int_equal(keel_policy_load(&again, scratch_path(folder, "p"), &err), KEEL_E_INVALID);
    contains(err.message, "critic.0.layer.0.weight.int8");
    keel_policy_close(loaded);
    keel_arena_free(&policy.arena);
    keel_qnet_close(&policy.net);
}

static void a_policy_goes_to_bases_of_its_features_alone(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 0.5);
    keel_base base = {.space = KEEL_SPACE_CANDIDATES,
                      .state_dim = policy.net.shape.state_dim,
                      .candidate_dim = policy.net.shape.candidate_dim,
                      .n_fixed = policy.n_fixed};
    memset(base.hash, 'b', 64);
    assert_ok(keel_policy_rebind(&policy, &base, &err));
    assert_string_equal(policy.base_hash, base.hash);
    base.candidate_dim++;
    assert_int_equal(keel_policy_rebind(&policy, &base, &err), KEEL_E_CONFLICT);
    base.candidate_dim--;
    base.n_fixed++;
    assert_int_equal(keel_policy_rebind(&policy, &base, &err), KEEL_E_CONFLICT);
    keel_qnet_close(&policy.net);
}

static void values_that_are_no_numbers_do_not_pass_the_threshold(void **state) {
    (void)state;
    keel_policy policy = set_policy(2, 0.5);
    keel_arena arena = {0};
    keel_choice choice;
    const float candidates[] = {1, 0, NAN, 0, 0, -0.9f};
    keel_features features = two(candidates, half);
    assert_int_equal(keel_policy_decide(&policy, &features, &arena, &choice, &err), KEEL_E_INVALID);
    contains(err.message, "not finite");
    keel_arena_free(&arena);
    keel_qnet_close(&policy.net);
}

/* ---- on disk ---- */

static void numbers_out_of_range_are_refused_with_their_key(void **state) {
    (void)state;
    static const struct {
        double beta, threshold, weight;
        const char *key;
    } bad[] = {{-1, 0, 1, "beta"},
               {1, 1e7, 1, "harm_threshold"},
               {1, -1, 1, "harm_threshold"},
               {1, 0, -1, "accuracy"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_policy policy = set_policy(bad[i].beta, bad[i].threshold), *loaded = NULL;
        policy.weight[0] = bad[i].weight;
        assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
        assert_int_equal(keel_policy_load(&loaded, scratch_path(folder, "p"), &err), KEEL_E_INVALID);
        contains(err.message, bad[i].key);
        keel_qnet_close(&policy.net);
    }
}

static void weights_that_are_no_numbers_are_refused(void **state) {
    (void)state;
    keel_policy policy = set_policy(1, 1), *loaded = NULL;
    policy.net.params.data[1] = NAN;
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_int_equal(keel_policy_load(&loaded, scratch_path(folder, "p"), &err), KEEL_E_INVALID);
    contains(err.message, "critic.0.layer.0.weight");
    keel_qnet_close(&policy.net);
}

static void a_saved_policy_decides_as_before(void **state) {
    (void)state;
    const float bias[] = {0.25f, 0.75f, 0.1f, 0.2f, -1, -2, 1, 2};
    bool refuse[] = {false, true};
    keel_policy policy = act_policy(bias), *loaded = NULL;
    keel_outcome rows[3][2] = {{KEEL_OUTCOME_NONE, KEEL_OUTCOME_REFUSAL},
                               {KEEL_OUTCOME_COMPLIANCE, KEEL_OUTCOME_REFUSAL},
                               {KEEL_OUTCOME_PARTIAL, KEEL_OUTCOME_REFUSAL}};
    for (int i = 0; i < 3; i++) policy.act_outcome[i] = rows[i];
    policy.declines = refuse;
    char hash[65];
    assert_ok(keel_policy_save(&policy, scratch_path(folder, "p"), NULL, NULL, NULL, hash, &err));
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "p"), &err));
    assert_string_equal(loaded->hash, hash);
    assert_string_equal(loaded->base_hash, policy.base_hash);
    assert_string_equal(loaded->algorithm, "cql");
    assert_string_equal(loaded->split, "train");
    assert_string_equal(loaded->acts[1], "refuse");
    for (int i = 0; i < 3; i++) assert_memory_equal(loaded->act_outcome[i], rows[i], sizeof rows[i]);
    assert_int_equal(loaded->fallback_act, 1);
    assert_memory_equal(loaded->declines, refuse, sizeof refuse);
    assert_float_equal(loaded->harm_threshold, 0.5, 0);
    assert_true(loaded->net.shape.cost);
    assert_float_equal(loaded->beta, policy.beta, 0);
    assert_float_equal(loaded->weight[0], 1, 0);
    assert_memory_equal(loaded->net.params.data, policy.net.params.data,
                        policy.net.params.size * sizeof(float));
    keel_policy_close(loaded);
    keel_qnet_close(&policy.net);
}

/* The policy's artefact as "p", and as "q" with so much of config.json written over: a consistent artefact.
 */
static void save_written_over(const keel_policy *policy, const char *place, const char *by) {
    keel_folder_write write;
    keel_buf text = {0};
    char from[512], path[4200];
    assert_ok(keel_policy_save(policy, scratch_path(folder, "p"), NULL, NULL, NULL, NULL, &err));
    assert_ok(keel_folder_begin(&write, scratch_path(folder, "q"), &err));
    snprintf(from, sizeof from, "%s", scratch_path(folder, "p/model.safetensors"));
    assert_ok(keel_file_read(from, 0, &text, &err));
    snprintf(path, sizeof path, "%s/model.safetensors", write.temporary);
    assert_ok(keel_file_write(path, text.data, text.length, &err));
    assert_ok(keel_file_read(scratch_path(folder, "p/config.json"), 0, &text, &err));
    char *at = strstr(text.data, place);
    assert_non_null(at);
    memcpy(at, by, strlen(by));
    snprintf(path, sizeof path, "%s/config.json", write.temporary);
    assert_ok(keel_file_write(path, text.data, text.length, &err));
    assert_ok(keel_artefact_commit(&write, "policy", "cql", NULL, NULL, NULL, NULL, &err));
    keel_buf_free(&text);
}

static void weights_of_another_shape_are_refused(void **state) {
    (void)state;
    keel_policy policy = set_policy(1, 1), *loaded = NULL;
    save_written_over(&policy, "\"candidate_dim\": 3", "\"candidate_dim\": 9");
    assert_int_equal(keel_policy_load(&loaded, scratch_path(folder, "q"), &err), KEEL_E_INVALID);
    assert_null(loaded);
    contains(err.where, "model.safetensors");
    keel_qnet_close(&policy.net);
}

/* A floor on Q of safety masked other answers than a threshold of the cost would. */
static void a_policy_with_a_floor_of_former_times_is_refused(void **state) {
    (void)state;
    keel_policy policy = set_policy(1, INFINITY), *loaded = NULL;
    save_written_over(&policy, "\"harm_threshold\": null", "\"safety_floor\": -0.250");
    assert_int_equal(keel_policy_load(&loaded, scratch_path(folder, "q"), &err), KEEL_E_INVALID);
    contains(err.message, "safety_floor");
    contains(err.hint, "train it anew");
    save_written_over(&policy, "\"harm_threshold\": null", "\"safety_floor\":   null"); /* it had none */
    assert_ok(keel_policy_load(&loaded, scratch_path(folder, "q"), &err));
    assert_true(loaded->harm_threshold == INFINITY);
    keel_policy_close(loaded);
    keel_qnet_close(&policy.net);
}

static void a_policy_of_another_base_is_refused_with_both_hashes(void **state) {
    (void)state;
    keel_policy policy = set_policy(1, 1);
    keel_base base = {0};
    memcpy(base.hash, policy.base_hash, sizeof base.hash);
    assert_ok(keel_policy_check_base(&policy, &base, &err));
    memset(base.hash, 'c', 64);
    assert_int_equal(keel_policy_check_base(&policy, &base, &err), KEEL_E_CONFLICT);
    contains(err.message, policy.base_hash);
    contains(err.message, base.hash);
    keel_qnet_close(&policy.net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tilt_gives_the_golden_numbers),
        cmocka_unit_test(masked_actions_get_nothing_and_the_rest_shares_it),
        cmocka_unit_test(beta_is_the_largest_within_the_budget),
        cmocka_unit_test(the_better_candidate_is_chosen_by_the_composite),
        cmocka_unit_test(what_is_above_the_threshold_is_never_chosen),
        cmocka_unit_test_setup_teardown(without_a_threshold_nothing_is_masked, set_up, tear_down),
        cmocka_unit_test(what_is_at_the_threshold_is_not_above_it_and_ties_go_to_the_first),
        cmocka_unit_test(when_all_is_harm_the_least_is_the_fallback),
        cmocka_unit_test(fixed_acts_read_head_major_values_and_fall_back_to_the_named_act),
        cmocka_unit_test(what_refuses_is_never_masked_as_harm),
        cmocka_unit_test_setup_teardown(the_multiplier_weighs_the_cost, set_up, tear_down),
        cmocka_unit_test(acts_not_on_offer_are_masked),
        cmocka_unit_test(acts_below_their_share_of_the_likeliest_are_masked),
        cmocka_unit_test(an_imitator_is_its_network_alone),
        cmocka_unit_test(features_of_another_size_are_refused),
        cmocka_unit_test_setup_teardown(a_saved_policy_decides_as_before, set_up, tear_down),
        cmocka_unit_test(at_8_bits_a_policy_is_the_same_on_disk),
        cmocka_unit_test(a_policy_goes_to_bases_of_its_features_alone),
        cmocka_unit_test(values_that_are_no_numbers_do_not_pass_the_threshold),
        cmocka_unit_test_setup_teardown(numbers_out_of_range_are_refused_with_their_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(weights_that_are_no_numbers_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(weights_of_another_shape_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_policy_with_a_floor_of_former_times_is_refused, set_up, tear_down),
        cmocka_unit_test(a_policy_of_another_base_is_refused_with_both_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
