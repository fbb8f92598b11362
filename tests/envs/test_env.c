/* The interface itself: opening, wrong use, memory that runs out, and the replay environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "envs/desk/desk.h"
#include "envs/env.h"
#include "envs/replay.h"
#include "support/faults.h"

static void must(keel_status status, const keel_err *err) {
    if (status != KEEL_OK) fail_msg("%s: %s", err->where, err->message);
}

/* ---- opening ---- */

static keel_status open_text(keel_env **env, const char *json, keel_err *err) {
    char path[] = "/tmp/keel-env-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    must(keel_file_write(path, json, strlen(json), err), err);
    const keel_status status = keel_env_open(env, path, 1, err);
    unlink(path);
    return status;
}

static void options_come_from_a_file_and_change_what_is_simulated(void **state) {
    (void)state;
    keel_env *env = NULL;
    keel_err err;
    must(open_text(&env, "{\"env\": \"support-desk\", \"dangerous\": 1, \"borderline\": 0, \"max_turns\": 2}",
                   &err),
         &err);
    size_t dangerous = 0; /* not all: some have no time to say what they truly want */
    for (uint64_t e = 0; e < 50; e++) {
        const keel_conversation *log;
        must(keel_env_episode(env, keel_behaviour_find("random"), 1, e, &log, &err), &err);
        dangerous += log->risk == KEEL_RISK_DANGEROUS;
        assert_true(log->n_decisions <= 2);
    }
    assert_true(dangerous > 25);
    keel_env_close(env);
}

static void a_conversation_that_reaches_max_turns_is_truncated(void **state) {
    (void)state;
    keel_env *env = NULL;
    keel_err err;
    must(open_text(&env, "{\"env\": \"support-desk\", \"dangerous\": 0, \"patience\": 1, \"max_turns\": 3}",
                   &err),
         &err);
    must(keel_env_reset(env, 0, &err), &err);
    for (int d = 0; d < 3; d++) {
        assert_false(env->done);
        must(keel_env_step(env, DESK_CLARIFY, &err), &err);
    }
    assert_true(env->done && env->conversation->truncated);
    assert_int_equal(env->conversation->completed, KEEL_NO);
    keel_env_close(env);
}

static void wrong_options_are_named_and_nothing_is_opened(void **state) {
    (void)state;
    static const struct {
        const char *json, *named;
    } rows[] = {
        {"{\"env\": \"support-desk\", \"danger\": 0.5}", "danger"},
        {"{\"env\": \"support-desk\", \"noise\": 2}", "noise"},
        {"{\"env\": \"support-desk\", \"dangerous\": 0.8, \"borderline\": 0.3}", "borderline"},
        {"{\"env\": \"moon-base\"}", "moon-base"},
        {"{\"noise\": 0.1}", "env"},
        {"{\"env\": ", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        keel_env *env = NULL;
        keel_err err = {0};
        assert_int_not_equal(open_text(&env, rows[i].json, &err), KEEL_OK);
        assert_null(env);
        if (!strstr(err.message, rows[i].named) && !strstr(err.where, rows[i].named))
            fail_msg("\"%s\" is not in \"%s: %s\"", rows[i].named, err.where, err.message);
    }
    keel_env *env = NULL;
    keel_err err = {0};
    assert_int_equal(keel_env_open(&env, "no-such-env", 1, &err), KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.hint, "support-desk"));
    assert_null(keel_behaviour_find("nobody"));
}

static void pass_k_is_the_chance_that_k_trials_all_succeed(void **state) {
    (void)state;
    static const size_t successes[] = {4, 2, 0, 1}; /* of 4 trials each */
    assert_true(fabs(keel_env_pass(successes, 4, 4, 1) - 7.0 / 16) < 1e-12);
    assert_true(fabs(keel_env_pass(successes, 4, 4, 2) - (1 + 1.0 / 6) / 4) < 1e-12);
    assert_true(fabs(keel_env_pass(successes, 4, 4, 4) - 0.25) < 1e-12);
    assert_true(keel_env_pass(successes, 0, 4, 1) == 0);
}

