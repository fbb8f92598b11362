/* The schema, as the scripts that bring a store from one version to the next. */
#include "datasets/store_internal.h"

/* Turns are clustered by conversation (WITHOUT ROWID), so that a conversation is read in one sweep. A
 * transition has no row id of its own: it is one taking of one candidate, and goes by that. A candidate whose
 * text is NULL says what the turn after its decision says; one that says nothing has the empty text.
 * Enumerations are stored as core/nouns.h numbers them. */
static const char schema_1[] =
    "CREATE TABLE conversations("
    "  id INTEGER PRIMARY KEY,"
    "  source TEXT NOT NULL, external_id TEXT NOT NULL,"
    "  split TEXT NOT NULL, group_name TEXT NOT NULL, group_hash INTEGER NOT NULL,"
    "  risk INTEGER NOT NULL, completed INTEGER NOT NULL, truncated INTEGER NOT NULL,"
    "  meta TEXT,"
    "  UNIQUE(external_id, source)) STRICT;"
    "CREATE INDEX conversations_by_group ON conversations(group_hash);"
    "CREATE INDEX conversations_by_split ON conversations(split);"
    "CREATE TABLE turns("
    "  conversation_id INTEGER NOT NULL REFERENCES conversations(id), position INTEGER NOT NULL,"
    "  role INTEGER NOT NULL, text TEXT NOT NULL, model TEXT, act TEXT, latency_ms REAL,"
    "  PRIMARY KEY(conversation_id, position)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE decisions("
    "  id INTEGER PRIMARY KEY,"
    "  conversation_id INTEGER NOT NULL REFERENCES conversations(id), turn INTEGER NOT NULL,"
    "  UNIQUE(conversation_id, turn)) STRICT;"
    "CREATE TABLE candidates("
    "  id INTEGER PRIMARY KEY,"
    "  decision_id INTEGER NOT NULL REFERENCES decisions(id),"
    "  text TEXT, act TEXT, model TEXT, taken INTEGER NOT NULL,"
    "  propensity REAL, latency_ms REAL, feedback REAL, accuracy REAL, speed REAL, safety REAL,"
    "  outcome INTEGER NOT NULL, judge INTEGER NOT NULL) STRICT;"
    "CREATE INDEX candidates_by_decision ON candidates(decision_id);"
    "CREATE TABLE labels("
    "  id INTEGER PRIMARY KEY,"
    "  candidate_id INTEGER NOT NULL REFERENCES candidates(id),"
    "  outcome INTEGER NOT NULL, judge INTEGER NOT NULL, judge_name TEXT NOT NULL, confidence REAL NOT NULL,"
    "  UNIQUE(candidate_id, judge, judge_name)) STRICT;"
    "CREATE TABLE transitions("
    "  candidate_id INTEGER PRIMARY KEY REFERENCES candidates(id),"
    "  decision_id INTEGER NOT NULL REFERENCES decisions(id),"
    "  next_decision_id INTEGER REFERENCES decisions(id),"
    "  accuracy REAL, speed REAL, safety REAL,"
    "  terminal INTEGER NOT NULL, truncated INTEGER NOT NULL) STRICT;"
    "CREATE TABLE features("
    "  id INTEGER PRIMARY KEY,"
    "  decision_id INTEGER NOT NULL REFERENCES decisions(id), base_hash TEXT NOT NULL,"
    "  state_dim INTEGER NOT NULL, candidate_dim INTEGER NOT NULL,"
    "  n_candidates INTEGER NOT NULL, n_actions INTEGER NOT NULL, data BLOB NOT NULL,"
    "  UNIQUE(decision_id, base_hash)) STRICT;"
    "CREATE TABLE imports("
    "  id INTEGER PRIMARY KEY,"
    "  sha256 TEXT NOT NULL, format TEXT NOT NULL, split TEXT NOT NULL, name TEXT NOT NULL,"
    "  conversations INTEGER NOT NULL,"
    "  UNIQUE(sha256, format, split, name)) STRICT;"
    "CREATE TABLE runs("
    "  id INTEGER PRIMARY KEY, verb TEXT NOT NULL, config TEXT, result TEXT) STRICT;"
    "CREATE TABLE metrics("
    "  run_id INTEGER NOT NULL REFERENCES runs(id), step INTEGER NOT NULL, name TEXT NOT NULL, value REAL,"
    "  PRIMARY KEY(run_id, name, step)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE replays("
    "  policy_hash TEXT NOT NULL, decision_id INTEGER NOT NULL REFERENCES decisions(id),"
    "  chosen TEXT NOT NULL, detail TEXT,"
    "  PRIMARY KEY(policy_hash, decision_id)) STRICT, WITHOUT ROWID;";

