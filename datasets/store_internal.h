/* What the files of the store share: the handle, its list of SQL statements, and the helpers that bind, step
 * and fail. Not for other rooms. */
#ifndef KEEL_DATASETS_STORE_INTERNAL_H
#define KEEL_DATASETS_STORE_INTERNAL_H

#include <sqlite3.h>

#include "datasets/store.h"

/* The order of a decision's candidates, of a table or alias: what was said there, which has no text of its
 * own, then the others, each by model, then by row. Files of several models' answers may be imported in any
 * order. Conversations are read so too. */
#define KEEL__SQL_CANDIDATE(a)                                                                               \
#a ".text IS NOT NULL, " #a ".model IS NOT NULL, ifnull(" #a ".model, ''), " #a ".id"

/* The columns of the reward's components in a list after others, ", accuracy, speed, safety": of a table, of
 * the aliases c and t, and their counts. */
#define KEEL__SQL_REWARD(id, name, weight, low, high)   ", " #name
#define KEEL__SQL_REWARD_C(id, name, weight, low, high) ", c." #name
#define KEEL__SQL_REWARD_T(id, name, weight, low, high) ", t." #name
#define KEEL__SQL_REWARD_X(id, name, weight, low, high) ", x." #name
#define KEEL__SQL_REWARD_N(id, name, weight, low, high) ", count(t." #name ")"
#define KEEL__SQL_REWARD_S(id, name, weight, low, high) ", " #name " = ?"
#define KEEL__SQL_REWARDS                               KEEL_REWARDS(KEEL__SQL_REWARD)
#define KEEL__SQL_REWARDS_C                             KEEL_REWARDS(KEEL__SQL_REWARD_C)
#define KEEL__SQL_REWARDS_T                             KEEL_REWARDS(KEEL__SQL_REWARD_T)
/* Entries of a start: what was served, said of it, and lost. */
#define KEEL__SQL_ENTRIES(start)                                                                             \
    "(SELECT count(*) FROM served WHERE start_id = " start ")"                                               \
    " + (SELECT count(*) FROM served_feedback WHERE start_id = " start ")"                                   \
    " + (SELECT ifnull(sum(count), 0) FROM served_lost WHERE start_id = " start ")"
#define KEEL__SQL_REWARDS_X KEEL_REWARDS(KEEL__SQL_REWARD_X)
#define KEEL__SQL_REWARDS_N KEEL_REWARDS(KEEL__SQL_REWARD_N)
#define KEEL__SQL_REWARDS_S KEEL_REWARDS(KEEL__SQL_REWARD_S)

/* Groups of all sources, and all groups by prompt. table: "c." or "". */
#define KEEL__OF_ALL_SOURCES(table) table "group_name GLOB '" KEEL_GROUP_ASKED "*'"
#define KEEL__BY_PROMPT(table)                                                                               \
    "(" KEEL__OF_ALL_SOURCES(table) " OR " table "group_name GLOB '" KEEL_GROUP_PROMPT "*')"

/* What humans and a judge say of the same responses, with what places them in the order of reviews. */
#define KEEL__JUDGED_PAIRS(columns, join)                                                                    \
    "SELECT c.id, c.risk, k.model, k.outcome, l.outcome, " columns " FROM labels l"                          \
    " JOIN candidates k ON k.id = l.candidate_id JOIN decisions d ON d.id = k.decision_id"                   \
    " JOIN conversations c ON c.id = d.conversation_id" join " WHERE l.judge_name = ?1"                      \
    " AND l.judge = ?2 AND k.judge = 3 ORDER BY c.group_hash, c.source, c.group_name,"                       \
    " c.external_id, d.turn, " KEEL__SQL_CANDIDATE(k)

