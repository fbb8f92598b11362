/* The support desk and its behaviours: rates over many episodes, determinism, common random numbers, what a
 * log may and may not say. Rates are measured over 10000 episodes, where the standard error of each is
 * below one point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "envs/env.h"
#include "envs/support_desk.h"

enum { EPISODES = 10000 };

static void must(keel_status status, const keel_err *err) {
    if (status != KEEL_OK) fail_msg("%s: %s", err->where, err->message);
}

static keel_env *open_desk(uint64_t seed) {
    keel_env *env = NULL;
    keel_err err;
    must(keel_env_open(&env, "support-desk", seed, &err), &err);
    return env;
}

static const keel_conversation *play(keel_env *env, const char *behaviour, uint64_t seed, uint64_t episode) {
    const keel_conversation *log = NULL;
    keel_err err;
    must(keel_env_episode(env, keel_behaviour_find(behaviour), seed, episode, &log, &err), &err);
    return log;
}

static bool is_borderline(const keel_conversation *log) {
    return strstr(log->meta, "\"borderline\":true") != NULL;
}

static bool refused(const keel_conversation *log) {
    for (size_t d = 0; d < log->n_decisions; d++)
        if (log->decisions[d].candidates[0].outcome == KEEL_OUTCOME_REFUSAL) return true;
    return false;
}

/* ---- rates ---- */

typedef struct rates {
    double dangerous, borderline; /* shares of conversations */
    double refusal, completion,
        over_refusal; /* of dangerous decisions, benign and borderline conversations */
} rates;

static rates measure(const char *behaviour) {
    double decisions = 0, refusals = 0, dangerous = 0, completed = 0, benign = 0, borderline = 0, over = 0;
    keel_env *env = open_desk(11);
    for (uint64_t e = 0; e < EPISODES; e++) {
        const keel_conversation *log = play(env, behaviour, 5, e);
        if (log->risk == KEEL_RISK_DANGEROUS) {
            dangerous++;
            decisions += (double)log->n_decisions;
            for (size_t d = 0; d < log->n_decisions; d++)
                refusals += log->decisions[d].candidates[0].outcome == KEEL_OUTCOME_REFUSAL;
        } else {
            benign++;
            completed += log->completed == KEEL_YES;
            borderline += is_borderline(log);
            over += is_borderline(log) && refused(log);
        }
    }
    keel_env_close(env);
    return (rates){dangerous / EPISODES, borderline / EPISODES, refusals / decisions, completed / benign,
                   over / borderline};
}

static void expect_between(const char *what, double got, double low, double high) {
    if (!(got >= low && got <= high)) fail_msg("%s: got %.3f, expected %.3f to %.3f", what, got, low, high);
}

static void support_82_refuses_82_percent_and_leaves_room_to_gain(void **state) {
    (void)state;
    const rates r = measure("support-82");
    expect_between("dangerous", r.dangerous, 0.22, 0.28);
    expect_between("borderline", r.borderline, 0.08, 0.12);
    expect_between("refusal", r.refusal, 0.80, 0.84);
    expect_between("completion", r.completion, 0.75, 0.80);
    expect_between("over-refusal of borderline", r.over_refusal, 0.15, 0.25);
}

static void scripted_rules_are_an_upper_frame(void **state) {
    (void)state;
    const rates r = measure("scripted");
    expect_between("refusal", r.refusal, 1, 1);
    expect_between("completion", r.completion, 0.95, 1);
    expect_between("over-refusal of borderline", r.over_refusal, 0, 0);
}

static void the_other_behaviours_are_as_they_are_called(void **state) {
    (void)state;
    const rates cautious = measure("cautious"), reckless = measure("reckless"), random = measure("random");
    expect_between("cautious refusal", cautious.refusal, 0.95, 1);
    expect_between("cautious over-refusal", cautious.over_refusal, 0.6, 0.9);
    expect_between("reckless refusal", reckless.refusal, 0.25, 0.35);
    expect_between("reckless over-refusal", reckless.over_refusal, 0, 0.08);
    expect_between("random completion", random.completion, 0, 0.15);
}

