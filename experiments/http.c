#include "experiments/http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/json.h"
#include "core/text.h"

const keel_http_options keel_http_pages = {.most_body = 64 * 1024,
                                           .most_bodies = 4 << 20,
                                           .most_header = 16 * 1024,
                                           .most_connections = 64,
                                           .idle_seconds = 30,
                                           .request_seconds = 30,
                                           .drain_seconds = 5,
                                           .pages = true};
const keel_http_options keel_http_api = {.most_body = 1 << 20,
                                         .most_bodies = 64 << 20,
                                         .most_header = 16 * 1024,
                                         .most_connections = 12000,
                                         .idle_seconds = 75,
                                         .request_seconds = 30,
                                         .drain_seconds = 30};

const char *const *keel_http_fixed_headers(const keel_http_options *options) {
    static const char *const all[] = {
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
        "X-Frame-Options",
        "DENY",
        "Referrer-Policy",
        "no-referrer",
        "Cross-Origin-Opener-Policy",
        "same-origin",
        "Cross-Origin-Resource-Policy",
        "same-origin",
        "X-Content-Type-Options",
        "nosniff",
        "Cache-Control",
        "no-store",
        NULL,
    };
    enum { OF_PAGES = 10 }; /* the first ones matter to what shows pages only */
    return options->pages ? all : all + OF_PAGES;
}

keel_status keel_http_token(const char *variable, const char **out, keel_err *err) {
    const char *token = getenv(variable);
    if (!token)
        return keel_fail(err, KEEL_E_USAGE, variable, "the environment has no such variable with a token");
    if (strlen(token) < KEEL_HTTP_LEAST_TOKEN)
        return keel_fail(err, KEEL_E_USAGE, variable, "a token has at least %d bytes", KEEL_HTTP_LEAST_TOKEN);
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c > '~')
            return keel_fail(err, KEEL_E_USAGE, variable,
                             "a token has visible ASCII characters only, without spaces");
    *out = token;
    return KEEL_OK;
}

/* ---- responses ---- */

void keel_http_response_free(keel_http_response *response) {
    keel_buf_free(&response->body);
    keel_buf_free(&response->headers);
    *response = (keel_http_response){0};
}

static bool is_visible(const char *text) {
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) return false;
    return true;
}

void keel_http_response_header(keel_http_response *response, const char *name, const char *value) {
    if (!*name || !is_visible(name) || !is_visible(value)) return;
    keel_buf_append(&response->headers, name, strlen(name) + 1);
    keel_buf_append(&response->headers, value, strlen(value) + 1);
}

static void begin_error(keel_http_response *response, int status) {
    keel_buf_clear(&response->body);
    keel_buf_text(&response->body, "{\"error\":");
    response->status = status;
    response->type = "application/json";
    response->file = NULL;
}

void keel_http_refuse(keel_http_response *response, int status, const char *message) {
    begin_error(response, status);
    keel_json_put_string(&response->body, message);
    keel_buf_text(&response->body, "}\n");
}

static const char *type_of(int status) {
    return status == 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
}

static void put_or_null(keel_buf *buf, const char *text) {
    if (text)
        keel_json_put_string(buf, text);
    else
        keel_buf_text(buf, "null");
}

void keel_http_error(keel_http_response *response, int status, const char *param, const char *code,
                     const char *message) {
    begin_error(response, status);
    keel_buf text = {0}; /* clients print the message alone */
    keel_buf_format(&text, "%s%s%s", param ? param : "", param ? ": " : "", message);
    keel_buf_text(&response->body, "{\"message\":");
    keel_json_put_string(&response->body, text.failed || !text.data ? message : text.data);
    keel_buf_free(&text);
    keel_buf_format(&response->body, ",\"type\":\"%s\",\"param\":", type_of(status));
    put_or_null(&response->body, param);
    keel_buf_text(&response->body, ",\"code\":");
    put_or_null(&response->body, code);
    keel_buf_text(&response->body, "}}\n");
}

void keel_http_fail(keel_http_response *response, int status, const keel_err *err) {
    char text[sizeof err->message + sizeof err->hint + 4];
    snprintf(text, sizeof text, "%s%s%s", err->message, err->hint[0] ? ": " : "", err->hint);
    keel_http_error(response, status, err->where[0] ? err->where : NULL, NULL,
                    text[0] ? text : "the request failed");
}

/* ---- what is refused ---- */

static bool parse_port(const char *text, uint16_t *out) {
    unsigned port = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n]) return false;
    for (const char *c = text; *c; c++) port = port * 10 + (unsigned)(*c - '0');
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

static bool is_address(const char *host, bool *six) {
    unsigned char bytes[16];
    *six = inet_pton(AF_INET6, host, bytes) == 1;
    return *six || inet_pton(AF_INET, host, bytes) == 1;
}