/* Candidates came in the order of their rows before, and do not any more (KEEL__SQL_CANDIDATE): features,
 * which hold them in the order of their day, are made anew. */
static const char schema_2[] = "DELETE FROM features;";

/* What the whole store goes by. Before, the reward configuration stood only in the result of the last
 * `label`: it is taken from there, and a result that is not JSON comes along whole, so that reading it is an
 * error. */
static const char schema_3[] =
    "CREATE TABLE settings(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
    "INSERT INTO settings SELECT 'rewards', value FROM"
    " (SELECT CASE WHEN json_valid(result) THEN result -> '$.rewards' ELSE result END AS value"
    "  FROM runs WHERE verb = 'label' ORDER BY id DESC LIMIT 1) WHERE value IS NOT NULL;";

/* Splits that are provisional, by the first conversation of each group, and how many groups of each risk were
 * split so before (datasets/stratify.h). */
static const char schema_4[] =
    "CREATE TABLE pending_splits("
    "  conversation_id INTEGER PRIMARY KEY REFERENCES conversations(id),"
    "  risk INTEGER NOT NULL, place INTEGER NOT NULL) STRICT;"
    "CREATE TABLE split_strata("
    "  risk INTEGER PRIMARY KEY, groups INTEGER NOT NULL, test INTEGER NOT NULL) STRICT;";

/* Views with words in place of numbers, for who reads the store with other programs (docs/format.md). */
#define RISK_WORD      "CASE c.risk WHEN 1 THEN 'benign' WHEN 2 THEN 'dangerous' ELSE 'unknown' END AS risk"
#define COMPLETED_WORD "CASE c.completed WHEN 0 THEN 'no' WHEN 1 THEN 'yes' ELSE 'unknown' END AS completed"
#define OUTCOME_WORD                                                                                         \
    "CASE k.outcome WHEN 1 THEN 'compliance' WHEN 2 THEN 'partial_refusal' WHEN 3 THEN 'refusal' END AS outcome"
#define JUDGE_WORD "CASE k.judge WHEN 1 THEN 'model' WHEN 2 THEN 'rule' WHEN 3 THEN 'human' END AS judge"
#define OF_CANDIDATES                                                                                              \
    " FROM candidates k JOIN decisions d ON d.id = k.decision_id JOIN conversations c ON c.id = d.conversation_id" \
    " LEFT JOIN turns t ON t.conversation_id = c.id AND t.position = d.turn "
static const char schema_5[] =
    "CREATE VIEW v_conversations AS SELECT c.id, c.source, c.external_id, c.split, c.group_name, " RISK_WORD
    ", " COMPLETED_WORD ", c.truncated, c.meta FROM conversations c;"
    "CREATE VIEW v_turns AS SELECT t.conversation_id, c.source, c.external_id, t.position, CASE t.role WHEN 0 THEN"
    " 'system' WHEN 1 THEN 'user' WHEN 2 THEN 'assistant' ELSE 'tool' END AS role, t.text, t.model, t.act,"
    " t.latency_ms FROM turns t JOIN conversations c ON c.id = t.conversation_id;"
    "CREATE VIEW v_candidates AS SELECT k.id, k.decision_id, c.id AS conversation_id, c.source, c.external_id,"
    " c.split, " RISK_WORD
    ", d.turn, coalesce(k.text, t.text) AS text, k.act, k.model, k.taken, k.propensity,"
    " k.latency_ms, k.feedback, " OUTCOME_WORD ", " JUDGE_WORD OF_CANDIDATES ";"
    "CREATE VIEW v_transitions AS SELECT x.candidate_id, x.decision_id, x.next_decision_id, c.id AS"
    " conversation_id, c.source, c.external_id, c.split, " RISK_WORD ", d.turn, k.model, " OUTCOME_WORD
    ", " JUDGE_WORD
    ", x.accuracy, x.speed, x.safety, x.terminal, x.truncated FROM transitions x JOIN candidates k"
    " ON k.id = x.candidate_id JOIN decisions d ON d.id = k.decision_id JOIN conversations c ON c.id ="
    " d.conversation_id;";

/* The ledger of gates: which policy was tested on which split by which gate, in the order of first tries. */
static const char schema_6[] =
    "CREATE TABLE gate_tries("
    "  id INTEGER PRIMARY KEY,"
    "  split_hash TEXT NOT NULL, gate TEXT NOT NULL, policy TEXT NOT NULL, split TEXT NOT NULL,"
    "  UNIQUE(split_hash, gate, policy)) STRICT;";

