/* What tests of the server share: a server in a thread of its own, and a client that writes what it likes. */
#ifndef KEEL_TESTS_EXPERIMENTS_HTTP_FIXTURE_H
#define KEEL_TESTS_EXPERIMENTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/context.h"
#include "experiments/http.h"
#include "support/faults.h"

/* ---- a server in a thread of its own ---- */

enum { MOST_HELD = 4096, BIG = 8 << 20, SLOW_MS = 8000 /* a test waits as long for what must happen */ };

static struct {
    keel_http_server *server;
    pthread_t thread;
    keel_context context;
    atomic_bool stop, returned;
    keel_status status;
    pthread_mutex_t lock;
    keel_http_exchange *held[MOST_HELD];
    const keel_http_request *requests[MOST_HELD];
    size_t n_held;
} s = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline bool is_stopped(void *user) {
    (void)user;
    return s.stop;
}

static inline void answer_text(keel_http_exchange *exchange, const char *text, size_t length) {
    keel_http_response response = {.status = 200, .type = "text/plain"};
    keel_buf_append(&response.body, text, length);
    keel_http_response_header(&response, "X-Request-Id", "r1");
    keel_http_response_header(&response, "X-Bad", "a\r\nX-Injected: 1");
    keel_http_send(exchange, &response);
    assert_null(response.body.data);
}

static inline void answer_big(keel_http_exchange *exchange) {
    char *text = calloc(BIG, 1);
    memset(text, 'x', BIG);
    answer_text(exchange, text, BIG);
    free(text);
}

/* /echo sends the body back, /held is kept until the test lets it go. */
static inline void handle(void *context, keel_http_exchange *exchange, const keel_http_request *request) {
    keel_http_response empty = {0};
    assert_ptr_equal(context, &s);
    if (keel_http_is(request, "/echo")) {
        answer_text(exchange, request->body ? request->body : "", request->length);
    } else if (keel_http_is(request, "/header")) {
        const char *value = keel_http_header(request, "x-keel-segment");
        answer_text(exchange, value ? value : "none", strlen(value ? value : "none"));
    } else if (keel_http_is(request, "/big")) {
        answer_big(exchange);
    } else if (keel_http_is(request, "/nothing")) {
        keel_http_send(exchange, &empty);
    } else {
        pthread_mutex_lock(&s.lock);
        assert_true(s.n_held < MOST_HELD);
        s.requests[s.n_held] = request;
        s.held[s.n_held++] = exchange;
        pthread_mutex_unlock(&s.lock);
    }
}

static inline void *run_server(void *context) {
    keel_err err;
    (void)context;
    keel_context_use(&s.context);
    s.status = keel_http_run(s.server, &err);
    s.returned = true;
    return NULL;
}

static uint16_t port;
static faults memory; /* of the server's thread */

static inline void start(const keel_http_options *options) {
    keel_http_address address;
    keel_err err;
    assert_int_equal(keel_http_address_parse("127.0.0.1:0", &address, &err), KEEL_OK);
    keel_context_init(&s.context);
    s.context.interrupted = is_stopped;
    s.context.allocator = (keel_allocator){faults_resize, faults_release, &memory, NULL};
    s.stop = s.returned = false;
    s.n_held = 0;
    assert_int_equal(keel_http_open(&s.server, &address, options, handle, &s, &err), KEEL_OK);
    port = (uint16_t)strtoul(strrchr(keel_http_url(s.server), ':') + 1, NULL, 10);
    assert_int_equal(pthread_create(&s.thread, NULL, run_server, NULL), 0);
}

static inline void stop(void) {
    s.stop = true;
    pthread_join(s.thread, NULL);
    assert_int_equal(s.status, KEEL_OK);
    keel_http_close(s.server);
}

static inline void rest(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Waits for a condition that must come true. */
#define WAIT_FOR(condition)                                                                                  \
    do {                                                                                                     \
        for (int ms = 0; ms < SLOW_MS && !(condition); ms += 2) rest(2);                                     \
        assert_true(condition);                                                                              \
    } while (0)

static inline size_t count_held(void) {
    pthread_mutex_lock(&s.lock);
    const size_t n = s.n_held;
    pthread_mutex_unlock(&s.lock);
    return n;
}

/* Whether there is a server to test; says so if not. */
static inline bool has_server(void) {
    keel_err err;
    keel_http_address address;
    keel_http_server *server = NULL;
    const keel_status status = keel_http_address_parse("127.0.0.1:0", &address, &err);
    const bool has = status != KEEL_OK || keel_http_open(&server, &address, &keel_http_api, handle, &s,
                                                         &err) != KEEL_E_UNSUPPORTED;
    if (!has) printf("SKIPPED: built without libmicrohttpd\n");
    keel_http_close(server);
    return has;
}

/* ---- a client ---- */

static inline int dial(void) {
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(client >= 0);
    assert_int_equal(connect(client, (const struct sockaddr *)&to, sizeof to), 0);
    return client;
}

static inline void say_bytes(int client, const char *text, size_t length) {
    while (length) {
        const ssize_t n = send(client, text, length, MSG_NOSIGNAL);
        if (n <= 0) return; /* the server closed, which the test sees when it reads */
        text += n;
        length -= (size_t)n;
    }
}

/* $ in the text is the Host that the server expects. */
static inline void say(int client, const char *text) {
    char host[64];
    const char *dollar = strchr(text, '$');
    if (!dollar) {
        say_bytes(client, text, strlen(text));
        return;
    }
    snprintf(host, sizeof host, "Host: 127.0.0.1:%u\r\n", port);
    say_bytes(client, text, (size_t)(dollar - text));
    say_bytes(client, host, strlen(host));
    say(client, dollar + 1);
}

/* The next bytes, 0-terminated, until `until` stands in them, the peer closes or SLOW_MS are over. */
static inline const char *hear_until(int client, const char *until) {
    static char text[1 << 16];
    size_t n = 0;
    const double end = keel_clock() + SLOW_MS / 1000.0;
    text[0] = '\0';
    while (!(until && strstr(text, until)) && n < sizeof text - 1 && keel_clock() < end) {
        struct pollfd ready = {.fd = client, .events = POLLIN};
        if (poll(&ready, 1, 100) <= 0) continue;
        const ssize_t got = recv(client, text + n, until ? 1 : sizeof text - 1 - n, 0);
        if (got <= 0) break;
        text[n += (size_t)got] = '\0';
    }
    return text;
}

/* One request on a connection of its own; the status, or 0. */
static inline int ask(const char *request, const char *part) {
    const int client = dial();
    int status = 0;
    say(client, request);
    const char *text = hear_until(client, NULL);
    if (part && !strstr(text, part)) fail_msg("%s is not in: %s", part, text);
    if (sscanf(text, "HTTP/1.1 %d", &status) != 1) status = 0;
    close(client);
    return status;
}
#define CLOSE "Connection: close\r\n"
#define JSON  "Content-Type: application/json\r\n"

static inline bool is_closed_within(int client, int ms) {
    const double end = keel_clock() + ms / 1000.0;
    char byte;
    while (keel_clock() < end) {
        struct pollfd ready = {.fd = client, .events = POLLIN};
        if (poll(&ready, 1, 20) > 0 && recv(client, &byte, 1, MSG_DONTWAIT) <= 0) return true;
    }
    return false;
}

#endif
