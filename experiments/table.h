/* Plain text for people: aligned tables, and log text made harmless for a terminal. */
#ifndef KEEL_EXPERIMENTS_TABLE_H
#define KEEL_EXPERIMENTS_TABLE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/memory.h"

/* Cells are added from left to right, row by row. The first column is set left, the others right; widths
 * count terminal columns, so that wide characters align too. Zero-initialise with the number of columns; free
 * when done. */
typedef struct keel_table {
    size_t columns;
    bool plain; /* all columns are set left */
    size_t n_cells;
    keel_buf text; /* NUL-terminated cells one after the other */
} keel_table;

void keel_table_cell(keel_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "-" for what is no number. */
void keel_table_number(keel_table *table, const cJSON *value, const char *format);
void keel_table_interval(keel_table *table,
                         const cJSON *interval); /* "0.975 [0.943, 0.989]"; "-" without an estimate */
void keel_table_leaves(keel_table *table,
                       const cJSON *object); /* two columns: a row per leaf, "object: name" and value; lists
                                                of objects are left out, they are tables of their own */
/* A table of these leaves alone, under "what" and "value". */
void keel_print_leaves(FILE *out, const cJSON *object);
void keel_table_print(const keel_table *table, FILE *out); /* the first row is the head, underlined */
void keel_table_free(keel_table *table);

/* Prints text on one line: control characters (terminal escapes among them) are shown as '?', line breaks as
 * blanks. At most max_columns terminal columns, cut with "..."; 0: all. */
void keel_print_line(FILE *out, const char *text, size_t max_columns);
/* The same with line breaks kept, for error text. */
void keel_print_text(FILE *out, const char *text);

#endif
