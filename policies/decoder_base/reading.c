#include "policies/decoder_base/reading.h"

#include <stdio.h>
#include <string.h>

#include "policies/transformer/llama_text.h"

/* ---- what people said, made harmless ---- */

static size_t special_at(const keel_decoder_base *model, const char *text) {
    for (size_t i = 0; i < model->n_special; i++) {
        const size_t n = strlen(model->special[i]);
        if (strncmp(text, model->special[i], n) == 0) return n;
    }
    return 0;
}

/* The text; a special token in it with a zero-width space behind its first character, which no longer is one.
 */
static const char *take_apart(const keel_decoder_base *model, const char *text, keel_arena *arena) {
    static const char between[] = "\xE2\x80\x8B";
    size_t found = 0;
    for (const char *at = text; *at; at++) found += special_at(model, at) > 0;
    if (found == 0) return text;
    char *out = keel_arena_alloc(arena, strlen(text) + found * strlen(between) + 1), *to = out;
    for (const char *at = text; out && *at; at++) {
        const bool special = special_at(model, at) > 0;
        do *to++ = *at;
        while (((unsigned char)at[1] & 0xC0) == 0x80 && *++at);
        if (special) to = (char *)memcpy(to, between, strlen(between)) + strlen(between);
    }
    if (out) *to = 0;
    return out;
}

/* ---- the dialogue as messages ---- */

/* A system's turn in the midst of a dialogue is no message of its own. */
static bool is_skipped(const keel_conversation *conversation, size_t turn) {
    return conversation->turns[turn].role == KEEL_ROLE_SYSTEM && turn > 0;
}

/* Turns [from, to) but for skipped ones, a line each. */
static const char *join_turns(const keel_conversation *conversation, size_t from, size_t to,
                              keel_arena *arena) {
    size_t length = 1;
    for (size_t t = from; t < to; t++) length += strlen(conversation->turns[t].text) + 1;
    char *text = keel_arena_calloc(arena, length, 1), *at = text;
    for (size_t t = from; text && t < to; t++)
        if (!is_skipped(conversation, t))
            at += sprintf(at, "%s%s", at > text ? "\n" : "", conversation->turns[t].text);
    return text;
}

/* Adds what was said before as messages. Templates want a user's first and roles in turn: turns of one role
 * in a row are one message, and a dialogue that nobody began, or the assistant, begins with an empty one. */
static bool add_turns(const keel_decoder_base *model, const keel_conversation *conversation, size_t from,
                      size_t to, cJSON *messages, keel_arena *arena) {
    bool good = true, begun = false;
    for (size_t t = from, next; good && t < to; t = next) {
        const keel_role role = conversation->turns[t].role;
        for (next = t + 1; next < to; next++)
            if (conversation->turns[next].role != role && !is_skipped(conversation, next)) break;
        if (is_skipped(conversation, t)) {
            next = t + 1;
            continue;
        }
        const char *text = join_turns(conversation, t, next, arena),
                   *harmless = text ? take_apart(model, text, arena) : NULL;
        if (!begun && role == KEEL_ROLE_ASSISTANT) good = keel_llama_add_message(messages, "user", "");
        good = good && harmless && keel_llama_add_message(messages, keel_role_name(role), harmless);
        begun = true;
    }
    return good && (begun || keel_llama_add_message(messages, "user", ""));
}

static keel_status read_from(const keel_decoder_base *model, const keel_conversation *conversation,
                             size_t from, size_t turn, const char *instruction, keel_arena *arena,
                             keel_tokens *out, keel_err *err) {
    const keel_turn *first = conversation->turns;
    const bool has_system = turn > 0 && first->role == KEEL_ROLE_SYSTEM;
    const char *told = has_system ? take_apart(model, first->text, arena) : NULL, *text;
    cJSON *messages = cJSON_CreateArray();
    bool good = messages && (!has_system || told);
    if (good && instruction && told) {
        const size_t size = strlen(told) + strlen(instruction) + 3;
        char *both = keel_arena_alloc(arena, size);
        if (both) snprintf(both, size, "%s\n\n%s", told, instruction);
        told = both;
        good = both != NULL;
    } else if (instruction) {
        told = instruction;
    }
    if (good && told) good = keel_llama_add_message(messages, "system", told);
    if (good)
        good = add_turns(model, conversation, from > has_system ? from : has_system, turn, messages, arena);
    const keel_chat_request request = keel_llama_request(model->llama, messages, true);
    keel_status status = good ? keel_chat_template_render(model->llama->chat, &request, arena, &text, err)
                              : keel_nomem(err, "decoder base");
    cJSON_Delete(messages);
    return status == KEEL_OK ? keel_llama_read_text(model->llama, text, true, arena, out, err) : status;
}

/* What went wrong, of which conversation. */
static keel_status blame(const keel_conversation *conversation, keel_status status, keel_err *err) {
    const keel_err inner = err ? *err : (keel_err){0};
    char where[sizeof inner.where];
    if (status == KEEL_OK || status == KEEL_E_NOMEM || status == KEEL_E_INTERRUPTED || !err) return status;
    snprintf(where, sizeof where, "conversation %s",
             conversation->external_id ? conversation->external_id : "without a name");
    keel_fail(err, status, where, "%s%s%s", inner.where, inner.where[0] ? ": " : "", inner.message);
    return keel_hint(
        err, "%s", inner.hint[0] ? inner.hint : "keel verify --base DIR says what its chat template refuses");
}

