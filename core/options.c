#include "core/options_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/decimal.h"
#include "core/json.h"
#include "core/memory.h"
#include "core/text.h"

/* A value of any row before it is stored, so that nothing is half applied. */
typedef union value {
    int64_t integer;
    double real;
    bool flag;
    int choice;
    keel_int_list list;
} value;

size_t keel_option_size(keel_option_type type) {
    switch (type) {
    case KEEL_OPT_INT:
        return sizeof(int64_t);
    case KEEL_OPT_REAL:
        return sizeof(double);
    case KEEL_OPT_BOOL:
        return sizeof(bool);
    case KEEL_OPT_CHOICE:
        return sizeof(int);
    case KEEL_OPT_INTS:
        return sizeof(keel_int_list);
    }
    return 0;
}

static void store(const keel_option *row, void *config, const value *parsed) {
    memcpy((char *)config + row->offset, parsed, keel_option_size(row->type));
}

/* ---- what a row takes, in words ---- */

static void put_bounds(const keel_option *row, keel_buf *out) {
    keel_json_put_number(out, row->low);
    keel_buf_text(out, " to ");
    keel_json_put_number(out, row->high);
}

void keel_options_wanted(const keel_option *row, keel_buf *out) {
    switch (row->type) {
    case KEEL_OPT_INT:
        keel_buf_text(out, "a whole number from ");
        put_bounds(row, out);
        break;
    case KEEL_OPT_REAL:
        keel_buf_text(out, "a number from ");
        put_bounds(row, out);
        break;
    case KEEL_OPT_BOOL:
        keel_buf_text(out, "true or false");
        break;
    case KEEL_OPT_CHOICE:
        keel_buf_text(out, "one of ");
        for (size_t i = 0; row->choices[i]; i++) keel_buf_format(out, "%s%s", i ? ", " : "", row->choices[i]);
        break;
    case KEEL_OPT_INTS:
        keel_buf_format(out, "1 to %d whole numbers, each from ", KEEL_INT_LIST_MAX);
        put_bounds(row, out);
        break;
    }
}

static keel_status refuse(const keel_option *row, const char *got, const char *where, keel_err *err) {
    keel_buf wanted = {0};
    keel_options_wanted(row, &wanted);
    keel_status status = keel_fail(err, KEEL_E_INVALID, where, "key \"%s\": expected %s, got %s", row->key,
                                   wanted.data ? wanted.data : "another value", got);
    keel_buf_free(&wanted);
    return status;
}

/* ---- keys ---- */

enum { LONGEST_KEY = 63 };

static keel_status fail_unknown(const keel_option *table, const char *key, const char *where, keel_err *err) {
    const char *nearest = NULL;
    size_t fewest = 0;
    for (const keel_option *row = table; row->key; row++)
        if (keel_text_nearer(key, row->key, &fewest)) nearest = row->key;
    keel_status status = keel_fail(err, KEEL_E_INVALID, where, "unknown key \"%s\"", key);
    if (nearest)
        keel_hint(err, "did you mean \"%s\"?", nearest);
    else
        keel_hint(err, "--help lists the keys");
    return status;
}

static keel_status find_row(const keel_option *table, const char *key, const keel_option **out,
                            const char *where, keel_err *err) {
    for (const keel_option *row = table; row->key; row++)
        if (strcmp(row->key, key) == 0) return *out = row, KEEL_OK;
    return fail_unknown(table, key, where, err);
}

/* ---- values from text ---- */

/* Integers beyond 2^53 would not survive JSON. */
static bool to_integer(const keel_option *row, double number, int64_t *out) {
    if (number != floor(number) || !(fabs(number) <= 9007199254740992.0)) return false;
    if (number < row->low || number > row->high) return false;
    *out = (int64_t)number;
    return true;
}