/* What people say of responses (datasets/store_review.h). review_items: the order in which responses are
 * looked at; judged: the outcome by a judge when it was drawn; done: how many looked at it, of the `wants`
 * who shall; marked: candidates.safety is theirs, and `safety` is what the log has. reviewed_conversations:
 * what the log says of conversations where people say more. */
static const char schema_7[] =
    "CREATE TABLE review_items("
    "  candidate_id INTEGER PRIMARY KEY REFERENCES candidates(id),"
    "  size REAL NOT NULL, place REAL NOT NULL, judged INTEGER NOT NULL, reason INTEGER NOT NULL,"
    "  twice INTEGER NOT NULL, wants INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0,"
    "  marked INTEGER NOT NULL DEFAULT 0, safety REAL) STRICT;"
    "CREATE INDEX review_items_open ON review_items(place) WHERE done = 0;"
    "CREATE INDEX review_items_begun ON review_items(wants, place) WHERE done > 0 AND done < wants;"
    "CREATE INDEX review_items_done ON review_items(candidate_id) WHERE done > 0;"
    "CREATE TABLE reviews("
    "  id INTEGER PRIMARY KEY,"
    "  candidate_id INTEGER NOT NULL REFERENCES review_items(candidate_id), reviewer TEXT NOT NULL,"
    "  outcome INTEGER NOT NULL, harmful INTEGER NOT NULL, risk INTEGER NOT NULL, completed INTEGER NOT NULL,"
    "  note TEXT NOT NULL, at INTEGER NOT NULL,"
    "  UNIQUE(candidate_id, reviewer)) STRICT;"
    "CREATE INDEX reviews_by_reviewer ON reviews(reviewer);"
    "CREATE TABLE reviewed_conversations("
    "  conversation_id INTEGER PRIMARY KEY REFERENCES conversations(id),"
    "  risk INTEGER NOT NULL, completed INTEGER NOT NULL) STRICT;";

/* Searches over configurations, and what came of each trial (datasets/store_trials.h). config and required
 * are JSON; pid is the process that took it last. */
static const char schema_8[] =
    "CREATE TABLE searches(hash TEXT PRIMARY KEY, plan TEXT NOT NULL, folder TEXT NOT NULL) STRICT;"
    "CREATE TABLE trials("
    "  search TEXT NOT NULL REFERENCES searches(hash), number INTEGER NOT NULL,"
    "  config TEXT NOT NULL, seed INTEGER NOT NULL, budget REAL, state INTEGER NOT NULL,"
    "  value REAL, low REAL, high REAL, required TEXT, note TEXT,"
    "  pid INTEGER NOT NULL, seconds REAL NOT NULL,"
    "  PRIMARY KEY(search, number)) STRICT, WITHOUT ROWID;";

/* What was served (datasets/store_served.h). serve_starts: each start of a server, its arms with their shares
 * (JSON), how many entries (requests and feedback) it accepted, NULL while it runs or if it was killed.
 * served: a request that was answered; the talk, its decision and what was taken are in the tables above.
 * user is a hash; would_id is what the policy would have taken in shadow mode. served_lost: entries that were
 * accepted and not written, and why. policies, publications: which policy each arm serves from when on;
 * policy NULL: the arm is stopped. */