/* The first user turn after `turn`; the decision's own if there is none. */
static size_t next_user(const keel_conversation *conversation, size_t turn, size_t end) {
    do turn++;
    while (turn < end && conversation->turns[turn].role != KEEL_ROLE_USER);
    return turn;
}

static size_t window_of(const keel_decoder_base *model) {
    const size_t most = model->llama->config.positions - model->llama->n_virtual,
                 wanted = (size_t)model->config.state_tokens,
                 answer = (size_t)model->config.candidate_tokens + model->ending.count + model->longest_name;
    const size_t left = most > answer + 1 ? most - answer : 1;
    return wanted < left ? wanted : left;
}

/* Tokens are cut from the front, but the first one stays, which some models read everything after. */
static void keep_end(keel_tokens *tokens, size_t room) {
    int32_t *id = tokens->id + (tokens->count - room);
    id[0] = tokens->id[0];
    *tokens = (keel_tokens){room, id};
}

keel_status keel__decoder_prompt(const keel_decoder_base *model, const keel_conversation *conversation,
                                 size_t turn, const char *instruction, keel_arena *arena,
                                 keel_decoder_prompt *out, keel_err *err) {
    const size_t room = window_of(model);
    size_t from = 0;
    *out = (keel_decoder_prompt){0};
    for (;;) {
        KEEL_TRY(blame(conversation,
                       read_from(model, conversation, from, turn, instruction, arena, &out->tokens, err),
                       err));
        if (out->tokens.count <= room) break;
        const size_t next = next_user(conversation, from, turn);
        if (next >= turn) {
            keep_end(&out->tokens, room);
            out->cut = true;
            break;
        }
        out->turns_cut += next - from;
        from = next;
    }
    if (out->tokens.count > 0) return KEEL_OK;
    return blame(conversation, keel_fail(err, KEEL_E_INVALID, NULL, "the chat template writes nothing"), err);
}

/* ---- responses ---- */

keel_status keel__decoder_response(const keel_decoder_base *model, const char *text, keel_arena *arena,
                                   keel_tokens *out, size_t *cut, keel_err *err) {
    const size_t most = (size_t)model->config.candidate_tokens;
    const char *harmless = take_apart(model, text ? text : "", arena);
    keel_tokens own;
    if (!harmless) return keel_nomem(err, "decoder base");
    KEEL_TRY(keel_tokenizer_encode(model->llama->tokenizer, harmless, true, arena, &own, err));
    *cut = own.count > most ? own.count - most : 0;
    const size_t ending = *cut ? 0 : model->ending.count, kept = own.count - *cut;
    *out = (keel_tokens){kept + ending, keel_arena_alloc(arena, (kept + ending + 1) * sizeof *out->id)};
    if (!out->id) return keel_nomem(err, "decoder base");
    if (kept > 0) memcpy(out->id, own.id, kept * sizeof *out->id);
    if (ending > 0) memcpy(out->id + kept, model->ending.id, ending * sizeof *out->id);
    return KEEL_OK;
}

static const char *words_of(const keel_candidate *candidate) {
    return candidate->text && candidate->text[0] ? candidate->text : candidate->act ? candidate->act : "";
}

static keel_status name_tokens(const keel_decoder_base *model, size_t action, keel_arena *arena,
                               keel_tokens *out, keel_err *err) {
    const char *name = model->base.acts[action];
    char *line = keel_arena_alloc(arena, strlen(name) + 2);
    if (!line) return keel_nomem(err, "decoder base");
    sprintf(line, "%s\n", name);
    return keel_tokenizer_encode(model->llama->tokenizer, line, false, arena, out, err);
}

keel_status keel__decoder_action(const keel_decoder_base *model, const keel_decision *decision, size_t action,
                                 keel_arena *arena, keel_tokens *out, size_t *cut, keel_err *err) {
    const keel_base *base = &model->base;
    *cut = 0;
    if (base->space != KEEL_SPACE_CANDIDATES) return name_tokens(model, action, arena, out, err);
    const keel_candidate *candidate = action < decision->n_candidates
                                          ? &decision->candidates[action]
                                          : &base->fixed[action - decision->n_candidates];
    return keel__decoder_response(model, words_of(candidate), arena, out, cut, err);
}

keel_status keel__decoder_lesson(const keel_decoder_base *model, const keel_candidate *candidate,
                                 keel_arena *arena, keel_tokens *out, size_t *cut, keel_err *err) {
    const bool sets = model->base.space == KEEL_SPACE_CANDIDATES;
    const int32_t action = sets ? 0 : keel_base_action_index(&model->base, candidate);
    const char *text = sets ? words_of(candidate) : candidate->text ? candidate->text : "";
    keel_tokens name = {0}, said;
    *cut = 0;
    *out = (keel_tokens){0};
    if (action < 0 || (sets && !text[0])) return KEEL_OK;
    if (!sets) KEEL_TRY(name_tokens(model, (size_t)action, arena, &name, err));
    KEEL_TRY(keel__decoder_response(model, text, arena, &said, cut, err));
    if (sets) {
        *out = said;
        return KEEL_OK;
    }
    *out = (keel_tokens){name.count + said.count,
                         keel_arena_alloc(arena, (name.count + said.count + 1) * sizeof *out->id)};
    if (!out->id) return keel_nomem(err, "decoder base");
    memcpy(out->id, name.id, name.count * sizeof *out->id);
    memcpy(out->id + name.count, said.id, said.count * sizeof *out->id);
    return KEEL_OK;
}
