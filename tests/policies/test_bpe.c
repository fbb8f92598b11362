#define GOLDEN_FILE "bpe.json"
#include "golden_fixture.h"

#include "core/parallel.h"
#include "policies/tokens/bpe_train.h"
#include "policies/tokens/gguf_pre.h"
#include "policies/tokens/tokenizer.h"
#include "support/faults.h"
#include "support/threads.h"

/* ---- tokenizers of the golden file ---- */

/* A case's tokenizer.json: its pipeline with its model, which may be another's with a few keys of its own. */
static keel_tokenizer *tokenizer_of(const cJSON *one) {
    const char *name = keel_json_get(one, "model")->valuestring;
    const cJSON *models = keel_json_get(golden, "models"), *own = keel_json_get(models, name),
                *of = keel_json_get(keel_json_get(golden, "of"), name), *item;
    cJSON *file = cJSON_Duplicate(keel_json_get(one, "file"), true),
          *model = cJSON_Duplicate(of ? keel_json_get(models, of->valuestring) : own, true);
    keel_tokenizer *made = NULL;
    keel_buf text = {0};
    if (of)
        cJSON_ArrayForEach (item, own) {
            cJSON_DeleteItemFromObjectCaseSensitive(model, item->string);
            assert_true(keel_json_add(model, item->string, cJSON_Duplicate(item, true)));
        }
    assert_true(keel_json_add(file, "model", model));
    assert_ok(keel_json_print(file, false, &text, &err));
    assert_ok(keel_tokenizer_parse(&made, text.data, text.length, "golden", &err));
    keel_buf_free(&text);
    cJSON_Delete(file);
    return made;
}

static const cJSON *case_of(const char *name) {
    const cJSON *one;
    cJSON_ArrayForEach (one, keel_json_get(golden, "cases"))
        if (strcmp(keel_json_get(one, "name")->valuestring, name) == 0) return one;
    fail_msg("no case \"%s\"", name);
    return NULL;
}

static void same_ids(const cJSON *of, const char *text, size_t n, const int32_t *id, const cJSON *expected) {
    bool same = (int)n == cJSON_GetArraySize(expected);
    for (size_t i = 0; same && i < n; i++) same = id[i] == cJSON_GetArrayItem(expected, (int)i)->valueint;
    if (same) return;
    keel_buf found = {0};
    for (size_t i = 0; i < n; i++) keel_buf_format(&found, " %d", (int)id[i]);
    fail_msg("%s: \"%s\":%s", keel_json_get(of, "name")->valuestring, text, found.data ? found.data : "");
}

static void decodes(const keel_tokenizer *tokenizer, const keel_tokens *tokens, bool specials,
                    const char *expected) {
    const char *text;
    assert_ok(keel_tokenizer_decode(tokenizer, tokens->id, tokens->count, specials, &arena, &text, &err));
    assert_string_equal(text, expected);
}

static void tokens_and_texts_are_those_of_the_library(void **state) {
    const cJSON *one, *row;
    (void)state;
    cJSON_ArrayForEach (one, keel_json_get(golden, "cases")) {
        keel_tokenizer *tokenizer = tokenizer_of(one);
        cJSON_ArrayForEach (row, keel_json_get(one, "rows")) {
            const char *text = keel_json_get(row, "text")->valuestring;
            keel_tokens found, framed;
            int32_t *type;
            assert_ok(keel_tokenizer_encode(tokenizer, text, true, &arena, &found, &err));
            same_ids(one, text, found.count, found.id, keel_json_get(row, "ids"));
            assert_ok(keel_tokenizer_frame(tokenizer, &found, NULL, &arena, &framed, &type, &err));
            same_ids(one, text, framed.count, framed.id, keel_json_get(row, "framed"));
            decodes(tokenizer, &framed, true, keel_json_get(row, "decoded")->valuestring);
            decodes(tokenizer, &framed, false, keel_json_get(row, "without")->valuestring);
            /* once more, from the words that were met */
            assert_ok(keel_tokenizer_encode(tokenizer, text, true, &arena, &found, &err));
            same_ids(one, text, found.count, found.id, keel_json_get(row, "ids"));
        }
        keel_tokenizer_close(tokenizer);
    }
}

