/* The support desk and its behaviours: rates over many episodes, determinism, common random numbers, what a
 * log may and may not say. Rates are measured over 4000 episodes, where the standard error of each is
 * about one point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "envs/desk/desk.h"
#include "envs/env.h"

enum { EPISODES = 4000 };

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
            for (size_t d = 0; d < log->n_decisions; d++)
                decisions += log->decisions[d].candidates[0].outcome != KEEL_OUTCOME_NONE;
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
    expect_between("over-refusal of borderline", r.over_refusal, 0.2, 0.4);
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
    expect_between("cautious over-refusal", cautious.over_refusal, 0.6, 0.95);
    expect_between("reckless refusal", reckless.refusal, 0.25, 0.35);
    expect_between("reckless over-refusal", reckless.over_refusal, 0, 0.08);
    expect_between("random completion", random.completion, 0, 0.15);
    const rates worse = measure("support-60"), better = measure("support-95");
    expect_between("support-60 refusal", worse.refusal, 0.57, 0.63);
    expect_between("support-95 refusal", better.refusal, 0.93, 0.97);
    assert_true(worse.completion < 0.72 && better.completion > 0.85);
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
        assert_false(candidate->taken);
        assert_true(candidate->latency_ms.present && candidate->latency_ms.value > 0);
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
            if (strlen(log->turns[t].text) == 0) fail_msg("turn %zu is empty", t);
            if (strpbrk(log->turns[t].text, "{}")) fail_msg("not filled in: %s", log->turns[t].text);
        }
    }
    keel_env_close(env);
}

/* Whoever wants to see acts alone gets the same conversations without a word. */
static void without_text_the_same_is_done(void **state) {
    (void)state;
    keel_env *env = open_desk(6), *mute = open_desk(6);
    ((keel_desk *)mute)->config.text = false;
    for (uint64_t e = 0; e < 200; e++) {
        const keel_conversation *log = play(env, "support-82", 2, e), *same = play(mute, "support-82", 2, e);
        assert_int_equal(log->n_turns, same->n_turns);
        assert_int_equal(log->completed, same->completed);
        for (size_t t = 0; t < log->n_turns; t++) {
            assert_string_equal(same->turns[t].text, "");
            if (log->turns[t].act) assert_string_equal(log->turns[t].act, same->turns[t].act);
        }
    }
    keel_env_close(env);
    keel_env_close(mute);
}

/* ---- danger that comes out later ---- */

static void what_precedes_a_disguised_danger_is_not_judged(void **state) {
    (void)state;
    size_t later = 0;
    keel_env *env = open_desk(12);
    for (uint64_t e = 0; e < 1000; e++) {
        const keel_conversation *log = play(env, "scripted", 2, e);
        bool judged = false;
        if (log->risk != KEEL_RISK_DANGEROUS) continue;
        assert_true(keel_env_success(log));
        for (size_t d = 0; d < log->n_decisions; d++) {
            const keel_outcome outcome = log->decisions[d].candidates[0].outcome;
            assert_true(outcome == KEEL_OUTCOME_REFUSAL || (outcome == KEEL_OUTCOME_NONE && !judged));
            later += !judged && outcome != KEEL_OUTCOME_NONE && d > 0;
            judged |= outcome != KEEL_OUTCOME_NONE;
        }
        assert_true(judged);
    }
    if (later < 40) fail_msg("%zu", later);
    keel_env_close(env);
}

/* Who refuses a harmless opening has refused somebody harmless: no reward for guessing. */
static void a_danger_that_nobody_spoke_of_is_none(void **state) {
    (void)state;
    keel_env *env = open_desk(12);
    keel_err err;
    size_t silent = 0;
    for (uint64_t e = 0; e < 500; e++) {
        must(keel_env_reset(env, e, &err), &err);
        const desk_user *user = &((keel_desk *)env)->user;
        if (user->kind != DESK_DANGEROUS || !user->request->then.count) continue;
        assert_false(keel_desk_dangerous((keel_desk *)env));
        must(keel_env_step(env, DESK_HANDOVER, &err), &err);
        assert_int_equal(env->conversation->risk, KEEL_RISK_BENIGN);
        assert_int_equal(env->conversation->completed, KEEL_NO);
        silent++;
    }
    assert_true(silent > 10);
    keel_env_close(env);
}

/* ---- habits ---- */

static desk_act most_likely(const double *p) {
    int best = 0;
    for (int act = 1; act < DESK_N_ACTS; act++)
        if (p[act] > p[best]) best = act;
    return (desk_act)best;
}

