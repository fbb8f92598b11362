/* The bodies of POST /v1/choose: candidates that the caller wrote, the choice among them. Knows no socket.
 *
 * Request: {"messages": [...], "candidates": [a text, or {"content" or "text", "tool_calls", "act", "model",
 * "outcome", "latency_ms"}], and the keys that bodies of all kinds share, and "model"}; no other key may
 * stand there, but in a candidate that has a "role": a message as some server made it. The response is {"id",
 * "index": place in candidates, or null where the answer is none of them, "says", "outcome", "fallback",
 * "propensity", "policy", "arm", "keel": details where asked for}. */
#ifndef KEEL_EXPERIMENTS_SERVE_CHOOSE_H
#define KEEL_EXPERIMENTS_SERVE_CHOOSE_H

#include "core/memory.h"
#include "core/status.h"
#include "experiments/serve/asked.h"

enum { KEEL_CHOOSE_MOST = 256 }; /* candidates */

/* err->where is the key that is wrong. A response that is given twice (text and act) counts once, where it
 * first stands. */
keel_status keel_choose_read(const char *body, size_t length, keel_arena *arena, keel_asked *out,
                             keel_err *err);

typedef struct keel_choose_answer {
    const char *id;
    int64_t index; /* -1: none of the caller's */
    const char *says;
    keel_outcome outcome; /* NONE: not known */
    bool fallback;
    double propensity;
    const char *policy, *arm;
    const char *keel; /* a JSON object of details; or NULL */
} keel_choose_answer;
void keel_choose_write(const keel_choose_answer *answer, keel_buf *out);

#endif
