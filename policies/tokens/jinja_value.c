#include "policies/tokens/jinja_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "policies/tokens/character.h"

typedef keel__jinja_value value;
typedef keel__jinja_budget budget;

enum { MOST_MEMORY = 256 << 20, DEEPEST = 100 };

/* ---- the budget ---- */

keel_status keel__jinja_fail(budget *on, keel_status code, const char *format, ...) {
    char message[400], where[300];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    snprintf(where, sizeof where, "%s:%d", on->name, on->line);
    return keel_fail(on->err, code, where, "%s", message);
}

keel_status keel__jinja_spend(budget *on, size_t steps) {
    if (steps > on->steps) return keel__jinja_fail(on, KEEL_E_INVALID, "the template takes too many steps");
    on->steps -= steps;
    return KEEL_OK;
}

keel_status keel__jinja_alloc(budget *on, size_t bytes, void *out) {
    void **to = out;
    if (bytes > MOST_MEMORY || on->arena->used > MOST_MEMORY - bytes)
        return keel__jinja_fail(on, KEEL_E_INVALID, "the template takes more than %d MB", MOST_MEMORY >> 20);
    KEEL_TRY(keel__jinja_spend(on, bytes / 64));
    *to = keel_arena_alloc(on->arena, bytes ? bytes : 1);
    return *to ? KEEL_OK : keel_nomem(on->err, on->name);
}

/* ---- making ---- */

value keel__jinja_text(const char *text) {
    return text ? keel__jinja_string(text, strlen(text)) : (value){.kind = JINJA_NONE};
}

keel_status keel__jinja_take(budget *on, keel_buf *buf, value *out) {
    char *text = NULL;
    keel_status status =
        buf->failed ? keel_nomem(on->err, on->name) : keel__jinja_alloc(on, buf->length + 1, &text);
    if (status == KEEL_OK) {
        if (buf->length) memcpy(text, buf->data, buf->length);
        text[buf->length] = '\0';
        *out = keel__jinja_string(text, buf->length);
    }
    keel_buf_free(buf);
    return status;
}

keel_status keel__jinja_list_make(budget *on, keel__jinja_kind kind, value *out) {
    *out = (value){.kind = kind};
    KEEL_TRY(keel__jinja_alloc(on, sizeof *out->list, &out->list));
    *out->list = (keel__jinja_list){0};
    return KEEL_OK;
}

/* Room for one more; what was before stays as garbage. */
static keel_status grow(budget *on, value **at, size_t n, size_t *room) {
    value *moved;
    if (n < *room) return KEEL_OK;
    const size_t more = *room ? 2 * *room : 4;
    KEEL_TRY(keel__jinja_alloc(on, more * sizeof *moved, &moved));
    if (n) memcpy(moved, *at, n * sizeof *moved);
    *at = moved;
    *room = more;
    return KEEL_OK;
}

keel_status keel__jinja_list_add(budget *on, const value *list, value item) {
    KEEL_TRY(grow(on, &list->list->item, list->list->n, &list->list->room));
    list->list->item[list->list->n++] = item;
    return KEEL_OK;
}

keel_status keel__jinja_dict_make(budget *on, keel__jinja_kind kind, value *out) {
    *out = (value){.kind = kind};
    KEEL_TRY(keel__jinja_alloc(on, sizeof *out->dict, &out->dict));
    *out->dict = (keel__jinja_dict){0};
    return KEEL_OK;
}

static bool is_scalar(const value *v) {
    return v->kind <= JINJA_STRING;
}

static bool equal_scalars(const value *a, const value *b) {
    if (keel__jinja_is_number(a) && keel__jinja_is_number(b)) {
        if (a->kind == JINJA_INT && b->kind == JINJA_INT) return a->whole == b->whole;
        return keel__jinja_real(a) == keel__jinja_real(b);
    }
    if (a->kind != b->kind || !is_scalar(a)) return false;
    return a->kind != JINJA_STRING || (a->length == b->length && memcmp(a->text, b->text, a->length) == 0);
}

const value *keel__jinja_dict_get(const value *dict, const value *key) {
    for (size_t i = 0; i < dict->dict->n; i++)
        if (equal_scalars(&dict->dict->key[i], key)) return &dict->dict->value[i];
    return NULL;
}

