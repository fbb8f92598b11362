#include <inttypes.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "experiments/serve/openai.h"

/* "key":"text" */
static void put_text(keel_buf *out, const char *key, const char *text) {
    keel_json_put_string(out, key);
    keel_buf_text(out, ":");
    keel_json_put_string(out, text);
}

static void put_head(const keel_openai_answer *answer, const char *object, keel_buf *out) {
    keel_buf_text(out, "{");
    put_text(out, "id", answer->id);
    keel_buf_text(out, ",");
    put_text(out, "object", object);
    keel_buf_format(out, ",\"created\":%" PRId64 ",", answer->created);
    put_text(out, "model", answer->model);
}

static const char *finish_of(const keel_openai_answer *answer) {
    return answer->finish ? answer->finish : "stop";
}

static bool knows_tokens(const keel_openai_answer *answer) {
    return answer->prompt_tokens >= 0 && answer->completion_tokens >= 0;
}

static void put_usage(const keel_openai_answer *answer, keel_buf *out) {
    const int64_t prompt = knows_tokens(answer) ? answer->prompt_tokens : 0,
                  completion = knows_tokens(answer) ? answer->completion_tokens : 0;
    keel_buf_format(out,
                    ",\"usage\":{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64
                    ",\"total_tokens\":%" PRId64 "}",
                    prompt, completion, prompt + completion);
}

static void put_keel(const keel_openai_answer *answer, keel_buf *out) {
    if (!answer->keel) return;
    keel_buf_text(out, ",\"keel\":");
    keel_buf_text(out, answer->keel);
}

void keel_openai_write(const keel_openai_answer *answer, keel_buf *out) {
    put_head(answer, "chat.completion", out);
    keel_buf_text(out, ",\"choices\":[{\"index\":0,\"message\":");
    if (answer->message) {
        keel_buf_text(out, answer->message);
    } else {
        keel_buf_text(out, "{\"role\":\"assistant\",");
        put_text(out, "content", answer->text);
        keel_buf_text(out, ",\"refusal\":null}");
    }
    keel_buf_text(out, ",\"logprobs\":null,");
    put_text(out, "finish_reason", finish_of(answer));
    keel_buf_text(out, "}]");
    put_usage(answer, out);
    put_keel(answer, out);
    keel_buf_text(out, "}\n");
}

/* ---- streams ---- */

static void begin_chunk(const keel_openai_answer *answer, keel_buf *out) {
    keel_buf_text(out, "data: ");
    put_head(answer, "chat.completion.chunk", out);
}

/* The delta is what has been put between the two. */
static void begin_delta(const keel_openai_answer *answer, keel_buf *out) {
    begin_chunk(answer, out);
    keel_buf_text(out, ",\"choices\":[{\"index\":0,\"delta\":");
}

static void end_delta(const char *finish, bool usage, keel_buf *out) {
    keel_buf_text(out, ",\"logprobs\":null,\"finish_reason\":");
    if (finish)
        keel_json_put_string(out, finish);
    else
        keel_buf_text(out, "null");
    keel_buf_text(out, usage ? "}],\"usage\":null" : "}]");
}

static void end_chunk(keel_buf *out) {
    keel_buf_text(out, "}\n\n");
}

/* The text in pieces that end between characters. */
static void put_pieces(const keel_openai_answer *answer, bool usage, keel_buf *out) {
    enum { PIECE = 160 };
    char piece[PIECE + 1];
    for (const char *text = answer->text; *text;) {
        const size_t length = keel_utf8_cut(text, strlen(text), PIECE);
        if (length == 0) break; /* no text */
        memcpy(piece, text, length);
        piece[length] = '\0';
        begin_delta(answer, out);
        keel_buf_text(out, "{");
        put_text(out, "content", piece);
        keel_buf_text(out, "}");
        end_delta(NULL, usage, out);
        end_chunk(out);
        text += length;
    }
}

/* Calls of tools, each with the index that a stream gives it. */
static keel_status put_calls(const keel_openai_answer *answer, bool usage, keel_buf *out, keel_err *err) {
    cJSON *message = NULL;
    KEEL_TRY(keel_json_parse(answer->message, strlen(answer->message), "tool_calls", &message, err));
    cJSON *calls = cJSON_DetachItemFromObjectCaseSensitive(message, "tool_calls"), *call;
    double index = 0;
    cJSON_ArrayForEach (call, calls) cJSON_AddNumberToObject(call, "index", index++);
    keel_status status = KEEL_OK;
    if (calls) {
        begin_delta(answer, out);
        keel_buf_text(out, "{\"tool_calls\":");
        status = keel_json_print(calls, false, out, err);
        keel_buf_text(out, "}");
        end_delta(NULL, usage, out);
        end_chunk(out);
    }
    cJSON_Delete(calls);
    cJSON_Delete(message);
    return status;
}

keel_status keel_openai_write_stream(const keel_openai_answer *answer, bool usage, keel_buf *out,
                                     keel_err *err) {
    begin_delta(answer, out);
    keel_buf_text(out, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
    end_delta(NULL, usage, out);
    end_chunk(out);
    put_pieces(answer, usage, out);
    if (answer->message) KEEL_TRY(put_calls(answer, usage, out, err));
    begin_delta(answer, out);
    keel_buf_text(out, "{}");
    end_delta(finish_of(answer), usage, out);
    put_keel(answer, out);
    end_chunk(out);
    if (usage) {
        begin_chunk(answer, out);
        keel_buf_text(out, ",\"choices\":[]");
        put_usage(answer, out);
        end_chunk(out);
    }
    keel_buf_text(out, "data: [DONE]\n\n");
    return KEEL_OK;
}

/* ---- errors ---- */

int keel_openai_status(keel_status status) {
    switch (status) {
    case KEEL_E_PARSE:
    case KEEL_E_INVALID:
    case KEEL_E_USAGE:
        return 400;
    case KEEL_E_NOT_FOUND:
        return 404;
    case KEEL_E_CONFLICT:
    case KEEL_E_GATE:
        return 409;
    case KEEL_E_NOMEM:
    case KEEL_E_INTERRUPTED:
    case KEEL_E_IO: /* what may pass: a full disk, another writer */
    case KEEL_E_STORE:
        return 503;
    case KEEL_E_UNSUPPORTED:
        return 501;
    default:
        return 500;
    }
}

/* ---- models ---- */

static void put_model(const char *name, int64_t created, keel_buf *out) {
    keel_buf_text(out, "{");
    put_text(out, "id", name);
    keel_buf_format(out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"keel\"}", created);
}

void keel_openai_write_models(const char *const *names, size_t n, bool alone, int64_t created,
                              keel_buf *out) {
    if (!alone) keel_buf_text(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0) keel_buf_text(out, ",");
        put_model(names[i], created, out);
    }
    keel_buf_text(out, alone ? "\n" : "]}\n");
}
