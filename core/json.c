#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/text.h"

/* ---- the strict grammar: one pass over the text before cJSON sees it ---- */

/* MAX_NUMBER: cJSON reads no more characters of a number than this, and drops the rest. */
enum { MAX_DEPTH = 100, MAX_NUMBER = 63, MAX_PRINT_DEPTH = 1000 };

typedef struct scanner {
    const char *text, *at, *end;
    const char *where;
    keel_err *err;
} scanner;

static keel_status bad(const scanner *s, const char *at, const char *what) {
    return keel_fail(s->err, KEEL_E_PARSE, s->where, "byte %zu: %s", (size_t)(at - s->text), what);
}

static keel_status expected(const scanner *s, const char *what) {
    unsigned char c = s->at < s->end ? (unsigned char)*s->at : 0;
    char got[16] = "the end";
    if (s->at < s->end) snprintf(got, sizeof got, c > ' ' && c < 0x7F ? "'%c'" : "byte 0x%02x", c);
    return keel_fail(s->err, KEEL_E_PARSE, s->where, "byte %zu: expected %s, got %s",
                     (size_t)(s->at - s->text), what, got);
}

static void skip_space(scanner *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) s->at++;
}

/* Four hexadecimal digits at `at`, or -1. */
static int hex4(const scanner *s, const char *at) {
    int value = 0;
    if (s->end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int c = at[i] | 32;
        int digit = at[i] >= '0' && at[i] <= '9' ? at[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* At a backslash. */
static keel_status scan_escape(scanner *s) {
    const char *start = s->at++;
    if (s->at < s->end && *s->at && strchr("\"\\/bfnrt", *s->at)) return s->at++, KEEL_OK;
    if (s->at == s->end || *s->at != 'u') return bad(s, start, "unknown escape in a string");
    int unit = hex4(s, s->at + 1);
    if (unit < 0) return bad(s, start, "\\u wants four hexadecimal digits");
    if (unit == 0) return bad(s, start, "\\u0000 in a string: text cannot hold NUL");
    s->at += 5;
    if (unit < 0xD800 || unit > 0xDFFF) return KEEL_OK;
    int low = s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u' ? hex4(s, s->at + 2) : -1;
    if (unit > 0xDBFF || low < 0xDC00 || low > 0xDFFF) return bad(s, start, "a lone surrogate in a string");
    s->at += 6;
    return KEEL_OK;
}

/* At the opening quote. UTF-8 is checked for the whole text at once, before. */
static keel_status scan_string(scanner *s) {
    const char *start = s->at++;
    for (;;) {
        while (s->at < s->end && *s->at != '"' && *s->at != '\\' && (unsigned char)*s->at >= 0x20) s->at++;
        if (s->at == s->end) return bad(s, start, "a string without an end");
        if (*s->at == '"') return s->at++, KEEL_OK;
        if (*s->at != '\\') return bad(s, s->at, "a control character in a string (write it as \\u00xx)");
        KEEL_TRY(scan_escape(s));
    }
}

static size_t scan_digits(scanner *s) {
    const char *start = s->at;
    while (s->at < s->end && (unsigned)(*s->at - '0') < 10u) s->at++;
    return (size_t)(s->at - start);
}

static keel_status scan_number(scanner *s) {
    const char *start = s->at;
    bool huge_possible = false;
    if (*s->at == '-') s->at++;
    const char *first = s->at;
    size_t digits = scan_digits(s);
    if (digits == 0) return expected(s, "a digit");
    if (digits > 1 && *first == '0') return bad(s, first, "a number with a leading zero");
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (scan_digits(s) == 0) return expected(s, "a digit after the point");
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) s->at++;
        if (scan_digits(s) == 0) return expected(s, "a digit in the exponent");
        huge_possible = true;
    }
    size_t length = (size_t)(s->at - start);
    if (length > MAX_NUMBER) return bad(s, start, "a number of more than 63 characters");
    if (huge_possible) {
        char copy[MAX_NUMBER + 1];
        memcpy(copy, start, length);
        copy[length] = '\0';
        if (!isfinite(strtod(copy, NULL))) return bad(s, start, "a number too large for a double");
    }
    return KEEL_OK;
}

static keel_status scan_word(scanner *s, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0)
        return expected(s, "a JSON value");
    s->at += length;
    return KEEL_OK;
}