keel_status keel__jinja_dict_set(budget *on, const value *dict, value key, value item) {
    keel__jinja_dict *to = dict->dict;
    KEEL_TRY(keel__jinja_spend(on, 1 + to->n / 8));
    if (!is_scalar(&key) || key.kind == JINJA_UNDEFINED)
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "a %s as a key", keel__jinja_type(&key));
    const value *there = keel__jinja_dict_get(dict, &key);
    if (there) {
        to->value[there - to->value] = item;
        return KEEL_OK;
    }
    KEEL_TRY(grow(on, &to->key, to->n, &to->room_keys));
    KEEL_TRY(grow(on, &to->value, to->n, &to->room));
    to->key[to->n] = key;
    to->value[to->n++] = item;
    return KEEL_OK;
}

static keel_status from_number(const cJSON *json, value *out) {
    const double real = json->valuedouble;
    char *end = NULL;
    if (json->valuestring) { /* the digits of a whole number that a double may not hold */
        const long long whole = strtoll(json->valuestring, &end, 10);
        if (end && !*end && whole != INT64_MAX && whole != INT64_MIN)
            return *out = keel__jinja_int(whole), KEEL_OK;
    }
    if (!keel_json_real(json) && floor(real) == real && fabs(real) < 9007199254740992.0)
        *out = keel__jinja_int((int64_t)real);
    else
        *out = (value){.kind = JINJA_FLOAT, .real = real};
    return KEEL_OK;
}

/* Members keep their place: keys of JSON that was read are there once each. */
static keel_status from_json(budget *on, const cJSON *json, int depth, value *out) {
    const cJSON *item;
    value one;
    *out = (value){.kind = JINJA_NONE};
    if (depth > DEEPEST) return keel__jinja_fail(on, KEEL_E_INVALID, "JSON nested deeper than %d", DEEPEST);
    KEEL_TRY(keel__jinja_spend(on, 1));
    if (!json || cJSON_IsNull(json)) return KEEL_OK;
    if (cJSON_IsBool(json)) return *out = keel__jinja_bool(cJSON_IsTrue(json)), KEEL_OK;
    if (cJSON_IsNumber(json)) return from_number(json, out);
    if (cJSON_IsString(json)) return *out = keel__jinja_text(json->valuestring), KEEL_OK;
    if (cJSON_IsArray(json)) {
        KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
        cJSON_ArrayForEach (item, json) {
            KEEL_TRY(from_json(on, item, depth + 1, &one));
            KEEL_TRY(keel__jinja_list_add(on, out, one));
        }
        return KEEL_OK;
    }
    KEEL_TRY(keel__jinja_dict_make(on, JINJA_DICT, out));
    cJSON_ArrayForEach (item, json) {
        KEEL_TRY(from_json(on, item, depth + 1, &one));
        KEEL_TRY(keel__jinja_dict_set(on, out, keel__jinja_text(item->string), one));
    }
    return KEEL_OK;
}

keel_status keel__jinja_from_json(budget *on, const cJSON *json, value *out) {
    return from_json(on, json, 0, out);
}

/* ---- asking ---- */

bool keel__jinja_is_number(const value *v) {
    return v->kind == JINJA_BOOL || v->kind == JINJA_INT || v->kind == JINJA_FLOAT;
}

double keel__jinja_real(const value *v) {
    return v->kind == JINJA_FLOAT ? v->real : v->kind == JINJA_INT ? (double)v->whole : v->truth ? 1 : 0;
}

bool keel__jinja_truth(const value *v) {
    switch (v->kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v->truth;
    case JINJA_INT:
        return v->whole != 0;
    case JINJA_FLOAT:
        return v->real != 0;
    case JINJA_STRING:
        return v->length > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v->list->n > 0;
    case JINJA_DICT:
        return v->dict->n > 0;
    default:
        return true;
    }
}

static bool is_sequence(const value *v) {
    return v->kind == JINJA_LIST || v->kind == JINJA_TUPLE;
}

static bool equal(budget *on, const value *a, const value *b, int depth);

static bool equal_dicts(budget *on, const value *a, const value *b, int depth) {
    if (a->dict->n != b->dict->n) return false;
    for (size_t i = 0; i < a->dict->n; i++) {
        const value *other = keel__jinja_dict_get(b, &a->dict->key[i]);
        if (!other || !equal(on, &a->dict->value[i], other, depth + 1)) return false;
    }
    return true;
}

static bool equal(budget *on, const value *a, const value *b, int depth) {
    const size_t steps = 1 + (a->kind == JINJA_STRING ? a->length / 64
                              : a->kind == JINJA_DICT ? a->dict->n
                                                      : 0);
    on->steps = depth > DEEPEST || steps > on->steps ? 0 : on->steps - steps;
    if (on->steps == 0) return false;
    if (is_scalar(a) || a->kind != b->kind) return equal_scalars(a, b);
    if (a->kind == JINJA_DICT) return equal_dicts(on, a, b, depth);
    if (!is_sequence(a)) return a->list == b->list;
    if (a->list->n != b->list->n) return false;
    for (size_t i = 0; i < a->list->n; i++)
        if (!equal(on, &a->list->item[i], &b->list->item[i], depth + 1)) return false;
    return true;
}

