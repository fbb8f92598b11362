/* The line and the headers of a request, before any handler: first part "pages", "api" or "token" (which
 * server it is), second part lines as they come over the wire. What is let in comes from this machine, from a
 * listed name or with the token; what is refused has an error in the shape of its kind. */
#include <strings.h>

#include "core/json.h"
#include "experiments/http.h"
#include "fuzz.h"

enum { MOST = 32 };
static const char *const hosts[] = {"keel.example", NULL}, *const open_paths[] = {"/health", NULL};
static const char token[] = "0123456789abcdef";

/* "Name: value" lines into pairs; texts in `text`, which is cut up. */
static void read_headers(char *text, const char *headers[2 * MOST + 1]) {
    size_t n = 0;
    for (char *line = strtok(text, "\r\n"); line && n < MOST; line = strtok(NULL, "\r\n")) {
        char *colon = strchr(line, ':');
        if (!colon || colon == line) continue;
        *colon++ = '\0';
        headers[2 * n] = line;
        headers[2 * n++ + 1] = colon + strspn(colon, " \t");
    }
}

static void check_refusal(const keel_http_response *response, bool pages) {
    cJSON *json;
    FUZZ_CHECK(response->status >= 400 && response->status < 600 && response->type);
    FUZZ_CHECK(keel_json_parse(response->body.data, response->body.length, "refusal", &json, &fuzz_err) ==
               KEEL_OK);
    const cJSON *error = keel_json_get(json, "error");
    FUZZ_CHECK(pages ? cJSON_IsString(error) : cJSON_IsString(keel_json_get(error, "message")));
    FUZZ_CHECK(!strstr(response->body.data, token)); /* no secret in an error */
    cJSON_Delete(json);
}

/* The same rules in other words. */
static bool is_own_host(const char *host) {
    const size_t n = host ? strcspn(host, ":") : 0;
    if (!host) return false;
    if ((n == 9 && strncasecmp(host, "localhost", n) == 0) ||
        (n == 12 && strncasecmp(host, "keel.example", n) == 0))
        return true;
    if (host[0] == '[') return strspn(host, "[]0123456789abcdefABCDEF:.") == strlen(host);
    return strspn(host, "0123456789.:") == strlen(host);
}

static void check_admitted(const keel_http_request *request, const keel_http_options *options) {
    const bool post = strcmp(request->method, "POST") == 0;
    FUZZ_CHECK(post || strcmp(request->method, "GET") == 0);
    FUZZ_CHECK(strlen(request->target) <= KEEL_HTTP_MOST_TARGET);
    if (post) FUZZ_CHECK(request->type && strncasecmp(request->type, "application/json", 16) == 0);
    if (options->token)
        FUZZ_CHECK(keel_http_is(request, "/health") ||
                   (request->authorization && strcmp(request->authorization + 7, token) == 0));
    else
        FUZZ_CHECK(is_own_host(request->host));
    if (request->origin) FUZZ_CHECK(strstr(request->origin, "//") && request->host);
    if (request->site && post) FUZZ_CHECK(strcmp(request->site, "cross-site") != 0);
}

static void ask_for_queries(const keel_http_request *request) {
    keel_arena arena = {0};
    const char *value;
    if (fuzz_ok(keel_http_query(request, "reviewer", &arena, &value, &fuzz_err)) && value)
        FUZZ_CHECK(strlen(value) <= strlen(request->target));
    keel_arena_free(&arena);
}

static void fill(keel_http_request *request, char *line, const char *const *headers) {
    char *blank = strchr(line, ' ');
    if (blank) *blank = '\0';
    request->method = line;
    request->target = blank ? blank + 1 : "/";
    request->headers = headers;
    request->host = keel_http_header(request, "Host");
    request->origin = keel_http_header(request, "Origin");
    request->site = keel_http_header(request, "Sec-Fetch-Site");
    request->type = keel_http_header(request, "Content-Type");
    request->authorization = keel_http_header(request, "Authorization");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_part parts[2];
    if (fuzz_parts(data, size, parts, 2) != 2) return 0;
    char *kind = fuzz_text(parts[0].data, parts[0].size), *line = fuzz_text(parts[1].data, parts[1].size);
    char *rest = strchr(line, '\n');
    const char *headers[2 * MOST + 1] = {NULL};
    keel_http_options options = strcmp(kind, "pages") == 0 ? keel_http_pages : keel_http_api;
    keel_http_request request = {0};
    keel_http_response response = {0};
    options.hosts = hosts;
    options.open = open_paths;
    options.token = strcmp(kind, "token") == 0 ? token : NULL;
    if (rest) *rest++ = '\0', read_headers(rest, headers);
    fill(&request, line, headers);
    if (keel_http_check(&request, &options, 8090, &response))
        check_admitted(&request, &options);
    else
        check_refusal(&response, options.pages);
    ask_for_queries(&request);
    for (size_t i = 0; headers[i]; i += 2) keel_http_response_header(&response, headers[i], headers[i + 1]);
    FUZZ_CHECK(!response.headers.length || !memchr(response.headers.data, '\n', response.headers.length));
    keel_http_response_free(&response);
    free(kind);
    free(line);
    return 0;
}
