/* What SQLite itself needs for the rows of an import: all rows of a store are read into memory, then written
 * into a new file of the same schema by prepared statements in one transaction, table by table, in the order
 * of their keys, with the settings of an import of Keel. No log is read, nothing is checked, hashed or looked
 * up. Prints seconds from opening the new file to having closed it.
 *
 *     bench_import_floor STORE NEW */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_ROWS = 1 << 24, MAX_COLUMNS = 16 };

static const char *const tables[] = {"conversations", "turns",       "decisions", "candidates",
                                     "labels",        "transitions", "imports",   "runs"};
enum { N_TABLES = sizeof tables / sizeof *tables };

typedef struct rows {
    int columns;
    size_t count;
    sqlite3_value **values; /* [count, columns] */
} rows;

static void need(sqlite3 *db, int code) {
    if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return;
    fprintf(stderr, "bench_import_floor: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void run(sqlite3 *db, const char *sql) {
    need(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement = NULL;
    need(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL));
    return statement;
}

static rows read_rows(sqlite3 *db, const char *table) {
    char sql[64];
    snprintf(sql, sizeof sql, "SELECT * FROM %s", table);
    sqlite3_stmt *select = prepare(db, sql);
    rows out = {.columns = sqlite3_column_count(select)};
    size_t room = 0;
    while (sqlite3_step(select) == SQLITE_ROW && out.count < MAX_ROWS) {
        if (out.count == room) {
            room = room ? room * 2 : 1024;
            out.values = realloc(out.values, room * (size_t)out.columns * sizeof *out.values);
            if (!out.values) exit(1);
        }
        for (int c = 0; c < out.columns; c++)
            out.values[out.count * (size_t)out.columns + (size_t)c] =
                sqlite3_value_dup(sqlite3_column_value(select, c));
        out.count++;
    }
    sqlite3_finalize(select);
    return out;
}

static void bind(sqlite3_stmt *insert, int place, sqlite3_value *value) {
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        sqlite3_bind_int64(insert, place, sqlite3_value_int64(value));
        break;
    case SQLITE_FLOAT:
        sqlite3_bind_double(insert, place, sqlite3_value_double(value));
        break;
    case SQLITE_TEXT:
        sqlite3_bind_text(insert, place, (const char *)sqlite3_value_text(value), sqlite3_value_bytes(value),
                          SQLITE_STATIC);
        break;
    default:
        sqlite3_bind_null(insert, place);
    }
}

static void write_rows(sqlite3 *db, const char *table, const rows *from) {
    char sql[128];
    int at = snprintf(sql, sizeof sql, "INSERT INTO %s VALUES(?", table);
    for (int c = 1; c < from->columns; c++) at += snprintf(sql + at, sizeof sql - (size_t)at, ", ?");
    snprintf(sql + at, sizeof sql - (size_t)at, ")");
    sqlite3_stmt *insert = prepare(db, sql);
    for (size_t r = 0; r < from->count; r++) {
        for (int c = 0; c < from->columns; c++)
            bind(insert, c + 1, from->values[r * (size_t)from->columns + (size_t)c]);
        need(db, sqlite3_step(insert));
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
}

/* The CREATE statements of a store, as one script. */
static char *read_schema(sqlite3 *db) {
    sqlite3_stmt *select =
        prepare(db, "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE sql IS NOT NULL");
    need(db, sqlite3_step(select));
    char *script = sqlite3_mprintf("%s", sqlite3_column_text(select, 0));
    sqlite3_finalize(select);
    return script;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    sqlite3 *from, *to;
    rows all[N_TABLES];
    if (argc != 3) return fprintf(stderr, "usage: bench_import_floor STORE NEW\n"), 2;
    need(NULL, sqlite3_open_v2(argv[1], &from, SQLITE_OPEN_READONLY, NULL));
    for (int t = 0; t < N_TABLES; t++) all[t] = read_rows(from, tables[t]);
    char *schema = read_schema(from);
    const double begin = now();
    need(NULL, sqlite3_open_v2(argv[2], &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                               NULL));
    run(to, "PRAGMA foreign_keys = OFF; PRAGMA cache_size = -16000; PRAGMA journal_mode = WAL;"
            "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE");
    run(to, schema);
    for (int t = 0; t < N_TABLES; t++) write_rows(to, tables[t], &all[t]);
    run(to, "COMMIT");
    need(to, sqlite3_close(to));
    printf("%.6f\n", now() - begin);
    return 0;
}
