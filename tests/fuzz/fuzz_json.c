/* core/json: whatever parses is what cJSON itself reads, also into an arena and item by item, and prints as
 * text that parses to the same print. */
#include "core/json.h"
#include "fuzz.h"

static void print_as(const cJSON *value, const keel_buf *print) {
    keel_buf again = {0};
    FUZZ_CHECK(keel_json_print(value, false, &again, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(again.length == print->length && memcmp(again.data, print->data, print->length) == 0);
    keel_buf_free(&again);
}

/* The items of an array, joined, are the print of the whole; good: does the whole parse? */
static void read_items(const char *text, size_t size, keel_arena *arena, const keel_buf *print, bool good) {
    keel_json_items items;
    const cJSON *item = NULL;
    keel_buf joined = {0};
    keel_status status = keel_json_items_open(&items, text, size, "input", "things", &fuzz_err);
    if (status != KEEL_OK) return;
    keel_buf_text(&joined, "[");
    while ((status = keel_json_items_next(&items, arena, &item, &fuzz_err)) == KEEL_OK && item) {
        if (items.count > 1) keel_buf_text(&joined, ",");
        FUZZ_CHECK(keel_json_print(item, false, &joined, &fuzz_err) == KEEL_OK);
    }
    keel_buf_text(&joined, "]");
    FUZZ_CHECK((status == KEEL_OK) == good);
    if (good)
        FUZZ_CHECK(joined.length == print->length && memcmp(joined.data, print->data, joined.length) == 0);
    keel_buf_free(&joined);
}

/* cJSON itself keeps no digits that a double does not hold. */
static void drop_digits(cJSON *value) {
    if (cJSON_IsNumber(value)) {
        cJSON_free(value->valuestring);
        value->valuestring = NULL;
    }
    for (cJSON *child = value->child; child; child = child->next) drop_digits(child);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *value = NULL;
    const cJSON *held = NULL;
    keel_arena arena = {0};
    keel_buf print = {0}, plain = {0};
    char *text = fuzz_text(data, size);
    const bool good = fuzz_ok(keel_json_parse(text, size, "input", &value, &fuzz_err));
    FUZZ_CHECK(good == (keel_json_parse_in(&arena, text, size, "input", &held, &fuzz_err) == KEEL_OK));
    if (good) {
        const size_t mark = size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
        cJSON *twin = cJSON_ParseWithLength(text + mark, size - mark), *again = NULL;
        FUZZ_CHECK(keel_json_print(value, false, &print, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_json_parse(print.data, print.length, "print", &again, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(twin != NULL);
        print_as(held, &print);
        print_as(again, &print);
        drop_digits(again);
        keel_buf_clear(&plain);
        FUZZ_CHECK(keel_json_print(again, false, &plain, &fuzz_err) == KEEL_OK);
        print_as(twin, &plain);
        cJSON_Delete(twin);
        cJSON_Delete(again);
    }
    read_items(text, size, &arena, &print, good);
    cJSON_Delete(value);
    keel_arena_free(&arena);
    keel_buf_free(&print);
    keel_buf_free(&plain);
    free(text);
    return 0;
}
