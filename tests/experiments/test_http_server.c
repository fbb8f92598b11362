/* The server over real sockets: answers at once and later, slow and rude clients, limits, draining, many
 * connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
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

static bool is_stopped(void *user) {
    (void)user;
    return s.stop;
}

static void answer_text(keel_http_exchange *exchange, const char *text, size_t length) {
    keel_http_response response = {.status = 200, .type = "text/plain"};
    keel_buf_append(&response.body, text, length);
    keel_http_response_header(&response, "X-Request-Id", "r1");
    keel_http_response_header(&response, "X-Bad", "a\r\nX-Injected: 1");
    keel_http_send(exchange, &response);
    assert_null(response.body.data);
}

static void answer_big(keel_http_exchange *exchange) {
    char *text = calloc(BIG, 1);
    memset(text, 'x', BIG);
    answer_text(exchange, text, BIG);
    free(text);
}

/* /echo sends the body back, /held is kept until the test lets it go. */
static void handle(void *context, keel_http_exchange *exchange, const keel_http_request *request) {
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

static void *run_server(void *context) {
    keel_err err;
    (void)context;
    keel_context_use(&s.context);
    s.status = keel_http_run(s.server, &err);
    s.returned = true;
    return NULL;
}

static uint16_t port;
static faults memory; /* of the server's thread */

static void start(const keel_http_options *options) {
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

static void stop(void) {
    s.stop = true;
    pthread_join(s.thread, NULL);
    assert_int_equal(s.status, KEEL_OK);
    keel_http_close(s.server);
}

static void rest(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Waits for a condition that must come true. */
#define WAIT_FOR(condition)                                                                                  \
    do {                                                                                                     \
        for (int ms = 0; ms < SLOW_MS && !(condition); ms += 2) rest(2);                                     \
        assert_true(condition);                                                                              \
    } while (0)

static size_t count_held(void) {
    pthread_mutex_lock(&s.lock);
    const size_t n = s.n_held;
    pthread_mutex_unlock(&s.lock);
    return n;
}

/* ---- a client ---- */

static int dial(void) {
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(client >= 0);
    assert_int_equal(connect(client, (const struct sockaddr *)&to, sizeof to), 0);
    return client;
}

static void say_bytes(int client, const char *text, size_t length) {
    while (length) {
        const ssize_t n = send(client, text, length, MSG_NOSIGNAL);
        if (n <= 0) return; /* the server closed, which the test sees when it reads */
        text += n;
        length -= (size_t)n;
    }
}

/* $ in the text is the Host that the server expects. */
static void say(int client, const char *text) {
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
static const char *hear_until(int client, const char *until) {
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
static int ask(const char *request, const char *part) {
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

static bool is_closed_within(int client, int ms) {
    const double end = keel_clock() + ms / 1000.0;
    char byte;
    while (keel_clock() < end) {
        struct pollfd ready = {.fd = client, .events = POLLIN};
        if (poll(&ready, 1, 20) > 0 && recv(client, &byte, 1, MSG_DONTWAIT) <= 0) return true;
    }
    return false;
}

/* ---- answers ---- */

static void requests_are_answered_at_once(void **state) {
    (void)state;
    start(&keel_http_api);
    assert_int_equal(
        ask("POST /echo HTTP/1.1\r\n$" JSON CLOSE "Content-Length: 4\r\n\r\n{  }", "\r\n\r\n{  }"), 200);
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n$" JSON CLOSE
                         "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n",
                         "\r\n\r\nabcde"),
                     200);
    assert_int_equal(ask("GET /header HTTP/1.1\r\n$X-Keel-Segment: gold\r\n" CLOSE "\r\n", "\r\n\r\ngold"),
                     200);
    assert_int_equal(ask("GET /nothing HTTP/1.1\r\n$" CLOSE "\r\n", "server_error"), 503);
    const int client = dial();
    say(client, "HEAD /header HTTP/1.1\r\n$\r\n");
    const char *text = hear_until(client, "\r\n\r\n");
    assert_non_null(strstr(text, "Content-Length: 4\r\n"));
    assert_non_null(strstr(text, "X-Request-Id: r1\r\n"));
    assert_null(strstr(text, "X-Injected"));
    assert_non_null(strstr(text, "X-Content-Type-Options: nosniff\r\n"));
    say(client,
        "GET /header HTTP/1.1\r\n$X-Keel-Segment: a\r\n\r\nGET /header HTTP/1.1\r\n$X-Keel-Segment: b\r\n\r\n");
    text =
        hear_until(client, "\r\n\r\na"); /* nothing of a body came after HEAD; two that came in one piece */
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    text = hear_until(client, "\r\n\r\nb");
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    close(client);
    stop();
}

static void a_request_may_wait_while_others_are_answered(void **state) {
    (void)state;
    start(&keel_http_api);
    const int first = dial(), second = dial();
    say(first, "POST /held HTTP/1.1\r\n$" JSON "Content-Length: 2\r\n\r\n{}");
    WAIT_FOR(count_held() == 1);
    assert_int_equal((int)keel_http_counted(s.server).waiting, 1);
    say(second, "GET /header HTTP/1.1\r\n$\r\n");
    hear_until(second, "\r\n\r\nnone");
    assert_false(keel_http_gone(s.held[0]));
    assert_string_equal(s.requests[0]->body, "{}"); /* stays */
    assert_true(s.requests[0]->loopback);
    answer_text(s.held[0], "late", 4);
    assert_non_null(strstr(hear_until(first, "late"), "HTTP/1.1 200"));
    say(first, "GET /header HTTP/1.1\r\n$X-Keel-Segment: again\r\n\r\n"); /* the connection is kept */
    assert_non_null(strstr(hear_until(first, "again"), "HTTP/1.1 200"));
    WAIT_FOR(keel_http_counted(s.server).waiting == 0);
    close(first);
    close(second);
    stop();
}

static void *answer_one_by_one(void *context) {
    const size_t n = *(const size_t *)context;
    for (size_t i = 0; i < n; i++) {
        while (count_held() <= i) rest(1);
        rest(1); /* the server waits for something to happen */
        answer_text(s.held[i], "late", 4);
    }
    return NULL;
}

/* An answer from another thread wakes the server: if each of 200 waited for the sweep, they took 50 s. */
static void an_answer_from_elsewhere_goes_out_at_once(void **state) {
    (void)state;
    size_t n = 200;
    pthread_t thread;
    start(&keel_http_api);
    assert_int_equal(pthread_create(&thread, NULL, answer_one_by_one, &n), 0);
    const int client = dial();
    const double begun = keel_clock();
    for (size_t i = 0; i < n; i++) {
        say(client, "GET /held HTTP/1.1\r\n$\r\n");
        assert_non_null(strstr(hear_until(client, "late"), "HTTP/1.1 200"));
    }
    assert_true(keel_clock() - begun < 30);
    pthread_join(thread, NULL);
    close(client);
    stop();
}

static atomic_size_t next_held;
enum { CROWD = 400 };

static void *answer_held(void *context) {
    (void)context;
    for (size_t i; (i = atomic_fetch_add(&next_held, 1)) < CROWD;) {
        while (count_held() <= i) rest(1);
        answer_text(s.held[i], s.requests[i]->body, s.requests[i]->length);
    }
    return NULL;
}

/* Some are sent before the server has put them aside, some after. */
static void many_are_answered_by_threads_in_any_order(void **state) {
    (void)state;
    static int clients[CROWD];
    pthread_t threads[3];
    char text[256];
    start(&keel_http_api);
    next_held = 0;
    for (size_t t = 0; t < 3; t++) assert_int_equal(pthread_create(&threads[t], NULL, answer_held, NULL), 0);
    for (size_t i = 0; i < CROWD; i++) {
        clients[i] = dial();
        snprintf(text, sizeof text, "POST /held HTTP/1.1\r\n$" JSON "Content-Length: 6\r\n\r\n<%04zu>", i);
        say(clients[i], text);
    }
    for (size_t i = 0; i < CROWD; i++) {
        snprintf(text, sizeof text, "<%04zu>", i);
        assert_non_null(strstr(hear_until(clients[i], ">"), text));
        close(clients[i]);
    }
    for (size_t t = 0; t < 3; t++) pthread_join(threads[t], NULL);
    stop();
}

/* ---- what is refused ---- */

static void what_is_wrong_is_refused_in_the_shape_of_the_api(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *request, *part;
    } rows[] = {
        {405, "DELETE /echo HTTP/1.1\r\n$" CLOSE "\r\n", "Allow: GET, HEAD, POST\r\n"},
        {405, "OPTIONS /echo HTTP/1.1\r\n$" CLOSE "\r\n", "\"code\":\"method_not_allowed\""},
        {403, "GET /echo HTTP/1.1\r\nHost: evil.example\r\n" CLOSE "\r\n", "\"code\":\"host_not_allowed\""},
        {403, "GET /echo HTTP/1.1\r\n$Origin: http://evil.example\r\n" CLOSE "\r\n", "origin_not_allowed"},
        {403, "GET /echo HTTP/1.1\r\n$Sec-Fetch-Site: cross-site\r\n" CLOSE "\r\n", "origin_not_allowed"},
        {415, "POST /echo HTTP/1.1\r\n$Content-Type: text/plain\r\n" CLOSE "Content-Length: 2\r\n\r\n{}",
         "{\"error\":{\"message\":\"Content-Type"},
        {415,
         "POST /echo HTTP/1.1\r\n$" JSON "Content-Encoding: gzip\r\n" CLOSE "Content-Length: 2\r\n\r\n{}",
         "Content-Encoding"},
        {400,
         "POST /echo HTTP/1.1\r\n$" JSON CLOSE
         "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         NULL},
        {400, "GET /echo HTTP/1.1\r\n$Host: evil.example\r\n" CLOSE "\r\n", "invalid_request_error"},
        {413, "POST /echo HTTP/1.1\r\n$" JSON CLOSE "Content-Length: 11\r\n\r\n01234567890",
         "request_too_large"},
        {413, "POST /echo HTTP/1.1\r\n$" JSON "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n",
         "HTTP/1.1 413"},
        {413,
         "POST /echo HTTP/1.1\r\n$" JSON CLOSE
         "Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n3\r\nabc\r\n0\r\n\r\n",
         "too large"},
        {200, "POST /echo HTTP/1.1\r\n$" JSON CLOSE "Content-Length: 10\r\n\r\n0123456789", "0123456789"},
    };
    keel_http_options options = keel_http_api;
    options.most_body = 10;
    start(&options);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(ask(rows[i].request, rows[i].part), rows[i].status);
    assert_true(keel_http_counted(s.server).refused >= 10);
    assert_int_equal((int)keel_http_counted(s.server).body_bytes, 0);
    stop();
}

static void a_body_is_asked_for_by_100_continue(void **state) {
    (void)state;
    start(&keel_http_api);
    const int client = dial();
    say(client, "POST /echo HTTP/1.1\r\n$" JSON CLOSE "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_memory_equal(hear_until(client, "\r\n\r\n"), "HTTP/1.1 100", 12);
    say(client, "abc");
    assert_non_null(strstr(hear_until(client, "abc"), "HTTP/1.1 200"));
    close(client);
    stop();
}

static void large_headers_and_nonsense_are_refused(void **state) {
    (void)state;
    enum { SIZE = 200000 };
    static char text[SIZE + 64];
    start(&keel_http_api);
    memcpy(text, "GET /echo HTTP/1.1\r\nX: ", 23);
    memset(text + 23, 'a', SIZE);
    const int large = ask(text, NULL);
    memcpy(text, "GET /", 5);
    memset(text + 5, 'a', SIZE);
    const int target = ask(text, NULL);
    assert_true(large == 431 || large == 413);
    assert_true(target == 414 || target == 431);
    memset(text, 0, sizeof text);
    strcpy(text, "GET /header HTTP/1.1\r\n$" CLOSE);
    for (int i = 0; i < 150; i++) sprintf(text + strlen(text), "X-%d: 1\r\n", i);
    strcat(text, "\r\n");
    assert_int_equal(ask(text, NULL), 431);
    static const char *const nonsense[] = {
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        "GET\r\n\r\n",
        "\r\n\r\n\r\n",
        "GET /echo HTTP/9.9\r\n$\r\n",
        "POST /echo HTTP/1.1\r\n$" JSON "Content-Length: -5\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\n$" JSON "Content-Length: 99999999999999999999999\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\n$" JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        const int client = dial();
        say(client, nonsense[i]);
        shutdown(client, SHUT_WR);
        assert_null(strstr(hear_until(client, NULL), "HTTP/1.1 200"));
        assert_true(is_closed_within(client, 1)); /* half a request whose client left is no connection */
        close(client);
    }
    assert_int_equal(ask("GET /header HTTP/1.1\r\n$" CLOSE "\r\n", "none"), 200); /* still there */
    stop();
}

static void a_token_is_asked_for(void **state) {
    (void)state;
    static const char *const open[] = {"/header", NULL};
    keel_http_options options = keel_http_api;
    options.token = "0123456789abcdef";
    options.open = open;
    start(&options);
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n$" JSON CLOSE "Content-Length: 2\r\n\r\n{}",
                         "WWW-Authenticate: Bearer\r\n"),
                     401);
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n$" JSON CLOSE
                         "Authorization: Bearer 0123456789abcdeF\r\nContent-Length: 2\r\n\r\n{}",
                         "\"code\":\"invalid_api_key\""),
                     401);
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n$" JSON CLOSE
                         "Authorization: Bearer 0123456789abcdef\r\nContent-Length: 2\r\n\r\n{}",
                         "{}"),
                     200);
    assert_int_equal(ask("GET /header HTTP/1.1\r\n$" CLOSE "\r\n", "none"), 200);
    stop();
}

