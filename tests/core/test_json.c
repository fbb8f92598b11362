#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"
#include "core/pcg.h"
#include "support/scratch.h"

static keel_status parse(const char *text, size_t length, keel_err *err) {
    /* A copy of exactly the length, so that reading past the end is seen by AddressSanitizer. */
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    cJSON *value = NULL;
    keel_status status = keel_json_parse(copy, length, "log.jsonl:7", &value, err);
    assert_true((status == KEEL_OK) == (value != NULL));
    cJSON_Delete(value);
    free(copy);
    return status;
}

static void assert_refused(const char *text, size_t length, const char *why) {
    keel_err err = {0};
    assert_int_equal(parse(text, length, &err), KEEL_E_PARSE);
    assert_string_equal(err.where, "log.jsonl:7");
    if (!strstr(err.message, why)) fail_msg("%s: expected \"%s\" in \"%s\"", text, why, err.message);
}

static void well_formed_values_are_accepted(void **state) {
    (void)state;
    const char *good[] = {"null",
                          " true ",
                          "false",
                          "0",
                          "-0",
                          "-0.5e-3",
                          "1E+2",
                          "\"\"",
                          "[]",
                          "{}",
                          "[1,2,[3]]",
                          "{\"a\":1,\"A\":2,\"\":3}",
                          "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
                          "\t\r\n{\"a\" : [ ] }\n",
                          "\xef\xbb\xbf{}",
                          ("\xef\xbb\xbf"
                           "0"),
                          "\"\x7f\xe4\xbd\xa0\"",
                          "1e-999",
                          "123456789012345678901234567890"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(parse(good[i], strlen(good[i]), NULL), KEEL_OK);
}

static void malformed_values_are_refused_with_the_byte_offset(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {{"", "byte 0: expected a JSON value, got the end"},
               {"  ", "byte 2"},
               {"{} x", "byte 3: expected nothing more after the value, got 'x'"},
               {"{}{}", "byte 2"},
               {"[1,]", "byte 3: expected a JSON value, got ']'"},
               {"[1 2]", "byte 3: expected ',' or ']'"},
               {"{\"a\":1,}", "byte 7: expected a key in quotes"},
               {"{\"a\" 1}", "byte 5: expected ':'"},
               {"{a:1}", "byte 1"},
               {"{'a':1}", "byte 1"},
               {"[1", "got the end"},
               {"{\"a\":", "got the end"},
               {"\"abc", "byte 0: a string without an end"},
               {"\"a\nb\"", "byte 2: a control character"},
               {"\"\\x\"", "byte 1: unknown escape"},
               {"\"\\", "byte 1: unknown escape"},
               {"\"\\u12g4\"", "byte 1: \\u wants four"},
               {"\"\\u12", "byte 1: \\u wants four"},
               {"\"a\\u0000b\"", "byte 2: \\u0000"},
               {"\"\\ud800\"", "byte 1: a lone surrogate"},
               {"\"\\ud800\\u0041\"", "byte 1: a lone surrogate"},
               {"\"\\udc00\\ud800\"", "byte 1: a lone surrogate"},
               {"01", "byte 0: a number with a leading zero"},
               {"-", "byte 1: expected a digit"},
               {"+1", "byte 0"},
               {".5", "byte 0"},
               {"1.", "byte 2: expected a digit after the point"},
               {"1.e5", "byte 2"},
               {"1e", "byte 2: expected a digit in the exponent"},
               {"1e+", "byte 3"},
               {"0x10", "byte 1"},
               {"NaN", "byte 0"},
               {"-Infinity", "byte 1"},
               {"1e999", "byte 0: a number too large"},
               {"nul", "byte 0"},
               {"True", "byte 0"},
               {"// c\n1", "byte 0"},
               {"\"\xff\"", "byte 1: invalid UTF-8"},
               {"\"\xc0\x80\"", "byte 1: invalid UTF-8"},
               {"\"\xed\xa0\x80\"", "byte 1: invalid UTF-8"},
               {"\x0b 1", "byte 0"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i].text, strlen(bad[i].text), bad[i].why);
    assert_refused("\"a\0b\"", 5, "byte 2: a NUL byte");
    assert_refused("{}\0", 3, "byte 2: a NUL byte");
    assert_refused("0.1234567890123456789012345678901234567890123456789012345678901234567890", 72,
                   "63 characters");
}

static void numbers_end_where_the_parser_below_would_cut_them(void **state) {
    (void)state;
    char text[64];
    memset(text, '1', sizeof text);
    memcpy(text, "0.", 2);
    assert_int_equal(parse(text, 63, NULL), KEEL_OK);
    assert_refused(text, 64, "more than 63 characters");
}

static void nesting_is_bounded(void **state) {
    (void)state;
    char text[400];
    for (int depth = 99; depth <= 101; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(parse(text, 2 * (size_t)depth, NULL), depth <= 100 ? KEEL_OK : KEEL_E_PARSE);
    }
    char *deep = malloc(1 << 20);
    memset(deep, '[', 1 << 20);
    assert_refused(deep, 1 << 20, "nested more than 100 deep");
    free(deep);
}

static void a_key_that_stands_twice_is_refused_however_it_is_written(void **state) {
    (void)state;
    const char *bad[] = {"{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}",
                         "[{\"x\":{\"b\":1,\"c\":2,\"b\":3}}]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i], strlen(bad[i]), "stands twice");
}

static void huge_objects_are_checked_quickly(void **state) {
    (void)state;
    enum { KEYS = 200000 };
    keel_buf text = {0};
    for (int twice = 0; twice < 2; twice++) {
        keel_buf_clear(&text);
        for (int i = 0; i < KEYS; i++)
            keel_buf_format(&text, "%s\"key %d\":%d", i ? "," : "{", (i * 7919) % KEYS, i);
        keel_buf_text(&text, twice ? ",\"key 77\":1}" : "}");
        if (twice)
            assert_refused(text.data, text.length, "the key \"key 77\" stands twice");
        else
            assert_int_equal(parse(text.data, text.length, NULL), KEEL_OK);
    }
    keel_buf_free(&text);
}

static void every_prefix_and_every_changed_byte_is_survived(void **state) {
    (void)state;
    const char *text = "{\"id\":\"a\\u00e9\\ud83d\\ude00\",\"m\":[{\"role\":\"user\",\"x\":-1.5e3},true,null]"
                       ",\"z\":\"\xe4\xbd\xa0\"}";
    size_t length = strlen(text);
    char copy[256];
    for (size_t cut = 0; cut < length; cut++) assert_int_equal(parse(text, cut, NULL), KEEL_E_PARSE);
    for (size_t i = 0; i < length; i++) {
        memcpy(copy, text, length);
        for (int byte = 0; byte < 256; byte++) {
            copy[i] = (char)byte;
            keel_status status = parse(copy, length, NULL);
            assert_true(status == KEEL_OK || status == KEEL_E_PARSE);
        }
    }
}

static void the_first_unknown_key_is_named(void **state) {
    (void)state;
    static const char *const known[] = {"a", "b", NULL}, *const none[] = {NULL};
    cJSON *json = NULL;
    assert_int_equal(keel_json_parse("{\"b\":1,\"A\":2,\"c\":3}", 19, "t", &json, NULL), KEEL_OK);
    assert_string_equal(keel_json_unknown(json, known), "A");
    assert_string_equal(keel_json_unknown(json, none), "b");
    cJSON_DeleteItemFromObjectCaseSensitive(json, "A");
    cJSON_DeleteItemFromObjectCaseSensitive(json, "c");
    assert_null(keel_json_unknown(json, known));
    assert_null(keel_json_unknown(NULL, known));
    cJSON_Delete(json);
}

static void look_ups_are_typed_and_case_sensitive(void **state) {
    (void)state;
    const char *text = "{\"s\":\"x\",\"n\":1.5,\"b\":true,\"a\":[1],\"o\":{},\"null\":null}",
               *string = "kept";
    double number = 7;
    bool flag = false;
    const cJSON *array = NULL, *object = NULL;
    cJSON *value;
    keel_err err = {0};
    assert_int_equal(keel_json_parse(text, strlen(text), "f", &value, NULL), KEEL_OK);
    assert_int_equal(keel_json_string(value, "s", true, &string, "f", NULL), KEEL_OK);
    assert_string_equal(string, "x");
    assert_int_equal(keel_json_number(value, "n", true, &number, "f", NULL), KEEL_OK);
    assert_true(number == 1.5);
    assert_int_equal(keel_json_bool(value, "b", true, &flag, "f", NULL), KEEL_OK);
    assert_true(flag);
    assert_int_equal(keel_json_array(value, "a", true, &array, "f", NULL), KEEL_OK);
    assert_true(cJSON_IsArray(array));
    assert_int_equal(keel_json_object(value, "o", true, &object, "f", NULL), KEEL_OK);
    assert_true(cJSON_IsObject(object));
    assert_int_equal(keel_json_number(value, "N", false, &number, "f", NULL), KEEL_OK);
    assert_int_equal(keel_json_number(value, "null", false, &number, "f", NULL), KEEL_OK);
    assert_true(number == 1.5);
    assert_int_equal(keel_json_number(value, "N", true, &number, "f", &err), KEEL_E_PARSE);
    assert_string_equal(err.message, "key \"N\": expected a number, got nothing");
    assert_int_equal(keel_json_string(value, "null", true, &string, "f", &err), KEEL_E_PARSE);
    assert_int_equal(keel_json_string(value, "n", false, &string, "f:3", &err), KEEL_E_PARSE);
    assert_string_equal(err.message, "key \"n\": expected a string, got a number");
    assert_string_equal(err.where, "f:3");
    assert_int_equal(keel_json_bool(value, "s", false, &flag, "f", &err), KEEL_E_PARSE);
    assert_int_equal(keel_json_object(value, "a", false, &object, "f", &err), KEEL_E_PARSE);
    assert_int_equal(keel_json_string(array, "s", false, &string, "f", &err), KEEL_E_PARSE);
    cJSON_Delete(value);
}

static void assert_prints(double value, const char *wanted) {
    keel_buf buf = {0};
    keel_json_put_number(&buf, value);
    assert_string_equal(buf.data, wanted);
    keel_buf_free(&buf);
}

static void numbers_print_in_the_shortest_form_that_reads_back(void **state) {
    (void)state;
    assert_prints(0, "0");
    assert_prints(-3, "-3");
    assert_prints(0.1, "0.1");
    assert_prints(0.1 + 0.2, "0.30000000000000004");
    assert_prints(123456789012345.0, "123456789012345");
    assert_prints(9007199254740993.0, "9007199254740992");
    assert_prints(1e300, "1e+300");
    assert_prints(1.0 / 3, "0.3333333333333333");
    assert_prints(NAN, "null");
    assert_prints(-INFINITY, "null");
    keel_rng rng = keel_rng_named(3, "json", 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = keel_rng_u64(&rng);
        double value, back = 0;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        keel_buf buf = {0};
        keel_json_put_number(&buf, value);
        cJSON *parsed;
        assert_int_equal(keel_json_parse(buf.data, buf.length, "n", &parsed, NULL), KEEL_OK);
        back = parsed->valuedouble;
        assert_memory_equal(&back, &value, sizeof value);
        cJSON_Delete(parsed);
        keel_buf_free(&buf);
    }
}

static void a_value_that_could_not_be_made_is_not_printed(void **state) {
    (void)state;
    keel_buf buf = {0};
    assert_int_equal(keel_json_print(NULL, false, &buf, NULL), KEEL_E_NOMEM);
    assert_null(buf.data);
}

static void what_is_printed_reads_back_the_same(void **state) {
    (void)state;
    const char *text =
        "{\"a\":[1,-0.5,true,null,\"q\\\"\\\\\\n\\u0001\xe4\xbd\xa0\"],\"e\":{},\"f\":[],\"o\":{\"k\":[{}]}}";
    const char *pretty = "{\n  \"a\": [\n    1,\n    -0.5,\n    true,\n    null,\n    "
                         "\"q\\\"\\\\\\n\\u0001\xe4\xbd\xa0\"\n  ],\n"
                         "  \"e\": {},\n  \"f\": [],\n  \"o\": {\n    \"k\": [\n      {}\n    ]\n  }\n}\n";
    cJSON *value, *again;
    keel_buf flat = {0}, tall = {0};
    assert_int_equal(keel_json_parse(text, strlen(text), "t", &value, NULL), KEEL_OK);
    assert_int_equal(keel_json_print(value, false, &flat, NULL), KEEL_OK);
    assert_string_equal(flat.data, text);
    assert_int_equal(keel_json_print(value, true, &tall, NULL), KEEL_OK);
    assert_string_equal(tall.data, pretty);
    assert_int_equal(keel_json_parse(tall.data, tall.length, "t", &again, NULL), KEEL_OK);
    assert_true(cJSON_Compare(value, again, true));
    cJSON_Delete(value);
    cJSON_Delete(again);
    keel_buf_free(&flat);
    keel_buf_free(&tall);
}

static void values_in_an_arena_are_the_same_and_need_no_freeing(void **state) {
    (void)state;
    const char *text =
        "{\"long\":\"0123456789\\u00e9 and on\",\"n\":[-0.25,1e3,12345678901234567890],\"e\":{}}";
    keel_arena arena = {0};
    const cJSON *held = NULL;
    cJSON *value;
    assert_int_equal(keel_json_parse_in(&arena, text, strlen(text), "t", &held, NULL), KEEL_OK);
    assert_int_equal(keel_json_parse(text, strlen(text), "t", &value, NULL), KEEL_OK);
    assert_true(cJSON_Compare(value, held, true));
    assert_string_equal(cJSON_GetObjectItem(held, "long")->valuestring, "0123456789\xc3\xa9 and on");
    cJSON_Delete(value);
    keel_arena_free(&arena);
}

static keel_status sum_items(const char *text, double *sum, keel_err *err) {
    keel_json_items items;
    keel_arena arena = {0};
    const cJSON *item = NULL;
    *sum = 0;
    keel_status status = keel_json_items_open(&items, text, strlen(text), "f.json", "numbers", err);
    while (status == KEEL_OK) {
        keel_arena_reset(&arena);
        status = keel_json_items_next(&items, &arena, &item, err);
        if (status != KEEL_OK || !item) break;
        *sum += item->valuedouble;
    }
    keel_arena_free(&arena);
    return status;
}

static void an_array_is_read_item_by_item_as_strictly_as_at_once(void **state) {
    (void)state;
    const struct {
        const char *text, *why;
    } bad[] = {{"", "byte 0: expected a JSON value, got the end"},
               {"{}", "expected an array of numbers"},
               {"7", "expected an array of numbers"},
               {"[1 2]", "byte 3: expected ',' or ']', got '2'"},
               {"[1,", "byte 3: expected a JSON value, got the end"},
               {"[1,]", "byte 3: expected a JSON value, got ']'"},
               {"[,1]", "byte 1: expected a JSON value, got ','"},
               {"[1", "byte 2: expected ',' or ']', got the end"},
               {"[1]]", "byte 3: expected nothing more after the value, got ']'"},
               {"[1,{\"a\":1,\"a\":2}]", "the key \"a\" stands twice"},
               {"[1,\"a\xff\"]", "byte 5: invalid UTF-8"}};
    double sum;
    assert_int_equal(sum_items(" [ 1 , 2.5,4 ] ", &sum, NULL), KEEL_OK);
    assert_true(sum == 7.5);
    assert_int_equal(sum_items("\xEF\xBB\xBF[]", &sum, NULL), KEEL_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        keel_err err = {0};
        assert_int_equal(sum_items(bad[i].text, &sum, &err), KEEL_E_PARSE);
        assert_non_null(strstr(err.message, bad[i].why));
        assert_string_equal(err.where, "f.json");
    }
}

static void what_is_not_utf8_can_be_made_so(void **state) {
    (void)state;
    cJSON *value = cJSON_CreateObject();
    keel_buf buf = {0};
    cJSON_AddStringToObject(value, "a\xff", "\xc3\xa9\xc3");
    cJSON_AddStringToObject(cJSON_AddObjectToObject(value, "b"), "c", "d\xe9/e");
    keel_json_mend(value);
    keel_json_mend(NULL);
    assert_int_equal(keel_json_print(value, false, &buf, NULL), KEEL_OK);
    assert_string_equal(buf.data, "{\"a?\":\"\xc3\xa9?\",\"b\":{\"c\":\"d?/e\"}}");
    cJSON_Delete(value);
    keel_buf_free(&buf);
}

static void text_that_is_not_utf8_is_not_printed(void **state) {
    (void)state;
    cJSON *value = cJSON_CreateString("a\xff");
    keel_buf buf = {0};
    assert_int_equal(keel_json_print(value, false, &buf, NULL), KEEL_E_INVALID);
    cJSON_Delete(value);
    keel_buf_free(&buf);
}

static void files_round_trip_and_errors_name_the_file(void **state) {
    (void)state;
    char folder[256];
    assert_non_null(scratch_make(folder, "json"));
    cJSON *value, *again = NULL;
    keel_err err = {0};
    assert_int_equal(keel_json_parse("{\"a\":[1]}", 9, "t", &value, NULL), KEEL_OK);
    assert_int_equal(keel_json_write_file(scratch_path(folder, "a.json"), value, NULL), KEEL_OK);
    assert_int_equal(keel_json_parse_file(scratch_path(folder, "a.json"), &again, NULL), KEEL_OK);
    assert_true(cJSON_Compare(value, again, true));
    cJSON_Delete(value);
    cJSON_Delete(again);
    assert_int_equal(keel_file_write(scratch_path(folder, "bad.json"), "{\"a\":}", 6, NULL), KEEL_OK);
    assert_int_equal(keel_json_parse_file(scratch_path(folder, "bad.json"), &value, &err), KEEL_E_PARSE);
    assert_string_equal(err.where, scratch_path(folder, "bad.json"));
    assert_int_equal(keel_json_parse_file(scratch_path(folder, "none.json"), &value, &err), KEEL_E_IO);
    assert_int_equal(keel_folder_remove(folder, NULL), KEEL_OK);
}

static cJSON *parsed(const char *text) {
    cJSON *value = NULL;
    assert_int_equal(keel_json_parse(text, strlen(text), "t", &value, NULL), KEEL_OK);
    return value;
}

static void a_hash_is_of_the_value_and_not_of_its_white_space(void **state) {
    (void)state;
    static const char *const texts[] = {"{\"a\": [1, 2]}", "{ \"a\" : [1,2.0] }", "{\"a\":[2,1]}"};
    char hash[3][65];
    for (size_t i = 0; i < 3; i++) {
        cJSON *value = parsed(texts[i]);
        assert_int_equal(keel_json_hash(value, hash[i], NULL), KEEL_OK);
        cJSON_Delete(value);
    }
    assert_string_equal(hash[0], hash[1]);
    assert_string_not_equal(hash[0], hash[2]);
    /* printf '{"a":[1,2]}' | sha256sum */
    assert_string_equal(hash[0], "01530d164d479cf08e26d3b1ad9bdba927120d97e2d057a6d792db778780d720");
    assert_int_equal(keel_json_hash(NULL, hash[0], NULL), KEEL_E_NOMEM);
}

static void assert_differ(const char *there, const char *here, const char *wanted) {
    keel_buf text = {0};
    cJSON *a = parsed(there), *b = parsed(here);
    keel_json_differences(a, b, &text);
    assert_string_equal(text.length ? text.data : "", wanted);
    keel_buf_free(&text);
    cJSON_Delete(a);
    cJSON_Delete(b);
}

static void differences_name_what_both_have(void **state) {
    (void)state;
    assert_differ("{\"a\": 1}", "{\"a\": 1}", "");
    assert_differ("{\"a\": 1, \"b\": 2}", "{\"a\": 1, \"c\": 3}", "");
    assert_differ("{\"a\": 1, \"b\": \"x\"}", "{\"b\": \"y\", \"a\": 2}",
                  "b (\"x\", here \"y\"), a (1, here 2)");
    assert_differ("{\"r\": {\"a\": 1, \"b\": [1]}, \"z\": {}}", "{\"r\": {\"a\": 1, \"b\": [2]}, \"z\": 1}",
                  "r.b ([1], here [2]), z ({}, here 1)");
    assert_differ("{\"a\": \"0123456789012345678901234\"}", "{\"a\": null}",
                  "a (\"01234567890123456789012..., here null)");
    assert_differ("[]", "{\"a\": 1}", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_of_the_value_and_not_of_its_white_space),
        cmocka_unit_test(differences_name_what_both_have),
        cmocka_unit_test(well_formed_values_are_accepted),
        cmocka_unit_test(malformed_values_are_refused_with_the_byte_offset),
        cmocka_unit_test(numbers_end_where_the_parser_below_would_cut_them),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_key_that_stands_twice_is_refused_however_it_is_written),
        cmocka_unit_test(huge_objects_are_checked_quickly),
        cmocka_unit_test(every_prefix_and_every_changed_byte_is_survived),
        cmocka_unit_test(the_first_unknown_key_is_named),
        cmocka_unit_test(look_ups_are_typed_and_case_sensitive),
        cmocka_unit_test(numbers_print_in_the_shortest_form_that_reads_back),
        cmocka_unit_test(a_value_that_could_not_be_made_is_not_printed),
        cmocka_unit_test(what_is_printed_reads_back_the_same),
        cmocka_unit_test(values_in_an_arena_are_the_same_and_need_no_freeing),
        cmocka_unit_test(an_array_is_read_item_by_item_as_strictly_as_at_once),
        cmocka_unit_test(what_is_not_utf8_can_be_made_so),
        cmocka_unit_test(text_that_is_not_utf8_is_not_printed),
        cmocka_unit_test(files_round_trip_and_errors_name_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