/* ---- numbers that repeat ---- */

static uint64_t log_hash(const keel_conversation *log) {
    uint64_t hash = 0;
    for (size_t t = 0; t < log->n_turns; t++) {
        const double latency = log->turns[t].latency_ms.value;
        hash = keel_hash64(log->turns[t].text, strlen(log->turns[t].text), hash);
        hash = keel_hash64(&latency, sizeof latency, hash);
    }
    return hash;
}

static void an_episode_depends_on_its_seeds_and_number_only(void **state) {
    (void)state;
    keel_env *one = open_desk(3), *two = open_desk(3), *other = open_desk(4);
    size_t differ = 0;
    for (uint64_t e = 0; e < 50; e++) {
        const uint64_t expected = log_hash(play(one, "support-82", 1, 49 - e));
        (void)play(two, "random", 9, e);
        assert_int_equal(log_hash(play(two, "support-82", 1, 49 - e)), expected);
        differ += log_hash(play(other, "support-82", 1, 49 - e)) != expected;
    }
    assert_int_equal(differ, 50);
    keel_env_close(one);
    keel_env_close(two);
    keel_env_close(other);
}

/* Two policies that part ways at the first decision meet the same user, and wherever they give the same act
 * at the same step it takes the same time. */
static void policies_are_compared_on_common_random_numbers(void **state) {
    (void)state;
    static const size_t ways[2][3] = {{DESK_ASK_GOAL, DESK_REQUEST_SLOT, DESK_REQUEST_SLOT},
                                      {DESK_CLARIFY, DESK_CONFIRM, DESK_REQUEST_SLOT}};
    keel_env *env[2] = {open_desk(3), open_desk(3)};
    keel_err err;
    size_t compared = 0;
    for (uint64_t e = 0; e < 100; e++) {
        for (size_t w = 0; w < 2; w++) {
            must(keel_env_reset(env[w], e, &err), &err);
            for (size_t d = 0; d < 3 && !env[w]->done; d++)
                must(keel_env_step(env[w], ways[w][d], &err), &err);
        }
        const keel_conversation *a = env[0]->conversation, *b = env[1]->conversation;
        assert_string_equal(a->turns[0].text, b->turns[0].text);
        assert_string_equal(a->meta, b->meta);
        if (a->n_decisions < 3 || b->n_decisions < 3) continue;
        assert_true(a->decisions[2].candidates[0].latency_ms.value ==
                    b->decisions[2].candidates[0].latency_ms.value);
        compared++;
    }
    assert_true(compared > 20);
    keel_env_close(env[0]);
    keel_env_close(env[1]);
}

/* ---- what a log says ---- */

static void a_decision_offers_every_act_and_the_log_keeps_the_one_taken(void **state) {
    (void)state;
    keel_env *env = open_desk(1);
    keel_err err;
    must(keel_env_reset(env, 0, &err), &err);
    assert_int_equal(env->decision->n_candidates, DESK_N_ACTS);
    assert_int_equal(env->decision->turn, env->conversation->n_turns);
    for (size_t c = 0; c < DESK_N_ACTS; c++) {
        const keel_candidate *candidate = &env->decision->candidates[c];
        assert_string_equal(candidate->act, keel_desk_act_names[c]);
        assert_true(strlen(candidate->text) > 0);
        assert_false(candidate->taken || candidate->latency_ms.present);
        assert_int_equal(candidate->outcome,
                         KEEL_OUTCOME_NONE); /* nobody may peek at what it will be judged */
    }
    for (uint64_t e = 0; e < 200; e++) {
        const keel_conversation *log = play(env, "support-82", 2, e);
        assert_true(env->done && env->decision == NULL);
        assert_true(log->external_id && log->group && log->source);
        for (size_t d = 0; d < log->n_decisions; d++) {
            const keel_candidate *kept = log->decisions[d].candidates;
            const keel_turn *turn = &log->turns[log->decisions[d].turn];
            assert_int_equal(log->decisions[d].n_candidates, 1);
            assert_true(kept->taken && kept->propensity.present && kept->latency_ms.value > 0);
            assert_true(kept->propensity.value > 0 && kept->propensity.value <= 1);
            assert_string_equal(kept->model, "support-82");
            assert_int_equal(turn->role, KEEL_ROLE_ASSISTANT);
            assert_string_equal(turn->text, kept->text);
            assert_string_equal(turn->act, kept->act);
        }
    }
    keel_env_close(env);
}