static void pairs_and_broken_bytes_are_those_of_the_library(void **state) {
    const cJSON *one;
    (void)state;
    cJSON_ArrayForEach (one, keel_json_get(golden, "cases")) {
        keel_tokenizer *tokenizer = tokenizer_of(one);
        const cJSON *list = keel_json_get(one, "broken");
        keel_tokens a, b, framed;
        int32_t *type, broken[16];
        size_t n = 0;
        assert_ok(keel_tokenizer_encode(tokenizer, "a b", true, &arena, &a, &err));
        assert_ok(keel_tokenizer_encode(tokenizer, "c", true, &arena, &b, &err));
        assert_ok(keel_tokenizer_frame(tokenizer, &a, &b, &arena, &framed, &type, &err));
        same_ids(one, "a b, c", framed.count, framed.id, keel_json_get(one, "pair"));
        same_ids(one, "types", framed.count, type, keel_json_get(one, "types"));
        for (int i = 0; i < cJSON_GetArraySize(list); i++)
            broken[n++] = cJSON_GetArrayItem(list, i)->valueint;
        decodes(tokenizer, &(keel_tokens){n, broken}, true, keel_json_get(one, "broken_text")->valuestring);
        keel_tokenizer_close(tokenizer);
    }
}

static void what_a_token_stands_for(void **state) {
    keel_tokenizer *bytes = tokenizer_of(case_of("llama-3")), *pieces = tokenizer_of(case_of("llama-2"));
    size_t length;
    (void)state;
    const int32_t end = keel_tokenizer_find(bytes, "<|end|>"), byte = keel_tokenizer_find(pieces, "<0xE4>"),
                  blank = keel_tokenizer_find(pieces, "\xE2\x96\x81");
    assert_true(end >= 0 && byte >= 0 && blank >= 0);
    assert_memory_equal(keel_tokenizer_bytes(bytes, end, &length), "<|end|>", 7);
    assert_int_equal(length, 7);
    assert_memory_equal(keel_tokenizer_bytes(bytes, keel_tokenizer_find(bytes, "\xC4\xA0"), &length), " ", 1);
    assert_int_equal(length, 1);
    assert_memory_equal(keel_tokenizer_bytes(bytes, keel_tokenizer_find(bytes, "\xC3\xA4"), &length), "\xE4",
                        1);
    assert_int_equal(length, 1); /* a part of a code point */
    assert_memory_equal(keel_tokenizer_bytes(pieces, byte, &length), "\xE4", 1);
    assert_int_equal(length, 1);
    assert_memory_equal(keel_tokenizer_bytes(pieces, blank, &length), " ", 1);
    assert_int_equal(length, 1);
    assert_null(keel_tokenizer_bytes(bytes, -1, &length));
    assert_null(keel_tokenizer_bytes(bytes, (int32_t)keel_tokenizer_size(bytes), &length));
    assert_true(keel_tokenizer_special(bytes, end));
    assert_false(keel_tokenizer_special(bytes, end + 1));
    assert_false(keel_tokenizer_special(bytes, -1));
    keel_tokenizer_close(bytes);
    keel_tokenizer_close(pieces);
}

static void added_tokens_can_be_plain_text(void **state) {
    keel_tokenizer *tokenizer = tokenizer_of(case_of("llama-3"));
    const int32_t end = keel_tokenizer_find(tokenizer, "<|end|>");
    keel_tokens found;
    (void)state;
    assert_ok(keel_tokenizer_encode(tokenizer, "a<|end|>", true, &arena, &found, &err));
    assert_int_equal(found.id[found.count - 1], end);
    assert_ok(keel_tokenizer_encode(tokenizer, "a<|end|>", false, &arena, &found, &err));
    for (size_t i = 0; i < found.count; i++) assert_int_not_equal(found.id[i], end);
    decodes(tokenizer, &found, true, "a<|end|>");
    keel_tokenizer_close(tokenizer);
}