bool keel__jinja_equal(budget *on, const value *a, const value *b) {
    return equal(on, a, b, 0);
}

static int sign(double x) {
    return (x > 0) - (x < 0);
}

/* Where two lists differ first, their items are compared; *order: by length, where they do not. */
static bool descend(budget *on, const value **a, const value **b, int *order) {
    const size_t n = (*a)->list->n < (*b)->list->n ? (*a)->list->n : (*b)->list->n;
    *order = ((*a)->list->n > (*b)->list->n) - ((*a)->list->n < (*b)->list->n);
    for (size_t i = 0; i < n; i++)
        if (!keel__jinja_equal(on, &(*a)->list->item[i], &(*b)->list->item[i])) {
            *a = &(*a)->list->item[i];
            *b = &(*b)->list->item[i];
            return true;
        }
    return false;
}

keel_status keel__jinja_compare(budget *on, const value *a, const value *b, int *order) {
    KEEL_TRY(keel__jinja_spend(on, 1));
    while (is_sequence(a) && a->kind == b->kind) {
        if (!descend(on, &a, &b, order)) return KEEL_OK;
        KEEL_TRY(keel__jinja_spend(on, 1));
    }
    if (a->kind == JINJA_INT && b->kind == JINJA_INT)
        *order = (a->whole > b->whole) - (a->whole < b->whole);
    else if (keel__jinja_is_number(a) && keel__jinja_is_number(b))
        *order = sign(keel__jinja_real(a) - keel__jinja_real(b));
    else if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) {
        const size_t n = a->length < b->length ? a->length : b->length;
        KEEL_TRY(keel__jinja_spend(on, n / 64));
        *order = sign(memcmp(a->text, b->text, n));
        if (*order == 0) *order = (a->length > b->length) - (a->length < b->length);
    } else
        return keel__jinja_fail(on, KEEL_E_INVALID, "cannot compare %s and %s", keel__jinja_type(a),
                                keel__jinja_type(b));
    return KEEL_OK;
}

const char *keel__jinja_type(const value *v) {
    static const char *const names[] = {"undefined", "NoneType", "bool",    "int",  "float",
                                        "str",       "list",     "tuple",   "dict", "Namespace",
                                        "generator", "loop",     "callable"};
    return names[v->kind];
}

size_t keel__jinja_characters(const value *string) {
    size_t n = 0;
    for (size_t i = 0; i < string->length; i++) n += ((unsigned char)string->text[i] & 0xC0) != 0x80;
    return n;
}

keel_status keel__jinja_items(budget *on, const value *v, value *list) {
    if (is_sequence(v)) return *list = *v, KEEL_OK;
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, list));
    if (v->kind == JINJA_UNDEFINED) return KEEL_OK;
    if (v->kind == JINJA_DICT) {
        *list->list = (keel__jinja_list){v->dict->key, v->dict->n, v->dict->n};
        return KEEL_OK;
    }
    if (v->kind == JINJA_GENERATOR) {
        *list->list = *v->list;
        *v->list = (keel__jinja_list){0};
        return KEEL_OK;
    }
    if (v->kind != JINJA_STRING)
        return keel__jinja_fail(on, KEEL_E_INVALID, "%s is not iterable", keel__jinja_type(v));
    for (size_t at = 0, used; at < v->length; at += used) {
        keel__character_at(v->text, v->length, at, &used);
        KEEL_TRY(keel__jinja_list_add(on, list, keel__jinja_string(v->text + at, used)));
    }
    return KEEL_OK;
}

/* ---- printing ---- */

