/* Internal header of the chat templates: values as Python has them, and what it makes of them. */
#ifndef KEEL_POLICIES_TOKENS_JINJA_VALUE_H
#define KEEL_POLICIES_TOKENS_JINJA_VALUE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

typedef enum keel__jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_NAMESPACE, /* the one thing that a template can change */
    JINJA_GENERATOR, /* what can be gone through once: a list */
    JINJA_LOOP,
    JINJA_CALLABLE
} keel__jinja_kind;

typedef struct keel__jinja_value {
    keel__jinja_kind kind;
    union {
        bool truth;
        int64_t whole;
        double real;
        size_t length; /* of a string, in bytes */
    };
    union {
        const char *text; /* valid UTF-8; of what is undefined: its name */
        struct keel__jinja_list *list;
        struct keel__jinja_dict *dict; /* NAMESPACE too */
        const struct keel__jinja_loop *loop;
        const struct keel__jinja_callable *callable;
    };
} keel__jinja_value;

typedef struct keel__jinja_list {
    keel__jinja_value *item;
    size_t n, room;
} keel__jinja_list;

typedef struct keel__jinja_dict {
    keel__jinja_value *key, *value; /* in order of entry */
    size_t n, room, room_keys;
} keel__jinja_dict;

/* Where a rendering stands: its memory and what is left of its steps. */
typedef struct keel__jinja_budget {
    keel_arena *arena;
    size_t steps; /* left */
    const char *name;
    int line;
    keel_err *err;
} keel__jinja_budget;

/* The error, with name and line of the template. */
keel_status keel__jinja_fail(keel__jinja_budget *on, keel_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes steps; KEEL_E_INVALID when none are left. */
keel_status keel__jinja_spend(keel__jinja_budget *on, size_t steps);
/* Memory; KEEL_E_INVALID when the template has had its share. */
keel_status keel__jinja_alloc(keel__jinja_budget *on, size_t bytes, void *out);

static inline keel__jinja_value keel__jinja_bool(bool truth) {
    return (keel__jinja_value){.kind = JINJA_BOOL, .truth = truth};
}
static inline keel__jinja_value keel__jinja_int(int64_t whole) {
    return (keel__jinja_value){.kind = JINJA_INT, .whole = whole};
}
static inline keel__jinja_value keel__jinja_string(const char *text, size_t length) {
    return (keel__jinja_value){.kind = JINJA_STRING, .length = length, .text = text};
}
keel__jinja_value keel__jinja_text(const char *text); /* borrowed; NULL: none */

/* A copy of the buffer, which is emptied. */
keel_status keel__jinja_take(keel__jinja_budget *on, keel_buf *buf, keel__jinja_value *out);
keel_status keel__jinja_list_make(keel__jinja_budget *on, keel__jinja_kind kind, keel__jinja_value *out);
keel_status keel__jinja_list_add(keel__jinja_budget *on, const keel__jinja_value *list,
                                 keel__jinja_value item);
keel_status keel__jinja_dict_make(keel__jinja_budget *on, keel__jinja_kind kind, keel__jinja_value *out);
/* Adds, or replaces in its place. key: a string, number, bool or none. */
keel_status keel__jinja_dict_set(keel__jinja_budget *on, const keel__jinja_value *dict, keel__jinja_value key,
                                 keel__jinja_value value);
/* NULL: not there. */
const keel__jinja_value *keel__jinja_dict_get(const keel__jinja_value *dict, const keel__jinja_value *key);
/* A deep copy; numbers without a point become int. */
keel_status keel__jinja_from_json(keel__jinja_budget *on, const cJSON *json, keel__jinja_value *out);

bool keel__jinja_is_number(const keel__jinja_value *v); /* bool, int, float */
double keel__jinja_real(const keel__jinja_value *v);    /* of a number */
bool keel__jinja_truth(const keel__jinja_value *v);
/* False also where that takes too many steps: none are left then, which the next that is spent tells. */
bool keel__jinja_equal(keel__jinja_budget *on, const keel__jinja_value *a, const keel__jinja_value *b);
/* -1, 0, 1 in *order; KEEL_E_INVALID where Python cannot compare them. */
keel_status keel__jinja_compare(keel__jinja_budget *on, const keel__jinja_value *a,
                                const keel__jinja_value *b, int *order);
const char *keel__jinja_type(const keel__jinja_value *v); /* "str" */
size_t keel__jinja_characters(const keel__jinja_value *string);
/* What a for goes through: items, keys, characters; a list. */
keel_status keel__jinja_items(keel__jinja_budget *on, const keel__jinja_value *v, keel__jinja_value *list);

/* Appends str(v). */
keel_status keel__jinja_print(keel__jinja_budget *on, const keel__jinja_value *v, keel_buf *out);
/* Appends json.dumps(v, ensure_ascii=False, indent=...); indent < 0: on one line. item, key: what separates
 * items, and a key from its value. */
typedef struct keel__jinja_dumps {
    int64_t indent;
    bool ascii, sort;
    keel__jinja_value item, key;
} keel__jinja_dumps;
keel_status keel__jinja_dump(keel__jinja_budget *on, const keel__jinja_dumps *how, const keel__jinja_value *v,
                             int depth, keel_buf *out);

#endif
