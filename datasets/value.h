/* JSON values built in an arena, for readers that turn the objects of a log into the chat format. Nothing is
 * freed one by one; the first lack of memory sets `failed`, and what follows does nothing. Not for other
 * folders. */
#ifndef KEEL_DATASETS_VALUE_H
#define KEEL_DATASETS_VALUE_H

#include "core/json.h"

typedef struct keel__value {
    keel_arena *arena;
    bool failed; /* out of memory: check it once at the end */
} keel__value;

cJSON *keel__value_object(keel__value *build);
cJSON *keel__value_array(keel__value *build);
/* Texts are not copied: they must live as long as the arena. NULL gives null. */
cJSON *keel__value_text(keel__value *build, const char *text);
cJSON *keel__value_number(keel__value *build, double value);
cJSON *keel__value_bool(keel__value *build, bool value);
/* The same value, to be put elsewhere: it shares its children with the item. */
cJSON *keel__value_same(keel__value *build, const cJSON *item);
/* Puts the item into an object, or with key NULL at the end of an array. A NULL item is left out. The key is
 * not copied. */
void keel__value_put(keel__value *build, cJSON *to, const char *key, cJSON *item);
/* Puts a value under the key, unless it is missing or null. */
void keel__value_put_same(keel__value *build, cJSON *to, const char *key, const cJSON *item);
void keel__value_put_text(keel__value *build, cJSON *to, const char *key, const char *text);
/* Puts the members of the object that are not among the keys (NULL-terminated; NULL: all). */
void keel__value_put_others(keel__value *build, cJSON *to, const cJSON *object, const char *const *keys);
/* A new object of these members: what is put into it is not in the other. */
cJSON *keel__value_copy(keel__value *build, const cJSON *object, const char *const *but);
/* A text put together as printf does; NULL when out of memory. */
const char *keel__value_format(keel__value *build, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A string member of an object, or NULL. */
const char *keel__string_at(const cJSON *object, const char *key);
/* Seconds since 1970 of an ISO 8601 time, "2024-05-29T12:00:00.5Z" or with a blank and another offset; false
 * for what is none, and for NULL. */
bool keel__iso_seconds(const char *text, double *out);
/* Whether a text is in a NULL-terminated list; NULL is in none. */
bool keel__is_among(const char *text, const char *const *list);

#endif
