#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "policies/tokens/jinja_function.h"

/* ---- filters of texts ---- */

/* What a filter of texts is given: str(value). */
static keel_status as_text(budget *on, const value *self, value *out) {
    keel_buf text = {0};
    if (self->kind == JINJA_STRING) return *out = *self, KEEL_OK;
    keel_status status = keel__jinja_print(on, self, &text);
    if (status == KEEL_OK) return keel__jinja_take(on, &text, out);
    keel_buf_free(&text);
    return status;
}

#define TEXT_FILTER(name, method)                                                                            \
    FUNCTION(name) {                                                                                         \
        value text;                                                                                          \
        KEEL_TRY(as_text(on, self, &text));                                                                  \
        return method(on, &text, arg, all, out);                                                             \
    }
TEXT_FILTER(trim, keel__jinja_strip)
TEXT_FILTER(upper, keel__jinja_upper)
TEXT_FILTER(lower, keel__jinja_lower)
TEXT_FILTER(title, keel__jinja_title)
TEXT_FILTER(capitalize, keel__jinja_capitalize)
TEXT_FILTER(replace, keel__jinja_replace)

FUNCTION(string) {
    UNUSED;
    return as_text(on, self, out);
}

/* Lines but the first get blanks before them; empty ones none, unless asked for. */
FUNCTION(indent) {
    int64_t width;
    value by, text;
    keel_buf made = {0};
    char *blanks;
    UNUSED;
    const bool is_text = arg[0] && arg[0]->kind == JINJA_STRING;
    KEEL_TRY(keel__jinja_int_argument(on, is_text ? NULL : arg[0], 4, &width));
    KEEL_TRY(as_text(on, self, &text));
    if (width < 0 || width > 1000) return keel__jinja_fail(on, KEEL_E_INVALID, "indent: 0 to 1000");
    KEEL_TRY(keel__jinja_alloc(on, (size_t)width + 1, &blanks));
    memset(blanks, ' ', (size_t)width);
    by = is_text ? *arg[0] : keel__jinja_string(blanks, (size_t)width);
    const bool first = arg[1] && keel__jinja_truth(arg[1]), blank = arg[2] && keel__jinja_truth(arg[2]);
    for (size_t from = 0, end; from <= text.length; from = end + 1) {
        const char *line_end = memchr(text.text + from, '\n', text.length - from);
        end = line_end ? (size_t)(line_end - text.text) : text.length;
        if (from > 0) keel_buf_text(&made, "\n");
        if (from == 0 ? first : blank || end > from) keel_buf_append(&made, by.text, by.length);
        keel_buf_append(&made, text.text + from, end - from);
        if (made.length > (64u << 20)) break;
    }
    return keel__jinja_take(on, &made, out);
}

/* transformers' own: json.dumps that leaves letters as they are. */
FUNCTION(tojson) {
    keel__jinja_dumps how = {.indent = -1};
    keel_buf text = {0};
    (void)all;
    KEEL_TRY(keel__jinja_int_argument(on, arg[1], -1, &how.indent));
    if (how.indent > 100) return keel__jinja_fail(on, KEEL_E_INVALID, "tojson: indent up to 100");
    how.ascii = arg[0] && keel__jinja_truth(arg[0]);
    how.sort = arg[3] && keel__jinja_truth(arg[3]);
    how.item = keel__jinja_text(how.indent < 0 ? ", " : ",");
    how.key = keel__jinja_text(": ");
    if (arg[2] && arg[2]->kind != JINJA_NONE) {
        if ((arg[2]->kind != JINJA_LIST && arg[2]->kind != JINJA_TUPLE) || arg[2]->list->n != 2)
            return keel__jinja_fail(on, KEEL_E_INVALID, "tojson: expected two separators");
        KEEL_TRY(keel__jinja_string_argument(on, &arg[2]->list->item[0], "", &how.item));
        KEEL_TRY(keel__jinja_string_argument(on, &arg[2]->list->item[1], "", &how.key));
    }
    keel_status status = keel__jinja_dump(on, &how, self, 0, &text);
    if (status == KEEL_OK) return keel__jinja_take(on, &text, out);
    keel_buf_free(&text);
    return status;
}

/* ---- numbers ---- */

/* NAN: it is none. */
static double number_of(const value *v) {
    char text[64] = "", *end = NULL;
    if (keel__jinja_is_number(v)) return keel__jinja_real(v);
    if (v->kind != JINJA_STRING || v->length == 0 || v->length >= sizeof text) return NAN;
    memcpy(text, v->text, v->length);
    const double real = keel_decimal_read(text, &end);
    return end[strspn(end, " \n\t\r")] ? NAN : real;
}

