/* Choosing among checkpoints on a part of the split that nothing was learned from: what is chosen, when
 * nothing can be, and the same bytes whatever the threads and interruptions. */
#include "core/pcg.h"
#include "rl/runs.h"
#include "rl/train/train.h"
#include "rl/train/validate_internal.h"
#include "support/threads.h"

typedef struct world {
    char folder[256];
    keel_store *store;
    keel_base base;
    keel_split split;
    keel_reward_config rewards;
    keel_learner_config config;
    keel_validation validation;
    bool validates;
} world;

/* Tasks of two decisions: act2 completes them, and the log takes any act alike. */
static void add_tasks(keel_store *store, size_t count) {
    keel_rng rng = keel_rng_named(1, "tasks", 0);
    for (size_t i = 0; i < count; ++i) {
        const char *const users[] = {i % 2 ? "u1" : "u2", "u3"};
        keel_candidate candidates[2];
        bool done = false;
        char id[32];
        for (size_t d = 0; d < 2; ++d) {
            size_t act = (size_t)keel_rng_below(&rng, 3);
            done = done || act == 2;
            candidates[d] = (keel_candidate){.act = fixture_acts[act],
                                             .taken = true,
                                             .propensity = {true, 1.0 / 3},
                                             .outcome = KEEL_OUTCOME_COMPLIANCE,
                                             .judge = KEEL_AUTHORITY_HUMAN};
        }
        snprintf(id, sizeof id, "t%03zu", i);
        fixture_add(store, id, KEEL_RISK_BENIGN, done ? KEEL_YES : KEEL_NO, users, 2, candidates, 1);
    }
}

static world open_world(const char *name, size_t tasks) {
    world w = {.base = fixture_base(KEEL_SPACE_ACTS), .validates = true};
    w.store = fixture_store(name);
    snprintf(w.folder, sizeof w.folder, "scratch-%s", name);
    add_tasks(w.store, tasks);
    fixture_derive(w.store);
    run_encode(w.store, &w.base);
    MUST(keel_split_parse("train", &w.split, err));
    MUST(keel_options_defaults(keel_reward_options, &w.rewards, err));
    MUST(keel_split_cut(&w.split, "0/3", &w.validation.part, &w.validation.rest, err));
    w.validation.points = 4;
    w.validation.fit_steps = 30;
    MUST(keel_learner_preset("keel", "cql", &w.config, err));
    w.config.batch = 32;
    w.config.steps = 400;
    w.config.kl_budget = 0.2;
    w.config.hidden = (keel_int_list){1, {16}};
    w.config.log_every = 40;
    w.config.checkpoint_every = 50;
    return w;
}

static void close_world(world *w) {
    keel_store_close(w->store);
}

static keel_status train(world *w, const char *out, size_t threads, keel_err *err) {
    keel_pool *pool = NULL;
    char metrics[64];
    snprintf(metrics, sizeof metrics, "%s.jsonl", out);
    KEEL_TRY(keel_pool_open(&pool, threads, err));
    const keel_train_job job = {.store = w->store,
                                .split = &w->split,
                                .validation = w->validates ? &w->validation : NULL,
                                .base = &w->base,
                                .rewards = &w->rewards,
                                .config = &w->config,
                                .out_dir = scratch_path(w->folder, out),
                                .metrics_path = scratch_path(w->folder, metrics),
                                .replace = true};
    keel_status status = keel_train(&job, pool, err);
    keel_pool_close(pool);
    return status;
}

static void assert_same_run(const world *w, const char *a, const char *b) {
    assert_same_file(w->folder, a, b, "/model.safetensors");
    assert_same_file(w->folder, a, b, "/keel.json");
    assert_same_file(w->folder, a, b, ".jsonl");
    assert_false(keel_file_exists(scratch_path(w->folder, ".b.checkpoint")));
}

/* What an artefact says of the choice. */
static const cJSON *told(const cJSON *manifest) {
    const cJSON *validation = keel_json_get(keel_json_get(manifest, "metrics"), "validation");
    assert_non_null(validation);
    return validation;
}

static double number(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* ---- what is chosen ---- */

static void the_highest_bound_is_chosen_and_its_parameters_are_kept(void **state) {
    (void)state;
    world w = open_world("validate-chosen", 400);
    const cJSON *row;
    double highest = -INFINITY, at = 0, last = 0;
    w.config.rate_decay = false;   /* so that a shorter run is the longer one's beginning */
    w.config.learning_rate = 0.05; /* more steps do not always help */
    MUST(train(&w, "long", 1, err));
    cJSON *manifest = run_manifest(w.folder, "long");
    const cJSON *validation = told(manifest);
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(validation, "checkpoints");
    assert_int_equal(cJSON_GetArraySize(rows), 4);
    cJSON_ArrayForEach (row, rows) {
        double bound = number(row, "bound");
        last = number(row, "step");
        assert_true(bound < number(row, "value") && number(row, "ess") >= 30 && number(row, "beta") > 0);
        if (bound > highest) at = last;
        highest = fmax(highest, bound);
    }
    assert_true(last == 400 && number(validation, "chosen") == at && at < last);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(validation, "bound_above_logged")));
    assert_true(highest > number(validation, "logged"));
    assert_true(fabs(number(validation, "confidence") - (1 - .05 / 4)) < 1e-12);
    /* Nothing but the rest was learned from: so is this run, to the chosen step. */
    w.validates = false;
    w.split = w.validation.rest;
    w.config.steps = (int64_t)at;
    MUST(train(&w, "short", 1, err));
    assert_same_file(w.folder, "long", "short", "/model.safetensors");
    cJSON_Delete(manifest);
    close_world(&w);
}

