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
    size_t line; /* of the row in csv.fields that is not yet used; 0: none */
    keel_arena lasting;
    cJSON *joined; /* in it: the rows of prompts.csv by prompt_id; NULL: none are needed */
    bool by_message;
} state;

/* ---- prompts in a file of their own ---- */

static keel_status read_prompts(state *s, const char *path, keel_err *err) {
    keel__value build = {.arena = &s->lasting};
    keel__csv csv;
    size_t line;
    KEEL_TRY(keel_file_read(path, 0, &s->prompts, err));
    KEEL_TRY(keel__csv_open(&csv, path, s->prompts.data, s->prompts.length, err));
    const int id = keel__csv_column(&csv, "prompt_id");
    if (id < 0 || keel__csv_column(&csv, "prompt") < 0)
        return keel_fail(err, KEEL_E_PARSE, path, "expected the columns prompt_id and prompt");
    s->joined = keel__value_object(&build);
    for (;;) {
        KEEL_TRY(keel__csv_next(&csv, &line, err));
        if (build.failed) return keel_nomem(err, path);
        if (!line) return KEEL_OK;
        keel__value_put(&build, s->joined, csv.fields[id], keel__csv_object(&csv, &build));
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
static keel_status join_prompt(const state *s, keel__value *build, cJSON *row, const char *where,
                               keel_err *err) {
    const char *id = keel__string_at(row, "prompt_id");
    const cJSON *prompt = id ? keel_json_get(s->joined, id) : NULL;
    if (!s->joined || !id) return KEEL_OK;
    if (!prompt) return keel_fail(err, KEEL_E_PARSE, where, "prompt_id: \"%s\" is not in prompts.csv", id);
    for (const cJSON *item = prompt->child; item; item = item->next)
        if (!keel_json_get(row, item->string)) keel__value_put_same(build, row, item->string, item);
    const char *bundle = keel__string_at(row, "bundle");
    if (bundle && *bundle && !keel_json_get(row, "group")) keel__value_put_text(build, row, "group", bundle);
    return KEEL_OK;
}

/* ---- a message a line ---- */

/* Columns of the conversation; what is left is the message's. Empty fields say nothing, but an empty content
 * is one. */
static void add_line(keel__value *build, cJSON *to, cJSON *messages, const cJSON *row) {
    static const char *const of_all[] = {"id", "risk", "group", "split", NULL};
    cJSON *message = keel__value_object(build);
    keel__value_put(build, messages, NULL, message);
    for (const cJSON *item = row ? row->child : NULL; item; item = item->next) {
        const bool said = item->valuestring[0] || strcmp(item->string, "content") == 0,
                   all = keel__is_among(item->string, of_all);
        if (!said || strcmp(item->string, "conversation_id") == 0 || (all && keel_json_get(to, item->string)))
            continue;
        keel__value_put_same(build, all ? to : message, item->string, item);
    }
}

static const char *id_of(const keel__csv *csv) {
    const int column = keel__csv_column(csv, "id"), other = keel__csv_column(csv, "conversation_id");
    return column >= 0 ? csv->fields[column] : other >= 0 ? csv->fields[other] : "";
}

static keel_status next_messages(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = arena};
    if (!s->line) KEEL_TRY(keel__csv_next(&s->csv, &s->line, err));
    if (!s->line) return KEEL_OK;
    out->where = keel__value_format(&build, "%s:%zu", reader->place, s->line);
    const char *id = keel__value_format(&build, "%s", id_of(&s->csv));
    if (build.failed) return keel_nomem(err, reader->place);
    cJSON *built = keel__value_object(&build), *list = keel__value_array(&build);
    keel__value_put(&build, built, "messages", list);
    if (*id) keel__value_put_text(&build, built, "id", id);
    while (s->line && strcmp(id_of(&s->csv), id) == 0) {
        add_line(&build, built, list, keel__csv_object(&s->csv, &build));
        KEEL_TRY(keel__csv_next(&s->csv, &s->line, err));
    }
    return keel__build_read(&build, built, NULL, out, err);
}

/* ---- a prompt and its answer a line ---- */

static keel_status next_row(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    do {
        keel__value build = {.arena = arena};
        size_t line;
        KEEL_TRY(keel__csv_next(&s->csv, &line, err));
        if (!line) return KEEL_OK;
        out->where = keel__value_format(&build, "%s:%zu", reader->place, line);
        cJSON *row = keel__csv_object(&s->csv, &build);
        if (build.failed) return keel_nomem(err, reader->place);
        KEEL_TRY(join_prompt(s, &build, row, out->where, err));
        if (build.failed) return keel_nomem(err, out->where);
        KEEL_TRY(keel__row_read(&s->rows, row, arena, reader->counts, out, err));
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
    keel_arena_free(&s->lasting);
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
