/* The HTTP client against a server that does what servers do, and what they should not. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "experiments/http_client.h"
#include "support/fake_server.h"
#include "support/faults.h"
#include "support/with_curl.h"

static fake_server server;
static keel_http_client *client;
static char seen[4096]; /* the last request; each connection is answered by a thread of its own */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool hung_up;

static bool is(const char *request, const char *path) {
    const char *at = strchr(request, ' ');
    return at && strncmp(at + 1, path, strlen(path)) == 0 && at[1 + strlen(path)] == ' ';
}

static bool answer(int peer, const char *request) {
    pthread_mutex_lock(&seen_lock);
    snprintf(seen, sizeof seen, "%s", request);
    pthread_mutex_unlock(&seen_lock);
    if (is(request, "/ok") || strstr(request, ".example.invalid/ok "))
        return fake_say_body(peer, "200 OK", "application/json", "{\"a\":1}"), true;
    if (is(request, "/moved"))
        return fake_say(peer, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n"), true;
    if (is(request, "/refused")) return fake_say_body(peer, "401 Unauthorized", "text/plain", "no"), true;
    if (is(request, "/failed")) return fake_say_body(peer, "503 Busy", "text/html", "<html>"), true;
    if (is(request, "/cut"))
        return fake_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), false;
    if (is(request, "/nothing")) return false;
    if (is(request, "/old")) return fake_say(peer, "hello, this is no HTTP\n"), false;
    if (is(request, "/chunks"))
        return fake_say(
                   peer,
                   "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; x=y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
                   "0\r\n\r\n"),
               true;
    if (is(request, "/slow")) hung_up = fake_hung_up(peer, 60000);
    if (is(request, "/trickle")) {
        fake_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        hung_up = fake_hung_up(peer, 60000);
    }
    return false;
}

static char url[128];
static keel_http_fetch to(const char *path) {
    snprintf(url, sizeof url, "%s%s", server.url, path);
    return (keel_http_fetch){
        .url = url, .body = "{}", .length = 2, .deadline = keel_clock() + 20, .most = 1000};
}

static keel_http_got got;
static keel_arena arena;
static keel_http_trouble ask(keel_http_fetch fetch) {
    keel_err err = {0};
    keel_arena_reset(&arena);
    if (keel_http_client_ask(client, &fetch, &arena, &got, &err) != KEEL_OK) fail_msg("%s", err.message);
    return got.trouble;
}

static void an_answer_comes_whole(void **state) {
    (void)state;
    static const char *const headers[] = {"X-Keel-Details: 1", NULL};
    keel_http_fetch fetch = to("/ok");
    fetch.token = "sk-secret";
    fetch.headers = headers;
    assert_int_equal(ask(fetch), KEEL_HTTP_NONE);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body->data, "{\"a\":1}");
    assert_string_equal(got.type, "application/json");
    assert_string_equal(got.words, "");
    assert_non_null(strstr(seen, "POST /ok HTTP/1.1\r\n"));
    assert_non_null(strstr(seen, "\r\nAuthorization: Bearer sk-secret\r\n"));
    assert_non_null(strstr(seen, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(seen, "\r\nX-Keel-Details: 1\r\n"));
    assert_null(strstr(seen, "Expect"));
    assert_non_null(strstr(seen, "\r\n\r\n{}"));
    assert_int_equal(ask(to("/chunks")), KEEL_HTTP_NONE);
    assert_string_equal(got.body->data, "abcde");
    fetch = to("/ok");
    fetch.body = NULL;
    assert_int_equal(ask(fetch), KEEL_HTTP_NONE);
    assert_non_null(strstr(seen, "GET /ok HTTP/1.1\r\n"));
    assert_null(strstr(seen, "Authorization"));
}

static void connections_are_used_again(void **state) {
    (void)state;
    ask(to("/ok"));
    const size_t requests = server.requests;
    for (int i = 0; i < 10; i++) assert_int_equal(ask(to("/ok")), KEEL_HTTP_NONE);
    assert_int_equal(server.requests - requests, 10);
    assert_int_equal(server.connections, 1);
}

