/* What Keel relies on in cJSON: of Debian's library, and, compiled once more, of Keel's own twin. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"

static cJSON *parse(const char *text) {
    cJSON *value = NULL;
    assert_int_equal(keel_json_parse(text, strlen(text), "text", &value, NULL), KEEL_OK);
    return value;
}

static void assert_prints(const cJSON *value, const char *text) {
    keel_buf buf = {0};
    assert_int_equal(keel_json_print(value, false, &buf, NULL), KEEL_OK);
    assert_string_equal(buf.data, text);
    keel_buf_free(&buf);
}

/* Forwards, and backwards from the last, which the first knows. */
static void assert_chained(const cJSON *parent) {
    size_t n = 0, back = 0;
    const cJSON *item, *last = NULL;
    cJSON_ArrayForEach (item, parent) {
        if (last) assert_ptr_equal(item->prev, last);
        last = item;
        n++;
    }
    if (parent->child) assert_ptr_equal(parent->child->prev, last);
    for (item = last; item; item = item == parent->child ? NULL : item->prev) back++;
    assert_int_equal(n, back);
    assert_int_equal(cJSON_GetArraySize(parent), n);
}

static void values_are_made_and_printed(void **state) {
    (void)state;
    cJSON *object = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(object, "list");
    cJSON_AddNumberToObject(object, "number", 2.5);
    cJSON_AddStringToObject(object, "text", "a \"b\"");
    cJSON_AddBoolToObject(object, "yes", true);
    cJSON_AddTrueToObject(object, "too");
    cJSON_AddNullToObject(object, "nothing");
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(object, "inner"), "x", -1);
    assert_true(cJSON_AddItemToArray(array, cJSON_CreateBool(false)));
    assert_true(cJSON_AddItemToArray(array, cJSON_CreateNumber(3e9)));
    assert_false(cJSON_AddItemToArray(array, NULL));
    assert_false(cJSON_AddItemToObject(object, "self", object));
    assert_false(cJSON_AddItemToObject(object, "none", NULL));
    assert_prints(object, "{\"list\":[false,3000000000],\"number\":2.5,\"text\":\"a \\\"b\\\"\",\"yes\":true,"
                          "\"too\":true,\"nothing\":null,\"inner\":{\"x\":-1}}");
    assert_chained(object);
    assert_chained(array);
    assert_int_equal(cJSON_GetArrayItem(array, 1)->valueint, INT32_MAX);
    cJSON_Delete(object);
    assert_null(cJSON_CreateString(NULL));
    cJSON_Delete(NULL);
}

static void values_are_found_by_key_and_place(void **state) {
    (void)state;
    cJSON *value = parse("{\"a\": [1, \"two\", null, true, false, {}], \"A\": 2, \"b\": null}");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(value, "a");
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(value, "A")) == 2);
    assert_null(cJSON_GetObjectItemCaseSensitive(value, "c"));
    assert_null(cJSON_GetObjectItemCaseSensitive(NULL, "a"));
    assert_true(cJSON_HasObjectItem(value, "b") && cJSON_HasObjectItem(value, "B"));
    assert_false(cJSON_HasObjectItem(value, "c"));
    assert_true(cJSON_IsNumber(cJSON_GetArrayItem(list, 0)) && cJSON_IsString(cJSON_GetArrayItem(list, 1)));
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(list, 2)) && cJSON_IsTrue(cJSON_GetArrayItem(list, 3)));
    assert_true(cJSON_IsFalse(cJSON_GetArrayItem(list, 4)) && cJSON_IsBool(cJSON_GetArrayItem(list, 4)));
    assert_true(cJSON_IsBool(cJSON_GetArrayItem(list, 3)) && cJSON_IsObject(cJSON_GetArrayItem(list, 5)));
    assert_true(cJSON_IsArray(list) && !cJSON_IsArray(NULL) && !cJSON_IsObject(list));
    assert_null(cJSON_GetArrayItem(list, 6));
    assert_null(cJSON_GetArrayItem(list, -1));
    assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(list, 1)), "two");
    assert_null(cJSON_GetStringValue(list));
    assert_true(isnan(cJSON_GetNumberValue(list)));
    assert_int_equal(cJSON_GetArraySize(list), 6);
    assert_int_equal(cJSON_GetArraySize(NULL), 0);
    cJSON_Delete(value);
}

static void values_are_taken_out(void **state) {
    (void)state;
    cJSON *value = parse("{\"a\": 1, \"b\": [1, 2, 3], \"c\": 3, \"d\": 4}");
    static const char *const order[] = {"c", "a", "d"}; /* in the middle, the first, the last */
    static const char *const left[] = {"{\"a\":1,\"b\":[1,2,3],\"d\":4}", "{\"b\":[1,2,3],\"d\":4}",
                                       "{\"b\":[1,2,3]}"};
    for (size_t i = 0; i < 3; i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(value, order[i]);
        assert_true(item && !item->next && !item->prev && strcmp(item->string, order[i]) == 0);
        cJSON_Delete(item);
        assert_prints(value, left[i]);
        assert_chained(value);
    }
    cJSON *list = value->child;
    cJSON_DeleteItemFromArray(list, 7);
    cJSON_DeleteItemFromArray(list, 1);
    assert_prints(list, "[1,3]");
    cJSON_AddItemToArray(list, cJSON_CreateNumber(4));
    assert_prints(list, "[1,3,4]");
    assert_chained(list);
    assert_null(cJSON_DetachItemFromObjectCaseSensitive(value, "gone"));
    cJSON_DeleteItemFromObjectCaseSensitive(value, "gone");
    cJSON_DeleteItemFromObjectCaseSensitive(value, "b");
    assert_prints(value, "{}");
    cJSON_AddTrueToObject(value, "again");
    assert_prints(value, "{\"again\":true}");
    assert_chained(value);
    cJSON_Delete(value);
}

