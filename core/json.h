/* JSON as values of cJSON, read by a strict reader of our own: duplicate keys, invalid UTF-8, NUL bytes, deep
 * nesting and trailing text are errors that name the place; look-ups are case-sensitive and typed. */
#ifndef KEEL_CORE_JSON_H
#define KEEL_CORE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* Parses one JSON value that fills text[0..length). where (a file, or "file:line") is put into errors
 * together with the byte offset. The value is freed with cJSON_Delete. A whole number of 2^53 and more, which
 * a double may not hold, has its digits in valuestring too, and is printed as these. */
keel_status keel_json_parse(const char *text, size_t length, const char *where, cJSON **out, keel_err *err);
keel_status keel_json_parse_file(const char *path, cJSON **out, keel_err *err); /* gzip, zstd seen through */
/* The same, and quicker: the value lives in the arena. It can be looked at, but neither changed nor deleted.
 */
keel_status keel_json_parse_in(keel_arena *arena, const char *text, size_t length, const char *where,
                               const cJSON **out, keel_err *err);

/* The items of an array that fills text[0..length), read one after the other, each into an arena (which may
 * be reset in between), so that a long array is never all in memory as values. of: what they are, for the
 * error when it is no array. *out NULL at the end. text and where must stay. */
typedef struct keel_json_items {
    const char *text, *at, *end, *where;
    size_t count; /* items given out */
} keel_json_items;
keel_status keel_json_items_open(keel_json_items *items, const char *text, size_t length, const char *where,
                                 const char *of, keel_err *err);
keel_status keel_json_items_next(keel_json_items *items, keel_arena *arena, const cJSON **out, keel_err *err);

/* The value of a key; NULL where the key, or the object itself, is missing. */
const cJSON *keel_json_get(const cJSON *object, const char *key);
/* The first key of an object that is not in a list ended by NULL; NULL: all are. */
const char *keel_json_unknown(const cJSON *object, const char *const *known);
/* The number of a key, NAN where there is none; or what is said instead, as it is for texts. */
double keel_json_value(const cJSON *object, const char *key);
double keel_json_number_or(const cJSON *object, const char *key, double otherwise);
const char *keel_json_text(const cJSON *object, const char *key, const char *otherwise);
/* Typed look-ups in an object. Missing (or JSON null): *out untouched and KEEL_OK unless `required`. A wrong
 * type is KEEL_E_PARSE with where and the key. Strings point into the JSON value. */
keel_status keel_json_string(const cJSON *object, const char *key, bool required, const char **out,
                             const char *where, keel_err *err);
keel_status keel_json_number(const cJSON *object, const char *key, bool required, double *out,
                             const char *where, keel_err *err);
keel_status keel_json_bool(const cJSON *object, const char *key, bool required, bool *out, const char *where,
                           keel_err *err);
keel_status keel_json_array(const cJSON *object, const char *key, bool required, const cJSON **out,
                            const char *where, keel_err *err);
keel_status keel_json_object(const cJSON *object, const char *key, bool required, const cJSON **out,
                             const char *where, keel_err *err);

/* Whether a number that was read has a point or an exponent ("2.0"): Python reads it as a float. It is
 * printed like any other. */
bool keel_json_real(const cJSON *number);

/* Prints into buf (appended); numbers in the shortest form that reads back to the same double, non-finite
 * ones as null. pretty: two-space indent, one final newline. Text that is not UTF-8 is KEEL_E_INVALID, a
 * value that could not be made (NULL) KEEL_E_NOMEM. */
keel_status keel_json_print(const cJSON *value, bool pretty, keel_buf *buf, keel_err *err);
keel_status keel_json_write_file(const char *path, const cJSON *value, keel_err *err); /* pretty, atomic */

/* *key: one that stands twice in the object, NULL if none does; what is read from text has none. False when
 * out of memory. */
bool keel_json_twice(const cJSON *object, const char **key);

/* SHA-256 of a value as it prints without white space. */
keel_status keel_json_hash(const cJSON *value, char hex[65], keel_err *err);
/* How the members that both objects have differ, appended as a list: "target_ms (300, here 5000), ...".
 * Members of nested objects have dotted names, long values are cut. out->failed when out of memory. */
void keel_json_differences(const cJSON *there, const cJSON *here, keel_buf *out);

/* The same for single values, to write JSON without building a tree first. text: valid UTF-8. */
void keel_json_put_number(keel_buf *buf, double value);
void keel_json_put_string(keel_buf *buf, const char *text);

/* For a program that owns its process (core/process.h): cJSON takes its memory from the context's allocator.
 * Harmless to repeat. */
void keel_json_use_allocator(void);
/* Adds an item to an object, or, with key NULL, at the end of an array: it is theirs from now on. Without
 * memory for that the item is deleted and false comes back; so it does for a missing item. */
bool keel_json_add(cJSON *to, const char *key, cJSON *item);
/* Allocations that failed inside cJSON in this thread since it began. cJSON_Add... returns NULL then, and
 * the object lacks a part: code that builds a large object compares this number before
 * and after. Counts from keel_json_use_allocator on. */
size_t keel_json_lost(void);
/* Counts a part that is left out for want of memory outside cJSON, so that it is no silent loss. */
void keel_json_lose(void);
/* Strings and keys that are not UTF-8, such as paths, are made so (keel_utf8_mend). NULL is harmless. */
void keel_json_mend(cJSON *json);

#endif
