/* What SQLite itself needs for the rows of an import: it writes all rows of a store into a new file of the
 * same schema, table by table in the order of their keys, each table by one INSERT ... SELECT, in one
 * transaction, with the settings of the first import into a new store of Keel. No log is read, nothing is
 * checked, hashed or looked up. Prints seconds from opening the new file to having closed it.
 *
 *     bench_import_floor STORE NEW */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void need(sqlite3 *db, int code) {
    if (code == SQLITE_OK || code == SQLITE_ROW) return;
    fprintf(stderr, "bench_import_floor: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void run(sqlite3 *db, const char *sql) {
    need(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* The script that a query puts together in its one row. */
static void run_made(sqlite3 *db, const char *query) {
    sqlite3_stmt *made = NULL;
    need(db, sqlite3_prepare_v2(db, query, -1, &made, NULL));
    need(db, sqlite3_step(made));
    run(db, (const char *)sqlite3_column_text(made, 0));
    sqlite3_finalize(made);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    sqlite3 *db;
    if (argc != 3) return fprintf(stderr, "usage: bench_import_floor STORE NEW\n"), 2;
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    const double begin = now();
    need(NULL, sqlite3_open_v2(argv[2], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                               NULL));
    run(db, "PRAGMA foreign_keys = OFF; PRAGMA cache_size = -16000; PRAGMA synchronous = FULL");
    char *attach = sqlite3_mprintf("ATTACH %Q AS old", argv[1]);
    run(db, attach);
    sqlite3_free(attach);
    run(db, "BEGIN IMMEDIATE");
    run_made(db, "SELECT group_concat(sql, ';') FROM old.sqlite_schema WHERE sql IS NOT NULL");
    /* Columns by name: for * SQLite would copy records, and indexes in the order of the old ones. */
    run_made(db, "SELECT group_concat('INSERT INTO main.' || name || ' SELECT ' || columns || ' FROM old.' "
                 "|| name, ';')"
                 " FROM (SELECT t.name, (SELECT group_concat(name) FROM pragma_table_info(t.name)) AS columns"
                 " FROM old.sqlite_schema t WHERE type = 'table' AND t.name NOT LIKE 'sqlite_%')");
    run(db, "COMMIT");
    need(db, sqlite3_close(db));
    printf("%.6f\n", now() - begin);
    return 0;
}