FUNCTION(to_int) {
    int64_t fallback;
    (void)all;
    KEEL_TRY(keel__jinja_int_argument(on, arg[0], 0, &fallback));
    if (self->kind == JINJA_INT) return *out = *self, KEEL_OK;
    const double real = number_of(self);
    *out = keel__jinja_int(fabs(real) < 9e18 ? (int64_t)real : fallback);
    return KEEL_OK;
}

FUNCTION(to_float) {
    (void)all, (void)on;
    double real = number_of(self);
    if (isnan(real)) real = arg[0] && keel__jinja_is_number(arg[0]) ? keel__jinja_real(arg[0]) : 0;
    *out = (value){.kind = JINJA_FLOAT, .real = real};
    return KEEL_OK;
}

FUNCTION(absolute) {
    UNUSED;
    if (self->kind == JINJA_INT && self->whole != INT64_MIN)
        *out = keel__jinja_int(llabs(self->whole));
    else if (self->kind == JINJA_FLOAT)
        *out = (value){.kind = JINJA_FLOAT, .real = fabs(self->real)};
    else
        return keel__jinja_fail(on, KEEL_E_INVALID, "abs: of a %s", keel__jinja_type(self));
    return KEEL_OK;
}

/* ---- filters of what can be gone through ---- */

FUNCTION(length) {
    UNUSED;
    switch (self->kind) {
    case JINJA_UNDEFINED:
        *out = keel__jinja_int(0);
        break;
    case JINJA_STRING:
        *out = keel__jinja_int((int64_t)keel__jinja_characters(self));
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        *out = keel__jinja_int((int64_t)self->list->n);
        break;
    case JINJA_DICT:
        *out = keel__jinja_int((int64_t)self->dict->n);
        break;
    default:
        return keel__jinja_fail(on, KEEL_E_INVALID, "length: of a %s", keel__jinja_type(self));
    }
    return keel__jinja_spend(on, self->kind == JINJA_STRING ? self->length / 64 : 0);
}

FUNCTION(list) {
    value items;
    UNUSED;
    KEEL_TRY(keel__jinja_items(on, self, &items));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    for (size_t i = 0; i < items.list->n; i++) KEEL_TRY(keel__jinja_list_add(on, out, items.list->item[i]));
    return KEEL_OK;
}

static keel_status one_of(budget *on, const value *self, bool last, value *out) {
    value items;
    KEEL_TRY(keel__jinja_items(on, self, &items));
    const size_t n = items.list->n;
    *out = n ? items.list->item[last ? n - 1 : 0]
             : (value){.kind = JINJA_UNDEFINED, .text = "an item of nothing"};
    return KEEL_OK;
}

FUNCTION(first) {
    UNUSED;
    return one_of(on, self, false, out);
}

FUNCTION(last) {
    UNUSED;
    return one_of(on, self, true, out);
}

FUNCTION(reverse) {
    value items;
    UNUSED;
    KEEL_TRY(keel__jinja_items(on, self, &items));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_GENERATOR, out));
    for (size_t i = items.list->n; i-- > 0;) KEEL_TRY(keel__jinja_list_add(on, out, items.list->item[i]));
    if (self->kind != JINJA_STRING) return KEEL_OK;
    keel_buf text = {0};
    for (size_t i = 0; i < out->list->n; i++)
        keel_buf_append(&text, out->list->item[i].text, out->list->item[i].length);
    return keel__jinja_take(on, &text, out);
}

FUNCTION(join) {
    value items, between, part;
    keel_buf text = {0};
    (void)all;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], "", &between));
    KEEL_TRY(keel__jinja_items(on, self, &items));
    for (size_t i = 0; i < items.list->n; i++) {
        keel_status status = arg[1] ? keel__jinja_dig(on, &items.list->item[i], arg[1], &part) : KEEL_OK;
        if (!arg[1]) part = items.list->item[i];
        if (i) keel_buf_append(&text, between.text, between.length);
        if (status == KEEL_OK) status = keel__jinja_spend(on, 1 + between.length / 64);
        if (status == KEEL_OK) status = keel__jinja_print(on, &part, &text);
        if (status != KEEL_OK) return keel_buf_free(&text), status;
    }
    return keel__jinja_take(on, &text, out);
}

FUNCTION(fallback) {
    UNUSED;
    const bool missing =
        self->kind == JINJA_UNDEFINED || (arg[1] && keel__jinja_truth(arg[1]) && !keel__jinja_truth(self));
    *out = !missing ? *self : arg[0] ? *arg[0] : keel__jinja_text("");
    return KEEL_OK;
}

FUNCTION(unique) {
    value items;
    UNUSED;
    KEEL_TRY(keel__jinja_items(on, self, &items));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    for (size_t i = 0; i < items.list->n; i++) {
        bool there;
        KEEL_TRY(keel__jinja_contains(on, out, &items.list->item[i], &there));
        if (!there) KEEL_TRY(keel__jinja_list_add(on, out, items.list->item[i]));
    }
    out->kind = JINJA_GENERATOR;
    return KEEL_OK;
}

