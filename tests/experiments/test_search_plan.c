/* What a search looks at and what its trials are: metrics, requirements, command lines as recipes, settings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "experiments/recipe_words.h"
#include "experiments/search/search_plan.h"

static keel_arena arena;
static keel_err err;

static int end(void **state) {
    (void)state;
    keel_arena_free(&arena);
    return 0;
}

static keel_step steps[] = {{.name = "train"}, {.name = "eval"}};
static const keel_recipe two = {.steps = steps, .n_steps = 2};

static keel_search_value find(const char *text, const char *json) {
    keel_search_metric metric;
    keel_search_value out;
    cJSON *result;
    assert_int_equal(keel_search_metric_read(&two, text, &arena, "--maximise", &metric, &err), KEEL_OK);
    assert_int_equal(keel_json_parse(json, strlen(json), "json", &result, &err), KEEL_OK);
    keel_status status = keel_search_metric_find(&metric, result, &out, &err);
    cJSON_Delete(result);
    if (status != KEEL_OK) fail_msg("%s: %s: %s", text, err.where, err.message);
    return out;
}

static void a_metric_is_found_by_its_place(void **state) {
    (void)state;
    static const char evaluation[] =
        "{\"policy\": {\"metrics\": {\"speed\": {\"value\": 0.5, \"low\": 0.25, \"high\": 0.75, \"n\": 3},"
        " \"safety\": {\"value\": null, \"low\": null, \"high\": null, \"n\": 0}}},"
        " \"differences\": {\"policy - logged\": {\"speed\": {\"value\": 2, \"low\": 1, \"high\": 3}}}, \"good\": true}";
    keel_search_value v = find("speed", evaluation);
    assert_true(v.value.value == 0.5 && v.low.value == 0.25 && v.high.value == 0.75 && v.high.present);
    assert_true(find("eval.speed.low", evaluation).value.value == 0.25);
    assert_true(find("differences.policy - logged.speed", evaluation).low.value == 1);
    assert_true(find("policy.metrics.speed", evaluation).value.value == 0.5);
    assert_false(find("safety", evaluation).value.present);
    assert_true(find("good", evaluation).value.value == 1);
    assert_true(find("td", "{\"metrics\": {\"td\": 4}}").value.value == 4);
}

static void a_metric_that_is_not_there_is_named_with_those_that_are(void **state) {
    (void)state;
    keel_search_metric metric;
    keel_search_value out;
    cJSON *result = NULL;
    static const char json[] = "{\"metrics\": {\"td\": 4, \"alpha\": {}}}";
    assert_int_equal(keel_search_metric_read(&two, "train.tds", &arena, "--maximise", &metric, &err),
                     KEEL_OK);
    assert_string_equal(metric.step, "train");
    assert_int_equal(keel_json_parse(json, sizeof json - 1, "json", &result, &err), KEEL_OK);
    assert_int_equal(keel_search_metric_find(&metric, result, &out, &err), KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.hint, "td, alpha"));
    metric.path = "alpha";
    assert_int_equal(keel_search_metric_find(&metric, result, &out, &err), KEEL_E_INVALID);
    cJSON_Delete(result);
    static const char *const wrong[] = {"", ".", "a..b", "a.", ".a", "eval.", NULL};
    for (size_t i = 0; wrong[i]; ++i)
        assert_int_equal(keel_search_metric_read(&two, wrong[i], &arena, "--maximise", &metric, &err),
                         KEEL_E_USAGE);
}

static void requirements_are_read(void **state) {
    (void)state;
    keel_search_require r;
    assert_int_equal(keel_search_metric_require(&two, "refusal_rate.low >= 0.95", &arena, &r, &err), KEEL_OK);
    assert_true(r.at_least && r.bound == 0.95);
    assert_string_equal(r.metric.step, "eval");
    assert_string_equal(r.metric.path, "refusal_rate.low");
    assert_int_equal(keel_search_metric_require(&two, " train.seconds<-1e1 ", &arena, &r, &err), KEEL_OK);
    assert_true(!r.at_least && r.bound == -10);
    assert_string_equal(r.metric.step, "train");
    assert_string_equal(r.metric.path, "seconds");
    static const char *const wrong[] = {"",      "a",        "a >=",     ">= 1",    "a >= b",
                                        "a = 1", "a >= 1 x", "a >= inf", "a. >= 1", NULL};
    for (size_t i = 0; wrong[i]; ++i)
        if (keel_search_metric_require(&two, wrong[i], &arena, &r, &err) != KEEL_E_USAGE)
            fail_msg("\"%s\" was taken", wrong[i]);
}

static void a_command_line_is_a_recipe(void **state) {
    (void)state;
    static const char *const words[] = {"stats", "--split=a", "--", "import", "--format", "chat",
                                        "x",     "y",         "--", "stats",  "--store",  "t"};
    static const char *const add[] = {"--store", "s.db"};
    cJSON *json;
    keel_buf text = {0};
    assert_int_equal(keel_recipe_words_read(words, sizeof words / sizeof *words, add, 2, &json, &err),
                     KEEL_OK);
    assert_int_equal(keel_json_print(json, false, &text, &err), KEEL_OK);
    assert_string_equal(
        text.data,
        "{\"name\":\"stats\",\"steps\":["
        "{\"name\":\"stats\",\"verb\":\"stats\",\"args\":{\"store\":\"s.db\",\"split\":\"a\"},\"positional\":[]},"
        "{\"name\":\"import\",\"verb\":\"import\",\"args\":{\"store\":\"s.db\",\"format\":\"chat\"},\"positional\":[\"x\",\"y\"]},"
        "{\"name\":\"stats-2\",\"verb\":\"stats\",\"args\":{\"store\":\"t\"},\"positional\":[]}]}");
    keel_buf_free(&text);
    cJSON_Delete(json);
    static const char *const wrong[] = {"stats", "--", "staats"};
    assert_int_equal(keel_recipe_words_read(wrong, 3, add, 2, &json, &err), KEEL_E_USAGE);
    assert_int_equal(keel_recipe_words_read(wrong, 2, add, 2, &json, &err), KEEL_E_USAGE);
    static const char *const help[] = {"stats", "--help"};
    assert_int_equal(keel_recipe_words_read(help, 2, add, 2, &json, &err), KEEL_E_USAGE);
}

/* ---- plans ---- */

