/* What an upstream sends. The first byte is 'b': a body follows; else a stream, which it says how to cut.
 * What is read can be passed on as it is; a stream says the same however it is cut. */
#include "core/json.h"
#include "core/text.h"
#include "experiments/serve/upstream_reply.h"
#include "fuzz.h"

static void check_message(const char *text) {
    cJSON *message = NULL;
    FUZZ_CHECK(keel_json_parse(text, strlen(text), "message", &message, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_json_get(keel_json_get(message, "tool_calls")->child, "function") != NULL);
    cJSON_Delete(message);
}

static void check_completion(const keel_upstream_completion *c) {
    FUZZ_CHECK(c->n > 0 && c->n <= KEEL_UPSTREAM_MOST_CHOICES);
    FUZZ_CHECK(c->prompt_tokens >= -1 && c->completion_tokens >= -1);
    for (size_t i = 0; i < c->n; i++) {
        const keel_upstream_choice *choice = &c->choices[i];
        FUZZ_CHECK(choice->text &&
                   keel_utf8_valid_prefix(choice->text, strlen(choice->text)) == strlen(choice->text));
        FUZZ_CHECK(choice->text[0] || choice->message);
        FUZZ_CHECK(strcmp(choice->finish, "stop") == 0 || strcmp(choice->finish, "length") == 0 ||
                   strcmp(choice->finish, "tool_calls") == 0 ||
                   strcmp(choice->finish, "content_filter") == 0);
        if (choice->message) check_message(choice->message);
    }
}

static bool read_stream(const char *text, size_t size, size_t piece, keel_arena *arena,
                        keel_upstream_completion *out) {
    keel_upstream_stream *stream;
    keel_status status = keel_upstream_stream_open(&stream, &fuzz_err);
    for (size_t at = 0, n; status == KEEL_OK && at < size; at += n) {
        n = size - at < piece ? size - at : piece;
        status = keel_upstream_stream_take(stream, text + at, n, &fuzz_err);
    }
    if (status == KEEL_OK && keel_upstream_stream_done(stream))
        FUZZ_CHECK(keel_upstream_stream_whole(stream));
    if (status == KEEL_OK) status = keel_upstream_stream_end(stream, arena, out, &fuzz_err);
    keel_upstream_stream_close(stream);
    return fuzz_ok(status);
}

static void same(const keel_upstream_completion *a, const keel_upstream_completion *b) {
    FUZZ_CHECK(a->n == b->n && a->prompt_tokens == b->prompt_tokens &&
               a->completion_tokens == b->completion_tokens);
    for (size_t i = 0; i < a->n; i++) {
        FUZZ_CHECK(strcmp(a->choices[i].text, b->choices[i].text) == 0);
        FUZZ_CHECK(!a->choices[i].message == !b->choices[i].message);
        FUZZ_CHECK(!a->choices[i].message || strcmp(a->choices[i].message, b->choices[i].message) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_upstream_completion one, two;
    keel_arena arena = {0};
    if (size == 0) return 0;
    char *text = fuzz_text(data + 1, size - 1);
    if (data[0] == 'b') {
        if (fuzz_ok(keel_upstream_read(text, size - 1, &arena, &one, &fuzz_err))) check_completion(&one);
        const char *complaint = keel_upstream_complaint(text, size - 1, &arena);
        FUZZ_CHECK(strlen(complaint) <= 200 && strcspn(complaint, "\r\n\033") == strlen(complaint));
    } else {
        const bool whole = read_stream(text, size - 1, size, &arena, &one);
        FUZZ_CHECK(read_stream(text, size - 1, (size_t)data[0] % 61 + 1, &arena, &two) == whole);
        if (whole) check_completion(&one);
        if (whole) same(&one, &two);
    }
    free(text);
    keel_arena_free(&arena);
    return 0;
}