static void bodies_are_bounded_together(void **state) {
    (void)state;
    enum { SIZE = 6000 };
    static char body[SIZE + 1];
    keel_http_options options = keel_http_api;
    options.most_bodies = 10000;
    start(&options);
    memset(body, 'x', SIZE);
    const int first = dial(), second = dial();
    static const char head[] = "POST /held HTTP/1.1\r\n$" JSON CLOSE "Content-Length: 6000\r\n\r\n";
    say(first, head);
    say(first, body);
    WAIT_FOR(count_held() == 1);
    say(second, head);
    say(second, body);
    const char *text = hear_until(second, NULL);
    assert_non_null(strstr(text, "HTTP/1.1 503"));
    assert_non_null(strstr(text, "Retry-After: 1\r\n"));
    answer_text(s.held[0], "ok", 2);
    hear_until(first, NULL);
    WAIT_FOR(keel_http_counted(s.server).body_bytes == 0);
    close(first);
    close(second);
    stop();
}

/* ---- slow clients ---- */

static void drip(int client, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        say_bytes(client, text + i % strlen(text), 1);
        rest(100);
    }
}

static void slow_clients_are_cut(void **state) {
    (void)state;
    keel_http_options options = keel_http_api;
    options.idle_seconds = options.request_seconds = 1;
    start(&options);
    const int silent = dial(), line = dial(), head = dial(), body = dial(), reader = dial(), kept = dial();
    say(head, "GET /echo HTTP/1.1\r\n$X: ");
    say(body, "POST /echo HTTP/1.1\r\n$" JSON "Content-Length: 1000\r\n\r\n");
    say(reader, "GET /big HTTP/1.1\r\n$\r\n"); /* and never reads */
    say(kept, "GET /header HTTP/1.1\r\n$\r\n");
    hear_until(kept, "\r\n\r\nnone");
    for (int i = 0; i < 12; i++) {
        drip(line, "G", 1);
        drip(head, "a", 1);
        drip(body, "a", 1);
    }
    WAIT_FOR(keel_http_counted(s.server).connections == 0);
    assert_int_equal((int)keel_http_counted(s.server).cut, 6);
    assert_non_null(strstr(hear_until(body, NULL), "HTTP/1.1 408"));
    assert_true(is_closed_within(silent, SLOW_MS) && is_closed_within(line, SLOW_MS));
    assert_true(is_closed_within(head, SLOW_MS) && is_closed_within(kept, SLOW_MS));
    const int clients[] = {silent, line, head, body, reader, kept};
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) close(clients[i]);
    stop();
}