static keel_status scan_value(scanner *s, int depth);

/* At the opening bracket of an object or an array. */
static keel_status scan_container(scanner *s, int depth) {
    const bool object = *s->at == '{';
    const char close = object ? '}' : ']';
    if (depth >= MAX_DEPTH) return bad(s, s->at, "nested more than 100 deep");
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == close) return s->at++, KEEL_OK;
    for (;;) {
        if (object) {
            skip_space(s);
            if (s->at == s->end || *s->at != '"') return expected(s, "a key in quotes");
            KEEL_TRY(scan_string(s));
            skip_space(s);
            if (s->at == s->end || *s->at != ':') return expected(s, "':'");
            s->at++;
        }
        KEEL_TRY(scan_value(s, depth + 1));
        skip_space(s);
        if (s->at < s->end && *s->at == close) return s->at++, KEEL_OK;
        if (s->at == s->end || *s->at != ',') return expected(s, object ? "',' or '}'" : "',' or ']'");
        s->at++;
    }
}

static keel_status scan_value(scanner *s, int depth) {
    skip_space(s);
    switch (s->at < s->end ? *s->at : '\0') {
    case '{':
    case '[':
        return scan_container(s, depth);
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        if (s->at < s->end && (*s->at == '-' || (unsigned)(*s->at - '0') < 10u)) return scan_number(s);
        return expected(s, "a JSON value");
    }
}

/* Bytes of a byte order mark. */
static size_t mark_length(const char *text, size_t length) {
    return length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

static keel_status scan_text(const char *text, size_t length, const char *where, keel_err *err) {
    scanner s = {text, text, text + length, where, err};
    size_t valid = keel_utf8_valid_prefix(text, length);
    if (valid < length) return bad(&s, text + valid, text[valid] ? "invalid UTF-8" : "a NUL byte");
    s.at += mark_length(text, length);
    KEEL_TRY(scan_value(&s, 0));
    skip_space(&s);
    return s.at == s.end ? KEEL_OK : expected(&s, "nothing more after the value");
}

/* ---- duplicate keys ---- */

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum { FEW = 16 };

/* A key that an object has twice, or NULL. Few keys are compared pair by pair, many are sorted. */
static keel_status find_twice(const cJSON *object, const char **twice, const char *where, keel_err *err) {
    const char *few[FEW], **keys = few;
    size_t count = 0;
    *twice = NULL;
    for (const cJSON *item = object->child; item; item = item->next) count++;
    if (count > FEW && !(keys = keel_calloc(count, sizeof *keys)))
        return keel_fail(err, KEEL_E_NOMEM, where, "no memory for an object of %zu keys", count);
    size_t n = 0;
    for (const cJSON *item = object->child; item; item = item->next) {
        for (size_t i = 0; count <= FEW && i < n; i++)
            if (strcmp(keys[i], item->string) == 0) *twice = item->string;
        keys[n++] = item->string;
    }
    if (count > FEW) {
        qsort(keys, count, sizeof *keys, compare_keys);
        for (size_t i = 1; i < count; i++)
            if (strcmp(keys[i - 1], keys[i]) == 0) *twice = keys[i];
        keel_free(keys);
    }
    return KEEL_OK;
}

static keel_status reject_duplicates(const cJSON *value, const char *where, keel_err *err) {
    const char *twice = NULL;
    if (cJSON_IsObject(value)) KEEL_TRY(find_twice(value, &twice, where, err));
    if (twice) return keel_fail(err, KEEL_E_PARSE, where, "the key \"%s\" stands twice in one object", twice);
    for (const cJSON *item = value->child; item; item = item->next)
        if (item->child) KEEL_TRY(reject_duplicates(item, where, err));
    return KEEL_OK;
}

/* ---- parsing ---- */

static _Thread_local size_t lost;

static void *alloc_or_count(size_t bytes) {
    void *memory = keel_alloc(bytes);
    lost += !memory;
    return memory;
}

void keel_json_use_allocator(void) {
    cJSON_InitHooks(&(cJSON_Hooks){alloc_or_count, keel_free});
}

size_t keel_json_lost(void) {
    return lost;
}

bool keel_json_add(cJSON *to, const char *key, cJSON *item) {
    if (key ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item)) return true;
    cJSON_Delete(item);
    return false;
}

