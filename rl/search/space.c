#include "rl/search/space.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"

/* ---- reading ---- */

static keel_status fail_range(const char *where, const char *text, keel_err *err) {
    keel_fail(err, KEEL_E_INVALID, where, "\"%.80s\" is no range", text);
    return keel_hint(err, "write NAME=LOW:HIGH, NAME=log:LOW:HIGH or NAME=A,B,C");
}

static bool read_number(const char *text, size_t length, double *out) {
    char copy[64], *end;
    if (length == 0 || length >= sizeof copy || strchr(" \t\n\v\f\r", text[0])) return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    *out = keel_decimal_read(copy, &end);
    return *end == '\0' && isfinite(*out) && fabs(*out) < 1e15;
}

static bool is_whole(const char *text, size_t length) {
    for (size_t i = 0; i < length; ++i)
        if (!(text[i] >= '0' && text[i] <= '9') && !(i == 0 && text[i] == '-')) return false;
    return true;
}

static bool starts(const char **text, const char *word) {
    const size_t n = strlen(word);
    if (strncmp(*text, word, n) != 0) return false;
    *text += n;
    return true;
}

static bool read_range(keel_dimension *d, const char *text) {
    d->log = starts(&text, "log:");
    const bool real = !d->log && starts(&text, "real:");
    const char *colon = strchr(text, ':');
    if (!colon) return false;
    const size_t low = (size_t)(colon - text), high = strlen(colon + 1);
    const bool whole = !real && is_whole(text, low) && is_whole(colon + 1, high);
    d->kind = whole ? KEEL_DIMENSION_INTEGER : KEEL_DIMENSION_REAL;
    return read_number(text, low, &d->low) && read_number(colon + 1, high, &d->high) && d->low < d->high &&
           (!d->log || d->low > 0);
}

/* Choices in rising order are numbers on a scale; others have no order. */
static void find_order(keel_dimension *d) {
    double before = -INFINITY, number;
    for (size_t i = 0; i < d->n; ++i) {
        if (!read_number(d->choices[i], strlen(d->choices[i]), &number) || number <= before)
            d->nominal = true;
        before = number;
        if (d->nominal) return;
    }
}

static bool has_choice(const keel_dimension *d, const char *text) {
    for (size_t i = 0; i < d->n; ++i)
        if (strcmp(d->choices[i], text) == 0) return true;
    return false;
}

/* "A,B,C"; the text is cut up. */
static keel_status read_choices(keel_dimension *d, char *text, keel_arena *arena, const char *where,
                                keel_err *err) {
    d->kind = KEEL_DIMENSION_CHOICE;
    d->choices = keel_arena_calloc(arena, KEEL_SPACE_CHOICES, sizeof *d->choices);
    if (!d->choices) return keel_nomem(err, where);
    for (char *next; text; text = next) {
        next = strchr(text, ',');
        if (next) *next++ = '\0';
        if (d->n == KEEL_SPACE_CHOICES || *text == '\0' || has_choice(d, text))
            return keel_fail(err, KEEL_E_INVALID, where,
                             "%s: expected up to %d values with commas between, each once", d->name,
                             (int)KEEL_SPACE_CHOICES);
        d->choices[d->n++] = text;
    }
    find_order(d);
    return KEEL_OK;
}

keel_status keel_space_add(keel_space *space, const char *name_equals_range, keel_arena *arena,
                           const char *where, keel_err *err) {
    char *name = keel_arena_strdup(arena, name_equals_range), *range = name ? strchr(name, '=') : NULL;
    if (!name) return keel_nomem(err, where);
    if (!range || range == name || !range[1]) return fail_range(where, name_equals_range, err);
    *range++ = '\0';
    if (space->n == KEEL_SPACE_DIMS)
        return keel_fail(err, KEEL_E_INVALID, where, "more than %d dimensions", (int)KEEL_SPACE_DIMS);
    for (size_t i = 0; i < space->n; ++i)
        if (strcmp(space->dims[i].name, name) == 0)
            return keel_fail(err, KEEL_E_INVALID, where, "%s stands twice", name);
    keel_dimension d = {.name = name};
    if (!strchr(range, ',') && strchr(range, ':') && !read_range(&d, range))
        return fail_range(where, name_equals_range, err);
    if (strchr(range, ',') || !strchr(range, ':')) KEEL_TRY(read_choices(&d, range, arena, where, err));
    space->nominal[space->n] = d.nominal;
    space->dims[space->n++] = d;
    return KEEL_OK;
}

