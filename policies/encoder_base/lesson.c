#include "policies/encoder_base/lesson.h"

#include <math.h>
#include <string.h>

#include "core/hash.h"
#include "policies/preference.h"

/* ---- texts ---- */

static uint64_t hash_of(const keel_reading *reading) {
    const uint64_t ids = keel_hash64(reading->id, reading->n * sizeof *reading->id, 1);
    return keel_hash64_mix(ids, keel_hash64(reading->type, reading->n * sizeof *reading->type, 2));
}

/* The token that closes a text, by which turns are kept apart; -1: the tokenizer has none. */
static keel_status find_separator(const keel_encoder_base *model, keel_arena *arena, int32_t *out,
                                  keel_err *err) {
    const keel_tokens nothing = {0};
    keel_tokens framed;
    int32_t *type;
    KEEL_TRY(keel_tokenizer_frame(model->bert->tokenizer, &nothing, NULL, arena, &framed, &type, err));
    *out = framed.count > 0 ? framed.id[framed.count - 1] : -1;
    return KEEL_OK;
}

static size_t room_of(const keel_encoder_base *model, int64_t wanted, bool pair) {
    const size_t most = model->bert->config.max_tokens;
    const size_t frame = keel_tokenizer_frame_size(model->bert->tokenizer, pair);
    const size_t limit = wanted > 0 && (size_t)wanted < most ? (size_t)wanted : most;
    return limit > frame ? limit - frame : 1;
}

/* Puts a turn before those that are there already, within room; false where it does not fit whole. */
static bool put_before(keel_tokens *all, const keel_tokens *turn, int32_t separator, size_t room) {
    const size_t between = all->count > 0 && separator >= 0;
    if (turn->count + between + all->count > room) return false;
    memmove(all->id + turn->count + between, all->id, all->count * sizeof *all->id);
    if (between) all->id[turn->count] = separator;
    if (turn->count > 0) memcpy(all->id, turn->id, turn->count * sizeof *all->id);
    all->count += turn->count + between;
    return true;
}

/* Tokens of the turns before the decision, from the last one back. */
static keel_status window(const keel_encoder_base *model, const keel_conversation *conversation, size_t turn,
                          size_t room, keel_arena *arena, keel_tokens *out, size_t *cut, keel_err *err) {
    int32_t separator = -1;
    *out = (keel_tokens){.id = keel_arena_alloc(arena, room * sizeof *out->id)};
    if (!out->id) return keel_nomem(err, "encoder base");
    KEEL_TRY(find_separator(model, arena, &separator, err));
    *cut = 0;
    for (size_t t = turn; t-- > 0;) {
        keel_tokens tokens;
        if (!conversation->turns[t].text[0]) continue;
        KEEL_TRY(keel_tokenizer_encode(model->bert->tokenizer, conversation->turns[t].text, false, arena,
                                       &tokens, err));
        if (out->count == 0 && tokens.count > room) {
            *cut += tokens.count - room;
            tokens.count = room;
        }
        if (put_before(out, &tokens, separator, room)) continue;
        *cut += tokens.count;
        return KEEL_OK; /* earlier turns are outside of the window, and are not looked at */
    }
    return KEEL_OK;
}

static keel_status frame(const keel_encoder_base *model, const keel_tokens *a, const keel_tokens *b,
                         keel_arena *arena, keel_reading *out, keel_err *err) {
    keel_tokens framed;
    int32_t *type;
    KEEL_TRY(keel_tokenizer_frame(model->bert->tokenizer, a, b, arena, &framed, &type, err));
    if (framed.count == 0 || framed.count > model->bert->config.positions)
        return keel_fail(err, KEEL_E_INVALID, "encoder base", "the tokenizer makes %zu tokens of a text",
                         framed.count);
    out->id = framed.id;
    out->type = type;
    out->n = framed.count;
    out->hash = hash_of(out);
    return KEEL_OK;
}

