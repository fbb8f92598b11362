/* A sound SQLite file whose rows are broken. The input is a list of changes to a small store: table, column,
 * row, type, value. What is read afterwards keeps the contract or is refused. */
#include <sqlite3.h>

#include "store_use.h"

static const struct {
    const char *table, *columns[14];
} tables[] = {
    {"conversations",
     {"id", "source", "external_id", "split", "group_name", "group_hash", "risk", "completed", "truncated",
      "meta"}},
    {"turns", {"conversation_id", "position", "role", "text", "model", "act", "latency_ms"}},
    {"decisions", {"id", "conversation_id", "turn"}},
    {"candidates",
     {"id", "decision_id", "text", "act", "model", "taken", "propensity", "latency_ms", "feedback",
      "accuracy", "speed", "safety", "outcome", "judge"}},
    {"labels", {"id", "candidate_id", "outcome", "judge", "judge_name", "confidence"}},
    {"transitions",
     {"candidate_id", "decision_id", "next_decision_id", "accuracy", "speed", "safety", "terminal",
      "truncated"}},
    {"features",
     {"id", "decision_id", "base_hash", "state_dim", "candidate_dim", "n_candidates", "n_actions", "data"}},
    {"settings", {"key", "value"}},
    {"searches", {"hash", "plan", "folder"}},
    {"trials",
     {"search", "number", "config", "seed", "budget", "state", "value", "low", "high", "required", "note",
      "pid", "seconds"}},
};
enum { N_TABLES = sizeof tables / sizeof *tables, MAX_COLUMNS = 14 };

/* ---- the sound store ---- */

static void add_two_answers(keel_store *store) {
    keel_candidate candidates[2] = {
        {.text = "Yes", .act = "answer", .taken = true, .propensity = {true, 0.5}, .latency_ms = {true, 9}},
        {.text = "No", .act = "refuse", .model = "m", .feedback = {true, -1}}};
    keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
    keel_turn turns[] = {{.role = KEEL_ROLE_USER, .text = "Hi"},
                         {.role = KEEL_ROLE_ASSISTANT, .text = "Yes", .act = "answer"}};
    keel_conversation conversation = {.source = "chat",
                                      .external_id = "1",
                                      .risk = KEEL_RISK_BENIGN,
                                      .completed = KEEL_YES,
                                      .n_turns = 2,
                                      .turns = turns,
                                      .n_decisions = 1,
                                      .decisions = &decision,
                                      .meta = "{\"k\":1}"};
    keel_added added;
    FUZZ_CHECK(keel_store_add_conversation(store, &conversation, false, "1", &added, &fuzz_err) == KEEL_OK);
    conversation.external_id = "2";
    conversation.risk = KEEL_RISK_DANGEROUS;
    FUZZ_CHECK(keel_store_add_conversation(store, &conversation, false, "2", &added, &fuzz_err) == KEEL_OK);
}