/* However long an answer takes, whoever waits for it is not cut. */
static void who_waits_for_an_answer_is_not_cut(void **state) {
    (void)state;
    keel_http_options options = keel_http_api;
    options.idle_seconds = options.request_seconds = 1;
    start(&options);
    const int client = dial();
    say(client, "GET /held HTTP/1.1\r\n$\r\n");
    WAIT_FOR(count_held() == 1);
    rest(2500);
    assert_false(keel_http_gone(s.held[0]));
    answer_text(s.held[0], "late", 4);
    assert_non_null(strstr(hear_until(client, "late"), "HTTP/1.1 200"));
    close(client);
    stop();
}

static void a_client_that_hangs_up_is_noticed(void **state) {
    (void)state;
    start(&keel_http_api);
    const int client = dial();
    say(client, "GET /held HTTP/1.1\r\n$\r\n");
    WAIT_FOR(count_held() == 1);
    assert_false(keel_http_gone(s.held[0]));
    close(client);
    const double hung_up = keel_clock();
    while (!keel_http_gone(s.held[0]) && keel_clock() - hung_up < SLOW_MS / 1000.0) rest(1);
    assert_true(keel_clock() - hung_up < 0.1);
    answer_text(s.held[0], "nobody hears", 12);
    WAIT_FOR(keel_http_counted(s.server).connections == 0);
    stop();
}