/* What items are ordered by: themselves or an attribute, small letters unless case matters. */
static keel_status sort_key(budget *on, const value *item, const value *attribute, bool cased, value *out) {
    *out = *item;
    if (attribute && attribute->kind == JINJA_INT && item->kind == JINJA_TUPLE &&
        (size_t)attribute->whole < item->list->n)
        *out = item->list->item[attribute->whole];
    else if (attribute && attribute->kind != JINJA_NONE)
        KEEL_TRY(keel__jinja_dig(on, item, attribute, out));
    return cased || out->kind != JINJA_STRING ? KEEL_OK : keel__jinja_lower(on, out, NULL, NULL, out);
}

/* Merges the sorted halves of item and key [n] through room for as many. */
static keel_status merge(budget *on, value *item, value *key, size_t n, bool falling, value *room) {
    const size_t half = n / 2;
    if (n < 2) return KEEL_OK;
    KEEL_TRY(merge(on, item, key, half, falling, room));
    KEEL_TRY(merge(on, item + half, key + half, n - half, falling, room));
    for (size_t a = 0, b = half, i = 0; i < n; i++) {
        int order = a == half ? 1 : -1;
        if (a < half && b < n) KEEL_TRY(keel__jinja_compare(on, &key[a], &key[b], &order));
        const bool second = a == half || (b < n && (falling ? order < 0 : order > 0));
        room[2 * i] = item[second ? b : a];
        room[2 * i + 1] = key[second ? b++ : a++];
    }
    for (size_t i = 0; i < n; i++) item[i] = room[2 * i], key[i] = room[2 * i + 1];
    return KEEL_OK;
}

static keel_status sorted(budget *on, const value *items, const value *attribute, bool cased, bool falling,
                          value *out) {
    const size_t n = items->list->n;
    value *key, *room;
    KEEL_TRY(keel__jinja_alloc(on, (n + 1) * sizeof *key, &key));
    KEEL_TRY(keel__jinja_alloc(on, (2 * n + 1) * sizeof *room, &room));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    for (size_t i = 0; i < n; i++) {
        KEEL_TRY(keel__jinja_list_add(on, out, items->list->item[i]));
        KEEL_TRY(sort_key(on, &items->list->item[i], attribute, cased, &key[i]));
    }
    return merge(on, out->list->item, key, n, falling, room);
}

/* The least or the greatest, the first of equals. */
static keel_status extreme(budget *on, const value *self, int sign, value *out) {
    value items;
    KEEL_TRY(keel__jinja_items(on, self, &items));
    *out = (value){.kind = JINJA_UNDEFINED, .text = "an item of nothing"};
    for (size_t i = 0; i < items.list->n; i++) {
        int order = sign;
        if (i) KEEL_TRY(keel__jinja_compare(on, &items.list->item[i], out, &order));
        if (order == sign) *out = items.list->item[i];
    }
    return KEEL_OK;
}

FUNCTION(min) {
    UNUSED;
    return extreme(on, self, -1, out);
}

FUNCTION(max) {
    UNUSED;
    return extreme(on, self, 1, out);
}

FUNCTION(sort) {
    value items;
    (void)all;
    KEEL_TRY(keel__jinja_items(on, self, &items));
    return sorted(on, &items, arg[2], arg[1] && keel__jinja_truth(arg[1]),
                  arg[0] && keel__jinja_truth(arg[0]), out);
}

FUNCTION(dictsort) {
    value items, by;
    KEEL_TRY(keel__jinja_dict_items(on, self, arg, all, &items));
    KEEL_TRY(keel__jinja_string_argument(on, arg[1], "key", &by));
    const value which = keel__jinja_int(by.length == 5);
    return sorted(on, &items, &which, arg[0] && keel__jinja_truth(arg[0]),
                  arg[2] && keel__jinja_truth(arg[2]), out);
}

FUNCTION(items) {
    KEEL_TRY(keel__jinja_dict_items(on, self, arg, all, out));
    out->kind = JINJA_GENERATOR;
    return KEEL_OK;
}

/* ---- filters that are given a filter or a test ---- */

/* The rest of the arguments, behind the first n. */
static arguments rest(const arguments *all, size_t n) {
    return (arguments){all->n ? all->item + n : NULL, all->n - n, {0}};
}

