/* HTTP for pages that the program serves to the person in front of the machine: requests and responses as
 * plain structs, what is refused before a handler sees it, and a server. Handlers and checks know no sockets
 * and no library; http_server.c alone does.
 *
 * A server answers on loopback unless told otherwise. Against pages of other sites in the same browser:
 * - The Host of a request is an address or "localhost", never another name: a name that was rebound to this
 *   machine is refused (DNS rebinding).
 * - A POST is JSON (which makes browsers ask before they send it across sites, and nobody answers that), its
 *   Origin, where given, is the Host, and its Sec-Fetch-Site, where given, is same-origin. Of GET the same
 * holds below /api/.
 * - Pages may load nothing from elsewhere, run no script of their own text, and stand in no frame. */
#ifndef KEEL_EXPERIMENTS_HTTP_H
#define KEEL_EXPERIMENTS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum {
    KEEL_HTTP_MOST_BODY = 64 * 1024, /* bytes of a request */
    KEEL_HTTP_MOST_TARGET = 4096,
    KEEL_HTTP_MOST_CONNECTIONS = 64,
    KEEL_HTTP_TIMEOUT = 30 /* seconds that a connection may be silent */
};

typedef struct keel_http_request {
    const char *method, *target;             /* "GET", "/api/next?reviewer=ann", as they came */
    const char *host, *origin, *site, *type; /* headers Host, Origin, Sec-Fetch-Site, Content-Type, or NULL */
    const char *body;                        /* [length] ended by a 0; NULL: none */
    size_t length;
} keel_http_request;

/* Zero-initialised. One of body and file is sent. */
typedef struct keel_http_response {
    int status;       /* 200 ... */
    const char *type; /* "application/json" ... */
    keel_buf body;
    const unsigned char *file; /* [file_length] that stays; or NULL */
    size_t file_length;
} keel_http_response;
void keel_http_response_free(keel_http_response *response);

/* {"error": message} with a status of 400 and more. */
void keel_http_refuse(keel_http_response *response, int status, const char *message);
/* Whether a handler may see the request; else the response is filled. port: that of the server. */
bool keel_http_check(const keel_http_request *request, uint16_t port, keel_http_response *response);
/* Whether the target's part before '?' is this path. */
bool keel_http_is(const keel_http_request *request, const char *path);
/* The value of a key of the target's query, decoded into the arena; *out NULL: it is not there.
 * KEEL_E_PARSE: it is not UTF-8, or holds a broken escape or a NUL. */
keel_status keel_http_query(const keel_http_request *request, const char *key, keel_arena *arena,
                            const char **out, keel_err *err);
/* Headers of every response: pairs of name and value, ended by NULL. */
extern const char *const keel_http_headers[];

/* "127.0.0.1:8090", "[::1]:8090", "localhost:8090": an address of this machine and a port, 0: any. */
typedef struct keel_http_address {
    char host[64]; /* without brackets */
    uint16_t port;
    bool six, loopback;
} keel_http_address;
keel_status keel_http_address_parse(const char *text, keel_http_address *out, keel_err *err);

typedef void keel_http_handler(void *context, const keel_http_request *request, keel_http_response *response);
typedef struct keel_http_server keel_http_server;
/* Handlers are called in the thread that runs the server, one at a time. KEEL_E_UNSUPPORTED: Keel was built
 * without libmicrohttpd. */
keel_status keel_http_open(keel_http_server **out, const keel_http_address *address,
                           keel_http_handler *handler, void *context, keel_err *err);
const char *keel_http_url(const keel_http_server *server); /* "http://127.0.0.1:8090/" */
/* Answers until the program is asked to stop, which is how it ends. */
keel_status keel_http_run(keel_http_server *server, keel_err *err);
void keel_http_close(keel_http_server *server); /* NULL is harmless */

#endif
