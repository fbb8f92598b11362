#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/json.h"
#include "core/options_internal.h"

typedef struct settings {
    int64_t steps;
    double alpha;
    bool masked;
    int loss;
    keel_int_list hidden;
} settings;

static const char *const losses[] = {"huber", "square", NULL};
static const keel_option table[] = {
    {"steps", KEEL_OPT_INT, offsetof(settings, steps), "1000", 1, 1e9, NULL, "updates in all"},
    {"alpha", KEEL_OPT_REAL, offsetof(settings, alpha), "0.1", 0, 100, NULL, "weight of the penalty"},
    {"masked", KEEL_OPT_BOOL, offsetof(settings, masked), "true", 0, 0, NULL, "leave out what is masked"},
    {"loss", KEEL_OPT_CHOICE, offsetof(settings, loss), "huber", 0, 0, losses, "of the temporal difference"},
    {"hidden", KEEL_OPT_INTS, offsetof(settings, hidden), "256,256", 1, 4096, NULL, "width of each layer"},
    {NULL, KEEL_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static settings defaults(void) {
    settings config;
    memset(&config, 0, sizeof config);
    assert_int_equal(keel_options_defaults(table, &config, NULL), KEEL_OK);
    return config;
}

static void defaults_come_from_the_rows(void **state) {
    (void)state;
    settings config = defaults();
    assert_int_equal(config.steps, 1000);
    assert_true(config.alpha == 0.1);
    assert_true(config.masked);
    assert_int_equal(config.loss, 0);
    assert_int_equal(config.hidden.count, 2);
    assert_int_equal(config.hidden.items[1], 256);
}

static void a_seed_is_that_of_the_context_by_default(void **state) {
    (void)state;
    static const keel_option seeded[] = {
        {"seed", KEEL_OPT_INT, offsetof(settings, steps), "1", 0, 9007199254740991, NULL, "of all draws"},
        {NULL, KEEL_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};
    settings config = {0};
    keel_context context;
    assert_int_equal(keel_options_defaults(seeded, &config, NULL), KEEL_OK);
    assert_int_equal(config.steps, 1);
    keel_context_init(&context);
    context.seed = 7;
    keel_context_use(&context);
    assert_int_equal(keel_options_defaults(seeded, &config, NULL), KEEL_OK);
    assert_int_equal(config.steps, 7);
    context.seed = UINT64_MAX;
    assert_int_equal(keel_options_defaults(seeded, &config, NULL), KEEL_E_INVALID);
    keel_context_use(NULL);
}

static void every_type_is_set_from_text(void **state) {
    (void)state;
    settings config = defaults();
    const char *sets[] = {"steps=1e3",    "steps=20",    "alpha=2.5e-1",
                          "masked=false", "loss=square", "hidden=8,16,32"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        assert_int_equal(keel_options_assign(table, &config, sets[i], NULL), KEEL_OK);
    assert_int_equal(config.steps, 20);
    assert_true(config.alpha == 0.25);
    assert_false(config.masked);
    assert_int_equal(config.loss, 1);
    assert_int_equal(config.hidden.count, 3);
    assert_int_equal(config.hidden.items[2], 32);
}

static void bad_values_are_refused_and_change_nothing(void **state) {
    (void)state;
    const char *bad[] = {"steps=0",
                         "steps=1e10",
                         "steps=1.5",
                         "steps=",
                         "steps= 5",
                         "steps=5 ",
                         "steps=0x10",
                         "steps=abc",
                         "alpha=-0.1",
                         "alpha=nan",
                         "alpha=inf",
                         "alpha=-inf",
                         "alpha=1e999",
                         "alpha=0.1x",
                         "masked=1",
                         "masked=True",
                         "loss=Huber",
                         "loss=",
                         "hidden=",
                         "hidden=8,",
                         "hidden=,8",
                         "hidden=0",
                         "hidden=8;9",
                         "hidden=8, 9",
                         "hidden=1,1,1,1,1,1,1,1,1",
                         "alpha",
                         "=1",
                         ""};
    settings before = defaults(), config = defaults();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_err err = {0};
        if (keel_options_assign(table, &config, bad[i], &err) != KEEL_E_INVALID)
            fail_msg("%s was taken", bad[i]);
        assert_string_equal(err.where, "--set");
        assert_memory_equal(&config, &before, sizeof config);
    }
}

static void errors_quote_key_value_and_bounds(void **state) {
    (void)state;
    settings config = defaults();
    keel_err err = {0};
    keel_options_set(table, &config, "alpha", "101", "conf", &err);
    assert_string_equal(err.message, "key \"alpha\": expected a number from 0 to 100, got \"101\"");
    assert_string_equal(err.where, "conf");
    keel_options_set(table, &config, "loss", "l1", "conf", &err);
    assert_string_equal(err.message, "key \"loss\": expected one of huber, square, got \"l1\"");
    keel_options_set(table, &config, "hidden", "0", "conf", &err);
    assert_string_equal(err.message,
                        "key \"hidden\": expected 1 to 8 whole numbers, each from 1 to 4096, got \"0\"");
}

static void an_unknown_key_suggests_the_nearest_one(void **state) {
    (void)state;
    settings config = defaults();
    keel_err err = {0};
    assert_int_equal(keel_options_assign(table, &config, "alhpa=1", &err), KEEL_E_INVALID);
    assert_string_equal(err.message, "unknown key \"alhpa\"");
    assert_string_equal(err.hint, "did you mean \"alpha\"?");
    assert_int_equal(keel_options_assign(table, &config, "Steps=1", &err), KEEL_E_INVALID);
    assert_string_equal(err.hint, "did you mean \"steps\"?");
    assert_int_equal(keel_options_assign(table, &config, "temperature=1", &err), KEEL_E_INVALID);
    assert_null(strstr(err.hint, "did you mean"));
    char of_a_file[256]; /* longer than any name: near to nothing */
    memset(of_a_file, 'x', sizeof of_a_file - 1);
    of_a_file[sizeof of_a_file - 1] = '\0';
    assert_int_equal(keel_options_set(table, &config, of_a_file, "1", "test", &err), KEEL_E_INVALID);
    assert_null(strstr(err.hint, "did you mean"));
}

static keel_status set_json(settings *config, const char *text, keel_err *err) {
    cJSON *object;
    assert_int_equal(keel_json_parse(text, strlen(text), "test", &object, NULL), KEEL_OK);
    keel_status status = keel_options_json(table, config, object, "conf.json", err);
    cJSON_Delete(object);
    return status;
}

static void json_sets_all_or_nothing(void **state) {
    (void)state;
    settings before = defaults(), config = defaults();
    const char *bad[] = {"{\"steps\":5,\"alpha\":\"0.5\"}",
                         "{\"steps\":5,\"alpha\":true}",
                         "{\"steps\":5,\"alpha\":null}",
                         "{\"steps\":5,\"masked\":1}",
                         "{\"steps\":5,\"loss\":0}",
                         "{\"steps\":5,\"hidden\":[]}",
                         "{\"steps\":5,\"hidden\":[8,\"9\"]}",
                         "{\"steps\":5,\"hidden\":[1,1,1,1,1,1,1,1,1]}",
                         "{\"steps\":5,\"hidden\":8}",
                         "{\"steps\":5,\"steqs\":6}",
                         "{\"steps\":5.5}",
                         "[]",
                         "{\"steps\":5,\"alpha\":{}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_err err = {0};
        if (set_json(&config, bad[i], &err) != KEEL_E_INVALID) fail_msg("%s was taken", bad[i]);
        assert_string_equal(err.where, "conf.json");
        assert_memory_equal(&config, &before, sizeof config);
    }
    assert_int_equal(set_json(&config,
                              "{\"steps\":5,\"alpha\":1,\"masked\":false,\"loss\":\"square\",\"hidden\":[7]}",
                              NULL),
                     KEEL_OK);
    assert_int_equal(config.steps, 5);
    assert_true(config.alpha == 1);
    assert_false(config.masked);
    assert_int_equal(config.loss, 1);
    assert_int_equal(config.hidden.count, 1);
    assert_int_equal(set_json(&config, "{\"hidden\":\"8,9\"}", NULL), KEEL_OK);
    assert_int_equal(config.hidden.items[1], 9);
}

static void the_manifest_holds_every_key_and_reads_back(void **state) {
    (void)state;
    settings config = defaults(), again = defaults();
    const char *sets[] = {"steps=77", "alpha=0.3", "masked=false", "loss=square", "hidden=8,16,32"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        assert_int_equal(keel_options_assign(table, &config, sets[i], NULL), KEEL_OK);
    cJSON *manifest = keel_options_to_json(table, &config);
    assert_int_equal(cJSON_GetArraySize(manifest), 5);
    assert_int_equal(keel_options_json(table, &again, manifest, "manifest", NULL), KEEL_OK);
    assert_memory_equal(&config, &again, sizeof config);
    cJSON_Delete(manifest);
}

static void help_names_key_default_and_bounds_of_every_row(void **state) {
    (void)state;
    char text[2048] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    keel_options_help(table, out);
    fclose(out);
    assert_non_null(
        strstr(text, "  steps   1000     updates in all (a whole number from 1 to 1000000000)\n"));
    assert_non_null(strstr(text, "  loss    huber    of the temporal difference (one of huber, square)\n"));
    assert_non_null(
        strstr(text, "  hidden  256,256  width of each layer (1 to 8 whole numbers, each from 1 to 4096)\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_rows),
        cmocka_unit_test(a_seed_is_that_of_the_context_by_default),
        cmocka_unit_test(every_type_is_set_from_text),
        cmocka_unit_test(bad_values_are_refused_and_change_nothing),
        cmocka_unit_test(errors_quote_key_value_and_bounds),
        cmocka_unit_test(an_unknown_key_suggests_the_nearest_one),
        cmocka_unit_test(json_sets_all_or_nothing),
        cmocka_unit_test(the_manifest_holds_every_key_and_reads_back),
        cmocka_unit_test(help_names_key_default_and_bounds_of_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
