/* Rows that wait to be inserted. One statement takes all that wait for a table from a virtual table, which
 * costs SQLite little more than half of what a statement for each row does. */
#include <string.h>

#include "datasets/store_internal.h"

enum { MAX_CELLS = 8192, MAX_TEXT = 1 << 20 }; /* what may wait: few enough to stay in the cache */

typedef struct keel__cell {
    int kind;   /* as SQLite numbers types */
    int length; /* of a text */
    union {
        int64_t integer;
        double real;
        size_t text; /* offset in keel__waiting.texts */
    } is;
} cell;

/* Each with its columns, in the order in which their cells are added. */
static const struct {
    const char *into, *doing;
} tables[KEEL__N_TABLES] = {
    [KEEL__TURNS] = {"turns(conversation_id, position, role, text, model, act, latency_ms)", "adding turns"},
    [KEEL__DECISIONS] = {"decisions(id, conversation_id, turn)", "adding decisions"},
    [KEEL__CANDIDATES] = {"candidates(id, decision_id, text, act, model, taken, propensity, latency_ms,"
                          " feedback" KEEL__SQL_REWARDS ", outcome, judge)",
                          "adding candidates"},
    [KEEL__LABELS] = {"labels(candidate_id, outcome, judge, judge_name, confidence)", "adding labels"},
    [KEEL__TRANSITIONS] = {"transitions(candidate_id, decision_id, next_decision_id" KEEL__SQL_REWARDS
                           ", terminal, truncated)",
                           "adding transitions"},
};
enum { N_COLUMNS = 11 + KEEL_N_REWARDS }; /* of the widest, candidates */

static size_t count_columns(keel__table table) {
    size_t count = 1;
    for (const char *at = tables[table].into; *at; at++) count += *at == ',';
    return count;
}

/* "c0, c1, ...", the columns of the virtual table. */
static void put_columns(keel_buf *sql, size_t count) {
    for (size_t i = 0; i < count; i++) keel_buf_format(sql, "%sc%zu", i > 0 ? ", " : "", i);
}

/* ---- waiting ---- */

/* In place: a copy by memcpy of what was only just written stalls the processor, some millions of times. */
static void add_cell(keel_store *store, keel__table table, cell one) {
    keel_buf *cells = &store->waiting.cells[table];
    if (cells->failed || cells->capacity - cells->length <= sizeof one) {
        keel_buf_append(cells, &one, sizeof one);
        return;
    }
    *(cell *)(void *)(cells->data + cells->length) = one;
    cells->length += sizeof one;
}

void keel__add_integer(keel_store *store, keel__table table, int64_t value) {
    add_cell(store, table, (cell){.kind = SQLITE_INTEGER, .is.integer = value});
}

void keel__add_text(keel_store *store, keel__table table, const char *text) {
    keel_buf *texts = &store->waiting.texts;
    cell one = {.kind = SQLITE_NULL};
    if (text) {
        size_t length = strlen(text);
        one = (cell){.kind = SQLITE_TEXT, .length = (int)length, .is.text = texts->length};
        keel_buf_append(texts, text, length);
    }
    add_cell(store, table, one);
}

void keel__add_optional(keel_store *store, keel__table table, keel_optional value) {
    add_cell(store, table,
             value.present ? (cell){.kind = SQLITE_FLOAT, .is.real = value.value}
                           : (cell){.kind = SQLITE_NULL});
}

void keel__add_reward(keel_store *store, keel__table table, const keel_reward *reward) {
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        keel__add_optional(store, table, (keel_optional){reward->present[k], (double)reward->value[k]});
}

/* ---- the virtual table: keel_rows(pointer to what to show) ---- */

typedef struct shown {
    const cell *cells;
    const char *texts;
    size_t rows, columns;
} shown;

typedef struct cursor {
    sqlite3_vtab_cursor base;
    const shown *from;
    size_t row;
} cursor;

static int connect(sqlite3 *db, void *user, int argc, const char *const *argv, sqlite3_vtab **out,
                   char **message) {
    (void)user, (void)argc, (void)argv, (void)message;
    sqlite3_vtab *table = keel_calloc(1, sizeof *table);
    keel_buf sql = {0};
    keel_buf_text(&sql, "CREATE TABLE rows(");
    put_columns(&sql, N_COLUMNS);
    keel_buf_text(&sql, ", pointer HIDDEN)");
    int code = table && !sql.failed ? sqlite3_declare_vtab(db, sql.data) : SQLITE_NOMEM;
    keel_buf_free(&sql);
    if (code == SQLITE_OK)
        *out = table;
    else
        keel_free(table);
    return code;
}

static int disconnect(sqlite3_vtab *table) {
    keel_free(table);
    return SQLITE_OK;
}

static int plan(sqlite3_vtab *table, sqlite3_index_info *info) {
    (void)table;
    for (int i = 0; i < info->nConstraint; i++) {
        if (info->aConstraint[i].iColumn != N_COLUMNS || !info->aConstraint[i].usable) continue;
        info->aConstraintUsage[i].argvIndex = 1;
        info->aConstraintUsage[i].omit = 1;
        return SQLITE_OK;
    }
    return SQLITE_CONSTRAINT;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **out) {
    (void)table;
    cursor *at = keel_calloc(1, sizeof *at);
    if (at) *out = &at->base;
    return at ? SQLITE_OK : SQLITE_NOMEM;
}