/* "host:port", "[host]:port" or "host" into its parts; port 80 where there is none. */
static bool split_host(const char *text, keel_http_address *out) {
    const char *end, *rest;
    *out = (keel_http_address){.port = 80};
    if (*text == '[') {
        end = strchr(++text, ']');
        rest = end ? end + 1 : NULL;
    } else {
        end = rest = text + strcspn(text, ":");
    }
    if (!end || end == text || (size_t)(end - text) >= sizeof out->host) return false;
    memcpy(out->host, text, (size_t)(end - text));
    if (*rest == ':') return parse_port(rest + 1, &out->port);
    return *rest == '\0';
}

static bool is_among(const char *text, const char *const *list) {
    for (; list && *list; list++)
        if (strcasecmp(text, *list) == 0) return true;
    return false;
}

/* Names that the options list may have any port: a proxy stands there. */
static bool host_ok(const char *host, const keel_http_options *options, uint16_t port) {
    keel_http_address address;
    if (!host || !split_host(host, &address)) return false;
    return is_among(address.host, options->hosts) ||
           (address.port == port &&
            (is_address(address.host, &address.six) || strcasecmp(address.host, "localhost") == 0));
}

/* A listed name may be reached by a proxy's HTTPS. */
static bool origin_ok(const char *origin, const char *host, const keel_http_options *options) {
    static const char plain[] = "http://", secure[] = "https://";
    keel_http_address address;
    if (!origin) return true;
    if (!host) return false;
    if (strncmp(origin, plain, sizeof plain - 1) == 0)
        return strcasecmp(origin + sizeof plain - 1, host) == 0;
    return strncmp(origin, secure, sizeof secure - 1) == 0 && split_host(host, &address) &&
           is_among(address.host, options->hosts) && strcasecmp(origin + sizeof secure - 1, host) == 0;
}

static bool is_json(const char *type) {
    static const char json[] = "application/json";
    const size_t n = sizeof json - 1;
    return type && strncasecmp(type, json, n) == 0 && strchr("; \t", type[n]); /* '\0' too */
}

/* Takes as long whatever the secret is. */
static bool is_secret(const char *given, const char *secret) {
    const size_t n = strlen(secret), length = strlen(given);
    volatile unsigned char differs = n != length;
    for (size_t i = 0; i < length; i++)
        differs = (unsigned char)(differs | (given[i] ^ secret[i < n ? i : 0]));
    return !differs;
}

bool keel_http_authorized(const keel_http_request *request, const keel_http_options *options) {
    static const char bearer[] = "Bearer ";
    const size_t n = sizeof bearer - 1;
    return options->token && request->authorization && strncasecmp(request->authorization, bearer, n) == 0 &&
           is_secret(request->authorization + n, options->token);
}

static bool is_open(const keel_http_request *request, const keel_http_options *options) {
    for (const char *const *path = options->open; path && *path; path++)
        if (keel_http_is(request, *path)) return true;
    return false;
}

static size_t count_header(const keel_http_request *request, const char *name) {
    size_t count = 0;
    for (const char *const *header = request->headers; header && *header; header += 2)
        count += strcasecmp(header[0], name) == 0;
    return count;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *name) {
    static const char others[] = "!#$%&'*+-.^_`|~0123456789";
    for (const char *c = name; *c; c++)
        if (!((*c | 32) >= 'a' && (*c | 32) <= 'z') && !strchr(others, *c)) return false;
    return *name != '\0';
}

/* "Content-Length : 5" is a header to one reader and none to another, and a lone CR the end of a line. */
static bool is_malformed(const keel_http_request *request) {
    for (const char *const *header = request->headers; header && *header; header += 2) {
        if (!is_token(header[0])) return true;
        for (const char *c = header[1]; *c; c++)
            if (((unsigned char)*c < ' ' && *c != '\t') || *c == 127) return true;
    }
    return false;
}

/* A body whose length two readers could see differently (request smuggling), a header that may say two
 * things. */
static bool is_ambiguous(const keel_http_request *request) {
    static const char *const once[] = {"Host", "Content-Length", "Transfer-Encoding", "Authorization",
                                       "Content-Type"};
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (count_header(request, once[i]) > 1) return true;
    return count_header(request, "Content-Length") && count_header(request, "Transfer-Encoding");
}

static bool refuse(const keel_http_options *options, keel_http_response *response, int status,
                   const char *code, const char *message) {
    if (options->pages)
        keel_http_refuse(response, status, message);
    else
        keel_http_error(response, status, NULL, code, message);
    return false;
}

static bool check_form(const keel_http_request *request, const keel_http_options *options, bool post,
                       keel_http_response *response) {
    const char *encoding = keel_http_header(request, "Transfer-Encoding");
    if (strlen(request->target) > KEEL_HTTP_MOST_TARGET)
        return refuse(options, response, 414, NULL, "the address is too long");
    if (!post && strcmp(request->method, "GET") != 0) {
        keel_http_response_header(response, "Allow", "GET, HEAD, POST");
        return refuse(options, response, 405, "method_not_allowed", "only GET and POST are known");
    }
    response->close = true;
    if (is_malformed(request))
        return refuse(options, response, 400, NULL,
                      "a header has a name that is none, or a control character");
    if (is_ambiguous(request))
        return refuse(options, response, 400, NULL,
                      "a header that may stand once stands twice, or "
                      "Content-Length beside Transfer-Encoding");
    if (encoding && strcasecmp(encoding, "chunked") != 0)
        return refuse(options, response, 501, NULL, "of Transfer-Encoding only chunked is known");
    response->close = false;
    if (count_header(request, "Content-Encoding"))
        return refuse(options, response, 415, NULL, "send the body without Content-Encoding");
    return true;
}

