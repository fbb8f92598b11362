/* Upstreams: what --upstream says, and one request asked of servers of every kind at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/json.h"
#include "experiments/serve/upstream.h"
#include "support/fake_server.h"
#include "support/faults.h"
#include "support/with_curl.h"

#define BODY "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"seed\": 7, \"temperature\": 0.5"
#define CHOICE(i, text)                                                                                      \
    "{\"index\":" i ",\"message\":{\"role\":\"assistant\",\"content\":\"" text                               \
    "\"},\"finish_reason\":\"stop\"}"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNK(i, delta, finish)                                                                              \
    "data: {\"choices\":[{\"index\":" i ",\"delta\":{" delta "},\"finish_reason\":" finish "}]}\n\n"

static fake_server server;
static atomic_bool hung_up;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char seen[16][2048]; /* bodies of requests since the last ask */
static size_t n_seen;
static char last[4096]; /* the last request */

static void keep(const char *request) {
    pthread_mutex_lock(&lock);
    snprintf(last, sizeof last, "%s", request);
    if (n_seen < 16) snprintf(seen[n_seen++], sizeof seen[0], "%s", strstr(request, "\r\n\r\n") + 4);
    pthread_mutex_unlock(&lock);
}

static void say_chunked(int peer, const char *text) {
    char size[32];
    snprintf(size, sizeof size, "%zx\r\n", strlen(text));
    fake_say(peer, size);
    fake_say(peer, text);
    fake_say(peer, "\r\n");
}

static bool answer_stream(int peer, bool whole, bool hang) {
    fake_say(peer, HEAD);
    say_chunked(peer, ": hello\n\n" CHUNK("0", "\"role\":\"assistant\",\"content\":\"Hel\"", "null"));
    say_chunked(peer,
                CHUNK("1", "\"content\":\"Other\"", "null") CHUNK("0", "\"content\":\"lo\"", "\"length\""));
    if (!whole) return false;
    say_chunked(
        peer,
        CHUNK(
            "1", "\"content\":\"wise\"",
            "\"stop\"") "data: {\"choices\":[],\"model\":\"m\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n");
    if (hang) hung_up = fake_hung_up(peer, 60000);
    if (!hang) fake_say(peer, "0\r\n\r\n");
    return !hang;
}

static bool answer(int peer, const char *request) {
    const char *body = strstr(request, "\r\n\r\n") + 4;
    keep(request);
#define AT(name) (strncmp(request, "POST /" name "/chat/completions ", sizeof name + 23) == 0)
#define SAY(...) return fake_say_body(peer, "200 OK", "application/json", "{" __VA_ARGS__ "}"), true
    if (AT("one") || (AT("picky") && !strstr(body, "\"n\":")))
        SAY("\"model\":\"real\",\"choices\":[" CHOICE(
            "0", "Hello") "],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}");
    if (AT("two")) SAY("\"choices\":[" CHOICE("0", "A") "," CHOICE("1", "B") "]");
    if (AT("picky"))
        return fake_say_body(peer, "400 Bad", "application/json", "{\"detail\":\"only one choice\"}"), true;
    if (AT("tools"))
        SAY("\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
            "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]");
    if (AT("html")) return fake_say_body(peer, "200 OK", "text/html", "<html>login</html>"), true;
    if (AT("leaky"))
        return fake_say_body(peer, "429 Busy", "application/json",
                             "{\"error\":{\"message\":\"bad key sk-secret-1\"}}"),
               true;
    if (AT("stream")) return answer_stream(peer, true, false);
    if (AT("cut")) return answer_stream(peer, false, false);
    if (AT("hang")) return answer_stream(peer, true, true);
    if (AT("slow")) {
        hung_up = fake_hung_up(peer, 60000);
        return false;
    }
    return fake_say_body(peer, "404 Not Found", "application/json", "{\"error\":\"no such page\"}"), true;
}

/* ---- asking ---- */

typedef struct told {
    atomic_int done;
    atomic_bool gone;
    keel_upstream_reply replies[32];
    size_t n;
    char troubles[1024];
} told;

static void done(void *context, keel_upstream_reply *replies, size_t n, const char *troubles) {
    told *t = context;
    assert_true(n <= 32);
    if (n > 0) memcpy(t->replies, replies, n * sizeof *replies);
    t->n = n;
    snprintf(t->troubles, sizeof t->troubles, "%s", troubles);
    t->done++;
}

static bool gone(void *context) {
    return ((told *)context)->gone;
}

