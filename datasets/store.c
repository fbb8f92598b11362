/* The store's handle: opening, migrating, transactions, cached statements, and SQLite's errors in words. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"
#include "datasets/store_internal.h"

enum { APPLICATION_ID = 0x4b45454c /* "KEEL" */ };

/* ---- SQLite's memory from core/memory, behind a header that keeps the size ---- */

enum { HEADER = 16 };

static void *sqlite_resize(void *old, int bytes) {
    char *block = keel_realloc(old ? (char *)old - HEADER : NULL, (size_t)bytes + HEADER);
    if (!block) return NULL;
    memcpy(block, &bytes, sizeof bytes);
    return block + HEADER;
}

static void *sqlite_alloc(int bytes) {
    return sqlite_resize(NULL, bytes);
}

static void sqlite_release(void *block) {
    if (block) keel_free((char *)block - HEADER);
}

static int sqlite_size(void *block) {
    int bytes = 0;
    if (block) memcpy(&bytes, (char *)block - HEADER, sizeof bytes);
    return bytes;
}

static int sqlite_round_up(int bytes) {
    return (bytes + 7) & ~7;
}

static int sqlite_memory_begin(void *user) {
    (void)user;
    return SQLITE_OK;
}

static void sqlite_memory_end(void *user) {
    (void)user;
}

/* Once SQLite is in use it keeps its own allocator: the refusal is harmless. */
void keel_store_use_allocator(void) {
    static const sqlite3_mem_methods methods = {
        sqlite_alloc,    sqlite_release,      sqlite_resize,     sqlite_size,
        sqlite_round_up, sqlite_memory_begin, sqlite_memory_end, NULL};
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

/* ---- failing ---- */

static keel_status fail_busy(const keel_store *store, const char *doing, keel_err *err) {
    char who[32] = "";
    const long holder = keel__store_holder(store);
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, store->path, "%s: waiting for another process", doing);
    if (holder) snprintf(who, sizeof who, " (%ld)", holder);
    keel_fail(err, KEEL_E_STORE, store->path, "%s: the store is in use by another process%s", doing, who);
    keel_hint(err, "wait until the other writer is done, then try again");
    return KEEL_E_STORE;
}

/* A quota, or a limit of a file's size, is no full disk to SQLite, but an error of output. */
static keel_status fail_output(const keel_store *store, const char *doing, const char *what, keel_err *err) {
    keel_fail(err, KEEL_E_IO, store->path, "%s: %s", doing, what);
    return keel_hint(err, "see that its disk has room, then try again: what was begun is undone");
}

keel_status keel__store_fail(const keel_store *store, const char *doing, keel_err *err) {
    int code = store->db ? sqlite3_errcode(store->db) : SQLITE_NOMEM;
    const char *text = store->db ? sqlite3_errmsg(store->db) : "no handle";
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        keel_nomem(err, store->path);
        if (keel_memory_left() == SIZE_MAX) /* else the limit is what to think of first */
            keel_hint(err,
                      "with memory to spare the store is damaged: SQLite says the same of some broken files");
        return KEEL_E_NOMEM;
    case SQLITE_INTERRUPT:
        return keel_fail(err, KEEL_E_INTERRUPTED, store->path, "%s", doing);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail_busy(store, doing, err);
    case SQLITE_NOTADB:
        keel_fail(err, KEEL_E_STORE, store->path, "%s: not a Keel store (not an SQLite file, or damaged)",
                  doing);
        keel_hint(err, "give the path of a store that keel made, or a new path");
        return KEEL_E_STORE;
    case SQLITE_CORRUPT:
        keel_fail(err, KEEL_E_STORE, store->path, "%s: the store is damaged (%s)", doing, text);
        keel_hint(err, "restore a copy, or save what can be read with: sqlite3 FILE .recover");
        return KEEL_E_STORE;
    case SQLITE_FULL:
        return fail_output(store, doing, "the disk is full", err);
    case SQLITE_IOERR:
        return fail_output(store, doing, text, err);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return keel_fail(err, KEEL_E_IO, store->path, "%s: %s", doing, text);
    default:
        return keel_fail(err, KEEL_E_STORE, store->path, "%s: %s", doing, text);
    }
}

