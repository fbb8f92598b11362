/* Reading JSON: one strict pass from text to cJSON values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/file.h"
#include "core/json.h"
#include "core/text.h"

/* MAX_VALUES: a value takes some 70 bytes, be it "0" in the text; so a hostile line stays below 600 MB. */
enum { MAX_DEPTH = 100, MAX_VALUES = 1 << 23, MAX_NUMBER = 63, POOL = 4096, FEW = 16 };

static const double EXACT = 9007199254740992.0; /* 2^53 */

typedef struct reader {
    const char *text, *at, *end;
    const char *where;
    keel_err *err;
    keel_arena *arena;     /* where values and texts go; NULL: each is allocated, for cJSON_Delete */
    char *pool, *pool_end; /* of the arena, for texts */
    size_t values;         /* read so far */
} reader;

/* ---- failing ---- */

static keel_status bad(const reader *r, const char *at, const char *what) {
    return keel_fail(r->err, KEEL_E_PARSE, r->where, "byte %zu: %s", (size_t)(at - r->text), what);
}

static keel_status expected(const reader *r, const char *what) {
    unsigned char c = r->at < r->end ? (unsigned char)*r->at : 0;
    char got[16] = "the end";
    if (r->at < r->end) snprintf(got, sizeof got, c > ' ' && c < 0x7F ? "'%c'" : "byte 0x%02x", c);
    return keel_fail(r->err, KEEL_E_PARSE, r->where, "byte %zu: expected %s, got %s",
                     (size_t)(r->at - r->text), what, got);
}

static keel_status no_memory(const reader *r) {
    return keel_fail(r->err, KEEL_E_NOMEM, r->where, "no memory to parse %zu bytes of JSON",
                     (size_t)(r->end - r->text));
}

/* ---- values ---- */

static cJSON *new_value(reader *r, int type) {
    cJSON *value = r->arena ? keel_arena_alloc(r->arena, sizeof *value) : cJSON_malloc(sizeof *value);
    if (value) *value = (cJSON){.type = type};
    return value;
}

/* Room for a text of `length` bytes and its NUL. In an arena many share one piece of it, which is no larger
 * than what may still come. */
static char *new_text(reader *r, size_t length) {
    if (!r->arena) return cJSON_malloc(length + 1);
    if ((size_t)(r->pool_end - r->pool) <= length) {
        const size_t left = (size_t)(r->end - r->at) + length + 1;
        const size_t bytes = length >= POOL ? length + 1 : left < POOL ? left : POOL;
        char *piece = keel_arena_alloc(r->arena, bytes);
        if (!piece) return NULL;
        r->pool = piece;
        r->pool_end = piece + bytes;
    }
    char *text = r->pool;
    r->pool += length + 1;
    return text;
}

/* ---- many bytes at a time ---- */

#define EVERY(byte) (0x0101010101010101u * (byte))

static uint64_t load8(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* High bits of the bytes that are zero; after the first such byte others may be marked too. */
static uint64_t zero_bytes(uint64_t word) {
    return (word - EVERY(0x01)) & ~word & EVERY(0x80);
}

static const char *skip_plain(const char *at, const char *end) {
    for (; end - at >= 8; at += 8) {
        uint64_t word = load8(at), control = (word - EVERY(0x20)) & ~word & EVERY(0x80);
        if (control | zero_bytes(word ^ EVERY('"')) | zero_bytes(word ^ EVERY('\\'))) break;
    }
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) at++;
    return at;
}

static void skip_space(reader *r) {
    const char *at = r->at, *end = r->end;
    for (;;) {
        while (end - at >= 8 && load8(at) == EVERY(' ')) at += 8;
        if (at == end || (*at != ' ' && *at != '\n' && *at != '\r' && *at != '\t')) break;
        at++;
    }
    r->at = at;
}

/* ---- texts ---- */