static keel_status read_candidate(const keel_encoder_base *model, const keel_tokens *state, const char *text,
                                  keel_arena *arena, keel_reading *out, keel_err *err) {
    const bool cross = model->config.candidates == KEEL_CANDIDATES_CROSS;
    keel_tokens tokens;
    size_t room = room_of(model, model->config.candidate_tokens, false);
    KEEL_TRY(keel_tokenizer_encode(model->bert->tokenizer, text ? text : "", false, arena, &tokens, err));
    if (cross) { /* both halves within what the encoder takes */
        const size_t both = room_of(model, 0, true);
        room = both - state->count < room ? both - state->count : room;
    }
    out->cut = tokens.count > room ? tokens.count - room : 0;
    tokens.count -= out->cut;
    return cross ? frame(model, state, &tokens, arena, out, err)
                 : frame(model, &tokens, NULL, arena, out, err);
}

/* In a pair at most two thirds of the encoder's tokens are the state's. */
static size_t state_room(const keel_encoder_base *model) {
    const size_t room = room_of(model, model->config.state_tokens, false);
    const size_t most = 2 * room_of(model, 0, true) / 3;
    return model->config.candidates == KEEL_CANDIDATES_CROSS && room > most ? most : room;
}

keel_status keel__encoder_read(const keel_encoder_base *model, const keel_conversation *conversation,
                               size_t turn, const keel_candidate *candidates, size_t n, keel_arena *arena,
                               keel_lesson_texts *out, keel_err *err) {
    const uint64_t group = (uint64_t)keel_conversation_group_hash(conversation);
    keel_tokens state;
    size_t cut = 0;
    KEEL_TRY(window(model, conversation, turn, state_room(model), arena, &state, &cut, err));
    *out =
        (keel_lesson_texts){.state.cut = cut, .n_candidates = keel__encoder_reads_candidates(model) ? n : 0};
    KEEL_TRY(frame(model, &state, NULL, arena, &out->state, err));
    const uint64_t in_group = keel_hash64_mix(group, out->state.hash);
    out->state_key = (int64_t)in_group;
    out->candidate = keel_arena_calloc(arena, out->n_candidates + 1, sizeof *out->candidate);
    out->candidate_key = keel_arena_calloc(arena, out->n_candidates + 1, sizeof *out->candidate_key);
    if (!out->candidate || !out->candidate_key) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < out->n_candidates; i++) {
        KEEL_TRY(read_candidate(model, &state, candidates[i].text, arena, &out->candidate[i], err));
        out->candidate_key[i] = (int64_t)keel_hash64_mix(in_group, out->candidate[i].hash);
    }
    return KEEL_OK;
}

/* ---- labels ---- */

keel_encoder_labels keel__encoder_labels(const keel_encoder_base *model,
                                         const keel_conversation *conversation, size_t decision,
                                         const keel_soft_label *soft) {
    const keel_decision *at = &conversation->decisions[decision];
    keel_encoder_labels labels = {.risk = conversation->risk, .act = -1, .decision = at, .soft = soft};
    for (size_t i = 0; i < at->n_candidates; i++) {
        const keel_candidate *candidate = &at->candidates[i];
        labels.n_taken += candidate->taken;
        labels.n_judged += candidate->outcome != KEEL_OUTCOME_NONE;
        if (candidate->taken && labels.act < 0) labels.act = keel_base_action_index(&model->base, candidate);
        for (size_t j = 0; j < at->n_candidates; j++)
            labels.n_pairs += keel_preference(candidate, &at->candidates[j]);
    }
    return labels;
}

size_t keel__encoder_terms(const keel_encoder_base *model, const keel_encoder_labels *labels, int head) {
    const bool ranked =
        labels->decision->n_candidates > 1 || keel__encoder_compares(model); /* one alone: no loss */
    const keel_soft_label *soft = labels->soft;
    const size_t n[KEEL_N_HEADS] = {
        [KEEL_HEAD_RISK] = labels->risk != KEEL_RISK_UNKNOWN || (soft && !isnan(soft->risk)),
        [KEEL_HEAD_ACT] = labels->act >= 0 || (soft && soft->prior),
        [KEEL_HEAD_VECTOR] = soft && soft->vector,
        [KEEL_HEAD_OUTCOME] = soft && soft->outcomes ? labels->decision->n_candidates : labels->n_judged,
        [KEEL_HEAD_PREFERENCE] = labels->n_pairs,
        [KEEL_HEAD_RANK] = labels->n_taken > 0 && ranked};
    return model->uses[head] ? n[head] : 0;
}
