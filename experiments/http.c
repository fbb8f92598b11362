#include "experiments/http.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/json.h"
#include "core/text.h"

const char *const keel_http_headers[] = {
    "Content-Security-Policy",
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options",
    "nosniff",
    "X-Frame-Options",
    "DENY",
    "Referrer-Policy",
    "no-referrer",
    "Cross-Origin-Opener-Policy",
    "same-origin",
    "Cross-Origin-Resource-Policy",
    "same-origin",
    "Cache-Control",
    "no-store",
    NULL,
};

/* ---- responses ---- */

void keel_http_response_free(keel_http_response *response) {
    keel_buf_free(&response->body);
    *response = (keel_http_response){0};
}

void keel_http_refuse(keel_http_response *response, int status, const char *message) {
    keel_buf_clear(&response->body);
    keel_buf_text(&response->body, "{\"error\":");
    keel_json_put_string(&response->body, message);
    keel_buf_text(&response->body, "}\n");
    response->status = status;
    response->type = "application/json";
    response->file = NULL;
}

static bool refuse(keel_http_response *response, int status, const char *message) {
    keel_http_refuse(response, status, message);
    return false;
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

static bool host_ok(const char *host, uint16_t port) {
    keel_http_address address;
    return host && split_host(host, &address) && address.port == port &&
           (is_address(address.host, &address.six) || strcasecmp(address.host, "localhost") == 0);
}

static bool origin_ok(const char *origin, const char *host) {
    static const char scheme[] = "http://";
    return !origin || (strncmp(origin, scheme, sizeof scheme - 1) == 0 &&
                       strcasecmp(origin + sizeof scheme - 1, host) == 0);
}

static bool is_json(const char *type) {
    static const char json[] = "application/json";
    const size_t n = sizeof json - 1;
    return type && strncasecmp(type, json, n) == 0 && strchr("; \t", type[n]); /* '\0' too */
}

bool keel_http_check(const keel_http_request *request, uint16_t port, keel_http_response *response) {
    const bool post = strcmp(request->method, "POST") == 0;
    const bool api = post || strncmp(request->target, "/api/", 5) == 0;
    if (strlen(request->target) > KEEL_HTTP_MOST_TARGET)
        return refuse(response, 414, "the address is too long");
    if (!post && strcmp(request->method, "GET") != 0)
        return refuse(response, 405, "only GET and POST are known");
    if (!host_ok(request->host, port))
        return refuse(response, 403, "Host must be the address of this server, not another name");
    if (!origin_ok(request->origin, request->host) ||
        (api && request->site && strcmp(request->site, "same-origin") != 0 &&
         strcmp(request->site, "none") != 0))
        return refuse(response, 403, "requests from other sites are refused");
    if (post && !is_json(request->type))
        return refuse(response, 415, "Content-Type must be application/json");
    if (request->length > KEEL_HTTP_MOST_BODY) return refuse(response, 413, "the request is too large");
    return true;
}

/* ---- the target ---- */

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
