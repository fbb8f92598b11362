/* Tables with a line of column names, separated as csv.h says: a prompt and its answer a line
 * (row.h), or a message a line with role and content, where lines of one id, wherever they stand, are one
 * conversation; lines without one are, as long as they follow each other. Tables with prompt_id in place of
 * the prompt are joined with prompts.csv in the same folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "datasets/csv.h"
#include "datasets/row.h"

/* A row of a table with a message a line. */
typedef struct message_row {
    size_t line, number; /* number: its place among the rows */
    size_t first;        /* number of the first row of its conversation */
    const char *id;      /* of the conversation; "" : none */
    char **fields;
} message_row;

typedef struct state {
    keel_buf text, prompts;
    keel__csv csv;
    keel__row_state rows;
    keel_arena lasting;
    cJSON *joined; /* in it: the rows of prompts.csv by prompt_id; NULL: none are needed */
    bool by_message, sorted;
    int id; /* the column that names the conversation; -1: none */
    message_row *messages;
    size_t n_messages, messages_capacity, at; /* at: the next to be given, once they are sorted */
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

/* The column that names the conversation. Where there is one of these, `id` is the message's. */
static int find_id(const state *s) {
    static const char *const names[] = {"conversation_id", "session_id", "thread_id", "chat_id",
                                        "dialogue_id",     "dialog_id",  "id"};
    int column = -1;
    if (s->rows.names[KEEL__FIELD_ID]) return keel__csv_column(&s->csv, s->rows.names[KEEL__FIELD_ID]);
    for (size_t i = 0; i < sizeof names / sizeof *names && column < 0; i++)
        column = keel__csv_column(&s->csv, names[i]);
    return column;
}

/* Reads on from where it is. */
static keel_status read_messages(state *s, const char *place, keel_err *err) {
    for (;;) {
        size_t line;
        KEEL_TRY(keel__csv_next(&s->csv, &line, err));
        if (!line) return KEEL_OK;
        char **fields = keel_arena_calloc(&s->lasting, s->csv.n_columns, sizeof *fields);
        if (!fields || !keel_arena_grow(&s->lasting, &s->messages, s->n_messages, &s->messages_capacity,
                                        sizeof *s->messages))
            return keel_nomem(err, place);
        memcpy(fields, s->csv.fields, s->csv.n_columns * sizeof *fields);
        s->messages[s->n_messages] = (message_row){
            .line = line, .number = s->n_messages, .id = s->id >= 0 ? fields[s->id] : "", .fields = fields};
        s->n_messages++;
    }
}

static int compare_sizes(size_t a, size_t b) {
    return (a > b) - (a < b);
}

static int by_id(const void *a, const void *b) {
    const message_row *x = a, *y = b;
    const int ids = strcmp(x->id, y->id);
    return ids ? ids : compare_sizes(x->number, y->number);
}

static int by_first(const void *a, const void *b) {
    const message_row *x = a, *y = b;
    return x->first != y->first ? compare_sizes(x->first, y->first) : compare_sizes(x->number, y->number);
}

/* Rows of one conversation together, conversations in the order of their first rows. */
static void sort_messages(state *s) {
    message_row *rows = s->messages;
    if (s->n_messages) qsort(rows, s->n_messages, sizeof *rows, by_id);
    for (size_t i = 0; i < s->n_messages; i++) {
        const bool same = i > 0 && strcmp(rows[i].id, rows[i - 1].id) == 0 &&
                          (rows[i].id[0] || rows[i].number == rows[i - 1].number + 1);
        rows[i].first = same ? rows[i - 1].first : rows[i].number;
    }
    if (s->n_messages) qsort(rows, s->n_messages, sizeof *rows, by_first);
    s->sorted = true;
}

/* Columns of the conversation; what is left is the message's. Empty fields say nothing, but an empty content
 * is one. */
static void add_line(const state *s, keel__value *build, cJSON *to, cJSON *messages, const cJSON *row) {
    static const char *const of_all[] = {"risk", "group", "split", NULL};
    const char *id = s->id >= 0 ? s->csv.header[s->id] : "";
    cJSON *message = keel__value_object(build);
    keel__value_put(build, messages, NULL, message);
    for (const cJSON *item = row ? row->child : NULL; item; item = item->next) {
        const char *field = keel__row_field(&s->rows, item->string), *key = field ? field : item->string;
        const bool said = item->valuestring[0] || strcmp(key, "content") == 0,
                   all = keel__is_among(key, of_all);
        if (!said || strcmp(item->string, id) == 0 || (all && keel_json_get(to, key))) continue;
        keel__value_put_same(build, all ? to : message, key, item);
    }
}

static keel_status next_messages(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = arena};
    if (!s->sorted) KEEL_TRY(read_messages(s, reader->place, err));
    if (!s->sorted) sort_messages(s);
    if (s->at == s->n_messages) return KEEL_OK;
    const message_row *first = &s->messages[s->at];
    out->where = keel__value_format(&build, "%s:%zu", reader->place, first->line);
    if (build.failed) return keel_nomem(err, reader->place);
    cJSON *built = keel__value_object(&build), *list = keel__value_array(&build);
    keel__value_put(&build, built, "messages", list);
    if (first->id[0]) keel__value_put_text(&build, built, "id", first->id);
    for (; s->at < s->n_messages && s->messages[s->at].first == first->first; s->at++) {
        memcpy(s->csv.fields, s->messages[s->at].fields, s->csv.n_columns * sizeof *s->csv.fields);
        add_line(s, &build, built, list, keel__csv_object(&s->csv, &build));
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
    s->by_message = !s->rows.names[KEEL__FIELD_PROMPT] && !s->rows.names[KEEL__FIELD_RESPONSE] &&
                    keel__csv_column(&s->csv, "role") >= 0 && keel__csv_column(&s->csv, "content") >= 0;
    s->id = find_id(s);
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
