/* Numbers as text, also where the host program's locale writes a comma. */
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/decimal.h"
#include "core/json.h"
#include "core/options.h"
#include "support/scratch.h"

/* A locale of our own, so that none needs to be installed. False where there is no localedef. */
static bool set_comma(const char *folder) {
    static const char source[] = "comment_char %\nescape_char /\nLC_NUMERIC\ndecimal_point \",\"\n"
                                 "thousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n";
    FILE *file = fopen(scratch_path(folder, "source"), "w");
    assert_non_null(file);
    fputs(source, file);
    fclose(file);
    pid_t child = fork();
    if (child == 0) {
        int nowhere =
            open("/dev/null", O_WRONLY | O_CLOEXEC); /* it warns of the categories that are missing */
        if (chdir(folder) == 0 && dup2(nowhere, 1) == 1 && dup2(nowhere, 2) == 2)
            execlp("localedef", "localedef", "-c", "-i", "source", "-f", "ANSI_X3.4-1968", "./comma",
                   (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0 && waitpid(child, NULL, 0) == child);
    setenv("LOCPATH", folder, 1);
    return setlocale(LC_NUMERIC, "comma") != NULL;
}

static void check_numbers(void) {
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0.5, "0.5"}, {-1.25e-7, "-1.25e-07"}, {0.1 + 0.2, "0.30000000000000004"}, {1234567, "1234567"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[KEEL_DECIMAL_SIZE], *end;
        keel_decimal_print(text, rows[i].value);
        assert_string_equal(text, rows[i].text);
        assert_true(keel_decimal_read(text, &end) == rows[i].value && *end == '\0');
    }
}

static void check_json(void) {
    const char *text = "{\"a\":[0.30000000000000004,2.5e-300,12345678901234567.5]}";
    cJSON *value = NULL;
    keel_buf printed = {0};
    keel_err err = {0};
    assert_int_equal(keel_json_parse(text, strlen(text), "t", &value, &err), KEEL_OK);
    assert_true(cJSON_GetObjectItem(value, "a")->child->valuedouble == 0.1 + 0.2);
    assert_int_equal(keel_json_print(value, false, &printed, &err), KEEL_OK);
    assert_string_equal(printed.data, "{\"a\":[0.30000000000000004,2.5e-300,12345678901234568]}");
    keel_buf_free(&printed);
    cJSON_Delete(value);
}

static void check_option(void) {
    static const keel_option table[] = {{"rate", KEEL_OPT_REAL, 0, "0.5", 0, 1, NULL, "a rate"}, {0}};
    double rate = 0;
    keel_err err = {0};
    assert_int_equal(keel_options_defaults(table, &rate, &err), KEEL_OK);
    assert_true(rate == 0.5);
    assert_int_equal(keel_options_assign(table, &rate, "rate=0,25", &err), KEEL_E_INVALID);
}

static void numbers_have_a_point_in_every_locale(void **state) {
    (void)state;
    char folder[256];
    check_numbers();
    assert_non_null(scratch_make(folder, "decimal"));
    bool comma = set_comma(folder);
    if (comma) {
        assert_string_equal(localeconv()->decimal_point, ",");
        check_numbers();
        check_json();
        check_option();
        assert_string_equal(localeconv()->decimal_point, ","); /* and the host has its own again */
    }
    setlocale(LC_NUMERIC, "C");
    assert_int_equal(keel_folder_remove(folder, NULL), KEEL_OK);
    if (comma) return;
    print_message("skipped: no localedef to make a locale with\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_have_a_point_in_every_locale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