keel_status keel_json_parse(const char *text, size_t length, const char *where, cJSON **out, keel_err *err) {
    KEEL_TRY(scan_text(text, length, where, err));
    /* cJSON does not see a mark before a value of one byte. */
    size_t mark = mark_length(text, length);
    cJSON *value = cJSON_ParseWithLengthOpts(text + mark, length - mark, NULL, false);
    if (!value) return keel_fail(err, KEEL_E_NOMEM, where, "no memory to parse %zu bytes of JSON", length);
    keel_status status = reject_duplicates(value, where, err);
    if (status == KEEL_OK)
        *out = value;
    else
        cJSON_Delete(value);
    return status;
}

keel_status keel_json_parse_file(const char *path, cJSON **out, keel_err *err) {
    keel_buf text = {0};
    keel_status status = keel_file_read(path, 0, &text, err);
    if (status == KEEL_OK) status = keel_json_parse(text.data, text.length, path, out, err);
    keel_buf_free(&text);
    return status;
}

/* ---- typed look-ups ---- */

static const char *type_name(const cJSON *value) {
    switch (value ? value->type & 0xFF : cJSON_NULL) {
    case cJSON_String:
        return "a string";
    case cJSON_Number:
        return "a number";
    case cJSON_True:
    case cJSON_False:
        return "true or false";
    case cJSON_Array:
        return "an array";
    case cJSON_Object:
        return "an object";
    default:
        return "null";
    }
}

/* The value of a key that has one of the types (bits of cJSON); *found NULL when it is missing or null. */
static keel_status look_up(const cJSON *object, const char *key, bool required, int types, const char *wanted,
                           const cJSON **found, const char *where, keel_err *err) {
    if (!cJSON_IsObject(object))
        return keel_fail(err, KEEL_E_PARSE, where, "key \"%s\": expected an object that holds it, got %s",
                         key, type_name(object));
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    bool absent = !value || cJSON_IsNull(value);
    if (absent && required)
        return keel_fail(err, KEEL_E_PARSE, where, "key \"%s\": expected %s, got %s", key, wanted,
                         value ? "null" : "nothing");
    if (!absent && !(value->type & types))
        return keel_fail(err, KEEL_E_PARSE, where, "key \"%s\": expected %s, got %s", key, wanted,
                         type_name(value));
    *found = absent ? NULL : value;
    return KEEL_OK;
}

keel_status keel_json_string(const cJSON *object, const char *key, bool required, const char **out,
                             const char *where, keel_err *err) {
    const cJSON *value;
    KEEL_TRY(look_up(object, key, required, cJSON_String, "a string", &value, where, err));
    if (value) *out = value->valuestring;
    return KEEL_OK;
}

keel_status keel_json_number(const cJSON *object, const char *key, bool required, double *out,
                             const char *where, keel_err *err) {
    const cJSON *value;
    KEEL_TRY(look_up(object, key, required, cJSON_Number, "a number", &value, where, err));
    if (value) *out = value->valuedouble;
    return KEEL_OK;
}

keel_status keel_json_bool(const cJSON *object, const char *key, bool required, bool *out, const char *where,
                           keel_err *err) {
    const cJSON *value;
    KEEL_TRY(look_up(object, key, required, cJSON_True | cJSON_False, "true or false", &value, where, err));
    if (value) *out = cJSON_IsTrue(value);
    return KEEL_OK;
}

keel_status keel_json_array(const cJSON *object, const char *key, bool required, const cJSON **out,
                            const char *where, keel_err *err) {
    const cJSON *value;
    KEEL_TRY(look_up(object, key, required, cJSON_Array, "an array", &value, where, err));
    if (value) *out = value;
    return KEEL_OK;
}

keel_status keel_json_object(const cJSON *object, const char *key, bool required, const cJSON **out,
                             const char *where, keel_err *err) {
    const cJSON *value;
    KEEL_TRY(look_up(object, key, required, cJSON_Object, "an object", &value, where, err));
    if (value) *out = value;
    return KEEL_OK;
}

/* ---- printing ---- */

