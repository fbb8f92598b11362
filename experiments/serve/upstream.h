/* Upstreams: the OpenAI-compatible servers that write candidates. One request is asked of all of them in
 * parallel; what is there when all have answered, or at the deadline, is handed over.
 *
 * An upstream is where the program's arguments say it is: nothing in a request's body chooses a host, and of
 * the body only the keys of a chat completion go on. Keys come from environment variables and stand in no
 * error, log or metric. */
#ifndef KEEL_EXPERIMENTS_SERVE_UPSTREAM_H
#define KEEL_EXPERIMENTS_SERVE_UPSTREAM_H

#include <stdint.h>

#include "experiments/http_client.h"
#include "experiments/serve/monitor.h"

enum { KEEL_UPSTREAM_MOST = 16, KEEL_UPSTREAM_MOST_N = 16 };

typedef struct keel_upstream_spec {
    const char *name;    /* unique; of candidates and metrics */
    const char *url;     /* "http://127.0.0.1:8000/v1/chat/completions" */
    const char *model;   /* that it is asked for; NULL: none is named */
    const char *key_env; /* the environment variable that holds its key; NULL: no key */
    size_t n;            /* candidates that it writes */
    double temperature;  /* NAN: the client's */
    double timeout;      /* seconds */
    bool stream;         /* asks it for chunks, so that what was finished is there when it is cut off */
} keel_upstream_spec;

/* "URL,model=M,n=2,temperature=0.7,timeout=20s,key=ENV,name=A,stream=yes". URL as clients take it as base
 * URL, "http://127.0.0.1:8000/v1"; without a path it is /v1. Defaults: n 1, timeout 60s, the name is the
 * model or else host and port. KEEL_E_USAGE. */
keel_status keel_upstream_parse(const char *text, keel_arena *arena, keel_upstream_spec *out, keel_err *err);

/* One candidate. */
typedef struct keel_upstream_reply {
    const char *upstream; /* its name */
    const char *model;    /* as it names itself, else as it was asked for, else its name */
    const char *text;     /* never NULL; "" beside tool calls alone */
    const char *message;  /* the assistant's message as JSON where it calls tools; else NULL */
    const char *finish;   /* "stop", "length", "tool_calls" ... */
    int64_t prompt_tokens, completion_tokens; /* of the call it came from, on its first reply; -1: not told */
    double latency_ms;                        /* of that call */
} keel_upstream_reply;

typedef struct keel_upstream_ask {
    const char *body;      /* JSON object, as the client sent it: messages, tools, stop, max_tokens ... */
    double deadline;       /* of core/clock.h */
    size_t n_per_upstream; /* 0: the spec's */
    bool (*gone)(
        void *context); /* asked every 50 ms at the latest, in the loop's thread: true cancels; or NULL */
    /* Once, in the loop's thread, and not after close. replies in the order of upstreams; they and troubles
     * ("A: dead: ...; B: slow: ...", "" where there is none) live in the arena. */
    void (*done)(void *context, keel_upstream_reply *replies, size_t n, const char *troubles);
    void *context;
    keel_arena *arena; /* the loop's until done */
} keel_upstream_ask;

typedef struct keel_upstreams keel_upstreams;
/* specs are copied. monitor: counts calls, their time and troubles, by upstream; or NULL. KEEL_E_USAGE: a
 * key's variable is not set, or two have one name. KEEL_E_UNSUPPORTED: Keel was built without libcurl. */
keel_status keel_upstreams_open(keel_upstreams **out, const keel_upstream_spec *specs, size_t n,
                                keel_monitor *monitor, keel_err *err);
/* Any thread; does not block, keeps the ask by value and copies its body. An error: done is not called. */
keel_status keel_upstreams_ask(keel_upstreams *upstreams, const keel_upstream_ask *ask, keel_err *err);
void keel_upstreams_close(
    keel_upstreams *upstreams); /* cancels what runs; every done is called. NULL is harmless */

#endif
