/* The server over real sockets: answers at once and later, and what is refused. */
#include "experiments/http_fixture.h"

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

/* Nothing that stands behind a request whose end is not sure is answered as one of its own. */
static void nothing_is_smuggled_behind_a_request(void **state) {
    (void)state;
    static const char *const heads[] = {"Content-Length : 40\r\n",
                                        "Content-Length\t: 40\r\n",
                                        ": x\r\n",
                                        "",
                                        "Content-Length: 0\r\nContent-Length: 40\r\n",
                                        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                                        "Transfer-Encoding: xchunked\r\n",
                                        "Transfer-Encoding: chunked\r\nTransfer-Encoding : x\r\n",
                                        "X: a\rContent-Length: 40\r\nContent-Length: 0\r\n"};
    start(&keel_http_api);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char text[512];
        snprintf(text, sizeof text, "POST /echo HTTP/1.1\r\n$" JSON "%s\r\nGET /header HTTP/1.1\r\n$\r\n",
                 heads[i]);
        const int client = dial();
        say(client, text);
        const char *said = hear_until(client, NULL);
        assert_memory_equal(said, "HTTP/1.1 ", 9);
        assert_true(strtol(said + 9, NULL, 10) >= 400);
        assert_null(strstr(said, "HTTP/1.1 200"));
        assert_true(is_closed_within(client, 1));
        close(client);
    }
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_at_once),
        cmocka_unit_test(a_request_may_wait_while_others_are_answered),
        cmocka_unit_test(an_answer_from_elsewhere_goes_out_at_once),
        cmocka_unit_test(many_are_answered_by_threads_in_any_order),
        cmocka_unit_test(what_is_wrong_is_refused_in_the_shape_of_the_api),
        cmocka_unit_test(a_body_is_asked_for_by_100_continue),
        cmocka_unit_test(nothing_is_smuggled_behind_a_request),
        cmocka_unit_test(large_headers_and_nonsense_are_refused),
        cmocka_unit_test(a_token_is_asked_for),
        cmocka_unit_test(bodies_are_bounded_together),
    };
    if (!has_server()) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
