/* The one file that knows libmicrohttpd. Without it at build time a server cannot be opened, and says so.
 *
 * One thread runs the server: it reads requests, calls the handler, writes responses. A request whose
 * response is not there when the handler returns is suspended, which takes its socket out of the loop;
 * keel_http_send resumes it, from any thread. Time limits are kept by a sweep over all connections, four
 * times a second. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "experiments/http.h"

#if !KEEL_HAVE_MICROHTTPD

keel_status keel_http_open(keel_http_server **out, const keel_http_address *address,
                           const keel_http_options *options, keel_http_handler *handler, void *context,
                           keel_err *err) {
    (void)address, (void)options, (void)handler, (void)context;
    *out = NULL;
    keel_fail(err, KEEL_E_UNSUPPORTED, "HTTP",
              "this keel was built without libmicrohttpd, which serves pages and requests");
    return keel_hint(err, "install the package libmicrohttpd-dev, then configure and build again");
}

void keel_http_send(keel_http_exchange *exchange, keel_http_response *response) {
    (void)exchange;
    keel_http_response_free(response);
}

bool keel_http_gone(const keel_http_exchange *exchange) {
    (void)exchange;
    return true;
}

void keel_http_answer_page(void *page, keel_http_exchange *exchange, const keel_http_request *request) {
    (void)page, (void)exchange, (void)request;
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

keel_http_counts keel_http_counted(const keel_http_server *server) {
    (void)server;
    return (keel_http_counts){0};
}

#else

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/interrupt.h"
#include "core/log.h"

enum {
    OTHER_FILES = 256,  /* descriptors that are no connections */
    BACKLOG = 1024,     /* connections that wait to be accepted */
    SWEEP_MS = 250,     /* how often time limits are looked at */
    CLOSE_SECONDS = 10, /* for exchanges that somebody still holds when the server closes */
    LAST_SECONDS = 1,   /* at the end, for a connection that was just in use to ask once more */
    LOOK_SECONDS = 1,   /* between two looks whether the client of half a request is still there */
    MOST_HEADERS = 100  /* of a request */
};

typedef _Atomic uint64_t counter;

/* What a connection is at; each but WORK has its time limit. */
typedef enum phase { LINE, REQUEST, WORK, ANSWER } phase;

/* A connection, in the list of all of them. */
typedef struct connection {
    struct connection *next, **before;
    int socket;
    phase phase;
    double since, looked;
    bool cut;
} connection;

struct keel_http_server {
    struct MHD_Daemon *daemon;
    keel_http_handler *handler;
    void *context;
    keel_http_options options;
    keel_http_address address;
    char url[96];
    connection *connections; /* of the server's thread alone, as all that is not atomic */
    int wake;                /* an event that ends the wait of the server's thread; -1: none */
    int ready;               /* libmicrohttpd's epoll; -1: it has none */
    _Atomic bool woken;
    bool draining;
    counter open, waiting, body_bytes, accepted, requests, refused, cut;
};

/* Whether the response is there. HELD: not yet, and the request is suspended. */
typedef enum state { FRESH, HELD, SENT } state;

struct keel_http_exchange {
    keel_http_server *server;
    struct MHD_Connection *peer;
    connection *connection;
    _Atomic state state;
    bool seen;
    char *target;
    keel_buf body;
    const char **headers; /* pairs, ended by NULL */
    keel_http_request request;
    keel_http_response response;
};

/* ---- connections ---- */

static void enter(connection *c, phase next) {
    c->phase = next;
    c->since = c->looked = keel_clock();
}