/* As Python's repr: the shortest digits that read back, with an exponent below -4 and from 16 on. */
static void print_real(double real, keel_buf *out) {
    char text[40], digits[24] = "";
    int exponent = 0, precision = 0, n = 0;
    if (!isfinite(real)) {
        keel_buf_text(out, isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
        return;
    }
    do snprintf(text, sizeof text, "%.*e", precision++, real);
    while (precision < 18 && strtod(text, NULL) != real);
    for (const char *c = text; *c && *c != 'e'; c++)
        if (*c >= '0' && *c <= '9') digits[n++] = *c;
    exponent = atoi(strchr(text, 'e') + 1);
    if (*text == '-') keel_buf_text(out, "-");
    if (exponent < -4 || exponent >= 16) {
        keel_buf_format(out, n > 1 ? "%c.%s" : "%c", digits[0], digits + 1);
        keel_buf_format(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) keel_buf_text(out, "0.");
    for (int i = exponent + 1; i < 0; i++) keel_buf_text(out, "0");
    for (int i = 0; i < n || i <= exponent; i++) {
        if (i == exponent + 1 && exponent >= 0) keel_buf_text(out, ".");
        keel_buf_append(out, i < n ? &digits[i] : "0", 1);
    }
    if (n <= exponent + 1) keel_buf_text(out, ".0");
}

static void print_scalar(const value *v, keel_buf *out) {
    if (v->kind == JINJA_FLOAT)
        print_real(v->real, out);
    else if (v->kind == JINJA_INT)
        keel_buf_format(out, "%lld", (long long)v->whole);
    else if (v->kind == JINJA_BOOL)
        keel_buf_text(out, v->truth ? "True" : "False");
    else if (v->kind == JINJA_NONE)
        keel_buf_text(out, "None");
}

/* As Python's repr of a str; of what is not printable, control characters alone are escaped. */
static void print_quoted(const value *v, keel_buf *out) {
    const bool single = memchr(v->text, '\'', v->length) && !memchr(v->text, '"', v->length);
    const char quote = single ? '"' : '\'';
    keel_buf_append(out, &quote, 1);
    for (size_t i = 0; i < v->length; i++) {
        const char c = v->text[i];
        if (c == quote || c == '\\')
            keel_buf_format(out, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            keel_buf_text(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if ((unsigned char)c < 0x20 || c == 0x7F)
            keel_buf_format(out, "\\x%02x", (unsigned)c);
        else
            keel_buf_append(out, &c, 1);
    }
    keel_buf_append(out, &quote, 1);
}

static keel_status print(budget *on, const value *v, int depth, keel_buf *out);

static keel_status print_list(budget *on, const value *v, int depth, keel_buf *out) {
    keel_buf_text(out, v->kind == JINJA_LIST ? "[" : "(");
    for (size_t i = 0; i < v->list->n; i++) {
        if (i) keel_buf_text(out, ", ");
        KEEL_TRY(print(on, &v->list->item[i], depth + 1, out));
    }
    keel_buf_text(out, v->kind == JINJA_LIST ? "]" : v->list->n == 1 ? ",)" : ")");
    return KEEL_OK;
}

static keel_status print_dict(budget *on, const value *v, int depth, keel_buf *out) {
    keel_buf_text(out, v->kind == JINJA_NAMESPACE ? "<Namespace {" : "{");
    for (size_t i = 0; i < v->dict->n; i++) {
        if (i) keel_buf_text(out, ", ");
        KEEL_TRY(print(on, &v->dict->key[i], depth + 1, out));
        keel_buf_text(out, ": ");
        KEEL_TRY(print(on, &v->dict->value[i], depth + 1, out));
    }
    keel_buf_text(out, v->kind == JINJA_NAMESPACE ? "}>" : "}");
    return KEEL_OK;
}

/* How a value may grow as text: what is printed again and again is bounded like memory. */
static keel_status check_output(budget *on, const keel_buf *out) {
    if (out->length > MOST_MEMORY)
        return keel__jinja_fail(on, KEEL_E_INVALID, "the template makes a text of more than %d MB",
                                MOST_MEMORY >> 20);
    return out->failed ? keel_nomem(on->err, on->name) : KEEL_OK;
}

static keel_status print(budget *on, const value *v, int depth, keel_buf *out) {
    KEEL_TRY(keel__jinja_spend(on, 1 + (v->kind == JINJA_STRING ? v->length / 64 : 0)));
    if (depth > DEEPEST)
        return keel__jinja_fail(on, KEEL_E_INVALID, "a value nested deeper than %d", DEEPEST);
    switch (v->kind) {
    case JINJA_LIST:
    case JINJA_TUPLE:
        return print_list(on, v, depth, out);
    case JINJA_DICT:
    case JINJA_NAMESPACE:
        return print_dict(on, v, depth, out);
    case JINJA_STRING:
        if (depth)
            print_quoted(v, out);
        else
            keel_buf_append(out, v->text, v->length);
        break;
    case JINJA_UNDEFINED:
        if (depth) keel_buf_text(out, "Undefined");
        break;
    case JINJA_GENERATOR:
    case JINJA_LOOP:
    case JINJA_CALLABLE:
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "a %s as text", keel__jinja_type(v));
    default:
        print_scalar(v, out);
    }
    return check_output(on, out);
}

keel_status keel__jinja_print(budget *on, const value *v, keel_buf *out) {
    return print(on, v, 0, out);
}

/* ---- JSON ---- */

static void dump_string(const keel__jinja_dumps *how, const value *v, keel_buf *out) {
    keel_buf_text(out, "\"");
    for (size_t at = 0, used; at < v->length; at += used) {
        const int32_t c = keel__character_at(v->text, v->length, at, &used);
        static const char named[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
        const char *name = c > 0 && c < 0x80 ? strchr(named, c) : NULL;
        if (name)
            keel_buf_format(out, "\\%c", letters[name - named]);
        else if (c < 0x20 || (how->ascii && c >= 0x7F && c < 0x10000 && c != 0x7F))
            keel_buf_format(out, "\\u%04x", (unsigned)c);
        else if (how->ascii && c >= 0x10000)
            keel_buf_format(out, "\\u%04x\\u%04x", 0xD800u + ((unsigned)(c - 0x10000) >> 10),
                            0xDC00u + ((unsigned)(c - 0x10000) & 0x3FF));
        else
            keel_buf_append(out, v->text + at, used);
    }
    keel_buf_text(out, "\"");
}

static void new_line(const keel__jinja_dumps *how, int depth, keel_buf *out) {
    if (how->indent < 0) return;
    keel_buf_text(out, "\n");
    for (int64_t i = 0; i < how->indent * depth; i++) keel_buf_text(out, " ");
}

/* The order in which members are written: theirs, or that of their keys. */
static keel_status member_order(budget *on, const keel__jinja_dumps *how, const value *v, size_t **out) {
    const size_t n = v->dict->n;
    size_t *order;
    KEEL_TRY(keel__jinja_alloc(on, (n + 1) * sizeof *order, &order));
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (int before = 0; how->sort && at > 0; at--) {
            KEEL_TRY(keel__jinja_compare(on, &v->dict->key[i], &v->dict->key[order[at - 1]], &before));
            if (before >= 0) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    *out = order;
    return KEEL_OK;
}

static keel_status dump_key(budget *on, const keel__jinja_dumps *how, const value *key, keel_buf *out) {
    if (key->kind == JINJA_STRING) return dump_string(how, key, out), KEEL_OK;
    keel_buf_text(out, "\"");
    KEEL_TRY(keel__jinja_dump(on, how, key, 0, out));
    keel_buf_text(out, "\"");
    return KEEL_OK;
}

static keel_status dump_members(budget *on, const keel__jinja_dumps *how, const value *v, int depth,
                                keel_buf *out) {
    const bool dict = v->kind == JINJA_DICT;
    const size_t n = dict ? v->dict->n : v->list->n;
    size_t *order = NULL;
    if (dict) KEEL_TRY(member_order(on, how, v, &order));
    keel_buf_text(out, dict ? "{" : "[");
    for (size_t i = 0; i < n; i++) {
        if (i) keel_buf_append(out, how->item.text, how->item.length);
        new_line(how, depth + 1, out);
        if (dict) {
            KEEL_TRY(dump_key(on, how, &v->dict->key[order[i]], out));
            keel_buf_append(out, how->key.text, how->key.length);
        }
        KEEL_TRY(
            keel__jinja_dump(on, how, dict ? &v->dict->value[order[i]] : &v->list->item[i], depth + 1, out));
    }
    if (n) new_line(how, depth, out);
    keel_buf_text(out, dict ? "}" : "]");
    return check_output(on, out);
}

keel_status keel__jinja_dump(budget *on, const keel__jinja_dumps *how, const value *v, int depth,
                             keel_buf *out) {
    KEEL_TRY(keel__jinja_spend(on, 1 + (v->kind == JINJA_STRING ? v->length / 16 : 0)));
    if (depth > DEEPEST)
        return keel__jinja_fail(on, KEEL_E_INVALID, "a value nested deeper than %d", DEEPEST);
    switch (v->kind) {
    case JINJA_NONE:
        keel_buf_text(out, "null");
        break;
    case JINJA_BOOL:
        keel_buf_text(out, v->truth ? "true" : "false");
        break;
    case JINJA_INT:
        print_scalar(v, out);
        break;
    case JINJA_FLOAT:
        if (isfinite(v->real))
            print_real(v->real, out);
        else
            keel_buf_text(out, isnan(v->real) ? "NaN" : v->real > 0 ? "Infinity" : "-Infinity");
        break;
    case JINJA_STRING:
        dump_string(how, v, out);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        return dump_members(on, how, v, depth, out);
    default:
        return keel__jinja_fail(on, KEEL_E_INVALID, "%s is not JSON serializable", keel__jinja_type(v));
    }
    return check_output(on, out);
}
