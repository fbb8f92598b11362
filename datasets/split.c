#include "datasets/split.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/store_internal.h"

static const char grammar[] = "all, NAME, fold:K/N, rest:K/N, or NAME,fold:K/N with 0 <= K < N and N >= 2";

static keel_status fail(const char *text, const char *why, keel_err *err) {
    keel_fail(err, KEEL_E_INVALID, "split", "\"%s\": %s", text, why);
    keel_hint(err, "write %s", grammar);
    return KEEL_E_INVALID;
}

keel_status keel_split_check_name(const char *name, const char *where, keel_err *err) {
    size_t length = strlen(name);
    bool meant =
        strcmp(name, "all") != 0 && strcmp(name, "held-out") != 0; /* words with a meaning of their own */
    bool good = length > 0 && length < sizeof((keel_split *)0)->name && meant;
    for (size_t i = 0; good && i < length; i++)
        good = isalnum((unsigned char)name[i]) || strchr("_-.", name[i]) || (unsigned char)name[i] >= 0x80;
    if (good) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, where, "\"%s\" cannot be the name of a split", name);
    keel_hint(err, "use at most 63 bytes of letters, digits, '_', '-' and '.', and neither \"all\" nor "
                   "\"held-out\"");
    return KEEL_E_INVALID;
}

static bool parse_count(const char **text, int64_t *out) {
    int64_t value = 0;
    const char *at = *text;
    if (!isdigit((unsigned char)*at)) return false;
    for (; isdigit((unsigned char)*at); at++) {
        if (value > 100000) return false;
        value = value * 10 + (*at - '0');
    }
    *text = at;
    *out = value;
    return true;
}

/* "fold:K/N" or "rest:K/N"; false if text does not begin so. */
static bool parse_fold(const char *text, keel_split *out, const char **why) {
    bool in = strncmp(text, "fold:", 5) == 0;
    if (!in && strncmp(text, "rest:", 5) != 0) return false;
    const char *at = text + 5;
    out->kind = in ? KEEL_FOLD_IN : KEEL_FOLD_REST;
    if (!parse_count(&at, &out->fold) || *at++ != '/' || !parse_count(&at, &out->folds) || *at)
        *why = "expected K/N after the colon";
    else if (out->folds < 2 || out->fold >= out->folds)
        *why = "the fold is out of range";
    return true;
}

keel_status keel_split_parse(const char *text, keel_split *out, keel_err *err) {
    keel_split split = {0};
    const char *why = NULL, *comma = strchr(text, ',');
    if (strlen(text) >= sizeof split.text) return fail(text, "too long", err);
    memcpy(split.text, text, strlen(text) + 1);
    if (!parse_fold(text, &split, &why)) {
        char name[sizeof split.text];
        snprintf(name, sizeof name, "%.*s", comma ? (int)(comma - text) : (int)strlen(text), text);
        if (comma && !parse_fold(comma + 1, &split, &why)) why = "only a fold may follow the comma";
        if (strcmp(name, "all") != 0) {
            if (!why && keel_split_check_name(name, "split", NULL) != KEEL_OK) why = "not a split's name";
            if (!why) memcpy(split.name, name, strlen(name) + 1);
        }
    }
    if (why) return fail(text, why, err);
    *out = split;
    return KEEL_OK;
}

keel_status keel_split_held_out(const keel_split *split, keel_split *out, keel_err *err) {
    if (split->kind != KEEL_FOLD_REST)
        return fail(split->text, "names no rest:K/N, so nothing is held out of it", err);
    keel_split held = *split;
    held.kind = KEEL_FOLD_IN;
    snprintf(held.text, sizeof held.text, "%s%sfold:%lld/%lld", held.name, held.name[0] ? "," : "",
             (long long)held.fold, (long long)held.folds);
    *out = held;
    return KEEL_OK;
}

static int64_t gcd(int64_t a, int64_t b) {
    return b ? gcd(b, a % b) : a;
}

/* Folds K of N and L of M share a hash exactly when K and L agree modulo gcd(N, M) (Chinese remainders). */
bool keel_split_disjoint(const keel_split *a, const keel_split *b) {
    if (a->name[0] && b->name[0] && strcmp(a->name, b->name) != 0) return true;
    if (a->kind == KEEL_FOLD_IN && b->kind == KEEL_FOLD_IN) {
        int64_t common = gcd(a->folds, b->folds);
        return a->fold % common != b->fold % common;
    }
    if (a->kind == KEEL_FOLD_REST && b->kind == KEEL_FOLD_IN) return keel_split_disjoint(b, a);
    /* Fold K of N lies in fold L of M, so outside its rest, when M divides N and the two agree. */
    return a->kind == KEEL_FOLD_IN && b->kind == KEEL_FOLD_REST && a->folds % b->folds == 0 &&
           a->fold % b->folds == b->fold;
}

int64_t keel_split_group_hash(const char *source, const char *group) {
    uint64_t hash = keel_hash64(group, strlen(group), keel_hash64(source, strlen(source), 0));
    return (int64_t)(hash & INT64_MAX);
}

/* ---- as SQL ---- */

void keel__split_clause(const keel_split *split, keel_buf *sql) {
    if (!split) return;
    if (split->name[0]) keel_buf_text(sql, " AND c.split = :split");
    if (split->kind == KEEL_FOLD_IN) keel_buf_text(sql, " AND c.group_hash % :folds = :fold");
    if (split->kind == KEEL_FOLD_REST) keel_buf_text(sql, " AND c.group_hash % :folds <> :fold");
}

void keel__split_bind(const keel_split *split, sqlite3_stmt *statement) {
    if (!split) return;
    int name = sqlite3_bind_parameter_index(statement, ":split");
    if (name) sqlite3_bind_text(statement, name, split->name, -1, SQLITE_STATIC);
    if (split->kind == KEEL_FOLD_NONE) return;
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":fold"), split->fold);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, ":folds"), split->folds);
}
