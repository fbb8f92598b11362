/* What leaves the store: conversations by cursor, id or name, acts, counts, runs and the content hash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/interrupt.h"
#include "datasets/store_internal.h"

/* ---- one conversation ---- */

static keel_status read_header(keel_store *store, int64_t id, keel_arena *arena, keel_conversation *out,
                               keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_CONVERSATION, &statement, err));
    sqlite3_bind_int64(statement, 1, id);
    KEEL_TRY(keel__store_step(store, statement, &row, "reading a conversation", err));
    if (!row)
        return keel_fail(err, KEEL_E_NOT_FOUND, store->path, "no conversation with row id %lld",
                         (long long)id);
    keel_status status;
    out->id = sqlite3_column_int64(statement, 0);
    KEEL_TRY_GOTO(keel__column_text(statement, 1, arena, &out->source, err), done);
    KEEL_TRY_GOTO(keel__column_text(statement, 2, arena, &out->external_id, err), done);
    KEEL_TRY_GOTO(keel__column_text(statement, 3, arena, &out->split, err), done);
    KEEL_TRY_GOTO(keel__column_text(statement, 4, arena, &out->group, err), done);
    out->risk = (keel_risk)sqlite3_column_int(statement, 5);
    out->completed = (keel_tri)sqlite3_column_int(statement, 6);
    out->truncated = sqlite3_column_int(statement, 7) != 0;
    KEEL_TRY_GOTO(keel__column_text(statement, 8, arena, &out->meta, err), done);
done:
    sqlite3_reset(statement);
    return status;
}

static keel_status read_turn(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item,
                             keel_err *err) {
    keel_turn *turn = item;
    (void)store;
    turn->role = (keel_role)sqlite3_column_int(row, 0);
    KEEL_TRY(keel__column_text(row, 1, arena, &turn->text, err));
    KEEL_TRY(keel__column_text(row, 2, arena, &turn->model, err));
    KEEL_TRY(keel__column_text(row, 3, arena, &turn->act, err));
    turn->latency_ms = keel__column_optional(row, 4);
    return KEEL_OK;
}

static keel_status read_turns(keel_store *store, keel_arena *arena, keel_conversation *out, keel_err *err) {
    static const keel__list turns = {"reading turns", sizeof(keel_turn), read_turn};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_TURNS, &statement, err));
    sqlite3_bind_int64(statement, 1, out->id);
    return keel__store_list(store, statement, &turns, arena, &out->turns, &out->n_turns, err);
}

static keel_status read_candidate(sqlite3_stmt *statement, keel_arena *arena, const char *said,
                                  keel_candidate *out, keel_err *err) {
    *out = (keel_candidate){.id = sqlite3_column_int64(statement, 2)};
    KEEL_TRY(keel__column_text(statement, 3, arena, &out->text, err));
    if (!out->text) out->text = said;
    KEEL_TRY(keel__column_text(statement, 4, arena, &out->act, err));
    KEEL_TRY(keel__column_text(statement, 5, arena, &out->model, err));
    out->taken = sqlite3_column_int(statement, 6) != 0;
    out->propensity = keel__column_optional(statement, 7);
    out->latency_ms = keel__column_optional(statement, 8);
    out->feedback = keel__column_optional(statement, 9);
    out->logged_reward = keel__column_reward(statement, 10);
    out->outcome = (keel_outcome)sqlite3_column_int(statement, 10 + KEEL_N_REWARDS);
    out->judge = (keel_authority)sqlite3_column_int(statement, 11 + KEEL_N_REWARDS);
    return KEEL_OK;
}

static int compare_candidates(const void *a, const void *b) {
    const keel_candidate *x = a, *y = b;
    const int by_model = x->model && y->model ? strcmp(x->model, y->model) : !!x->model - !!y->model;
    return by_model ? by_model : (x->id > y->id) - (x->id < y->id);
}

static bool is_sorted(const keel_candidate *c, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (compare_candidates(&c[i - 1], &c[i]) > 0) return false;
    return true;
}

/* As KEEL__SQL_CANDIDATE has it: what was said, which shares its text with the turn, before the others. */
static void sort_candidates(keel_decision *decision, const char *said) {
    keel_candidate *c = decision->candidates;
    const size_t n = decision->n_candidates;
    size_t first = 0;
    if (n < 2) return;
    for (size_t i = 0; i < n; i++) {
        if (c[i].text != said) continue;
        const keel_candidate one = c[i];
        c[i] = c[first];
        c[first++] = one;
    }
    if (!is_sorted(c, first)) qsort(c, first, sizeof *c, compare_candidates);
    if (!is_sorted(c + first, n - first)) qsort(c + first, n - first, sizeof *c, compare_candidates);
}

