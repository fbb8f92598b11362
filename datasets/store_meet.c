/* A conversation that is in the store already: what the log says of it now is compared with what is stored,
 * and then what is missing is added. The log may have gone on since, or may be an older copy: the turns of
 * one are the first turns of the other. Nothing is written before everything was compared. */
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "datasets/store_internal.h"

typedef struct meeting {
    keel_store *store;
    const keel_conversation *there;
    keel_conversation *now;
    bool merge;  /* other models' answers may follow */
    bool grown;  /* the log says more turns than the store */
    bool older;  /* fewer */
    size_t both; /* turns that both have */
    const char *where;
    keel__more *more;
    bool changed; /* something was written */
    keel_err *err;
} meeting;

static keel_status conflict(const meeting *m, const char *what, size_t turn) {
    char at[48] = "";
    if (turn != SIZE_MAX) snprintf(at, sizeof at, " of turn %zu", turn);
    keel_fail(m->err, KEEL_E_CONFLICT, m->where, "conversation %s is in the store already, but %s%s differs",
              m->now->external_id, what, at);
    keel_hint(m->err, "if it is another conversation, give it another id, or keep this log apart with "
                      "--source NAME");
    return KEEL_E_CONFLICT;
}

/* ---- comparing ---- */

static bool same_text(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* What is absent on one side contradicts nothing. */
static bool texts_agree(const char *a, const char *b) {
    return !a || !b || strcmp(a, b) == 0;
}

static bool numbers_agree(keel_optional a, keel_optional b) {
    return !a.present || !b.present || a.value == b.value;
}

static bool rewards_agree(const keel_reward *a, const keel_reward *b) {
    bool agree = true;
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        agree = agree && (!a->present[k] || !b->present[k] || a->value[k] == b->value[k]);
    return agree;
}

static const char *differing_in_turn(const keel_turn *a, const keel_turn *b) {
    return a->role != b->role                             ? "the role"
           : !same_text(a->text, b->text)                 ? "the text"
           : !texts_agree(a->model, b->model)             ? "the model"
           : !texts_agree(a->act, b->act)                 ? "the act"
           : !numbers_agree(a->latency_ms, b->latency_ms) ? "the latency"
                                                          : NULL;
}

/* A judgement made in the store since, of another authority, contradicts nothing. later: it may have been
 * taken only since, or as only `now` knows; before: as only the store knows. */
static const char *differing_in_candidate(const keel_candidate *there, const keel_candidate *now, bool later,
                                          bool before) {
    const bool labelled = now->outcome != KEEL_OUTCOME_NONE;
    return there->taken != now->taken && !(later && now->taken) && !(before && there->taken)
               ? "which response was taken"
           : !numbers_agree(there->propensity, now->propensity)         ? "the propensity of a response"
           : !numbers_agree(there->latency_ms, now->latency_ms)         ? "the latency of a response"
           : !numbers_agree(there->feedback, now->feedback)             ? "the feedback on a response"
           : !rewards_agree(&there->logged_reward, &now->logged_reward) ? "the reward of a response"
           : labelled && there->judge == keel__candidate_judge(now) && there->outcome != now->outcome
               ? "the outcome of a response"
               : NULL;
}

/* One that any model might have given, and none gave. */
static bool is_anyones(const keel_candidate *candidate) {
    return !candidate->taken && !candidate->model && !candidate->act;
}

/* How surely the stored candidate is this response, 0: it is another one. Where only one side names model or
 * act, they may be of one response; where several models answer, only if nobody gave it on one side. An
 * answer that took another time was given another time. */
static int likeness(const meeting *m, const keel_candidate *there, const keel_candidate *now) {
    enum { OTHER, LIKE, ANOTHER_TIME, SAME };
    if (!same_text(there->text, now->text) || !texts_agree(there->act, now->act) ||
        !texts_agree(there->model, now->model))
        return OTHER;
    if (!!there->act == !!now->act && !!there->model == !!now->model) {
        if (numbers_agree(there->latency_ms, now->latency_ms)) return SAME;
        return m->merge ? OTHER : ANOTHER_TIME;
    }
    return m->merge && !is_anyones(there) && !is_anyones(now) ? OTHER : LIKE;
}

/* The stored candidate that is this response, the first of those that are alike. NULL if there is none. */
static const keel_candidate *find_candidate(const meeting *m, const keel_decision *there,
                                            const keel_candidate *now) {
    const keel_candidate *best = NULL;
    int most = 0;
    for (size_t k = 0; k < there->n_candidates; k++) {
        const int alike = likeness(m, &there->candidates[k], now);
        if (alike > most) best = &there->candidates[k], most = alike;
    }
    return best;
}

static const keel_decision *find_decision(const meeting *m, size_t turn) {
    for (size_t i = 0; i < m->there->n_decisions; i++)
        if (m->there->decisions[i].turn == turn) return &m->there->decisions[i];
    return NULL;
}

/* Whether the response was still to come when the decision was stored. */
static bool was_open(const keel_decision *there) {
    for (size_t k = 0; k < there->n_candidates; k++)
        if (there->candidates[k].taken) return false;
    return true;
}

static keel_status compare_decision(const meeting *m, const keel_decision *now) {
    const keel_decision *there = find_decision(m, now->turn);
    if (!there) return KEEL_OK;
    const bool open = was_open(there), to_come = now->turn == m->now->n_turns;
    for (size_t i = 0; i < now->n_candidates; i++) {
        const keel_candidate *candidate = &now->candidates[i], *known = find_candidate(m, there, candidate);
        if (!known && !m->merge && candidate->taken && !open) return conflict(m, "the response", now->turn);
        const char *what = known ? differing_in_candidate(known, candidate, open || m->merge,
                                                          (to_come && m->older) || m->merge)
                                 : NULL;
        if (what) return conflict(m, what, now->turn);
    }
    return KEEL_OK;
}

static bool is_bare(const keel_conversation *conversation) {
    for (size_t i = 0; i < conversation->n_decisions; i++)
        if (conversation->decisions[i].n_candidates) return false;
    return true;
}

/* A list of prompts may have mended one since it was answered (XSTest's has): the answered text holds. */
static bool is_mended(const meeting *m, size_t turn) {
    const keel_turn *there = &m->there->turns[turn], *now = &m->now->turns[turn];
    return m->merge && there->role == KEEL_ROLE_USER && now->role == there->role &&
           strcmp(there->text, now->text) != 0 && is_bare(m->there) != is_bare(m->now);
}

static keel_status compare(const meeting *m) {
    const keel_conversation *there = m->there, *now = m->now;
    for (size_t i = 0; i < m->both; i++) {
        const char *what = differing_in_turn(&there->turns[i], &now->turns[i]);
        if (what && is_mended(m, i)) continue;
        if (what) return conflict(m, what, i);
    }
    for (size_t i = 0; i < now->n_decisions; i++) KEEL_TRY(compare_decision(m, &now->decisions[i]));
    if (there->risk != now->risk && there->risk && now->risk) return conflict(m, "risk", SIZE_MAX);
    const bool goes_on = m->older || (m->grown && there->completed == KEEL_NO);
    if (there->completed != now->completed && there->completed != KEEL_UNKNOWN &&
        now->completed != KEEL_UNKNOWN && !goes_on && !m->merge)
        return conflict(m, "completed", SIZE_MAX);
    if (there->truncated && !now->truncated && !m->grown && !m->older)
        return conflict(m, "truncated", SIZE_MAX);
    if (!texts_agree(there->group, now->group)) return conflict(m, "group", SIZE_MAX);
    if (!texts_agree(there->split, now->split)) return conflict(m, "split", SIZE_MAX);
    return KEEL_OK;
}

/* ---- meta ---- */

/* Adds the keys that the stored meta lacks. Of one that both have, the log that went on says the newer value,
 * and an older one or another model's nothing new; else it may not differ. */
static keel_status merge_keys(const meeting *m, cJSON *ours, cJSON *more, bool *changed) {
    for (cJSON *item = more->child, *next; item; item = next) {
        char what[80];
        next = item->next;
        cJSON *mine = cJSON_GetObjectItemCaseSensitive(ours, item->string);
        if (mine && (m->merge || m->older || cJSON_Compare(mine, item, true))) continue;
        snprintf(what, sizeof what, "meta (key \"%.40s\")", item->string);
        if (mine && !m->grown) return conflict(m, what, SIZE_MAX);
        if (mine) cJSON_DeleteItemFromObjectCaseSensitive(ours, item->string);
        if (!keel_json_add(ours, item->string, cJSON_DetachItemViaPointer(more, item)))
            return keel_nomem(m->err, "meta");
        *changed = true;
    }
    return KEEL_OK;
}

/* *out: the merged meta in the store's scratch arena; NULL: as it is. */
static keel_status merged_meta(const meeting *m, const char **out) {
    cJSON *ours = NULL, *more = NULL;
    keel_buf text = {0};
    keel_status status;
    bool changed = false;
    *out = NULL;
    if (!m->now->meta || same_text(m->there->meta, m->now->meta)) return KEEL_OK;
    const char *old = m->there->meta ? m->there->meta : "{}";
    KEEL_TRY_GOTO(keel_json_parse(old, strlen(old), "meta", &ours, m->err), done);
    KEEL_TRY_GOTO(keel_json_parse(m->now->meta, strlen(m->now->meta), "meta", &more, m->err), done);
    KEEL_TRY_GOTO(merge_keys(m, ours, more, &changed), done);
    if (!changed) goto done;
    KEEL_TRY_GOTO(keel_json_print(ours, false, &text, m->err), done);
    *out = keel_arena_strdup(&m->store->scratch, text.data);
    if (!*out) status = keel_nomem(m->err, "meta");
done:
    keel_buf_free(&text);
    cJSON_Delete(ours);
    cJSON_Delete(more);
    return status;
}

/* ---- adding ---- */

static keel_status drop_features(meeting *m, const keel_decision *of) {
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(m->store, KEEL__SQL_DROP_FEATURES, &statement, m->err));
    sqlite3_bind_int64(statement, 1, of->id);
    return keel__store_run(m->store, statement, "dropping features", m->err);
}

