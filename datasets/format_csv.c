/* Tables with a line of column names, separated by commas, semicolons or tabs: a prompt and its answer a line
 * (row.h), or a message a line with role and content, where lines of one id that follow each other are one
 * conversation. Tables with prompt_id in place of the prompt are joined with prompts.csv in the same folder.
 */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "datasets/csv.h"
#include "datasets/row.h"

typedef struct state {
    keel_buf text, prompts;
    keel__csv csv;
    keel__row_state rows;
    size_t line;   /* of the row in csv.fields that is not yet used; 0: none */
    cJSON *joined; /* the rows of prompts.csv by prompt_id; NULL: none are needed */
    bool by_message;
} state;

static cJSON *row_object(const keel__csv *csv) {
    cJSON *row = cJSON_CreateObject();
    for (size_t i = 0; row && i < csv->n_columns; i++)
        if (csv->header[i][0] && !cJSON_GetObjectItemCaseSensitive(row, csv->header[i]) &&
            !cJSON_AddStringToObject(row, csv->header[i], csv->fields[i])) {
            cJSON_Delete(row);
            return NULL;
        }
    return row;
}

static bool set_where(keel_reader *reader, keel_arena *arena, size_t line, const char **out) {
    char where[400];
    snprintf(where, sizeof where, "%s:%zu", keel_source_name(reader->source), line);
    return (*out = keel_arena_strdup(arena, where)) != NULL;
}

/* ---- prompts in a file of their own ---- */

static keel_status read_prompts(state *s, const char *path, keel_err *err) {
    keel__csv csv;
    size_t line;
    KEEL_TRY(keel_file_read(path, 0, &s->prompts, err));
    KEEL_TRY(keel__csv_open(&csv, path, s->prompts.data, s->prompts.length, err));
    const int id = keel__csv_column(&csv, "prompt_id");
    if (id < 0 || keel__csv_column(&csv, "prompt") < 0)
        return keel_fail(err, KEEL_E_PARSE, path, "expected the columns prompt_id and prompt");
    if (!(s->joined = cJSON_CreateObject())) return keel_nomem(err, path);
    for (;;) {
        KEEL_TRY(keel__csv_next(&csv, &line, err));
        if (!line) return KEEL_OK;
        if (!keel_json_add(s->joined, csv.fields[id], row_object(&csv))) return keel_nomem(err, path);
    }
}

static keel_status find_prompts(keel_reader *reader, keel_err *err) {
    static const char *const names[] = {"prompts.csv", "prompts.csv.gz"};
    const char *path = keel_source_path(reader->source), *slash = path ? strrchr(path, '/') : NULL;
    char beside[4096];
    for (int i = 0; path && i < 2; i++) {
        snprintf(beside, sizeof beside, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, names[i]);
        if (keel_file_exists(beside)) return read_prompts(reader->state, beside, err);
    }
    keel_fail(err, KEEL_E_PARSE, reader->place, "the header has prompt_id, but no column with the prompt");
    return keel_hint(err, "put prompts.csv with the columns prompt_id and prompt into the same folder");
}

/* Adds what prompts.csv says of the prompt. */
static keel_status join_prompt(state *s, cJSON *row, const char *where, keel_err *err) {
    const cJSON *id = keel_json_get(row, "prompt_id"), *prompt;
    if (!s->joined || !cJSON_IsString(id)) return KEEL_OK;
    if (!(prompt = keel_json_get(s->joined, id->valuestring)))
        return keel_fail(err, KEEL_E_PARSE, where, "prompt_id: \"%s\" is not in prompts.csv",
                         id->valuestring);
    for (const cJSON *item = prompt->child; item; item = item->next)
        if (!keel_json_get(row, item->string) &&
            !keel_json_add(row, item->string, cJSON_Duplicate(item, true)))
            return keel_nomem(err, where);
    const cJSON *bundle = keel_json_get(row, "bundle");
    if (cJSON_IsString(bundle) && bundle->valuestring[0] && !keel_json_get(row, "group") &&
        !cJSON_AddStringToObject(row, "group", bundle->valuestring))
        return keel_nomem(err, where);
    return KEEL_OK;
}

/* ---- a message a line ---- */

/* Columns of the conversation; what is left is the message's. Empty fields say nothing, but an empty content
 * is one. */
