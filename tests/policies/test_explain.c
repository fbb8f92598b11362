#include "fixture.h"

#include <math.h>

#include "core/pcg.h"
#include "policies/explain.h"

enum { MOST = 6, ROUNDS = 1000 };

static void near(double found, double expected, double within) {
    if (!(fabs(found - expected) <= within)) fail_msg("%.12g, expected %.12g", found, expected);
}

/* A decision made at random, and a policy over it whose Q are the candidates' features, C one less the last.
 */
typedef struct drawn {
    keel_policy policy;
    float candidate[MOST * KEEL_N_REWARDS], log_prior[MOST], flat[MOST];
    size_t n;
} drawn;

static double between(keel_rng *rng, double low, double high) {
    return low + (high - low) * keel_rng_uniform(rng);
}

static void open_policy(keel_policy *policy) {
    keel_qnet_shape shape = {.space = KEEL_SPACE_CANDIDATES,
                             .state_dim = 1,
                             .candidate_dim = KEEL_N_REWARDS,
                             .heads = KEEL_N_REWARDS,
                             .critics = 1,
                             .cost = true};
    *policy = (keel_policy){.fallback_act = -1};
    assert_ok(keel_qnet_open(&policy->net, &shape, &err));
    memset(policy->net.params.data, 0, policy->net.params.size * sizeof(float));
    for (size_t k = 0; k < KEEL_N_REWARDS; k++)
        keel_params_at(&policy->net.params, 0)[k * policy->net.input_dim + k] = 1;
    keel_params_at(&policy->net.params, 0)[KEEL_N_REWARDS * policy->net.input_dim + KEEL_SAFETY] = -1;
    keel_params_at(&policy->net.params, 1)[KEEL_N_REWARDS] = 1;
}

static void draw(drawn *d, keel_rng *rng) {
    double sum = 0;
    d->n = 2 + keel_rng_below(rng, MOST - 1);
    for (size_t i = 0; i < d->n * KEEL_N_REWARDS; i++) d->candidate[i] = (float)between(rng, -1, 1);
    for (size_t i = 0; i < d->n; i++) sum += d->log_prior[i] = (float)between(rng, 0.01, 1);
    for (size_t i = 0; i < d->n; i++) {
        d->log_prior[i] = logf(d->log_prior[i] / (float)sum);
        d->flat[i] = -logf((float)d->n);
    }
    d->policy.beta = between(rng, 0, 10);
    d->policy.harm_threshold = keel_rng_below(rng, 4) ? between(rng, 0, 2) : INFINITY;
    d->policy.cost_weight = keel_rng_below(rng, 2) ? between(rng, 0.01, 1) : 0;
    d->policy.n_fixed = keel_rng_below(rng, 2);
    for (size_t k = 0; k < KEEL_N_REWARDS; k++) d->policy.weight[k] = between(rng, 0.01, 1);
}

static keel_choice decide(drawn *d, const keel_policy *policy, const float *prior, keel_arena *arena) {
    static const float no_state[] = {0};
    keel_features features = {.state_dim = 1,
                              .candidate_dim = KEEL_N_REWARDS,
                              .n_candidates = d->n,
                              .n_actions = d->n,
                              .state = no_state,
                              .candidates = d->candidate,
                              .log_prior = prior};
    keel_choice choice = {0};
    assert_ok(keel_policy_decide(policy, &features, arena, &choice, &err));
    return choice;
}

/* pi(a) - pi(b) of the policy itself with some of its parts alone. */
static double played(drawn *d, const bool with[KEEL_N_PARTS], size_t a, size_t b, keel_arena *arena) {
    keel_policy less = d->policy;
    for (size_t k = 0; k < KEEL_N_REWARDS; k++)
        if (!with[k]) less.weight[k] = 0;
    if (!with[KEEL_PART_COST]) less.cost_weight = 0;
    if (!with[KEEL_PART_HARM]) less.harm_threshold = INFINITY;
    keel_choice choice = decide(d, &less, with[KEEL_PART_PRIOR] ? d->log_prior : d->flat, arena);
    if (choice.masked[choice.chosen])
        return 1; /* the action in question: the least harmful, whatever the parts */
    return exp((double)choice.log_pi[a]) - exp((double)choice.log_pi[b]);
}

enum { PLAYERS = KEEL_N_REWARDS + 3, ORDERS = 720 };
static const int player[PLAYERS] = {KEEL_ACCURACY,   KEEL_SPEED,     KEEL_SAFETY,
                                    KEEL_PART_PRIOR, KEEL_PART_HARM, KEEL_PART_COST};

/* The mean over all orders of what a player adds to those before it. Each set of players plays once. */
static void by_brute_force(drawn *d, size_t a, size_t b, double out[KEEL_N_PARTS], keel_arena *arena) {
    double value[1 << PLAYERS];
    for (unsigned set = 0; set < 1u << PLAYERS; set++) {
        bool with[KEEL_N_PARTS] = {false};
        for (size_t i = 0; i < PLAYERS; i++) with[player[i]] = set >> i & 1;
        value[set] = played(d, with, a, b, arena);
    }
    for (int order = 0; order < ORDERS; order++) {
        unsigned left[PLAYERS], set = 0;
        int rest = order;
        for (unsigned i = 0; i < PLAYERS; i++) left[i] = i;
        for (int n = PLAYERS; n > 0; n--) {
            const unsigned next = left[rest % n], before = set;
            left[rest % n] = left[n - 1];
            rest /= n;
            set |= 1u << next;
            out[player[next]] += (value[set] - value[before]) / ORDERS;
        }
    }
}

