/* Training once more: the same bytes whatever the threads and interruptions, and nothing taken for its own
 * that another run made. */
#include "rl/train_fixture.h"

/* ---- the same bytes ---- */

static void the_artefact_is_the_same_for_any_number_of_threads(void **state) {
    (void)state;
    world w = open_world("train-threads", KEEL_SPACE_CANDIDATES, "cql");
    MUST(train(&w, "one", "one.jsonl", 1, err));
    MUST(train(&w, "two", "two.jsonl", 2, err));
    MUST(train(&w, "eight", "eight.jsonl", 8, err));
    assert_same_artefact(&w, "one", "two");
    assert_same_artefact(&w, "one", "eight");
    assert_same_file(w.folder, "one.jsonl", "two.jsonl", "");
    w.config.seed = 2;
    MUST(train(&w, "other", NULL, 1, err));
    keel_policy *one = load(&w, "one"), *other = load(&w, "other");
    assert_string_not_equal(one->hash, other->hash);
    keel_policy_close(one);
    keel_policy_close(other);
    close_world(&w);
}

static void interrupt_run(const world *w, const char *out, const char *metrics) {
    keel_err error = {0};
    run_watch watch;
    run_watch_begin(&watch, w->folder, metrics, 1);
    assert_int_equal(train(w, out, metrics, 2, &error), KEEL_E_INTERRUPTED);
    run_watch_end(&watch);
    assert_non_null(strstr(error.hint, "again"));
}

static void check_interrupted(bool conditioned) {
    world w = open_world("train-resume", KEEL_SPACE_ACTS, "cql");
    w.config.conditioned = conditioned;
    w.config.steps = 6000;
    w.config.log_every = 70;
    MUST(train(&w, "whole", "whole.jsonl", 2, err));
    interrupt_run(&w, "parts", "parts.jsonl");
    assert_true(keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")));
    assert_false(keel_file_exists(scratch_path(w.folder, "parts")));
    MUST(train(&w, "parts", "parts.jsonl", 1, err));
    assert_same_artefact(&w, "whole", "parts");
    assert_same_file(w.folder, "whole.jsonl", "parts.jsonl", "");
    assert_false(keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")));
    close_world(&w);
}

static void an_interrupted_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    check_interrupted(false);
    check_interrupted(true);
}

/* The multiplier moves in every step, and asks at every conversation: most of these lie within a move. */
static void an_interruption_within_a_move_of_the_multiplier_changes_no_byte(void **state) {
    (void)state;
    world w = open_world("train-move", KEEL_SPACE_ACTS, "cql-constrained");
    keel_status status = KEEL_E_INTERRUPTED;
    int interrupted = 0;
    w.config.steps = 14;
    w.config.checkpoint_every = 3;
    w.config.log_every = 4;
    MUST(train(&w, "whole", "whole.jsonl", 1, err));
    for (long at = 4; status == KEEL_E_INTERRUPTED; at += 5) {
        keel_err error = {0};
        interrupt_at(at);
        status = train(&w, "parts", "parts.jsonl", 1, &error);
        interrupt_at(0);
        interrupt_set(false);
        interrupted += status == KEEL_E_INTERRUPTED;
        MUST(train(&w, "parts", "parts.jsonl", 1, err));
        assert_same_artefact(&w, "whole", "parts");
        assert_same_file(w.folder, "whole.jsonl", "parts.jsonl", "");
    }
    assert_int_equal(status, KEEL_OK);
    assert_true(interrupted > 10);
    close_world(&w);
}

static void a_killed_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    world w = open_world("train-kill", KEEL_SPACE_ACTS, "cql");
    w.config.steps = 3000;
    w.config.log_every = w.config.checkpoint_every =
        50; /* a line of metrics at the very step of a checkpoint */
    MUST(train(&w, "whole", "whole.jsonl", 1, err));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        keel_err error = {0};
        w.store = run_store(w.folder);
        _exit(train(&w, "parts", "parts.jsonl", 1, &error) == KEEL_OK ? 0 : 1);
    }
    for (int i = 0; i < 20000 && !keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")); ++i)
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    run_kill(child);
    MUST(train(&w, "parts", "parts.jsonl", 2, err));
    assert_same_artefact(&w, "whole", "parts");
    assert_same_file(w.folder, "whole.jsonl", "parts.jsonl", "");
    close_world(&w);
}

/* ---- checkpoints of something else ---- */

static void a_checkpoint_of_another_configuration_is_not_gone_on_from(void **state) {
    (void)state;
    world w = open_world("train-other", KEEL_SPACE_ACTS, "cql");
    w.config.steps = 4000;
    MUST(train(&w, "whole", NULL, 1, err));
    MUST(keel_learner_set(&w.config, "alpha", "0.7", err));
    interrupt_run(&w, "parts", "parts.jsonl");
    MUST(keel_learner_set(&w.config, "alpha", "0.1", err));
    MUST(train(&w, "parts", NULL, 1, err));
    assert_same_artefact(&w, "whole", "parts");
    close_world(&w);
}

