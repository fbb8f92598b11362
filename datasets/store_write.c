/* What enters the store: conversations, labels, transitions, runs and replays. */
#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "core/json.h"
#include "datasets/dedupe.h"
#include "datasets/store_internal.h"

/* ---- the split ---- */

/* The split of a new conversation: the one asked for, or its group's, or by hash. Groups never straddle
 * splits. first: the first conversation of its group; 0 if there is none yet. */
static keel_status choose_split(keel_store *store, const keel_conversation *conversation, const char *group,
                                int64_t group_hash, const char *where, const char **split, int64_t *first,
                                keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    const char *asked = conversation->split;
    if (asked) KEEL_TRY(keel_split_check_name(asked, where, err));
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_GROUP_SPLIT, &statement, err));
    sqlite3_bind_int64(statement, 1, group_hash);
    keel__bind_text(statement, 2, conversation->source);
    keel__bind_text(statement, 3, group);
    KEEL_TRY(keel__store_step(store, statement, &row, "looking up a group", err));
    *split = asked ? asked : keel__stratify_split(conversation->source, group);
    *first = row ? sqlite3_column_int64(statement, 2) : 0;
    if (!row) return KEEL_OK;
    const char *there = (const char *)sqlite3_column_text(statement, 0), *copy = NULL;
    keel_status status = KEEL_OK;
    if (asked && strcmp(asked, there) != 0) {
        status = keel_fail(err, KEEL_E_CONFLICT, where,
                           "conversation %s cannot go into split %s: %s of its group \"%s\" is in split %s",
                           conversation->external_id, asked, sqlite3_column_text(statement, 1), group, there);
        keel_hint(err, "a group stays together: import it into one split, or leave the split out");
    } else {
        copy = keel_arena_strdup(&store->scratch, there);
        if (copy)
            *split = copy;
        else
            status = keel_nomem(err, where);
    }
    sqlite3_reset(statement);
    return status;
}

/* ---- inserting ---- */

static keel_status insert_header(keel_store *store, const keel_conversation *conversation, const char *where,
                                 int64_t *id, keel_err *err) {
    sqlite3_stmt *statement;
    const char *group = keel_conversation_group(conversation), *split;
    int64_t group_hash = keel_conversation_group_hash(conversation);
    int64_t first;
    KEEL_TRY(choose_split(store, conversation, group, group_hash, where, &split, &first, err));
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_ADD_CONVERSATION, &statement, err));
    keel__bind_text(statement, 1, conversation->source);
    keel__bind_text(statement, 2, conversation->external_id);
    keel__bind_text(statement, 3, split);
    keel__bind_text(statement, 4, group);
    sqlite3_bind_int64(statement, 5, group_hash);
    sqlite3_bind_int(statement, 6, (int)conversation->risk);
    sqlite3_bind_int(statement, 7, (int)conversation->completed);
    sqlite3_bind_int(statement, 8, conversation->truncated);
    keel__bind_text(statement, 9, conversation->meta);
    KEEL_TRY(keel__store_run(store, statement, "adding a conversation", err));
    *id = sqlite3_last_insert_rowid(store->db);
    return keel__stratify_note(store, conversation, *id, first, err);
}

void keel__store_put_turn(keel_store *store, int64_t conversation_id, size_t position,
                          const keel_turn *turn) {
    keel__add_integer(store, KEEL__TURNS, conversation_id);
    keel__add_integer(store, KEEL__TURNS, (int64_t)position);
    keel__add_integer(store, KEEL__TURNS, (int64_t)turn->role);
    keel__add_text(store, KEEL__TURNS, turn->text ? turn->text : "");
    keel__add_text(store, KEEL__TURNS, turn->model);
    keel__add_text(store, KEEL__TURNS, turn->act);
    keel__add_optional(store, KEEL__TURNS, turn->latency_ms);
}

keel_authority keel__candidate_judge(const keel_candidate *candidate) {
    if (candidate->outcome == KEEL_OUTCOME_NONE) return KEEL_AUTHORITY_NONE;
    return candidate->judge == KEEL_AUTHORITY_NONE ? KEEL_AUTHORITY_HUMAN : candidate->judge;
}

/* said: the text of the turn after the decision, or NULL; a candidate that says the same stores it only once.
 */
