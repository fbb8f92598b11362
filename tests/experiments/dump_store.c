/* dump_store FILE hold: holds the store as a writer does until its standard input ends.
 * dump_store FILE "SELECT ...": what the query finds on stdout, one row a line.
 * dump_store FILE [SQL]: after running the SQL, which may make the file, every table of a store on stdout, in
 * the order of names and then of all columns, one row a line: two stores hold the same if and only if their
 * dumps are the same. */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void put_column(sqlite3_stmt *row, int column) {
    const unsigned char *bytes = sqlite3_column_blob(row, column);
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_NULL:
        fputs("null", stdout);
        break;
    case SQLITE_INTEGER:
        printf("%lld", sqlite3_column_int64(row, column));
        break;
    case SQLITE_FLOAT:
        printf("%a", sqlite3_column_double(row, column));
        break;
    default:
        for (int i = 0; i < sqlite3_column_bytes(row, column); i++)
            printf(bytes[i] < ' ' || bytes[i] == '\\' ? "\\%02x" : "%c", bytes[i]);
    }
}

static int put_rows(sqlite3 *db, const char *sql) {
    sqlite3_stmt *row = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &row, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(row);
        for (int i = 0; code == SQLITE_ROW && i < sqlite3_column_count(row); i++) {
            if (i) putchar('\t');
            put_column(row, i);
        }
        if (code == SQLITE_ROW) putchar('\n');
    }
    sqlite3_finalize(row);
    return code == SQLITE_DONE ? 0 : 1;
}

static int dump_table(sqlite3 *db, const char *name) {
    sqlite3_stmt *row = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
    sqlite3_prepare_v2(db, sql, -1, &row, NULL);
    const bool wide = sqlite3_column_count(row) > 2;
    sqlite3_finalize(row);
    sqlite3_free(sql);
    sql = sqlite3_mprintf("SELECT * FROM \"%w\" ORDER BY 1, 2%s", name, wide ? ", 3" : "");
    printf("== %s\n", name);
    const int failed = put_rows(db, sql);
    sqlite3_free(sql);
    return failed;
}

static int dump(sqlite3 *db) {
    sqlite3_stmt *table = NULL;
    const char *list = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    int failed = sqlite3_prepare_v2(db, list, -1, &table, NULL) != SQLITE_OK;
    while (!failed && sqlite3_step(table) == SQLITE_ROW)
        failed = dump_table(db, (const char *)sqlite3_column_text(table, 0));
    sqlite3_finalize(table);
    return failed;
}

static int hold(sqlite3 *db) {
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) return 1;
    puts("held");
    fflush(stdout);
    while (getchar() != EOF) continue;
    return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK;
}

int main(int argc, char **argv) {
    sqlite3 *db = NULL;
    const char *sql = argc == 3 ? argv[2] : NULL;
    const int flags = SQLITE_OPEN_READWRITE | (sql ? SQLITE_OPEN_CREATE : 0);
    int failed = (argc != 2 && argc != 3) || sqlite3_open_v2(argv[1], &db, flags, NULL) != SQLITE_OK;
    if (!failed && sql && strcmp(sql, "hold") == 0) {
        failed = hold(db);
    } else if (!failed && sql && strncmp(sql, "SELECT ", 7) == 0) {
        failed = put_rows(db, sql);
    } else {
        failed = failed || (sql && sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) || dump(db);
    }
    if (failed) fprintf(stderr, "dump_store: %s\n", db ? sqlite3_errmsg(db) : "usage: dump_store FILE [SQL]");
    sqlite3_close(db);
    return failed;
}