static const char *said_at(const keel_conversation *conversation, const keel_decision *decision) {
    return decision->turn < conversation->n_turns ? conversation->turns[decision->turn].text : "";
}

typedef struct capacities {
    size_t decisions, candidates; /* candidates: of the last decision */
} capacities;

/* A row is a candidate of the last decision or of a new one, or a decision that has none. */
static keel_status read_decision_row(sqlite3_stmt *statement, keel_arena *arena, keel_conversation *out,
                                     capacities *room, keel_err *err) {
    int64_t id = sqlite3_column_int64(statement, 0);
    if (out->n_decisions == 0 || out->decisions[out->n_decisions - 1].id != id) {
        if (!keel_arena_grow(arena, &out->decisions, out->n_decisions, &room->decisions,
                             sizeof *out->decisions))
            return keel_nomem(err, "store");
        out->decisions[out->n_decisions++] =
            (keel_decision){.id = id, .turn = (size_t)sqlite3_column_int64(statement, 1)};
        room->candidates = 0;
    }
    if (sqlite3_column_type(statement, 2) == SQLITE_NULL) return KEEL_OK;
    keel_decision *decision = &out->decisions[out->n_decisions - 1];
    if (!keel_arena_grow(arena, &decision->candidates, decision->n_candidates, &room->candidates,
                         sizeof *decision->candidates))
        return keel_nomem(err, "store");
    return read_candidate(statement, arena, said_at(out, decision),
                          &decision->candidates[decision->n_candidates++], err);
}

static keel_status read_decisions(keel_store *store, keel_arena *arena, keel_conversation *out,
                                  keel_err *err) {
    sqlite3_stmt *statement;
    capacities room = {0};
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_DECISIONS, &statement, err));
    sqlite3_bind_int64(statement, 1, out->id);
    for (;;) {
        KEEL_TRY(keel__store_step(store, statement, &row, "reading decisions", err));
        if (!row) return KEEL_OK;
        keel_status status = read_decision_row(statement, arena, out, &room, err);
        if (status != KEEL_OK) {
            sqlite3_reset(statement);
            return status;
        }
    }
}

keel_status keel_store_conversation(keel_store *store, int64_t id, keel_arena *arena, keel_conversation **out,
                                    keel_err *err) {
    keel_conversation *conversation = keel_arena_calloc(arena, 1, sizeof *conversation);
    if (!conversation) return keel_nomem(err, store->path);
    KEEL_TRY(read_header(store, id, arena, conversation, err));
    KEEL_TRY(read_turns(store, arena, conversation, err));
    KEEL_TRY(read_decisions(store, arena, conversation, err));
    for (size_t i = 0; i < conversation->n_decisions; i++)
        sort_candidates(&conversation->decisions[i], said_at(conversation, &conversation->decisions[i]));
    KEEL_TRY(keel__store_check(store, conversation, err));
    *out = conversation;
    return KEEL_OK;
}

keel_status keel_store_hold(keel_store *store, bool *held, keel_err *err) {
    sqlite3_stmt *statement;
    *held = false;
    if (store->rollback_due) keel_store_rollback(store);
    if (!sqlite3_get_autocommit(store->db)) return KEEL_OK;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ROLLBACK, &statement, err)); /* the way back first */
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_HOLD, &statement, err));
    KEEL_TRY(keel__store_run(store, statement, "beginning to read", err));
    *held = true;
    return KEEL_OK;
}

void keel_store_release(keel_store *store, bool held) {
    if (held) keel_store_rollback(store); /* nothing was written */
}

/* ---- finding ---- */