/* Four hexadecimal digits at `at`, or -1. */
static int hex4(const reader *r, const char *at) {
    int value = 0;
    if (r->end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int c = at[i] | 32;
        int digit = at[i] >= '0' && at[i] <= '9' ? at[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* At a backslash. */
static keel_status scan_escape(reader *r) {
    const char *start = r->at++;
    if (r->at < r->end && *r->at && strchr("\"\\/bfnrt", *r->at)) return r->at++, KEEL_OK;
    if (r->at == r->end || *r->at != 'u') return bad(r, start, "unknown escape in a string");
    int unit = hex4(r, r->at + 1);
    if (unit < 0) return bad(r, start, "\\u wants four hexadecimal digits");
    if (unit == 0) return bad(r, start, "\\u0000 in a string: text cannot hold NUL");
    r->at += 5;
    if (unit < 0xD800 || unit > 0xDFFF) return KEEL_OK;
    int low = r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r, r->at + 2) : -1;
    if (unit > 0xDBFF || low < 0xDC00 || low > 0xDFFF) return bad(r, start, "a lone surrogate in a string");
    r->at += 6;
    return KEEL_OK;
}

/* From the opening quote to behind the closing one. UTF-8 is checked for the whole text at once, before. */
static keel_status scan_string(reader *r, bool *escaped) {
    const char *start = r->at++;
    *escaped = false;
    for (;;) {
        r->at = skip_plain(r->at, r->end);
        if (r->at == r->end) return bad(r, start, "a string without an end");
        if (*r->at == '"') return r->at++, KEEL_OK;
        if (*r->at != '\\') return bad(r, r->at, "a control character in a string (write it as \\u00xx)");
        KEEL_TRY(scan_escape(r));
        *escaped = true;
    }
}

static char *put_point(char *out, unsigned point) {
    if (point < 0x80) {
        *out++ = (char)point;
        return out;
    }
    int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    *out++ = (char)(lead[more] | point >> (6 * more));
    while (more-- > 0) *out++ = (char)(0x80 | (point >> (6 * more) & 0x3F));
    return out;
}

/* Writes what the escape at `at` stands for; returns what follows it. It was scanned before. */
static const char *put_escape(const reader *r, const char *at, char **out) {
    static const char *const letters = "\"\\/bfnrt", *const meant = "\"\\/\b\f\n\r\t";
    if (at[1] != 'u') {
        *(*out)++ = meant[strchr(letters, at[1]) - letters];
        return at + 2;
    }
    unsigned point = (unsigned)hex4(r, at + 2);
    at += 6;
    if (point >= 0xD800 && point <= 0xDFFF) {
        point = 0x10000 + ((point - 0xD800) << 10) + ((unsigned)hex4(r, at + 2) - 0xDC00);
        at += 6;
    }
    *out = put_point(*out, point);
    return at;
}

/* At the opening quote. An escape is never shorter than what it stands for. */
static keel_status read_string(reader *r, char **out, size_t *length) {
    bool escaped;
    const char *from = r->at + 1;
    KEEL_TRY(scan_string(r, &escaped));
    const char *stop = r->at - 1;
    char *text = new_text(r, (size_t)(stop - from)), *to = text;
    if (!text) return no_memory(r);
    *out = text;
    while (escaped && from < stop) {
        const char *plain = from;
        from = memchr(from, '\\', (size_t)(stop - from));
        if (!from) from = stop;
        memmove(to, plain, (size_t)(from - plain));
        to += from - plain;
        if (from < stop) from = put_escape(r, from, &to);
    }
    memcpy(to, from, (size_t)(stop - from));
    to += stop - from;
    *to = '\0';
    *length = (size_t)(to - text);
    return KEEL_OK;
}

/* ---- numbers ---- */

/* Where digits and power of ten are exact as doubles, so is rounding their quotient once (Clinger 1990). */
static bool few_digits(const char *at, const char *end, double *out) {
    static const double power[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const bool negative = *at == '-';
    uint64_t digits = 0;
    size_t after = 0;
    if (end - at > 16) return false;
    for (at += negative; at < end && *at != '.'; at++) {
        if ((unsigned)(*at - '0') > 9u) return false;
        digits = digits * 10 + (unsigned)(*at - '0');
    }
    for (at += at < end; at < end; at++, after++) {
        if ((unsigned)(*at - '0') > 9u) return false;
        digits = digits * 10 + (unsigned)(*at - '0');
    }
    if (digits > 999999999999999u) return false;
    *out = (negative ? -1.0 : 1.0) * ((double)digits / power[after]);
    return true;
}

static size_t scan_digits(reader *r) {
    const char *start = r->at;
    while (r->at < r->end && (unsigned)(*r->at - '0') < 10u) r->at++;
    return (size_t)(r->at - start);
}

static keel_status scan_number(reader *r) {
    const char *start = r->at;
    if (*r->at == '-') r->at++;
    const char *first = r->at;
    size_t digits = scan_digits(r);
    if (digits == 0) return expected(r, "a digit");
    if (digits > 1 && *first == '0') return bad(r, first, "a number with a leading zero");
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (scan_digits(r) == 0) return expected(r, "a digit after the point");
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        if (scan_digits(r) == 0) return expected(r, "a digit in the exponent");
    }
    return r->at - start > MAX_NUMBER ? bad(r, start, "a number of more than 63 characters") : KEEL_OK;
}

/* Beside the bits of cJSON's own. */
enum { WRITTEN_REAL = 1 << 12 };

bool keel_json_real(const cJSON *number) {
    return (number->type & WRITTEN_REAL) != 0;
}

/* A whole number too large for a double to hold exactly keeps its digits, in valuestring. */
static keel_status read_number(reader *r, cJSON *value) {
    const char *start = r->at;
    KEEL_TRY(scan_number(r));
    if (!few_digits(start, r->at, &value->valuedouble)) {
        char copy[MAX_NUMBER + 1];
        memcpy(copy, start, (size_t)(r->at - start));
        copy[r->at - start] = '\0';
        value->valuedouble = keel_decimal_read(copy, NULL);
        if (!isfinite(value->valuedouble)) return bad(r, start, "a number too large for a double");
        if (fabs(value->valuedouble) >= EXACT && !strpbrk(copy, ".eE")) {
            if (!(value->valuestring = new_text(r, strlen(copy)))) return no_memory(r);
            memcpy(value->valuestring, copy, strlen(copy) + 1);
        }
    }
    for (const char *c = start; c < r->at; c++)
        if (*c == '.' || *c == 'e' || *c == 'E') value->type |= WRITTEN_REAL;
    value->valueint = value->valuedouble >= INT32_MAX   ? INT32_MAX
                      : value->valuedouble <= INT32_MIN ? INT32_MIN
                                                        : (int)value->valuedouble;
    return KEEL_OK;
}

/* ---- duplicate keys ---- */

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static keel_status fail_twice(const reader *r, const char *key) {
    return keel_fail(r->err, KEEL_E_PARSE, r->where, "the key \"%s\" stands twice in one object", key);
}

bool keel_json_twice(const cJSON *object, const char **key) {
    size_t count = 0, n = 0;
    for (const cJSON *item = object->child; item; item = item->next) count++;
    const char **keys = keel_calloc(count + 1, sizeof *keys);
    *key = NULL;
    if (!keys) return false;
    for (const cJSON *item = object->child; item; item = item->next) keys[n++] = item->string;
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count && !*key; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0) *key = keys[i];
    keel_free(keys);
    return true;
}

/* Many keys are sorted when all are there. */
static keel_status check_many(const reader *r, const cJSON *object, size_t count) {
    const char *twice;
    if (!keel_json_twice(object, &twice))
        return keel_fail(r->err, KEEL_E_NOMEM, r->where, "no memory for an object of %zu keys", count);
    return twice ? fail_twice(r, twice) : KEEL_OK;
}

/* One of a few is compared with those before it, when one of them left the same mark. */
static keel_status check_key(const reader *r, const cJSON *object, const cJSON *newest, size_t length,
                             uint64_t *marks) {
    const char *key = newest->string;
    unsigned sum =
        (unsigned)length * 7 + (length ? (unsigned char)key[0] * 5u + (unsigned char)key[length - 1] : 0);
    const uint64_t mark = (uint64_t)1 << (sum % 64);
    const bool seen = *marks & mark;
    *marks |= mark;
    for (const cJSON *item = object->child; seen && item != newest; item = item->next)
        if (strcmp(item->string, key) == 0) return fail_twice(r, key);
    return KEEL_OK;
}

/* ---- objects and arrays ---- */

/* Puts a new value at the end of its parent, where cJSON_Delete of the root finds it, whatever happens next.
 */
static cJSON *append(reader *r, cJSON *parent, cJSON *last) {
    cJSON *item = new_value(r, cJSON_NULL);
    if (!item) return NULL;
    if (last)
        last->next = item;
    else
        parent->child = item;
    item->prev = last;
    parent->child->prev = item; /* as cJSON has it: the first knows the last */
    return item;
}

static keel_status read_key(reader *r, cJSON *item, size_t *length) {
    if (r->at == r->end || *r->at != '"') return expected(r, "a key in quotes");
    KEEL_TRY(read_string(r, &item->string, length));
    skip_space(r);
    if (r->at == r->end || *r->at != ':') return expected(r, "':'");
    r->at++;
    return KEEL_OK;
}

static keel_status read_value(reader *r, cJSON *into, int depth);

/* At the opening bracket of an object or an array. */
static keel_status read_container(reader *r, cJSON *into, int depth) {
    const bool object = *r->at == '{';
    const char close = object ? '}' : ']';
    cJSON *item = NULL;
    size_t count = 0, length = 0;
    uint64_t marks = 0;
    into->type = object ? cJSON_Object : cJSON_Array;
    if (depth >= MAX_DEPTH) return bad(r, r->at, "nested more than 100 deep");
    r->at++;
    skip_space(r);
    if (r->at < r->end && *r->at == close) return r->at++, KEEL_OK;
    for (;;) {
        if (++r->values > MAX_VALUES) return bad(r, r->at, "more than 8 million values");
        if (!(item = append(r, into, item))) return no_memory(r);
        skip_space(r);
        if (object) KEEL_TRY(read_key(r, item, &length));
        if (object && ++count <= FEW) KEEL_TRY(check_key(r, into, item, length, &marks));
        KEEL_TRY(read_value(r, item, depth + 1));
        skip_space(r);
        if (r->at < r->end && *r->at == close) break;
        if (r->at == r->end || *r->at != ',') return expected(r, object ? "',' or '}'" : "',' or ']'");
        r->at++;
    }
    r->at++;
    return count > FEW ? check_many(r, into, count) : KEEL_OK;
}

static keel_status read_word(reader *r, const char *word, int type, cJSON *into) {
    size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return expected(r, "a JSON value");
    r->at += length;
    into->type = type;
    into->valueint = type == cJSON_True;
    return KEEL_OK;
}

static keel_status read_value(reader *r, cJSON *into, int depth) {
    size_t length;
    skip_space(r);
    switch (r->at < r->end ? *r->at : '\0') {
    case '{':
    case '[':
        return read_container(r, into, depth);
    case '"':
        into->type = cJSON_String;
        return read_string(r, &into->valuestring, &length);
    case 't':
        return read_word(r, "true", cJSON_True, into);
    case 'f':
        return read_word(r, "false", cJSON_False, into);
    case 'n':
        return read_word(r, "null", cJSON_NULL, into);
    default:
        if (r->at == r->end || (*r->at != '-' && (unsigned)(*r->at - '0') > 9u))
            return expected(r, "a JSON value");
        into->type = cJSON_Number;
        return read_number(r, into);
    }
}

/* ---- whole texts ---- */

/* A reader at the beginning of text that is UTF-8 throughout. */
static keel_status begin(reader *r, const char *text, size_t length, const char *where, keel_err *err) {
    *r = (reader){.text = text, .at = text, .end = text + length, .where = where, .err = err};
    size_t valid = keel_utf8_valid_prefix(text, length);
    if (valid < length) return bad(r, text + valid, text[valid] ? "invalid UTF-8" : "a NUL byte");
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) r->at += 3; /* a byte order mark */
    return KEEL_OK;
}