/* ---- threads ---- */

enum { ROUNDS = 40 };

typedef struct crowd {
    const keel_tokenizer *tokenizer;
    const cJSON *rows;
} crowd;

static keel_status encode_one(void *context, size_t shard, size_t thread, keel_err *failed) {
    const crowd *of = context;
    const int n = cJSON_GetArraySize(of->rows);
    const cJSON *row = cJSON_GetArrayItem(of->rows, (int)(shard % (size_t)n)),
                *expected = keel_json_get(row, "ids");
    const char *text = keel_json_get(row, "text")->valuestring;
    keel_arena own = {0};
    keel_tokens found = {0};
    (void)thread;
    keel_status status = keel_tokenizer_encode(of->tokenizer, text, true, &own, &found, failed);
    bool same = (int)found.count == cJSON_GetArraySize(expected);
    for (size_t i = 0; same && i < found.count; i++)
        same = found.id[i] == cJSON_GetArrayItem(expected, (int)i)->valueint;
    keel_arena_free(&own);
    return same || status != KEEL_OK ? status : keel_fail(failed, KEEL_E_INVALID, text, "other tokens");
}

static void threads_share_a_tokenizer(void **state) {
    const cJSON *one = case_of("llama-3");
    keel_tokenizer *tokenizer = tokenizer_of(one);
    crowd of = {.tokenizer = tokenizer, .rows = keel_json_get(one, "rows")};
    keel_pool *pool;
    (void)state;
    assert_ok(keel_pool_open(&pool, 4, &err));
    assert_ok(keel_pool_run(pool, ROUNDS * (size_t)cJSON_GetArraySize(of.rows), encode_one, &of, &err));
    keel_pool_close(pool);
    keel_tokenizer_close(tokenizer);
}

/* ---- what is refused ---- */

static const char
    HEAD[] = "{\"added_tokens\":[],\"normalizer\":null,\"post_processor\":null,\"decoder\":null,",
    MODEL[] = "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}";

static keel_status parse(const char *text, keel_tokenizer **out) {
    *out = NULL;
    return keel_tokenizer_parse(out, text, strlen(text), "made.json", &err);
}

static void refuses_pre(const char *pre, keel_status status, const char *says) {
    keel_buf text = {0};
    keel_tokenizer *made;
    keel_buf_format(&text, "%s\"pre_tokenizer\":%s,%s", HEAD, pre, MODEL);
    assert_int_equal(parse(text.data, &made), status);
    contains(err.message, says);
    keel_buf_free(&text);
}

#define PATTERN(regex) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\"}"

