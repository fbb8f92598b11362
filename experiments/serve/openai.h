/* The bodies of OpenAI's chat API: requests read, responses and streams written. Knows no socket. */
#ifndef KEEL_EXPERIMENTS_SERVE_OPENAI_H
#define KEEL_EXPERIMENTS_SERVE_OPENAI_H

#include <cjson/cJSON.h>

#include "core/memory.h"
#include "core/status.h"
#include "experiments/serve/asked.h"

/* A body of POST /v1/chat/completions. Contents are texts or lists of parts; calls of tools and their results
 * become text as in an imported log. n above 1 is refused: Keel answers with the one it chose. Keel's own
 * keys: "keel": {"details": true, "segment": "...", "conversation": "..."}; the conversation may also be
 * metadata.conversation_id. A key that names a server to ask, such as "base_url", is refused; other keys are
 * the upstreams'. err->where is the key that is wrong. */
keel_status keel_openai_read(const char *body, size_t length, keel_arena *arena, keel_asked *out,
                             keel_err *err);
/* What a body asks for by a reader of its object; all of it in the arena. The JSON itself, which takes up to
 * 40 times its text, is gone afterwards. */
typedef keel_status keel_openai_reader(const cJSON *object, keel_arena *arena, keel_asked *out,
                                       keel_err *err);
keel_status keel_openai_read_body(const char *body, size_t length, keel_openai_reader *read,
                                  keel_arena *arena, keel_asked *out, keel_err *err);
/* Refuses an object of Keel's own that has another key than those of a list ended by NULL: a misspelt one
 * would pass without a word, and what it says be lost. */
keel_status keel_openai_check_keys(const cJSON *object, const char *const *known, const char *where,
                                   keel_err *err);
/* The keys that bodies of all kinds share: user (also safety_identifier), conversation, segment, details, in
 * the object itself or in its key "keel", which may have no others. */
keel_status keel_openai_read_common(const cJSON *body, keel_asked *out, keel_err *err);

/* Whether the names in it, which headers may have brought, are UTF-8 text without control characters and no
 * longer than what keeps them: err->where is the one that is not. */
enum { KEEL_OPENAI_MOST_NAME = 128, KEEL_OPENAI_MOST_USER = 512 }; /* bytes */
keel_status keel_openai_check_names(const keel_asked *asked, keel_err *err);

/* An answer. */
typedef struct keel_openai_answer {
    const char *id;
    int64_t created;     /* seconds since 1970 */
    const char *model;   /* that wrote it */
    const char *text;    /* "" beside calls of tools alone */
    const char *message; /* the assistant's message as JSON, where it calls tools; else NULL */
    const char *finish;  /* NULL: "stop" */
    int64_t prompt_tokens,
        completion_tokens; /* -1: not known; "usage", which clients read of every answer, is 0 then */
    const char *keel;      /* a JSON object of details; or NULL */
} keel_openai_answer;

/* A chat.completion. */
void keel_openai_write(const keel_openai_answer *answer, keel_buf *out);
/* The same as text/event-stream: the role, the text in pieces, why it ends, with `usage` the tokens (0 where
 * they are not known), [DONE]. */
keel_status keel_openai_write_stream(const keel_openai_answer *answer, bool usage, keel_buf *out,
                                     keel_err *err);
/* The HTTP status of an error in what a client sent. */
int keel_openai_status(keel_status status);
/* {"object": "list", "data": [...]} of models by name, or, with n 1 and alone, the object of one. */
void keel_openai_write_models(const char *const *names, size_t n, bool alone, int64_t created, keel_buf *out);

#endif