static void wait_for(told *t) {
    for (int i = 0; i < 60000 && !t->done; i++) fake_sleep(1);
    assert_int_equal(t->done, 1);
}

static keel_arena arena, specs_arena;
static keel_monitor *monitor;

static keel_upstreams *open_at(const char *options, ...) {
    keel_upstream_spec specs[8];
    keel_upstreams *out = NULL;
    size_t n = 0;
    va_list rest;
    va_start(rest, options);
    for (const char *o = options; o; o = va_arg(rest, const char *)) {
        char text[256];
        snprintf(text, sizeof text, "%s/%s", server.url, o);
        assert_int_equal(keel_upstream_parse(text, &specs_arena, &specs[n++], NULL), KEEL_OK);
    }
    va_end(rest);
    keel_err err;
    if (keel_upstreams_open(&out, specs, n, monitor, &err) != KEEL_OK) fail_msg("%s", err.message);
    return out;
}

static told asked;
static void ask(keel_upstreams *upstreams, const char *body, double seconds) {
    const keel_upstream_ask a = {.body = body,
                                 .deadline = keel_clock() + seconds,
                                 .gone = gone,
                                 .done = done,
                                 .context = &asked,
                                 .arena = &arena};
    keel_err err;
    keel_arena_reset(&arena);
    asked = (told){.n = 0};
    n_seen = 0;
    if (keel_upstreams_ask(upstreams, &a, &err) != KEEL_OK) fail_msg("%s", err.message);
    wait_for(&asked);
}

static void a_body_goes_on_without_what_is_not_of_a_chat(void **state) {
    (void)state;
    keel_upstreams *all = open_at("one,model=gpt,key=KEEL_TEST_KEY", NULL);
    ask(all,
        BODY
        ", \"model\": \"keel\", \"n\": 9, \"stream\": true, \"stream_options\": {}, \"keel\": {}, \"api_base\": \"http://evil/\","
        "\"base_url\": \"http://evil/\", \"api_key\": \"x\", \"user\": \"ann\", \"metadata\": {}, \"max_tokens\": 9, \"stop\": [\"x\"]}",
        20);
    assert_string_equal(
        seen[0], "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"stop\":[\"x\"],\"max_tokens\":9,"
                 "\"model\":\"gpt\",\"temperature\":0.5,\"seed\":7,\"stream\":false}");
    assert_non_null(strstr(last, "\r\nAuthorization: Bearer sk-secret-1\r\n"));
    assert_int_equal(asked.n, 1);
    assert_string_equal(asked.replies[0].text, "Hello");
    assert_string_equal(asked.replies[0].model, "real");
    assert_string_equal(asked.replies[0].upstream, "gpt");
    assert_string_equal(asked.replies[0].finish, "stop");
    assert_int_equal(asked.replies[0].prompt_tokens, 5);
    assert_int_equal(asked.replies[0].completion_tokens, 2);
    assert_true(asked.replies[0].latency_ms > 0);
    assert_string_equal(asked.troubles, "");
    keel_upstreams_close(all);
}

static void who_knows_no_n_is_asked_again_once(void **state) {
    (void)state;
    static const char *const kinds[] = {"one", "picky"};
    for (size_t k = 0; k < 2; k++) {
        char options[64];
        snprintf(options, sizeof options, "%s,n=3,temperature=1", kinds[k]);
        keel_upstreams *all = open_at(options, NULL);
        ask(all, BODY "}", 20);
        assert_int_equal(asked.n, 3);
        assert_string_equal(asked.troubles, "");
        assert_int_equal(n_seen, k == 0 ? 3 : 4);
        assert_non_null(strstr(seen[0], "\"n\":3"));
        bool seeds[3] = {false};
        for (size_t i = 0; i < n_seen; i++) {
            assert_non_null(strstr(seen[i], "\"temperature\":1,"));
            if (!strstr(seen[i], "\"n\":")) seeds[atoi(strstr(seen[i], "\"seed\":") + 7) - 7] = true;
        }
        assert_true(seeds[1] && seeds[2] &&
                    seeds[0] == (k == 1)); /* the same seed would write the same text */
        ask(all, BODY "}", 20);
        assert_int_equal(asked.n, 3);
        assert_int_equal(n_seen, 3);
        for (size_t i = 0; i < 3; i++) assert_null(strstr(seen[i], "\"n\":"));
        keel_upstreams_close(all);
    }
}

