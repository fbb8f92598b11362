/* HTTP without a socket: what is refused before a handler sees it, queries, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/http.h"

static const keel_http_request good_get = {.method = "GET", .target = "/", .host = "127.0.0.1:8090"};
static const keel_http_request good_post = {.method = "POST",
                                            .target = "/api/label",
                                            .host = "127.0.0.1:8090",
                                            .origin = "http://127.0.0.1:8090",
                                            .site = "same-origin",
                                            .type = "application/json",
                                            .body = "{}",
                                            .length = 2};

static int status_of(keel_http_request request) {
    keel_http_response response = {0};
    const bool passes = keel_http_check(&request, &keel_http_pages, 8090, &response);
    const int status = passes ? 200 : response.status;
    assert_true(passes == (response.status == 0));
    if (!passes) assert_non_null(strstr(response.body.data, "{\"error\":\""));
    keel_http_response_free(&response);
    return status;
}
#define WITH(good, ...) status_of((tmp = good, tmp.__VA_ARGS__, tmp))

static void a_host_that_is_a_name_is_refused(void **state) {
    (void)state;
    keel_http_request tmp;
    static const char *const right[] = {"127.0.0.1:8090", "localhost:8090", "LOCALHOST:8090", "[::1]:8090",
                                        "10.0.0.7:8090"};
    static const char *const wrong[] = {"evil.example:8090",
                                        "evil.example",
                                        "127.0.0.1:80",
                                        "127.0.0.1",
                                        "localhost.evil.example:8090",
                                        "127.0.0.1:8090:8090",
                                        "[::1:8090",
                                        "[::1]8090",
                                        "",
                                        ":8090",
                                        "127.0.0.1:8090@evil.example",
                                        "127.0.0.1:+8090",
                                        "127.0.0.1:08090x",
                                        "0x7f.1:8090",
                                        "[127.0.0.1]x:8090",
                                        "127.0.0.1.evil.example:8090"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(WITH(good_get, host = right[i]), 200);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(WITH(good_get, host = wrong[i]), 403);
    tmp = good_get, tmp.host = NULL;
    assert_int_equal(status_of(tmp), 403);
}

static void other_sites_are_refused(void **state) {
    (void)state;
    keel_http_request tmp;
    assert_int_equal(status_of(good_post), 200);
    static const char *const origins[] = {"http://evil.example", "null", "https://127.0.0.1:8090",
                                          "http://127.0.0.1:8091", ""};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++)
        assert_int_equal(WITH(good_post, origin = origins[i]), 403);
    assert_int_equal(WITH(good_post, site = "cross-site"), 403);
    assert_int_equal(WITH(good_post, site = "same-site"), 403);
    static const char *const types[] = {"text/plain", "application/x-www-form-urlencoded",
                                        "application/jsonp", "multipart/form-data", ""};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_int_equal(WITH(good_post, type = types[i]), 415);
    assert_int_equal(WITH(good_post, type = NULL), 415);
    assert_int_equal(WITH(good_post, type = "Application/JSON; charset=utf-8"), 200);
    tmp = good_get, tmp.site = "cross-site"; /* a link to the page is followed, what it reads is its own */
    assert_int_equal(status_of(tmp), 200);
    tmp.target = "/api/next?reviewer=a";
    assert_int_equal(status_of(tmp), 403);
}

static void what_is_too_large_is_refused(void **state) {
    (void)state;
    keel_http_request tmp;
    char *target = malloc(KEEL_HTTP_MOST_TARGET + 2);
    assert_non_null(target);
    memset(target, '/', KEEL_HTTP_MOST_TARGET + 1), target[KEEL_HTTP_MOST_TARGET + 1] = '\0';
    assert_int_equal(WITH(good_post, length = keel_http_pages.most_body + 1), 413);
    assert_int_equal(WITH(good_post, length = keel_http_pages.most_body), 200);
    assert_int_equal(WITH(good_get, target = target), 414);
    assert_int_equal(WITH(good_get, method = "DELETE"), 405);
    assert_int_equal(WITH(good_get, method = "OPTIONS"), 405);
    free(target);
}

static void queries_are_decoded_or_refused(void **state) {
    (void)state;
    keel_arena arena = {0};
    keel_err err;
    const char *value;
    static const struct {
        const char *target, *value;
    } rows[] = {{"/x?reviewer=ann%20b%2B+c&x=1", "ann b+ c"},
                {"/x?a=1&reviewer=%EB%B3%B4", "\xEB\xB3\xB4"},
                {"/x?reviewer=", ""},
                {"/x?reviewers=1", NULL},
                {"/x", NULL},
                {"/x?reviewer", NULL},
                {"/x?xreviewer=1&reviewer=2#reviewer=3", "2"},
                {"/x?#reviewer=3", NULL}};
    static const char *const broken[] = {"/x?reviewer=%", "/x?reviewer=%4", "/x?reviewer=%zz",
                                         "/x?reviewer=%00", "/x?reviewer=%FF"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const keel_http_request request = {.target = rows[i].target};
        assert_int_equal(keel_http_query(&request, "reviewer", &arena, &value, &err), KEEL_OK);
        if (rows[i].value)
            assert_string_equal(value, rows[i].value);
        else
            assert_null(value);
    }
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const keel_http_request request = {.target = broken[i]};
        assert_int_equal(keel_http_query(&request, "reviewer", &arena, &value, &err), KEEL_E_PARSE);
    }
    const keel_http_request page = {.target = "/api/next?x"};
    assert_true(keel_http_is(&page, "/api/next"));
    assert_false(keel_http_is(&page, "/api/nex"));
    assert_false(keel_http_is(&page, "/api/next?x"));
    keel_arena_free(&arena);
}

