/* The log of the command llm, one SQLite file with the table responses (prompt, system, response, model,
 * duration_ms, conversation_id, datetime_utc), and in newer ones tool_calls, which a response made, and
 * tool_results, which its prompt brought back. The file is read into memory and only looked at: nothing of
 * its schema is trusted, and it may come through a pipe or be compressed. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "datasets/build.h"

enum { TOOL_CALLS };
enum {
    COL_CONVERSATION,
    COL_ID,
    COL_MODEL,
    COL_PROMPT,
    COL_SYSTEM,
    COL_RESPONSE,
    COL_DURATION,
    COL_CALLS,
    COL_RESULTS
};

static const char magic[] = "SQLite format 3";

typedef struct state {
    keel_buf file;
    sqlite3 *db;
    sqlite3_stmt *rows;
    bool begun, row; /* row: one is there to be read */
} state;

static keel_status fail_sqlite(const state *s, const char *where, keel_err *err) {
    if (sqlite3_errcode(s->db) == SQLITE_NOMEM) {
        keel_nomem(err, where);
        keel_hint(err, "with memory to spare the file is damaged: SQLite says the same of some broken files");
        return KEEL_E_NOMEM;
    }
    return keel_fail(err, KEEL_E_PARSE, where, "cannot be read as a log of llm: %s", sqlite3_errmsg(s->db));
}

static keel_status step(state *s, const char *where, keel_err *err) {
    const int code = sqlite3_step(s->rows);
    s->row = code == SQLITE_ROW;
    return s->row || code == SQLITE_DONE ? KEEL_OK : fail_sqlite(s, where, err);
}

/* A number that a query gives; 0 if it cannot be asked. */
static int64_t ask(const state *s, const char *sql) {
    sqlite3_stmt *statement = NULL;
    int64_t got = 0;
    if (sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        got = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return got;
}

/* The file in memory as a database that cannot be written. */
static keel_status open_file(keel_reader *reader, state *s, keel_err *err) {
    enum { HEADER = 100, VERSIONS = 18, APPLICATION = 68, MOST_TEXT = 1 << 26 };
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->file, err));
    if (s->file.length < HEADER || memcmp(s->file.data, magic, sizeof magic) != 0)
        return keel_fail(err, KEEL_E_PARSE, reader->place, "expected a SQLite file");
    if (memcmp(s->file.data + APPLICATION, "KEEL", 4) == 0) {
        keel_fail(err, KEEL_E_PARSE, reader->place, "this is a store of Keel, not a log");
        return keel_hint(err, "keel export writes a store as a log: keel export --store %s --out log.jsonl",
                         reader->place);
    }
    s->file.data[VERSIONS] = s->file.data[VERSIONS + 1] = 1; /* no write-ahead log beside it */
    if (sqlite3_open_v2(":memory:", &s->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        return s->db ? fail_sqlite(s, reader->place, err) : keel_nomem(err, reader->place);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, MOST_TEXT);
    const sqlite3_int64 length = (sqlite3_int64)s->file.length;
    if (sqlite3_deserialize(s->db, "main", (unsigned char *)s->file.data, length, length,
                            SQLITE_DESERIALIZE_READONLY) != SQLITE_OK)
        return fail_sqlite(s, reader->place, err);
    return KEEL_OK;
}

static bool has_table(const state *s, const char *name) {
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM sqlite_schema WHERE name = '%s' AND type = 'table' AND sql NOT LIKE "
             "'CREATE VIRTUAL%%'",
             name);
    return ask(s, sql) == 1;
}

/* Calls and results as messages hold them, one list for each response. */
static const char with_tools[] =
    "SELECT coalesce(r.conversation_id, r.id) AS c, r.id, r.model, r.prompt, r.system, r.response, "
    "r.duration_ms, calls.list AS tool_calls, results.list AS tool_results FROM responses r "
    "LEFT JOIN (SELECT response_id, json_group_array(json_object('id', tool_call_id, 'function', "
    "json_object('name', name, 'arguments', arguments))) AS list "
    "FROM (SELECT * FROM tool_calls ORDER BY id) GROUP BY response_id) calls ON calls.response_id = r.id "
    "LEFT JOIN (SELECT response_id, json_group_array(json_object('role', 'tool', 'name', name, "
    "'tool_call_id', tool_call_id, 'content', coalesce(output, ''))) AS list "
    "FROM (SELECT * FROM tool_results ORDER BY id) GROUP BY response_id) results "
    "ON results.response_id = r.id ORDER BY c, r.datetime_utc, r.id";
static const char without_tools[] =
    "SELECT coalesce(conversation_id, id) AS c, id, model, prompt, system, response, "
    "duration_ms, NULL, NULL FROM responses ORDER BY c, datetime_utc, id";

static keel_status begin(keel_reader *reader, state *s, keel_err *err) {
    KEEL_TRY(open_file(reader, s, err));
    const bool good = has_table(s, "responses");
    if (!good && sqlite3_errcode(s->db) != SQLITE_OK && sqlite3_errcode(s->db) != SQLITE_ROW &&
        sqlite3_errcode(s->db) != SQLITE_DONE)
        return fail_sqlite(s, reader->place, err);
    if (!good)
        return keel_fail(err, KEEL_E_PARSE, reader->place,
                         "this SQLite file is no log of llm: it has no table \"responses\"");
    const bool tools = has_table(s, "tool_calls") && has_table(s, "tool_results") &&
                       sqlite3_prepare_v2(s->db, with_tools, -1, &s->rows, NULL) == SQLITE_OK;
    if (!tools && has_table(s, "tool_calls"))
        reader->counts[TOOL_CALLS] = ask(s, "SELECT count(*) FROM tool_calls");
    if (!tools && sqlite3_prepare_v2(s->db, without_tools, -1, &s->rows, NULL) != SQLITE_OK)
        return fail_sqlite(s, reader->place, err);
    s->begun = true;
    return step(s, reader->place, err);
}