/* The later one only where the first one is absent; *new: whether it is. */
static const char *either_text(const char *there, const char *now, bool *new) {
    *new = *new || (!there && now);
    return there ? there : now;
}

static keel_optional either_number(keel_optional there, keel_optional now, bool *new) {
    *new = *new || (!there.present && now.present);
    return there.present ? there : now;
}

static keel_status fill_turn(meeting *m, size_t position) {
    const keel_turn *there = &m->there->turns[position], *now = &m->now->turns[position];
    bool new = false;
    const char *model = either_text(there->model, now->model, &new);
    const char *act = either_text(there->act, now->act, &new);
    const keel_optional latency = either_number(there->latency_ms, now->latency_ms, &new);
    const bool mended = is_mended(m, position), replace = mended && !is_bare(m->now);
    if (mended)
        keel_log(KEEL_LOG_INFO,
                 "note: %s: the prompt of %s was mended since it was answered; the answered one is kept",
                 m->where, m->now->external_id);
    if (!new && !replace) return KEEL_OK;
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(m->store, KEEL__SQL_FILL_TURN, &statement, m->err));
    sqlite3_bind_int64(statement, 1, m->there->id);
    sqlite3_bind_int64(statement, 2, (int64_t)position);
    keel__bind_text(statement, 3, model);
    keel__bind_text(statement, 4, act);
    keel__bind_optional(statement, 5, latency);
    keel__bind_text(statement, 6, replace ? now->text : there->text);
    KEEL_TRY(keel__store_run(m->store, statement, "completing a turn", m->err));
    m->changed = true;
    for (size_t i = 0; i < m->there->n_decisions; i++)
        if (m->there->decisions[i].turn > position) KEEL_TRY(drop_features(m, &m->there->decisions[i]));
    return KEEL_OK;
}

