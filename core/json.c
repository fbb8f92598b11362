#include "core/json.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/text.h"

enum { MAX_PRINT_DEPTH = 1000 };

/* ---- cJSON's memory ---- */

static _Thread_local size_t lost;

static void *alloc_or_count(size_t bytes) {
    void *memory = keel_alloc(bytes);
    lost += !memory;
    return memory;
}

void keel_json_use_allocator(void) {
    cJSON_InitHooks(&(cJSON_Hooks){alloc_or_count, keel_free});
}

void keel_json_lose(void) {
    lost++;
}

size_t keel_json_lost(void) {
    return lost;
}

bool keel_json_add(cJSON *to, const char *key, cJSON *item) {
    if (key ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item)) return true;
    cJSON_Delete(item);
    return false;
}

/* ---- typed look-ups ---- */

const cJSON *keel_json_get(const cJSON *object, const char *key) {
    return object ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

double keel_json_number_or(const cJSON *object, const char *key, double otherwise) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

double keel_json_value(const cJSON *object, const char *key) {
    return keel_json_number_or(object, key, (double)NAN);
}

const char *keel_json_text(const cJSON *object, const char *key, const char *otherwise) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : otherwise;
}

const char *keel_json_unknown(const cJSON *object, const char *const *known) {
    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        const char *const *k = known;
        while (*k && strcmp(*k, item->string) != 0) k++;
        if (!*k) return item->string;
    }
    return NULL;
}

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
    char text[KEEL_DECIMAL_SIZE] = "null";
    if (isfinite(value)) keel_decimal_print(text, value);
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

void keel_json_mend(cJSON *json) {
    for (; json; json = json->next) {
        if (json->string && !(json->type & cJSON_StringIsConst)) keel_utf8_mend(json->string);
        if (cJSON_IsString(json) && json->valuestring && !(json->type & cJSON_IsReference))
            keel_utf8_mend(json->valuestring);
        keel_json_mend(json->child);
    }
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
        if (value->valuestring) /* the digits of a large whole number */
            keel_buf_text(p->buf, value->valuestring);
        else
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
    if (!value) return keel_fail(err, KEEL_E_NOMEM, "keel_json_print", "no memory for the JSON value");
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

keel_status keel_json_hash(const cJSON *value, char hex[65], keel_err *err) {
    keel_buf text = {0};
    keel_sha256 hash;
    keel_status status = keel_json_print(value, false, &text, err);
    keel_sha256_init(&hash);
    keel_sha256_add(&hash, text.data, text.length);
    if (status == KEEL_OK) keel_sha256_hex(&hash, hex);
    keel_buf_free(&text);
    return status;
}

static void append_cut(keel_buf *out, const cJSON *value) {
    enum { MOST = 24 };
    keel_buf text = {0};
    keel_status status = keel_json_print(value, false, &text, NULL);
    size_t kept = status == KEEL_OK ? keel_utf8_cut(text.data, text.length, MOST) : 0;
    keel_buf_append(out, text.data, kept);
    if (kept < text.length) keel_buf_text(out, "...");
    out->failed |= text.failed;
    keel_buf_free(&text);
}

static void list_differences(const cJSON *there, const cJSON *here, const char *prefix, keel_buf *out) {
    const cJSON *mine;
    cJSON_ArrayForEach (mine, here) {
        const cJSON *other = keel_json_get(there, mine->string);
        keel_buf name = {0};
        if (!other || cJSON_Compare(other, mine, true)) continue;
        keel_buf_format(&name, "%s%s%s", prefix, *prefix ? "." : "", mine->string);
        if (name.failed) {
            out->failed = true;
        } else if (cJSON_IsObject(mine) && cJSON_IsObject(other)) {
            list_differences(other, mine, name.data, out);
        } else {
            keel_buf_format(out, "%s%s (", out->length ? ", " : "", name.data);
            append_cut(out, other);
            keel_buf_text(out, ", here ");
            append_cut(out, mine);
            keel_buf_text(out, ")");
        }
        keel_buf_free(&name);
    }
}

void keel_json_differences(const cJSON *there, const cJSON *here, keel_buf *out) {
    list_differences(there, here, "", out);
}
