/* HTTP: requests and responses as plain structs, what is refused before a handler sees it, and a server.
 * Handlers and checks know no sockets and no library; http_server.c alone does.
 *
 * A server answers on loopback unless told otherwise. It is of one of two kinds (keel_http_options):
 * - Pages for the person in front of the machine (`keel review`). They may load nothing from elsewhere, run
 * no script of their own text, and stand in no frame.
 * - An API for programs (`keel serve`). Errors have the shape of OpenAI's.
 *
 * Against pages of other sites in a browser of the same machine, for both kinds:
 * - The Host of a request is an address, "localhost" or a name that the options list, never another: a name
 *   that was rebound to this machine is refused (DNS rebinding). A token, which no such page knows, makes
 *   that needless.
 * - A POST is JSON (which makes browsers ask before they send it across sites, and nobody answers that), its
 *   Origin, where given, is the Host, and its Sec-Fetch-Site, where given, is same-origin. Of GET the same
 *   holds, of pages only below /api/. */
#ifndef KEEL_EXPERIMENTS_HTTP_H
#define KEEL_EXPERIMENTS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_HTTP_MOST_TARGET = 4096, KEEL_HTTP_LEAST_TOKEN = 16 /* bytes */ };

/* What a server lets in. Text belongs to the caller and outlives the server. */
typedef struct keel_http_options {
    size_t most_body;          /* bytes of the body of a request; more: 413 */
    size_t most_bodies;        /* bytes of all bodies held at once; more: 503 */
    size_t most_header;        /* bytes of a request's line and headers; more: 431 or 414 */
    unsigned most_connections; /* more wait until one closes */
    unsigned most_per_address; /* connections; more are closed at once; 0: no limit of its own */
    unsigned idle_seconds;    /* for the line of a request to come, since the connection or the last answer */
    unsigned request_seconds; /* for a request to be whole since its line; for an answer to be taken */
    unsigned drain_seconds;   /* for the answers that are open when the program is asked to stop */
    bool pages;               /* of the two kinds */
    bool exposed;             /* may listen beyond loopback without a token: somebody has thought of it */
    const char *token;        /* "Authorization: Bearer TOKEN" of every request; NULL: none is asked for */
    const char *const *open;  /* paths that need no token, ended by NULL; or NULL */
    const char *const *hosts; /* names that Host may say, ended by NULL; or NULL */
} keel_http_options;
extern const keel_http_options keel_http_pages; /* defaults of either kind */
extern const keel_http_options keel_http_api;

/* The token in an environment variable, which stays. KEEL_E_USAGE: not set, shorter than
 * KEEL_HTTP_LEAST_TOKEN, or with bytes that no header holds; the error does not repeat it. */
keel_status keel_http_token(const char *variable, const char **out, keel_err *err);

/* ---- requests ---- */

typedef struct keel_http_request {
    const char *method, *target; /* "GET" (HEAD too) or "POST"; "/api/next?reviewer=ann" as it came */
    const char *host, *origin, *site, *type; /* headers Host, Origin, Sec-Fetch-Site, Content-Type, or NULL */
    const char *authorization;               /* or NULL */
    const char *const *headers;              /* all: pairs of name and value, ended by NULL; NULL: none */
    const char *body;                        /* [length] ended by a 0; NULL: none */
    size_t length;
    bool loopback;   /* the peer is on this machine; a proxy is, too */
    bool authorized; /* it bears the token that the server asks for; false where it asks for none */
} keel_http_request;

/* The value of a header, by its name in any case; NULL: it is not there. The first of several. */
const char *keel_http_header(const keel_http_request *request, const char *name);
/* Whether the target's part before '?' is this path. */
bool keel_http_is(const keel_http_request *request, const char *path);
/* The value of a key of the target's query, decoded into the arena; *out NULL: it is not there.
 * KEEL_E_PARSE: it is not UTF-8, or holds a broken escape or a NUL. */
keel_status keel_http_query(const keel_http_request *request, const char *key, keel_arena *arena,
                            const char **out, keel_err *err);

/* ---- responses ---- */