/* map("trim"), map(attribute="name"[, default=...]) */
FUNCTION(map) {
    const value attribute = keel__jinja_text("attribute"), otherwise = keel__jinja_text("default");
    const value *path = all->keyword.dict ? keel__jinja_dict_get(&all->keyword, &attribute) : NULL,
                *missing = all->keyword.dict ? keel__jinja_dict_get(&all->keyword, &otherwise) : NULL;
    const keel__jinja_row *row =
        !path && all->n && all->item[0].kind == JINJA_STRING ? keel__jinja_filter(&all->item[0]) : NULL;
    value items, one;
    (void)arg;
    KEEL_TRY(keel__jinja_list_make(on, JINJA_GENERATOR, out));
    if (!keel__jinja_truth(self)) return KEEL_OK; /* none too is nothing to these filters */
    if (!path && !row)
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "map: expected attribute=, or a filter");
    KEEL_TRY(keel__jinja_items(on, self, &items));
    for (size_t i = 0; i < items.list->n; i++) {
        const arguments others = rest(all, row ? 1 : 0);
        KEEL_TRY(keel__jinja_spend(on, 1));
        if (path)
            KEEL_TRY(keel__jinja_dig(on, &items.list->item[i], path, &one));
        else
            KEEL_TRY(keel__jinja_apply(on, row, &items.list->item[i], &others, &one));
        if (one.kind == JINJA_UNDEFINED && missing) one = *missing;
        KEEL_TRY(keel__jinja_list_add(on, out, one));
    }
    return KEEL_OK;
}

/* Items, or those with an attribute, that pass a test (or are true), or that do not. */
static keel_status choose(budget *on, const value *self, const arguments *all, bool by_attribute, bool wanted,
                          value *out) {
    const size_t skipped = by_attribute ? 1 : 0;
    const bool tested = all->n > skipped;
    const keel__jinja_row *row =
        tested && all->item[skipped].kind == JINJA_STRING ? keel__jinja_test(&all->item[skipped]) : NULL;
    value items, one, passes;
    KEEL_TRY(keel__jinja_list_make(on, JINJA_GENERATOR, out));
    if (!keel__jinja_truth(self)) return KEEL_OK;
    if (all->n < skipped || (tested && !row))
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "select, reject: expected an attribute or a test");
    KEEL_TRY(keel__jinja_items(on, self, &items));
    for (size_t i = 0; i < items.list->n; i++) {
        const arguments others = rest(all, skipped + tested);
        one = items.list->item[i];
        KEEL_TRY(keel__jinja_spend(on, 1));
        if (by_attribute) KEEL_TRY(keel__jinja_dig(on, &items.list->item[i], &all->item[0], &one));
        passes = one;
        if (row) KEEL_TRY(keel__jinja_apply(on, row, &one, &others, &passes));
        if (keel__jinja_truth(&passes) == wanted)
            KEEL_TRY(keel__jinja_list_add(on, out, items.list->item[i]));
    }
    return KEEL_OK;
}

FUNCTION(select_items) {
    (void)arg;
    return choose(on, self, all, false, true, out);
}

FUNCTION(reject_items) {
    (void)arg;
    return choose(on, self, all, false, false, out);
}

FUNCTION(selectattr) {
    (void)arg;
    return choose(on, self, all, true, true, out);
}

FUNCTION(rejectattr) {
    (void)arg;
    return choose(on, self, all, true, false, out);
}

static const keel__jinja_row rows[] = {{"trim", "chars", 0, trim},
                                       {"upper", "", 0, upper},
                                       {"lower", "", 0, lower},
                                       {"title", "", 0, title},
                                       {"capitalize", "", 0, capitalize},
                                       {"replace", "old new count", 2, replace},
                                       {"string", "", 0, string},
                                       {"safe", "", 0, string},
                                       {"indent", "width first blank", 0, indent},
                                       {"tojson", "ensure_ascii indent separators sort_keys", 0, tojson},
                                       {"int", "default", 0, to_int},
                                       {"float", "default", 0, to_float},
                                       {"abs", "", 0, absolute},
                                       {"length", "", 0, length},
                                       {"count", "", 0, length},
                                       {"list", "", 0, list},
                                       {"first", "", 0, first},
                                       {"last", "", 0, last},
                                       {"reverse", "", 0, reverse},
                                       {"join", "d attribute", 0, join},
                                       {"default", "default_value boolean", 0, fallback},
                                       {"d", "default_value boolean", 0, fallback},
                                       {"unique", "", 0, unique},
                                       {"min", "", 0, min},
                                       {"max", "", 0, max},
                                       {"sort", "reverse case_sensitive attribute", 0, sort},
                                       {"dictsort", "case_sensitive by reverse", 0, dictsort},
                                       {"items", "", 0, items},
                                       {"map", "*", 0, map},
                                       {"select", "*", 0, select_items},
                                       {"reject", "*", 0, reject_items},
                                       {"selectattr", "*", 0, selectattr},
                                       {"rejectattr", "*", 0, rejectattr}};

const keel__jinja_row *keel__jinja_filter(const value *name) {
    return keel__jinja_find(rows, sizeof rows / sizeof *rows, name);
}
