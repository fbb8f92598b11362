/* What a search varies: dimensions, each with a name and what values it takes, and points in the unit cube
 * that stand for them. */
#ifndef KEEL_RL_SEARCH_SPACE_H
#define KEEL_RL_SEARCH_SPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_SPACE_DIMS = 16, KEEL_SPACE_CHOICES = 64 };

typedef enum keel_dimension_kind {
    KEEL_DIMENSION_REAL,
    KEEL_DIMENSION_INTEGER,
    KEEL_DIMENSION_CHOICE
} keel_dimension_kind;

typedef struct keel_dimension {
    const char *name;
    keel_dimension_kind kind;
    bool log;     /* of numbers: spread evenly by their logarithm */
    bool nominal; /* of choices: without an order; choices that are all numbers, each above the one before,
                     have one */
    double low, high; /* of numbers, both included */
    size_t n;         /* of choices */
    const char **choices;
} keel_dimension;

typedef struct keel_space {
    size_t n;
    keel_dimension dims[KEEL_SPACE_DIMS];
    bool nominal[KEEL_SPACE_DIMS]; /* as keel_gp_open takes it */
} keel_space;

/* Adds "NAME=RANGE", copied into the arena. RANGE is
 *   LOW:HIGH         numbers; whole ones if both ends are written as whole numbers
 *   log:LOW:HIGH     the same, evenly by the logarithm; LOW is above 0
 *   real:LOW:HIGH    any number, although both ends are whole
 *   A,B,C            these values, as they are written; numbers in rising order are taken to have an order
 * KEEL_E_INVALID, with `where` and what was expected, for anything else, a name that stands twice, and what
 * is too many. */
keel_status keel_space_add(keel_space *space, const char *name_equals_range, keel_arena *arena,
                           const char *where, keel_err *err);

/* The value at u in [0, 1] of a dimension, as text (arena); numbers have four digits, so that they can be
 * read and written down. NULL when out of memory. */
const char *keel_dimension_value(const keel_dimension *dimension, double u, keel_arena *arena);
/* Where a value's text lies in [0, 1]: what keel_dimension_value gave comes back to what it stood for,
 * choices and whole numbers exactly so. KEEL_E_INVALID for a text that is no value of it. */
keel_status keel_dimension_place(const keel_dimension *dimension, const char *text, double *u, keel_err *err);

/* The place of the value that u stands for: u itself in ranges of reals, where values lie close. */
double keel_dimension_round(const keel_dimension *dimension, double u);

/* A grid takes all values of choices, and of numbers `points` from end to end, whole ones once each. Its
 * size, and the place of its i-th value. */
size_t keel_dimension_grid_size(const keel_dimension *dimension, size_t points);
double keel_dimension_grid(const keel_dimension *dimension, size_t i, size_t points);

/* How many values a space has; INFINITY with a range of reals. */
double keel_space_size(const keel_space *space);

#endif
