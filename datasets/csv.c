#include "datasets/csv.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

static keel_status fail(const keel__csv *csv, size_t line, const char *what, keel_err *err) {
    char where[400];
    snprintf(where, sizeof where, "%s:%zu", csv->path, line);
    return keel_fail(err, KEEL_E_PARSE, where, "%s", what);
}

/* Invalid bytes are named by file, line and byte offset in the file. */
static keel_status check_utf8(const keel__csv *csv, const char *text, size_t length, keel_err *err) {
    size_t valid = keel_utf8_valid_prefix(text, length), line = 1;
    if (valid == length) return KEEL_OK;
    for (size_t i = 0; i < valid; i++) line += text[i] == '\n';
    char what[96];
    snprintf(what, sizeof what, "%s at byte %zu of the file", text[valid] ? "invalid UTF-8" : "a NUL byte",
             valid);
    return fail(csv, line, what, err);
}

/* Reads "..." from csv->at on, closing quote included, squeezing doubled quotes in place. */
static keel_status read_quoted(keel__csv *csv, char **field, char **field_end, keel_err *err) {
    size_t began = csv->line;
    char *out = ++csv->at;
    *field = out;
    for (;; csv->at++) {
        if (csv->at == csv->end) return fail(csv, began, "a quote opens here and never closes", err);
        if (*csv->at == '"' && csv->at[1] == '"' && csv->at + 1 < csv->end)
            csv->at++;
        else if (*csv->at == '"')
            break;
        csv->line += *csv->at == '\n';
        *out++ = *csv->at;
    }
    csv->at++;
    *field_end = out;
    return KEEL_OK;
}

static keel_status read_bare(keel__csv *csv, char **field, char **field_end, keel_err *err) {
    *field = csv->at;
    const bool tabs = csv->separator == '\t'; /* where a quote inside a field is a letter */
    for (; csv->at < csv->end && *csv->at != csv->separator && !memchr("\r\n", *csv->at, 2); csv->at++)
        if (*csv->at == '"' && !tabs) break;
    if (csv->at < csv->end && *csv->at == '"')
        return fail(csv, csv->line, "a quote inside an unquoted field", err);
    *field_end = csv->at;
    return KEEL_OK;
}

/* Steps over the separator or a line end, NUL-terminating the field before it. */
static keel_status end_field(keel__csv *csv, char *field_end, bool *last, keel_err *err) {
    char *at = csv->at;
    *last = at == csv->end || *at != csv->separator;
    if (at < csv->end) {
        if (*at == '\r' && at + 1 < csv->end && at[1] == '\n') csv->at++;
        if (*at == csv->separator || *csv->at == '\n') {
            csv->line += *csv->at == '\n';
            csv->at++;
        } else {
            return fail(
                csv, csv->line,
                "expected a comma (or what separates the header) or the end of the line after a field", err);
        }
    }
    *field_end = '\0';
    return KEEL_OK;
}

static keel_status read_row(keel__csv *csv, char **fields, size_t *count, keel_err *err) {
    bool last = false;
    for (*count = 0; !last; ++*count) {
        char *field = NULL, *field_end = csv->at;
        if (*count == KEEL__CSV_MAX_COLUMNS) return fail(csv, csv->line, "more than 64 columns", err);
        if (csv->at < csv->end && *csv->at == '"')
            KEEL_TRY(read_quoted(csv, &field, &field_end, err));
        else
            KEEL_TRY(read_bare(csv, &field, &field_end, err));
        KEEL_TRY(end_field(csv, field_end, &last, err));
        fields[*count] = field;
    }
    return KEEL_OK;
}

enum { N_SEPARATORS = 4 };
static const char separators[N_SEPARATORS + 1] = ",\t;|";

size_t keel__csv_sep_line(const char *text, size_t length) {
    if (length < 6 || memcmp(text, "sep=", 4) != 0 || !strchr(separators, text[4])) return 0;
    const size_t end = 5 + (text[5] == '\r');
    return end < length && text[end] == '\n' ? end + 1 : 0;
}

char keel__csv_separator(const char *text, size_t length) {
    size_t counts[N_SEPARATORS] = {0}, best = 0;
    bool quoted = false;
    for (size_t i = 0; i < length && (quoted || !memchr("\r\n", text[i], 2)); i++) {
        quoted ^= text[i] == '"';
        const char *found = quoted ? NULL : memchr(separators, text[i], N_SEPARATORS);
        if (found) counts[found - separators]++;
    }
    for (size_t k = 1; k < N_SEPARATORS; k++)
        if (counts[k] > counts[best]) best = k;
    return separators[best];
}

static void trim(char **name) {
    *name += strspn(*name, " ");
    for (size_t n = strlen(*name); n && (*name)[n - 1] == ' '; n--) (*name)[n - 1] = '\0';
}

keel_status keel__csv_open(keel__csv *csv, const char *path, char *text, size_t length, keel_err *err) {
    *csv = (keel__csv){.path = path, .at = text, .line = 1};
    if (length == 0) return fail(csv, 1, "the file is empty: expected a header row", err);
    csv->end = text + length;
    KEEL_TRY(check_utf8(csv, text, length, err));
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) csv->at += 3;
    const size_t named = keel__csv_sep_line(csv->at, (size_t)(csv->end - csv->at));
    csv->at += named;
    csv->line += named > 0;
    csv->separator = keel__csv_separator(csv->at, (size_t)(csv->end - csv->at));
    KEEL_TRY(read_row(csv, csv->header, &csv->n_columns, err));
    for (size_t i = 0; i < csv->n_columns; i++) {
        trim(&csv->header[i]);
        for (size_t k = 0; k < i && csv->header[i][0]; k++)
            csv->again[i] += strcmp(csv->header[k], csv->header[i]) == 0;
    }
    return KEEL_OK;
}

/* Lines in which nothing stands, where a row has several fields. */
static void skip_blank(keel__csv *csv) {
    while (csv->n_columns > 1 && csv->at < csv->end) {
        const char *at = csv->at;
        if (*at == '\r' && at + 1 < csv->end) at++;
        if (*at != '\n') return;
        csv->at += at + 1 - csv->at;
        csv->line++;
    }
}

keel_status keel__csv_next(keel__csv *csv, size_t *line, keel_err *err) {
    *line = 0;
    skip_blank(csv);
    size_t count, began = csv->line;
    if (csv->at == csv->end) return KEEL_OK;
    KEEL_TRY(read_row(csv, csv->fields, &count, err));
    if (count != csv->n_columns) {
        char what[96];
        snprintf(what, sizeof what, "expected %zu fields as in the header, got %zu", csv->n_columns, count);
        return fail(csv, began, what, err);
    }
    *line = began;
    return KEEL_OK;
}

int keel__csv_column(const keel__csv *csv, const char *name) {
    for (size_t i = 0; i < csv->n_columns; i++)
        if (strcmp(csv->header[i], name) == 0) return (int)i;
    return -1;
}

cJSON *keel__csv_object(const keel__csv *csv, keel__value *build) {
    cJSON *row = keel__value_object(build);
    for (size_t i = 0; i < csv->n_columns; i++) {
        const char *name = csv->header[i];
        if (csv->again[i]) name = keel__value_format(build, "%s.%d", name, csv->again[i]);
        if (name && name[0] && !keel_json_get(row, name))
            keel__value_put_text(build, row, name, keel__value_format(build, "%s", csv->fields[i]));
    }
    return row;
}