static keel_search_asked asked(const char *const *over, size_t n) {
    return (keel_search_asked){
        .store = "s.db", .out = "O", .data = "", .over = {over, n}, .points = 5, .eta = 3, .method = 1};
}

static const char *argument(const keel_step *step, const char *flag) {
    for (size_t i = 0; i + 1 < step->argc; ++i)
        if (strcmp(step->argv[i], flag) == 0) return step->argv[i + 1];
    return NULL;
}

static bool has(const keel_step *step, const char *word) {
    for (size_t i = 0; i < step->argc; ++i)
        if (strcmp(step->argv[i], word) == 0) return true;
    return false;
}

static void the_standard_steps_take_what_varies(void **state) {
    (void)state;
    static const char *const over[] = {"train.algo=bc,cql", "expectile=real:0.6:0.9",
                                       "train.alpha=log:0.01:1"};
    keel_search_asked a = asked(over, 3);
    keel_search_plan plan;
    keel_recipe recipe;
    if (keel_search_plan_open(&plan, &a, &err) != KEEL_OK) fail_msg("%s: %s", err.where, err.message);
    assert_string_equal(plan.key[1], "train.expectile");
    assert_string_equal(plan.goal.step, "eval");
    assert_int_equal(plan.first, 1);
    assert_int_equal(keel_search_plan_steps(&plan, (const char *const[]){"cql", "0.7", "0.5"},
                                            (keel_optional){0}, NULL, "T", &recipe, &err),
                     KEEL_OK);
    assert_string_equal(argument(&recipe.steps[1], "--algo"), "cql");
    assert_string_equal(argument(&recipe.steps[1], "--out"), "T/policy");
    assert_string_equal(argument(&recipe.steps[1], "--store"), "s.db");
    assert_true(has(&recipe.steps[1], "alpha=0.5"));
    assert_false(has(&recipe.steps[1], "expectile=0.7")); /* a key of iql */
    keel_recipe_free(&recipe);
    assert_int_equal(keel_search_plan_steps(&plan, (const char *const[]){"bc", "0.7", "0.5"},
                                            (keel_optional){0}, NULL, "T", &recipe, &err),
                     KEEL_OK);
    assert_false(has(&recipe.steps[1], "alpha=0.5"));
    keel_recipe_free(&recipe);
    keel_search_plan_close(&plan);
}

