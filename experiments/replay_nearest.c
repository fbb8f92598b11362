#include "experiments/replay_nearest.h"

#include <string.h>

#include "core/json.h"
#include "core/progress.h"

typedef struct near_one {
    double similarity;
    cJSON *json;
} near_one;

typedef struct search {
    const keel_base *base;
    keel_replay_seat *seats;
    near_one (*best)[KEEL_REPLAY_NEAREST]; /* [n], the most similar first; json NULL: none yet */
    size_t n;
    keel_arena scratch;
} search;

static double cosine(const keel_place *a, const keel_place *b) {
    double sum = 0;
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (a->dim[i] == b->dim[j]) sum += (double)a->weight[i] * (double)b->weight[j];
        const bool first = a->dim[i] <= b->dim[j], second = b->dim[j] <= a->dim[i];
        i += first;
        j += second;
    }
    return sum;
}

static const keel_candidate *answer_of(const keel_decision *decision) {
    for (size_t c = 0; c < decision->n_candidates; c++)
        if (decision->candidates[c].taken) return &decision->candidates[c];
    return NULL;
}

static const char *text_or(const char *text, const char *otherwise) {
    return text && *text ? text : otherwise ? otherwise : "";
}

static cJSON *near_json(const keel_conversation *c, const keel_decision *decision, double similarity) {
    const keel_candidate *said = answer_of(decision);
    const char *user = "";
    for (size_t t = 0; t < decision->turn && t < c->n_turns; t++)
        if (c->turns[t].role == KEEL_ROLE_USER) user = text_or(c->turns[t].text, c->turns[t].act);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "similarity", similarity);
    cJSON_AddStringToObject(json, "conversation", c->external_id);
    cJSON_AddStringToObject(json, "risk", keel_risk_name(c->risk));
    if (c->completed != KEEL_UNKNOWN) cJSON_AddBoolToObject(json, "completed", c->completed == KEEL_YES);
    cJSON_AddStringToObject(json, "user", user);
    cJSON_AddStringToObject(json, "says", text_or(said->act, said->text));
    if (said->outcome != KEEL_OUTCOME_NONE)
        cJSON_AddStringToObject(json, "outcome", keel_outcome_name(said->outcome));
    return json;
}

/* Into its place among the best, the last of which drops out; an earlier one of the same similarity stays. */
static void offer(near_one best[KEEL_REPLAY_NEAREST], double similarity, const keel_conversation *c,
                  const keel_decision *decision) {
    size_t at = KEEL_REPLAY_NEAREST;
    while (at > 0 && (!best[at - 1].json || best[at - 1].similarity < similarity)) at--;
    if (at == KEEL_REPLAY_NEAREST) return;
    cJSON_Delete(best[KEEL_REPLAY_NEAREST - 1].json);
    memmove(best + at + 1, best + at, (KEEL_REPLAY_NEAREST - 1 - at) * sizeof *best);
    best[at] = (near_one){similarity, near_json(c, decision, similarity)};
}

static keel_status look_at(search *work, const keel_conversation *c, keel_err *err) {
    const int64_t group = keel_conversation_group_hash(c);
    for (size_t d = 0; d < c->n_decisions; d++) {
        keel_place place;
        if (!answer_of(&c->decisions[d]) || !keel_base_can_encode(work->base, &c->decisions[d])) continue;
        keel_arena_reset(&work->scratch);
        KEEL_TRY(keel_base_place(work->base, c, d, NULL, false, &work->scratch, &place, err));
        for (size_t i = 0; i < work->n; i++)
            if (work->seats[i].group != group && work->seats[i].place.n)
                offer(work->best[i], cosine(&work->seats[i].place, &place), c, &c->decisions[d]);
    }
    return KEEL_OK;
}

static keel_status walk(search *work, keel_store *store, const keel_split *split, keel_err *err) {
    keel_arena arena = {0};
    keel_conversation *conversation = NULL;
    keel_cursor *cursor;
    keel_progress progress;
    size_t done = 0;
    KEEL_TRY(keel_cursor_open(&cursor, store, split, KEEL_ORDER_STORED, err));
    keel_progress_start(&progress, "nearest", 0);
    keel_status status = KEEL_OK;
    while (status == KEEL_OK) {
        keel_arena_reset(&arena);
        status = keel_cursor_next(cursor, &arena, &conversation, err);
        if (status != KEEL_OK || !conversation) break;
        status = look_at(work, conversation, err);
        keel_progress_step(&progress, ++done, NULL);
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_replay_nearest(keel_store *store, const keel_base *base, const keel_split *split,
                                keel_replay_seat *seats, size_t n, keel_err *err) {
    search work = {.base = base, .seats = seats, .n = n, .best = keel_calloc(n ? n : 1, sizeof *work.best)};
    if (!work.best) return keel_nomem(err, "replay");
    keel_status status = n ? walk(&work, store, split, err) : KEEL_OK;
    for (size_t i = 0; i < n; i++) {
        cJSON *list = status == KEEL_OK ? cJSON_AddArrayToObject(seats[i].json, "nearest") : NULL;
        for (size_t k = 0; k < KEEL_REPLAY_NEAREST; k++) {
            if (list && work.best[i][k].json)
                keel_json_add(list, NULL, work.best[i][k].json);
            else
                cJSON_Delete(work.best[i][k].json);
        }
    }
    keel_arena_free(&work.scratch);
    keel_free(work.best);
    return status;
}
