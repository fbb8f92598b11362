/* The command line: parsing by table, suggestions, required and doubled flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/cli.h"

static keel_status no_run(keel_cli *cli, keel_err *err) {
    (void)cli;
    (void)err;
    return KEEL_OK;
}

static const keel_flag flags[] = {
    KEEL_FLAG_STORE,
    {"--gate", "EXPR", false, true, "a gate"},
    {"--limit", "N", false, false, "a number"},
    {"--disagree", NULL, false, false, "a switch"},
    KEEL_FLAG_END,
};
static const keel_verb verb = {
    .name = "probe", .brief = "for tests", .flags = flags, .words = "PATH", .words_max = 2, .run = no_run};

static keel_status parse(keel_cli *cli, keel_err *err, size_t argc, const char *const *argv) {
    bool help = false;
    return keel_cli_parse(cli, &verb, argc, argv, &help, err);
}
#define PARSE(cli, err, ...)                                                                                 \
    parse(cli, err, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static void values_switches_and_words_are_told_apart(void **state) {
    (void)state;
    keel_cli cli;
    keel_err err = {0};
    const char *const *values;
    size_t count;
    assert_int_equal(
        PARSE(&cli, &err, "--store", "s.db", "one", "--gate=a >= 1", "--disagree", "--gate", "b", "two"),
        KEEL_OK);
    assert_string_equal(keel_cli_value(&cli, "--store"), "s.db");
    assert_true(keel_cli_has(&cli, "--disagree"));
    assert_false(keel_cli_has(&cli, "--limit"));
    assert_int_equal(keel_cli_values(&cli, "--gate", &values, &count, &err), KEEL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(values[0], "a >= 1");
    assert_string_equal(values[1], "b");
    assert_int_equal(keel_cli_values(&cli, NULL, &values, &count, &err), KEEL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(values[1], "two");
    keel_cli_free(&cli);
}

static void after_two_dashes_everything_is_a_word(void **state) {
    (void)state;
    keel_cli cli;
    keel_err err = {0};
    const char *const *values;
    size_t count;
    assert_int_equal(PARSE(&cli, &err, "--store", "s.db", "--", "--gate"), KEEL_OK);
    assert_int_equal(keel_cli_values(&cli, NULL, &values, &count, &err), KEEL_OK);
    assert_string_equal(values[0], "--gate");
    keel_cli_free(&cli);
}

static void wrong_use_is_refused_with_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *argv[6];
        const char *says;
    } cases[] = {
        {{"--sotre", "s.db"}, "unknown flag --sotre"},
        {{"--gate", "x"}, "is missing"},
        {{"--store", "a", "--store", "b"}, "given twice"},
        {{"--store"}, "needs a value"},
        {{"--store", ""}, "empty"},
        {{"--store", "a", "--disagree=yes"}, "takes no value"},
        {{"--store", "a", "one", "two", "three"}, "does not expect 'three'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        keel_cli cli;
        keel_err err = {0};
        size_t argc = 0;
        while (argc < 6 && cases[i].argv[argc]) argc++;
        assert_int_equal(parse(&cli, &err, argc, cases[i].argv), KEEL_E_USAGE);
        assert_non_null(strstr(err.message, cases[i].says));
        keel_cli_free(&cli);
    }
}

static void a_misspelt_flag_is_answered_with_the_nearest(void **state) {
    (void)state;
    keel_cli cli;
    keel_err err = {0};
    assert_int_equal(PARSE(&cli, &err, "--sotre", "s.db"), KEEL_E_USAGE);
    assert_non_null(strstr(err.hint, "did you mean --store"));
    keel_cli_free(&cli);
}

static void nearest_names_are_near(void **state) {
    (void)state;
    static const char *const names[] = {"import", "stats", "train", NULL};
    assert_string_equal(keel_nearest("trian", names), "train");
    assert_string_equal(keel_nearest("imprt", names), "import");
    assert_null(keel_nearest("completely", names));
}

static void numbers_are_whole_and_within_bounds(void **state) {
    (void)state;
    static const char *const wrong[] = {"x", "1.5", "7 ", "0", "11", "99999999999999999999"};
    keel_cli cli;
    keel_err err = {0};
    int64_t value = -3;
    assert_int_equal(PARSE(&cli, &err, "--store", "s", "--limit", "10"), KEEL_OK);
    assert_int_equal(keel_cli_integer(&cli, "--limit", 1, 10, &value, &err), KEEL_OK);
    assert_int_equal(value, 10);
    keel_cli_free(&cli);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(PARSE(&cli, &err, "--store", "s", "--limit", wrong[i]), KEEL_OK);
        assert_int_equal(keel_cli_integer(&cli, "--limit", 1, 10, &value, &err), KEEL_E_USAGE);
        assert_int_equal(value, 10);
        keel_cli_free(&cli);
    }
}

static void several_numbers_stand_with_commas_between(void **state) {
    (void)state;
    static const char *const bad[] = {"",      "1",     "1,2",  "1,2,3,4", "1,2,3,",
                                      "a,b,c", "1;2;3", "1,,3", "nan,0,1", "inf,0,0"};
    double got[3];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_err err = {0};
        assert_int_equal(keel_cli_numbers("--weights", bad[i], got, 3, &err), KEEL_E_USAGE);
        assert_string_equal(err.where, "--weights");
        assert_non_null(strstr(err.message, bad[i]));
    }
    assert_int_equal(keel_cli_numbers("--weights", "0.5,-2,1e3", got, 3, NULL), KEEL_OK);
    assert_true(got[0] == 0.5 && got[1] == -2 && got[2] == 1e3);
}

static void every_verb_is_listed_once_with_help_and_print(void **state) {
    (void)state;
    for (size_t i = 0; keel_verbs[i]; i++) {
        const keel_verb *found;
        assert_int_equal(keel_verb_find(keel_verbs[i]->name, &found, NULL), KEEL_OK);
        assert_ptr_equal(found, keel_verbs[i]);
        assert_non_null(found->brief);
        assert_non_null(found->run);
        assert_non_null(found->print);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_switches_and_words_are_told_apart),
        cmocka_unit_test(after_two_dashes_everything_is_a_word),
        cmocka_unit_test(wrong_use_is_refused_with_what_is_wrong),
        cmocka_unit_test(a_misspelt_flag_is_answered_with_the_nearest),
        cmocka_unit_test(nearest_names_are_near),
        cmocka_unit_test(numbers_are_whole_and_within_bounds),
        cmocka_unit_test(several_numbers_stand_with_commas_between),
        cmocka_unit_test(every_verb_is_listed_once_with_help_and_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