void keel_json_put_number(keel_buf *buf, double value) {
    char text[40];
    if (!isfinite(value)) {
        keel_buf_text(buf, "null");
        return;
    }
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(text, sizeof text, "%.0f", value);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, value);
            if (strtod(text, NULL) == value) break;
        }
    }
    keel_buf_text(buf, text);
}

void keel_json_put_string(keel_buf *buf, const char *text) {
    static const char *const short_escapes = "\"\\\b\f\n\r\t", *const letters = "\"\\bfnrt";
    keel_buf_append(buf, "\"", 1);
    while (*text) {
        const char *plain = text;
        while (*text && *text != '"' && *text != '\\' && (unsigned char)*text >= 0x20) text++;
        keel_buf_append(buf, plain, (size_t)(text - plain));
        if (!*text) break;
        const char *known = strchr(short_escapes, *text);
        if (known)
            keel_buf_append(buf, (char[2]){'\\', letters[known - short_escapes]}, 2);
        else
            keel_buf_format(buf, "\\u%04x", (unsigned)*text);
        text++;
    }
    keel_buf_append(buf, "\"", 1);
}

typedef struct printer {
    keel_buf *buf;
    bool pretty;
    keel_err *err;
} printer;

static void new_line(const printer *p, int depth) {
    if (!p->pretty) return;
    keel_buf_append(p->buf, "\n", 1);
    for (int i = 0; i < depth; i++) keel_buf_append(p->buf, "  ", 2);
}

static keel_status print_string(const printer *p, const char *text) {
    size_t length = strlen(text), valid = keel_utf8_valid_prefix(text, length);
    if (valid < length)
        return keel_fail(p->err, KEEL_E_INVALID, "keel_json_print",
                         "a string is not UTF-8 from its byte %zu on", valid);
    keel_json_put_string(p->buf, text);
    return KEEL_OK;
}

static keel_status print_value(const printer *p, const cJSON *value, int depth);

static keel_status print_children(const printer *p, const cJSON *value, int depth) {
    const bool object = cJSON_IsObject(value);
    if (depth >= MAX_PRINT_DEPTH)
        return keel_fail(p->err, KEEL_E_INVALID, "keel_json_print", "nested more than %d deep",
                         MAX_PRINT_DEPTH);
    keel_buf_append(p->buf, object ? "{" : "[", 1);
    for (const cJSON *item = value->child; item; item = item->next) {
        new_line(p, depth + 1);
        if (object) {
            KEEL_TRY(print_string(p, item->string ? item->string : ""));
            keel_buf_text(p->buf, p->pretty ? ": " : ":");
        }
        KEEL_TRY(print_value(p, item, depth + 1));
        if (item->next) keel_buf_append(p->buf, ",", 1);
    }
    if (value->child) new_line(p, depth);
    keel_buf_append(p->buf, object ? "}" : "]", 1);
    return KEEL_OK;
}

static keel_status print_value(const printer *p, const cJSON *value, int depth) {
    switch (value->type & 0xFF) {
    case cJSON_String:
        return print_string(p, value->valuestring ? value->valuestring : "");
    case cJSON_Array:
    case cJSON_Object:
        return print_children(p, value, depth);
    case cJSON_Number:
        keel_json_put_number(p->buf, value->valuedouble);
        return KEEL_OK;
    case cJSON_Raw:
        keel_buf_text(p->buf, value->valuestring ? value->valuestring : "null");
        return KEEL_OK;
    default:
        keel_buf_text(p->buf, cJSON_IsTrue(value) ? "true" : cJSON_IsFalse(value) ? "false" : "null");
        return KEEL_OK;
    }
}

keel_status keel_json_print(const cJSON *value, bool pretty, keel_buf *buf, keel_err *err) {
    printer p = {buf, pretty, err};
    KEEL_TRY(print_value(&p, value, 0));
    if (pretty) keel_buf_append(buf, "\n", 1);
    return buf->failed ? keel_fail(err, KEEL_E_NOMEM, "keel_json_print", "no memory for the JSON text")
                       : KEEL_OK;
}

keel_status keel_json_write_file(const char *path, const cJSON *value, keel_err *err) {
    keel_buf text = {0};
    keel_status status = keel_json_print(value, true, &text, err);
    if (status == KEEL_OK) status = keel_file_write(path, text.data, text.length, err);
    keel_buf_free(&text);
    return status;
}
