/* What the tests of this folder share: a scratch folder with a store, files written into it, and imports that
 * are expected to work or to fail with a certain text. */
#ifndef KEEL_TESTS_DATASETS_FIXTURE_H
#define KEEL_TESTS_DATASETS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "datasets/import.h"
#include "datasets/store_internal.h"
#include "support/check.h"
#include "support/scratch.h"

static char folder[256];
static keel_store *store;
static keel_arena arena;
static keel_err err;
static keel_import_report report;

static inline const char *in(const char *name) {
    return scratch_path(folder, name);
}

static inline void open_store(keel_store_mode mode) {
    assert_ok(keel_store_open(&store, in("store.db"), mode, &err));
}

static inline void close_store(void) {
    keel_store_close(store);
    store = NULL;
}

/* Each test begins with an empty store in an empty folder. */
static inline int begin_test(void **state) {
    (void)state;
    keel_store_use_allocator();
    if (!scratch_make(folder, SCRATCH)) return -1;
    open_store(KEEL_STORE_CREATE);
    return 0;
}

static inline int end_test(void **state) {
    (void)state;
    close_store();
    keel_arena_free(&arena);
    keel_folder_remove(folder, NULL);
    return 0;
}

/* fact: a query whose first column says whether it holds. */
static inline void expect_sql(const char *fact) {
    sqlite3_stmt *statement;
    assert_ok(keel__store_prepare(store, fact, &statement, &err));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    if (sqlite3_column_int(statement, 0) != 1) fail_msg("not so: %s", fact);
    sqlite3_finalize(statement);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

static inline const char *put(const char *name, const char *text) {
    assert_int_equal(keel_file_write(in(name), text, strlen(text), NULL), KEEL_OK);
    return in(name);
}

static inline keel_status import_as(const char *format, const char *split, const char *path) {
    const keel_format *row = NULL;
    if (format) assert_ok(keel_formats_find(format, &row, &err));
    return keel_import(store, &(keel_import_options){.format = row, .split = split}, &path, 1, &report, &err);
}

/* What the formats counted under this name; -1 if nothing is counted under it. */
static inline int64_t counted(const char *name) {
    for (size_t i = 0; i < report.n_counts; i++)
        if (strcmp(report.counts[i].name, name) == 0) return report.counts[i].count;
    return -1;
}

static inline void contains(const char *text, const char *part) {
    if (!strstr(text, part)) print_error("\"%s\" does not contain \"%s\"\n", text, part);
    assert_non_null(strstr(text, part));
}

/* The import fails with this code, names `where`, says `message`, and leaves the store as it was. */
static inline void import_fails(const char *format, const char *path, keel_status code, const char *where,
                                const char *message) {
    char before[65], after[65];
    assert_ok(keel_store_content_hash(store, NULL, before, &err));
    keel_status status = import_as(format, NULL, path);
    if (status != code) print_error("got %d: %s: %s\n", status, err.where, err.message);
    assert_int_equal(status, code);
    contains(err.where, where);
    contains(err.message, message);
    assert_ok(keel_store_content_hash(store, NULL, after, &err));
    assert_string_equal(before, after);
    assert_int_equal(report.files, 0);
}

/* The conversation of that name, read into the arena. */
static inline keel_conversation *get(const char *name) {
    int64_t id;
    keel_conversation *conversation;
    assert_ok(keel_store_find_conversation(store, name, &id, &err));
    assert_ok(keel_store_conversation(store, id, &arena, &conversation, &err));
    return conversation;
}

/* All conversations as they are stored: while ((c = next_of(cursor))). */
static inline keel_cursor *all_of_them(void) {
    keel_cursor *cursor;
    assert_ok(keel_cursor_open(&cursor, store, NULL, KEEL_ORDER_STORED, &err));
    return cursor;
}

/* Alone in the arena, until the next; NULL after the last one, and the cursor is closed. */
static inline keel_conversation *next_of(keel_cursor *cursor) {
    keel_conversation *conversation;
    keel_arena_reset(&arena);
    assert_ok(keel_cursor_next(cursor, &arena, &conversation, &err));
    if (!conversation) keel_cursor_close(cursor);
    return conversation;
}

/* The first conversation of that group, read into the arena. */
static inline keel_conversation *of_group(const char *name) {
    keel_cursor *cursor = all_of_them();
    keel_conversation *conversation;
    do assert_ok(keel_cursor_next(cursor, &arena, &conversation, &err));
    while (conversation && (!conversation->group || strcmp(conversation->group, name) != 0));
    keel_cursor_close(cursor);
    assert_non_null(conversation);
    return conversation;
}

/* One user turn, one response. */
static inline void make(keel_conversation *out, const char *id, const char *group, const char *split,
                        const char *prompt, const char *response) {
    keel_turn *turns = keel_arena_calloc(&arena, 2, sizeof *turns);
    keel_decision *decision = keel_arena_calloc(&arena, 1, sizeof *decision);
    keel_candidate *candidate = keel_arena_calloc(&arena, 1, sizeof *candidate);
    turns[0] = (keel_turn){.role = KEEL_ROLE_USER, .text = prompt};
    turns[1] = (keel_turn){.role = KEEL_ROLE_ASSISTANT, .text = response};
    *candidate = (keel_candidate){.text = response, .taken = true};
    *decision = (keel_decision){.turn = 1, .n_candidates = 1, .candidates = candidate};
    *out = (keel_conversation){.source = "test",
                               .external_id = id,
                               .group = group,
                               .split = split,
                               .completed = KEEL_UNKNOWN,
                               .n_turns = 2,
                               .turns = turns,
                               .n_decisions = 1,
                               .decisions = decision};
}

/* In the transaction that is open, or one of its own. */
static inline keel_added add(keel_conversation *conversation) {
    keel_added added;
    const bool own = keel_store_begin(store, &err) == KEEL_OK;
    assert_ok(keel_store_add_conversation(store, conversation, false, "test", &added, &err));
    if (own) assert_ok(keel_store_commit(store, &err));
    return added;
}

#endif