/* The ids of conversations whose external id (and source, if given) is this; counts at most two. */
static keel_status find_named(keel_store *store, const char *source, size_t source_length,
                              const char *external_id, int64_t *id, int *count, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(
        store,
        "SELECT id FROM conversations WHERE external_id = ?1 AND (?2 IS NULL OR source = ?2)"
        " LIMIT 2",
        &statement, err));
    keel__bind_text(statement, 1, external_id);
    if (source) sqlite3_bind_text(statement, 2, source, (int)source_length, SQLITE_STATIC);
    keel_status status;
    bool row = true;
    *count = 0;
    while ((status = keel__store_step(store, statement, &row, "looking for a conversation", err)) ==
               KEEL_OK &&
           row) {
        *id = sqlite3_column_int64(statement, 0);
        ++*count;
    }
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_find_conversation(keel_store *store, const char *name, int64_t *id, keel_err *err) {
    int count;
    int64_t found = 0;
    const char *colon = strchr(name, ':');
    KEEL_TRY(find_named(store, NULL, 0, name, &found, &count, err));
    if (count == 0 && colon)
        KEEL_TRY(find_named(store, name, (size_t)(colon - name), colon + 1, &found, &count, err));
    if (count == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, store->path, "no conversation \"%s\"", name);
        keel_hint(err, "name it as its log does, or as SOURCE:NAME");
        return KEEL_E_NOT_FOUND;
    }
    if (count > 1) {
        keel_fail(err, KEEL_E_CONFLICT, store->path, "conversations of several sources are named \"%s\"",
                  name);
        keel_hint(err, "say which: SOURCE:%s", name);
        return KEEL_E_CONFLICT;
    }
    *id = found;
    return KEEL_OK;
}

/* Prepares head, the split's clause and tail as one statement, with the split bound. */
static keel_status prepare_split(keel_store *store, const char *head, const keel_split *split,
                                 const char *tail, sqlite3_stmt **out, keel_err *err) {
    keel_buf sql = {0};
    keel_buf_text(&sql, head);
    keel__split_clause(split, &sql);
    keel_buf_text(&sql, tail);
    keel_status status =
        sql.failed ? keel_nomem(err, store->path) : keel__store_prepare(store, sql.data, out, err);
    keel_buf_free(&sql);
    if (status == KEEL_OK) keel__split_bind(split, *out);
    return status;
}

keel_status keel_store_conversation_ids(keel_store *store, const keel_split *split, keel_order order,
                                        int64_t **ids, size_t *count, keel_err *err) {
    static const char *const tails[] = {[KEEL_ORDER_STORED] = " ORDER BY c.id",
                                        [KEEL_ORDER_NAMED] =
                                            " ORDER BY c.group_hash, c.external_id, c.source"};
    sqlite3_stmt *statement;
    KEEL_TRY(prepare_split(store, "SELECT c.id FROM conversations c WHERE 1", split, tails[order], &statement,
                           err));
    keel_buf found = {0};
    keel_status status;
    bool row = true;
    while ((status = keel__store_step(store, statement, &row, "listing conversations", err)) == KEEL_OK &&
           row) {
        int64_t id = sqlite3_column_int64(statement, 0);
        keel_buf_append(&found, &id, sizeof id);
    }
    sqlite3_finalize(statement);
    if (status == KEEL_OK && found.failed) status = keel_nomem(err, store->path);
    if (status == KEEL_OK && !found.data && !(found.data = keel_alloc(sizeof **ids)))
        status = keel_nomem(err, store->path);
    if (status != KEEL_OK) {
        keel_buf_free(&found);
        return status;
    }
    *ids = (int64_t *)(void *)found.data;
    *count = found.length / sizeof **ids;
    return KEEL_OK;
}