static bool add_line(cJSON *to, cJSON *messages, cJSON *row) {
    static const char *const of_all[] = {"id", "risk", "group", "split", NULL};
    cJSON *message = cJSON_CreateObject();
    if (!keel_json_add(messages, NULL, message)) return false;
    for (cJSON *item = row->child, *after; item; item = after) {
        after = item->next;
        if (!item->valuestring[0] && strcmp(item->string, "content") != 0) continue;
        const bool all = keel__chat_is_key(item->string, of_all);
        if (all && cJSON_GetObjectItemCaseSensitive(to, item->string)) continue;
        if (!keel_json_add(all ? to : message, item->string, cJSON_Duplicate(item, true))) return false;
    }
    return true;
}

static const char *id_of(const keel__csv *csv) {
    const int column = keel__csv_column(csv, "id"), other = keel__csv_column(csv, "conversation_id");
    return column >= 0 ? csv->fields[column] : other >= 0 ? csv->fields[other] : "";
}

static keel_status next_messages(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    if (!s->line) KEEL_TRY(keel__csv_next(&s->csv, &s->line, err));
    if (!s->line) return KEEL_OK;
    if (!set_where(reader, arena, s->line, &out->where)) return keel_nomem(err, reader->place);
    const char *id = keel_arena_strdup(arena, id_of(&s->csv));
    cJSON *built = cJSON_CreateObject(), *list = built ? cJSON_AddArrayToObject(built, "messages") : NULL;
    keel_status status = id && list ? KEEL_OK : keel_nomem(err, out->where);
    if (status == KEEL_OK && id[0] && !cJSON_AddStringToObject(built, "id", id)) status = keel_nomem(err, id);
    while (status == KEEL_OK && s->line && strcmp(id_of(&s->csv), id) == 0) {
        cJSON *row = row_object(&s->csv);
        if (row) cJSON_DeleteItemFromObjectCaseSensitive(row, "conversation_id");
        if (!row || !add_line(built, list, row)) status = keel_nomem(err, out->where);
        cJSON_Delete(row);
        if (status == KEEL_OK) status = keel__csv_next(&s->csv, &s->line, err);
    }
    return keel__chat_read_built(status, built, arena, NULL, out, err);
}

/* ---- a prompt and its answer a line ---- */

static keel_status next_row(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    do {
        size_t line;
        KEEL_TRY(keel__csv_next(&s->csv, &line, err));
        if (!line) return KEEL_OK;
        if (!set_where(reader, arena, line, &out->where)) return keel_nomem(err, reader->place);
        cJSON *row = row_object(&s->csv);
        keel_status status = row ? join_prompt(s, row, out->where, err) : keel_nomem(err, out->where);
        if (status == KEEL_OK) status = keel__row_read(&s->rows, row, arena, reader->counts, out, err);
        cJSON_Delete(row);
        KEEL_TRY(status);
    } while (!out->conversation);
    return KEEL_OK;
}

/* ---- the reader ---- */

/* What the user named must be there. */
static keel_status check_names(state *s, const keel_reader *reader, keel_err *err) {
    KEEL_TRY(keel__row_name(&s->rows, reader->columns, err));
    for (int i = 0; i < KEEL__N_FIELDS; i++)
        if (s->rows.names[i] && keel__csv_column(&s->csv, s->rows.names[i]) < 0)
            return keel_fail(err, KEEL_E_PARSE, reader->place, "the header has no column \"%s\"",
                             s->rows.names[i]);
    return KEEL_OK;
}

static keel_status open_table(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    KEEL_TRY(keel__csv_open(&s->csv, keel_source_name(reader->source), s->text.data, s->text.length, err));
    KEEL_TRY(check_names(s, reader, err));
    s->by_message = !reader->columns && keel__csv_column(&s->csv, "role") >= 0 &&
                    keel__csv_column(&s->csv, "content") >= 0;
    if (s->by_message || s->rows.names[KEEL__FIELD_PROMPT] || keel__csv_column(&s->csv, "prompt") >= 0)
        return KEEL_OK;
    return keel__csv_column(&s->csv, "prompt_id") >= 0 ? find_prompts(reader, err) : KEEL_OK;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    const state *s = reader->state;
    return s->by_message ? next_messages(reader, arena, out, err) : next_row(reader, arena, out, err);
}

static void close_table(keel_reader *reader) {
    state *s = reader->state;
    keel_buf_free(&s->text);
    keel_buf_free(&s->prompts);
    cJSON_Delete(s->joined);
    keel__row_free(&s->rows);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape == KEEL_SHAPE_TABLE &&
           ((keel_formats_has(sniff, "role") && keel_formats_has(sniff, "content")) ||
            keel__row_looks_like(sniff));
}

const keel_reader_kind keel__csv_reader = {.looks_like = looks_like,
                                           .state_size = sizeof(state),
                                           .open = open_table,
                                           .next = next,
                                           .close = close_table};