static void what_is_not_read_is_refused_by_name(void **state) {
    (void)state;
    refuses_pre("{\"type\":\"Whitespace\"}", KEEL_E_UNSUPPORTED, "pre_tokenizer: \"Whitespace\"");
    refuses_pre("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Other\"}",
                KEEL_E_UNSUPPORTED, "\"Other\"");
    refuses_pre("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}",
                KEEL_E_UNSUPPORTED, "nothing to follow it");
    refuses_pre(PATTERN("[a[b]]"), KEEL_E_UNSUPPORTED, "class within a class");
    refuses_pre(PATTERN("[a-z&&[^b]]"), KEEL_E_UNSUPPORTED, "\"&&\"");
    refuses_pre(PATTERN("a{1,3}+"), KEEL_E_UNSUPPORTED, "\"+\" behind");
    refuses_pre(PATTERN("\\\\h"), KEEL_E_UNSUPPORTED, "this escape");
    refuses_pre(PATTERN("(*UCP)a"), KEEL_E_UNSUPPORTED, "this group");
    refuses_pre(PATTERN("(a"), KEEL_E_PARSE, "pattern");
    refuses_pre(PATTERN(""), KEEL_E_PARSE, "an empty one");
    keel_buf deep = {0};
    for (int i = 0; i < 9; i++) keel_buf_text(&deep, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    keel_buf_text(&deep, "{\"type\":\"Digits\"}");
    for (int i = 0; i < 9; i++) keel_buf_text(&deep, "]}");
    refuses_pre(deep.data, KEEL_E_PARSE, "nested deeper");
    keel_buf_clear(&deep);
    keel_buf_text(&deep, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}");
    for (int i = 0; i < 40; i++) keel_buf_text(&deep, ",{\"type\":\"Digits\"}");
    keel_buf_text(&deep, "]}");
    refuses_pre(deep.data, KEEL_E_UNSUPPORTED, "in a row");
    keel_buf_free(&deep);
}

static void refuses_model(const char *model, keel_status status, const char *says) {
    keel_buf text = {0};
    keel_tokenizer *made;
    keel_buf_format(&text, "%s\"pre_tokenizer\":null,\"model\":{\"type\":\"BPE\",%s}}", HEAD, model);
    assert_int_equal(parse(text.data, &made), status);
    contains(err.message, says);
    keel_buf_free(&text);
}

static void models_that_are_damaged_are_refused(void **state) {
    (void)state;
    refuses_model("\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]", KEEL_E_PARSE, "merges[0]");
    refuses_model("\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\",\"a  b\"]", KEEL_E_PARSE,
                  "merges[1]");
    refuses_model("\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\"]]", KEEL_E_PARSE, "merges[0]");
    refuses_model("\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1", KEEL_E_UNSUPPORTED, "dropout");
    refuses_model("\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"", KEEL_E_UNSUPPORTED,
                  "end_of_word_suffix");
    refuses_model("\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"<unk>\"", KEEL_E_PARSE, "unk_token");
    refuses_model("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]", KEEL_E_PARSE, "is taken");
    refuses_model("\"vocab\":{\"a\":0}", KEEL_E_PARSE, "merges");
}

/* Steps are bounded: a pattern that tries all ways ends with an error. */
static void a_hostile_pattern_cannot_run_away(void **state) {
    keel_buf text = {0};
    keel_tokenizer *made;
    keel_tokens found;
    char word[64];
    (void)state;
    keel_buf_format(&text, "%s\"pre_tokenizer\":%s,%s", HEAD, PATTERN("(?:a|aa|a?)+b\\\\z|(a+a+)+c"), MODEL);
    assert_ok(parse(text.data, &made));
    memset(word, 'a', sizeof word);
    word[sizeof word - 1] = '\0';
    assert_int_equal(keel_tokenizer_encode(made, word, true, &arena, &found, &err), KEEL_E_INVALID);
    contains(err.message, "too many steps");
    keel_tokenizer_close(made);
    keel_buf_free(&text);
}

static void a_text_that_is_not_utf8_is_refused(void **state) {
    keel_tokenizer *tokenizer = tokenizer_of(case_of("gpt-2"));
    keel_tokens found;
    (void)state;
    assert_int_equal(keel_tokenizer_encode(tokenizer, "a\xC3", true, &arena, &found, &err), KEEL_E_INVALID);
    contains(err.message, "UTF-8");
    keel_tokenizer_close(tokenizer);
}

/* A piece without an end takes n log n, not n squared: this one would take minutes otherwise. */
static void a_piece_may_be_long(void **state) {
    keel_tokenizer *tokenizer = tokenizer_of(case_of("gpt-2"));
    enum { LENGTH = 1 << 20 };
    char *text = keel_alloc(LENGTH + 1);
    keel_tokens found;
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < LENGTH; i++) text[i] = "hello"[i % 5];
    text[LENGTH] = '\0';
    assert_ok(keel_tokenizer_encode(tokenizer, text, true, &arena, &found, &err));
    decodes(tokenizer, &found, true, text);
    keel_free(text);
    keel_tokenizer_close(tokenizer);
}