static keel_status add_label(meeting *m, int64_t candidate, const keel_candidate *there,
                             const keel_candidate *now) {
    const keel_authority judge = keel__candidate_judge(now);
    if (judge == KEEL_AUTHORITY_NONE || judge == there->judge || (judge < there->judge && !m->merge))
        return KEEL_OK;
    m->changed = m->changed || judge > there->judge;
    return keel_store_put_label(m->store, candidate, now->outcome, judge, m->now->source, 1, m->err);
}

static keel_status fill_candidate(meeting *m, const keel_decision *decision, const keel_candidate *there,
                                  const keel_candidate *now, bool said) {
    bool new = now->taken && !there->taken;
    const char *act = either_text(there->act, now->act, &new);
    const char *model = either_text(there->model, now->model, &new);
    const bool features = new; /* what they see */
    const keel_optional propensity = either_number(there->propensity, now->propensity, &new);
    const keel_optional latency = either_number(there->latency_ms, now->latency_ms, &new);
    const keel_optional feedback = either_number(there->feedback, now->feedback, &new);
    sqlite3_stmt *statement;
    KEEL_TRY(keel__store_statement(m->store, KEEL__SQL_FILL_CANDIDATE, &statement, m->err));
    int at = 0;
    sqlite3_bind_int(statement, ++at, said);
    keel__bind_text(statement, ++at, act);
    keel__bind_text(statement, ++at, model);
    sqlite3_bind_int(statement, ++at, there->taken || now->taken);
    keel__bind_optional(statement, ++at, propensity);
    keel__bind_optional(statement, ++at, latency);
    keel__bind_optional(statement, ++at, feedback);
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        const keel_reward *of = there->logged_reward.present[k] ? &there->logged_reward : &now->logged_reward;
        new = new || (of->present[k] && !there->logged_reward.present[k]);
        keel__bind_optional(statement, ++at, (keel_optional){of->present[k], of->value[k]});
    }
    sqlite3_bind_int64(statement, ++at, there->id);
    if (new) KEEL_TRY(keel__store_run(m->store, statement, "completing a candidate", m->err));
    sqlite3_clear_bindings(statement);
    m->changed = m->changed || new;
    if (features) KEEL_TRY(drop_features(m, decision));
    return add_label(m, there->id, there, now);
}