/* ---- the end ---- */

static void what_is_open_is_answered_before_the_end(void **state) {
    (void)state;
    start(&keel_http_api);
    const int waits = dial(), kept = dial(), idle = dial();
    say(waits, "GET /held HTTP/1.1\r\n$\r\n");
    say(kept, "POST /echo HTTP/1.1\r\n$" JSON "Content-Length: 4\r\n\r\nab");
    WAIT_FOR(count_held() == 1);
    WAIT_FOR(keel_http_counted(s.server).requests == 2);
    s.stop = true;
    assert_true(is_closed_within(idle, SLOW_MS));
    say(kept, "cd");
    const char *text = hear_until(kept, NULL);
    assert_non_null(strstr(text, "HTTP/1.1 503"));
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_false(s.returned);
    answer_text(s.held[0], "late", 4);
    assert_non_null(strstr(hear_until(waits, NULL), "late"));
    WAIT_FOR(s.returned);
    close(waits);
    close(kept);
    close(idle);
    stop();
}

static void the_end_does_not_wait_for_ever(void **state) {
    (void)state;
    keel_http_options options = keel_http_api;
    options.drain_seconds = 1;
    start(&options);
    const int client = dial();
    say(client, "GET /held HTTP/1.1\r\n$\r\n");
    WAIT_FOR(count_held() == 1);
    s.stop = true;
    WAIT_FOR(s.returned);
    answer_text(s.held[0], "too late", 8); /* a stage that ends sends what it holds */
    stop();
    close(client);
}