void keel__store_put_candidate(keel_store *store, int64_t decision_id, keel_candidate *candidate,
                               const char *said, const char *source) {
    const char *text = candidate->text ? candidate->text : "";
    const keel_authority judge = keel__candidate_judge(candidate);
    candidate->id = ++store->last_candidate;
    keel__add_integer(store, KEEL__CANDIDATES, candidate->id);
    keel__add_integer(store, KEEL__CANDIDATES, decision_id);
    keel__add_text(store, KEEL__CANDIDATES, said && strcmp(said, text) == 0 ? NULL : text);
    keel__add_text(store, KEEL__CANDIDATES, candidate->act);
    keel__add_text(store, KEEL__CANDIDATES, candidate->model);
    keel__add_integer(store, KEEL__CANDIDATES, candidate->taken);
    keel__add_optional(store, KEEL__CANDIDATES, candidate->propensity);
    keel__add_optional(store, KEEL__CANDIDATES, candidate->latency_ms);
    keel__add_optional(store, KEEL__CANDIDATES, candidate->feedback);
    keel__add_reward(store, KEEL__CANDIDATES, &candidate->logged_reward);
    keel__add_integer(store, KEEL__CANDIDATES, (int64_t)candidate->outcome);
    keel__add_integer(store, KEEL__CANDIDATES, (int64_t)judge);
    if (judge == KEEL_AUTHORITY_NONE) return;
    keel__add_integer(store, KEEL__LABELS, candidate->id);
    keel__add_integer(store, KEEL__LABELS, (int64_t)candidate->outcome);
    keel__add_integer(store, KEEL__LABELS, (int64_t)judge);
    keel__add_text(store, KEEL__LABELS, source);
    keel__add_optional(store, KEEL__LABELS, (keel_optional){true, 1.0});
}

const char *keel__said_after(const keel_conversation *conversation, const keel_decision *decision) {
    if (decision->turn >= conversation->n_turns) return NULL;
    const char *text = conversation->turns[decision->turn].text;
    return text ? text : "";
}

void keel__store_put_decision(keel_store *store, const keel_conversation *conversation,
                              keel_decision *decision) {
    decision->id = ++store->last_decision;
    keel__add_integer(store, KEEL__DECISIONS, decision->id);
    keel__add_integer(store, KEEL__DECISIONS, conversation->id);
    keel__add_integer(store, KEEL__DECISIONS, (int64_t)decision->turn);
    for (size_t i = 0; i < decision->n_candidates; i++)
        keel__store_put_candidate(store, decision->id, &decision->candidates[i],
                                  keel__said_after(conversation, decision), conversation->source);
}

/* Until its rows are inserted, nothing of this conversation is to be read. */
void keel__note_waiting(keel_store *store, int64_t id) {
    if (id < store->waiting.first) store->waiting.first = id;
    if (id > store->waiting.last) store->waiting.last = id;
}

bool keel__is_waiting(const keel_store *store, int64_t id) {
    return id >= store->waiting.first && id <= store->waiting.last;
}

static keel_status insert_conversation(keel_store *store, keel_conversation *conversation, const char *where,
                                       keel__more *more, keel_err *err) {
    const int64_t before = store->last_candidate;
    if (!conversation->group && store->by_prompt)
        KEEL_TRY(keel_dedupe_group(conversation, &store->scratch, &conversation->group, err));
    KEEL_TRY(insert_header(store, conversation, where, &conversation->id, err));
    for (size_t i = 0; i < conversation->n_turns; i++)
        keel__store_put_turn(store, conversation->id, i, &conversation->turns[i]);
    for (size_t i = 0; i < conversation->n_decisions; i++)
        keel__store_put_decision(store, conversation, &conversation->decisions[i]);
    keel__note_waiting(store, conversation->id);
    *more = (keel__more){(int64_t)conversation->n_turns, (int64_t)conversation->n_decisions,
                         store->last_candidate - before};
    return KEEL_OK;
}

/* ---- the whole ---- */

static keel_status find_exact(keel_store *store, const keel_conversation *conversation, int64_t *id,
                              keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_FIND, &statement, err));
    keel__bind_text(statement, 1, conversation->external_id);
    keel__bind_text(statement, 2, conversation->source);
    KEEL_TRY(keel__store_step(store, statement, &row, "looking for a conversation", err));
    *id = row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return KEEL_OK;
}

/* Decisions lie within the conversation, in ascending order: the one thing that the schema cannot check. */
static keel_status check_shape(const keel_conversation *conversation, const char *where, keel_err *err) {
    if (!conversation->source || !conversation->external_id || !conversation->external_id[0])
        return keel_fail(err, KEEL_E_INVALID, where, "a conversation needs a source and an external id");
    for (size_t i = 0; i < conversation->n_decisions; i++) {
        size_t turn = conversation->decisions[i].turn;
        if (turn > conversation->n_turns || (i > 0 && turn <= conversation->decisions[i - 1].turn))
            return keel_fail(err, KEEL_E_INVALID, where,
                             "decision %zu of conversation %s is at turn %zu: out of order", i,
                             conversation->external_id, turn);
    }
    return KEEL_OK;
}