static void addresses_are_of_a_machine(void **state) {
    (void)state;
    keel_http_address address;
    keel_err err;
    assert_int_equal(keel_http_address_parse("localhost:0", &address, &err), KEEL_OK);
    assert_string_equal(address.host, "127.0.0.1");
    assert_true(address.loopback && address.port == 0 && !address.six);
    assert_int_equal(keel_http_address_parse("[::1]:65535", &address, &err), KEEL_OK);
    assert_true(address.loopback && address.port == 65535 && address.six);
    assert_int_equal(keel_http_address_parse("0.0.0.0:8090", &address, &err), KEEL_OK);
    assert_false(address.loopback);
    static const char *const wrong[] = {"",        "8090",   "127.0.0.1",     "127.0.0.1:", "127.0.0.1:65536",
                                        "host:80", "::1:80", "127.0.0.1:80x", "[::1]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(keel_http_address_parse(wrong[i], &address, &err), KEEL_E_USAGE);
}

/* ---- an API ---- */

static const char *const api_hosts[] = {"keel.example", NULL}, *const api_open[] = {"/health", NULL};

static int api_status(const keel_http_request *request, const char *token, const char *part) {
    keel_http_response response = {0};
    keel_http_options options = keel_http_api;
    options.token = token;
    options.hosts = api_hosts;
    options.open = api_open;
    const bool passes = keel_http_check(request, &options, 8080, &response);
    const int status = passes ? 200 : response.status;
    if (!passes) assert_non_null(strstr(response.body.data, "{\"error\":{\"message\":\""));
    if (part) assert_non_null(strstr(response.body.data, part));
    keel_http_response_free(&response);
    return status;
}

static void an_api_is_for_its_machine_and_listed_names(void **state) {
    (void)state;
    static const struct {
        const char *host, *origin, *site;
        int status;
    } rows[] = {{"127.0.0.1:8080", NULL, NULL, 200},
                {"localhost:8080", NULL, NULL, 200},
                {"keel.example", NULL, NULL, 200},
                {"KEEL.example:443", NULL, NULL, 200},
                {"keel.example", "https://keel.example", NULL, 200},
                {"keel.example", "http://keel.example", NULL, 200},
                {"keel.example", "https://evil.example", NULL, 403},
                {"keel.example.evil", NULL, NULL, 403},
                {"evil.example", NULL, NULL, 403},
                {"127.0.0.1:9090", NULL, NULL, 403},
                {"127.0.0.1:8080", "http://127.0.0.1:8080", "same-origin", 200},
                {"127.0.0.1:8080", "https://127.0.0.1:8080", NULL, 403},
                {"127.0.0.1:8080", NULL, "cross-site", 403},
                {NULL, NULL, NULL, 403}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const keel_http_request request = {.method = "GET",
                                           .target = "/v1/models",
                                           .host = rows[i].host,
                                           .origin = rows[i].origin,
                                           .site = rows[i].site};
        assert_int_equal(api_status(&request, NULL, NULL), rows[i].status);
    }
}

static void a_token_is_compared_whole(void **state) {
    (void)state;
    static const char token[] = "0123456789abcdef";
    static const struct {
        const char *authorization, *target;
        int status;
    } rows[] = {{"Bearer 0123456789abcdef", "/v1/models", 200},
                {"bearer 0123456789abcdef", "/v1/models", 200},
                {"Bearer 0123456789abcde", "/v1/models", 401},
                {"Bearer 0123456789abcdefg", "/v1/models", 401},
                {"Bearer 1123456789abcdef", "/v1/models", 401},
                {"Bearer 00123456789abcdef", "/v1/models", 401},
                {"Bearer ", "/v1/models", 401},
                {"Bearer", "/v1/models", 401},
                {"", "/v1/models", 401},
                {"Basic 0123456789abcdef", "/v1/models", 401},
                {"0123456789abcdef", "/v1/models", 401},
                {NULL, "/v1/models", 401},
                {NULL, "/health", 200},
                {NULL, "/health?x=1", 200},
                {NULL, "/healthy", 401},
                {NULL, "/v1/../health", 401}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const keel_http_request request = {.method = "GET",
                                           .target = rows[i].target,
                                           .host = "anything.example", /* no page knows the token */
                                           .authorization = rows[i].authorization};
        keel_http_options options = keel_http_api;
        options.token = token;
        assert_int_equal(keel_http_authorized(&request, &options),
                         rows[i].status == 200 && rows[i].authorization != NULL);
        options.token = NULL; /* then a header is no proof of anything */
        assert_false(keel_http_authorized(&request, &options));
        assert_int_equal(
            api_status(&request, token, rows[i].status == 401 ? "\"code\":\"invalid_api_key\"" : NULL),
            rows[i].status);
    }
}

static void a_token_comes_from_the_environment(void **state) {
    (void)state;
    const char *token = NULL;
    keel_err err;
    static const char *const wrong[] = {"", "short", "0123456789 abcdef", "0123456789abcde\n",
                                        "0123456789abcd\xC3\xA9"};
    unsetenv("KEEL_TEST_TOKEN");
    assert_int_equal(keel_http_token("KEEL_TEST_TOKEN", &token, &err), KEEL_E_USAGE);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("KEEL_TEST_TOKEN", wrong[i], 1);
        assert_int_equal(keel_http_token("KEEL_TEST_TOKEN", &token, &err), KEEL_E_USAGE);
        if (*wrong[i]) assert_null(strstr(err.message, wrong[i])); /* no secret in an error */
    }
    setenv("KEEL_TEST_TOKEN", "0123456789abcdef", 1);
    assert_int_equal(keel_http_token("KEEL_TEST_TOKEN", &token, &err), KEEL_OK);
    assert_string_equal(token, "0123456789abcdef");
}

