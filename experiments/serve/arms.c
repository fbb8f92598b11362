#include "experiments/serve/arms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/store_policies.h"

static bool is_name(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '-' || c == '_' || c == '.';
        if (!ok) return false;
    }
    return length > 0 && length <= 64;
}

/* NAME=DIR:SHARE; a folder may hold colons, a share does not. */
static keel_status parse_arm(const char *text, keel_arena *arena, keel_arm *out, keel_err *err) {
    const char *equals = strchr(text, '='), *colon = strrchr(text, ':');
    char *end = NULL;
    if (!equals || !colon || colon < equals + 2 || !is_name(text, (size_t)(equals - text))) {
        keel_fail(err, KEEL_E_USAGE, "--arm", "\"%s\" is not NAME=DIR:SHARE", text);
        return keel_hint(err, "as in --arm new=runs/policy-2:0.1; a name is letters, digits, - _ and .");
    }
    out->name = keel_arena_strndup(arena, text, (size_t)(equals - text));
    out->dir = keel_arena_strndup(arena, equals + 1, (size_t)(colon - equals - 1));
    if (!out->name || !out->dir) return keel_nomem(err, "--arm");
    out->share = strtod(colon + 1, &end);
    if (end == colon + 1 || *end || !(out->share > 0 && out->share <= 1))
        return keel_fail(err, KEEL_E_USAGE, "--arm", "the share of %s, \"%s\", is not a number in (0, 1]",
                         out->name, colon + 1);
    return KEEL_OK;
}

keel_status keel_arms_parse(const char *const *texts, size_t n, const char *salt, keel_arena *arena,
                            keel_arms *out, keel_err *err) {
    double sum = 0;
    *out = (keel_arms){.salt = salt ? salt : ""};
    if (n == 0 || n > KEEL_ARMS_MOST)
        return keel_fail(err, KEEL_E_USAGE, "--arm", "expected 1 to %d arms", KEEL_ARMS_MOST);
    for (; out->n < n; out->n++) {
        keel_arm *arm = &out->of[out->n];
        KEEL_TRY(parse_arm(texts[out->n], arena, arm, err));
        if (keel_arms_find(out, arm->name) < out->n)
            return keel_fail(err, KEEL_E_USAGE, "--arm", "two arms are called %s", arm->name);
        sum += arm->share;
    }
    if (fabs(sum - 1) > 1e-6)
        return keel_fail(err, KEEL_E_USAGE, "--arm", "the shares of the arms sum to %g, not to 1", sum);
    return KEEL_OK;
}

void keel_arms_single(const char *dir, keel_arms *out) {
    *out = (keel_arms){.n = 1, .salt = ""};
    out->of[0].name = KEEL_ARM_DEFAULT, out->of[0].dir = dir, out->of[0].share = 1;
}

void keel_arms_json(const keel_arms *arms, keel_buf *out) {
    for (size_t i = 0; i < arms->n; i++)
        keel_buf_format(out, "%s\"%s\": %.17g", i ? ", " : "{", arms->of[i].name, arms->of[i].share);
    keel_buf_text(out, "}");
}

size_t keel_arms_find(const keel_arms *arms, const char *name) {
    for (size_t i = 0; i < arms->n; i++)
        if (strcmp(arms->of[i].name, name) == 0) return i;
    return KEEL_ARMS_MOST;
}

/* A number in [0, 1) that salt and unit give, and the arm in whose part of it that lies. */
size_t keel_arms_drawn(const keel_arms *arms, const char *unit) {
    unsigned char digest[32];
    uint64_t bits = 0;
    keel_sha256 hash;
    if (arms->n == 1) return 0;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, arms->salt);
    keel_sha256_add_text(&hash, unit);
    keel_sha256_finish(&hash, digest);
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | digest[i];
    double place = (double)(bits >> 11) * 0x1p-53;
    for (size_t i = 0; i + 1 < arms->n; i++) {
        if (place < arms->of[i].share) return i;
        place -= arms->of[i].share;
    }
    return arms->n - 1;
}

size_t keel_arms_assign(const keel_arms *arms, const char *unit, uint32_t *stopped) {
    const size_t arm = keel_arms_drawn(arms, unit);
    *stopped = 0;
    for (size_t i = 0; i < arms->n; i++) *stopped |= (uint32_t)atomic_load(&arms->of[i].stopped) << i;
    return *stopped >> arm & 1 ? 0 : arm;
}
