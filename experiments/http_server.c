/* The one file that knows libmicrohttpd. Without it at build time a server cannot be opened, and says so. */
#include "experiments/http.h"

#if !KEEL_HAVE_MICROHTTPD

keel_status keel_http_open(keel_http_server **out, const keel_http_address *address,
                           keel_http_handler *handler, void *context, keel_err *err) {
    (void)address, (void)handler, (void)context;
    *out = NULL;
    keel_fail(err, KEEL_E_UNSUPPORTED, "HTTP",
              "this keel was built without libmicrohttpd, which serves pages");
    return keel_hint(err, "install the package libmicrohttpd-dev, then configure and build again");
}

const char *keel_http_url(const keel_http_server *server) {
    (void)server;
    return "";
}

keel_status keel_http_run(keel_http_server *server, keel_err *err) {
    (void)server;
    return keel_fail(err, KEEL_E_UNSUPPORTED, "HTTP", "there is no server");
}

void keel_http_close(keel_http_server *server) {
    (void)server;
}

#else

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>

#include "core/interrupt.h"

enum { PER_CONNECTION = 32 * 1024 /* bytes for headers */ };

struct keel_http_server {
    struct MHD_Daemon *daemon;
    keel_http_handler *handler;
    void *context;
    keel_http_address address;
    char url[96];
};

/* A request that is coming in. */
typedef struct incoming {
    char *target;
    keel_buf body;
    bool too_large;
} incoming;

/* ---- a request ---- */

static void *begin(void *context, const char *target, struct MHD_Connection *connection) {
    (void)context, (void)connection;
    incoming *in = keel_calloc(1, sizeof *in);
    if (in) in->target = keel_strdup(target);
    return in;
}

static void end(void *context, struct MHD_Connection *connection, void **state,
                enum MHD_RequestTerminationCode why) {
    (void)context, (void)connection, (void)why;
    incoming *in = *state;
    if (!in) return;
    keel_free(in->target);
    keel_buf_free(&in->body);
    keel_free(in);
    *state = NULL;
}

static enum MHD_Result send_response(struct MHD_Connection *connection, const keel_http_response *response) {
    const void *bytes = response->file ? (const void *)response->file : (const void *)response->body.data;
    const size_t length = response->file ? response->file_length : response->body.length;
    struct MHD_Response *out =
        MHD_create_response_from_buffer(length, (void *)(uintptr_t)bytes, MHD_RESPMEM_MUST_COPY);
    if (!out) return MHD_NO;
    MHD_add_response_header(out, MHD_HTTP_HEADER_CONTENT_TYPE, response->type);
    for (const char *const *header = keel_http_headers; *header; header += 2)
        MHD_add_response_header(out, header[0], header[1]);
    const enum MHD_Result result = MHD_queue_response(connection, (unsigned)response->status, out);
    MHD_destroy_response(out);
    return result;
}