/* A whole decimal number at text; *end is left behind it. */
static bool read_number(const char *text, const char **end, double *out) {
    char *stop;
    if (!strchr("+-.0123456789", *text) || !*text) return false; /* no spaces, nan, inf or hexadecimal */
    if (strpbrk(text, "xX")) return false;
    *out = keel_decimal_read(text, &stop);
    *end = stop;
    return stop != text && isfinite(*out);
}

static bool read_list(const keel_option *row, const char *text, keel_int_list *list) {
    *list = (keel_int_list){0};
    for (const char *at = text;; at++) {
        double number;
        if (list->count == KEEL_INT_LIST_MAX || !read_number(at, &at, &number)) return false;
        if (!to_integer(row, number, &list->items[list->count++])) return false;
        if (*at == '\0') return true;
        if (*at != ',') return false;
    }
}

static bool read_choice(const keel_option *row, const char *text, int *choice) {
    for (int i = 0; row->choices[i]; i++)
        if (strcmp(row->choices[i], text) == 0) return *choice = i, true;
    return false;
}

static bool read_text(const keel_option *row, const char *text, value *out) {
    const char *end = text;
    double number;
    switch (row->type) {
    case KEEL_OPT_INT:
        return read_number(text, &end, &number) && *end == '\0' && to_integer(row, number, &out->integer);
    case KEEL_OPT_REAL:
        if (!read_number(text, &end, &number) || *end != '\0') return false;
        out->real = number;
        return number >= row->low && number <= row->high;
    case KEEL_OPT_BOOL:
        out->flag = strcmp(text, "true") == 0;
        return out->flag || strcmp(text, "false") == 0;
    case KEEL_OPT_CHOICE:
        return read_choice(row, text, &out->choice);
    case KEEL_OPT_INTS:
        return read_list(row, text, &out->list);
    }
    return false;
}

keel_status keel_options_set(const keel_option *table, void *config, const char *key, const char *text,
                             const char *where, keel_err *err) {
    const keel_option *row;
    value parsed;
    KEEL_TRY(find_row(table, key, &row, where, err));
    if (!read_text(row, text, &parsed)) {
        char got[128];
        snprintf(got, sizeof got, "\"%s\"", text);
        return refuse(row, got, where, err);
    }
    if (config) store(row, config, &parsed);
    return KEEL_OK;
}

keel_status keel_options_defaults(const keel_option *table, void *config, keel_err *err) {
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)keel_context_current()->seed);
    for (const keel_option *row = table; row->key; row++)
        KEEL_TRY(keel_options_set(table, config, row->key,
                                  strcmp(row->key, "seed") == 0 ? seed : row->standard, "default", err));
    return KEEL_OK;
}

keel_status keel_options_assign(const keel_option *table, void *config, const char *key_equals_value,
                                keel_err *err) {
    char key[LONGEST_KEY + 1];
    const char *equals = strchr(key_equals_value, '=');
    size_t length = equals ? (size_t)(equals - key_equals_value) : 0;
    if (length == 0 || length >= sizeof key) {
        keel_fail(err, KEEL_E_INVALID, "--set", "expected key=value, got \"%s\"", key_equals_value);
        keel_hint(err, "for example --set %s=%s", table->key ? table->key : "key",
                  table->key ? table->standard : "value");
        return KEEL_E_INVALID;
    }
    memcpy(key, key_equals_value, length);
    key[length] = '\0';
    return keel_options_set(table, config, key, equals + 1, "--set", err);
}

/* ---- JSON ---- */

static bool read_json_list(const keel_option *row, const cJSON *array, keel_int_list *list) {
    *list = (keel_int_list){0};
    for (const cJSON *item = array->child; item; item = item->next) {
        if (list->count == KEEL_INT_LIST_MAX || !cJSON_IsNumber(item)) return false;
        if (!to_integer(row, item->valuedouble, &list->items[list->count++])) return false;
    }
    return list->count > 0;
}