static keel_status fill_decision(meeting *m, keel_decision *now) {
    const keel_decision *there = find_decision(m, now->turn);
    const char *said = keel__said_after(m->now, now);
    int64_t added = 0;
    if (!there) {
        const int64_t before = m->store->last_candidate;
        keel__store_put_decision(m->store, m->now, now);
        m->more->decisions++;
        m->more->candidates += m->store->last_candidate - before;
        return KEEL_OK;
    }
    now->id = there->id;
    for (size_t i = 0; i < now->n_candidates; i++) {
        keel_candidate *candidate = &now->candidates[i];
        const keel_candidate *known = find_candidate(m, there, candidate);
        if (known)
            KEEL_TRY(fill_candidate(m, there, known, candidate, said && same_text(said, candidate->text)));
        else
            keel__store_put_candidate(m->store, there->id, candidate, said, m->now->source);
        added += !known;
    }
    m->more->candidates += added;
    return added ? drop_features(m, there) : KEEL_OK;
}

/* Of answers of several models: whether the task was done, where all that were given agree. */
static keel_tri completed_by_all(const meeting *m) {
    const keel_conversation *const both[] = {m->there, m->now};
    size_t given = 0, done = 0, failed = 0;
    for (int i = 0; i < 2; i++)
        for (size_t d = 0; d < both[i]->n_decisions; d++)
            for (size_t k = 0; k < both[i]->decisions[d].n_candidates; k++) {
                const keel_candidate *answer = &both[i]->decisions[d].candidates[k];
                const bool judged = answer->taken && answer->logged_reward.present[KEEL_ACCURACY];
                given += answer->taken;
                done += judged && answer->logged_reward.value[KEEL_ACCURACY] >= 1;
                failed += judged && answer->logged_reward.value[KEEL_ACCURACY] <= 0;
            }
    return given && done == given ? KEEL_YES : given && failed == given ? KEEL_NO : KEEL_UNKNOWN;
}

/* Whether the task was done, by what the store and the log say together. */
static keel_tri joined_completed(const meeting *m) {
    const bool newer = m->there->completed == KEEL_UNKNOWN || (m->grown && m->now->completed != KEEL_UNKNOWN);
    return m->merge ? completed_by_all(m) : newer ? m->now->completed : m->there->completed;
}