/* Another process may have given ids since: they are read anew for each transaction, and outside of any. */
static keel_status know_ids(keel_store *store, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    if (store->knows_ids && !sqlite3_get_autocommit(store->db)) return KEEL_OK;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_LAST_IDS, &statement, err));
    KEEL_TRY(keel__store_step(store, statement, &row, "looking up the last rows", err));
    store->last_decision = row ? sqlite3_column_int64(statement, 0) : 0;
    store->last_candidate = row ? sqlite3_column_int64(statement, 1) : 0;
    sqlite3_reset(statement);
    if (store->last_decision < 0 || store->last_decision > INT64_MAX / 2 || store->last_candidate < 0 ||
        store->last_candidate > INT64_MAX / 2)
        return keel__store_damaged(store, "impossible row ids", err);
    store->knows_ids = true;
    return KEEL_OK;
}

keel_status keel__store_add(keel_store *store, keel_conversation *conversation, bool merge, const char *where,
                            keel_added *added, keel__more *more, keel_err *err) {
    int64_t id;
    *more = (keel__more){0};
    *added = KEEL_ADDED_NEW;
    KEEL_TRY(check_shape(conversation, where, err));
    keel_arena_reset(&store->scratch);
    KEEL_TRY(know_ids(store, err));
    KEEL_TRY(find_exact(store, conversation, &id, err));
    if (id)
        KEEL_TRY(keel__store_meet(store, id, conversation, merge, where, added, more, err));
    else
        KEEL_TRY(insert_conversation(store, conversation, where, more, err));
    return keel__rows_added(store, err);
}

keel_status keel_store_add_conversation(keel_store *store, keel_conversation *conversation, bool merge,
                                        const char *where, keel_added *added, keel_err *err) {
    keel__more more;
    keel_added what;
    KEEL_TRY(keel__store_add(store, conversation, merge, where, &what, &more, err));
    if (added) *added = what;
    return KEEL_OK;
}

/* ---- labels ---- */

keel_status keel__store_insert_label(keel_store *store, int64_t candidate_id, keel_outcome outcome,
                                     keel_authority judge, const char *judge_name, double confidence,
                                     keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_LABEL, &statement, err));
    sqlite3_bind_int64(statement, 1, candidate_id);
    sqlite3_bind_int(statement, 2, (int)outcome);
    sqlite3_bind_int(statement, 3, (int)judge);
    keel__bind_text(statement, 4, judge_name);
    sqlite3_bind_double(statement, 5, confidence);
    return keel__store_run(store, statement, "adding a label", err);
}

keel_status keel__store_settle_label(keel_store *store, int64_t candidate_id, const char *but,
                                     keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_SETTLE_LABEL, &statement, err));
    sqlite3_bind_int64(statement, 1, candidate_id);
    keel__bind_text(statement, 2, but);
    return keel__store_run(store, statement, "settling a label", err);
}

keel_status keel_store_put_label(keel_store *store, int64_t candidate_id, keel_outcome outcome,
                                 keel_authority judge, const char *judge_name, double confidence,
                                 keel_err *err) {
    sqlite3_stmt *statement;
    if (outcome <= KEEL_OUTCOME_NONE || outcome > KEEL_N_OUTCOMES || judge <= KEEL_AUTHORITY_NONE ||
        judge > KEEL_AUTHORITY_HUMAN || !(confidence >= 0 && confidence <= 1))
        return keel_fail(err, KEEL_E_INVALID, "keel_store_put_label",
                         "outcome %d by judge %d with confidence %g is no judgement", (int)outcome,
                         (int)judge, confidence);
    KEEL_TRY(keel__store_insert_label(store, candidate_id, outcome, judge, judge_name, confidence, err));
    if (judge == KEEL_AUTHORITY_HUMAN) return keel__store_settle_label(store, candidate_id, "", err);
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_WIN_LABEL, &statement, err));
    sqlite3_bind_int64(statement, 1, candidate_id);
    sqlite3_bind_int(statement, 2, (int)outcome);
    sqlite3_bind_int(statement, 3, (int)judge);
    return keel__store_run(store, statement, "setting the winning label", err);
}

static keel_status run_on_judged(keel_store *store, const char *sql, const char *kind, const char *keep,
                                 keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_prepare(store, sql, &statement, err));
    keel__bind_text(statement, 1, kind);
    keel__bind_text(statement, 2, keep);
    const keel_status status = keel__store_run(store, statement, "dropping labels of other judges", err);
    sqlite3_finalize(statement);
    return status;
}