/* ---- statements ---- */

/* The statement that was given a text which is no text: what reads it would call the store damaged. */
static _Thread_local const sqlite3_stmt *unfit;

static const char *const statement_sql[] = {
#define X(name, sql) sql,
    KEEL__STORE_SQL(X)
#undef X
};

keel_status keel__store_statement(keel_store *store, keel__sql which, sqlite3_stmt **out, keel_err *err) {
    sqlite3_stmt **cached = &store->statements[which];
    *out = NULL;
    if (store->rollback_due) keel_store_rollback(store);
    if (!*cached &&
        sqlite3_prepare_v3(store->db, statement_sql[which], -1, SQLITE_PREPARE_PERSISTENT, cached, NULL))
        return keel__store_fail(store, "preparing a statement", err);
    sqlite3_reset(*cached);
    if (unfit == *cached) unfit = NULL;
    *out = *cached;
    return KEEL_OK;
}

keel_status keel__store_prepare(keel_store *store, const char *sql, sqlite3_stmt **out, keel_err *err) {
    if (store->rollback_due) keel_store_rollback(store);
    if (sqlite3_prepare_v2(store->db, sql, -1, out, NULL))
        return keel__store_fail(store, "preparing a statement", err);
    if (unfit == *out) unfit = NULL;
    return KEEL_OK;
}

keel_status keel__store_step(keel_store *store, sqlite3_stmt *statement, bool *row, const char *doing,
                             keel_err *err) {
    *row = false;
    if (unfit == statement) {
        unfit = NULL;
        keel_fail(err, KEEL_E_INVALID, store->path, "%s: a name or a path is not UTF-8", doing);
        return keel_hint(err, "a store holds only text; rename the file or folder");
    }
    const int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    if (*row) return KEEL_OK;
    const keel_status status = code == SQLITE_DONE ? KEEL_OK : keel__store_fail(store, doing, err);
    sqlite3_reset(statement);
    return status;
}

keel_status keel__store_run(keel_store *store, sqlite3_stmt *statement, const char *doing, keel_err *err) {
    bool row;
    KEEL_TRY(keel__store_step(store, statement, &row, doing, err));
    if (row) sqlite3_reset(statement);
    return KEEL_OK;
}

keel_status keel__store_number(keel_store *store, sqlite3_stmt *statement, const char *doing,
                               int64_t otherwise, int64_t *out, keel_err *err) {
    bool row;
    KEEL_TRY(keel__store_step(store, statement, &row, doing, err));
    *out = row ? sqlite3_column_int64(statement, 0) : otherwise;
    sqlite3_reset(statement);
    return KEEL_OK;
}

keel_status keel__store_list(keel_store *store, sqlite3_stmt *statement, const keel__list *of,
                             keel_arena *arena, void *out, size_t *count, keel_err *err) {
    char *items = NULL;
    size_t n = 0, capacity = 0;
    keel_status status;
    bool row = true;
    while ((status = keel__store_step(store, statement, &row, of->doing, err)) == KEEL_OK && row) {
        if (!keel_arena_grow(arena, &items, n, &capacity, of->size)) {
            status = keel_nomem(err, store->path);
            break;
        }
        char *item = items + n++ * of->size;
        memset(item, 0, of->size);
        status = of->read(store, statement, arena, item, err);
        if (status != KEEL_OK) break;
    }
    sqlite3_reset(statement);
    if (status != KEEL_OK) return status;
    memcpy(out, &items, sizeof items);
    *count = n;
    return KEEL_OK;
}