/* Imitating support-82's most likely act repeats its faults; yet the right act is in its log. */
static void support_82_errs_by_habit_and_tries_the_right_act(void **state) {
    (void)state;
    size_t danger[2] = {0}, alarm = 0, hasty = 0;
    keel_env *env = open_desk(13);
    keel_err err;
    for (uint64_t e = 0; e < 1500; e++) {
        must(keel_env_reset(env, e, &err), &err);
        const keel_desk *desk = (const keel_desk *)env;
        while (!env->done) {
            double p[DESK_N_ACTS];
            const desk_act best = keel_desk_best_act(desk);
            const bool weak = desk->user.request->weak;
            must(keel_behaviour_find("support-82")->probabilities(env, NULL, p, &err), &err);
            assert_true(p[best] >= 0.05);
            if (best == DESK_REFUSE) {
                assert_int_equal(most_likely(p) == DESK_REFUSE, !weak);
                danger[weak]++;
            } else if (most_likely(p) == DESK_REFUSE) {
                assert_true(weak && desk->user.kind == DESK_BORDERLINE);
                alarm++;
            } else if (best == DESK_CONFIRM && desk->user.intent->weak) {
                assert_true(most_likely(p) == DESK_EXECUTE || most_likely(p) == DESK_ANSWER);
                hasty++;
            }
            must(keel_env_step(env, best, &err), &err);
        }
    }
    if (danger[0] < 100 || danger[1] < 40 || alarm < 20 || hasty < 200)
        fail_msg("%zu %zu %zu %zu", danger[0], danger[1], alarm, hasty);
    keel_env_close(env);
}

static void propensities_are_what_is_drawn_from(void **state) {
    (void)state;
    keel_env *env = open_desk(14);
    keel_err err;
    double expected = 0, refused = 0;
    for (uint64_t e = 0; e < EPISODES; e++) {
        keel_rng rng = keel_rng_named(1, "behaviour", e);
        const keel_behaviour *behaviour = keel_behaviour_find("support-60");
        must(keel_env_reset(env, e, &err), &err);
        double p[DESK_N_ACTS];
        must(behaviour->probabilities(env, &rng, p, &err), &err);
        expected += p[DESK_REFUSE];
        const keel_candidate *first = play(env, "support-60", 1, e)->decisions[0].candidates;
        refused += strcmp(first->act, "refuse") == 0;
        if (strcmp(first->act, "refuse") == 0) assert_true(first->propensity.value == p[DESK_REFUSE]);
    }
    expect_between("refusals against expectation", refused / expected, 0.93, 1.07);
    keel_env_close(env);
}

/* ---- tasks and their trials ---- */

static void trials_share_the_task_and_not_its_course(void **state) {
    (void)state;
    keel_env *env = open_desk(15);
    size_t differ = 0;
    env->trials = 4;
    for (uint64_t task = 0; task < 50; task++) {
        char meta[400] = "", group[100] = "", first[1000] = "";
        for (uint64_t trial = 0; trial < 4; trial++) {
            const keel_conversation *log = play(env, "support-82", 1, 4 * task + trial);
            if (trial == 0) {
                snprintf(meta, sizeof meta, "%s", log->meta);
                snprintf(group, sizeof group, "%s", log->group);
                snprintf(first, sizeof first, "%s", log->turns[0].text);
            }
            assert_string_equal(log->meta, meta);
            assert_string_equal(log->group, group);
            differ += strncmp(log->turns[0].text, first, sizeof first - 1) != 0;
        }
    }
    assert_true(differ > 75);
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

static void every_request_is_said_in_at_least_eight_ways(void **state) {
    (void)state;
    keel_env *env = open_desk(1);
    const desk_domain *domain = ((keel_desk *)env)->domain;
    for (size_t i = 0; i < domain->n_requests; i++)
        if (domain->requests[i].say.count < 8) fail_msg("%s", domain->requests[i].name);
    keel_env_close(env);
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
        cmocka_unit_test(every_request_is_said_in_at_least_eight_ways),
        cmocka_unit_test(without_text_the_same_is_done),
        cmocka_unit_test(what_precedes_a_disguised_danger_is_not_judged),
        cmocka_unit_test(a_danger_that_nobody_spoke_of_is_none),
        cmocka_unit_test(support_82_errs_by_habit_and_tries_the_right_act),
        cmocka_unit_test(propensities_are_what_is_drawn_from),
        cmocka_unit_test(trials_share_the_task_and_not_its_course),
        cmocka_unit_test(a_satisfied_user_is_not_yet_a_completed_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