/* A column as text in the arena; *out NULL: nothing. */
static keel_status column(state *s, int k, keel_arena *arena, const char *where, const char **out,
                          keel_err *err) {
    const char *text = (const char *)sqlite3_column_text(s->rows, k);
    const size_t length = (size_t)sqlite3_column_bytes(s->rows, k);
    *out = NULL;
    if (!text) return KEEL_OK;
    if (keel_utf8_valid_prefix(text, length) != length)
        return keel_fail(err, KEEL_E_PARSE, where, "%s: invalid UTF-8", sqlite3_column_name(s->rows, k));
    *out = keel_arena_strndup(arena, text, length);
    return *out ? KEEL_OK : keel_nomem(err, where);
}

static cJSON *add_message(keel__value *build, cJSON *messages, const char *role, const char *text) {
    cJSON *made = keel__build_message(build, role, text);
    keel__value_put(build, messages, NULL, made);
    return made;
}

/* A column that holds a list as JSON; *out NULL: nothing. */
static keel_status list_column(state *s, int k, keel_arena *arena, const char *where, const cJSON **out,
                               keel_err *err) {
    const char *text = NULL;
    *out = NULL;
    KEEL_TRY(column(s, k, arena, where, &text, err));
    return text ? keel_json_parse_in(arena, text, strlen(text), where, out, err) : KEEL_OK;
}

/* What one row says: the system's prompt where it is new, results of tools, the prompt, the response and its
 * calls of tools. */
static keel_status add_row(state *s, keel__value *build, cJSON *messages, const char **system,
                           const char *where, keel_err *err) {
    const char *said[COL_DURATION];
    const cJSON *calls = NULL, *results = NULL;
    for (int k = COL_MODEL; k <= COL_RESPONSE; k++)
        KEEL_TRY(column(s, k, build->arena, where, &said[k], err));
    KEEL_TRY(list_column(s, COL_CALLS, build->arena, where, &calls, err));
    KEEL_TRY(list_column(s, COL_RESULTS, build->arena, where, &results, err));
    const char *now = said[COL_SYSTEM];
    if (now && *now && (!*system || strcmp(now, *system) != 0))
        add_message(build, messages, "system", *system = now);
    for (const cJSON *result = results ? results->child : NULL; result; result = result->next)
        keel__value_put(build, messages, NULL, keel__value_same(build, result));
    if (said[COL_PROMPT] && *said[COL_PROMPT]) add_message(build, messages, "user", said[COL_PROMPT]);
    if (!said[COL_RESPONSE] && !calls) return KEEL_OK;
    cJSON *answer = add_message(build, messages, "assistant", said[COL_RESPONSE] ? said[COL_RESPONSE] : "");
    const double duration = sqlite3_column_double(s->rows, COL_DURATION);
    keel__value_put_same(build, answer, "tool_calls", calls);
    keel__value_put_text(build, answer, "model", said[COL_MODEL]);
    if (sqlite3_column_type(s->rows, COL_DURATION) == SQLITE_INTEGER && duration >= 0)
        keel__value_put(build, answer, "latency_ms", keel__value_number(build, duration));
    return build->failed ? keel_nomem(err, where) : KEEL_OK;
}

static const char *make_place(keel_reader *reader, const char *id, keel_arena *arena) {
    char place[480];
    snprintf(place, sizeof place, "%s: conversation %.80s", reader->place, id ? id : "without an id");
    place[keel_utf8_valid_prefix(place, strlen(place))] = '\0';
    return keel_arena_strdup(arena, place);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = arena};
    const char *id = NULL, *other = NULL, *system = NULL;
    if (!s->begun) KEEL_TRY(begin(reader, s, err));
    if (!s->row) return KEEL_OK;
    cJSON *made = keel__value_object(&build), *messages = keel__value_array(&build);
    KEEL_TRY(column(s, COL_CONVERSATION, arena, reader->place, &id, err));
    if (!(out->where = make_place(reader, id, arena))) return keel_nomem(err, reader->place);
    do {
        KEEL_TRY(add_row(s, &build, messages, &system, out->where, err));
        KEEL_TRY(step(s, out->where, err));
        if (s->row) KEEL_TRY(column(s, COL_CONVERSATION, arena, out->where, &other, err));
    } while (s->row && id && other && strcmp(id, other) == 0);
    keel__value_put_text(&build, made, "id", id);
    keel__value_put(&build, made, "messages", messages);
    return keel__build_read(&build, made, NULL, out, err);
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    sqlite3_finalize(s->rows);
    sqlite3_close(s->db);
    keel_buf_free(&s->file);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->length >= sizeof magic && memcmp(sniff->text, magic, sizeof magic) == 0;
}

const keel_reader_kind keel__llm_reader = {
    .looks_like = looks_like, .state_size = sizeof(state), .next = next, .close = close_state};