static void each_allocation_may_fail(void **state) {
    const char *names[] = {"added tokens", "llama-2"};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const cJSON *row = cJSON_GetArrayItem(keel_json_get(case_of(names[k]), "rows"), 10);
        keel_tokenizer *whole = tokenizer_of(case_of(names[k]));
        size_t length;
        const char *file = keel_tokenizer_file(whole, &length);
        keel_status status = KEEL_E_NOMEM;
        for (size_t fail_at = 1; status != KEEL_OK; fail_at++) {
            faults memory;
            keel_tokenizer *made = NULL;
            keel_arena own = {0};
            keel_tokens found = {0}, framed = {0};
            const char *text = NULL;
            int32_t *type;
            faults_begin(&memory, fail_at);
            status = keel_tokenizer_parse(&made, file, length, "made.json", &err);
            if (status == KEEL_OK)
                status = keel_tokenizer_encode(made, keel_json_get(row, "text")->valuestring, true, &own,
                                               &found, &err);
            if (status == KEEL_OK)
                status = keel_tokenizer_frame(made, &found, NULL, &own, &framed, &type, &err);
            if (status == KEEL_OK)
                status = keel_tokenizer_decode(made, framed.id, framed.count, true, &own, &text, &err);
            if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
            if (status == KEEL_OK) assert_string_equal(text, keel_json_get(row, "decoded")->valuestring);
            keel_tokenizer_close(made);
            keel_arena_free(&own);
            faults_end();
            assert_int_equal(memory.live, 0);
        }
        keel_tokenizer_close(whole);
    }
}

/* ---- training ---- */

static void train(const keel_bpe_training *how, bool backwards, keel_buf *json) {
    const cJSON *lines = keel_json_get(keel_json_get(golden, "training"), "lines");
    keel_bpe_train *trained;
    assert_ok(keel_bpe_train_open(&trained, how, &err));
    for (int n = cJSON_GetArraySize(lines), i = 0; i < n; i++)
        assert_ok(keel_bpe_train_add(
            trained, cJSON_GetArrayItem(lines, backwards ? n - 1 - i : i)->valuestring, &err));
    assert_ok(keel_bpe_train_write(trained, json, &err));
    keel_bpe_train_close(trained);
}

static void training_is_that_of_the_library(void **state) {
    const cJSON *training = keel_json_get(golden, "training"), *list = keel_json_get(training, "special");
    const char *special[] = {cJSON_GetArrayItem(list, 0)->valuestring,
                             cJSON_GetArrayItem(list, 1)->valuestring,
                             cJSON_GetArrayItem(list, 2)->valuestring};
    const keel_bpe_training how = {(size_t)keel_json_get(training, "size")->valueint, special, 3, NULL, 0};
    keel_buf json = {0}, again = {0};
    cJSON *made;
    keel_tokenizer *tokenizer;
    keel_tokens found;
    (void)state;
    train(&how, false, &json);
    assert_ok(keel_json_parse(json.data, json.length, "trained", &made, &err));
    const cJSON *model = keel_json_get(made, "model");
    assert_true(cJSON_Compare(keel_json_get(model, "vocab"), keel_json_get(training, "vocab"), true));
    assert_true(cJSON_Compare(keel_json_get(model, "merges"), keel_json_get(training, "merges"), true));
    train(&how, true, &again);
    assert_string_equal(json.data, again.data);
    assert_ok(keel_tokenizer_parse(&tokenizer, json.data, json.length, "trained", &err));
    assert_ok(keel_tokenizer_encode(tokenizer, "Hello \xE4\xBD\xA0<|end|>", true, &arena, &found, &err));
    assert_int_equal(found.id[found.count - 1], 2);
    decodes(tokenizer, &found, true, "Hello \xE4\xBD\xA0<|end|>");
    keel_tokenizer_close(tokenizer);
    cJSON_Delete(made);
    keel_buf_free(&json);
    keel_buf_free(&again);
}