keel_status keel_store_drop_judged(keel_store *store, const char *kind, const char *keep, int64_t *dropped,
                                   keel_err *err) {
#define OLD_OF(table)                                                                                        \
    "(" table ".judge < 3 AND " table ".judge_name GLOB ?1 || '-*/[0-9]*' AND " table ".judge_name <> ?2)"
#define OLD   OLD_OF("labels")
#define OLD_L OLD_OF("l")
#define BEST                                                                                                 \
    " FROM labels AS l WHERE l.candidate_id = candidates.id AND NOT " OLD_L                                  \
    " ORDER BY l.judge DESC, l.id DESC LIMIT 1), 0)"
    KEEL_TRY(run_on_judged(store,
                           "UPDATE candidates SET outcome = coalesce((SELECT l.outcome" BEST
                           ", judge = coalesce((SELECT l.judge" BEST
                           " WHERE id IN (SELECT candidate_id FROM labels WHERE " OLD ")",
                           kind, keep, err));
    KEEL_TRY(run_on_judged(store, "DELETE FROM labels WHERE " OLD, kind, keep, err));
    *dropped = sqlite3_changes64(store->db);
    return KEEL_OK;
#undef BEST
#undef OLD
#undef OLD_L
#undef OLD_OF
}

/* ---- transitions ---- */

static void add_transition(keel_store *store, const keel_transition *transition) {
    keel__add_integer(store, KEEL__TRANSITIONS, transition->candidate_id);
    keel__add_integer(store, KEEL__TRANSITIONS, transition->decision_id);
    if (transition->next_decision_id)
        keel__add_integer(store, KEEL__TRANSITIONS, transition->next_decision_id);
    else
        keel__add_text(store, KEEL__TRANSITIONS, NULL);
    keel__add_reward(store, KEEL__TRANSITIONS, &transition->reward);
    keel__add_integer(store, KEEL__TRANSITIONS, transition->terminal);
    keel__add_integer(store, KEEL__TRANSITIONS, transition->truncated);
}

keel_status keel_store_add_transitions(keel_store *store, const keel_transition *transitions, size_t count,
                                       keel_err *err) {
    for (size_t i = 0; i < count; i++) add_transition(store, &transitions[i]);
    return keel__rows_added(store, err);
}

keel_status keel_store_put_transitions(keel_store *store, int64_t conversation_id,
                                       const keel_transition *transitions, size_t count, keel_err *err) {
    sqlite3_stmt *statement;
    if (keel__is_waiting(store, conversation_id)) KEEL_TRY(keel__rows_insert(store, err));
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_DROP_TRANSITIONS, &statement, err));
    sqlite3_bind_int64(statement, 1, conversation_id);
    KEEL_TRY(keel__store_run(store, statement, "dropping transitions", err));
    keel__note_waiting(store, conversation_id);
    return keel_store_add_transitions(store, transitions, count, err);
}

/* ---- what was done ---- */

static keel_status insert_run(keel_store *store, const char *verb, const char *config_json,
                              const char *result_json, const keel_store_metric *metrics, size_t n_metrics,
                              keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_RUN, &statement, err));
    keel__bind_text(statement, 1, verb);
    keel__bind_text(statement, 2, config_json);
    keel__bind_text(statement, 3, result_json);
    KEEL_TRY(keel__store_run(store, statement, "recording a run", err));
    if (sqlite3_changes(store->db) == 0) return KEEL_OK; /* recorded before, with its metrics */
    int64_t run = sqlite3_last_insert_rowid(store->db);
    for (size_t i = 0; i < n_metrics; i++) {
        KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_METRIC, &statement, err));
        sqlite3_bind_int64(statement, 1, run);
        keel__bind_text(statement, 2, metrics[i].name);
        keel__bind_optional(statement, 3, metrics[i].value);
        KEEL_TRY(keel__store_run(store, statement, "recording a metric", err));
    }
    return KEEL_OK;
}

keel_status keel_store_put_run(keel_store *store, const char *verb, const char *config_json,
                               const char *result_json, const keel_store_metric *metrics, size_t n_metrics,
                               keel_err *err) {
    bool own;
    KEEL_TRY(keel__store_enter(store, &own, err));
    return keel__store_end(store, own,
                           insert_run(store, verb, config_json, result_json, metrics, n_metrics, err), err);
}

keel_status keel_store_put_replay(keel_store *store, const char *policy_hash, int64_t decision_id,
                                  const char *chosen, const char *detail_json, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(store, KEEL__SQL_PUT_REPLAY, &statement, err));
    keel__bind_text(statement, 1, policy_hash);
    sqlite3_bind_int64(statement, 2, decision_id);
    keel__bind_text(statement, 3, chosen);
    keel__bind_text(statement, 4, detail_json);
    return keel__store_run(store, statement, "recording a replay", err);
}