static void an_item_under_a_new_key(void **state) {
    (void)state;
    cJSON *value = parse("{\"a\": [true]}"), *other = cJSON_CreateObject();
    assert_true(cJSON_AddItemToObject(other, "b", cJSON_DetachItemFromObjectCaseSensitive(value, "a")));
    assert_prints(other, "{\"b\":[true]}");
    assert_non_null(cJSON_SetValuestring(cJSON_AddStringToObject(other, "c", "x"), "a longer text"));
    assert_null(cJSON_SetValuestring(other, "no text"));
    assert_prints(other, "{\"b\":[true],\"c\":\"a longer text\"}");
    cJSON_Delete(value);
    cJSON_Delete(other);
}

static void copies_and_references(void **state) {
    (void)state;
    cJSON *value = parse("{\"a\": [1, {\"b\": \"x\"}], \"c\": 9007199254740993}");
    cJSON *copy = cJSON_Duplicate(value, true), *flat = cJSON_Duplicate(value, false);
    cJSON *part = cJSON_Duplicate(value->child, true), *holder = cJSON_CreateObject();
    assert_true(cJSON_Compare(value, copy, true) && !part->next && !part->prev);
    assert_true(cJSON_AddItemToObject(holder, "of", cJSON_CreateObjectReference(value->child)));
    assert_prints(holder, "{\"of\":{\"a\":[1,{\"b\":\"x\"}],\"c\":9007199254740993}}");
    cJSON_Delete(holder); /* and not what it refers to */
    assert_prints(value, "{\"a\":[1,{\"b\":\"x\"}],\"c\":9007199254740993}");
    cJSON_Delete(value);
    assert_prints(copy, "{\"a\":[1,{\"b\":\"x\"}],\"c\":9007199254740993}");
    assert_prints(flat, "{}");
    assert_prints(part, "[1,{\"b\":\"x\"}]");
    assert_chained(copy);
    assert_null(cJSON_Duplicate(NULL, true));
    cJSON_Delete(copy);
    cJSON_Delete(flat);
    cJSON_Delete(part);
}

static void values_are_compared(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {{"{\"a\": 1, \"b\": [1, 2]}", "{\"b\": [1, 2], \"a\": 1}", true},
                 {"{\"a\": 1}", "{\"A\": 1}", false},
                 {"{\"a\": 1}", "{\"a\": 1, \"b\": 1}", false},
                 {"{\"a\": 1, \"b\": 1}", "{\"a\": 1}", false},
                 {"[1, 2]", "[2, 1]", false},
                 {"[1]", "[1, 2]", false},
                 {"[1, 2]", "[1]", false},
                 {"0.1", "0.10000000000000001", true},
                 {"1", "1.5", false},
                 {"\"a\"", "\"a\"", true},
                 {"\"a\"", "\"b\"", false},
                 {"true", "true", true},
                 {"true", "false", false},
                 {"null", "null", true},
                 {"[]", "{}", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *a = parse(cases[i].a), *b = parse(cases[i].b);
        assert_true(cJSON_Compare(a, b, true) == cases[i].same);
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
    assert_false(cJSON_Compare(NULL, NULL, true));
}

static size_t allowed, held;

static void *some(size_t bytes) {
    if (!allowed) return NULL;
    allowed--, held++;
    return malloc(bytes);
}

static void released(void *memory) {
    held -= memory != NULL;
    free(memory);
}

/* Whatever cannot be made is NULL or false, and nothing leaks. */
static void without_memory_nothing_is_half_made(void **state) {
    (void)state;
    cJSON_InitHooks(&(cJSON_Hooks){some, released});
    size_t most = 0;
    for (bool whole = false; !whole; most++) {
        assert_true(most < 100);
        allowed = most;
        cJSON *object = cJSON_CreateObject(), *text = cJSON_CreateString("text");
        whole = cJSON_AddStringToObject(object, "a", "b") && cJSON_AddArrayToObject(object, "list");
        const bool added = keel_json_add(object, "text", text);
        cJSON *copy = cJSON_Duplicate(object, true);
        whole = whole && added && copy;
        if (whole) assert_prints(copy, "{\"a\":\"b\",\"list\":[],\"text\":\"text\"}");
        cJSON_Delete(object);
        cJSON_Delete(copy);
        assert_int_equal(held, 0);
    }
    assert_true(most > 10);
    cJSON_InitHooks(NULL);
    void *memory = cJSON_malloc(3);
    assert_non_null(memory);
    cJSON_free(memory);
    assert_int_equal(held, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_made_and_printed),
        cmocka_unit_test(values_are_found_by_key_and_place),
        cmocka_unit_test(values_are_taken_out),
        cmocka_unit_test(an_item_under_a_new_key),
        cmocka_unit_test(copies_and_references),
        cmocka_unit_test(values_are_compared),
        cmocka_unit_test(without_memory_nothing_is_half_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