keel_status keel__store_has_table(keel_store *store, const char *name, bool *has, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_HAS_TABLE, &statement, err));
    keel__bind_text(statement, 1, name);
    KEEL_TRY(keel__store_step(store, statement, has, "looking for a table", err));
    sqlite3_reset(statement);
    return KEEL_OK;
}

static keel_status execute(keel_store *store, const char *sql, const char *doing, keel_err *err) {
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL)) return keel__store_fail(store, doing, err);
    return KEEL_OK;
}

/* Not by PRAGMA: that needs memory, and could fail. */
void keel__store_check_references(keel_store *store, bool check) {
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_FKEY, (int)check, (int *)NULL);
}

static keel_status query_int(keel_store *store, const char *sql, int64_t *out, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(store, sql, &statement, err));
    keel_status status = keel__store_number(store, statement, "reading the store's header", 0, out, err);
    sqlite3_finalize(statement);
    return status;
}

/* ---- binding and reading ---- */

void keel__bind_text(sqlite3_stmt *statement, int place, const char *text) {
    const size_t length = text ? strlen(text) : 0;
    if (text && keel_utf8_valid_prefix(text, length) != length) unfit = statement;
    sqlite3_bind_text(statement, place, text, -1, SQLITE_STATIC);
}

void keel__bind_optional(sqlite3_stmt *statement, int place, keel_optional value) {
    if (value.present)
        sqlite3_bind_double(statement, place, value.value);
    else
        sqlite3_bind_null(statement, place);
}

keel_optional keel__column_optional(sqlite3_stmt *statement, int column) {
    if (sqlite3_column_type(statement, column) == SQLITE_NULL) return (keel_optional){0};
    return (keel_optional){true, sqlite3_column_double(statement, column)};
}

keel_reward keel__column_reward(sqlite3_stmt *statement, int column) {
    keel_reward reward = {0};
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        keel_optional value = keel__column_optional(statement, column + k);
        reward.present[k] = value.present;
        reward.value[k] = (float)value.value;
    }
    return reward;
}

keel_status keel__column_text(sqlite3_stmt *statement, int column, keel_arena *arena, const char **out,
                              keel_err *err) {
    const char *text = (const char *)sqlite3_column_text(statement, column);
    size_t length = (size_t)sqlite3_column_bytes(statement, column);
    if (text && keel_utf8_valid_prefix(text, length) != length)
        return keel_fail(err, KEEL_E_STORE, sqlite3_db_filename(sqlite3_db_handle(statement), "main"),
                         "damaged: a row's %s is not UTF-8", sqlite3_column_name(statement, column));
    char *copy = text ? keel_arena_strndup(arena, text, length) : NULL;
    if (!copy && sqlite3_column_type(statement, column) != SQLITE_NULL) return keel_nomem(err, "store");
    *out = copy;
    return KEEL_OK;
}

/* ---- migrations ---- */

static keel_status migrate_step(keel_store *store, const char *script, int64_t version, keel_err *err) {
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %lld",
             APPLICATION_ID, (long long)version);
    KEEL_TRY(execute(store, script, "bringing the schema forward", err));
    return execute(store, pragmas, "bringing the schema forward", err);
}

/* The version is read again inside the transaction: another process may have migrated in the meantime. */
keel_status keel__store_migrate(keel_store *store, const char *const *migrations, keel_err *err) {
    int64_t version = 0;
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = query_int(store, "PRAGMA user_version", &version, err);
    while (status == KEEL_OK && migrations[version]) {
        status = migrate_step(store, migrations[version], version + 1, err);
        version++;
    }
    return keel__store_end(store, true, status, err);
}