static void all_are_asked_and_troubles_are_named(void **state) {
    (void)state;
    keel_upstreams *all = open_at("html,name=A", "two,n=2,name=B", "none,name=C", "tools,name=D",
                                  "leaky,name=E,key=KEEL_TEST_KEY", NULL);
    keel_monitor *before = monitor;
    ask(all, BODY "}", 20);
    assert_int_equal(asked.n, 3);
    assert_string_equal(asked.replies[0].text, "A");
    assert_string_equal(asked.replies[1].text, "B");
    assert_string_equal(asked.replies[1].model, "B");
    assert_null(asked.replies[1].message);
    assert_string_equal(asked.replies[2].upstream, "D");
    assert_string_equal(asked.replies[2].text, "");
    assert_string_equal(asked.replies[2].message,
                        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\","
                        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}");
    assert_string_equal(asked.replies[2].finish, "tool_calls");
    assert_non_null(strstr(asked.troubles, "A: nonsense: it is no JSON"));
    assert_non_null(
        strstr(asked.troubles, "; C: refused: it answers 404: no such page; E: refused: it answers 429"));
    assert_null(strstr(asked.troubles, "sk-"));
    assert_true(keel_monitor_value(before, KEEL_MONITOR_UPSTREAM_REQUESTS, "A") == 1);
    assert_true(keel_monitor_value(before, KEEL_MONITOR_UPSTREAM_ERRORS, "A") == 1);
    assert_true(keel_monitor_value(before, KEEL_MONITOR_UPSTREAM_ERRORS, "B") == 0);
    assert_true(keel_monitor_value(before, KEEL_MONITOR_UPSTREAM_TROUBLES, "nonsense") == 1);
    assert_true(keel_monitor_value(before, KEEL_MONITOR_UPSTREAM_TROUBLES, "refused") >= 2);
    keel_upstreams_close(all);
}

static void streams_are_put_together(void **state) {
    (void)state;
    static const char *const kinds[] = {"stream", "hang", "cut"};
    for (size_t k = 0; k < 3; k++) {
        char options[64];
        snprintf(options, sizeof options, "%s,stream=yes,n=2,name=S", kinds[k]);
        keel_upstreams *all = open_at(options, NULL);
        const double began = keel_clock();
        hung_up = false;
        ask(all, BODY "}", 60);
        assert_non_null(
            strstr(seen[0], "\"n\":2,\"stream\":true,\"stream_options\":{\"include_usage\":true}}"));
        assert_int_equal(asked.n, k < 2 ? 2 : 1);
        assert_string_equal(asked.replies[0].text, "Hello");
        assert_string_equal(asked.replies[0].finish, "length");
        if (k == 2) assert_non_null(strstr(asked.troubles, "S: cut: "));
        keel_upstreams_close(all);
        if (k == 2) continue;
        assert_string_equal(asked.replies[1].text, "Otherwise");
        assert_string_equal(asked.replies[1].model, "m");
        assert_int_equal(asked.replies[0].completion_tokens, 4);
        assert_string_equal(asked.troubles, "");
        assert_true(keel_clock() - began < 30); /* it is not waited for that a server hangs up */
    }
}

static void who_streams_nothing_is_read_whole(void **state) {
    (void)state;
    keel_upstreams *all = open_at("two,stream=yes,n=2,name=A", "html,stream=yes,name=B", NULL);
    ask(all, BODY "}", 20);
    assert_int_equal(asked.n, 2);
    assert_string_equal(asked.replies[1].text, "B");
    assert_non_null(strstr(asked.troubles, "B: nonsense: it is no JSON"));
    keel_upstreams_close(all);
}

static void the_deadline_hands_over_what_is_there(void **state) {
    (void)state;
    keel_upstreams *all = open_at("slow,name=A", "one,name=B", "slow,name=C,timeout=1s", NULL);
    const double began = keel_clock();
    ask(all, BODY "}", 3);
    const double took = keel_clock() - began;
    assert_true(took >= 2.99 && took < 30);
    assert_int_equal(asked.n, 1);
    assert_string_equal(asked.replies[0].upstream, "B");
    assert_non_null(strstr(asked.troubles, "A: slow: "));
    assert_non_null(strstr(asked.troubles, "C: slow: no answer within 1 s"));
    keel_upstreams_close(all);
}