static int close_cursor(sqlite3_vtab_cursor *base) {
    keel_free(base);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *base, int plan_number, const char *plan_name, int argc,
                  sqlite3_value **argv) {
    static const shown nothing;
    (void)plan_number, (void)plan_name, (void)argc;
    cursor *at = (cursor *)base;
    at->from = sqlite3_value_pointer(argv[0], "keel_rows");
    if (!at->from) at->from = &nothing;
    at->row = 0;
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *base) {
    ((cursor *)base)->row++;
    return SQLITE_OK;
}

static int is_at_end(sqlite3_vtab_cursor *base) {
    const cursor *at = (cursor *)base;
    return at->row >= at->from->rows;
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *out, int column) {
    const cursor *at = (cursor *)base;
    if ((size_t)column >= at->from->columns) return SQLITE_OK; /* NULL */
    const cell *value = &at->from->cells[at->row * at->from->columns + (size_t)column];
    if (value->kind == SQLITE_INTEGER)
        sqlite3_result_int64(out, value->is.integer);
    else if (value->kind == SQLITE_FLOAT)
        sqlite3_result_double(out, value->is.real);
    else if (value->kind == SQLITE_TEXT)
        sqlite3_result_text(out, at->from->texts + value->is.text, value->length, SQLITE_STATIC);
    return SQLITE_OK;
}

static int row_number(sqlite3_vtab_cursor *base, sqlite3_int64 *out) {
    *out = (sqlite3_int64)((cursor *)base)->row;
    return SQLITE_OK;
}

int keel__rows_install(sqlite3 *db) {
    static const sqlite3_module module = {.xConnect = connect,
                                          .xBestIndex = plan,
                                          .xDisconnect = disconnect,
                                          .xOpen = open_cursor,
                                          .xClose = close_cursor,
                                          .xFilter = filter,
                                          .xNext = next,
                                          .xEof = is_at_end,
                                          .xColumn = column,
                                          .xRowid = row_number};
    return sqlite3_create_module(db, "keel_rows", &module, NULL);
}

/* ---- inserting ---- */

static keel_status prepare_insert(keel_store *store, keel__table table, size_t columns, sqlite3_stmt **out,
                                  keel_err *err) {
    sqlite3_stmt **cached = &store->inserts[table];
    keel_buf sql = {0};
    keel_status status = KEEL_OK;
    if (store->rollback_due) keel_store_rollback(store);
    if (!*cached) {
        keel_buf_format(&sql, "INSERT INTO %s SELECT ", tables[table].into);
        put_columns(&sql, columns);
        keel_buf_text(&sql, " FROM keel_rows(?1)");
        status =
            sql.failed ? keel_nomem(err, store->path) : keel__store_prepare(store, sql.data, cached, err);
        keel_buf_free(&sql);
    }
    *out = *cached;
    return status;
}

static keel_status insert_rows(keel_store *store, keel__table table, keel_err *err) {
    const keel_buf *cells = &store->waiting.cells[table];
    sqlite3_stmt *statement;
    const size_t columns = count_columns(table);
    shown these = {(const cell *)(const void *)cells->data, store->waiting.texts.data,
                   cells->length / sizeof(cell) / columns, columns};
    if (!these.rows) return KEEL_OK;
    KEEL_TRY(prepare_insert(store, table, columns, &statement, err));
    sqlite3_bind_pointer(statement, 1, &these, "keel_rows", NULL);
    keel_status status = keel__store_run(store, statement, tables[table].doing, err);
    sqlite3_bind_null(statement, 1);
    return status;
}

static bool has_failed(const keel_store *store) {
    bool failed = store->waiting.texts.failed;
    for (int t = 0; t < KEEL__N_TABLES; t++) failed = failed || store->waiting.cells[t].failed;
    return failed;
}

static bool is_full(const keel_store *store) {
    bool full = store->waiting.texts.length > MAX_TEXT;
    for (int t = 0; t < KEEL__N_TABLES; t++)
        full = full || store->waiting.cells[t].length > MAX_CELLS * sizeof(cell);
    return full;
}

void keel__rows_forget(keel_store *store) {
    for (int t = 0; t < KEEL__N_TABLES; t++) keel_buf_clear(&store->waiting.cells[t]);
    keel_buf_clear(&store->waiting.texts);
    store->waiting.first = INT64_MAX;
    store->waiting.last = 0;
}

/* Tables stand in the order of their references. */
keel_status keel__rows_insert(keel_store *store, keel_err *err) {
    keel_status status = has_failed(store) ? keel_nomem(err, store->path) : KEEL_OK;
    for (int t = 0; t < KEEL__N_TABLES && status == KEEL_OK; t++)
        status = insert_rows(store, (keel__table)t, err);
    keel__rows_forget(store);
    return status;
}

keel_status keel__rows_added(keel_store *store, keel_err *err) {
    const bool wait = store->gathering && !is_full(store) && !has_failed(store);
    return wait ? KEEL_OK : keel__rows_insert(store, err);
}

void keel__rows_free(keel_store *store) {
    for (int t = 0; t < KEEL__N_TABLES; t++) keel_buf_free(&store->waiting.cells[t]);
    keel_buf_free(&store->waiting.texts);
}
