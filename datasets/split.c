#include "datasets/split.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/store_internal.h"

static const char grammar[] =
    "all, NAME, fold:K/N, rest:K/N, or NAME,fold:K/N (and a second fold) with 0 <= K < N and N >= 2";

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

/* "K/N" into a fold of a kind; why it is none, or NULL. */
static const char *parse_numbers(const char *text, keel_fold_kind kind, keel_fold *out) {
    keel_fold made = {.kind = kind};
    if (!parse_count(&text, &made.fold) || *text++ != '/' || !parse_count(&text, &made.folds) || *text)
        return "expected K/N after the colon";
    if (made.folds < 2 || made.fold >= made.folds) return "the fold is out of range";
    *out = made;
    return NULL;
}

/* "fold:K/N" or "rest:K/N"; false if text does not begin so. */
static bool parse_fold(const char *text, keel_fold *out, const char **why) {
    bool in = strncmp(text, "fold:", 5) == 0;
    if (!in && strncmp(text, "rest:", 5) != 0) return false;
    *why = parse_numbers(text + 5, in ? KEEL_FOLD_IN : KEEL_FOLD_REST, out);
    return true;
}

/* One item of the list between commas; why it is wrong, or NULL. */
static const char *parse_item(const char *item, bool first, size_t n, keel_split *split) {
    const char *why = NULL;
    keel_fold fold;
    if (!parse_fold(item, &fold, &why)) {
        if (!first) return "only folds may follow the comma";
        if (strcmp(item, "all") == 0) return NULL;
        if (keel_split_check_name(item, "split", NULL) != KEEL_OK) return "not a split's name";
        memcpy(split->name, item, strlen(item) + 1);
        return NULL;
    }
    if (!why && n == KEEL_SPLIT_FOLDS) return "too many folds";
    if (!why) split->folds[n] = fold;
    return why;
}

static size_t count_folds(const keel_split *split) {
    size_t n = 0;
    while (n < KEEL_SPLIT_FOLDS && split->folds[n].kind != KEEL_FOLD_NONE) n++;
    return n;
}

keel_status keel_split_parse(const char *text, keel_split *out, keel_err *err) {
    keel_split split = {0};
    const char *why = NULL, *end;
    if (strlen(text) >= sizeof split.text) return fail(text, "too long", err);
    memcpy(split.text, text, strlen(text) + 1);
    for (const char *at = text; at && !why; at = *end ? end + 1 : NULL) {
        char item[sizeof split.text];
        end = at + strcspn(at, ",");
        snprintf(item, sizeof item, "%.*s", (int)(end - at), at);
        why = parse_item(item, at == text, count_folds(&split), &split);
    }
    if (why) return fail(text, why, err);
    *out = split;
    return KEEL_OK;
}

/* The text of what name and folds say; there is room for the longest. */
static void put_text(keel_split *split) {
    size_t length = (size_t)snprintf(split->text, sizeof split->text, "%s", split->name);
    for (size_t i = 0; i < count_folds(split); i++) {
        const keel_fold *at = &split->folds[i];
        length += (size_t)snprintf(split->text + length, sizeof split->text - length, "%s%s:%lld/%lld",
                                   length ? "," : "", at->kind == KEEL_FOLD_IN ? "fold" : "rest",
                                   (long long)at->fold, (long long)at->folds);
    }
}

keel_status keel_split_held_out(const keel_split *split, keel_split *out, keel_err *err) {
    if (count_folds(split) != 1 || split->folds[0].kind != KEEL_FOLD_REST)
        return fail(split->text, "names no rest:K/N alone, so no fold is all that is held out of it", err);
    keel_split held = *split;
    held.folds[0].kind = KEEL_FOLD_IN;
    put_text(&held);
    *out = held;
    return KEEL_OK;
}

static int64_t gcd(int64_t a, int64_t b) {
    return b ? gcd(b, a % b) : a;
}

/* Folds K of N and L of M share a hash exactly when K and L agree modulo gcd(N, M) (Chinese remainders). */
static bool folds_disjoint(const keel_fold *a, const keel_fold *b) {
    if (a->kind == KEEL_FOLD_IN && b->kind == KEEL_FOLD_IN) {
        int64_t common = gcd(a->folds, b->folds);
        return a->fold % common != b->fold % common;
    }
    if (a->kind == KEEL_FOLD_REST && b->kind == KEEL_FOLD_IN) return folds_disjoint(b, a);
    /* Fold K of N lies in fold L of M, so outside its rest, when M divides N and the two agree. */
    return a->kind == KEEL_FOLD_IN && b->kind == KEEL_FOLD_REST && a->folds % b->folds == 0 &&
           a->fold % b->folds == b->fold;
}

bool keel_split_disjoint(const keel_split *a, const keel_split *b) {
    if (a->name[0] && b->name[0] && strcmp(a->name, b->name) != 0) return true;
    for (size_t i = 0; i < KEEL_SPLIT_FOLDS; i++)
        for (size_t j = 0; j < KEEL_SPLIT_FOLDS; j++)
            if (folds_disjoint(&a->folds[i], &b->folds[j])) return true;
    return false;
}

keel_status keel_split_cut(const keel_split *split, const char *fold, keel_split *part, keel_split *rest,
                           keel_err *err) {
    keel_split in = *split, out = *split;
    size_t n = count_folds(split);
    keel_fold cut = {0};
    const char *why = parse_numbers(fold, KEEL_FOLD_IN, &cut);
    if (!why && n == KEEL_SPLIT_FOLDS) why = "the split that it would cut has two folds already";
    if (why) return fail(fold, why, err);
    const keel_fold others = {KEEL_FOLD_REST, cut.fold, cut.folds};
    for (size_t i = 0; i < n; i++) {
        if (folds_disjoint(&split->folds[i], &cut))
            return keel_fail(err, KEEL_E_INVALID, "split", "fold %s holds nothing of %s, which leaves it out",
                             fold, split->text);
        if (folds_disjoint(&split->folds[i], &others))
            return keel_fail(err, KEEL_E_INVALID, "split", "fold %s holds all of %s", fold, split->text);
    }
    in.folds[n] = cut;
    out.folds[n] = others;
    put_text(&in);
    put_text(&out);
    *part = in;
    *rest = out;
    return KEEL_OK;
}

/* ---- as SQL ---- */

void keel__split_clause(const keel_split *split, keel_buf *sql) {
    if (!split) return;
    if (split->name[0]) keel_buf_text(sql, " AND c.split = :split");
    for (size_t i = 0; i < count_folds(split); i++)
        keel_buf_format(sql, " AND c.group_hash %% :folds%zu %s :fold%zu", i,
                        split->folds[i].kind == KEEL_FOLD_IN ? "=" : "<>", i);
}

static void bind_number(sqlite3_stmt *statement, const char *name, size_t i, int64_t value) {
    char place[16];
    snprintf(place, sizeof place, ":%s%zu", name, i);
    sqlite3_bind_int64(statement, sqlite3_bind_parameter_index(statement, place), value);
}

void keel__split_bind(const keel_split *split, sqlite3_stmt *statement) {
    if (!split) return;
    int name = sqlite3_bind_parameter_index(statement, ":split");
    if (name) sqlite3_bind_text(statement, name, split->name, -1, SQLITE_STATIC);
    for (size_t i = 0; i < count_folds(split); i++) {
        bind_number(statement, "fold", i, split->folds[i].fold);
        bind_number(statement, "folds", i, split->folds[i].folds);
    }
}