static void reward_turns(world *w, double turn_cost) {
    w->rewards.turn_cost = turn_cost;
    fixture_derive_under(w->store, &w->rewards);
}

static void a_run_stopped_under_other_rewards_is_not_gone_on_from(void **state) {
    (void)state;
    world w = open_world("train-rewards", KEEL_SPACE_ACTS, "cql");
    w.config.steps = 4000;
    reward_turns(&w, 0.5);
    MUST(train(&w, "whole", NULL, 1, err));
    reward_turns(&w, 0.1);
    interrupt_run(&w, "parts", "parts.jsonl");
    assert_true(keel_file_exists(scratch_path(w.folder, ".parts.checkpoint")));
    reward_turns(&w, 0.5);
    MUST(train(&w, "parts", NULL, 1, err));
    assert_same_artefact(&w, "whole", "parts");
    close_world(&w);
}

/* ---- what another run made ---- */

static void what_another_run_made_is_written_over_only_when_asked(void **state) {
    (void)state;
    world w = open_world("train-replace", KEEL_SPACE_ACTS, "cql");
    keel_err error = {0};
    char before[65], after[65];
    w.config.steps = 20;
    w.keeps = true;
    MUST(train(&w, "policy", NULL, 1, err));
    MUST(train(&w, "same", NULL, 1, err));
    MUST(train(&w, "policy", NULL, 2, err)); /* the same run again */
    assert_same_artefact(&w, "policy", "same");
    MUST(keel_file_hash(scratch_path(w.folder, "policy/keel.json"), before, err));
    MUST(keel_learner_set(&w.config, "alpha", "0.7", err));
    w.rewards.target_ms = 300;
    assert_int_equal(train(&w, "policy", NULL, 1, &error), KEEL_E_CONFLICT);
    assert_non_null(strstr(error.message, "holds a policy (cql)"));
    assert_non_null(strstr(error.message, "alpha (0.1, here 0.7)"));
    assert_non_null(strstr(error.message, "rewards.target_ms (2000, here 300)"));
    assert_non_null(strstr(error.hint, "--replace"));
    MUST(keel_file_hash(scratch_path(w.folder, "policy/keel.json"), after, err));
    assert_string_equal(before, after);
    assert_false(keel_file_exists(scratch_path(w.folder, ".policy.checkpoint")));
    w.keeps = false;
    MUST(train(&w, "policy", NULL, 1, err));
    MUST(keel_file_hash(scratch_path(w.folder, "policy/keel.json"), after, err));
    assert_string_not_equal(before, after);
    close_world(&w);
}

static void each_input_of_a_run_makes_another_identity(void **state) {
    (void)state;
    world w = open_world("train-identity", KEEL_SPACE_ACTS, "cql");
    enum { N = 5 };
    char identity[N][65];
    w.config.steps = 5;
    for (size_t i = 0; i < N; ++i) {
        const world usual = w;
        const char *user = "u1";
        keel_candidate one = {.act = fixture_acts[0], .taken = true};
        if (i == 1) MUST(keel_learner_set(&w.config, "alpha", "0.7", err));
        if (i == 2) w.config.seed = 2;
        if (i == 3) w.rewards.turn_cost = 0.25;
        if (i == 4) fixture_add(w.store, "more", KEEL_RISK_BENIGN, KEEL_UNKNOWN, &user, 1, &one, 1);
        MUST(train(&w, "policy", NULL, 1, err));
        cJSON *manifest = run_manifest(w.folder, "policy");
        snprintf(identity[i], sizeof identity[i], "%s",
                 text_of(keel_json_get(manifest, "lineage"), "identity"));
        cJSON_Delete(manifest);
        for (size_t k = 0; k < i; ++k) assert_string_not_equal(identity[i], identity[k]);
        w = usual;
    }
    close_world(&w);
}

static void a_damaged_checkpoint_is_an_error_that_names_it(void **state) {
    (void)state;
    world w = open_world("train-damaged", KEEL_SPACE_ACTS, "cql");
    keel_err error = {0};
    MUST(keel_file_write(scratch_path(w.folder, ".policy.checkpoint"), "nonsense", 8, err));
    assert_int_not_equal(train(&w, "policy", NULL, 1, &error), KEEL_OK);
    assert_non_null(strstr(error.where, ".policy.checkpoint"));
    assert_false(keel_file_exists(scratch_path(w.folder, "policy")));
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_artefact_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(an_interrupted_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(an_interruption_within_a_move_of_the_multiplier_changes_no_byte),
        cmocka_unit_test(a_killed_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_checkpoint_of_another_configuration_is_not_gone_on_from),
        cmocka_unit_test(a_damaged_checkpoint_is_an_error_that_names_it),
        cmocka_unit_test(a_run_stopped_under_other_rewards_is_not_gone_on_from),
        cmocka_unit_test(what_another_run_made_is_written_over_only_when_asked),
        cmocka_unit_test(each_input_of_a_run_makes_another_identity),
    };
    interrupt_listen();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
