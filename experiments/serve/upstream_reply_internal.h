/* What the readers of whole replies and of streams share. */
#ifndef KEEL_EXPERIMENTS_SERVE_UPSTREAM_REPLY_INTERNAL_H
#define KEEL_EXPERIMENTS_SERVE_UPSTREAM_REPLY_INTERNAL_H

#include "core/json.h"
#include "experiments/serve/upstream_reply.h"

/* The string of a key; NULL: there is none, or no object. */
const char *keel__upstream_string(const cJSON *object, const char *key);
/* A whole number of tokens; -1: it is no such thing. */
int64_t keel__upstream_tokens(const cJSON *usage, const char *key);
/* A reason to finish that clients know; of those the likeliest for another. */
const char *keel__upstream_finish(const char *given, bool calls);

/* A value with a list of choices, parsed into the arena. KEEL_E_PARSE says what it is instead. */
keel_status keel__upstream_open(const char *text, size_t length, keel_arena *arena, const cJSON **out,
                                const cJSON **choices, keel_err *err);

typedef struct keel__upstream_call {
    const char *id, *name, *arguments;
} keel__upstream_call;
/* {"role": "assistant", "content": text or null, "tool_calls": [...]}: what was checked, and nothing else. */
keel_status keel__upstream_message(const char *text, const keel__upstream_call *calls, size_t n,
                                   keel_arena *arena, const char **out, keel_err *err);

#endif
