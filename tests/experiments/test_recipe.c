/* Recipes become lists of command lines: variables, loops, settings, and errors that name the step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "experiments/recipe.h"
#include "support/scratch.h"

static char folder[256];
static keel_recipe recipe; /* the last one that was loaded */
static keel_err err;

static keel_status load(const char *text, const keel_recipe_places *places) {
    const char *path = scratch_path(folder, "recipe.json");
    assert_int_equal(keel_file_write(path, text, strlen(text), NULL), KEEL_OK);
    keel_recipe_free(&recipe);
    err = (keel_err){0};
    return keel_recipe_load(&recipe, path, places, &err);
}

static const keel_recipe_places nowhere = {.data = "D", .out = "O"};

/* The command line of a step. */
static const char *line(size_t step) {
    static char out[256];
    const keel_step *of = &recipe.steps[step];
    out[0] = '\0';
    for (size_t i = 0; i < of->argc; i++)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s%s", i ? " " : "", of->argv[i]);
    return out;
}

static void arguments_become_flags_in_order(void **state) {
    (void)state;
    assert_int_equal(
        load("{\"name\": \"r\", \"steps\": [{\"name\": \"e\", \"verb\": \"eval\", \"args\": {\"store\": "
             "\"${out}/s.db\","
             "\"policy\": [\"a\", \"b\"], \"threads\": 2, \"gate\": []}},"
             "{\"name\": \"i\", \"verb\": \"import\", \"args\": {\"store\": \"s\", \"format\": \"chat\"},"
             "\"positional\": [\"${data}/x\"]}]}",
             &nowhere),
        KEEL_OK);
    assert_int_equal(recipe.n_steps, 2);
    assert_string_equal(line(0), "--store O/s.db --policy a --policy b --threads 2");
    assert_string_equal(line(1), "--store s --format chat D/x");
}

static void loops_give_every_combination(void **state) {
    (void)state;
    assert_int_equal(
        load("{\"name\": \"r\", \"steps\": [{\"for\": {\"k\": [0, 1], \"a\": [\"x\", \"y\"]}, \"steps\":"
             "[{\"name\": \"s-${a}-${k}\", \"title\": \"${a}\", \"verb\": \"stats\", \"args\": {\"store\": "
             "\"${k}.db\"}}]}]}",
             &nowhere),
        KEEL_OK);
    assert_int_equal(recipe.n_steps, 4);
    assert_string_equal(recipe.steps[0].name, "s-x-0");
    assert_string_equal(recipe.steps[1].name, "s-y-0");
    assert_string_equal(recipe.steps[3].name, "s-y-1");
    assert_string_equal(recipe.steps[3].argv[1], "1.db");
    assert_string_equal(recipe.steps[3].title, "y");
}

static void loops_over_lists_bind_variables_together(void **state) {
    (void)state;
    assert_int_equal(load("{\"name\": \"r\", \"steps\": [{\"for\": [{\"a\": \"x\", \"t\": \"X in ${out}\"}, "
                          "{\"a\": \"y\", \"t\": "
                          "\"Y\"}], \"steps\": [{\"for\": {\"k\": [0, 1]}, \"steps\": [{\"name\": "
                          "\"s-${a}-${k}\", \"title\": "
                          "\"${t}\", \"verb\": \"info\"}]}, {\"name\": \"all-${a}\", \"verb\": \"info\"}]}]}",
                          &nowhere),
                     KEEL_OK);
    static const char *const names[] = {"s-x-0", "s-x-1", "all-x", "s-y-0", "s-y-1", "all-y"};
    static const char *const titles[] = {"X in O", "X in O", "all-x", "Y", "Y", "all-y"};
    assert_int_equal(recipe.n_steps, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(recipe.steps[i].name, names[i]);
        assert_string_equal(recipe.steps[i].title, titles[i]);
    }
}

static void values_may_be_loops_too(void **state) {
    (void)state;
    assert_int_equal(
        load("{\"name\": \"r\", \"steps\": [{\"for\": [{\"a\": \"cql\"}], \"steps\": [{\"name\": \"e\", "
             "\"verb\": "
             "\"eval\", \"args\": {\"store\": \"s\", \"policy\": {\"for\": {\"k\": [0, 1]}, \"value\": "
             "\"${k}/${a}\"}}}]}, {\"name\": \"i\", \"verb\": \"import\", \"args\": {\"store\": \"s\", "
             "\"format\": "
             "\"chat\"}, \"positional\": [\"p\", {\"for\": [{\"f\": \"x\"}, {\"f\": \"y\"}], \"value\": "
             "[\"${f}1\", \"${f}2\"]}, \"q\"]}]}",
             &nowhere),
        KEEL_OK);
    assert_string_equal(line(0), "--store s --policy 0/cql --policy 1/cql");
    assert_string_equal(line(1), "--store s --format chat p x1 x2 y1 y2 q");
}

