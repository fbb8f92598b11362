/* Readers: formats told apart by content, sources of every kind, reading ahead. */
#define SCRATCH "reader"
#include "datasets/chat.h"
#include "datasets/prefetch.h"
#include "fixture.h"
#include "support/faults.h"

#define USER "{\"role\":\"user\",\"content\":\"Hi\"}"

static keel_source *memory(const char *text) {
    keel_source *source;
    assert_ok(keel_source_open_memory(&source, "request", text, strlen(text), &err));
    return source;
}

static void formats_are_told_apart_by_content(void **state) {
    (void)state;
    static const struct {
        const char *text, *format; /* NULL: none */
    } rows[] = {
        {"{\"messages\":[]}", "chat"},
        {"\xEF\xBB\xBF \n[ {\"x\":{\"a\":[1,\"]}\"]},\"messages\":[", "chat"}, /* cut off */
        {"{\"a\":\"messages\",\"b\":{\"messages\":1}}", NULL},
        {"{\"chosen\":\"\\n\\nHuman: a\",\"rejected\":\"\"}", "hh-rlhf"},
        {"{\"chosen\":\"a\",\"rejected\":\"b\"}", "pairs"},
        {"{\"prompt\":\"\\n\\nHuman: a\",\"chosen\":\"a\",\"rejected\":\"b\"}", "pairs"},
        {"{\"messages\":[],\"chosen\":\"a\",\"rejected\":\"b\"}", "pairs"},
        {"{\"input\":{},\"preferred_output\":[],\"non_preferred_output\":[]}", "pairs"},
        {"{\"instruction\":\"a\",\"output\":\"b\"}", "prompts"},
        {"{\"messages\":[],\"response\":\"b\"}", "chat"},
        {"\xEF\xBB\xBFprompt;answer\r\n", "csv"},
        {"role\tcontent\n", "csv"},
        {"[{\"dialogue_id\":\"1\",\"turns\":[]}]", "sgd"},
        {"{\"dialogue_id\":\"1\",\"turns\":[]}", NULL},
        {"\"id\",prompt,\"type\"\r\n1,a,b\r\n", "xstest"},
        {"id,prompt\n", NULL},
        {"", "chat"},
        {" \n", "chat"},
        {"[", NULL},
        {"hello", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const keel_format *format = NULL;
        keel_source *source = memory(rows[i].text);
        keel_status status = keel_formats_detect(source, &format, &err);
        keel_source_close(source);
        assert_int_equal(status, rows[i].format ? KEEL_OK : KEEL_E_PARSE);
        if (rows[i].format) assert_string_equal(format->name, rows[i].format);
    }
    assert_int_equal(keel_formats_find("xtest", &(const keel_format *){0}, &err), KEEL_E_USAGE);
    contains(err.hint, "xstest");
}

/* What is in the corpus is fuzzed (tests/fuzz/CMakeLists.txt). */
static void every_format_is_fuzzed(void **state) {
    (void)state;
    for (size_t i = 0; keel_formats_names[i]; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", KEEL_SOURCE_DIR, keel_formats_names[i]);
        for (char *c = path + strlen(KEEL_SOURCE_DIR); *c; c++) *c = *c == '-' ? '_' : *c;
        if (!keel_file_exists(path)) fail_msg("%s has no %s", keel_formats_names[i], path);
    }
}

static void a_key_behind_a_long_value_is_found(void **state) {
    (void)state;
    keel_buf text = {0};
    const keel_format *format = NULL;
    keel_buf_text(&text, "{\"padding\":\"");
    for (int i = 0; i < 300000; i++) keel_buf_append(&text, "x", 1);
    keel_buf_text(&text, "\",\"messages\":[" USER "]}");
    keel_source *source = memory(text.data);
    assert_ok(keel_formats_detect(source, &format, &err));
    assert_string_equal(format->name, "chat");
    char *line;
    size_t length;
    assert_ok(keel_source_line(source, &line, &length, NULL, &err)); /* nothing was read away */
    assert_int_equal(length, text.length);
    keel_source_close(source);
    keel_buf_free(&text);
}

static void a_reader_needs_no_store(void **state) {
    (void)state;
    keel_reader *reader;
    keel_read read;
    assert_ok(
        keel_reader_open(&reader, NULL, memory("{\"id\":1,\"messages\":[" USER "]}\n\n{\"id\":2}"), &err));
    assert_ok(keel_reader_next(reader, &arena, &read, &err));
    assert_string_equal(read.conversation->external_id, "1");
    assert_string_equal(read.conversation->source, "chat");
    assert_string_equal(read.where, "request:1");
    assert_int_equal(keel_reader_next(reader, &arena, &read, &err), KEEL_E_PARSE);
    assert_string_equal(err.where, "request:3");
    keel_reader_close(reader);
}

static void a_buffer_is_imported_like_a_file(void **state) {
    (void)state;
    static const char body[] =
        "[{\"id\":\"a\",\"messages\":[" USER "]},{\"id\":\"b\",\"messages\":[" USER "]}]";
    assert_ok(keel_import_source(store, &(keel_import_options){.split = "dev"}, memory(body), &report, &err));
    assert_int_equal(report.conversations, 2);
    assert_string_equal(get("b")->split, "dev");
    assert_ok(keel_import_source(store, &(keel_import_options){.split = "dev"}, memory(body), &report, &err));
    assert_int_equal(report.files_known, 1);
    assert_int_equal(
        keel_import_source(store, &(keel_import_options){.split = "a b"}, memory(body), &report, &err),
        KEEL_E_INVALID);
    assert_int_equal(keel_import_source(store, NULL, memory("{}"), &report, &err), KEEL_E_PARSE);
    assert_int_equal(
        keel_import_source(store, NULL, memory("[{\"dialogue_id\":\"1\",\"turns\":[]}]"), &report, &err),
        KEEL_E_NOT_FOUND);
    contains(err.message, "path");
}

static keel_reader *lines(int first, int count, keel_buf *text) {
    keel_reader *reader;
    keel_buf_clear(text);
    for (int i = 0; i < count; i++)
        keel_buf_format(text,
                        "{\"id\":%d,\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":\"%0*d\"}]}\n",
                        first + i, 1000, i);
    assert_ok(keel_reader_open(&reader, keel_formats, memory(text->data), &err));
    return reader;
}

static int drain(keel_reader *reader, int first, int most) {
    keel_read read = {0};
    int count = 0;
    while (count < most) {
        assert_ok(keel_reader_next(reader, NULL, &read, &err));
        if (!read.conversation) break;
        assert_int_equal(atoi(read.conversation->external_id), first + count++);
    }
    return count;
}

static void reading_ahead_gives_the_same_and_goes_through_several(void **state) {
    (void)state;
    keel_buf text[3] = {{0}};
    keel_reader *ahead;
    char hash[65], expected[65];
    assert_ok(keel_prefetch_open(&ahead, lines(0, 2000, &text[0]), &err));
    keel_source *source = memory(text[0].data);
    assert_ok(keel_source_hash(source, expected, &err));
    assert_ok(keel_prefetch_hash(ahead, hash, &err));
    assert_string_equal(hash, expected);
    keel_source_close(source);
    assert_int_equal(drain(ahead, 0, 5000), 2000);
    keel_prefetch_follow(ahead, lines(5000, 3000, &text[1]));
    keel_prefetch_advance(ahead);
    keel_prefetch_follow(ahead, lines(9000, 10, &text[2]));
    assert_int_equal(drain(ahead, 5000, 7), 7); /* and no more of it */
    keel_prefetch_advance(ahead);
    assert_int_equal(drain(ahead, 9000, 5000), 10);
    assert_int_equal(drain(ahead, 0, 5000), 0); /* the end stays the end */
    keel_reader_close(ahead);
    assert_ok(keel_prefetch_open(&ahead, lines(0, 3000, &text[0]), &err));
    keel_prefetch_follow(ahead, lines(0, 10, &text[1]));
    keel_reader_close(ahead); /* in the middle */
    for (int i = 0; i < 3; i++) keel_buf_free(&text[i]);
}

static void running_out_of_memory_while_writing_is_an_error(void **state) {
    (void)state;
    static const char line[] =
        "{\"id\":\"a\",\"x\":1,\"messages\":[" USER
        ",{\"role\":\"assistant\",\"content\":\"a\",\"y\":1,\"candidates\":[\"b\",{\"content\":\"c\",\"z\":2}]}]}";
    keel_conversation c;
    faults failing;
    keel_status status = KEEL_E_NOMEM;
    assert_ok(keel_chat_read(line, sizeof line - 1, "line", &arena, &c, &err));
    for (size_t n = 1; status != KEEL_OK; n++) {
        keel_buf text = {0};
        faults_begin(&failing, n);
        status = keel_chat_write(&c, &text, &err);
        keel_buf_free(&text);
        faults_end();
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        assert_true(n < 200);
    }
}

/* n keys or answers in one object: each is looked at once, or there is a limit. */
static void very_many_keys_and_answers_take_no_time(void **state) {
    (void)state;
    keel_buf text = {0};
    for (int twice = 0; twice < 2; twice++) {
        keel_buf_clear(&text);
        keel_buf_format(&text, "{\"meta\":{\"k%d\":1},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]",
                        twice ? 7 : -7);
        for (int i = 0; i < 50000; i++) keel_buf_format(&text, ",\"k%d\":%d", i, i);
        keel_buf_text(&text, "}\n");
        assert_false(text.failed);
        if (!twice) assert_ok(import_as("chat", NULL, put("a.jsonl", text.data)));
        if (twice)
            import_fails("chat", put("b.jsonl", text.data), KEEL_E_INVALID, "b.jsonl:1",
                         "\"k7\" stands both");
    }
    for (int n = 9999; n < 10001; n++) {
        keel_buf_clear(&text);
        keel_buf_text(&text, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
                             "\"content\":\"a\",\"candidates\":[");
        for (int i = 0; i < n; i++) keel_buf_format(&text, "%s\"%d\"", i ? "," : "", i);
        keel_buf_text(&text, "]}]}\n");
        assert_false(text.failed);
        if (n < 10000) assert_ok(import_as("chat", NULL, put("c.jsonl", text.data)));
        if (n == 10000)
            import_fails("chat", put("d.jsonl", text.data), KEEL_E_INVALID, "d.jsonl:1: messages[1]",
                         "candidates: more than 10000 answers");
    }
    keel_buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(formats_are_told_apart_by_content),
        TEST(every_format_is_fuzzed),
        TEST(very_many_keys_and_answers_take_no_time),
        TEST(a_key_behind_a_long_value_is_found),
        TEST(a_reader_needs_no_store),
        TEST(a_buffer_is_imported_like_a_file),
        TEST(reading_ahead_gives_the_same_and_goes_through_several),
        TEST(running_out_of_memory_while_writing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