/* Whose file is it, and of which version? Then, if needed and allowed, bring it forward. */
static keel_status check_schema(keel_store *store, keel_store_mode mode, keel_err *err) {
    int64_t application, version, tables, latest = 0;
    while (keel__store_migrations[latest]) latest++;
    KEEL_TRY(query_int(store, "PRAGMA application_id", &application, err));
    KEEL_TRY(query_int(store, "PRAGMA user_version", &version, err));
    KEEL_TRY(query_int(store, "SELECT count(*) FROM sqlite_schema", &tables, err));
    bool blank = application == 0 && version == 0 && tables == 0;
    if (application != APPLICATION_ID && !(blank && mode == KEEL_STORE_CREATE)) {
        keel_fail(err, KEEL_E_STORE, store->path,
                  blank ? "the file is empty, not a Keel store"
                        : "an SQLite file of another application, not a Keel store");
        keel_hint(err, "give the path of a store that keel made, or a new path");
        return KEEL_E_STORE;
    }
    if (version > latest || version < 0) {
        keel_fail(err, KEEL_E_UNSUPPORTED, store->path, "schema version %lld, this build reads up to %lld",
                  (long long)version, (long long)latest);
        keel_hint(err, "use the newer keel that made this store");
        return KEEL_E_UNSUPPORTED;
    }
    if (version == latest || (mode == KEEL_STORE_READ && version >= KEEL__STORE_READABLE)) return KEEL_OK;
    if (mode != KEEL_STORE_READ) {
        KEEL_TRY(keel__store_migrate(store, keel__store_migrations, err));
        store->fresh = blank;
        return KEEL_OK;
    }
    keel_fail(err, KEEL_E_STORE, store->path, "schema version %lld is older than %lld", (long long)version,
              (long long)latest);
    keel_hint(err, "run a verb that writes (keel label) once: it brings the store forward");
    return KEEL_E_STORE;
}

/* ---- opening ---- */

/* The file may come from anybody: what it holds besides tables is not run. */
static void distrust(sqlite3 *db) {
    static const int off[] = {SQLITE_DBCONFIG_ENABLE_TRIGGER, SQLITE_DBCONFIG_ENABLE_VIEW};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) sqlite3_db_config(db, off[i], 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
}

static int read_mode(void *is_wal, int columns, char **values, char **names) {
    (void)names;
    *(bool *)is_wal = columns == 1 && values[0] && strcmp(values[0], "wal") == 0;
    return SQLITE_OK;
}

/* Set once the file is known to be ours: the journal mode is written into the file. Where a new store is
 * being filled the mode cannot be changed, nor does SQLite wait for it; but it does for a lock. Whoever made
 * the file may have taken it away again meanwhile. A disk that takes no such log keeps the journal, and the
 * full synchronizing which that needs to outlast a power cut. */
static keel_status write_ahead(keel_store *store, keel_err *err) {
    static const char change[] = "PRAGMA journal_mode = WAL";
    bool is_wal = false;
    int moved = 0;
    int code = sqlite3_exec(store->db, change, read_mode, &is_wal, NULL);
    if (code == SQLITE_BUSY) {
        KEEL_TRY(execute(store, "BEGIN IMMEDIATE; ROLLBACK", "opening", err));
        code = sqlite3_exec(store->db, change, read_mode, &is_wal, NULL);
    }
    if (code != SQLITE_OK) return keel__store_fail(store, "opening", err);
    if (is_wal) KEEL_TRY(execute(store, "PRAGMA synchronous = NORMAL", "opening", err));
    sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved) return KEEL_OK;
    keel_fail(err, KEEL_E_STORE, store->path, "the store was taken away while it was opened");
    return keel_hint(err, "give the command again");
}

/* 16 MB of pages, but no more than a quarter of what may still be taken: the rest is for what is read. */
static keel_status limit_pages(keel_store *store, keel_err *err) {
    enum { MOST_KB = 16000, LEAST_KB = 1000 };
    char pragma[64];
    size_t kb = keel_memory_left() / 4096;
    kb = kb > MOST_KB ? MOST_KB : kb < LEAST_KB ? LEAST_KB : kb;
    snprintf(pragma, sizeof pragma, "PRAGMA cache_size = -%zu", kb);
    return execute(store, pragma, "opening", err);
}