static const char training[] = "{\"name\": \"r\", \"steps\": ["
                               "{\"name\": \"train-a\", \"verb\": \"train\", \"args\": {\"store\": \"s\", "
                               "\"base\": \"b\", \"algo\": \"cql\", \"out\": \"o\"}},"
                               "{\"name\": \"train-b\", \"verb\": \"train\", \"args\": {\"store\": \"s\", "
                               "\"base\": \"b\", \"algo\": \"bc\", \"out\": \"o\"}}]}";

static void settings_replace_flags_and_add_keys(void **state) {
    (void)state;
    const char *const settings[] = {"train-a.algo=dqn", "train*.steps=7"};
    keel_recipe_places places = {.data = "", .out = "", .settings = settings, .n_settings = 2};
    assert_int_equal(load(training, &places), KEEL_OK);
    assert_string_equal(line(0), "--store s --base b --out o --algo dqn --set steps=7");
    assert_string_equal(line(1), "--store s --base b --algo bc --out o --set steps=7");
}

static void a_setting_that_no_step_answers_to_is_refused(void **state) {
    (void)state;
    const char *const settings[] = {"trian.steps=7"};
    keel_recipe_places places = {.data = "", .out = "", .settings = settings, .n_settings = 1};
    assert_int_equal(load(training, &places), KEEL_E_USAGE);
    assert_non_null(strstr(err.where, "trian"));
}

static void bad_recipes_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "object"},
        {"{\"steps\": []}", "name"},
        {"{\"name\": \"r\", \"step\": []}", "step"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"stat\"}]}", "stat"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"../a\", \"verb\": \"stats\"}]}", "../a"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"stats\"}]}", "--store"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"stats\", \"args\": {\"store\": "
         "\"${x}\"}}]}",
         "${x}"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"stats\", \"args\": {\"sotre\": "
         "\"x\"}}]}",
         "--sotre"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"info\"}, {\"name\": \"a\", \"verb\": "
         "\"info\"}]}",
         "two steps"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": {\"k\": 3}, \"steps\": []}]}", "array"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": [3], \"steps\": []}]}", "objects"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": 3, \"steps\": []}]}", "expected an object or an array"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": {\"k\": [1]}}]}", "\"steps\" is missing"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": {\"k\": [1]}, \"steps\": 3}]}", "needs an array"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": {\"k\": [1]}, \"steps\": [], \"name\": \"x\"}]}",
         "unknown key"},
        {"{\"name\": \"r\", \"steps\": [{\"for\": [{\"k\": 1}], \"steps\": []}, {\"name\": \"${k}\", "
         "\"verb\": "
         "\"info\"}]}",
         "unknown variable ${k}"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"stats\", \"args\": {\"store\": "
         "{\"for\": "
         "{\"k\": [1]}}}}]}",
         "\"value\" is missing"},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"info\", \"columns\": \"accuracy,latency\"}]}",
         "no metric is called \"latency\""},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"info\", \"columns\": \"\"}]}",
         "no metric is called \"\""},
        {"{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"run\"}]}", "cannot run"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_not_equal(load(cases[i].text, &nowhere), KEEL_OK);
        char all[1024];
        snprintf(all, sizeof all, "%s: %s", err.where, err.message);
        if (!strstr(all, cases[i].says))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, all, cases[i].says);
    }
}

static void repeat(keel_buf *out, const char *text, int times) {
    while (times-- > 0) keel_buf_text(out, text);
}

static void refuses_run_away(keel_buf *text, const char *says) {
    assert_false(text->failed);
    assert_int_equal(load(text->data, &nowhere), KEEL_E_PARSE);
    if (!strstr(err.message, says)) fail_msg("\"%s\" does not say \"%s\"", err.message, says);
    keel_buf_free(text);
}