/* Each allocation of a request's way fails in turn: it is refused or closed, and the next one is answered. */
static void without_memory_the_server_goes_on(void **state) {
    (void)state;
    static const char request[] = "POST /echo HTTP/1.1\r\n$" JSON CLOSE "Content-Length: 4\r\n\r\n{  }";
    size_t refused = 0;
    for (memory.fail_at = 1, memory.alone = true;; memory.fail_at++) {
        memory.calls = 0;
        start(&keel_http_api);
        const int first = ask(request, NULL);
        const bool failed = memory.calls >= memory.fail_at;
        const int second = failed ? ask(request, "{  }") : first;
        stop();
        if (!failed) break;
        refused += first != 200;
        assert_true(first == 200 || first == 503 || first == 431 || first == 0);
        assert_int_equal(second, 200);
    }
    assert_true(refused >= 4); /* connection, exchange, target, headers, body, answer */
    memory = (faults){0};
}

/* ---- many ---- */

static size_t allow_files(size_t wished) {
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    return files.rlim_max < wished ? (size_t)files.rlim_max : wished;
}

static void many_connections_are_held(void **state) {
    (void)state;
    const size_t files = allow_files(8600), n = (files - 600) / 2;
    int *clients = calloc(n, sizeof *clients);
    if (n < 4000) print_message("note: only %zu connections, by the limit of open files\n", n);
    start(&keel_http_api);
    for (size_t i = 0; i < n; i++) clients[i] = dial();
    WAIT_FOR(keel_http_counted(s.server).connections == n);
    for (size_t i = 0; i < n; i += 7) {
        say(clients[i], "GET /header HTTP/1.1\r\n$X-Keel-Segment: here\r\n\r\n");
        assert_non_null(strstr(hear_until(clients[i], "here"), "HTTP/1.1 200"));
    }
    for (size_t i = 0; i < n; i++) close(clients[i]);
    WAIT_FOR(keel_http_counted(s.server).connections == 0);
    free(clients);
    stop();
}

