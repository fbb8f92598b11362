/* The server and its connections: slow and rude clients, the end, no memory, many at once. */
#include "experiments/http_fixture.h"

#include <sys/resource.h>

/* ---- slow clients ---- */

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
    const int drips[] = {line, head, body};
    for (int i = 0; i < SLOW_MS / 100 && keel_http_counted(s.server).connections > 0; i++) {
        say_bytes(drips[i % 3], "G", 1);
        rest(100);
    }
    assert_int_equal((int)keel_http_counted(s.server).connections, 0);
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
    for (int i = 0; i < 2; i++) { /* meanwhile those who say nothing are, one after the other */
        const int silent = dial();
        assert_true(is_closed_within(silent, SLOW_MS));
        close(silent);
    }
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
    WAIT_FOR(keel_http_gone(s.held[0]));
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
    if (!has_server()) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
