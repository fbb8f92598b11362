/* Options: one row per knob - key, type, default, bounds, help, target - drives JSON configuration files,
 * --set key=value, --help and the manifest of an artefact. An unknown key, a wrong type or a value out of
 * range is an error that names key, value and bounds; nothing is repaired in silence. */
#ifndef KEEL_CORE_OPTIONS_H
#define KEEL_CORE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/api.h"
#include "core/memory.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef enum keel_option_type {
    KEEL_OPT_INT,    /* target int64_t */
    KEEL_OPT_REAL,   /* target double */
    KEEL_OPT_BOOL,   /* target bool */
    KEEL_OPT_CHOICE, /* target int: index into choices, a NULL-terminated list */
    KEEL_OPT_INTS    /* target keel_int_list: "256,256" or [256, 256] */
} keel_option_type;

enum { KEEL_INT_LIST_MAX = 8 };
typedef struct keel_int_list {
    size_t count;
    int64_t items[KEEL_INT_LIST_MAX];
} keel_int_list;

typedef struct keel_option {
    const char *key;
    keel_option_type type;
    size_t offset;        /* of the target in the configuration struct */
    const char *standard; /* the default, as text */
    double low, high;     /* inclusive bounds of numbers (of each item of a list) */
    const char *const *choices;
    const char *help;
} keel_option;

/* A table ends with a row whose key is NULL. set and assign with a NULL config only check. The default of a
 * key "seed" is the seed of the context (core/context.h). */
keel_status keel_options_defaults(const keel_option *table, void *config, keel_err *err);
keel_status keel_options_set(const keel_option *table, void *config, const char *key, const char *text,
                             const char *where, keel_err *err);
keel_status keel_options_assign(const keel_option *table, void *config, const char *key_equals_value,
                                keel_err *err);              /* "--set" */
void keel_options_help(const keel_option *table, FILE *out); /* key, default, bounds or choices, help */
/* What a value of this row may be, in words: "a number from 0 to 1". */
void keel_options_wanted(const keel_option *row, keel_buf *out);

KEEL_END_DECLS

#endif