static connection *connection_of(struct MHD_Connection *peer) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(peer, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void begin_connection(keel_http_server *server, struct MHD_Connection *peer, void **place) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(peer, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection *c = keel_calloc(1, sizeof *c);
    *place = c;
    if (!c && info) shutdown(info->connect_fd, SHUT_RDWR); /* nobody would keep its time */
    if (!c || !info) return;
    c->socket = info->connect_fd;
    c->next = server->connections;
    c->before = &server->connections;
    if (c->next) c->next->before = &c->next;
    server->connections = c;
    enter(c, LINE);
    server->open++;
    server->accepted++;
}

static void end_connection(keel_http_server *server, void **place) {
    connection *c = *place;
    if (!c) return;
    if (c->before) {
        *c->before = c->next;
        if (c->next) c->next->before = c->before;
        server->open--;
    }
    keel_free(c);
    *place = NULL;
}

static void notify_connection(void *context, struct MHD_Connection *peer, void **place,
                              enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        begin_connection(context, peer, place);
    else
        end_connection(context, place);
}

/* libmicrohttpd then reads the end of the connection and closes it. */
static void cut(keel_http_server *server, connection *c) {
    static const char late[] =
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (c->phase == REQUEST) (void)!send(c->socket, late, sizeof late - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(c->socket, SHUT_RDWR);
    c->cut = true;
    server->cut += c->phase != LINE || !server->draining;
}

static bool is_hung_up(int socket) {
    struct pollfd end = {.fd = socket, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0;
}

/* libmicrohttpd with epoll overlooks an end that comes together with the last bytes of half a request. */
static bool is_left(connection *c, double now) {
    if (now - c->looked < LOOK_SECONDS) return false;
    c->looked = now;
    return (c->phase == LINE || c->phase == REQUEST) && is_hung_up(c->socket);
}

static void sweep(keel_http_server *server, double now) {
    const keel_http_options *o = &server->options;
    const double limits[] = {[LINE] = server->draining ? LAST_SECONDS : o->idle_seconds,
                             [REQUEST] = o->request_seconds,
                             [ANSWER] = o->request_seconds};
    for (connection *c = server->connections; c; c = c->next)
        if (!c->cut && c->phase != WORK && (now - c->since > limits[c->phase] || is_left(c, now)))
            cut(server, c);
}

static bool is_busy(const keel_http_server *server) {
    for (const connection *c = server->connections; c; c = c->next)
        if (!c->cut) return true;
    return false;
}

/* ---- a request comes in ---- */

static void *begin(void *context, const char *target, struct MHD_Connection *peer) {
    connection *c = connection_of(peer);
    keel_http_exchange *x = c ? keel_calloc(1, sizeof *x) : NULL;
    if (!x) return NULL; /* closes the connection */
    *x =
        (keel_http_exchange){.server = context, .peer = peer, .connection = c, .target = keel_strdup(target)};
    enter(c, REQUEST);
    return x;
}

static void end(void *context, struct MHD_Connection *peer, void **place,
                enum MHD_RequestTerminationCode why) {
    keel_http_server *server = context;
    keel_http_exchange *x = *place;
    (void)peer, (void)why;
    if (!x) return;
    server->body_bytes -= x->body.length;
    enter(x->connection, LINE);
    keel_free(x->target);
    keel_free(x->headers);
    keel_buf_free(&x->body);
    keel_http_response_free(&x->response);
    keel_free(x);
    *place = NULL;
}

typedef struct filling {
    const char **headers;
    size_t count;
} filling;

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value) {
    filling *f = context;
    (void)kind;
    f->headers[2 * f->count] = name;
    f->headers[2 * f->count++ + 1] = value ? value : "";
    return f->count < MOST_HEADERS ? MHD_YES : MHD_NO;
}

static bool take_headers(keel_http_exchange *x, struct MHD_Connection *peer) {
    const int count = MHD_get_connection_values(peer, MHD_HEADER_KIND, NULL, NULL);
    filling f = {.headers = NULL};
    if (count < 0 || count > MOST_HEADERS) return false;
    f.headers = x->headers = keel_calloc(2 * (size_t)count + 1, sizeof *x->headers);
    if (!f.headers) return false;
    MHD_get_connection_values(peer, MHD_HEADER_KIND, take_header, &f);
    return true;
}

static void fail(keel_http_exchange *x, int status, const char *message) {
    keel_http_response_free(&x->response);
    if (x->server->options.pages)
        keel_http_refuse(&x->response, status, message);
    else
        keel_http_error(&x->response, status, NULL, status == 413 ? "request_too_large" : NULL, message);
    if (status == 503) keel_http_response_header(&x->response, "Retry-After", "1");
}

static void refuse(keel_http_exchange *x, int status, const char *message) {
    fail(x, status, message);
    x->server->refused++;
    x->state = SENT;
}

static bool is_loopback(struct MHD_Connection *peer) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(peer, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    if (address && address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    return address && address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

/* What the line and the headers already decide. */
static void look(keel_http_exchange *x, struct MHD_Connection *peer, const char *method) {
    keel_http_server *server = x->server;
    keel_http_request *r = &x->request;
    x->seen = true;
    server->requests++;
    if (!x->target || !take_headers(x, peer)) {
        refuse(x, 431, "the request has too many headers");
        return;
    }
    r->method = strcmp(method, "HEAD") == 0 ? "GET" : method;
    r->target = x->target;
    r->headers = x->headers;
    r->host = keel_http_header(r, "Host");
    r->origin = keel_http_header(r, "Origin");
    r->site = keel_http_header(r, "Sec-Fetch-Site");
    r->type = keel_http_header(r, "Content-Type");
    r->authorization = keel_http_header(r, "Authorization");
    r->loopback = is_loopback(peer);
    r->authorized = keel_http_authorized(r, &server->options);
    if (strcmp(r->method, "POST") == 0 && !keel_http_header(r, "Content-Length") &&
        !keel_http_header(r, "Transfer-Encoding")) { /* or something before it hid it */
        refuse(x, 411, "a POST says how long its body is, by Content-Length or chunks");
        x->response.close = true;
        return;
    }
    if (keel_http_check(r, &server->options, server->address.port, &x->response)) return;
    server->refused++;
    x->state = SENT;
}

/* Of a body that is refused, or too large, nothing is kept. */
static void take(keel_http_exchange *x, const char *bytes, size_t length) {
    keel_http_server *server = x->server;
    if (x->state == SENT) return;
    if (length > server->options.most_body - x->body.length) {
        refuse(x, 413, "the request is too large");
    } else if (length > server->options.most_bodies - server->body_bytes) {
        refuse(x, 503, "too many large requests at once");
    } else {
        keel_buf_append(&x->body, bytes, length);
        if (x->body.failed)
            refuse(x, 503, "out of memory");
        else
            server->body_bytes += length;
    }
}

/* ---- a response goes out ---- */

static enum MHD_Result queue(keel_http_exchange *x, struct MHD_Connection *peer) {
    keel_http_response *r = &x->response;
    if (!r->status || r->body.failed || r->headers.failed) fail(x, 503, "out of memory");
    if (r->body.failed || r->headers.failed) return MHD_NO;
    const void *bytes = r->file ? (const void *)r->file : (const void *)r->body.data;
    struct MHD_Response *out = MHD_create_response_from_buffer(
        r->file ? r->file_length : r->body.length, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);
    if (!out) return MHD_NO;
    if (r->type) MHD_add_response_header(out, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    for (const char *const *header = keel_http_fixed_headers(&x->server->options); *header; header += 2)
        MHD_add_response_header(out, header[0], header[1]);
    for (size_t at = 0; at < r->headers.length;) {
        const char *name = r->headers.data + at, *value = name + strlen(name) + 1;
        MHD_add_response_header(out, name, value);
        at = (size_t)(value - r->headers.data) + strlen(value) + 1;
    }
    if (x->server->draining || r->close) MHD_add_response_header(out, MHD_HTTP_HEADER_CONNECTION, "close");
    enter(x->connection, ANSWER);
    const enum MHD_Result result = MHD_queue_response(peer, (unsigned)r->status, out);
    MHD_destroy_response(out);
    return result;
}

/* The handler has the exchange from here on, and may have sent it when it returns. */
static enum MHD_Result hand_out(keel_http_exchange *x, struct MHD_Connection *peer) {
    keel_http_server *server = x->server;
    state fresh = FRESH;
    x->request.body = x->body.data;
    x->request.length = x->body.length;
    enter(x->connection, WORK);
    server->waiting++;
    server->handler(server->context, x, &x->request);
    if (x->state == SENT) return queue(x, peer);
    MHD_suspend_connection(peer);
    if (!atomic_compare_exchange_strong(&x->state, &fresh, HELD)) MHD_resume_connection(peer);
    return MHD_YES;
}

/* libmicrohttpd does not end a wait that is not its own when a connection is resumed. */
static void wake(keel_http_server *server) {
    const uint64_t one = 1;
    if (!atomic_exchange(&server->woken, true) && write(server->wake, &one, sizeof one) < 0)
        atomic_store(&server->woken, false); /* the answer waits for the next sweep */
}

void keel_http_send(keel_http_exchange *exchange, keel_http_response *response) {
    struct MHD_Connection *peer = exchange->peer;
    keel_http_server *server = exchange->server;
    exchange->response = *response;
    *response = (keel_http_response){0};
    if (atomic_exchange(&exchange->state, SENT) == HELD) {
        MHD_resume_connection(peer);
        wake(server);
    }
    server->waiting--;
}

bool keel_http_gone(const keel_http_exchange *exchange) {
    return is_hung_up(exchange->connection->socket);
}

void keel_http_answer_page(void *page, keel_http_exchange *exchange, const keel_http_request *request) {
    const keel_http_page *p = page;
    keel_http_response response = {0};
    p->answer(p->context, request, &response);
    keel_http_send(exchange, &response);
}

/* Called when the headers are there, for each piece of the body, at its end, and once resumed. Before the
 * body only whoever waits for "100 Continue" is refused, since others would not read it, and whose body may
 * be anything. */
static enum MHD_Result answer(void *context, struct MHD_Connection *peer, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **place) {
    keel_http_exchange *x = *place;
    (void)context, (void)url, (void)version;
    if (!x) return MHD_NO;
    if (!x->seen) {
        look(x, peer, method);
        const char *length = keel_http_header(&x->request, "Content-Length");
        if (x->state != SENT && length && strtoull(length, NULL, 10) > x->server->options.most_body)
            refuse(x, 413, "the request is too large");
        const bool now = x->response.close || keel_http_header(&x->request, "Expect");
        return x->state == SENT && now ? queue(x, peer) : MHD_YES;
    }
    if (*size) {
        take(x, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (x->state == SENT) return queue(x, peer);
    if (x->server->draining) {
        refuse(x, 503, "this server is about to stop");
        return queue(x, peer);
    }
    return hand_out(x, peer);
}

/* ---- the server ---- */

/* As many connections as the limit of open files allows, which is raised if need be. */
static unsigned most_connections(unsigned wished) {
    struct rlimit files;
    const rlim_t needed = (rlim_t)wished + OTHER_FILES;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= needed) return wished;
    files.rlim_cur = files.rlim_max < needed ? files.rlim_max : needed;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur >= needed) return wished;
    const unsigned most =
        files.rlim_cur > 2 * OTHER_FILES ? (unsigned)(files.rlim_cur - OTHER_FILES) : OTHER_FILES;
    keel_log(KEEL_LOG_INFO, "note: at most %u connections at once, by the limit of open files (ulimit -n)",
             most);
    return most;
}

static struct MHD_Daemon *start(keel_http_server *server) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(server->address.port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(server->address.port)};
    const bool is_six = server->address.six;
    const keel_http_options *o = &server->options;
    if (inet_pton(is_six ? AF_INET6 : AF_INET, server->address.host,
                  is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr) != 1)
        return NULL;
    const struct sockaddr *socket = is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    const unsigned loop = MHD_is_feature_supported(MHD_FEATURE_EPOLL) == MHD_YES ? MHD_USE_EPOLL : 0;
    return MHD_start_daemon(MHD_ALLOW_SUSPEND_RESUME | loop | (is_six ? (unsigned)MHD_USE_IPv6 : 0), 0, NULL,
                            NULL, answer, server, MHD_OPTION_SOCK_ADDR, socket,
                            MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)BACKLOG, MHD_OPTION_CONNECTION_LIMIT,
                            most_connections(o->most_connections), MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                            o->most_per_address, MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->most_header,
                            MHD_OPTION_URI_LOG_CALLBACK, begin, server, MHD_OPTION_NOTIFY_COMPLETED, end,
                            server, MHD_OPTION_NOTIFY_CONNECTION, notify_connection, server,
                            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static keel_status listen_on(keel_http_server *server, keel_err *err) {
    errno = 0;
    server->daemon = start(server);
    const union MHD_DaemonInfo *bound =
        server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!bound) {
        keel_fail(err, KEEL_E_IO, "--listen", "cannot listen on %s port %u: %s", server->address.host,
                  server->address.port, errno ? strerror(errno) : "refused");
        return keel_hint(err, "another program may listen there: choose another port, or 0 for any");
    }
    server->address.port = bound->port;
    const union MHD_DaemonInfo *epoll = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (epoll) server->ready = epoll->epoll_fd;
    snprintf(server->url, sizeof server->url, server->address.six ? "http://[%s]:%u/" : "http://%s:%u/",
             server->address.host, server->address.port);
    return KEEL_OK;
}

keel_status keel_http_open(keel_http_server **out, const keel_http_address *address,
                           const keel_http_options *options, keel_http_handler *handler, void *context,
                           keel_err *err) {
    *out = NULL;
    if (!address->loopback && !options->token && !options->exposed)
        return keel_fail(
            err, KEEL_E_USAGE, "--listen",
            "%s can be reached from other machines: that needs a token, or a proxy in front that "
            "checks who asks",
            address->host);
    keel_http_server *server = keel_calloc(1, sizeof *server);
    if (!server) return keel_nomem(err, "HTTP");
    server->handler = handler;
    server->context = context;
    server->options = *options;
    server->address = *address;
    server->ready = -1;
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const keel_status status =
        server->wake >= 0 ? listen_on(server, err) : keel_fail(err, KEEL_E_IO, "HTTP", "%s", strerror(errno));
    if (status == KEEL_OK)
        *out = server;
    else
        keel_http_close(server);
    return status;
}

const char *keel_http_url(const keel_http_server *server) {
    return server->url;
}

/* Until a socket is ready, an answer is there, or SWEEP_MS are over. */
static void wait_for_work(keel_http_server *server) {
    MHD_UNSIGNED_LONG_LONG limit;
    uint64_t count;
    struct pollfd either[] = {{.fd = server->ready, .events = POLLIN},
                              {.fd = server->wake, .events = POLLIN}};
    const bool limited = MHD_get_timeout(server->daemon, &limit) == MHD_YES && limit < SWEEP_MS;
    if (poll(either, 2, limited ? (int)limit : SWEEP_MS) <= 0 || !either[1].revents) return;
    if (read(server->wake, &count, sizeof count) > 0) atomic_store(&server->woken, false);
}

/* One round: whatever is ready, or a short wait; then the time limits. */
static keel_status run_round(keel_http_server *server, double *swept, keel_err *err) {
    enum { WITHOUT_EPOLL_MS = 2 };
    if (server->ready >= 0) wait_for_work(server);
    if ((server->ready >= 0 ? MHD_run(server->daemon) : MHD_run_wait(server->daemon, WITHOUT_EPOLL_MS)) !=
        MHD_YES)
        return keel_fail(err, KEEL_E_IO, "HTTP", "the server failed");
    const double now = keel_clock();
    if (now - *swept < SWEEP_MS / 1000.0 && !server->draining) return KEEL_OK;
    sweep(server, now);
    *swept = now;
    return KEEL_OK;
}

/* Listens no more, so that another server may; connections that are open get their answers. */
static void begin_end(keel_http_server *server) {
    const MHD_socket listening = server->draining ? MHD_INVALID_SOCKET : MHD_quiesce_daemon(server->daemon);
    if (listening != MHD_INVALID_SOCKET) close(listening);
    server->draining = true;
}

keel_status keel_http_run(keel_http_server *server, keel_err *err) {
    double swept = keel_clock();
    while (!keel_interrupted()) KEEL_TRY(run_round(server, &swept, err));
    begin_end(server);
    const double until = keel_clock() + server->options.drain_seconds;
    while (is_busy(server) && keel_clock() < until) KEEL_TRY(run_round(server, &swept, err));
    return KEEL_OK;
}

void keel_http_close(keel_http_server *server) {
    keel_err err;
    if (!server) return;
    double swept = 0;
    const double until = keel_clock() + CLOSE_SECONDS;
    if (server->daemon) begin_end(server);
    while (server->waiting && keel_clock() < until && run_round(server, &swept, &err) == KEEL_OK) continue;
    if (server->waiting) { /* whoever holds them may still send */
        keel_log(KEEL_LOG_INFO, "warning: %llu requests were never answered",
                 (unsigned long long)server->waiting);
        return;
    }
    if (server->daemon) MHD_stop_daemon(server->daemon);
    if (server->wake >= 0) close(server->wake);
    keel_free(server);
}

keel_http_counts keel_http_counted(const keel_http_server *server) {
    return (keel_http_counts){.connections = server->open,
                              .waiting = server->waiting,
                              .body_bytes = server->body_bytes,
                              .accepted = server->accepted,
                              .requests = server->requests,
                              .refused = server->refused,
                              .cut = server->cut};
}

#endif
