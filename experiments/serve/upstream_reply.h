/* What an OpenAI-compatible server answers to a chat completion, whole or in chunks: hostile until checked.
 */
#ifndef KEEL_EXPERIMENTS_SERVE_UPSTREAM_REPLY_H
#define KEEL_EXPERIMENTS_SERVE_UPSTREAM_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_UPSTREAM_MOST_CHOICES = 64, KEEL_UPSTREAM_MOST_BYTES = 8 << 20 };

typedef struct keel_upstream_choice {
    const char *text;    /* never NULL; "" beside tool calls alone */
    const char *message; /* the assistant's message as JSON where it calls tools; else NULL */
    const char *finish;  /* "stop", "length", "tool_calls" ...; "stop" where none was given */
} keel_upstream_choice;

typedef struct keel_upstream_completion {
    const char *model; /* as it names itself; or NULL */
    keel_upstream_choice *choices;
    size_t n;                                 /* at least 1 */
    int64_t prompt_tokens, completion_tokens; /* of all choices; -1: not told */
} keel_upstream_completion;

/* Reads a body; what comes out lives in the arena. KEEL_E_PARSE: it is no chat completion, or one without a
 * choice that says or calls anything; the error says what it is instead. */
keel_status keel_upstream_read(const char *body, size_t length, keel_arena *arena,
                               keel_upstream_completion *out, keel_err *err);

/* What an error body says ({"error": {"message"}}, {"error": "..."}, {"detail": "..."}, {"message": "..."}),
 * cut to a line that is safe to print; "" where it says nothing of the kind. */
const char *keel_upstream_complaint(const char *body, size_t length, keel_arena *arena);

/* The same from a stream of chunks. */
typedef struct keel_upstream_stream keel_upstream_stream;
keel_status keel_upstream_stream_open(keel_upstream_stream **out, keel_err *err);
/* Bytes as they come. KEEL_E_PARSE: nonsense. */
keel_status keel_upstream_stream_take(keel_upstream_stream *stream, const char *bytes, size_t length,
                                      keel_err *err);
bool keel_upstream_stream_done(const keel_upstream_stream *stream); /* [DONE] came */
/* Whether all that was begun came to its end: [DONE], or a reason to finish for every choice. */
bool keel_upstream_stream_whole(const keel_upstream_stream *stream);
/* What came: of a stream that is cut the choices that had come to their end. KEEL_E_PARSE: there is none. */
keel_status keel_upstream_stream_end(keel_upstream_stream *stream, keel_arena *arena,
                                     keel_upstream_completion *out, keel_err *err);
void keel_upstream_stream_close(keel_upstream_stream *stream); /* NULL is harmless */

#endif