static keel_status finish(reader *r) {
    skip_space(r);
    return r->at == r->end ? KEEL_OK : expected(r, "nothing more after the value");
}

static keel_status parse(keel_arena *arena, const char *text, size_t length, const char *where, cJSON **out,
                         keel_err *err) {
    reader r;
    KEEL_TRY(begin(&r, text, length, where, err));
    r.arena = arena;
    cJSON *value = new_value(&r, cJSON_NULL);
    if (!value) return no_memory(&r);
    keel_status status = read_value(&r, value, 0);
    if (status == KEEL_OK) status = finish(&r);
    if (status == KEEL_OK)
        *out = value;
    else if (!arena)
        cJSON_Delete(value);
    return status;
}

keel_status keel_json_parse(const char *text, size_t length, const char *where, cJSON **out, keel_err *err) {
    return parse(NULL, text, length, where, out, err);
}

keel_status keel_json_parse_in(keel_arena *arena, const char *text, size_t length, const char *where,
                               const cJSON **out, keel_err *err) {
    cJSON *value = NULL;
    KEEL_TRY(parse(arena, text, length, where, &value, err));
    *out = value;
    return KEEL_OK;
}

keel_status keel_json_parse_file(const char *path, cJSON **out, keel_err *err) {
    keel_buf text = {0};
    keel_status status = keel_file_read(path, 0, &text, err);
    if (status == KEEL_OK) status = keel_json_parse(text.data, text.length, path, out, err);
    keel_buf_free(&text);
    return status;
}