static const char schema_9[] =
    "CREATE TABLE serve_starts("
    "  id INTEGER PRIMARY KEY, at REAL NOT NULL, arms TEXT NOT NULL, accepted INTEGER) STRICT;"
    "CREATE TABLE served("
    "  id INTEGER PRIMARY KEY, request TEXT NOT NULL UNIQUE,"
    "  start_id INTEGER REFERENCES serve_starts(id),"
    "  conversation_id INTEGER NOT NULL REFERENCES conversations(id),"
    "  decision_id INTEGER NOT NULL REFERENCES decisions(id),"
    "  candidate_id INTEGER NOT NULL REFERENCES candidates(id), would_id INTEGER REFERENCES candidates(id),"
    "  policy TEXT, base TEXT, arm TEXT NOT NULL, segment TEXT NOT NULL, user TEXT, at REAL NOT NULL,"
    "  propensity REAL, explored INTEGER NOT NULL, fallback INTEGER NOT NULL, shadow INTEGER NOT NULL,"
    "  stopped INTEGER NOT NULL DEFAULT 0, total_ms REAL, upstream_ms REAL, encode_ms REAL, decide_ms REAL) STRICT;"
    "CREATE INDEX served_by_conversation ON served(conversation_id);"
    "CREATE INDEX served_by_start ON served(start_id);"
    "CREATE TABLE served_feedback("
    "  id INTEGER PRIMARY KEY, request TEXT NOT NULL REFERENCES served(request),"
    "  start_id INTEGER REFERENCES serve_starts(id), at REAL NOT NULL,"
    "  feedback REAL, outcome INTEGER NOT NULL, completed INTEGER NOT NULL, risk INTEGER NOT NULL,"
    "  source TEXT NOT NULL) STRICT;"
    "CREATE INDEX served_feedback_by_request ON served_feedback(request);"
    "CREATE INDEX served_feedback_by_start ON served_feedback(start_id);"
    "CREATE TABLE served_lost("
    "  id INTEGER PRIMARY KEY, start_id INTEGER REFERENCES serve_starts(id), at REAL NOT NULL,"
    "  count INTEGER NOT NULL, why TEXT NOT NULL) STRICT;"
    "CREATE TABLE policies("
    "  hash TEXT PRIMARY KEY, dir TEXT NOT NULL, base TEXT, gates TEXT NOT NULL, passed INTEGER NOT NULL,"
    "  at REAL NOT NULL) STRICT;"
    "CREATE TABLE publications("
    "  id INTEGER PRIMARY KEY, arm TEXT NOT NULL, policy TEXT REFERENCES policies(hash), at REAL NOT NULL,"
    "  why TEXT NOT NULL, note TEXT) STRICT;"
    "CREATE INDEX publications_by_arm ON publications(arm, id);"
    "CREATE VIEW v_served AS SELECT s.id, s.request, s.arm, s.segment, s.user, s.at, s.policy, s.base,"
    " c.id AS conversation_id, c.external_id, c.split, " RISK_WORD ", " COMPLETED_WORD
    ", d.turn, coalesce(k.text, t.text) AS text, k.model, " OUTCOME_WORD ", " JUDGE_WORD
    ", k.feedback, s.propensity, s.explored, s.fallback, s.shadow, s.would_id, s.total_ms, s.upstream_ms,"
    " s.encode_ms, s.decide_ms FROM served s JOIN candidates k ON k.id = s.candidate_id JOIN decisions d"
    " ON d.id = s.decision_id JOIN conversations c ON c.id = s.conversation_id LEFT JOIN turns t ON"
    " t.conversation_id = c.id AND t.position = d.turn;";

/* Streams (datasets/store_stream.h) and rounds of learning (datasets/store_rounds.h). streams: of a topic,
 * the cluster that it is of, and who may move its offsets: the consumer of this epoch. stream_offsets: the
 * next message of each partition. stream_messages: which conversations came out of a message; part counts
 * them. stream_bad: messages that were passed over, as they came. rounds: what each round learned from, and
 * what came of it. */
static const char schema_10[] =
    "CREATE TABLE streams(topic TEXT PRIMARY KEY, cluster TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;"
    "CREATE TABLE stream_offsets("
    "  topic TEXT NOT NULL REFERENCES streams(topic), partition INTEGER NOT NULL, next INTEGER NOT NULL,"
    "  PRIMARY KEY(topic, partition)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE stream_messages("
    "  topic TEXT NOT NULL REFERENCES streams(topic), partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    "  part INTEGER NOT NULL, conversation_id INTEGER NOT NULL REFERENCES conversations(id),"
    "  PRIMARY KEY(topic, partition, offset, part)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX stream_messages_by_conversation ON stream_messages(conversation_id);"
    "CREATE TABLE stream_bad("
    "  topic TEXT NOT NULL REFERENCES streams(topic), partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    "  why TEXT NOT NULL, key BLOB, value BLOB,"
    "  PRIMARY KEY(topic, partition, offset)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE rounds("
    "  id INTEGER PRIMARY KEY, at REAL NOT NULL, snapshot TEXT NOT NULL, content TEXT NOT NULL,"
    "  conversations INTEGER NOT NULL, offsets TEXT NOT NULL, served INTEGER NOT NULL,"
    "  policy_before TEXT, policy TEXT, gates TEXT, verdict TEXT, published INTEGER NOT NULL,"
    "  config TEXT NOT NULL, seed INTEGER NOT NULL) STRICT;";

const char *const keel__store_migrations[] = {schema_1, schema_2, schema_3, schema_4,  schema_5, schema_6,
                                              schema_7, schema_8, schema_9, schema_10, NULL};