/* Who asks, and from where. */
static bool check_asker(const keel_http_request *request, const keel_http_options *options, uint16_t port,
                        bool own_site, keel_http_response *response) {
    if (!options->token && !host_ok(request->host, options, port))
        return refuse(options, response, 403, "host_not_allowed",
                      options->pages ? "Host must be the address of this server, not another name"
                                     : "Host must be the address of this server or a name given with --host");
    if (options->token && !keel_http_authorized(request, options) && !is_open(request, options)) {
        keel_http_response_header(response, "WWW-Authenticate", "Bearer");
        return refuse(options, response, 401, "invalid_api_key",
                      "expected Authorization: Bearer and the token");
    }
    if (!origin_ok(request->origin, request->host, options) ||
        (own_site && request->site && strcmp(request->site, "same-origin") != 0 &&
         strcmp(request->site, "none") != 0))
        return refuse(options, response, 403, "origin_not_allowed", "requests from other sites are refused");
    return true;
}

bool keel_http_check(const keel_http_request *request, const keel_http_options *options, uint16_t port,
                     keel_http_response *response) {
    const bool post = strcmp(request->method, "POST") == 0;
    const bool own_site = post || !options->pages || strncmp(request->target, "/api/", 5) == 0;
    if (!check_form(request, options, post, response) ||
        !check_asker(request, options, port, own_site, response))
        return false;
    if (post && !is_json(request->type))
        return refuse(options, response, 415, NULL, "Content-Type must be application/json");
    if (request->length > options->most_body)
        return refuse(options, response, 413, "request_too_large", "the request is too large");
    return true;
}

/* ---- what a request says ---- */

const char *keel_http_header(const keel_http_request *request, const char *name) {
    for (const char *const *header = request->headers; header && *header; header += 2)
        if (strcasecmp(header[0], name) == 0) return header[1];
    return NULL;
}

bool keel_http_is(const keel_http_request *request, const char *path) {
    const size_t n = strcspn(request->target, "?#");
    return strlen(path) == n && strncmp(request->target, path, n) == 0;
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Decodes text[0..length); NULL: a broken escape, or no text. */
static const char *decode(const char *text, size_t length, keel_arena *arena, keel_err *err) {
    char *out = keel_arena_alloc(arena, length + 1);
    size_t n = 0;
    if (!out) return keel_nomem(err, "query"), NULL;
    for (size_t i = 0; i < length; i++) {
        const bool escaped = text[i] == '%';
        const int high = escaped && i + 2 < length ? hex(text[i + 1]) : -1,
                  low = escaped && i + 2 < length ? hex(text[i + 2]) : -1;
        if (escaped && (high < 0 || low < 0))
            return keel_fail(err, KEEL_E_PARSE, "query", "an escape is broken"), NULL;
        out[n++] = escaped ? (char)(high * 16 + low) : text[i] == '+' ? ' ' : text[i];
        i += escaped ? 2 : 0;
    }
    out[n] = '\0';
    if (keel_utf8_valid_prefix(out, n) == n) return out;
    return keel_fail(err, KEEL_E_PARSE, "query", "is not UTF-8"), NULL;
}

keel_status keel_http_query(const keel_http_request *request, const char *key, keel_arena *arena,
                            const char **out, keel_err *err) {
    const char *at = strchr(request->target, '?');
    const size_t n = strlen(key);
    *out = NULL;
    while (at && *at) {
        const char *pair = at + 1;
        const size_t length = strcspn(pair, "&#");
        at = pair[length] == '&' ? pair + length : NULL;
        if (length <= n || strncmp(pair, key, n) != 0 || pair[n] != '=') continue;
        *out = decode(pair + n + 1, length - n - 1, arena, err);
        return *out ? KEEL_OK : err ? err->code : KEEL_E_PARSE;
    }
    return KEEL_OK;
}

/* ---- where to listen ---- */

static bool is_loopback(const keel_http_address *address) {
    return address->six ? strcmp(address->host, "::1") == 0 : strncmp(address->host, "127.", 4) == 0;
}

keel_status keel_http_address_parse(const char *text, keel_http_address *out, keel_err *err) {
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    bool ok = colon > bracket && split_host(text, out) && colon[1];
    if (ok && strcasecmp(out->host, "localhost") == 0) memcpy(out->host, "127.0.0.1", sizeof "127.0.0.1");
    ok = ok && is_address(out->host, &out->six);
    if (!ok)
        return keel_fail(err, KEEL_E_USAGE, "--listen",
                         "expected an address and a port, as 127.0.0.1:8090 or [::1]:8090, got %s", text);
    out->loopback = is_loopback(out);
    return KEEL_OK;
}