static void the_client_that_is_gone_frees_the_upstream(void **state) {
    (void)state;
    keel_upstreams *all = open_at("slow,name=A", NULL);
    const keel_upstream_ask a = {.body = BODY "}",
                                 .deadline = keel_clock() + 60,
                                 .gone = gone,
                                 .done = done,
                                 .context = &asked,
                                 .arena = &arena};
    asked = (told){.n = 0};
    hung_up = false;
    const size_t before = server.requests;
    assert_int_equal(keel_upstreams_ask(all, &a, NULL), KEEL_OK);
    while (server.requests == before) fake_sleep(1);
    asked.gone = true;
    wait_for(&asked);
    assert_string_equal(asked.troubles, "A: cancelled: nobody waits for it any more");
    for (int i = 0; i < 60000 && !hung_up; i++) fake_sleep(1);
    assert_true(hung_up);
    keel_upstreams_close(all);
}

static void closing_tells_all_that_wait(void **state) {
    (void)state;
    keel_upstreams *all = open_at("slow,name=A", "slow,name=B,n=4", NULL);
    told many[8] = {0};
    keel_arena arenas[8] = {0};
    for (size_t i = 0; i < 8; i++) {
        const keel_upstream_ask a = {.body = BODY "}",
                                     .deadline = keel_clock() + 60,
                                     .done = done,
                                     .context = &many[i],
                                     .arena = &arenas[i]};
        assert_int_equal(keel_upstreams_ask(all, &a, NULL), KEEL_OK);
    }
    keel_upstreams_close(all);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(many[i].done, 1);
        assert_int_equal(many[i].n, 0);
        keel_arena_free(&arenas[i]);
    }
}

static void a_body_that_is_none_asks_nobody(void **state) {
    (void)state;
    keel_upstreams *all = open_at("one", NULL);
    static const char *const bodies[] = {"", "[]", "{", "null", "{\"a\":1,\"a\":2}"};
    const size_t before = server.requests;
    for (size_t i = 0; i < 5; i++) {
        const keel_upstream_ask a = {.body = bodies[i],
                                     .deadline = keel_clock() + 60,
                                     .done = done,
                                     .context = &asked,
                                     .arena = &arena};
        asked = (told){.n = 0};
        assert_int_equal(keel_upstreams_ask(all, &a, NULL), KEEL_E_PARSE);
        assert_int_equal(asked.done, 0);
    }
    assert_int_equal(server.requests, before);
    keel_upstreams_close(all);
}

/* Every allocation fails in turn, in the thread that asks and in the client's: an error or a trouble, told
 * once, and nothing is left. */
static void memory_runs_out(void **state) {
    (void)state;
    size_t whole = 0, fails = 0;
    for (size_t at = 1; whole < 2; at++) {
        keel_upstream_spec specs[2];
        keel_upstreams *all = NULL;
        keel_arena mine = {0}, spec_arena = {0};
        char text[2][128];
        faults memory;
        asked = (told){.n = 0};
        snprintf(text[0], sizeof text[0], "%s/one,n=2,name=A", server.url);
        snprintf(text[1], sizeof text[1], "%s/stream,n=2,name=B,stream=yes", server.url);
        faults_begin(&memory, at);
        keel_status status = KEEL_OK;
        for (size_t i = 0; status == KEEL_OK && i < 2; i++)
            status = keel_upstream_parse(text[i], &spec_arena, &specs[i], NULL);
        if (status == KEEL_OK) status = keel_upstreams_open(&all, specs, 2, NULL, NULL);
        const keel_upstream_ask a = {
            .body = BODY "}", .deadline = keel_clock() + 20, .done = done, .context = &asked, .arena = &mine};
        if (status == KEEL_OK) status = keel_upstreams_ask(all, &a, NULL);
        if (status == KEEL_OK) wait_for(&asked);
        keel_upstreams_close(all);
        keel_arena_free(&mine);
        keel_arena_free(&spec_arena);
        faults_end();
        assert_int_equal(memory.live, 0);
        assert_int_equal(asked.done, status == KEEL_OK);
        fails += status != KEEL_OK;
        whole += status == KEEL_OK && asked.n == 4 && asked.troubles[0] == '\0';
        assert_true(at < 2000);
    }
    assert_true(fails > 5);
}

/* ---- what --upstream says ---- */

static void a_spec_is_read(void **state) {
    (void)state;
    keel_upstream_spec s;
    assert_int_equal(keel_upstream_parse("http://h:8000", &arena, &s, NULL), KEEL_OK);
    assert_string_equal(s.url, "http://h:8000/v1/chat/completions");
    assert_string_equal(s.name, "h:8000");
    assert_true(!s.model && !s.key_env && s.n == 1 && s.temperature != s.temperature && s.timeout == 60 &&
                !s.stream);
    assert_int_equal(
        keel_upstream_parse(
            "https://h/openai/v1/,model=m/x,n=4,temperature=0.7,timeout=2m,key=K,name=A,stream=yes", &arena,
            &s, NULL),
        KEEL_OK);
    assert_string_equal(s.url, "https://h/openai/v1/chat/completions");
    assert_string_equal(s.name, "A");
    assert_string_equal(s.model, "m/x");
    assert_string_equal(s.key_env, "K");
    assert_true(s.n == 4 && s.temperature == 0.7 && s.timeout == 120 && s.stream);
    assert_int_equal(keel_upstream_parse("http://h,model=m", &arena, &s, NULL), KEEL_OK);
    assert_string_equal(s.name, "m");
}