static void troubles_have_names(void **state) {
    (void)state;
    static const struct {
        const char *path, *words;
        keel_http_trouble trouble;
        int status;
    } rows[] = {
        {"/moved", "redirects are not followed", KEEL_HTTP_REDIRECT, 302},
        {"/refused", "it answers 401", KEEL_HTTP_REFUSED, 401},
        {"/failed", "it answers 503", KEEL_HTTP_FAILED, 503},
        {"/cut", "", KEEL_HTTP_CUT, 200},
        {"/nothing", "", KEEL_HTTP_CUT, 0},
        {"/old", "", KEEL_HTTP_NONSENSE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(keel_http_trouble_name(ask(to(rows[i].path))),
                            keel_http_trouble_name(rows[i].trouble));
        assert_int_equal(got.status, rows[i].status);
        assert_true(got.words[0] != '\0');
        assert_non_null(strstr(got.words, rows[i].words));
    }
    assert_int_equal(ask(to("/refused")), KEEL_HTTP_REFUSED);
    assert_string_equal(got.body->data, "no"); /* what it complains of is there to read */
}

static void an_answer_has_a_size(void **state) {
    (void)state;
    keel_http_fetch fetch = to("/ok");
    fetch.most = 7;
    assert_int_equal(ask(fetch), KEEL_HTTP_NONE);
    fetch.most = 6;
    assert_int_equal(ask(fetch), KEEL_HTTP_LARGE);
    assert_non_null(strstr(got.words, "6 bytes"));
}

static void nothing_is_waited_for_beyond_the_deadline(void **state) {
    (void)state;
    static const char *const paths[] = {"/slow", "/trickle"};
    for (size_t i = 0; i < 2; i++) {
        keel_http_fetch fetch = to(paths[i]);
        const double began = keel_clock();
        fetch.deadline = began + 1;
        assert_int_equal(ask(fetch), KEEL_HTTP_SLOW);
        assert_true(keel_clock() - began < 30 && got.seconds < 30);
        assert_string_equal(got.body->data, i == 0 ? "" : "half");
        fetch.deadline = keel_clock() - 1;
        assert_int_equal(ask(fetch), KEEL_HTTP_SLOW);
    }
}

static void a_port_where_nobody_listens_is_dead(void **state) {
    (void)state;
    fake_server gone;
    fake_start(&gone, answer);
    keel_http_fetch fetch = to("/ok");
    snprintf(url, sizeof url, "%s/ok", gone.url);
    fake_stop(&gone);
    assert_int_equal(ask(fetch), KEEL_HTTP_DEAD);
    assert_int_equal(got.status, 0);
}

/* ---- without waiting ---- */

typedef struct one {
    atomic_int done;
    keel_http_trouble trouble;
    size_t took, pieces, kept;
    bool streamed;
    atomic_bool gone, stop;
} one;

static bool one_gone(void *context) {
    return ((one *)context)->gone;
}
static bool one_took(void *context, const char *bytes, size_t length) {
    one *o = context;
    (void)bytes;
    o->took += length;
    o->pieces++;
    return !o->stop;
}
static void one_done(void *context, const keel_http_got *what) {
    one *o = context;
    o->trouble = what->trouble;
    o->streamed = what->streamed;
    o->kept = what->body->length;
    o->done++;
}
static void wait_for(one *o) {
    for (int i = 0; i < 60000 && !o->done; i++) fake_sleep(1);
    assert_int_equal(o->done, 1);
}

static void who_is_gone_is_cancelled_and_the_server_sees_it(void **state) {
    (void)state;
    one o = {.gone = false};
    keel_http_fetch fetch = to("/slow");
    fetch.gone = one_gone, fetch.done = one_done, fetch.context = &o;
    hung_up = false;
    const size_t before = server.requests;
    assert_int_equal(keel_http_client_start(client, &fetch, NULL), KEEL_OK);
    while (server.requests == before) fake_sleep(1);
    assert_int_equal(o.done, 0);
    o.gone = true;
    wait_for(&o);
    assert_int_equal(o.trouble, KEEL_HTTP_CANCELLED);
    for (int i = 0; i < 60000 && !hung_up; i++) fake_sleep(1);
    assert_true(hung_up);
}

static void pieces_are_taken_as_they_come(void **state) {
    (void)state;
    one o = {.gone = false}, stopped = {.stop = true};
    keel_http_fetch fetch = to("/chunks");
    fetch.took = one_took, fetch.done = one_done, fetch.context = &o;
    assert_int_equal(keel_http_client_start(client, &fetch, NULL), KEEL_OK);
    wait_for(&o);
    assert_int_equal(o.trouble, KEEL_HTTP_NONE);
    assert_int_equal(o.took, 5);
    fetch.context = &stopped;
    assert_int_equal(keel_http_client_start(client, &fetch, NULL), KEEL_OK);
    wait_for(&stopped);
    assert_int_equal(stopped.trouble, KEEL_HTTP_NONSENSE);
    assert_true(o.streamed && o.kept == 0);
    one plain = {.gone = false}; /* an answer that is no stream is kept whole */
    fetch = to("/ok");
    fetch.took = one_took, fetch.done = one_done, fetch.context = &plain;
    assert_int_equal(keel_http_client_start(client, &fetch, NULL), KEEL_OK);
    wait_for(&plain);
    assert_true(!plain.streamed && plain.took == 0 && plain.kept == 7);
}

static void closing_ends_what_runs(void **state) {
    (void)state;
    keel_http_client *mine;
    one many[20] = {0};
    keel_http_fetch fetch = to("/slow");
    assert_int_equal(keel_http_client_open(&mine, NULL), KEEL_OK);
    for (size_t i = 0; i < 20; i++) {
        fetch.done = one_done, fetch.context = &many[i];
        assert_int_equal(keel_http_client_start(mine, &fetch, NULL), KEEL_OK);
    }
    keel_http_client_close(mine);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(many[i].done, 1);
        assert_int_equal(many[i].trouble, KEEL_HTTP_CANCELLED);
    }
    keel_http_client_close(NULL);
}