/* ---- values ---- */

/* An index of n equal parts of [0, 1]. */
static double slot(double u, double n) {
    return fmin(floor(u * n), n - 1);
}

static double number_at(const keel_dimension *d, double u) {
    if (d->kind == KEEL_DIMENSION_INTEGER && !d->log) return d->low + slot(u, d->high - d->low + 1);
    double value =
        d->log ? exp(log(d->low) + u * (log(d->high) - log(d->low))) : d->low + u * (d->high - d->low);
    if (d->kind == KEEL_DIMENSION_INTEGER)
        value = round(value);
    else if (value != 0) { /* four digits */
        const double unit = pow(10, floor(log10(fabs(value))) - 3);
        value = unit < 1 ? round(value / unit) / round(1 / unit) : round(value / unit) * unit;
    }
    return fmin(fmax(value, d->low), d->high);
}

static double place_of(const keel_dimension *d, double value) {
    return d->log ? (log(value) - log(d->low)) / (log(d->high) - log(d->low))
                  : (value - d->low) / (d->high - d->low);
}

const char *keel_dimension_value(const keel_dimension *d, double u, keel_arena *arena) {
    char text[KEEL_DECIMAL_SIZE];
    if (d->kind == KEEL_DIMENSION_CHOICE) return d->choices[(size_t)slot(u, (double)d->n)];
    keel_decimal_print(text, number_at(d, u));
    return keel_arena_strdup(arena, text);
}

keel_status keel_dimension_place(const keel_dimension *d, const char *text, double *u, keel_err *err) {
    double value;
    for (size_t i = 0; i < d->n; ++i)
        if (strcmp(d->choices[i], text) == 0) {
            *u = d->n > 1 ? (double)i / (double)(d->n - 1) : 0;
            return KEEL_OK;
        }
    if (d->n || !read_number(text, strlen(text), &value) || value < d->low || value > d->high)
        return keel_fail(err, KEEL_E_INVALID, d->name, "\"%.60s\" is no value of its range", text);
    *u = place_of(d, value);
    return KEEL_OK;
}

double keel_dimension_round(const keel_dimension *d, double u) {
    if (d->kind == KEEL_DIMENSION_CHOICE) return d->n > 1 ? slot(u, (double)d->n) / (double)(d->n - 1) : 0;
    return d->kind == KEEL_DIMENSION_INTEGER ? place_of(d, number_at(d, u)) : u;
}

/* ---- grids ---- */

static double grid_at(const keel_dimension *d, size_t i, size_t points) {
    return keel_dimension_round(d, points > 1 ? (double)i / (double)(points - 1) : 0.5);
}

/* The i-th place that differs from the one before it; *n: how many there are. */
static double walk_grid(const keel_dimension *d, size_t i, size_t points, size_t *n) {
    double found = 0, before = -1;
    *n = 0;
    for (size_t k = 0; k < points; ++k) {
        const double u = grid_at(d, k, points);
        if (u == before) continue;
        before = u;
        if ((*n)++ == i) found = u;
    }
    return found;
}

size_t keel_dimension_grid_size(const keel_dimension *d, size_t points) {
    size_t n;
    walk_grid(d, 0, d->n ? d->n : points, &n);
    return n;
}

double keel_dimension_grid(const keel_dimension *d, size_t i, size_t points) {
    size_t n;
    return walk_grid(d, i, d->n ? d->n : points, &n);
}

double keel_space_size(const keel_space *space) {
    double size = 1;
    for (size_t i = 0; i < space->n; ++i) {
        const keel_dimension *d = &space->dims[i];
        size *= d->kind == KEEL_DIMENSION_REAL     ? INFINITY
                : d->kind == KEEL_DIMENSION_CHOICE ? (double)d->n
                                                   : d->high - d->low + 1;
    }
    return size;
}
