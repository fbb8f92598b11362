/* A policy answers in the support desk. */
#include "policies/policy_internal.h"
#include "rl/fixture.h"
#include "rl/judge/rollout.h"

enum { MOST_ACTS = 16 };

/* A base over the acts that the environment offers at its first decision. */
typedef struct desk {
    keel_env *env;
    keel_base base;
    const char *acts[MOST_ACTS];
    char names[MOST_ACTS][64];
} desk;

/* Encodes as the fixture does, and sees to it that the whole conversation so far is there to be read. */
static keel_status encode_all_so_far(const keel_base *base, const keel_conversation *conversation,
                                     size_t decision, keel_arena *scratch, keel_features *out,
                                     keel_err *err) {
    const keel_decision *at = &conversation->decisions[decision];
    if (at->turn != conversation->n_turns || at->turn == 0 || decision + 1 != conversation->n_decisions)
        return keel_fail(err, KEEL_E_INVALID, "rollout",
                         "the open decision is not at the end of what was said");
    return fixture_encode(base, conversation, decision, scratch, out, err);
}

static keel_status encode_items(const keel_base *base, const keel_base_item *items, size_t n,
                                keel_arena *scratch, keel_err *err) {
    return fixture_each(encode_all_so_far, base, items, n, scratch, err);
}

static const keel_base_kind careful_kind = {
    .type = "careful", .encode = encode_items, .close = fixture_close};

static void open_desk(desk *d) {
    *d = (desk){.base = fixture_base(KEEL_SPACE_ACTS)};
    d->base.kind = &careful_kind;
    MUST(keel_env_open(&d->env, "support-desk", 7, err));
    MUST(keel_env_reset(d->env, 0, err));
    size_t n = d->env->decision->n_candidates;
    assert_in_range(n, 2, MOST_ACTS);
    for (size_t i = 0; i < n; ++i) {
        snprintf(d->names[i], sizeof d->names[i], "%s", d->env->decision->candidates[i].act);
        d->acts[i] = d->names[i];
    }
    d->base.acts = d->acts;
    d->base.n_acts = n;
}

static size_t act_named(const desk *d, const char *part) {
    for (size_t i = 0; i < d->base.n_acts; ++i)
        if (strstr(d->acts[i], part)) return i;
    fail_msg("the desk has no act like %s", part);
    return 0;
}

static const keel_conversation *play(desk *d, const keel_policy *policy, uint64_t episode) {
    const keel_conversation *out = NULL;
    keel_arena scratch = {0};
    MUST(keel_rollout_episode(d->env, "somebody", policy, &d->base, episode, &scratch, &out, err));
    keel_arena_free(&scratch);
    assert_true(d->env->done);
    return out;
}

static void prefer(desk *d, keel_policy *policy, size_t act) {
    float bias[MOST_ACTS] = {0};
    bias[act] = 5;
    fixture_policy(policy, &d->base, bias, 50);
}

static void a_policy_that_prefers_refusal_refuses_at_every_decision(void **state) {
    (void)state;
    desk d;
    keel_policy policy;
    open_desk(&d);
    size_t refuse = act_named(&d, "refus");
    prefer(&d, &policy, refuse);
    for (uint64_t episode = 0; episode < 10; ++episode) {
        const keel_conversation *conversation = play(&d, &policy, episode);
        assert_true(conversation->n_decisions > 0);
        for (size_t i = 0; i < conversation->n_decisions; ++i) {
            assert_true(conversation->decisions[i].candidates[0].taken);
            assert_string_equal(conversation->decisions[i].candidates[0].act, d.acts[refuse]);
        }
    }
    fixture_policy_free(&policy);
    keel_env_close(d.env);
}

static void an_episode_played_twice_is_the_same_conversation(void **state) {
    (void)state;
    desk d;
    keel_policy policy;
    char said[4096] = "", again[4096] = "";
    open_desk(&d);
    prefer(&d, &policy, 0);
    for (int round = 0; round < 2; ++round) {
        const keel_conversation *conversation = play(&d, &policy, 3);
        for (size_t t = 0; t < conversation->n_turns; ++t)
            strncat(round ? again : said, conversation->turns[t].text, 200);
        MUST(keel_env_reset(d.env, 5, err)); /* another episode between the two */
    }
    assert_true(strlen(said) > 0);
    assert_string_equal(said, again);
    fixture_policy_free(&policy);
    keel_env_close(d.env);
}

static void acts_that_are_not_offered_are_passed_over(void **state) {
    (void)state;
    desk d;
    keel_policy policy;
    open_desk(&d);
    size_t refuse = act_named(&d, "refus");
    float bias[MOST_ACTS] = {0};
    d.acts[0] = "an act the desk has never heard of";
    bias[0] = 5;
    bias[refuse] = 4;
    fixture_policy(&policy, &d.base, bias, 50);
    const keel_candidate *given = play(&d, &policy, 1)->decisions[0].candidates;
    assert_string_equal(given->act, d.acts[refuse]);
    assert_string_equal(given->model, "somebody");
    fixture_policy_free(&policy);
    keel_env_close(d.env);
}

static void the_base_alone_and_a_policy_over_candidates_can_answer(void **state) {
    (void)state;
    desk d;
    open_desk(&d);
    assert_true(play(&d, NULL, 1)->n_decisions > 0);
    d.base = fixture_base(KEEL_SPACE_CANDIDATES);
    assert_true(play(&d, NULL, 1)->n_decisions > 0);
    keel_env_close(d.env);
}

static void a_base_over_outcomes_cannot_answer(void **state) {
    (void)state;
    desk d;
    keel_err error = {0};
    keel_arena scratch = {0};
    const keel_conversation *out;
    open_desk(&d);
    d.base.space = KEEL_SPACE_OUTCOMES;
    assert_int_equal(keel_rollout_episode(d.env, NULL, NULL, &d.base, 0, &scratch, &out, &error),
                     KEEL_E_UNSUPPORTED);
    keel_env_close(d.env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_policy_that_prefers_refusal_refuses_at_every_decision),
        cmocka_unit_test(an_episode_played_twice_is_the_same_conversation),
        cmocka_unit_test(acts_that_are_not_offered_are_passed_over),
        cmocka_unit_test(the_base_alone_and_a_policy_over_candidates_can_answer),
        cmocka_unit_test(a_base_over_outcomes_cannot_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