static void addresses_are_checked(void **state) {
    (void)state;
    static const char *const right[] = {"http://127.0.0.1:8000/v1", "https://example.org",
                                        "HTTP://[::1]:1/a%20b/c", "http://h/@"};
    static const char *const wrong[] = {"",
                                        "ftp://h/",
                                        "file:///etc/passwd",
                                        "http://",
                                        "http:///v1",
                                        "http://:80/",
                                        "http://user:secret@h/",
                                        "http://h/?key=secret",
                                        "http://h/#x",
                                        "h:80",
                                        "http://h/a b",
                                        "http://h\r\nX: y/",
                                        "http://h/\xc3\xa4",
                                        "gopher://h/",
                                        "http://h\\@i/"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(keel_http_client_url(right[i], "--server", NULL), KEEL_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        keel_err err = {0};
        keel_http_fetch fetch = {.url = wrong[i], .deadline = keel_clock() + 1};
        assert_int_equal(keel_http_client_url(wrong[i], "--server", &err), KEEL_E_USAGE);
        assert_string_equal(err.where, "--server");
        assert_null(strstr(err.message, "secret"));
        assert_int_equal(keel_http_client_start(client, &fetch, NULL), KEEL_E_USAGE);
    }
}

static void a_key_adds_no_header(void **state) {
    (void)state;
    static const char *const headers[] = {"X: y\r\nZ: z", NULL};
    keel_http_fetch fetch = to("/ok");
    fetch.token = "sk\r\nX-Other: 1";
    keel_err err = {0};
    assert_int_equal(keel_http_client_start(client, &fetch, &err), KEEL_E_INVALID);
    assert_null(strstr(err.message, "sk"));
    fetch = to("/ok");
    fetch.headers = headers;
    assert_int_equal(keel_http_client_start(client, &fetch, &err), KEEL_E_INVALID);
}

/* The proxy of this environment is the server itself, which answers for any host. */
static void this_machine_alone_is_asked_past_the_proxy(void **state) {
    (void)state;
    setenv("http_proxy", server.url, 1);
    unsetenv("no_proxy"), unsetenv("NO_PROXY");
    keel_http_fetch fetch = to("/ok");
    assert_int_equal(ask(fetch), KEEL_HTTP_NONE);
    assert_non_null(strstr(seen, "POST /ok "));
    static const char *const elsewhere[] = {"http://localhost.example.invalid/ok",
                                            "http://127.example.invalid/ok"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        fetch.url = elsewhere[i];
        assert_int_equal(ask(fetch), KEEL_HTTP_NONE);
        assert_non_null(strstr(seen, elsewhere[i]));
    }
    unsetenv("http_proxy");
}

static int set_up(void **state) {
    (void)state;
    fake_start(&server, answer);
    return keel_http_client_open(&client, NULL) != KEEL_OK;
}

static int tear_down(void **state) {
    (void)state;
    keel_http_client_close(client);
    keel_arena_free(&arena);
    fake_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_whole),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(troubles_have_names),
        cmocka_unit_test(an_answer_has_a_size),
        cmocka_unit_test(nothing_is_waited_for_beyond_the_deadline),
        cmocka_unit_test(a_port_where_nobody_listens_is_dead),
        cmocka_unit_test(who_is_gone_is_cancelled_and_the_server_sees_it),
        cmocka_unit_test(pieces_are_taken_as_they_come),
        cmocka_unit_test(closing_ends_what_runs),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(a_key_adds_no_header),
        cmocka_unit_test(this_machine_alone_is_asked_past_the_proxy),
    };
    if (without_curl()) return 77;
    return cmocka_run_group_tests_name("http client", tests, set_up, tear_down);
}
