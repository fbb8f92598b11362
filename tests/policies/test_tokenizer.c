#include "fixture.h"

#include <utf8proc.h>

#include "core/file.h"
#include "core/json.h"
#include "policies/tokens/normalizer.h"
#include "policies/tokens/tokenizer.h"

#define GOLDEN(name) KEEL_SOURCE_DIR "/tests/policies/golden/" name

static keel_tokenizer *tokenizer;
static keel_arena arena;
static char folder[256];

static int set_up(void **state) {
    (void)state;
    return scratch_make(folder, "tokenizer") &&
                   keel_tokenizer_load(&tokenizer, GOLDEN("tokenizer.json"), &err) == KEEL_OK
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    keel_tokenizer_close(tokenizer);
    keel_arena_free(&arena);
    return keel_folder_remove(folder, &err);
}

static void same(const keel_tokens *found, const cJSON *expected, const char *of) {
    keel_buf text = {0};
    for (size_t i = 0; i < found->count; i++)
        keel_buf_format(&text, " %s", keel_tokenizer_token(tokenizer, found->id[i]));
    if ((int)found->count != cJSON_GetArraySize(expected))
        fail_msg("\"%s\":%s", of, text.data ? text.data : "");
    for (int i = 0; i < (int)found->count; i++)
        if (found->id[i] != cJSON_GetArrayItem(expected, i)->valueint) fail_msg("\"%s\":%s", of, text.data);
    keel_buf_free(&text);
}

static void tokens_are_those_of_the_library(void **state) {
    (void)state;
    cJSON *golden;
    const cJSON *one;
    assert_ok(keel_json_parse_file(GOLDEN("tokens.json"), &golden, &err));
    cJSON_ArrayForEach (one, keel_json_get(golden, "texts")) {
        const char *text = keel_json_get(one, "text")->valuestring;
        keel_tokens found, framed;
        int32_t *type;
        assert_ok(keel_tokenizer_encode(tokenizer, text, true, &arena, &found, &err));
        same(&found, keel_json_get(one, "ids"), text);
        assert_ok(keel_tokenizer_frame(tokenizer, &found, NULL, &arena, &framed, &type, &err));
        same(&framed, keel_json_get(one, "framed"), text);
        assert_int_equal(framed.count, found.count + keel_tokenizer_frame_size(tokenizer, false));
    }
    cJSON_ArrayForEach (one, keel_json_get(golden, "pairs")) {
        const char *first = keel_json_get(one, "first")->valuestring;
        keel_tokens a, b, framed;
        int32_t *type;
        assert_ok(keel_tokenizer_encode(tokenizer, first, true, &arena, &a, &err));
        assert_ok(keel_tokenizer_encode(tokenizer, keel_json_get(one, "second")->valuestring, true, &arena,
                                        &b, &err));
        assert_ok(keel_tokenizer_frame(tokenizer, &a, &b, &arena, &framed, &type, &err));
        same(&framed, keel_json_get(one, "ids"), first);
        same(&(keel_tokens){framed.count, type}, keel_json_get(one, "types"), first);
    }
    cJSON_Delete(golden);
}

/* What a user writes is no mark of the model's. */
static void special_tokens_in_a_text_can_be_plain_text(void **state) {
    (void)state;
    keel_tokens found;
    int32_t mark = keel_tokenizer_find(tokenizer, "[SEP]");
    assert_true(mark >= 0);
    assert_ok(keel_tokenizer_encode(tokenizer, "a [SEP] b", false, &arena, &found, &err));
    for (size_t i = 0; i < found.count; i++) assert_int_not_equal(found.id[i], mark);
    assert_true(found.count > 3);
}

static void refuses(const char *from, const char *to, keel_status status, const char *says) {
    keel_buf text = {0}, changed = {0};
    keel_tokenizer *made = NULL;
    assert_ok(keel_file_read(GOLDEN("tokenizer.json"), 1 << 20, &text, &err));
    const char *at = strstr(text.data, from);
    if (!at) fail_msg("%s is not in the file", from);
    keel_buf_append(&changed, text.data, (size_t)(at - text.data));
    keel_buf_text(&changed, to);
    keel_buf_text(&changed, at + strlen(from));
    assert_ok(keel_file_write(scratch_path(folder, "t.json"), changed.data, changed.length, &err));
    assert_int_equal(keel_tokenizer_load(&made, scratch_path(folder, "t.json"), &err), status);
    contains(err.message, says);
    keel_buf_free(&text);
    keel_buf_free(&changed);
}