static keel_status configure(keel_store *store, keel_store_mode mode, keel_err *err) {
    keel__store_wait_install(store);
    sqlite3_extended_result_codes(store->db, 0);
    distrust(store->db);
    KEEL_TRY(execute(store,
                     "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                     " PRAGMA synchronous = FULL;",
                     "opening", err));
    KEEL_TRY(limit_pages(store, err));
    if (keel__rows_install(store->db)) return keel__store_fail(store, "opening", err);
    KEEL_TRY(check_schema(store, mode, err));
    return mode == KEEL_STORE_READ || store->fresh ? KEEL_OK : write_ahead(store, err);
}

/* What a full disk left of a new store. Only then: after any other failure somebody else may be about to fill
 * it. */
static void remove_blank(const char *path) {
    struct stat about;
    if (stat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == 0) unlink(path);
}

/* Whether rows can be added to a store that is there: SQLite's log needs the folder too. */
static bool may_write(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 &&
           faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0;
}

/* Where no log can be made beside the store and neither log nor journal is there, nobody else writes either:
 * SQLite is told that the file does not change, else it would insist on the log. */
static keel_status open_unchanging(keel_store *store, keel_err *err) {
    static const char hex[] = "0123456789abcdef";
    keel_buf uri = {0};
    keel_buf_text(&uri, *store->path == '/' ? "file://" : "file:");
    for (const char *c = store->path; *c; c++) {
        if (strchr("?#%", *c))
            keel_buf_format(&uri, "%%%c%c", hex[(unsigned char)*c >> 4], hex[*c & 15]);
        else
            keel_buf_append(&uri, c, 1);
    }
    keel_buf_text(&uri, "?immutable=1");
    keel_status status = uri.failed ? keel_nomem(err, store->path) : KEEL_OK;
    if (status == KEEL_OK &&
        sqlite3_open_v2(uri.data, &store->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                        NULL))
        status = keel__store_fail(store, "opening", err);
    keel_buf_free(&uri);
    return status;
}

static keel_status open_file(keel_store *store, keel_store_mode mode, bool writable, keel_err *err) {
    static const int flags[] = {SQLITE_OPEN_READONLY, SQLITE_OPEN_READWRITE,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE};
    char log[4200], journal[4200];
    snprintf(log, sizeof log, "%s-wal", store->path);
    snprintf(journal, sizeof journal, "%s-journal", store->path);
    if (!writable && mode == KEEL_STORE_READ && !keel_file_exists(log) && !keel_file_exists(journal))
        return open_unchanging(store, err);
    if (!writable && mode != KEEL_STORE_READ)
        return keel_fail(err, KEEL_E_IO, store->path, "the store or its folder may not be written");
    if (sqlite3_open_v2(store->path, &store->db, flags[mode] | SQLITE_OPEN_NOMUTEX, NULL))
        return keel__store_fail(store, "opening", err);
    return KEEL_OK;
}

keel_status keel_store_check_path(const char *path, keel_err *err) {
    const bool uri = strncasecmp(path, "file:", 5) == 0;
    if (path[0] && path[0] != ':' && !uri) return KEEL_OK;
    keel_fail(err, KEEL_E_USAGE, "store", "\"%.200s\" is no path of a file: %s", path,
              uri       ? "SQLite would read it as a URI"
              : path[0] ? "SQLite would keep the data in memory, and it would be gone"
                        : "it is empty");
    return keel_hint(err, "give a path; ./%s is a file of this name", path);
}