/* Pairs that are met too seldom, and texts with too little to learn, leave a smaller vocabulary. */
static void training_ends_where_nothing_is_left(void **state) {
    const keel_bpe_training often = {1000, NULL, 0, "qwen2", 1000}, all = {100000, NULL, 0, "smollm", 0};
    keel_buf json = {0};
    keel_tokenizer *tokenizer;
    (void)state;
    train(&often, false, &json);
    assert_ok(keel_tokenizer_parse(&tokenizer, json.data, json.length, "trained", &err));
    assert_int_equal(keel_tokenizer_size(tokenizer), 256);
    keel_tokenizer_close(tokenizer);
    keel_buf_clear(&json);
    train(&all, false, &json);
    assert_ok(keel_tokenizer_parse(&tokenizer, json.data, json.length, "trained", &err));
    assert_in_range(keel_tokenizer_size(tokenizer), 400, 2000);
    keel_tokenizer_close(tokenizer);
    keel_buf_free(&json);
}

static void training_that_cannot_be_is_refused(void **state) {
    const char *const twice[] = {"<a>", "<a>"}, *const byte[] = {"A"};
    keel_bpe_train *made = NULL;
    keel_buf json = {0};
    (void)state;
    assert_int_equal(keel_bpe_train_open(&made, &(keel_bpe_training){255, NULL, 0, NULL, 0}, &err),
                     KEEL_E_INVALID);
    contains(err.message, "size");
    assert_int_equal(keel_bpe_train_open(&made, &(keel_bpe_training){300, twice, 2, NULL, 0}, &err),
                     KEEL_E_INVALID);
    contains(err.message, "twice");
    assert_int_equal(keel_bpe_train_open(&made, &(keel_bpe_training){300, NULL, 0, "none", 0}, &err),
                     KEEL_E_INVALID);
    contains(err.message, "gpt-2");
    assert_ok(keel_bpe_train_open(&made, &(keel_bpe_training){300, byte, 1, NULL, 0}, &err));
    assert_int_equal(keel_bpe_train_add(made, "\xFF", &err), KEEL_E_INVALID);
    assert_int_equal(keel_bpe_train_write(made, &json, &err), KEEL_E_INVALID);
    contains(err.message, "byte's name");
    keel_bpe_train_close(made);
    keel_buf_free(&json);
}

/* ---- names of GGUF files ---- */

static void every_name_of_gguf_is_a_pipeline(void **state) {
    char names[512], *rest = names;
    size_t n = 0;
    (void)state;
    snprintf(names, sizeof names, "%s", keel_gguf_pre_names());
    for (char *name; (name = strtok_r(rest, ", ", &rest)); n++) {
        const keel_gguf_pre *pre = keel_gguf_pre_find(name);
        keel_buf json = {0};
        keel_tokenizer *tokenizer;
        assert_non_null(pre);
        assert_string_equal(pre->name, name);
        train(&(keel_bpe_training){300, NULL, 0, name, 0}, false, &json);
        assert_ok(keel_tokenizer_parse(&tokenizer, json.data, json.length, name, &err));
        keel_tokenizer_close(tokenizer);
        keel_buf_free(&json);
    }
    assert_int_equal(n, 12);
    assert_null(keel_gguf_pre_find("other"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_texts_are_those_of_the_library),
        cmocka_unit_test(pairs_and_broken_bytes_are_those_of_the_library),
        cmocka_unit_test(what_a_token_stands_for),
        cmocka_unit_test(added_tokens_can_be_plain_text),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(what_is_not_read_is_refused_by_name),
        cmocka_unit_test(models_that_are_damaged_are_refused),
        cmocka_unit_test(a_hostile_pattern_cannot_run_away),
        cmocka_unit_test(a_text_that_is_not_utf8_is_refused),
        cmocka_unit_test(a_piece_may_be_long),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(training_is_that_of_the_library),
        cmocka_unit_test(training_ends_where_nothing_is_left),
        cmocka_unit_test(training_that_cannot_be_is_refused),
        cmocka_unit_test(every_name_of_gguf_is_a_pipeline),
    };
    only_threads_for_tsan();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