/* What is said of the conversation as a whole. */
static keel_status fill_header(meeting *m, const char *meta) {
    const keel_conversation *there = m->there, *now = m->now;
    const keel_risk risk = there->risk ? there->risk : now->risk;
    const keel_tri completed = joined_completed(m);
    const bool truncated = m->grown ? now->truncated : there->truncated || (now->truncated && !m->older);
    sqlite3_stmt *statement;
    if (risk != there->risk || completed != there->completed || truncated != there->truncated) {
        KEEL_TRY(keel__store_statement(m->store, KEEL__SQL_FILL_CONVERSATION, &statement, m->err));
        sqlite3_bind_int64(statement, 1, there->id);
        sqlite3_bind_int(statement, 2, (int)risk);
        sqlite3_bind_int(statement, 3, (int)completed);
        sqlite3_bind_int(statement, 4, truncated);
        KEEL_TRY(keel__store_run(m->store, statement, "completing a conversation", m->err));
        if (risk != there->risk) KEEL_TRY(keel__stratify_raise(m->store, there, risk, m->err));
        m->changed = true;
    }
    if (!meta) return KEEL_OK;
    KEEL_TRY(keel__store_statement(m->store, KEEL__SQL_SET_META, &statement, m->err));
    sqlite3_bind_int64(statement, 1, there->id);
    keel__bind_text(statement, 2, meta);
    m->changed = m->changed || !m->merge;
    keel_status status = keel__store_run(m->store, statement, "adding to meta", m->err);
    sqlite3_clear_bindings(statement);
    return status;
}

static keel_status fill(meeting *m, const char *meta) {
    keel_conversation *now = m->now;
    now->id = m->there->id;
    KEEL_TRY(fill_header(m, meta));
    for (size_t i = 0; i < m->both; i++) KEEL_TRY(fill_turn(m, i));
    for (size_t i = m->both; i < now->n_turns; i++) {
        keel__store_put_turn(m->store, now->id, i, &now->turns[i]);
        m->more->turns++;
    }
    for (size_t i = 0; i < now->n_decisions; i++) KEEL_TRY(fill_decision(m, &now->decisions[i]));
    return KEEL_OK;
}

static keel_status meet(keel_store *store, int64_t id, keel_conversation *conversation, bool merge,
                        const char *where, keel_added *added, keel__more *more, keel_err *err) {
    keel_conversation *there;
    const char *meta;
    KEEL_TRY(keel_store_conversation(store, id, &store->scratch, &there, err));
    meeting m = {.store = store, .there = there, .now = conversation, .merge = merge, .where = where};
    m.grown = conversation->n_turns > there->n_turns;
    m.older = conversation->n_turns < there->n_turns;
    m.both = m.older ? conversation->n_turns : there->n_turns;
    m.more = more;
    m.err = err;
    KEEL_TRY(compare(&m));
    KEEL_TRY(merged_meta(&m, &meta));
    KEEL_TRY(fill(&m, meta));
    const bool rows = more->turns || more->decisions || more->candidates;
    if (rows) keel__note_waiting(store, id);
    *added = rows || m.changed ? KEEL_ADDED_MORE : KEEL_ADDED_NOTHING;
    return KEEL_OK;
}

/* What people said in reviews is no part of the log: it is put aside, and counts again afterwards. */
keel_status keel__store_meet(keel_store *store, int64_t id, keel_conversation *conversation, bool merge,
                             const char *where, keel_added *added, keel__more *more, keel_err *err) {
    bool lifted;
    keel_err other = {0};
    if (keel__is_waiting(store, id)) KEEL_TRY(keel__rows_insert(store, err));
    KEEL_TRY(keel__review_lift(store, id, &lifted, err));
    const keel_status status = meet(store, id, conversation, merge, where, added, more, err);
    if (!lifted) return status;
    const keel_status laid = keel__review_lay(store, id, status == KEEL_OK ? err : &other);
    return status == KEEL_OK ? laid : status;
}