/* A budget of an earlier step than what varies: that step is no common one. */
static void a_budget_varies_too(void **state) {
    (void)state;
    static const char *const over[] = {"train.alpha=log:0.01:1"};
    keel_search_asked a = asked(over, 1);
    keel_search_plan plan;
    keel_recipe recipe;
    a.method = 3;
    a.budget = "epochs=1:9";
    if (keel_search_plan_open(&plan, &a, &err) != KEEL_OK) fail_msg("%s: %s", err.where, err.message);
    assert_string_equal(plan.budget_key, "sft.epochs");
    assert_int_equal(plan.first, 0);
    assert_int_equal(keel_search_plan_steps(&plan, (const char *const[]){"0.5"}, (keel_optional){true, 3},
                                            NULL, "T", &recipe, &err),
                     KEEL_OK);
    assert_true(has(&recipe.steps[0], "epochs=3"));
    keel_recipe_free(&recipe);
    keel_search_plan_close(&plan);
}

static void refuse(keel_search_asked a, const char *text) {
    keel_search_plan plan;
    err = (keel_err){0};
    const keel_status status = keel_search_plan_open(&plan, &a, &err);
    keel_search_plan_close(&plan);
    if (status != KEEL_E_USAGE ||
        (!strstr(err.message, text) && !strstr(err.hint, text) && !strstr(err.where, text)))
        fail_msg("expected \"%s\", got %d: %s: %s (%s)", text, status, err.where, err.message, err.hint);
}

static void what_cannot_be_searched_is_refused_before_any_work(void **state) {
    (void)state;
    static const char *const alpha[] = {"train.alpha=log:0.01:1"}, *const unknown[] = {"alhpa=0:1"},
                             *const both[] = {"seed=1,2"}, *const range[] = {"train.alpha=2"},
                             *const out_of[] = {"train.alpha=-5:1"}, *const typo[] = {"train.alhpa=0:1"},
                             *const idle[] = {"sft.mode=full,lora"}, *const none[] = {"nothing >= 1 2"};
    refuse(asked(alpha, 0), "--over");
    refuse(asked(unknown, 1), "no step takes");
    refuse(asked(both, 1), "sft.seed, train.seed, eval.seed");
    refuse(asked(idle, 1), "no trial takes \"sft.mode\"");
    refuse(asked(out_of, 1), "alpha");
    refuse(asked(typo, 1), "alhpa");
    keel_search_asked a = asked(range, 1);
    keel_search_plan plan;
    assert_int_equal(keel_search_plan_open(&plan, &a, &err), KEEL_OK); /* one value is a choice, too */
    keel_search_plan_close(&plan);
    a = asked(alpha, 1);
    a.maximise = a.minimise = "speed";
    refuse(a, "excludes");
    a = asked(alpha, 1);
    a.require = (keel_search_list){none, 1};
    refuse(a, "no requirement");
    a = asked(alpha, 1);
    a.method = 3;
    refuse(a, "halving needs a budget");
    a.budget = "train.steps=0:10";
    refuse(a, "LOW above 0");
    a = asked(alpha, 1);
    a.store = NULL;
    refuse(a, "--store");
}

static void what_trials_hang_on_is_the_identity(void **state) {
    (void)state;
    static const char *const alpha[] = {"train.alpha=log:0.01:1"}, *const set[] = {"train.steps=10"};
    char first[65];
    keel_search_plan plan;
    keel_search_asked a = asked(alpha, 1);
    assert_int_equal(keel_search_plan_open(&plan, &a, &err), KEEL_OK);
    memcpy(first, plan.hash, sizeof first);
    keel_search_plan_close(&plan);
    a.trials = 50; /* more of the same */
    a.seconds = 5;
    a.out = "elsewhere";
    assert_int_equal(keel_search_plan_open(&plan, &a, &err), KEEL_OK);
    assert_string_equal(plan.hash, first);
    keel_search_plan_close(&plan);
    for (int change = 0; change < 4; ++change) {
        keel_search_asked other = asked(alpha, 1);
        if (change == 0) other.seed = 9;
        if (change == 1) other.settings = (keel_search_list){set, 1};
        if (change == 2) other.minimise = "speed";
        if (change == 3) other.content = "abc";
        assert_int_equal(keel_search_plan_open(&plan, &other, &err), KEEL_OK);
        assert_string_not_equal(plan.hash, first);
        keel_search_plan_close(&plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_metric_is_found_by_its_place),
        cmocka_unit_test(a_metric_that_is_not_there_is_named_with_those_that_are),
        cmocka_unit_test(requirements_are_read),
        cmocka_unit_test(a_command_line_is_a_recipe),
        cmocka_unit_test(the_standard_steps_take_what_varies),
        cmocka_unit_test(a_budget_varies_too),
        cmocka_unit_test(what_cannot_be_searched_is_refused_before_any_work),
        cmocka_unit_test(what_trials_hang_on_is_the_identity),
    };
    return cmocka_run_group_tests_name("search_plan", tests, NULL, end);
}
