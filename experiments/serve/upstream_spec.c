/* What --upstream says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "experiments/serve/upstream.h"

static const char where[] = "--upstream";

static keel_status wrong(const char *key, const char *wanted, const char *got, keel_err *err) {
    return keel_fail(err, KEEL_E_USAGE, where, "%s: expected %s, got \"%.60s\"", key, wanted, got);
}

static keel_status set_text(const char *key, const char *value, const char **out, keel_err *err) {
    enum { MOST = 200 };
    size_t n = strlen(value);
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7F || *c == '"' || *c == '\\') n = 0;
    if (n == 0 || n > MOST) return wrong(key, "plain text", value, err);
    *out = value;
    return KEEL_OK;
}

static keel_status set_number(const char *key, const char *value, double low, double high, double *out,
                              keel_err *err) {
    char *end;
    const double number = keel_decimal_read(value, &end);
    if (end == value || *end || !(number >= low && number <= high))
        return keel_fail(err, KEEL_E_USAGE, where, "%s: expected a number from %g to %g, got \"%.60s\"", key,
                         low, high, value);
    *out = number;
    return KEEL_OK;
}

static keel_status set_n(const char *value, size_t *out, keel_err *err) {
    double n = 0;
    KEEL_TRY(set_number("n", value, 1, KEEL_UPSTREAM_MOST_N, &n, err));
    if (n != floor(n)) return wrong("n", "a whole number", value, err);
    *out = (size_t)n;
    return KEEL_OK;
}

static keel_status set(keel_upstream_spec *spec, const char *key, const char *value, keel_err *err) {
    if (strcmp(key, "model") == 0) return set_text(key, value, &spec->model, err);
    if (strcmp(key, "name") == 0) return set_text(key, value, &spec->name, err);
    if (strcmp(key, "key") == 0) return set_text(key, value, &spec->key_env, err);
    if (strcmp(key, "n") == 0) return set_n(value, &spec->n, err);
    if (strcmp(key, "temperature") == 0) return set_number(key, value, 0, 2, &spec->temperature, err);
    if (strcmp(key, "timeout") == 0)
        return keel_decimal_duration(value, &spec->timeout) ? KEEL_OK
                                                            : wrong(key, "a duration as 20s", value, err);
    if (strcmp(key, "stream") == 0) {
        spec->stream = strcmp(value, "yes") == 0;
        return spec->stream || strcmp(value, "no") == 0 ? KEEL_OK : wrong(key, "yes or no", value, err);
    }
    keel_fail(err, KEEL_E_USAGE, where, "there is no key \"%.40s\"", key);
    return keel_hint(err, "the keys are model, n, temperature, timeout, key, name and stream");
}

/* The address of the calls, and a name out of it. */
static keel_status set_url(keel_upstream_spec *spec, char *base, keel_arena *arena, keel_err *err) {
    KEEL_TRY(keel_http_client_url(base, where, err));
    size_t n = strlen(base);
    while (base[n - 1] == '/') base[--n] = '\0';
    const char *host = strstr(base, "//") + 2, *path = strchr(host, '/');
    keel_buf url = {0};
    keel_buf_format(&url, "%s%s/chat/completions", base, path ? "" : "/v1");
    spec->url = url.failed ? NULL : keel_arena_strdup(arena, url.data);
    keel_buf_free(&url);
    spec->name = keel_arena_strndup(arena, host, path ? (size_t)(path - host) : strlen(host));
    return spec->url && spec->name ? KEEL_OK : keel_nomem(err, where);
}

keel_status keel_upstream_parse(const char *text, keel_arena *arena, keel_upstream_spec *out, keel_err *err) {
    char *rest = keel_arena_strdup(arena, text);
    if (!rest) return keel_nomem(err, where);
    *out = (keel_upstream_spec){.n = 1, .temperature = NAN, .timeout = 60};
    char *comma = strchr(rest, ',');
    if (comma) *comma = '\0';
    KEEL_TRY(set_url(out, rest, arena, err));
    const char *host = out->name;
    out->name = NULL;
    while (comma) {
        char *pair = comma + 1, *equals = strchr(pair, '=');
        comma = strchr(pair, ',');
        if (comma) *comma = '\0';
        if (!equals || (comma && equals > comma)) return wrong("after the address", "key=value", pair, err);
        *equals = '\0';
        KEEL_TRY(set(out, pair, equals + 1, err));
    }
    if (!out->name) out->name = out->model ? out->model : host;
    return KEEL_OK;
}