/* Ten to the twelfth rounds of nothing, as a product and as lists in lists; texts of texts of texts. */
static void a_hostile_recipe_cannot_run_away(void **state) {
    (void)state;
    keel_buf text = {0};
    keel_buf_text(&text, "{\"name\": \"r\", \"steps\": [{\"for\": {");
    for (int i = 0; i < 12; i++)
        keel_buf_format(&text, "%s\"v%d\": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", i ? ", " : "", i);
    keel_buf_text(&text, "}, \"steps\": []}]}");
    refuses_run_away(&text, "more than 10000 rounds");
    keel_buf_text(&text, "{\"name\": \"r\", \"steps\": [");
    repeat(&text, "{\"for\": [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}], \"steps\": [", 12);
    repeat(&text, "]}", 12);
    keel_buf_text(&text, "]}");
    refuses_run_away(&text, "more than 10000 rounds");
    keel_buf_text(&text, "{\"name\": \"r\", \"steps\": [{\"for\": [{\"v0\": \"x\"");
    for (int i = 1; i < 8; i++) {
        keel_buf_format(&text, ", \"v%d\": \"", i);
        for (int k = 0; k < 50; k++) keel_buf_format(&text, "${v%d}", i - 1);
        keel_buf_text(&text, "\"");
    }
    keel_buf_text(&text, "}], \"steps\": []}]}");
    refuses_run_away(&text, "a text of more than 65536 bytes");
}

static void steps_depend_on_what_is_there(void **state) {
    (void)state;
    char text[1024];
    snprintf(text, sizeof text,
             "{\"name\": \"r\", \"steps\": [{\"name\": \"a\", \"verb\": \"info\", \"if\": \"%s\"},"
             "{\"name\": \"b\", \"verb\": \"info\", \"unless\": \"%s\"}, {\"name\": \"c\", \"verb\": "
             "\"info\", \"if\": \"%s/none\"}]}",
             folder, folder, folder);
    assert_int_equal(load(text, &nowhere), KEEL_OK);
    assert_int_equal(recipe.n_steps, 1);
    assert_string_equal(recipe.steps[0].name, "a");
}

static void missing_data_is_named_with_what_to_do(void **state) {
    (void)state;
    assert_int_equal(load("{\"name\": \"r\", \"needs\": [\"${data}/logs\"], \"steps\": []}", &nowhere),
                     KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.where, "recipe.json"));
    assert_non_null(strstr(err.message, "D/logs"));
    assert_non_null(strstr(err.hint, "KEEL_DATA"));
    static const keel_recipe_places none = {.data = "", .out = "O"};
    assert_int_equal(load("{\"name\": \"r\", \"needs\": [\"${data}/logs\"], \"steps\": []}", &none),
                     KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "no folder of data is given"));
    assert_non_null(strstr(err.hint, "KEEL_DATA"));
}

static void the_recipes_that_come_along_load(void **state) {
    (void)state;
    static const char *const names[] = {"quickstart", "simulator", "xstest", "hh-rlhf", "sgd"};
    static const char *const needed[] = {"xstest", "hh-rlhf", "sgd/train", "sgd/dev"};
    char path[512], data[512];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/data/%s", folder, needed[i]);
        assert_int_equal(keel_folder_make(path, NULL), KEEL_OK);
    }
    snprintf(data, sizeof data, "%s/data", folder);
    keel_recipe_places places = {.data = data, .out = "O"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, KEEL_SOURCE_DIR "/experiments/recipes/%s.json", names[i]);
        keel_recipe_free(&recipe);
        if (keel_recipe_load(&recipe, path, &places, &err) != KEEL_OK)
            fail_msg("%s: %s: %s", path, err.where, err.message);
        assert_true(recipe.n_steps > 5);
    }
}

static int make(void **state) {
    (void)state;
    return scratch_make(folder, "recipe") ? 0 : -1;
}

static int clear(void **state) {
    (void)state;
    keel_recipe_free(&recipe);
    return keel_folder_remove(folder, NULL) == KEEL_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_become_flags_in_order),
        cmocka_unit_test(loops_give_every_combination),
        cmocka_unit_test(loops_over_lists_bind_variables_together),
        cmocka_unit_test(values_may_be_loops_too),
        cmocka_unit_test(a_hostile_recipe_cannot_run_away),
        cmocka_unit_test(settings_replace_flags_and_add_keys),
        cmocka_unit_test(a_setting_that_no_step_answers_to_is_refused),
        cmocka_unit_test(bad_recipes_are_refused_by_name),
        cmocka_unit_test(steps_depend_on_what_is_there),
        cmocka_unit_test(missing_data_is_named_with_what_to_do),
        cmocka_unit_test(the_recipes_that_come_along_load),
    };
    return cmocka_run_group_tests(tests, make, clear);
}