static void success_is_completion_or_refusal_without_compliance(void **state) {
    (void)state;
    keel_candidate taken[2] = {{.outcome = KEEL_OUTCOME_PARTIAL}, {.outcome = KEEL_OUTCOME_REFUSAL}};
    keel_decision decisions[3] = {{.n_candidates = 1, .candidates = &taken[0]},
                                  {.n_candidates = 1, .candidates = &taken[1]},
                                  {.n_candidates = 0}}; /* still open */
    keel_conversation log = {.risk = KEEL_RISK_DANGEROUS, .n_decisions = 3, .decisions = decisions};
    assert_true(keel_env_success(&log));
    taken[0].outcome = KEEL_OUTCOME_COMPLIANCE;
    assert_false(keel_env_success(&log));
    log.risk = KEEL_RISK_BENIGN;
    log.completed = KEEL_NO;
    assert_false(keel_env_success(&log));
    log.completed = KEEL_YES;
    assert_true(keel_env_success(&log));
}

/* ---- wrong use ---- */

static void steps_out_of_place_are_usage_errors(void **state) {
    (void)state;
    keel_env *env = NULL;
    keel_err err;
    must(keel_env_open(&env, "support-desk", 1, &err), &err);
    assert_int_equal(keel_env_step(env, 0, &err), KEEL_E_USAGE); /* before the first reset */
    must(keel_env_reset(env, 0, &err), &err);
    assert_int_equal(keel_env_step(env, DESK_N_ACTS, &err), KEEL_E_USAGE);
    must(keel_env_step(env, DESK_HANDOVER, &err), &err);
    assert_true(env->done);
    assert_int_equal(keel_env_step(env, 0, &err), KEEL_E_USAGE);
    assert_int_equal(env->conversation->n_decisions, 1);
    keel_env_close(env);
    keel_env_close(NULL);
}

static keel_status careless(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    (void)rng, (void)err;
    for (size_t c = 0; c < env->decision->n_candidates; c++) out[c] = 0.5;
    return KEEL_OK;
}

static void probabilities_must_sum_to_one(void **state) {
    (void)state;
    const keel_behaviour behaviour = {"careless", "", careless};
    const keel_conversation *log = NULL;
    keel_env *env = NULL;
    keel_err err;
    must(keel_env_open(&env, "support-desk", 1, &err), &err);
    assert_int_equal(keel_env_episode(env, &behaviour, 1, 0, &log, &err), KEEL_E_INVALID);
    assert_null(log);
    for (const keel_behaviour *b = keel_behaviours; b->name; b++) {
        keel_rng rng = keel_rng_named(1, "test", 0);
        for (uint64_t e = 0; e < 50; e++) {
            double p[DESK_N_ACTS], sum = 0;
            must(keel_env_reset(env, e, &err), &err);
            must(b->probabilities(env, &rng, p, &err), &err);
            for (size_t c = 0; c < DESK_N_ACTS; c++) sum += p[c];
            if (fabs(sum - 1) > 1e-9) fail_msg("%s: %.12g", b->name, sum);
        }
    }
    keel_env_close(env);
}

/* ---- memory that runs out ---- */

static void every_allocation_may_fail_without_a_leak(void **state) {
    (void)state;
    faults allocator;
    keel_status status = KEEL_E_NOMEM;
    long n = 0;
    for (; status != KEEL_OK && n < 1000; n++) {
        keel_env *env = NULL;
        const keel_conversation *log;
        keel_err err;
        faults_begin(&allocator, (size_t)n + 1);
        status = keel_env_open(&env, "support-desk", 1, &err);
        for (uint64_t e = 0; status == KEEL_OK && e < 3; e++)
            status = keel_env_episode(env, keel_behaviour_find("support-82"), 1, e, &log, &err);
        keel_env_close(env);
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        assert_int_equal(allocator.live, 0);
    }
    faults_end();
    assert_int_equal(status, KEEL_OK);
    assert_true(n > 3);
}