/* X(name, SQL): every statement that is prepared once and kept in the handle. */
#define KEEL__STORE_SQL(X)                                                                                   \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                              \
    X(COMMIT, "COMMIT")                                                                                      \
    X(HOLD, "BEGIN")                                                                                         \
    X(ROLLBACK, "ROLLBACK")                                                                                  \
    X(FIND, "SELECT id FROM conversations WHERE external_id = ?1 AND source = ?2")                           \
    X(GROUP_SPLIT,                                                                                           \
      "SELECT split, external_id, id FROM conversations WHERE group_hash = ?1"                               \
      " AND group_name = ?3 AND (source = ?2 OR " KEEL__OF_ALL_SOURCES("") ") ORDER BY id LIMIT 1")          \
    X(ADD_PENDING, "INSERT INTO pending_splits(conversation_id, risk, place) VALUES(?1, ?2, ?3)")            \
    X(RAISE_PENDING, "UPDATE pending_splits SET risk = ?2 WHERE conversation_id = ?1 AND risk < ?2")         \
    X(DROP_PENDING, "DELETE FROM pending_splits WHERE conversation_id = ?1")                                 \
    X(ANY_PENDING, "SELECT 1 FROM pending_splits LIMIT 1")                                                   \
    X(CLEAR_PENDING, "DELETE FROM pending_splits")                                                           \
    X(COUNT_PENDING, "SELECT count(*), ifnull(sum(place >= ?2), 0) FROM pending_splits WHERE risk = ?1")     \
    X(COUNT_STRATUM, "SELECT groups, test FROM split_strata WHERE risk = ?1")                                \
    X(PUT_STRATUM, "INSERT INTO split_strata(risk, groups, test) VALUES(?1, ?2, ?3) ON CONFLICT(risk)"       \
                   " DO UPDATE SET groups = excluded.groups, test = excluded.test")                          \
    X(BELOW_BOUNDARY, "SELECT conversation_id FROM pending_splits WHERE risk = ?1 AND place < ?2"            \
                      " ORDER BY place DESC LIMIT ?3")                                                       \
    X(ABOVE_BOUNDARY, "SELECT conversation_id FROM pending_splits WHERE risk = ?1 AND place >= ?2"           \
                      " ORDER BY place LIMIT ?3")                                                            \
    X(MOVE_GROUP, "UPDATE conversations SET split = ?2 WHERE id IN (SELECT c.id FROM conversations g"        \
                  " CROSS JOIN conversations c ON c.group_hash = g.group_hash"                               \
                  " AND c.group_name = g.group_name AND (c.source = g.source OR " KEEL__BY_PROMPT(           \
                      "c.") ")"                                                                              \
                            " WHERE g.id = ?1)")                                                             \
    X(PROMPT_GROUPS, "SELECT min(c.id), c.group_hash, c.group_name, c.split, p.risk"                         \
                     " FROM conversations c LEFT JOIN pending_splits p ON p.conversation_id = c.id"          \
                     " WHERE " KEEL__BY_PROMPT("c.") " GROUP BY c.group_name, c.group_hash"                  \
                                                     " ORDER BY c.group_name, c.group_hash")                 \
    X(JOIN_GROUP, "UPDATE conversations SET group_hash = ?3, group_name = ?4, split = ?5"                    \
                  " WHERE group_hash = ?1 AND group_name = ?2")                                              \
    X(ADD_CONVERSATION,                                                                                      \
      "INSERT INTO conversations(source, external_id, split, group_name, group_hash, risk, completed,"       \
      " truncated, meta) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                                        \
    X(SET_META, "UPDATE conversations SET meta = ?2 WHERE id = ?1")                                          \
    X(FILL_CONVERSATION, "UPDATE conversations SET risk = ?2, completed = ?3, truncated = ?4 WHERE id = ?1") \
    X(FILL_TURN,                                                                                             \
      "UPDATE turns SET model = ?3, act = ?4, latency_ms = ?5, text = ?6 WHERE conversation_id = ?1"         \
      " AND position = ?2")                                                                                  \
    X(FILL_CANDIDATE, "UPDATE candidates SET text = iif(?, NULL, text), act = ?, model = ?, taken = ?,"      \
                      " propensity = ?, latency_ms = ?, feedback = ?" KEEL__SQL_REWARDS_S " WHERE id = ?")   \
    X(LAST_IDS, "SELECT (SELECT max(id) FROM decisions), (SELECT max(id) FROM candidates)")                  \
    X(CONVERSATION, "SELECT id, source, external_id, split, group_name, risk, completed, truncated, meta"    \
                    " FROM conversations WHERE id = ?1")                                                     \
    X(TURNS, "SELECT role, text, model, act, latency_ms FROM turns WHERE conversation_id = ?1"               \
             " ORDER BY position")                                                                           \
    X(DECISIONS, "SELECT d.id, d.turn, c.id, c.text, c.act, c.model, c.taken, c.propensity, c.latency_ms,"   \
                 " c.feedback" KEEL__SQL_REWARDS_C ", c.outcome, c.judge FROM decisions d"                   \
                 " LEFT JOIN candidates c ON c.decision_id = d.id WHERE d.conversation_id = ?1"              \
                 " ORDER BY d.turn, c.id")                                                                   \
    X(SPLITS, "SELECT DISTINCT split FROM conversations ORDER BY split")                                     \
    X(LATENCIES, "SELECT min(latency_ms), max(latency_ms) FROM candidates WHERE taken")                      \
    X(PUT_LABEL, "INSERT INTO labels(candidate_id, outcome, judge, judge_name, confidence)"                  \
                 " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(candidate_id, judge, judge_name)"                  \
                 " DO UPDATE SET outcome = excluded.outcome, confidence = excluded.confidence")              \
    X(WIN_LABEL, "UPDATE candidates SET outcome = ?2, judge = ?3 WHERE id = ?1 AND judge <= ?3")             \
    X(SETTLE_LABEL,                                                                                          \
      "UPDATE candidates SET outcome = coalesce((SELECT outcome FROM labels WHERE candidate_id = ?1"         \
      " AND judge = 3 AND judge_name NOT GLOB ?2 GROUP BY outcome ORDER BY count(*) DESC, min(id) LIMIT 1)," \
      " (SELECT outcome FROM labels WHERE candidate_id = ?1 AND judge_name NOT GLOB ?2"                      \
      " ORDER BY judge DESC, id DESC LIMIT 1), 0), judge = coalesce((SELECT max(judge) FROM labels"          \
      " WHERE candidate_id = ?1 AND judge_name NOT GLOB ?2), 0) WHERE id = ?1")                              \
    X(REVIEWED, "SELECT k.id FROM decisions d JOIN candidates k ON k.decision_id = d.id"                     \
                " WHERE d.conversation_id = ?1 AND EXISTS (SELECT 1 FROM reviews r"                          \
                " WHERE r.candidate_id = k.id) ORDER BY k.id")                                               \
    X(JUDGES, "SELECT l.judge_name, l.judge, sum(k.judge < 3), sum(k.judge = 3) AS both FROM labels l"       \
              " JOIN candidates k ON k.id = l.candidate_id WHERE l.judge < 3 GROUP BY 1, 2"                  \
              " ORDER BY both DESC, 3 DESC, 1, 2")                                                           \
    X(JUDGED_PAIRS, KEEL__JUDGED_PAIRS("NULL, NULL", ""))                                                    \
    X(JUDGED_PAIRS_DRAWN,                                                                                    \
      KEEL__JUDGED_PAIRS("i.size, i.place", " LEFT JOIN review_items i ON i.candidate_id = k.id"             \
                                            " AND i.done > 0"))                                              \
    X(DROP_TRANSITIONS, "DELETE FROM transitions WHERE candidate_id IN (SELECT c.id FROM decisions d"        \
                        " JOIN candidates c ON c.decision_id = d.id WHERE d.conversation_id = ?1)")          \
    X(PUT_FEATURES,                                                                                          \
      "INSERT INTO features(decision_id, base_hash, state_dim, candidate_dim, n_candidates, n_actions,"      \
      " data) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(decision_id, base_hash) DO UPDATE SET"          \
      " state_dim = excluded.state_dim, candidate_dim = excluded.candidate_dim,"                             \
      " n_candidates = excluded.n_candidates, n_actions = excluded.n_actions, data = excluded.data")         \
    X(GET_FEATURES, "SELECT state_dim, candidate_dim, n_candidates, n_actions, data FROM features"           \
                    " WHERE decision_id = ?1 AND base_hash = ?2")                                            \
    X(ROW_FEATURES, "SELECT state_dim, candidate_dim, n_candidates, n_actions, data FROM features"           \
                    " WHERE id = ?1")                                                                        \
    X(DROP_FEATURES, "DELETE FROM features WHERE decision_id = ?1")                                          \
    X(DROP_FEATURES_OF, "DELETE FROM features WHERE base_hash = ?1")                                         \
    X(KNOWN_IMPORT, "SELECT 1 FROM imports WHERE sha256 = ?1 AND format = ?2 AND split = ?3 AND name = ?4")  \
    X(ADD_IMPORT, "INSERT INTO imports(sha256, format, split, name, conversations)"                          \
                  " VALUES(?1, ?2, ?3, ?4, ?5)")                                                             \
    X(PUT_RUN, "INSERT INTO runs(verb, config, result) SELECT ?1, ?2, ?3 WHERE NOT EXISTS(SELECT 1 FROM"     \
               " runs WHERE id = (SELECT max(id) FROM runs WHERE verb = ?1) AND config IS ?2"                \
               " AND result IS ?3)")                                                                         \
    X(PUT_METRIC, "INSERT INTO metrics(run_id, step, name, value) VALUES(?1, 0, ?2, ?3)")                    \
    X(TASKS, "SELECT source, meta ->> '$.domain' d, meta ->> '$.agent' a, meta ->> '$.setting' s, count(*)," \
             " sum(completed = 1), sum(completed >= 0), sum(meta -> '$.must_not_act' = 'true'),"             \
             " sum(meta -> '$.must_not_act' = 'true' AND completed = 1),"                                    \
             " sum(meta -> '$.must_not_act' = 'true' AND completed >= 0),"                                   \
             " sum(meta -> '$.must_not_act' = 'true' AND meta ->> '$.forbidden_writes' > 0)"                 \
             " FROM conversations WHERE instr(meta, '\"must_not_act\"') AND"                                 \
             " CASE WHEN json_valid(meta) THEN json_type(meta, '$.must_not_act') IN ('true', 'false') END"   \
             " GROUP BY source, d, a, s ORDER BY source, d, a, s")                                           \
    X(MEASURED, "SELECT r.id, r.verb, r.config, m.value FROM metrics m JOIN runs r ON r.id = m.run_id"       \
                " WHERE m.name = ?1 ORDER BY r.id")                                                          \
    X(GET_SETTING, "SELECT value FROM settings WHERE key = ?1")                                              \
    X(HAS_TABLE, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")                           \
    X(FIND_TRY,                                                                                              \
      "SELECT count(*), ifnull((SELECT count(*) FROM gate_tries t WHERE t.split_hash = ?1"                   \
      " AND t.gate = ?2 AND t.id <= (SELECT id FROM gate_tries WHERE split_hash = ?1 AND gate = ?2"          \
      " AND policy = ?3)), 0) FROM gate_tries WHERE split_hash = ?1 AND gate = ?2")                          \
    X(PUT_TRY, "INSERT INTO gate_tries(split_hash, gate, policy, split) VALUES(?1, ?2, ?3, ?4)"              \
               " ON CONFLICT(split_hash, gate, policy) DO NOTHING")                                          \
    X(FIND_SEARCH, "SELECT plan, folder FROM searches WHERE hash = ?1")                                      \
    X(PUT_SEARCH, "INSERT INTO searches(hash, plan, folder) VALUES(?1, ?2, ?3)"                              \
                  " ON CONFLICT(hash) DO UPDATE SET folder = excluded.folder")                               \
    X(DROP_SEARCH, "DELETE FROM searches WHERE hash = ?1")                                                   \
    X(DROP_TRIALS, "DELETE FROM trials WHERE search = ?1")                                                   \
    X(TRIALS, "SELECT number, config, seed, budget, state, value, low, high, required, note, pid, seconds"   \
              " FROM trials WHERE search = ?1 ORDER BY number")                                              \
    X(PUT_TRIAL, "INSERT INTO trials(search, number, config, seed, budget, state, value, low, high,"         \
                 " required, note, pid, seconds) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"  \
                 " ?13) ON CONFLICT(search, number) DO UPDATE SET state = excluded.state,"                   \
                 " value = excluded.value, low = excluded.low, high = excluded.high,"                        \
                 " required = excluded.required, note = excluded.note, pid = excluded.pid,"                  \
                 " seconds = excluded.seconds")                                                              \
    X(SERVED_ANSWERED,                                                                                       \
      "SELECT id, EXISTS(SELECT 1 FROM decisions WHERE conversation_id = c.id AND turn = ?3)"                \
      " FROM conversations c WHERE external_id = ?1 AND source = ?2")                                        \
    X(ADD_SERVED,                                                                                            \
      "INSERT INTO served(request, start_id, conversation_id, decision_id, candidate_id,"                    \
      " would_id, policy, base, arm, segment, user, at, propensity, explored, fallback, shadow,"             \
      " stopped, total_ms, upstream_ms, encode_ms, decide_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"        \
      " ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21) ON CONFLICT(request) DO NOTHING")    \
    X(SERVED_ROWS, "SELECT s.conversation_id, s.candidate_id, c.risk FROM served s JOIN conversations c ON"  \
                   " c.id = s.conversation_id WHERE s.request = ?1")                                         \
    X(ADD_FEEDBACK, "INSERT INTO served_feedback(request, start_id, at, feedback, outcome, completed, risk," \
                    " source) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                       \
    X(SAY_FEEDBACK, "UPDATE candidates SET feedback = ?2 WHERE id = ?1")                                     \
    X(SAY_OF_TALK, "UPDATE conversations SET completed = iif(?2 < 0, completed, ?2), risk = iif(risk = 0,"   \
                   " ?3, risk) WHERE id = ?1")                                                               \
    X(ADD_START, "INSERT INTO serve_starts(at, arms) VALUES(?1, ?2)")                                        \
    X(END_START, "UPDATE serve_starts SET accepted = ?2 WHERE id = ?1 AND accepted IS NULL")                 \
    X(END_STARTS,                                                                                            \
      "UPDATE serve_starts SET accepted = " KEEL__SQL_ENTRIES("serve_starts.id") " WHERE accepted IS NULL")  \
    X(COUNT_START, "SELECT " KEEL__SQL_ENTRIES("?1"))                                                        \
    X(ADD_LOST, "INSERT INTO served_lost(start_id, at, count, why) VALUES(?1, ?2, ?3, ?4)")                  \
    X(STARTS, "SELECT id, at, arms FROM serve_starts ORDER BY id")                                           \
    X(WALK_SERVED,                                                                                           \
      "SELECT s.conversation_id, s.start_id, s.arm, s.segment, s.user, s.policy, s.at, s.shadow, s.stopped," \
      " c.risk, c.completed, k.outcome, k.feedback" KEEL__SQL_REWARDS_X                                      \
      " FROM served s JOIN conversations c ON c.id = s.conversation_id"                                      \
      " JOIN candidates k ON k.id = s.candidate_id"                                                          \
      " LEFT JOIN transitions x ON x.candidate_id = s.candidate_id WHERE s.at >= ?1 ORDER BY s.id")          \
    X(WALK_ARMS, "SELECT arm, policy, at FROM served WHERE NOT shadow ORDER BY id")                          \
    X(COUNT_SERVED, "SELECT count(*) FILTER (WHERE at < ?1), count(*) FILTER (WHERE at >= ?1) FROM served")  \
    X(VERSION, "PRAGMA data_version")                                                                        \
    X(PUT_POLICY, "INSERT INTO policies(hash, dir, base, gates, passed, at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)"  \
                  " ON CONFLICT(hash) DO UPDATE SET dir = excluded.dir, base = excluded.base, gates ="       \
                  " excluded.gates, passed = excluded.passed, at = excluded.at")                             \
    X(POLICIES, "SELECT hash, dir, base, gates, passed, at FROM policies ORDER BY at, hash")                 \
    X(PUBLISH, "INSERT INTO publications(arm, policy, at, why, note) VALUES(?1, ?2, ?3, ?4, ?5)")            \
    X(PUBLICATIONS, "SELECT b.id, b.arm, b.policy, b.at, b.why, b.note, p.dir FROM publications b LEFT JOIN" \
                    " policies p ON p.hash = b.policy WHERE b.id > ?1 ORDER BY b.id")                        \
    X(STREAM, "SELECT cluster, epoch FROM streams WHERE topic = ?1")                                         \
    X(PUT_STREAM, "INSERT INTO streams(topic, cluster, epoch) VALUES(?1, ?2, ?3) ON CONFLICT(topic)"         \
                  " DO UPDATE SET epoch = excluded.epoch")                                                   \
    X(STREAM_NEXT, "SELECT next FROM stream_offsets WHERE topic = ?1 AND partition = ?2")                    \
    X(STREAM_BEGIN, "INSERT INTO stream_offsets(topic, partition, next) VALUES(?1, ?2, ?3)"                  \
                    " ON CONFLICT(topic, partition) DO NOTHING")                                             \
    X(STREAM_ADVANCE,                                                                                        \
      "UPDATE stream_offsets SET next = ?4 WHERE topic = ?1 AND partition = ?2 AND next = ?3")               \
    X(STREAM_OFFSETS, "SELECT topic, partition, next FROM stream_offsets ORDER BY topic, partition")         \
    X(PUT_MESSAGE, "INSERT INTO stream_messages(topic, partition, offset, part, conversation_id)"            \
                   " VALUES(?1, ?2, ?3, ?4, ?5)")                                                            \
    X(PUT_BAD_MESSAGE, "INSERT INTO stream_bad(topic, partition, offset, why, key, value)"                   \
                       " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(topic, partition, offset) DO NOTHING")   \
    X(PUT_ROUND, "INSERT INTO rounds(id, at, snapshot, content, conversations, offsets, served,"             \
                 " policy_before, policy, gates, verdict, published, config, seed) VALUES(?1, ?2, ?3, ?4,"   \
                 " ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")                                            \
    X(ROUNDS, "SELECT id, at, snapshot, content, conversations, offsets, served, policy_before, policy,"     \
              " gates, verdict, published, config, seed FROM rounds ORDER BY id")                            \
    X(LAST_SERVED, "SELECT ifnull(max(id), 0) FROM served")                                                  \
    X(PUT_SETTING, "INSERT INTO settings(key, value) VALUES(?1, ?2)"                                         \
                   " ON CONFLICT(key) DO UPDATE SET value = excluded.value")                                 \
    X(PUT_REPLAY, "INSERT INTO replays(policy_hash, decision_id, chosen, detail) VALUES(?1, ?2, ?3, ?4)"     \
                  " ON CONFLICT(policy_hash, decision_id) DO UPDATE SET chosen = excluded.chosen,"           \
                  " detail = excluded.detail")

typedef enum keel__sql {
#define X(name, sql) KEEL__SQL_##name,
    KEEL__STORE_SQL(X)
#undef X
        KEEL__N_SQL
} keel__sql;

/* Tables whose rows are inserted many at once, each after those it refers to. */
typedef enum keel__table {
    KEEL__TURNS,
    KEEL__DECISIONS,
    KEEL__CANDIDATES,
    KEEL__LABELS,
    KEEL__TRANSITIONS,
    KEEL__N_TABLES
} keel__table;

/* Rows that are not in the file yet. */
typedef struct keel__waiting {
    keel_buf cells[KEEL__N_TABLES], texts;
    int64_t first, last; /* conversations that they belong to lie in here */
} keel__waiting;

struct keel_store {
    sqlite3 *db;
    char *path;
    bool by_prompt; /* a conversation that names no group has that of its prompt (dedupe.h); else its own */
    bool gathering; /* rows may wait until the transaction is committed */
    keel__waiting waiting;
    sqlite3_stmt *inserts[KEEL__N_TABLES]; /* of the waiting rows; prepared at first use */
    bool knows_ids;                        /* of this transaction: */
    int64_t last_decision, last_candidate; /* ids given so far, to waiting rows too */
    /* Nothing is in it yet. Its first transaction is written under a rollback journal, each page once;
     * readers find no more than they would without it. All others go through the write-ahead log. */
    bool fresh;
    bool rollback_due;                     /* a rollback failed and must be tried again */
    sqlite3_stmt *statements[KEEL__N_SQL]; /* prepared at first use */
    keel_arena scratch;                    /* for the length of one call */
};

/* Schemas from this one on can be read as they are: later ones only added tables that a reader does without.
 */
enum { KEEL__STORE_READABLE = 5 };
/* Migration i brings a store from user_version i to i + 1. Only ever append. */
extern const char *const keel__store_migrations[]; /* NULL-terminated */
keel_status keel__store_migrate(keel_store *store, const char *const *migrations, keel_err *err);

/* Makes SQLite wait a few seconds for another writer, and give up waiting and long queries when the program
 * is asked to stop. */
void keel__store_wait_install(keel_store *store);
/* The other process that holds a write lock on the store; 0 if nobody does, or where it cannot be told. */
long keel__store_holder(const keel_store *store);

/* Whether SQLite looks up each row that a new row refers to; on by default. Who refers only to rows just
 * written or read may do without, outside of a transaction. */
void keel__store_check_references(keel_store *store, bool check);

/* The error of the last SQLite call on this store, in words: in use, damaged, full, out of memory. */
keel_status keel__store_fail(const keel_store *store, const char *doing, keel_err *err);

/* A cached statement, ready to bind; valid until the same one is asked for again. */
keel_status keel__store_statement(keel_store *store, keel__sql which, sqlite3_stmt **out, keel_err *err);
/* A statement of its own, for SQL that is put together; the caller finalises. */
keel_status keel__store_prepare(keel_store *store, const char *sql, sqlite3_stmt **out, keel_err *err);
/* *row: whether there is a row to read; false on failure. Resets the statement on failure and at the end. */
keel_status keel__store_step(keel_store *store, sqlite3_stmt *statement, bool *row, const char *doing,
                             keel_err *err);
/* Runs a statement that gives no rows. */
keel_status keel__store_run(keel_store *store, sqlite3_stmt *statement, const char *doing, keel_err *err);
/* The number that the first row begins with, or `otherwise`. Resets the statement. */
keel_status keel__store_number(keel_store *store, sqlite3_stmt *statement, const char *doing,
                               int64_t otherwise, int64_t *out, keel_err *err);
/* What the rows of a statement become: items of a size. read fills one, which is zero, texts in the arena. */
typedef struct keel__list {
    const char *doing;
    size_t size;
    keel_status (*read)(keel_store *store, sqlite3_stmt *row, keel_arena *arena, void *item, keel_err *err);
} keel__list;
/* out: address of a pointer to items, which gets all of them, [count] in the arena. Resets the statement. */
keel_status keel__store_list(keel_store *store, sqlite3_stmt *statement, const keel__list *of,
                             keel_arena *arena, void *out, size_t *count, keel_err *err);
/* Whether the store has a table: one of an older schema that may only be read may lack it. */
keel_status keel__store_has_table(keel_store *store, const char *name, bool *has, keel_err *err);

/* Begins a transaction unless one is open: *own says so to end. */
keel_status keel__store_enter(keel_store *store, bool *own, keel_err *err);
/* Ends an own transaction: commits what went well, else goes back. */
keel_status keel__store_end(keel_store *store, bool own, keel_status status, keel_err *err);

/* Adding a row to those that wait for a table: its cells from left to right, texts copied; NULL and absent
 * become SQL NULL. Out of memory is told by keel__rows_added, which ends whatever adds rows: inserts them
 * all, or lets them wait for more where the store gathers. What reads them calls keel__rows_insert before. */
void keel__add_integer(keel_store *store, keel__table table, int64_t value);
void keel__add_text(keel_store *store, keel__table table, const char *text);
void keel__add_optional(keel_store *store, keel__table table, keel_optional value);
void keel__add_reward(keel_store *store, keel__table table, const keel_reward *reward); /* a cell each */
keel_status keel__rows_added(keel_store *store, keel_err *err);
keel_status keel__rows_insert(keel_store *store, keel_err *err);
void keel__rows_forget(keel_store *store);
void keel__rows_free(keel_store *store);
int keel__rows_install(sqlite3 *db); /* SQLite's code */

/* Binding: texts must outlive the step, which fails if one is not UTF-8; NULL and absent become SQL NULL. */
void keel__bind_text(sqlite3_stmt *statement, int place, const char *text);
void keel__bind_optional(sqlite3_stmt *statement, int place, keel_optional value);
keel_optional keel__column_optional(sqlite3_stmt *statement, int column);
keel_reward keel__column_reward(sqlite3_stmt *statement, int column); /* and those after it */
/* Arena copy of a text; *out NULL for SQL NULL. Text that is not UTF-8, or holds NUL, is damage. */
keel_status keel__column_text(sqlite3_stmt *statement, int column, keel_arena *arena, const char **out,
                              keel_err *err);

/* KEEL_E_STORE for something that no writer of ours leaves behind, with the way out. */
keel_status keel__store_damaged(const keel_store *store, const char *what, keel_err *err);
/* What was read keeps the contract of core/nouns.h, whatever stood in the rows: texts where they must be,
 * enumerations, numbers and turns within range. */
keel_status keel__store_check(const keel_store *store, const keel_conversation *conversation, keel_err *err);

/* " AND ..." that keeps the rows of table or alias `c` that are in the split (NULL: all), with named
 * parameters. */
void keel__split_clause(const keel_split *split, keel_buf *sql);
void keel__split_bind(const keel_split *split, sqlite3_stmt *statement);

/* The provisional split of a new group, as a constant; after a conversation was inserted, what follows for
 * its group, of which `first` is the first conversation (0: it is itself). See datasets/stratify.h. */
const char *keel__stratify_split(const char *source, const char *group);
keel_status keel__stratify_note(keel_store *store, const keel_conversation *conversation, int64_t id,
                                int64_t first, keel_err *err);
/* Of a stored conversation, whose risk was unknown so far. */
keel_status keel__stratify_raise(keel_store *store, const keel_conversation *conversation, keel_risk risk,
                                 keel_err *err);

/* What a call adds to the store. */
typedef struct keel__more {
    int64_t turns, decisions, candidates;
} keel__more;

/* As keel_store_add_conversation, and counts what was added. After KEEL_E_CONFLICT or KEEL_E_INVALID the
 * store is as it was. */
keel_status keel__store_add(keel_store *store, keel_conversation *conversation, bool merge, const char *where,
                            keel_added *added, keel__more *more, keel_err *err);
/* store_meet.c: the part of it for a conversation that is there already, under this row id. */
keel_status keel__store_meet(keel_store *store, int64_t id, keel_conversation *conversation, bool merge,
                             const char *where, keel_added *added, keel__more *more, keel_err *err);

/* store_write.c: rows of one conversation. Candidates get their ids. said: the text of the turn after the
 * decision, or NULL; a candidate that says the same stores it only once. */
void keel__store_put_turn(keel_store *store, int64_t conversation_id, size_t position, const keel_turn *turn);
void keel__store_put_decision(keel_store *store, const keel_conversation *conversation,
                              keel_decision *decision);
void keel__store_put_candidate(keel_store *store, int64_t decision_id, keel_candidate *candidate,
                               const char *said, const char *source);
const char *keel__said_after(const keel_conversation *conversation, const keel_decision *decision);
keel_authority keel__candidate_judge(const keel_candidate *candidate); /* who judged it: a human by default */
/* Adds a row of labels, or replaces that of the same judge; the winning label stays. */
keel_status keel__store_insert_label(keel_store *store, int64_t candidate_id, keel_outcome outcome,
                                     keel_authority judge, const char *judge_name, double confidence,
                                     keel_err *err);
/* Until its rows are inserted, nothing of this conversation is to be read. */
void keel__note_waiting(keel_store *store, int64_t id);
bool keel__is_waiting(const keel_store *store, int64_t id);

/* The outcome of a candidate by its labels: most of the humans, of equally many the outcome that was given
 * first; without humans the highest authority, of equals the latest. but: labels by whom are left out, as a
 * pattern; "" leaves out none. */
keel_status keel__store_settle_label(keel_store *store, int64_t candidate_id, const char *but, keel_err *err);

/* store_review.c: takes what people said of a conversation's responses out of its rows, which then are as the
 * log has them; lays it in again. *lifted: there was any. */
keel_status keel__review_lift(keel_store *store, int64_t conversation_id, bool *lifted, keel_err *err);
keel_status keel__review_lay(keel_store *store, int64_t conversation_id, keel_err *err);
/* The lowest place that nobody looked at; INFINITY: there is none. *any: the store has an order of reviews.
 */
keel_status keel__review_open_place(keel_store *store, double *open, bool *any, keel_err *err);

/* Reads state_dim, candidate_dim, n_candidates, n_actions and data, the first five columns, into the arena.
 */
keel_status keel__features_read(keel_store *store, sqlite3_stmt *statement, keel_arena *arena,
                                keel_features *out, keel_err *err);

#endif
