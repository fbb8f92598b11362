#include "experiments/cli_import.h"

#include <string.h>

#include "core/json.h"
#include "experiments/table.h"

/* "source:id" names a conversation. */
static keel_status check_source(const char *name, keel_err *err) {
    if (name[0] && !strchr(name, ':') && strlen(name) < 64) return KEEL_OK;
    return keel_fail(err, KEEL_E_USAGE, "--source", "\"%.64s\" cannot name a log: 1 to 63 bytes without ':'",
                     name);
}

keel_status keel_cli_read_import(const keel_cli *cli, keel_import_options *out, keel_err *err) {
    const char *format = keel_cli_value(cli, "--format");
    out->split = keel_cli_value(cli, "--split");
    out->source = keel_cli_value(cli, "--source");
    if (format) KEEL_TRY(keel_formats_find(format, &out->format, err));
    if (out->split) KEEL_TRY(keel_cli_blame(keel_split_check_name(out->split, "--split", err), err));
    if (out->source) KEEL_TRY(check_source(out->source, err));
    return keel_cli_integer(cli, "--skip-bad", 0, 1000000000, &out->skip_bad, err);
}

void keel_cli_note_bad(void *list, const keel_err *bad) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "where", bad->where);
    cJSON_AddStringToObject(item, "message", bad->message);
    keel_json_add(list, NULL, item);
}

/* What a format counts is worth a line where there is any of it. */
static bool is_format_count(const char *name) {
    for (const keel_format *format = keel_formats; format->name; format++)
        for (size_t i = 0; i < KEEL_FORMAT_COUNTS && format->counts[i].name; i++)
            if (strcmp(format->counts[i].name, name) == 0) return true;
    return false;
}

void keel_cli_print_import(const cJSON *result, const char *head, const char *bad, const char *says,
                           FILE *out) {
    keel_table table = {.columns = 2};
    const cJSON *item;
    keel_table_cell(&table, "%s", head);
    keel_table_cell(&table, "count");
    cJSON_ArrayForEach (item, result) {
        if (!cJSON_IsNumber(item)) continue;
        if (item->valuedouble == 0 && is_format_count(item->string)) continue;
        keel_table_cell(&table, "%s", item->string);
        keel_table_cell(&table, "%.0f", item->valuedouble);
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
    cJSON_ArrayForEach (item, keel_json_get(result, bad)) {
        fprintf(out, "%s: ", says);
        keel_print_text(out, keel_json_text(item, "where", ""));
        fputs(": ", out);
        keel_print_text(out, keel_json_text(item, "message", ""));
        fputc('\n', out);
    }
}