static void add_learning(keel_store *store) {
    static const float numbers[] = {1, 2, 3, 4}, prior[] = {-0.7f, -0.7f};
    keel_features features = {2, 2, 2, 2, numbers, numbers, prior};
    for (int64_t i = 1; i <= 2; i++) {
        keel_transition transition = {.decision_id = i, .candidate_id = 2 * i - 1, .terminal = true};
        transition.reward.present[KEEL_SPEED] = true;
        FUZZ_CHECK(keel_store_put_transitions(store, i, &transition, 1, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_store_put_features(store, FUZZ_BASE_HASH, i, &features, &fuzz_err) == KEEL_OK);
        FUZZ_CHECK(keel_store_put_label(store, 2 * i, KEEL_OUTCOME_REFUSAL, KEEL_AUTHORITY_RULE, "r", 1,
                                        &fuzz_err) == KEEL_OK);
    }
    FUZZ_CHECK(keel_store_put_setting(store, "1", "{}", &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_store_put_search(store, "1", &(keel_stored_search){"{}", "/"}, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_store_put_trial(store, "1", &(keel_stored_trial){.config = "{}"}, &fuzz_err) == KEEL_OK);
}

static void make_sound(keel_buf *bytes) {
    keel_store *store = NULL;
    sqlite3 *db = NULL;
    const char *path = fuzz_path("sound.db");
    FUZZ_CHECK(keel_store_open(&store, path, KEEL_STORE_CREATE, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_store_begin(store, &fuzz_err) == KEEL_OK);
    add_two_answers(store);
    add_learning(store);
    FUZZ_CHECK(keel_store_commit(store, &fuzz_err) == KEEL_OK);
    fuzz_walk_store(store, NULL);
    keel_store_close(store);
    FUZZ_CHECK(sqlite3_open(path, &db) == SQLITE_OK); /* out of the log, into the file, and small */
    FUZZ_CHECK(
        !sqlite3_exec(db, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM", NULL, NULL, NULL));
    sqlite3_close(db);
    FUZZ_CHECK(keel_file_read(path, 0, bytes, &fuzz_err) == KEEL_OK);
}

/* ---- breaking it ---- */

typedef struct input {
    const uint8_t *at, *end;
} input;

static uint8_t take(input *in) {
    return in->at < in->end ? *in->at++ : 0;
}

static void bind_value(sqlite3_stmt *statement, uint8_t type, input *in) {
    int64_t integer = 0;
    double real = 0;
    size_t left = (size_t)(in->end - in->at), length = left < 8 ? left : 8;
    switch (type % 6) {
    case 0:
        memcpy(&integer, in->at, length);
        sqlite3_bind_int64(statement, 1, integer);
        break;
    case 1:
        memcpy(&real, in->at, length);
        sqlite3_bind_double(statement, 1, real);
        break;
    case 2:
        length = 0;
        sqlite3_bind_null(statement, 1);
        break;
    case 3:
        length = 0;
        sqlite3_bind_int64(statement, 1, (int8_t)take(in));
        break;
    default:
        length = take(in) % 32;
        left = (size_t)(in->end - in->at);
        if (length > left) length = left;
        if (type % 6 == 4)
            sqlite3_bind_text(statement, 1, (const char *)in->at, (int)length, SQLITE_TRANSIENT);
        else
            sqlite3_bind_blob(statement, 1, in->at, (int)length, SQLITE_TRANSIENT);
    }
    in->at += length < (size_t)(in->end - in->at) ? length : (size_t)(in->end - in->at);
}

static void change(sqlite3 *db, input *in) {
    char sql[256];
    sqlite3_stmt *statement = NULL;
    size_t table = take(in) % N_TABLES, columns = 0;
    while (columns < MAX_COLUMNS && tables[table].columns[columns]) columns++;
    const char *column = tables[table].columns[take(in) % columns], *name = tables[table].table,
               *key = tables[table].columns[0];
    uint8_t row = take(in), type = take(in);
    if (type == 255)
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s = ?1", name, key);
    else
        snprintf(sql, sizeof sql, "UPDATE OR REPLACE %s SET %s = ?1 WHERE %s = %d", name, column, key,
                 row % 8);
    FUZZ_CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    if (type == 255)
        sqlite3_bind_int64(statement, 1, row % 8);
    else
        bind_value(statement, type, in);
    sqlite3_step(statement); /* STRICT tables refuse some */
    sqlite3_finalize(statement);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static keel_buf sound;
    input in = {data, data + size};
    sqlite3 *db = NULL;
    if (!sound.data) make_sound(&sound);
    const char *path = fuzz_put("rows.db", sound.data, sound.length);
    FUZZ_CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL);
    for (int i = 0; i < 8 && in.at < in.end; i++) change(db, &in);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(db);
    fuzz_use_store(path);
    unlink(fuzz_path("rows.db-wal"));
    unlink(fuzz_path("rows.db-shm"));
    return 0;
}