/* Types must be JSON's own: a quoted number is not a number. Lists may be written as on the command line. */
static bool read_json(const keel_option *row, const cJSON *item, value *out) {
    switch (row->type) {
    case KEEL_OPT_INT:
        return cJSON_IsNumber(item) && to_integer(row, item->valuedouble, &out->integer);
    case KEEL_OPT_REAL:
        out->real = item->valuedouble;
        return cJSON_IsNumber(item) && out->real >= row->low && out->real <= row->high;
    case KEEL_OPT_BOOL:
        out->flag = cJSON_IsTrue(item);
        return cJSON_IsBool(item);
    case KEEL_OPT_CHOICE:
        return cJSON_IsString(item) && read_choice(row, item->valuestring, &out->choice);
    case KEEL_OPT_INTS:
        if (cJSON_IsString(item)) return read_list(row, item->valuestring, &out->list);
        return cJSON_IsArray(item) && read_json_list(row, item, &out->list);
    }
    return false;
}

static keel_status refuse_json(const keel_option *row, const cJSON *item, const char *where, keel_err *err) {
    keel_buf got = {0};
    keel_status status = keel_json_print(item, false, &got, err);
    if (status == KEEL_OK) status = refuse(row, got.data, where, err);
    keel_buf_free(&got);
    return status;
}

keel_status keel_options_json(const keel_option *table, void *config, const cJSON *object, const char *where,
                              keel_err *err) {
    const keel_option *row;
    value parsed;
    if (!cJSON_IsObject(object))
        return keel_fail(err, KEEL_E_INVALID, where, "expected an object of options");
    /* All is checked before any is stored. */
    for (const cJSON *item = object->child; item; item = item->next) {
        KEEL_TRY(find_row(table, item->string, &row, where, err));
        if (!read_json(row, item, &parsed)) return refuse_json(row, item, where, err);
    }
    for (const cJSON *item = object->child; item; item = item->next) {
        KEEL_TRY(find_row(table, item->string, &row, where, err));
        if (read_json(row, item, &parsed)) store(row, config, &parsed);
    }
    return KEEL_OK;
}

static cJSON *list_to_json(const keel_int_list *list) {
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; array && i < list->count; i++) {
        cJSON *item = cJSON_CreateNumber((double)list->items[i]);
        if (item)
            cJSON_AddItemToArray(array, item);
        else
            cJSON_Delete(array), array = NULL;
    }
    return array;
}

static cJSON *row_to_json(const keel_option *row, const void *config) {
    value held;
    memcpy(&held, (const char *)config + row->offset, keel_option_size(row->type));
    switch (row->type) {
    case KEEL_OPT_INT:
        return cJSON_CreateNumber((double)held.integer);
    case KEEL_OPT_REAL:
        return cJSON_CreateNumber(held.real);
    case KEEL_OPT_BOOL:
        return cJSON_CreateBool(held.flag);
    case KEEL_OPT_CHOICE:
        return cJSON_CreateString(row->choices[held.choice]);
    case KEEL_OPT_INTS:
        return list_to_json(&held.list);
    }
    return NULL;
}

cJSON *keel_options_to_json(const keel_option *table, const void *config) {
    cJSON *object = cJSON_CreateObject();
    for (const keel_option *row = table; object && row->key; row++) {
        cJSON *item = row_to_json(row, config);
        if (item && cJSON_AddItemToObject(object, row->key, item)) continue;
        cJSON_Delete(item);
        cJSON_Delete(object);
        object = NULL;
    }
    return object;
}

/* ---- help ---- */

void keel_options_help(const keel_option *table, FILE *out) {
    int key_width = 0, default_width = 0;
    for (const keel_option *row = table; row->key; row++) {
        int key = (int)strlen(row->key), standard = (int)strlen(row->standard);
        if (key > key_width) key_width = key;
        if (standard > default_width) default_width = standard;
    }
    for (const keel_option *row = table; row->key; row++) {
        keel_buf wanted = {0};
        keel_options_wanted(row, &wanted);
        fprintf(out, "  %-*s  %-*s  %s (%s)\n", key_width, row->key, default_width, row->standard, row->help,
                wanted.data ? wanted.data : "");
        keel_buf_free(&wanted);
    }
}
