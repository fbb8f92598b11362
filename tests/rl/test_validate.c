/* Choosing among checkpoints on a part of the split that nothing was learned from: what is chosen, when
 * nothing can be, and the same bytes whatever the threads and interruptions. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/pcg.h"
#include "policies/encode_store.h"
#include "rl/fixture.h"
#include "rl/train/train.h"
#include "rl/train/validate_internal.h"
#include "support/interrupt.h"
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
    keel_pool *pool = NULL;
    w.store = fixture_store(name);
    snprintf(w.folder, sizeof w.folder, "scratch-%s", name);
    add_tasks(w.store, tasks);
    fixture_derive(w.store);
    MUST(keel_pool_open(&pool, 1, err));
    MUST(keel_encode_store(w.store, NULL, &w.base, pool, NULL, err));
    keel_pool_close(pool);
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

static void assert_same_file(const world *w, const char *a, const char *b, const char *name) {
    char path[2][600], hex[2][65];
    snprintf(path[0], sizeof path[0], "%s/%s%s", w->folder, a, name);
    snprintf(path[1], sizeof path[1], "%s/%s%s", w->folder, b, name);
    for (size_t i = 0; i < 2; ++i) MUST(keel_file_hash(path[i], hex[i], err));
    assert_string_equal(hex[0], hex[1]);
}

static void assert_same_run(const world *w, const char *a, const char *b) {
    assert_same_file(w, a, b, "/model.safetensors");
    assert_same_file(w, a, b, "/keel.json");
    assert_same_file(w, a, b, ".jsonl");
    assert_false(keel_file_exists(scratch_path(w->folder, ".b.checkpoint")));
}

/* What the artefact says of the choice; the caller deletes. */
static cJSON *told(const world *w, const char *out) {
    char path[64];
    cJSON *manifest = NULL;
    snprintf(path, sizeof path, "%s/keel.json", out);
    MUST(keel_json_parse_file(scratch_path(w->folder, path), &manifest, err));
    cJSON *metrics = cJSON_GetObjectItemCaseSensitive(manifest, "metrics");
    cJSON *validation = cJSON_DetachItemFromObjectCaseSensitive(metrics, "validation");
    cJSON_Delete(manifest);
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
    cJSON *validation = told(&w, "long");
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
    assert_same_file(&w, "long", "short", "/model.safetensors");
    cJSON_Delete(validation);
    close_world(&w);
}

static void with_too_few_conversations_the_last_checkpoint_is_kept(void **state) {
    (void)state;
    world w = open_world("validate-few", 60);
    MUST(train(&w, "judged", 1, err));
    cJSON *validation = told(&w, "judged");
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(validation, "checkpoints")->child;
    assert_true(number(first, "ess") < 30);
    assert_true(isnan(number(first, "bound")) && isnan(number(first, "value")));
    assert_true(isnan(number(validation, "chosen")));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(validation, "bound_above_logged")));
    w.validates = false;
    w.split = w.validation.rest;
    MUST(train(&w, "last", 1, err));
    assert_same_file(&w, "judged", "last", "/model.safetensors");
    cJSON_Delete(validation);
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

typedef struct watch {
    char path[512];
    size_t lines;
} watch;

/* Interrupts as soon as the metrics file holds so many lines, wherever training or judging is by then. */
static void *interrupt_soon(void *context) {
    const watch *at = context;
    for (int i = 0; i < 50000; ++i) {
        keel_buf text = {0};
        size_t lines = 0;
        if (keel_file_exists(at->path) && keel_file_read(at->path, 0, &text, NULL) == KEEL_OK)
            for (size_t c = 0; c < text.length; ++c) lines += text.data[c] == '\n';
        keel_buf_free(&text);
        if (lines >= at->lines) break;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    interrupt_set(true);
    return NULL;
}

static keel_status interrupt_run(world *w, size_t lines, keel_err *err) {
    watch at = {.lines = lines};
    pthread_t thread;
    snprintf(at.path, sizeof at.path, "%s/b.jsonl", w->folder);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &at), 0);
    keel_status status = train(w, "b", 2, err);
    pthread_join(thread, NULL);
    interrupt_set(false);
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
    for (int round = 0; round < 4; ++round) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            keel_store *store = NULL; /* a handle does not cross a fork */
            if (keel_store_open(&store, scratch_path(w.folder, "logs.keel"), KEEL_STORE_READ, NULL) !=
                KEEL_OK)
                _exit(1);
            w.store = store;
            keel_err error = {0};
            _exit(train(&w, "b", 1, &error) == KEEL_OK ? 0 : 1);
        }
        nanosleep(&(struct timespec){.tv_nsec = (round + 1) * 40000000L}, NULL);
        kill(child, SIGKILL);
        int how;
        waitpid(child, &how, 0);
    }
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