/* A decision made anew, another action, and why it was not taken. */
static keel_choice pose(drawn *d, keel_rng *rng, keel_arena *arena, keel_explanation *found) {
    keel_arena_reset(arena);
    draw(d, rng);
    keel_choice choice = decide(d, &d->policy, d->log_prior, arena);
    keel_policy_explain(&d->policy, &choice, (choice.chosen + 1 + keel_rng_below(rng, d->n - 1)) % d->n,
                        found);
    return choice;
}

static void the_values_are_those_of_all_orders_and_sum_to_the_margin(void **state) {
    (void)state;
    drawn d;
    keel_rng rng = keel_rng_stream(7, KEEL_STREAM_SAMPLE, 0);
    keel_arena arena = {0};
    size_t harms = 0, fallbacks = 0;
    open_policy(&d.policy);
    for (int round = 0; round < ROUNDS; round++) {
        double expected[KEEL_N_PARTS] = {0}, sum = 0;
        keel_explanation found;
        const keel_choice choice = pose(&d, &rng, &arena, &found);
        const size_t against = found.against;
        by_brute_force(&d, choice.chosen, against, expected, &arena);
        for (int part = 0; part < KEEL_N_PARTS; part++) {
            near(found.shapley[part], expected[part], 1e-6);
            sum += found.shapley[part];
        }
        near(sum, found.margin, 1e-9);
        near(exp((double)choice.log_pi[choice.chosen]) - exp((double)choice.log_pi[against]), found.margin,
             1e-6);
        assert_int_equal(found.plays[KEEL_PART_HARM], d.policy.harm_threshold < INFINITY);
        assert_int_equal(found.plays[KEEL_PART_COST], d.policy.cost_weight > 0);
        harms += choice.masked[against];
        fallbacks += choice.fallback;
    }
    assert_true(harms > ROUNDS / 10 && fallbacks > ROUNDS / 20); /* the threshold took part */
    keel_arena_free(&arena);
    keel_qnet_close(&d.policy.net);
}

/* log pi(chosen) - log pi(against) without one part. */
static double log_odds_without(drawn *d, int part, size_t a, size_t b, keel_arena *arena) {
    keel_policy less = d->policy;
    if (part < KEEL_N_REWARDS) less.weight[part] = 0;
    if (part == KEEL_PART_HARM) less.harm_threshold = INFINITY;
    if (part == KEEL_PART_COST) less.cost_weight = 0;
    keel_choice choice = decide(d, &less, part == KEEL_PART_PRIOR ? d->flat : d->log_prior, arena);
    return (double)choice.log_pi[a] - (double)choice.log_pi[b];
}

static void without_what_a_reason_names_the_choice_or_its_lead_is_less(void **state) {
    (void)state;
    drawn d;
    keel_rng rng = keel_rng_stream(8, KEEL_STREAM_SAMPLE, 0);
    keel_arena arena = {0};
    size_t named[KEEL_N_PARTS] = {0};
    open_policy(&d.policy);
    for (int round = 0; round < ROUNDS; round++) {
        keel_explanation found;
        const keel_choice choice = pose(&d, &rng, &arena, &found);
        const size_t against = found.against;
        assert_true(found.reason >= 0 && found.reason < KEEL_N_PARTS);
        double lead = (double)choice.log_pi[choice.chosen] - (double)choice.log_pi[against];
        double less = log_odds_without(&d, found.reason, choice.chosen, against, &arena);
        assert_true(less < lead);
        for (size_t i = 0; i < PLAYERS && !choice.fallback; i++) /* no other such part says more of it */
            if (found.plays[player[i]] &&
                log_odds_without(&d, player[i], choice.chosen, against, &arena) < lead - 1e-4)
                assert_true(found.shapley[found.reason] >= found.shapley[player[i]]);
        named[found.reason]++;
    }
    for (size_t i = 0; i < PLAYERS; i++) assert_true(named[player[i]] > 10);
    keel_arena_free(&arena);
    keel_qnet_close(&d.policy.net);
}

static void a_policy_of_one_part_has_one_value(void **state) {
    (void)state;
    drawn d;
    keel_rng rng = keel_rng_stream(9, KEEL_STREAM_SAMPLE, 0);
    keel_arena arena = {0};
    keel_explanation found;
    open_policy(&d.policy);
    draw(&d, &rng);
    d.policy.imitates = true;
    keel_choice choice = decide(&d, &d.policy, d.log_prior, &arena);
    keel_policy_explain(&d.policy, &choice, (choice.chosen + 1) % d.n, &found);
    assert_int_equal(found.reason, KEEL_PART_IMITATION);
    near(found.shapley[KEEL_PART_IMITATION], found.margin, 1e-12);
    assert_false(found.plays[KEEL_PART_PRIOR]);
    assert_string_equal(keel_part_name(KEEL_PART_IMITATION), "imitation");
    keel_arena_free(&arena);
    keel_qnet_close(&d.policy.net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_values_are_those_of_all_orders_and_sum_to_the_margin),
        cmocka_unit_test(without_what_a_reason_names_the_choice_or_its_lead_is_less),
        cmocka_unit_test(a_policy_of_one_part_has_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
