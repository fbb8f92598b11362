/* A chat completion from chunks: {"choices": [{"index", "delta": {"content", "tool_calls": [{"index", "id",
 * "function": {"name", "arguments"}}]}, "finish_reason"}], "usage"}. */
#include <string.h>

#include "experiments/serve/sse.h"
#include "experiments/serve/upstream_reply_internal.h"

static const char where[] = "stream";

typedef struct call_parts {
    keel_buf id, name, arguments;
} call_parts;

typedef struct choice_parts {
    keel_buf text;
    call_parts *calls;
    size_t n_calls, room;
    const char *finish; /* NULL: it goes on */
    bool begun;
} choice_parts;

struct keel_upstream_stream {
    keel_sse sse;
    keel_arena scratch; /* of one chunk */
    choice_parts choices[KEEL_UPSTREAM_MOST_CHOICES];
    keel_buf model;
    int64_t prompt_tokens, completion_tokens;
    bool done; /* [DONE] came */
};

keel_status keel_upstream_stream_open(keel_upstream_stream **out, keel_err *err) {
    *out = keel_calloc(1, sizeof **out);
    if (!*out) return keel_nomem(err, where);
    (*out)->sse.most = KEEL_UPSTREAM_MOST_BYTES;
    (*out)->prompt_tokens = (*out)->completion_tokens = -1;
    return KEEL_OK;
}

void keel_upstream_stream_close(keel_upstream_stream *stream) {
    if (!stream) return;
    for (size_t c = 0; c < KEEL_UPSTREAM_MOST_CHOICES; c++) {
        choice_parts *choice = &stream->choices[c];
        for (size_t i = 0; i < choice->n_calls; i++) {
            keel_buf_free(&choice->calls[i].id);
            keel_buf_free(&choice->calls[i].name);
            keel_buf_free(&choice->calls[i].arguments);
        }
        keel_free(choice->calls);
        keel_buf_free(&choice->text);
    }
    keel_buf_free(&stream->model);
    keel_sse_free(&stream->sse);
    keel_arena_free(&stream->scratch);
    keel_free(stream);
}

/* ---- a chunk ---- */

/* "index", below the most; 0 where none stands, as some servers have it. */
static keel_status index_of(const cJSON *item, size_t *out, keel_err *err) {
    const cJSON *value = keel_json_get(item, "index");
    const int64_t index = value ? keel__upstream_tokens(item, "index") : 0;
    *out = (size_t)index;
    if (index >= 0 && index < KEEL_UPSTREAM_MOST_CHOICES) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, where, "an index is no number below %d", KEEL_UPSTREAM_MOST_CHOICES);
}

static void add(keel_buf *to, const char *text) {
    if (text) keel_buf_text(to, text);
}

static keel_status take_call(choice_parts *choice, const cJSON *item, keel_err *err) {
    size_t index;
    if (!cJSON_IsObject(item)) return keel_fail(err, KEEL_E_PARSE, where, "a tool call is no object");
    KEEL_TRY(index_of(item, &index, err));
    if (index > choice->n_calls) return keel_fail(err, KEEL_E_PARSE, where, "a tool call is left out");
    if (!keel_grow(&choice->calls, index + 1, &choice->room, sizeof *choice->calls))
        return keel_nomem(err, where);
    if (index == choice->n_calls) choice->calls[choice->n_calls++] = (call_parts){0};
    call_parts *call = &choice->calls[index];
    const cJSON *function = keel_json_get(item, "function");
    if (call->id.length == 0) add(&call->id, keel__upstream_string(item, "id"));
    if (call->name.length == 0) add(&call->name, keel__upstream_string(function, "name"));
    add(&call->arguments, keel__upstream_string(function, "arguments"));
    return call->id.failed || call->name.failed || call->arguments.failed ? keel_nomem(err, where) : KEEL_OK;
}

static keel_status take_choice(keel_upstream_stream *stream, const cJSON *item, keel_err *err) {
    size_t index;
    if (!cJSON_IsObject(item)) return keel_fail(err, KEEL_E_PARSE, where, "a choice is no object");
    KEEL_TRY(index_of(item, &index, err));
    choice_parts *choice = &stream->choices[index];
    const cJSON *delta = keel_json_get(item, "delta"), *call;
    const char *finish = keel__upstream_string(item, "finish_reason");
    choice->begun = true;
    if (cJSON_IsObject(delta)) {
        const char *refusal = keel__upstream_string(delta, "refusal");
        add(&choice->text, keel__upstream_string(delta, "content"));
        add(&choice->text, refusal);
        cJSON_ArrayForEach (call, keel_json_get(delta, "tool_calls")) KEEL_TRY(take_call(choice, call, err));
    }
    if (finish) choice->finish = keel__upstream_finish(finish, choice->n_calls > 0);
    return choice->text.failed ? keel_nomem(err, where) : KEEL_OK;
}

