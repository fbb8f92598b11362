/* HTTP to other servers: POSTs of JSON, many at once, in one thread. http_client.c alone knows libcurl, which
 * is optional at build time.
 *
 * What comes back is from outside: its size is bounded, redirects are not followed, no scheme but http and
 * https is spoken, no file of the machine (.netrc, cookies) is read. Connections are kept and used again. */
#ifndef KEEL_EXPERIMENTS_HTTP_CLIENT_H
#define KEEL_EXPERIMENTS_HTTP_CLIENT_H

#include <stdbool.h>

#include "core/memory.h"
#include "core/status.h"

/* What can become of a fetch. X(NAME, "name"): names of metrics and of errors. */
#define KEEL_HTTP_TROUBLES(X)                                                                                \
    X(NONE, "none")                                                                                          \
    X(DEAD, "dead")           /* no connection came about */                                                 \
    X(SLOW, "slow")           /* the deadline came first */                                                  \
    X(CUT, "cut")             /* the connection ended before the answer did */                               \
    X(LARGE, "large")         /* the answer is longer than allowed */                                        \
    X(REDIRECT, "redirect")   /* 3xx: the answer is elsewhere */                                             \
    X(REFUSED, "refused")     /* 4xx */                                                                      \
    X(FAILED, "failed")       /* 5xx and what is no status */                                                \
    X(NONSENSE, "nonsense")   /* an answer that is not what was asked for: set by who reads it */            \
    X(CANCELLED, "cancelled") /* nobody waits for it any more */

typedef enum keel_http_trouble {
#define X(NAME, name) KEEL_HTTP_##NAME,
    KEEL_HTTP_TROUBLES(X)
#undef X
        KEEL_HTTP_N_TROUBLES
} keel_http_trouble;
const char *keel_http_trouble_name(keel_http_trouble trouble);

/* What a fetch came to; lives until `done` returns. */
typedef struct keel_http_got {
    keel_http_trouble trouble;
    int status;        /* of HTTP; 0: none came */
    const char *type;  /* Content-Type, or NULL */
    bool streamed;     /* `took` got what came, or would have */
    keel_buf *body;    /* what came of it, also in trouble; `done` may take it over by a copy and a clear */
    double seconds;    /* from the start of the fetch */
    const char *words; /* what was wrong, in words without secrets; "" where nothing was */
} keel_http_got;

/* One POST (GET where body is NULL). What it points to stays until `done` returns. */
typedef struct keel_http_fetch {
    const char *url; /* that keel_http_client_url accepted */
    const char *body;
    size_t length;
    const char *token;          /* "Authorization: Bearer TOKEN"; NULL or "": none */
    const char *const *headers; /* "Name: value", ended by NULL; or NULL */
    double deadline;            /* of core/clock.h */
    size_t most;                /* bytes of an answer */
    /* Called in the thread of the client, as is `done`; none may block. gone: every 50 ms at the latest, true
     * cancels; NULL: never. took: each piece of an event stream (status 200, text/event-stream), instead
     * of got->body; false cuts it off, as NONSENSE. NULL: bodies are kept. */
    bool (*gone)(void *context);
    bool (*took)(void *context, const char *bytes, size_t length);
    void (*done)(void *context, const keel_http_got *got); /* exactly once */
    void *context;
} keel_http_fetch;

/* Whether it is an address of http or https that names a host and nothing secret: no user, no password, no
 * query, no fragment, no white space. KEEL_E_USAGE under `where`. */
keel_status keel_http_client_url(const char *url, const char *where, keel_err *err);
/* How many bytes of the address of a server are its root: without a "/", or "/v1", at its end. */
size_t keel_http_client_root(const char *url);
/* The key in an environment variable, one word; KEEL_E_USAGE under `where` if there is none. */
keel_status keel_http_client_key(const char *variable, const char *where, const char **out, keel_err *err);

typedef struct keel_http_client keel_http_client;
/* KEEL_E_UNSUPPORTED: Keel was built without libcurl. */
keel_status keel_http_client_open(keel_http_client **out, keel_err *err);
/* Begins a fetch; any thread, also within `done`. An error: `done` is not called. */
keel_status keel_http_client_start(keel_http_client *client, const keel_http_fetch *fetch, keel_err *err);
/* Fetches and waits for it: not in the client's thread. got->body, type and words are copies in the arena;
 * fetch's callbacks are not used. KEEL_OK whatever the trouble is. */
keel_status keel_http_client_ask(keel_http_client *client, const keel_http_fetch *fetch, keel_arena *arena,
                                 keel_http_got *got, keel_err *err);
/* Cancels what runs: `done` of all is called before it returns. NULL is harmless. */
void keel_http_client_close(keel_http_client *client);

#endif