/* ---- one item of an array after the other ---- */

keel_status keel_json_items_open(keel_json_items *items, const char *text, size_t length, const char *where,
                                 const char *of, keel_err *err) {
    reader r;
    KEEL_TRY(begin(&r, text, length, where, err));
    skip_space(&r);
    if (r.at < r.end && *r.at != '[')
        return keel_fail(err, KEEL_E_PARSE, where, "expected an array of %s", of);
    if (r.at == r.end) return expected(&r, "a JSON value");
    r.at++;
    *items = (keel_json_items){.text = text, .end = r.end, .where = where, .at = r.at};
    return KEEL_OK;
}

/* Behind the bracket or an item: over the comma to the next item, or over the end of the array and the text.
 */
static keel_status next_item(reader *r, size_t count, bool *more) {
    skip_space(r);
    *more = !(r->at < r->end && *r->at == ']');
    if (!*more) {
        r->at++;
        return finish(r);
    }
    if (count == 0) return KEEL_OK;
    if (r->at == r->end || *r->at != ',') return expected(r, "',' or ']'");
    r->at++;
    return KEEL_OK;
}

keel_status keel_json_items_next(keel_json_items *items, keel_arena *arena, const cJSON **out,
                                 keel_err *err) {
    reader r = {.text = items->text,
                .at = items->at,
                .end = items->end,
                .where = items->where,
                .err = err,
                .arena = arena};
    bool more;
    KEEL_TRY(next_item(&r, items->count, &more));
    cJSON *value = more ? new_value(&r, cJSON_NULL) : NULL;
    if (more && !value) return no_memory(&r);
    if (more) KEEL_TRY(read_value(&r, value, 1));
    items->at = r.at;
    items->count += more;
    *out = value;
    return KEEL_OK;
}