keel_status keel_store_count_conversations(keel_store *store, const keel_split *split, size_t *count,
                                           keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(
        prepare_split(store, "SELECT count(*) FROM conversations c WHERE 1", split, "", &statement, err));
    keel_status status = keel__store_step(store, statement, &row, "counting conversations", err);
    if (status == KEEL_OK) *count = row ? (size_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_check_split(keel_store *store, const keel_split *split, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(
        prepare_split(store, "SELECT 1 FROM conversations c WHERE 1", split, " LIMIT 1", &statement, err));
    keel_status status = keel__store_step(store, statement, &row, "looking for a split", err);
    sqlite3_finalize(statement);
    if (status != KEEL_OK || row) return status;
    KEEL_TRY(
        keel__store_prepare(store,
                            "SELECT group_concat(split, ', ') FROM (SELECT DISTINCT split FROM conversations"
                            " ORDER BY split)",
                            &statement, err));
    status = keel__store_step(store, statement, &row, "listing splits", err);
    const char *splits = status == KEEL_OK && row ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (status == KEEL_OK) {
        status = keel_fail(err, KEEL_E_NOT_FOUND, store->path, "no conversation is in split \"%s\"",
                           split ? split->text : "all");
        if (splits)
            keel_hint(err, "the splits there are: %s", splits);
        else
            keel_hint(err, "the store is empty: import logs first");
    }
    sqlite3_finalize(statement);
    return status;
}

/* ---- the cursor ---- */

/* No read stays open across the caller's writes: in stored order it seeks anew after the last id for each
 * conversation, by name it has the ids listed. */
struct keel_cursor {
    keel_store *store;
    keel_split split;
    bool any;
    sqlite3_stmt *next; /* stored order */
    int64_t last;
    int64_t *ids; /* [count] by name */
    size_t count, at;
};

keel_status keel_cursor_open(keel_cursor **out, keel_store *store, const keel_split *split, keel_order order,
                             keel_err *err) {
    keel_cursor *cursor = keel_calloc(1, sizeof *cursor);
    keel_status status;
    if (!cursor) return keel_nomem(err, store->path);
    cursor->store = store;
    cursor->any = !split;
    if (split) cursor->split = *split;
    if (order == KEEL_ORDER_NAMED)
        status = keel_store_conversation_ids(store, split, order, &cursor->ids, &cursor->count, err);
    else
        status =
            prepare_split(store, "SELECT c.id FROM conversations c WHERE c.id > :last",
                          cursor->any ? NULL : &cursor->split, " ORDER BY c.id LIMIT 1", &cursor->next, err);
    if (status != KEEL_OK)
        keel_cursor_close(cursor);
    else
        *out = cursor;
    return status;
}

static keel_status next_id(keel_cursor *cursor, bool *found, int64_t *id, keel_err *err) {
    if (!cursor->next) {
        *found = cursor->at < cursor->count;
        if (*found) *id = cursor->ids[cursor->at];
        return KEEL_OK;
    }
    sqlite3_bind_int64(cursor->next, sqlite3_bind_parameter_index(cursor->next, ":last"), cursor->last);
    KEEL_TRY(keel__store_step(cursor->store, cursor->next, found, "walking conversations", err));
    if (*found) *id = sqlite3_column_int64(cursor->next, 0);
    if (*found) sqlite3_reset(cursor->next);
    return KEEL_OK;
}

keel_status keel_cursor_next(keel_cursor *cursor, keel_arena *arena, keel_conversation **conversation,
                             keel_err *err) {
    bool found;
    int64_t id = 0;
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, keel_store_path(cursor->store), "walking conversations");
    KEEL_TRY(next_id(cursor, &found, &id, err));
    if (!found) {
        *conversation = NULL;
        return KEEL_OK;
    }
    KEEL_TRY(keel_store_conversation(cursor->store, id, arena, conversation, err));
    cursor->last = id;
    cursor->at++;
    return KEEL_OK;
}

void keel_cursor_close(keel_cursor *cursor) {
    if (!cursor) return;
    sqlite3_finalize(cursor->next);
    keel_free(cursor->ids);
    keel_free(cursor);
}

/* ---- acts ---- */

static keel_status read_act(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item,
                            keel_err *err) {
    (void)store;
    return keel__column_text(row, 0, arena, item, err);
}

keel_status keel_store_acts(keel_store *store, const keel_split *split, keel_arena *arena, const char ***acts,
                            size_t *count, keel_err *err) {
    static const keel__list names = {"listing acts", sizeof **acts, read_act};
    sqlite3_stmt *statement;
    KEEL_TRY(prepare_split(
        store,
        "SELECT DISTINCT a.act FROM conversations c JOIN decisions d ON d.conversation_id = c.id"
        " JOIN candidates a ON a.decision_id = d.id WHERE a.taken AND a.act IS NOT NULL",
        split, " ORDER BY a.act", &statement, err));
    const keel_status status = keel__store_list(store, statement, &names, arena, acts, count, err);
    sqlite3_finalize(statement);
    return status;
}

/* ---- counts ---- */

/* Each query gives one row a split: its name, then the numbers that go into consecutive int64_t fields. */
typedef struct count_query {
    const char *sql;
    size_t offset; /* of the first field */
    int columns;
} count_query;

static const count_query count_queries[] = {
    {"SELECT split, count(*) FROM conversations GROUP BY split", offsetof(keel_split_count, conversations),
     1},
    {"SELECT c.split, count(*) FROM turns t JOIN conversations c ON c.id = t.conversation_id GROUP BY "
     "c.split",
     offsetof(keel_split_count, turns), 1},
    {"SELECT c.split, count(*) FROM decisions d JOIN conversations c ON c.id = d.conversation_id GROUP BY "
     "c.split",
     offsetof(keel_split_count, decisions), 1},
    {"SELECT c.split, count(*), sum(a.taken) FROM candidates a JOIN decisions d ON d.id = a.decision_id"
     " JOIN conversations c ON c.id = d.conversation_id GROUP BY c.split",
     offsetof(keel_split_count, candidates), 2},
    {"SELECT c.split, count(*) FROM transitions t JOIN decisions d ON d.id = t.decision_id"
     " JOIN conversations c ON c.id = d.conversation_id GROUP BY c.split",
     offsetof(keel_split_count, transitions), 1},
    {"SELECT split, sum(risk = 1), sum(risk = 2), sum(risk = 0), sum(completed = 1), sum(completed >= 0)"
     " FROM conversations GROUP BY split",
     offsetof(keel_split_count, benign), 5},
    {"SELECT c.split, sum(a.outcome = 0), sum(a.outcome = 1), sum(a.outcome = 2), sum(a.outcome = 3),"
     " sum(a.judge = 0), sum(a.judge = 1), sum(a.judge = 2), sum(a.judge = 3)"
     " FROM candidates a JOIN decisions d ON d.id = a.decision_id JOIN conversations c ON c.id = "
     "d.conversation_id"
     " WHERE a.taken GROUP BY c.split",
     offsetof(keel_split_count, outcome), 8},
    {"SELECT c.split" KEEL__SQL_REWARDS_N " FROM transitions t"
     " JOIN decisions d ON d.id = t.decision_id JOIN conversations c ON c.id = d.conversation_id GROUP BY "
     "c.split",
     offsetof(keel_split_count, reward_present), KEEL_N_REWARDS},
};

static keel_status run_count(keel_store *store, const count_query *query, keel_split_count *rows,
                             size_t count, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status;
    bool row = true;
    KEEL_TRY(keel__store_prepare(store, query->sql, &statement, err));
    while ((status = keel__store_step(store, statement, &row, "counting", err)) == KEEL_OK && row) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        size_t i = 0;
        if (!name) continue; /* the names were refused before, unless the file is damaged */
        while (i < count && strcmp(rows[i].name, name) != 0) i++;
        for (int k = 0; i < count && k < query->columns; k++) {
            int64_t value = sqlite3_column_int64(statement, k + 1);
            memcpy((char *)&rows[i] + query->offset + (size_t)k * sizeof value, &value, sizeof value);
        }
    }
    sqlite3_finalize(statement);
    return status;
}