static const char *header_of(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* A body of unknown size is refused before it came; what is too large is not kept. */
static void take(incoming *in, const char *bytes, size_t length) {
    in->too_large = in->too_large || length > KEEL_HTTP_MOST_BODY - in->body.length;
    if (!in->too_large) keel_buf_append(&in->body, bytes, length);
}

static enum MHD_Result reply(keel_http_server *server, struct MHD_Connection *connection, const char *method,
                             const incoming *in) {
    keel_http_response response = {0};
    const keel_http_request request = {.method = method,
                                       .target = in->target,
                                       .host = header_of(connection, MHD_HTTP_HEADER_HOST),
                                       .origin = header_of(connection, MHD_HTTP_HEADER_ORIGIN),
                                       .site = header_of(connection, "Sec-Fetch-Site"),
                                       .type = header_of(connection, MHD_HTTP_HEADER_CONTENT_TYPE),
                                       .body = in->body.data,
                                       .length = in->too_large ? SIZE_MAX : in->body.length};
    if (in->body.failed)
        keel_http_refuse(&response, 503, "out of memory");
    else if (keel_http_check(&request, server->address.port, &response))
        server->handler(server->context, &request, &response);
    const bool whole = response.status && !response.body.failed;
    const enum MHD_Result result = whole ? send_response(connection, &response) : MHD_NO;
    keel_http_response_free(&response);
    return result;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data, size_t *size,
                              void **state) {
    (void)url, (void)version;
    incoming *in = *state;
    if (!in || !in->target) return MHD_NO;
    if (!in->body.data && !in->too_large && !*size && !in->body.failed) {
        keel_buf_text(&in->body, ""); /* the headers came; the first call may not answer what has a body */
        if (in->body.data) return MHD_YES;
    }
    if (*size) {
        take(in, data, *size);
        *size = 0;
        return MHD_YES;
    }
    return reply(context, connection, method, in);
}

/* ---- the server ---- */

static struct MHD_Daemon *start(keel_http_server *server) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(server->address.port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(server->address.port)};
    const bool is_six = server->address.six;
    if (inet_pton(is_six ? AF_INET6 : AF_INET, server->address.host,
                  is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr) != 1)
        return NULL;
    const struct sockaddr *socket = is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    return MHD_start_daemon(
        is_six ? MHD_USE_IPv6 : MHD_NO_FLAG, 0, NULL, NULL, answer, server, MHD_OPTION_SOCK_ADDR, socket,
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)KEEL_HTTP_MOST_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)KEEL_HTTP_TIMEOUT,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)PER_CONNECTION, MHD_OPTION_URI_LOG_CALLBACK, begin, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, end, NULL, MHD_OPTION_END);
}

keel_status keel_http_open(keel_http_server **out, const keel_http_address *address,
                           keel_http_handler *handler, void *context, keel_err *err) {
    keel_http_server *server = keel_calloc(1, sizeof *server);
    *out = NULL;
    if (!server) return keel_nomem(err, "HTTP");
    *server = (keel_http_server){.handler = handler, .context = context, .address = *address};
    errno = 0;
    server->daemon = start(server);
    const union MHD_DaemonInfo *bound =
        server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!bound) {
        keel_fail(err, KEEL_E_IO, "--listen", "cannot listen on %s port %u: %s", address->host, address->port,
                  errno ? strerror(errno) : "refused");
        keel_hint(err, "another program may listen there: choose another port, or 0 for any");
        keel_http_close(server);
        return KEEL_E_IO;
    }
    server->address.port = bound->port;
    snprintf(server->url, sizeof server->url, address->six ? "http://[%s]:%u/" : "http://%s:%u/",
             address->host, server->address.port);
    *out = server;
    return KEEL_OK;
}

const char *keel_http_url(const keel_http_server *server) {
    return server->url;
}

keel_status keel_http_run(keel_http_server *server, keel_err *err) {
    while (!keel_interrupted()) {
        fd_set readable, writable, failed;
        int most = -1;
        struct timeval wait = {.tv_usec = 200000};
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_ZERO(&failed);
        if (MHD_get_fdset(server->daemon, &readable, &writable, &failed, &most) != MHD_YES)
            return keel_fail(err, KEEL_E_IO, "HTTP", "the server lost its socket");
        const int ready = select(most + 1, &readable, &writable, &failed, &wait);
        if (ready < 0 && errno != EINTR)
            return keel_fail(err, KEEL_E_IO, "HTTP", "select: %s", strerror(errno));
        if (ready < 0) continue; /* the sets hold nothing */
        if (MHD_run_from_select(server->daemon, &readable, &writable, &failed) != MHD_YES)
            return keel_fail(err, KEEL_E_IO, "HTTP", "the server failed");
    }
    return KEEL_OK;
}

void keel_http_close(keel_http_server *server) {
    if (!server) return;
    if (server->daemon) MHD_stop_daemon(server->daemon);
    keel_free(server);
}

#endif