static void what_is_not_read_is_refused_by_name(void **state) {
    (void)state;
    refuses("\"WordPiece\",\"unk", "\"Unigram\",\"unk", KEEL_E_UNSUPPORTED, "model: \"Unigram\"");
    refuses("BertNormalizer", "Precompiled", KEEL_E_UNSUPPORTED, "normalizer: \"Precompiled\"");
    refuses("BertPreTokenizer", "Whitespace", KEEL_E_UNSUPPORTED, "pre_tokenizer: \"Whitespace\"");
    refuses("TemplateProcessing", "Other", KEEL_E_UNSUPPORTED, "post_processor: \"Other\"");
    refuses("\"how\":5", "\"how\":6", KEEL_E_PARSE, "is taken");
    refuses("\"how\":5", "\"how\":-5", KEEL_E_PARSE, "whole number");
    refuses("\"how\":5", "\"how\":1e9", KEEL_E_PARSE, "whole number");
    refuses("\"unk_token\":\"[UNK]\"", "\"unk_token\":\"none\"", KEEL_E_PARSE, "not in the vocabulary");
    refuses("\"id\":\"[CLS]\"", "\"id\":\"none\"", KEEL_E_PARSE, "not in the vocabulary");
}

/* ---- Unicode's forms ---- */

/* *text as a form has it. */
static void normalised(const char *form, const char **text, size_t *length) {
    char json[64];
    const cJSON *parsed;
    keel__pattern *patterns = NULL;
    const keel__reader reader = {.name = "made", .arena = &arena, .patterns = &patterns, .err = &err};
    keel__matching matching = {.arena = &arena, .err = &err};
    keel__normalizer normalizer = {0};
    snprintf(json, sizeof json, "{\"type\":\"%s\"}", form);
    assert_ok(keel_json_parse_in(&arena, json, strlen(json), "made", &parsed, &err));
    assert_ok(keel__normalizer_read(&reader, parsed, &normalizer));
    assert_ok(keel__normalizer_run(&normalizer, &matching, text, length));
}

static void a_form_is_that_of_utf8proc(void **state) {
    (void)state;
    static const char *const signs[] = {"a",      "e",      "\u00e9", "\u1ed9", "\u0301", "\u0316",
                                        "\u0345", "\u0334", "\u0323", "\uac00", "\ufb01", "\u0f71"};
    static const struct {
        const char *name;
        int options;
    } forms[] = {{"NFC", UTF8PROC_COMPOSE},
                 {"NFD", UTF8PROC_DECOMPOSE},
                 {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                 {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
    uint32_t draw = 1;
    for (int round = 0; round < 400; round++) {
        char text[400] = "";
        for (int i = 0; i < 60; i++) {
            draw = draw * 1664525u + 1013904223u;
            strcat(text, signs[(draw >> 16) % (round % 2 ? 12 : 9)]);
        }
        const char *found = text;
        size_t length = strlen(text);
        utf8proc_uint8_t *expected = NULL;
        normalised(forms[round % 4].name, &found, &length);
        const utf8proc_ssize_t n =
            utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)strlen(text), &expected,
                         (utf8proc_option_t)(forms[round % 4].options | UTF8PROC_STABLE));
        assert_int_equal(n, length);
        assert_memory_equal(expected, found, length);
        free(expected);
        keel_arena_reset(&arena);
    }
}

/* Sorted one by one they would take an hour. */
static void many_marks_are_sorted_at_once(void **state) {
    (void)state;
    enum { MANY = 400000 };
    static const char first[] = "\u0345", second[] = "\u0316"; /* of classes 240 and 220 */
    keel_buf text = {0};
    keel_buf_text(&text, "e");
    for (int i = 0; i < MANY; i++) keel_buf_text(&text, first);
    for (int i = 0; i < MANY; i++) keel_buf_text(&text, second);
    assert_false(text.failed);
    const char *found = text.data;
    size_t length = text.length;
    normalised("NFC", &found, &length);
    assert_int_equal(length, text.length);
    for (int i = 0; i < 2 * MANY; i++) assert_memory_equal(found + 1 + 2 * i, i < MANY ? second : first, 2);
    keel_buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_the_library),
        cmocka_unit_test(special_tokens_in_a_text_can_be_plain_text),
        cmocka_unit_test(what_is_not_read_is_refused_by_name),
        cmocka_unit_test(a_form_is_that_of_utf8proc),
        cmocka_unit_test(many_marks_are_sorted_at_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
