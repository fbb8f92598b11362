#include "experiments/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

#include "core/json.h"
#include "core/text.h"

/* ---- harmless text ---- */

/* The code point at text (never past the NUL), with its length in bytes and its width; bad bytes are one '?'
 * each. */
static int32_t next_point(const char *text, size_t length, size_t *bytes, size_t *width) {
    utf8proc_int32_t point = -1;
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &point);
    if (used <= 0) point = -1;
    *bytes = used > 0 ? (size_t)used : 1;
    const bool shows = keel_text_shows(point);
    *width = shows ? (size_t)utf8proc_charwidth(point) : 1;
    return shows ? point : -1;
}

static size_t width_of(const char *text) {
    size_t width = 0, bytes, columns;
    for (size_t length = strlen(text); length > 0; text += bytes, length -= bytes) {
        next_point(text, length, &bytes, &columns);
        width += columns;
    }
    return width;
}

static void print_harmless(FILE *out, const char *text, size_t max_columns, bool keep_breaks) {
    size_t total = max_columns ? width_of(text) : 0, at = 0, bytes, columns;
    size_t limit = max_columns && total > max_columns ? (max_columns > 3 ? max_columns - 3 : 0) : (size_t)-1;
    for (size_t length = strlen(text); length > 0; text += bytes, length -= bytes) {
        bool blank = *text == '\n' || *text == '\t' || *text == '\r';
        int32_t point = next_point(text, length, &bytes, &columns);
        if (at + columns > limit) {
            fputs("...", out);
            return;
        }
        at += columns;
        if (blank)
            fputc(keep_breaks && *text == '\n' ? '\n' : ' ', out);
        else if (point < 0)
            fputc('?', out);
        else
            fwrite(text, 1, bytes, out);
    }
}

void keel_print_line(FILE *out, const char *text, size_t max_columns) {
    print_harmless(out, text, max_columns, false);
}
void keel_print_text(FILE *out, const char *text) {
    print_harmless(out, text, 0, true);
}

/* ---- tables ---- */

void keel_table_cell(keel_table *table, const char *format, ...) {
    va_list args;
    va_start(args, format);
    keel_buf_vformat(&table->text, format, args);
    va_end(args);
    keel_buf_append(&table->text, "", 1);
    table->n_cells++;
}

void keel_table_number(keel_table *table, const cJSON *value, const char *format) {
    if (cJSON_IsNumber(value))
        keel_table_cell(table, format, value->valuedouble);
    else
        keel_table_cell(table, "-");
}

void keel_table_interval(keel_table *table, const cJSON *interval) {
    if (!(keel_json_number_or(interval, "n", 0) > 0) ||
        !cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(interval, "value")))
        keel_table_cell(table, "-");
    else
        keel_table_cell(table, "%.3f [%.3f, %.3f]", keel_json_number_or(interval, "value", 0),
                        keel_json_number_or(interval, "low", 0), keel_json_number_or(interval, "high", 0));
}

/* of: the object's own name, NULL for the outermost. */
static void add_leaves(keel_table *table, const cJSON *object, const char *of) {
    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        if (cJSON_IsArray(object) && cJSON_IsObject(item)) continue;
        if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
            add_leaves(table, item, item->string ? item->string : of);
            continue;
        }
        keel_table_cell(table, "%s%s%s", of ? of : "", of && item->string ? ": " : "",
                        item->string ? item->string : "");
        if (cJSON_IsString(item))
            keel_table_cell(table, "%s", item->valuestring);
        else if (cJSON_IsBool(item))
            keel_table_cell(table, "%s", cJSON_IsTrue(item) ? "yes" : "no");
        else if (cJSON_IsNull(item))
            keel_table_cell(table, "-");
        else if (item->valuedouble == floor(item->valuedouble))
            keel_table_cell(table, "%.0f", item->valuedouble);
        else
            keel_table_cell(table, "%.4g", item->valuedouble);
    }
}

void keel_table_leaves(keel_table *table, const cJSON *object) {
    add_leaves(table, object, NULL);
}

/* Nothing is padded behind the last column. */
static void print_cell(FILE *out, const char *cell, size_t width, bool left, bool last) {
    size_t used = width_of(cell), pad = width > used ? width - used : 0;
    if (left) keel_print_line(out, cell, 0);
    for (; pad > 0 && !(left && last); pad--) fputc(' ', out);
    if (!left) keel_print_line(out, cell, 0);
}

static void print_rule(FILE *out, const size_t *widths, size_t columns) {
    for (size_t i = 0; i < columns; i++) {
        if (i) fputs("  ", out);
        for (size_t j = 0; j < widths[i]; j++) fputc('-', out);
    }
    fputc('\n', out);
}

static void measure(const keel_table *table, size_t *widths) {
    const char *cell = table->text.data;
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        size_t width = width_of(cell), column = i % table->columns;
        if (width > widths[column]) widths[column] = width;
    }
}

void keel_table_print(const keel_table *table, FILE *out) {
    size_t *widths = keel_calloc(table->columns, sizeof *widths);
    if (!widths || table->text.failed) {
        fputs("(no memory for this table)\n", out);
        keel_free(widths);
        return;
    }
    measure(table, widths);
    const char *cell = table->text.data;
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->columns;
        if (column) fputs("  ", out);
        print_cell(out, cell, widths[column], table->plain || column == 0, column + 1 == table->columns);
        if (column + 1 < table->columns) continue;
        fputc('\n', out);
        if (i + 1 == table->columns) print_rule(out, widths, table->columns);
    }
    keel_free(widths);
}

void keel_table_free(keel_table *table) {
    keel_buf_free(&table->text);
}

void keel_print_leaves(FILE *out, const cJSON *object) {
    keel_table table = {.columns = 2, .plain = true};
    keel_table_cell(&table, "what");
    keel_table_cell(&table, "value");
    keel_table_leaves(&table, object);
    keel_table_print(&table, out);
    keel_table_free(&table);
}
