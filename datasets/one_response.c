#include "datasets/one_response.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/pcg.h"
#include "datasets/chat.h"

static int compare_texts(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "");
}

/* By what was said and by whom: an order that does not depend on how the candidates came into the store. */
static int compare_answers(const void *a, const void *b) {
    const keel_candidate *x = *(keel_candidate *const *)a, *y = *(keel_candidate *const *)b;
    int order = compare_texts(x->model, y->model);
    if (!order) order = compare_texts(x->act, y->act);
    return order ? order : compare_texts(x->text, y->text);
}

/* The taken candidates in that order, in the arena; their number. */
static keel_status gather_taken(const keel_decision *decision, keel_arena *arena, keel_candidate ***out,
                                size_t *count, keel_err *err) {
    *count = 0;
    *out = keel_arena_calloc(arena, decision->n_candidates + 1, sizeof **out);
    if (!*out) return keel_nomem(err, "one response");
    for (size_t k = 0; k < decision->n_candidates; k++)
        if (decision->candidates[k].taken) (*out)[(*count)++] = &decision->candidates[k];
    qsort(*out, *count, sizeof **out, compare_answers);
    return KEEL_OK;
}

static keel_candidate *find_said(keel_candidate *const *taken, size_t count, const keel_turn *turn) {
    for (size_t i = 0; i < count; i++)
        if (compare_texts(taken[i]->text, turn->text) == 0) return taken[i];
    return NULL;
}

/* The chosen answer is the last message. */
static keel_status end_with(keel_conversation *c, const keel_decision *decision, keel_arena *arena,
                            keel_err *err) {
    const keel_candidate *chosen = decision->candidates;
    const size_t turn = decision->turn;
    keel_turn *turns = keel_arena_calloc(arena, turn + 1, sizeof *turns);
    if (!turns) return keel_nomem(err, c->external_id);
    if (turn) memcpy(turns, c->turns, turn * sizeof *turns);
    turns[turn] = (keel_turn){.role = KEEL_ROLE_ASSISTANT,
                              .text = chosen->text ? chosen->text : "",
                              .model = chosen->model,
                              .act = chosen->act,
                              .latency_ms = chosen->latency_ms};
    c->turns = turns;
    c->n_turns = turn + 1;
    return KEEL_OK;
}

/* Whether what meta.messages says of a message still holds: not of single candidates, not of the message
 * `replaced` (SIZE_MAX: none). */
static bool still_holds(const cJSON *entry, size_t replaced) {
    const cJSON *turn = keel_json_get(entry, "turn");
    return !keel_json_get(entry, "candidate") &&
           !(cJSON_IsNumber(turn) && turn->valuedouble == (double)replaced);
}

static keel_status keep_meta(keel_conversation *c, size_t replaced, keel_arena *arena, keel_err *err) {
    cJSON *meta;
    keel_buf text = {0};
    if (!c->meta || !strstr(c->meta, "\"messages\"")) return KEEL_OK;
    KEEL_TRY(keel_json_parse(c->meta, strlen(c->meta), c->external_id, &meta, err));
    cJSON *list = cJSON_GetObjectItemCaseSensitive(meta, "messages");
    for (cJSON *entry = cJSON_IsArray(list) ? list->child : NULL, *next; entry; entry = next) {
        next = entry->next;
        if (!still_holds(entry, replaced)) cJSON_Delete(cJSON_DetachItemViaPointer(list, entry));
    }
    if (cJSON_IsArray(list) && !list->child) cJSON_DeleteItemFromObjectCaseSensitive(meta, "messages");
    keel_status status = keel_json_print(meta, false, &text, err);
    c->meta = status == KEEL_OK && meta->child ? keel_arena_strdup(arena, text.data) : NULL;
    if (status == KEEL_OK && meta->child && !c->meta) status = keel_nomem(err, c->external_id);
    keel_buf_free(&text);
    cJSON_Delete(meta);
    return status;
}

/* What becomes of a decision; *stays false: it is none any more. *replaced: the message that the answer
 * replaces. */
static keel_status keep_one(keel_one_response *one, keel_conversation *c, keel_decision *decision,
                            keel_rng *rng, keel_arena *arena, bool *stays, size_t *replaced, keel_err *err) {
    keel_candidate **taken, *chosen = NULL;
    size_t count;
    const bool last = decision->turn + 1 >= c->n_turns, open = decision->turn == c->n_turns;
    KEEL_TRY(gather_taken(decision, arena, &taken, &count, err));
    one->left_out += (int64_t)decision->n_candidates - (count > 0);
    one->answers += count > 0;
    one->decisions += count == 0;
    *stays = count > 0 || open;
    decision->n_candidates = count > 0;
    if (count == 0) return KEEL_OK;
    if (!last) chosen = find_said(taken, count, &c->turns[decision->turn]);
    if (!chosen) chosen = taken[keel_rng_below(rng, count)];
    if (count > 1) chosen->propensity.present = false;
    decision->candidates = chosen;
    if (!last || (!open && find_said(&chosen, 1, &c->turns[decision->turn]))) return KEEL_OK;
    *replaced = decision->turn;
    return end_with(c, decision, arena, err);
}

keel_status keel_one_response_keep(keel_one_response *one, keel_conversation *c, keel_arena *arena,
                                   keel_err *err) {
    keel_rng rng = keel_rng_stream(one->seed, KEEL_STREAM_ONE_RESPONSE, keel_conversation_name_hash(c));
    size_t kept = 0, replaced = SIZE_MAX;
    for (size_t d = 0; d < c->n_decisions; d++) {
        keel_decision *decision = &c->decisions[d];
        bool stays;
        KEEL_TRY(keep_one(one, c, decision, &rng, arena, &stays, &replaced, err));
        if (stays) c->decisions[kept++] = *decision;
    }
    c->n_decisions = kept;
    return keep_meta(c, replaced, arena, err);
}

/* ---- export ---- */

typedef struct writing {
    keel_one_response *one;
    keel_arena arena;
} writing;

static keel_status write_one(void *user, const keel_conversation *conversation, keel_buf *lines,
                             int64_t *count, keel_err *err) {
    writing *w = user;
    keel_conversation c = *conversation;
    keel_arena_reset(&w->arena);
    KEEL_TRY(keel_one_response_keep(w->one, &c, &w->arena, err));
    KEEL_TRY(keel_chat_write(&c, lines, err));
    keel_buf_text(lines, "\n");
    ++*count;
    return KEEL_OK;
}

keel_status keel_export_one_response(keel_store *store, const keel_split *split, keel_one_response *one,
                                     keel_file_writer *to, int64_t *count, keel_err *err) {
    writing w = {.one = one};
    keel_status status = keel_export(store, split, write_one, &w, to, count, err);
    keel_arena_free(&w.arena);
    return status;
}