/* Zero-initialised. One of body and file is sent. */
typedef struct keel_http_response {
    int status;       /* 200 ... */
    const char *type; /* "application/json" ..., which stays */
    keel_buf body;
    const unsigned char *file; /* [file_length] that stays; or NULL */
    size_t file_length;
    keel_buf headers; /* by keel_http_response_header */
    bool close;       /* nothing more is read: where the request ends two readers could see differently */
} keel_http_response;
void keel_http_response_free(keel_http_response *response);

/* One more header; both texts are copied. A name or value that no header holds (control characters, such as a
 * line end) is left out. */
void keel_http_response_header(keel_http_response *response, const char *name, const char *value);
/* A status of 400 and more. Of pages: {"error": message}. */
void keel_http_refuse(keel_http_response *response, int status, const char *message);
/* Of an API: {"error": {"message", "type", "param", "code"}}, the type by the status as OpenAI has it; param
 * (the key of the body that is wrong) and code may be NULL. */
void keel_http_error(keel_http_response *response, int status, const char *param, const char *code,
                     const char *message);
/* The same of an error, with its hint. */
void keel_http_fail(keel_http_response *response, int status, const keel_err *err);
/* Whether it bears the token that is asked for; false where none is. */
bool keel_http_authorized(const keel_http_request *request, const keel_http_options *options);
/* Whether a handler may see the request; else the response is filled. port: that of the server. */
bool keel_http_check(const keel_http_request *request, const keel_http_options *options, uint16_t port,
                     keel_http_response *response);
/* Headers of every response of a kind: pairs of name and value, ended by NULL. */
const char *const *keel_http_fixed_headers(const keel_http_options *options);

/* ---- where to listen ---- */

/* "127.0.0.1:8090", "[::1]:8090", "localhost:8090": an address of this machine and a port, 0: any. */
typedef struct keel_http_address {
    char host[64]; /* without brackets */
    uint16_t port;
    bool six, loopback;
} keel_http_address;
keel_status keel_http_address_parse(const char *text, keel_http_address *out, keel_err *err);

/* ---- the server ---- */

typedef struct keel_http_exchange keel_http_exchange; /* a request that waits for its response */

/* Called in the thread that runs the server, with a whole request that was let in and that stays until its
 * response is sent; must not block. It sends at once, or keeps the exchange, which is then sent later from
 * any thread. Every exchange is sent once. */
typedef void keel_http_handler(void *context, keel_http_exchange *exchange, const keel_http_request *request);
/* Takes the response over and leaves a zeroed one; exchange and request are gone then. A response without a
 * status, or whose body failed for want of memory, is a 503. */
void keel_http_send(keel_http_exchange *exchange, keel_http_response *response);
/* Whether the peer hung up, so that nobody waits; from any thread, before it is sent. One system call. A peer
 * that closes its sending half counts as gone. */
bool keel_http_gone(const keel_http_exchange *exchange);

/* A handler for what is answered at once: the context is a keel_http_page. */
typedef struct keel_http_page {
    void (*answer)(void *context, const keel_http_request *request, keel_http_response *response);
    void *context;
} keel_http_page;
void keel_http_answer_page(void *page, keel_http_exchange *exchange, const keel_http_request *request);

typedef struct keel_http_server keel_http_server;
/* KEEL_E_UNSUPPORTED: Keel was built without libmicrohttpd. KEEL_E_USAGE: the address is beyond loopback, and
 * the options have neither a token nor `exposed`. The options are copied, not their texts. */
keel_status keel_http_open(keel_http_server **out, const keel_http_address *address,
                           const keel_http_options *options, keel_http_handler *handler, void *context,
                           keel_err *err);
const char *keel_http_url(const keel_http_server *server); /* "http://127.0.0.1:8090/" */
/* Answers until the program is asked to stop. Then it listens no more, new requests of connections that are
 * open get a 503, and it returns once all answers are out or drain_seconds are over. */
keel_status keel_http_run(keel_http_server *server, keel_err *err);
/* After keel_http_run has returned and whoever kept exchanges has sent them. NULL is harmless. */
void keel_http_close(keel_http_server *server);

/* Counted since the server was opened; from any thread. */
typedef struct keel_http_counts {
    uint64_t connections; /* open now */
    uint64_t waiting;     /* exchanges that were handed out and are not sent */
    uint64_t body_bytes;  /* held now */
    uint64_t accepted, requests, refused /* by the door */, cut /* too slow */;
} keel_http_counts;
keel_http_counts keel_http_counted(const keel_http_server *server);

#endif