static void with_too_few_conversations_the_last_checkpoint_is_kept(void **state) {
    (void)state;
    world w = open_world("validate-few", 60);
    MUST(train(&w, "judged", 1, err));
    cJSON *manifest = run_manifest(w.folder, "judged");
    const cJSON *validation = told(manifest);
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(validation, "checkpoints")->child;
    assert_true(number(first, "ess") < 30);
    assert_true(isnan(number(first, "bound")) && isnan(number(first, "value")));
    assert_true(isnan(number(validation, "chosen")));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(validation, "bound_above_logged")));
    w.validates = false;
    w.split = w.validation.rest;
    MUST(train(&w, "last", 1, err));
    assert_same_file(w.folder, "judged", "last", "/model.safetensors");
    cJSON_Delete(manifest);
    close_world(&w);
}

static void of_equal_bounds_the_earlier_is_chosen_and_of_unjudged_ones_none(void **state) {
    (void)state;
    keel_validation_trials trials = {.best = -1};
    assert_false(keel_validation_add(&trials, &(keel_validation_trial){.step = 1, .bound = 9}));
    assert_true(keel_validation_add(&trials, &(keel_validation_trial){.step = 2, .judged = 1, .bound = -1}));
    assert_false(keel_validation_add(&trials, &(keel_validation_trial){.step = 3, .judged = 1, .bound = -1}));
    assert_true(keel_validation_add(&trials, &(keel_validation_trial){.step = 4, .judged = 1, .bound = -.5}));
    assert_true(trials.count == 4 && trials.best == 3);
}

static void points_are_even_and_the_last_is_the_end(void **state) {
    (void)state;
    const keel_validation three = {.points = 3};
    const uint64_t expected[] = {34, 67, 100};
    for (size_t i = 0; i < 3; ++i) assert_int_equal(keel_validation_step(&three, i, 100), expected[i]);
    assert_int_equal(keel_validation_step(&three, 2, 1), 1);
}

/* ---- the same bytes ---- */

static void the_choice_is_the_same_for_any_number_of_threads(void **state) {
    (void)state;
    world w = open_world("validate-threads", 400);
    MUST(train(&w, "one", 1, err));
    MUST(train(&w, "two", 2, err));
    MUST(train(&w, "eight", 8, err));
    assert_same_run(&w, "one", "two");
    assert_same_run(&w, "one", "eight");
    close_world(&w);
}

static keel_status interrupt_run(world *w, size_t lines, keel_err *err) {
    run_watch watch;
    run_watch_begin(&watch, w->folder, "b.jsonl", lines);
    keel_status status = train(w, "b", 2, err);
    run_watch_end(&watch);
    return status;
}

/* Stopped after each of the first lines in turn: between points, while one is judged, after the last step;
 * or, where the lines are there from the time before, even while the log is read, which has no step to tell
 * of. */
static void an_interrupted_choice_of_two_threads_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    world w = open_world("validate-resume", 400);
    size_t stopped = 0, told_how = 0;
    MUST(train(&w, "a", 2, err));
    keel_status status = KEEL_E_INTERRUPTED;
    for (size_t lines = 1; lines < 14 && status == KEEL_E_INTERRUPTED; ++lines) {
        keel_err error = {0};
        status = interrupt_run(&w, lines, &error);
        stopped += status == KEEL_E_INTERRUPTED;
        if (status != KEEL_E_INTERRUPTED || !strstr(error.message, "training stopped")) continue;
        assert_non_null(strstr(error.hint, "again"));
        told_how++;
    }
    assert_true(stopped > 4 && told_how > 0);
    if (status != KEEL_OK) MUST(train(&w, "b", 1, err));
    assert_same_run(&w, "a", "b");
    close_world(&w);
}

static void a_killed_choice_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    world w = open_world("validate-kill", 400);
    MUST(train(&w, "a", 1, err));
    int killed = 0;
    for (size_t lines = 3; lines < 14; lines += 3) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            keel_err error = {0};
            w.store = run_store(w.folder);
            _exit(train(&w, "b", 1, &error) == KEEL_OK ? 0 : 1);
        }
        run_await_lines(scratch_path(w.folder, "b.jsonl"), lines);
        killed += run_kill(child);
    }
    assert_true(killed > 0);
    MUST(train(&w, "b", 2, err));
    assert_same_run(&w, "a", "b");
    close_world(&w);
}

/* A run without a validation part, or with another, is not gone on from. */
static void another_validation_part_is_another_run(void **state) {
    (void)state;
    world w = open_world("validate-other", 400);
    keel_err error = {0};
    MUST(train(&w, "a", 1, err));
    world other = w;
    other.validation.points = 2;
    assert_int_equal(interrupt_run(&other, 2, &error), KEEL_E_INTERRUPTED);
    other.validates = false;
    assert_int_equal(interrupt_run(&other, 2, &error), KEEL_E_INTERRUPTED);
    MUST(train(&w, "b", 1, err));
    assert_same_run(&w, "a", "b");
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_highest_bound_is_chosen_and_its_parameters_are_kept),
        cmocka_unit_test(with_too_few_conversations_the_last_checkpoint_is_kept),
        cmocka_unit_test(of_equal_bounds_the_earlier_is_chosen_and_of_unjudged_ones_none),
        cmocka_unit_test(points_are_even_and_the_last_is_the_end),
        cmocka_unit_test(the_choice_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(an_interrupted_choice_of_two_threads_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_killed_choice_goes_on_to_the_same_bytes),
        cmocka_unit_test(another_validation_part_is_another_run),
    };
    interrupt_listen();
    only_threads_for_tsan();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