static void connections_of_an_address_are_limited(void **state) {
    (void)state;
    keel_http_options options = keel_http_api;
    options.most_per_address = 3;
    start(&options);
    int clients[4];
    for (size_t i = 0; i < 4; i++) clients[i] = dial();
    assert_true(is_closed_within(clients[3], SLOW_MS));
    say(clients[0], "GET /header HTTP/1.1\r\n$\r\n");
    assert_non_null(strstr(hear_until(clients[0], "none"), "HTTP/1.1 200"));
    for (size_t i = 0; i < 4; i++) close(clients[i]);
    stop();
}

static void only_loopback_is_open_without_a_token(void **state) {
    (void)state;
    keel_http_address address;
    keel_http_options options = keel_http_api;
    keel_http_server *server;
    keel_err err;
    assert_int_equal(keel_http_address_parse("0.0.0.0:0", &address, &err), KEEL_OK);
    assert_int_equal(keel_http_open(&server, &address, &options, handle, &s, &err), KEEL_E_USAGE);
    assert_null(server);
    options.exposed = true;
    assert_int_equal(keel_http_open(&server, &address, &options, handle, &s, &err), KEEL_OK);
    keel_http_close(server);
    options.exposed = false;
    options.token = "0123456789abcdef";
    assert_int_equal(keel_http_open(&server, &address, &options, handle, &s, &err), KEEL_OK);
    keel_http_close(server);
}

/* Two servers on one port would share its requests. */
static void a_port_is_of_one_server(void **state) {
    (void)state;
    keel_http_address address;
    keel_http_server *server;
    keel_err err;
    char text[64];
    start(&keel_http_api);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(keel_http_address_parse(text, &address, &err), KEEL_OK);
    assert_int_equal(keel_http_open(&server, &address, &keel_http_api, handle, &s, &err), KEEL_E_IO);
    assert_null(server);
    assert_non_null(strstr(err.message, "cannot listen"));
    assert_int_equal(ask("GET /header HTTP/1.1\r\n$" CLOSE "\r\n", "none"), 200);
    stop();
    /* and free at once when it ends, though its last connection is not forgotten yet */
    assert_int_equal(keel_http_open(&server, &address, &keel_http_api, handle, &s, &err), KEEL_OK);
    keel_http_close(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_at_once),
        cmocka_unit_test(a_request_may_wait_while_others_are_answered),
        cmocka_unit_test(an_answer_from_elsewhere_goes_out_at_once),
        cmocka_unit_test(many_are_answered_by_threads_in_any_order),
        cmocka_unit_test(what_is_wrong_is_refused_in_the_shape_of_the_api),
        cmocka_unit_test(a_body_is_asked_for_by_100_continue),
        cmocka_unit_test(large_headers_and_nonsense_are_refused),
        cmocka_unit_test(a_token_is_asked_for),
        cmocka_unit_test(bodies_are_bounded_together),
        cmocka_unit_test(slow_clients_are_cut),
        cmocka_unit_test(who_waits_for_an_answer_is_not_cut),
        cmocka_unit_test(a_client_that_hangs_up_is_noticed),
        cmocka_unit_test(what_is_open_is_answered_before_the_end),
        cmocka_unit_test(the_end_does_not_wait_for_ever),
        cmocka_unit_test(without_memory_the_server_goes_on),
        cmocka_unit_test(many_connections_are_held),
        cmocka_unit_test(connections_of_an_address_are_limited),
        cmocka_unit_test(only_loopback_is_open_without_a_token),
        cmocka_unit_test(a_port_is_of_one_server),
    };
    keel_err err;
    keel_http_address address;
    keel_http_server *server;
    if (keel_http_address_parse("127.0.0.1:0", &address, &err) != KEEL_OK) return 1;
    if (keel_http_open(&server, &address, &keel_http_api, handle, &s, &err) == KEEL_E_UNSUPPORTED) {
        printf("SKIPPED: built without libmicrohttpd\n");
        return 77;
    }
    keel_http_close(server);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