static void headers_that_two_read_differently_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *headers[7];
        int status;
    } rows[] = {{{"Host", "127.0.0.1:8080", "X-A", "1", "x-a", "2"}, 200},
                {{"Host", "127.0.0.1:8080", "host", "evil.example"}, 400},
                {{"Content-Length", "3", "Content-Length", "4"}, 400},
                {{"Content-Length", "3", "Transfer-Encoding", "chunked"}, 400},
                {{"Transfer-Encoding", "chunked"}, 200},
                {{"Transfer-Encoding", "gzip, chunked"}, 501},
                {{"Authorization", "Bearer a", "authorization", "Bearer b"}, 400},
                {{"X-A", "a\tb\xff", "x_.~!#$%&'*+-^`|9", ""}, 200},
                {{"Content-Length ", "3"}, 400},
                {{"Content-Length\t", "3"}, 400},
                {{"", "3"}, 400},
                {{"X(A", "3"}, 400},
                {{"X-A", "a\rContent-Length: 3"}, 400},
                {{"X-A", "a\x7f"}, 400},
                {{"Content-Encoding", "gzip"}, 415}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const keel_http_request request = {.method = "POST",
                                           .target = "/v1/choose",
                                           .host = "127.0.0.1:8080",
                                           .type = "application/json",
                                           .headers = rows[i].headers};
        assert_int_equal(api_status(&request, NULL, NULL), rows[i].status);
    }
    const keel_http_request request = {.headers = rows[0].headers};
    assert_string_equal(keel_http_header(&request, "X-a"), "1");
    assert_null(keel_http_header(&request, "X-B"));
    assert_null(keel_http_header(&good_get, "Host"));
}

static void errors_have_the_shape_of_openais(void **state) {
    (void)state;
    keel_http_response response = {0};
    keel_http_error(&response, 400, "messages", NULL, "say \"who\"");
    assert_string_equal(
        response.body.data,
        "{\"error\":{\"message\":\"messages: say \\\"who\\\"\",\"type\":\"invalid_request_error\","
        "\"param\":\"messages\",\"code\":null}}\n");
    keel_http_error(&response, 429, NULL, "queue_full", "later");
    assert_string_equal(response.body.data, "{\"error\":{\"message\":\"later\",\"type\":\"rate_limit_error\","
                                            "\"param\":null,\"code\":\"queue_full\"}}\n");
    keel_http_error(&response, 503, NULL, NULL, "later");
    assert_non_null(strstr(response.body.data, "\"type\":\"server_error\""));
    keel_http_response_header(&response, "X-Request-Id", "chatcmpl-1");
    keel_http_response_header(&response, "X-Evil", "a\r\nSet-Cookie: b");
    keel_http_response_header(&response, "X\nY", "a");
    keel_http_response_header(&response, "", "a");
    assert_int_equal(response.headers.length, sizeof "X-Request-Id" + sizeof "chatcmpl-1");
    assert_memory_equal(response.headers.data, "X-Request-Id\0chatcmpl-1", response.headers.length);
    keel_http_response_free(&response);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_is_a_name_is_refused),
        cmocka_unit_test(other_sites_are_refused),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(queries_are_decoded_or_refused),
        cmocka_unit_test(addresses_are_of_a_machine),
        cmocka_unit_test(an_api_is_for_its_machine_and_listed_names),
        cmocka_unit_test(a_token_is_compared_whole),
        cmocka_unit_test(a_token_comes_from_the_environment),
        cmocka_unit_test(headers_that_two_read_differently_are_refused),
        cmocka_unit_test(errors_have_the_shape_of_openais),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