keel_status keel_store_open(keel_store **out, const char *path, keel_store_mode mode, keel_err *err) {
    struct stat about;
    KEEL_TRY(keel_store_check_path(path, err));
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return keel_fail(err, KEEL_E_STORE, path, "a %s, not a store",
                         S_ISDIR(about.st_mode) ? "folder" : "pipe or a device");
    if (mode != KEEL_STORE_CREATE && !keel_file_exists(path)) {
        keel_fail(err, KEEL_E_NOT_FOUND, path, "no such store");
        keel_hint(err, "make one with: keel import --store %s --format NAME PATH", path);
        return KEEL_E_NOT_FOUND;
    }
    bool new = !keel_file_exists(path), writable = new || may_write(path);
    if (mode == KEEL_STORE_EITHER) mode = writable ? KEEL_STORE_WRITE : KEEL_STORE_READ;
    keel_store *store = keel_calloc(1, sizeof *store);
    if (!store) return keel_nomem(err, path);
    keel_status status = KEEL_OK;
    store->path = keel_strdup(path);
    if (!store->path) status = keel_nomem(err, path);
    if (status == KEEL_OK) status = open_file(store, mode, writable, err);
    if (status == KEEL_OK) status = configure(store, mode, err);
    if (status == KEEL_OK)
        *out = store;
    else
        keel_store_close(store);
    if (status == KEEL_E_IO && new) remove_blank(path);
    return status;
}

void keel_store_close(keel_store *store) {
    if (!store) return;
    for (int i = 0; i < KEEL__N_SQL; i++) sqlite3_finalize(store->statements[i]);
    for (int i = 0; i < KEEL__N_TABLES; i++) sqlite3_finalize(store->inserts[i]);
    sqlite3_close_v2(store->db); /* rolls back an open transaction */
    keel_arena_free(&store->scratch);
    keel__rows_free(store);
    keel_free(store->path);
    keel_free(store);
}

const char *keel_store_path(const keel_store *store) {
    return store->path;
}

bool keel_store_writable(const keel_store *store) {
    return sqlite3_db_readonly(store->db, "main") == 0;
}

/* ---- transactions ---- */

static keel_status run_cached(keel_store *store, keel__sql which, const char *doing, keel_err *err) {
    sqlite3_stmt *statement = NULL;
    KEEL_TRY(keel__store_statement(store, which, &statement, err));
    return keel__store_run(store, statement, doing, err);
}

/* The way back is prepared first, so that it needs no memory when memory has run out. */
keel_status keel_store_begin(keel_store *store, keel_err *err) {
    sqlite3_stmt *rollback;
    if (store->rollback_due) keel_store_rollback(store);
    if (!sqlite3_get_autocommit(store->db))
        return keel_fail(err, KEEL_E_USAGE, store->path, "a transaction is open already");
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ROLLBACK, &rollback, err));
    keel_status status = run_cached(store, KEEL__SQL_BEGIN, "beginning to write", err);
    store->knows_ids = store->gathering = false;
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

keel_status keel_store_commit(keel_store *store, keel_err *err) {
    KEEL_TRY(keel__rows_insert(store, err));
    KEEL_TRY(run_cached(store, KEEL__SQL_COMMIT, "committing", err));
    store->gathering = false;
    if (store->fresh) write_ahead(store, NULL); /* or whoever opens it next */
    store->fresh = false;
    return KEEL_OK;
}

keel_status keel__store_enter(keel_store *store, bool *own, keel_err *err) {
    *own = sqlite3_get_autocommit(store->db) != 0;
    return *own ? keel_store_begin(store, err) : KEEL_OK;
}

keel_status keel__store_end(keel_store *store, bool own, keel_status status, keel_err *err) {
    if (!own) return status;
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

void keel_store_gather(keel_store *store) {
    store->gathering = !sqlite3_get_autocommit(store->db);
}

keel_status keel_store_gathered(keel_store *store, keel_err *err) {
    return keel__rows_insert(store, err);
}

/* Out of memory, even going back may fail; it is tried again before the handle does anything else. */
void keel_store_rollback(keel_store *store) {
    store->rollback_due = store->gathering = false;
    keel__rows_forget(store);
    if (!sqlite3_get_autocommit(store->db)) run_cached(store, KEEL__SQL_ROLLBACK, "rolling back", NULL);
    store->rollback_due = !sqlite3_get_autocommit(store->db);
}