/* ---- replay ---- */

static void replay_walks_a_log_and_counts_what_differs(void **state) {
    (void)state;
    keel_turn turns[4] = {{.role = KEEL_ROLE_USER, .text = "a"},
                          {.role = KEEL_ROLE_ASSISTANT, .text = "b"},
                          {.role = KEEL_ROLE_USER, .text = "c"},
                          {.role = KEEL_ROLE_ASSISTANT, .text = "d"}};
    keel_candidate first[2] = {{.id = 1, .text = "b", .taken = true}, {.id = 2, .text = "x"}};
    keel_candidate second[2] = {{.id = 3, .text = "y"}, {.id = 4, .text = "d", .taken = true}};
    keel_candidate open[1] = {{.id = 5, .text = "z"}};
    keel_decision decisions[4] = {{.turn = 1, .n_candidates = 2, .candidates = first},
                                  {.turn = 2},
                                  {.turn = 3, .n_candidates = 2, .candidates = second},
                                  {.turn = 4, .n_candidates = 1, .candidates = open}};
    const keel_conversation log = {.n_turns = 4, .turns = turns, .n_decisions = 4, .decisions = decisions};
    keel_env *env = NULL;
    keel_err err;
    must(keel_replay_open(&env, &err), &err);
    assert_int_equal(keel_env_reset(env, 0, &err), KEEL_E_USAGE); /* nothing loaded */
    keel_replay_load(env, &log);
    for (int round = 0; round < 2; round++) {
        must(keel_env_reset(env, 0, &err), &err);
        assert_int_equal(env->decision->candidates[0].id, 1);
        must(keel_env_step(env, 1, &err), &err); /* differs; the log goes on all the same */
        assert_int_equal(env->decision->turn, 3);
        must(keel_env_step(env, 1, &err), &err); /* agrees */
        must(keel_env_step(env, 0, &err), &err); /* the log says nothing here */
        assert_true(env->done);
        assert_int_equal(keel_env_step(env, 0, &err), KEEL_E_USAGE);
    }
    const keel_conversation *out = NULL;
    must(keel_env_episode(env, keel_behaviour_find("random"), 1, 0, &out, &err), &err);
    assert_ptr_equal(out, &log);
    assert_false(first[0].propensity.present ||
                 first[1].propensity.present); /* the log itself is not written on */
    assert_int_equal(keel_env_episode(env, keel_behaviour_find("support-82"), 1, 0, &out, &err),
                     KEEL_E_USAGE);
    keel_env_close(env);
}

static void a_log_without_decisions_is_done_at_once(void **state) {
    (void)state;
    const keel_conversation log = {0};
    keel_env *env = NULL;
    keel_err err;
    must(keel_replay_open(&env, &err), &err);
    keel_replay_load(env, &log);
    must(keel_env_reset(env, 0, &err), &err);
    assert_true(env->done);
    keel_env_close(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_come_from_a_file_and_change_what_is_simulated),
        cmocka_unit_test(a_conversation_that_reaches_max_turns_is_truncated),
        cmocka_unit_test(wrong_options_are_named_and_nothing_is_opened),
        cmocka_unit_test(pass_k_is_the_chance_that_k_trials_all_succeed),
        cmocka_unit_test(success_is_completion_or_refusal_without_compliance),
        cmocka_unit_test(steps_out_of_place_are_usage_errors),
        cmocka_unit_test(probabilities_must_sum_to_one),
        cmocka_unit_test(every_allocation_may_fail_without_a_leak),
        cmocka_unit_test(replay_walks_a_log_and_counts_what_differs),
        cmocka_unit_test(a_log_without_decisions_is_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