static keel_status read_split_name(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item,
                                   keel_err *err) {
    keel_split_count *out = item;
    KEEL_TRY(keel__column_text(row, 0, arena, &out->name, err));
    return out->name ? KEEL_OK : keel__store_damaged(store, "a split without a name", err);
}

keel_status keel_store_counts(keel_store *store, keel_arena *arena, keel_split_count **out, size_t *count,
                              keel_err *err) {
    static const keel__list splits = {"listing splits", sizeof **out, read_split_name};
    sqlite3_stmt *statement;
    keel_split_count *rows;
    size_t n;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_SPLITS, &statement, err));
    KEEL_TRY(keel__store_list(store, statement, &splits, arena, &rows, &n, err));
    for (size_t i = 0; i < sizeof count_queries / sizeof *count_queries; i++)
        KEEL_TRY(run_count(store, &count_queries[i], rows, n, err));
    *out = rows;
    *count = n;
    return KEEL_OK;
}

/* ---- what was done ---- */

static keel_status read_measured(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item,
                                 keel_err *err) {
    keel_measured *out = item;
    *out = (keel_measured){.run = sqlite3_column_int64(row, 0), .value = keel__column_optional(row, 3)};
    KEEL_TRY(keel__column_text(row, 1, arena, &out->verb, err));
    KEEL_TRY(keel__column_text(row, 2, arena, &out->config_json, err));
    return out->verb ? KEEL_OK : keel__store_damaged(store, "a run without its verb", err);
}

keel_status keel_store_measured(keel_store *store, const char *metric, keel_arena *arena, keel_measured **out,
                                size_t *count, keel_err *err) {
    static const keel__list runs = {"reading metrics", sizeof **out, read_measured};
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_MEASURED, &statement, err));
    keel__bind_text(statement, 1, metric);
    return keel__store_list(store, statement, &runs, arena, out, count, err);
}

keel_status keel_store_latencies(keel_store *store, keel_optional *low, keel_optional *high, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_LATENCIES, &statement, err));
    KEEL_TRY(keel__store_step(store, statement, &row, "reading latencies", err));
    *low = row ? keel__column_optional(statement, 0) : (keel_optional){0};
    *high = row ? keel__column_optional(statement, 1) : (keel_optional){0};
    sqlite3_reset(statement);
    return KEEL_OK;
}