static void a_wrong_spec_names_its_key(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {{"h:80", "http://"},
                {"file:///etc/passwd", "http://"},
                {"http://h/?a=b", "query"},
                {"http://h,n=0", "n: expected a number from 1 to 16"},
                {"http://h,n=17", "n: "},
                {"http://h,n=1.5", "whole"},
                {"http://h,n=x", "n: "},
                {"http://h,temperature=-1", "temperature: "},
                {"http://h,temperature=nan", "temperature: "},
                {"http://h,timeout=5", "timeout: "},
                {"http://h,stream=maybe", "yes or no"},
                {"http://h,model=", "model: "},
                {"http://h,name=a\"b", "name: "},
                {"http://h,colour=red", "colour"},
                {"http://h,n", "key=value"},
                {"http://h,,n=1", "key=value"},
                {"http://sk-secret@h/", "no password"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        keel_upstream_spec s;
        keel_err err = {0};
        assert_int_equal(keel_upstream_parse(rows[i].text, &arena, &s, &err), KEEL_E_USAGE);
        assert_string_equal(err.where, "--upstream");
        if (!strstr(err.message, rows[i].says)) fail_msg("%s: %s", rows[i].text, err.message);
        assert_null(strstr(err.message, "secret"));
    }
}

static void keys_and_names_are_checked(void **state) {
    (void)state;
    keel_upstream_spec s[17];
    keel_upstreams *all;
    keel_err err;
    for (size_t i = 0; i < 17; i++)
        assert_int_equal(keel_upstream_parse("http://h", &arena, &s[i], NULL), KEEL_OK);
    assert_int_equal(keel_upstreams_open(&all, s, 2, NULL, &err), KEEL_E_USAGE);
    assert_non_null(strstr(err.message, "two are named h"));
    assert_int_equal(keel_upstreams_open(&all, s, 17, NULL, &err), KEEL_E_USAGE);
    s[0].key_env = "KEEL_TEST_NO_KEY";
    assert_int_equal(keel_upstreams_open(&all, s, 1, NULL, &err), KEEL_E_USAGE);
    assert_non_null(strstr(err.message, "KEEL_TEST_NO_KEY"));
    s[0].key_env = "KEEL_TEST_BAD_KEY";
    assert_int_equal(keel_upstreams_open(&all, s, 1, NULL, &err), KEEL_E_USAGE);
    assert_null(strstr(err.message, "sk-secret"));
    assert_null(all);
}

static int set_up(void **state) {
    (void)state;
    setenv("KEEL_TEST_KEY", "sk-secret-1", 1);
    setenv("KEEL_TEST_BAD_KEY", "sk-secret-2\r\nX: y", 1);
    fake_start(&server, answer);
    return keel_monitor_open(&monitor, NULL) != KEEL_OK;
}

static int tear_down(void **state) {
    (void)state;
    keel_monitor_close(monitor);
    keel_arena_free(&arena);
    keel_arena_free(&specs_arena);
    fake_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spec_is_read),
        cmocka_unit_test(a_wrong_spec_names_its_key),
        cmocka_unit_test(keys_and_names_are_checked),
        cmocka_unit_test(a_body_goes_on_without_what_is_not_of_a_chat),
        cmocka_unit_test(who_knows_no_n_is_asked_again_once),
        cmocka_unit_test(all_are_asked_and_troubles_are_named),
        cmocka_unit_test(streams_are_put_together),
        cmocka_unit_test(who_streams_nothing_is_read_whole),
        cmocka_unit_test(the_deadline_hands_over_what_is_there),
        cmocka_unit_test(the_client_that_is_gone_frees_the_upstream),
        cmocka_unit_test(closing_tells_all_that_wait),
        cmocka_unit_test(a_body_that_is_none_asks_nobody),
        cmocka_unit_test(memory_runs_out),
    };
    if (without_curl()) return 77;
    return cmocka_run_group_tests_name("upstreams", tests, set_up, tear_down);
}