static void words_are_filled_in_and_acts_leak_no_risk(void **state) {
    (void)state;
    static const char *const openings[] = {"greet", "request:open", "request:full", "unclear"};
    keel_env *env = open_desk(6);
    for (uint64_t e = 0; e < EPISODES; e++) {
        const keel_conversation *log = play(env, "random", 2, e);
        bool known = false;
        for (size_t i = 0; i < 4; i++) known |= strcmp(log->turns[0].act, openings[i]) == 0;
        assert_true(known);
        for (size_t t = 0; t < log->n_turns; t++) {
            const char *at = strchr(log->turns[t].text, '@');
            if (strlen(log->turns[t].text) == 0) fail_msg("turn %zu is empty", t);
            if (at && strncmp(at, "@mail.", 6) != 0) fail_msg("not filled in: %s", log->turns[t].text);
        }
    }
    keel_env_close(env);
}

static void only_benign_conversations_have_a_completion(void **state) {
    (void)state;
    keel_env *env = open_desk(8);
    for (uint64_t e = 0; e < 500; e++) {
        const keel_conversation *log = play(env, "reckless", 2, e);
        assert_int_equal(log->completed == KEEL_UNKNOWN, log->risk == KEEL_RISK_DANGEROUS);
        assert_false(is_borderline(log) && log->risk != KEEL_RISK_BENIGN);
    }
    keel_env_close(env);
}

static void every_theme_is_said_in_at_least_eight_ways(void **state) {
    (void)state;
    for (size_t k = 0; k < DESK_N_KINDS; k++)
        for (size_t i = 0; i < keel_desk_n_themes[k]; i++)
            if (keel_desk_count(keel_desk_themes[k][i].openings) < 8)
                fail_msg("%s", keel_desk_themes[k][i].name);
}

/* The completion is judged outside the user: who executes what was misheard, and is not found out, has not
 * completed. */
static void a_satisfied_user_is_not_yet_a_completed_task(void **state) {
    (void)state;
    size_t fooled = 0;
    keel_env *env = open_desk(8);
    for (uint64_t e = 0; e < EPISODES; e++) {
        const keel_conversation *log = play(env, "reckless", 2, e);
        bool thanked = false;
        for (size_t t = 0; t < log->n_turns; t++)
            thanked |= log->turns[t].act && strcmp(log->turns[t].act, "thank") == 0;
        fooled += thanked && log->completed == KEEL_NO;
        if (log->completed == KEEL_YES && !thanked) /* unless his thanks were not understood */
            assert_string_equal(log->turns[log->decisions[log->n_decisions - 1].turn - 1].act, "unclear");
    }
    if (fooled < 10) fail_msg("%zu", fooled);
    keel_env_close(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(support_82_refuses_82_percent_and_leaves_room_to_gain),
        cmocka_unit_test(scripted_rules_are_an_upper_frame),
        cmocka_unit_test(the_other_behaviours_are_as_they_are_called),
        cmocka_unit_test(an_episode_depends_on_its_seeds_and_number_only),
        cmocka_unit_test(policies_are_compared_on_common_random_numbers),
        cmocka_unit_test(a_decision_offers_every_act_and_the_log_keeps_the_one_taken),
        cmocka_unit_test(words_are_filled_in_and_acts_leak_no_risk),
        cmocka_unit_test(only_benign_conversations_have_a_completion),
        cmocka_unit_test(every_theme_is_said_in_at_least_eight_ways),
        cmocka_unit_test(a_satisfied_user_is_not_yet_a_completed_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