static void take_usage(keel_upstream_stream *stream, const cJSON *usage) {
    if (!cJSON_IsObject(usage)) return;
    stream->prompt_tokens = keel__upstream_tokens(usage, "prompt_tokens");
    stream->completion_tokens = keel__upstream_tokens(usage, "completion_tokens");
}

static keel_status take_chunk(void *context, const char *data, size_t length, keel_err *err) {
    keel_upstream_stream *stream = context;
    const cJSON *chunk, *choices, *choice;
    if (strcmp(data, "[DONE]") == 0) stream->done = true;
    if (stream->done) return KEEL_OK; /* what comes after it says nothing */
    keel_arena_reset(&stream->scratch);
    KEEL_TRY(keel__upstream_open(data, length, &stream->scratch, &chunk, &choices, err));
    cJSON_ArrayForEach (choice, choices) KEEL_TRY(take_choice(stream, choice, err));
    if (stream->model.length == 0) add(&stream->model, keel__upstream_string(chunk, "model"));
    take_usage(stream, keel_json_get(chunk, "usage"));
    return KEEL_OK;
}

keel_status keel_upstream_stream_take(keel_upstream_stream *stream, const char *bytes, size_t length,
                                      keel_err *err) {
    return keel_sse_take(&stream->sse, bytes, length, take_chunk, stream, err);
}

/* ---- the end ---- */

bool keel_upstream_stream_done(const keel_upstream_stream *stream) {
    return stream->done;
}

bool keel_upstream_stream_whole(const keel_upstream_stream *stream) {
    bool begun = false;
    for (size_t c = 0; c < KEEL_UPSTREAM_MOST_CHOICES; c++) {
        if (stream->choices[c].begun && !stream->choices[c].finish && !stream->done) return false;
        begun = begun || stream->choices[c].begun;
    }
    return begun || stream->done;
}

static const char *text_of(const keel_buf *buf) {
    return buf->data ? buf->data : "";
}

static bool all_called(const choice_parts *choice) {
    for (size_t i = 0; i < choice->n_calls; i++)
        if (choice->calls[i].id.length == 0 || choice->calls[i].name.length == 0) return false;
    return choice->n_calls > 0;
}

static keel_status end_choice(const choice_parts *choice, keel_arena *arena, keel_upstream_choice *out,
                              keel_err *err) {
    *out = (keel_upstream_choice){.text = keel_arena_strdup(arena, text_of(&choice->text)),
                                  .finish = choice->finish ? choice->finish : "stop"};
    if (!out->text) return keel_nomem(err, where);
    if (!all_called(choice)) return KEEL_OK;
    keel__upstream_call *calls = keel_arena_calloc(arena, choice->n_calls, sizeof *calls);
    if (!calls) return keel_nomem(err, where);
    for (size_t i = 0; i < choice->n_calls; i++)
        calls[i] = (keel__upstream_call){text_of(&choice->calls[i].id), text_of(&choice->calls[i].name),
                                         text_of(&choice->calls[i].arguments)};
    return keel__upstream_message(out->text, calls, choice->n_calls, arena, &out->message, err);
}

keel_status keel_upstream_stream_end(keel_upstream_stream *stream, keel_arena *arena,
                                     keel_upstream_completion *out, keel_err *err) {
    *out = (keel_upstream_completion){.prompt_tokens = stream->prompt_tokens,
                                      .completion_tokens = stream->completion_tokens};
    out->choices = keel_arena_calloc(arena, KEEL_UPSTREAM_MOST_CHOICES, sizeof *out->choices);
    if (!out->choices || stream->model.failed) return keel_nomem(err, where);
    if (stream->model.length > 0) out->model = keel_arena_strdup(arena, stream->model.data);
    for (size_t c = 0; c < KEEL_UPSTREAM_MOST_CHOICES; c++) {
        const choice_parts *choice = &stream->choices[c];
        if (!choice->begun || !(choice->finish || stream->done)) continue;
        if (choice->text.length == 0 && !all_called(choice)) continue;
        KEEL_TRY(end_choice(choice, arena, &out->choices[out->n++], err));
    }
    if (out->n > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, where, "no choice came to its end with something said or called");
}
