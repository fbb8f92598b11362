/* A strict reader of CSV as RFC 4180 has it (quotes doubled inside quotes, commas and line breaks kept), with
 * line numbers. Lines may end in LF too. Fields may be separated by tabs, semicolons or upright strokes, if
 * the header is. Internal to this room. */
#ifndef KEEL_DATASETS_CSV_H
#define KEEL_DATASETS_CSV_H

#include <stddef.h>

#include "core/memory.h"
#include "core/status.h"
#include "datasets/value.h"

enum { KEEL__CSV_MAX_COLUMNS = 64 };

typedef struct keel__csv {
    const char *path; /* for errors */
    char *at, *end;
    char separator; /* as the header has it */
    size_t line;    /* of *at, from 1 */
    size_t n_columns;
    char *header[KEEL__CSV_MAX_COLUMNS];
    int again[KEEL__CSV_MAX_COLUMNS]; /* how many columns before have the same name */
    char *fields[KEEL__CSV_MAX_COLUMNS];
} keel__csv;

/* Reads the header row; spaces around names are no part of them. text (UTF-8, NUL-terminated, not copied,
 * altered in place) must outlive the reader.
 */
keel_status keel__csv_open(keel__csv *csv, const char *path, char *text, size_t length, keel_err *err);
/* The next row that is not blank into csv->fields, each NUL-terminated; *line is where it begins, 0 when
 * there is none left. A row with more or fewer fields than the header, a stray or an unclosed quote is
 * KEEL_E_PARSE. */
keel_status keel__csv_next(keel__csv *csv, size_t *line, keel_err *err);
/* Column of that name in the header, or -1. */
int keel__csv_column(const keel__csv *csv, const char *name);
/* The row as an object, fields copied: by the names of the columns, of equal ones the second as NAME.1 and so
 * on; columns without a name are left out. */
cJSON *keel__csv_object(const keel__csv *csv, keel__value *build);
/* The length of a first line that only names the separator, as some programs write for Excel: sep=; 0: there
 * is none. */
size_t keel__csv_sep_line(const char *text, size_t length);
/* What separates the fields of a header row: comma, tab, semicolon or upright stroke, whichever occurs most,
 * a comma if none does. */
char keel__csv_separator(const char *text, size_t length);

#endif
