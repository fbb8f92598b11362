/* core/json: whatever parses prints as text that parses to the same print. */
#include "core/json.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *value = NULL, *again = NULL;
    keel_buf first = {0}, second = {0};
    char *text = fuzz_text(data, size);
    if (fuzz_ok(keel_json_parse(text, size, "input", &value, &fuzz_err))) {
        FUZZ_CHECK(keel_json_print(value, (size & 1) != 0, &first, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_json_parse(first.data, first.length, "print", &again, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_json_print(again, (size & 1) != 0, &second, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    }
    cJSON_Delete(value);
    cJSON_Delete(again);
    keel_buf_free(&first);
    keel_buf_free(&second);
    free(text);
    return 0;
}
