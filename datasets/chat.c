/* Reading the chat format. Keys that it does not know go into meta. */
#include "datasets/chat.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "core/hash.h"
#include "core/text.h"
#include "datasets/chat_internal.h"
#include "datasets/value.h"

const char *const keel__chat_conversation_keys[] = {
    "id",        "messages", "risk",   "completed", "split",         "group",        "meta",
    "truncated", "keel",     "system", "response",  "conversations", "conversation", NULL};
const char *const keel__chat_message_keys[] = {"content",    "role",       "latency_ms", "model",  "act",
                                               "propensity", "candidates", "feedback",   "reward", "outcome",
                                               "judge",      "from",       "value",      NULL};
const char *const keel__chat_candidate_keys[] = {"content",    "model", "act",    "propensity",
                                                 "outcome",    "judge", "reward", "feedback",
                                                 "latency_ms", "taken", NULL};

/* ---- meta ---- */

static keel_status fail_twice(const keel__chat *in, const char *key) {
    return keel_fail(in->err, KEEL_E_INVALID, in->place,
                     "\"%s\" stands both in the conversation and in its meta", key);
}

/* Copies the keys that are not known into `into`; one that is there already would be lost, and is refused.
 * Many are looked through at the end. */
static keel_status keep_unknown(keel__chat *in, const cJSON *object, const char *const *known, cJSON *into) {
    enum { FEW = 32 };
    const bool many = cJSON_GetArraySize(object) > FEW;
    const char *twice = NULL;
    for (const cJSON *item = object->child; item; item = item->next) {
        if (keel__is_among(item->string, known)) continue;
        if (!many && keel_json_get(into, item->string)) return fail_twice(in, item->string);
        if (!keel_json_add(into, item->string, cJSON_Duplicate(item, true)))
            return keel_nomem(in->err, in->where);
    }
    if (many && !keel_json_twice(into, &twice)) return keel_nomem(in->err, in->where);
    return twice ? fail_twice(in, twice) : KEEL_OK;
}

static bool has_unknown(const cJSON *object, const char *const *known) {
    for (const cJSON *item = object->child; item; item = item->next)
        if (!keel__is_among(item->string, known)) return true;
    return false;
}

/* Unknown keys of a message go to meta.messages as {"turn": i, ...}; of a candidate as {"turn": i,
 * "candidate": k, ...}, k counting the decision's candidates as they came, the message itself first. */
static keel_status keep_message_extra(keel__chat *in, const cJSON *object, const char *const *known,
                                      size_t turn, int candidate) {
    if (!has_unknown(object, known)) return KEEL_OK;
    cJSON *list = cJSON_GetObjectItemCaseSensitive(in->extra, "messages");
    if (!list) list = cJSON_AddArrayToObject(in->extra, "messages");
    if (list && !cJSON_IsArray(list))
        return keel_fail(in->err, KEEL_E_INVALID, in->place,
                         "meta.messages: this key is kept for unknown keys of messages");
    cJSON *entry = cJSON_CreateObject();
    if (!list || !entry || !cJSON_AddItemToArray(list, entry)) {
        cJSON_Delete(entry);
        return keel_nomem(in->err, in->where);
    }
    if (!cJSON_AddNumberToObject(entry, "turn", (double)turn)) return keel_nomem(in->err, in->where);
    if (candidate >= 0 && !cJSON_AddNumberToObject(entry, "candidate", candidate))
        return keel_nomem(in->err, in->where);
    return keep_unknown(in, object, known, entry);
}

/* ---- candidates ---- */

/* *place: which of the decision's candidates it is now. */
static keel_status add_candidate(keel__chat *in, keel_decision *decision, const keel_candidate *candidate,
                                 int *place) {
    size_t i = in->listed ? decision->n_candidates : 0;
    while (i < decision->n_candidates && !keel__chat_same_response(&decision->candidates[i], candidate)) i++;
    *place = (int)i;
    if (i < decision->n_candidates) return keel__chat_join(in, &decision->candidates[i], candidate);
    decision->candidates[decision->n_candidates++] = *candidate;
    return KEEL_OK;
}

static keel_status fail_many(const keel__chat *in, const char *key) {
    return keel_fail(in->err, KEEL_E_INVALID, in->place, "%s: more than %d answers to one message", key,
                     KEEL__MOST_ANSWERS);
}

/* said: the message as a taken candidate, first of its decision; NULL if the decision is still open, or
 * lists all of its candidates. */
static keel_status read_decision(keel__chat *in, const cJSON *message, size_t turn,
                                 const keel_candidate *said) {
    const cJSON *list = NULL;
    int index = 0, place;
    bool whole;
    keel_decision *decision = &in->out->decisions[in->out->n_decisions++];
    KEEL_TRY(keel_json_array(message, "candidates", false, &list, in->place, in->err));
    size_t room = (list ? (size_t)cJSON_GetArraySize(list) : 0) + 1;
    if (room > KEEL__MOST_ANSWERS) return fail_many(in, "candidates");
    *decision = (keel_decision){.turn = turn,
                                .candidates = keel_arena_calloc(in->arena, room, sizeof(keel_candidate))};
    if (!decision->candidates) return keel_nomem(in->err, in->where);
    if (said) decision->candidates[decision->n_candidates++] = *said;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next, index++) {
        keel_candidate candidate;
        KEEL_TRY(keel__chat_candidate(in, item, index, &candidate, &whole));
        KEEL_TRY(add_candidate(in, decision, &candidate, &place));
        if (cJSON_IsObject(item))
            KEEL_TRY(keep_message_extra(in, item, keel__chat_candidate_keys + !whole, turn, place));
    }
    return KEEL_OK;
}

/* ---- messages ---- */

static const char *const judged_keys[] = {"propensity", "candidates", "feedback", "reward", "outcome"};

/* Only an assistant chooses, so only its messages can be judged or have other candidates. Where decisions are
 * listed, the judgements stand at their candidates. */
static keel_status check_not_judged(keel__chat *in, const cJSON *message, keel_role role, bool decides) {
    for (size_t i = 0; i < sizeof judged_keys / sizeof *judged_keys; i++) {
        const bool allowed = decides && (!in->listed || strcmp(judged_keys[i], "candidates") == 0);
        if (allowed || !keel__chat_has(message, judged_keys[i])) continue;
        if (in->listed)
            return keel_fail(in->err, KEEL_E_INVALID, in->place, "%s: not where keel.decisions %s",
                             judged_keys[i], decides ? "lists this message" : "leaves this message out");
        return keel_fail(in->err, KEEL_E_INVALID, in->place,
                         "%s: only an assistant's message has it, this is the %s's", judged_keys[i],
                         keel_role_name(role));
    }
    return KEEL_OK;
}

/* Whether the message at this turn is a decision. */
static bool decides_here(keel__chat *in, size_t turn, keel_role role) {
    if (!in->listed) return role == KEEL_ROLE_ASSISTANT;
    if (!in->next_listed || in->next_listed->valuedouble != (double)turn) return false;
    in->next_listed = in->next_listed->next;
    return true;
}

static void add_turn(keel__chat *in, keel_role role, const keel_candidate *said) {
    in->out->turns[in->out->n_turns++] = (keel_turn){.role = role,
                                                     .text = said->text,
                                                     .model = said->model,
                                                     .act = said->act,
                                                     .latency_ms = said->latency_ms};
}

/* An answer that was marked with weight 0 stands in the log as context: nobody should learn from it. */
static bool is_context(const cJSON *message) {
    const cJSON *weight = keel_json_get(message, "weight");
    return cJSON_IsNumber(weight) && weight->valuedouble == 0;
}

/* Turn and, for an assistant, decision. A message without content but with candidates is a decision never
 * taken. */
static keel_status read_message(keel__chat *in, const cJSON *message, bool last) {
    keel_candidate said = {.taken = true};
    keel__message read;
    KEEL_TRY(keel__message_read(message, in->place, in->arena, &read, in->err));
    said.text = read.text;
    if (read.results) {
        add_turn(in, KEEL_ROLE_TOOL, &(keel_candidate){.text = read.results});
        if (!read.text)
            return keep_message_extra(in, message, keel__chat_message_keys + !read.whole,
                                      in->out->n_turns - 1, -1);
    }
    const size_t turn = in->out->n_turns;
    bool decides = decides_here(in, turn, read.role);
    KEEL_TRY(check_not_judged(in, message, read.role, decides));
    KEEL_TRY(keel__chat_judgements(in, message, &said));
    keel__chat_judge_by_service(in, &read, &said);
    KEEL_TRY(keep_message_extra(in, message, keel__chat_message_keys + !read.whole, turn, -1));
    bool silent = !said.text && !said.act;
    if (silent && !keel__chat_has(message, "candidates"))
        return keel_fail(in->err, KEEL_E_PARSE, in->place, "content: expected a text, got nothing");
    if (silent && !last)
        return keel_fail(
            in->err, KEEL_E_INVALID, in->place,
            "content: missing, though the conversation goes on: only the last message may be undecided");
    if (silent) return read_decision(in, message, turn, NULL);
    if (!said.text) said.text = "";
    add_turn(in, read.role, &said);
    if (read.cut_off && last) in->out->truncated = true;
    keel__chat_count(in, KEEL__CHAT_CUT_OFF, read.cut_off);
    if (decides && !in->listed && is_context(message)) {
        keel__chat_count(in, KEEL__CHAT_CONTEXT, true);
        decides = false;
    }
    return decides ? read_decision(in, message, turn, in->listed ? NULL : &said) : KEEL_OK;
}

/* A conversation that ends with someone waiting for an answer has one more decision, still open. */
static void add_open_decision(keel_conversation *out) {
    bool decided = out->n_decisions > 0 && out->decisions[out->n_decisions - 1].turn == out->n_turns;
    if (decided || out->n_turns == 0) return;
    keel_role role = out->turns[out->n_turns - 1].role;
    if (role == KEEL_ROLE_USER || role == KEEL_ROLE_TOOL)
        out->decisions[out->n_decisions++] = (keel_decision){.turn = out->n_turns};
}

/* "system" beside the messages, as Anthropic's requests have it: said before all else. */
static keel_status read_system(keel__chat *in, const cJSON *object, const cJSON *first) {
    keel_role role = KEEL_ROLE_USER;
    const cJSON *system = keel_json_get(object, "system");
    const char *name = first ? keel__message_role_name(first) : NULL;
    if (!cJSON_IsString(system) && !cJSON_IsArray(system)) return KEEL_OK;
    if (name && keel__message_role(name, &role) && role == KEEL_ROLE_SYSTEM) return KEEL_OK;
    cJSON *message = cJSON_CreateObject();
    keel__message said = {0};
    bool made = message && keel_json_add(message, "content", cJSON_Duplicate(system, true));
    keel_status status = made ? keel__message_content(message, in->place, in->arena, &said, in->err)
                              : keel_nomem(in->err, in->where);
    cJSON_Delete(message);
    if (status == KEEL_OK && said.text) add_turn(in, KEEL_ROLE_SYSTEM, &(keel_candidate){.text = said.text});
    return status;
}

/* One answer of a reply: a text, a message, or {"message", "finish_reason"} as a choice has it. */
static keel_status read_choice(keel__chat *in, const cJSON *choice, keel__message *said) {
    const cJSON *message = keel_json_get(choice, "message");
    *said = (keel__message){.text = cJSON_IsString(choice) ? choice->valuestring : NULL};
    if (!cJSON_IsObject(choice)) return KEEL_OK;
    KEEL_TRY(keel__message_content(message ? message : choice, in->place, in->arena, said, in->err));
    if (message) keel__message_ended_in(choice, said);
    if (!said->text && message && said->cut_off) said->text = "";
    return KEEL_OK;
}

/* What the service sent in place of an answer: what its filter says, or an error, or nothing at all. */
static bool is_failure(const cJSON *response, bool *filtered) {
    const char *code = keel__string_at(keel_json_get(response, "error"), "code");
    const bool blocked = keel_json_get(keel_json_get(response, "promptFeedback"), "blockReason") != NULL;
    const bool said = keel__chat_has(response, "choices") || keel__chat_has(response, "candidates") ||
                      keel__chat_has(response, "content");
    *filtered = blocked || (code && strcmp(code, "content_filter") == 0);
    return cJSON_IsObject(response) && !said &&
           (!response->child || blocked || keel__chat_has(response, "error"));
}

/* The answers of a reply: OpenAI's choices, Gemini's candidates; NULL: it is one answer. */
static const cJSON *choices_of(const cJSON *response) {
    const cJSON *choices = keel_json_get(response, "choices");
    if (!choices) choices = keel_json_get(response, "candidates");
    return cJSON_IsArray(choices) ? choices : NULL;
}

static keel_status add_answer(keel__chat *in, keel_decision *decision, const cJSON *choice,
                              const char *model) {
    keel_candidate one = {.model = model, .taken = decision->n_candidates == 0};
    keel__message said = {0};
    if (choice)
        KEEL_TRY(read_choice(in, choice, &said));
    else
        said.refused = true;
    one.text = said.text;
    keel__chat_judge_by_service(in, &said, &one);
    if (!one.text)
        return keel_fail(in->err, KEEL_E_PARSE, in->place,
                         "expected an answer: a text, a message, or a reply with choices");
    if (one.taken) in->out->truncated = in->out->truncated || said.cut_off;
    keel__chat_count(in, KEEL__CHAT_CUT_OFF, said.cut_off);
    decision->candidates[decision->n_candidates++] = one;
    return KEEL_OK;
}

/* "response" beside the messages: the answer, as a text, a message, or the reply of a service with its
 * choices. Several choices are candidates of one decision; the first was given. A reply that is an error is
 * no answer, but for the error of a filter, which refused. */
static keel_status read_response(keel__chat *in, const cJSON *object) {
    const cJSON *response = keel_json_get(object, "response"), *choices = choices_of(response);
    const cJSON *choice = choices ? choices->child : response;
    const char *model = NULL;
    bool filtered = false;
    if (!response || cJSON_IsNull(response) || !choice) return KEEL_OK;
    const bool failed = is_failure(response, &filtered);
    if (failed && !filtered) return KEEL_OK;
    snprintf(in->place, sizeof in->place, "%s: response", in->where);
    if (cJSON_IsObject(response)) KEEL_TRY(keel__chat_text(in, response, "model", &model));
    keel_decision *decision = &in->out->decisions[in->out->n_decisions];
    *decision = (keel_decision){.turn = in->out->n_turns};
    const size_t room = choices && !failed ? (size_t)cJSON_GetArraySize(choices) : 1;
    if (room > KEEL__MOST_ANSWERS) return fail_many(in, "choices");
    decision->candidates = keel_arena_calloc(in->arena, room, sizeof *decision->candidates);
    if (!decision->candidates) return keel_nomem(in->err, in->where);
    if (failed) choice = NULL;
    do {
        KEEL_TRY(add_answer(in, decision, choice, model));
        choice = choice && choices ? choice->next : NULL;
    } while (choice);
    in->out->n_decisions++;
    add_turn(in, KEEL_ROLE_ASSISTANT, &decision->candidates[0]);
    return KEEL_OK;
}

/* The messages of the object, under the names that tools give to the list. */
static const cJSON *find_messages(const cJSON *object) {
    static const char *const names[] = {"messages", "conversations", "conversation"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cJSON *list = keel_json_get(object, names[i]);
        if (list && !cJSON_IsNull(list)) return list;
    }
    return NULL;
}

static keel_status read_messages(keel__chat *in, const cJSON *object) {
    const cJSON *list = find_messages(object);
    if (!cJSON_IsArray(list)) {
        keel_fail(in->err, KEEL_E_PARSE, in->where, "key \"%s\": expected an array, got %s",
                  list ? list->string : "messages",
                  !list                  ? "nothing"
                  : cJSON_IsString(list) ? "a string"
                                         : "something else");
        if (cJSON_IsString(list))
            return keel_hint(in->err,
                             "if the text is JSON: jq -c '.%s |= fromjson' FILE | keel import --store FILE -",
                             list->string);
        return keel_hint(in->err, "a conversation is {\"messages\": [{\"role\": \"user\", \"content\": "
                                  "\"...\"}, {\"role\": \"assistant\", ...}, ...]}");
    }
    size_t count = (size_t)cJSON_GetArraySize(list), index = 0;
    if (!count && !in->listed)
        return keel_fail(in->err, KEEL_E_PARSE, in->where, "messages: expected at least one message");
    in->out->turns = keel_arena_calloc(in->arena, 2 * count + 2, sizeof *in->out->turns);
    in->out->decisions = keel_arena_calloc(in->arena, count + 2, sizeof *in->out->decisions);
    if (!in->out->turns || !in->out->decisions) return keel_nomem(in->err, in->where);
    KEEL_TRY(read_system(in, object, list->child));
    for (const cJSON *message = list->child; message; message = message->next, index++) {
        snprintf(in->place, sizeof in->place, "%s: messages[%zu]", in->where, index);
        if (!cJSON_IsObject(message))
            return keel_fail(in->err, KEEL_E_PARSE, in->place, "expected an object");
        KEEL_TRY(read_message(in, message, !message->next));
    }
    if (!in->listed) KEEL_TRY(read_response(in, object));
    snprintf(in->place, sizeof in->place, "%s", in->where);
    if (in->next_listed)
        return keel_fail(in->err, KEEL_E_INVALID, in->where,
                         "keel.decisions: expected numbers of messages in ascending order");
    if (!in->listed) add_open_decision(in->out);
    return KEEL_OK;
}

/* ---- conversations ---- */

/* The log's own id, a text or a whole number; without one, a hash of the content. */
static keel_status read_id(keel__chat *in, const cJSON *object, const char **out) {
    const cJSON *id = keel_json_get(object, "id");
    if (cJSON_IsString(id)) return keel__chat_text(in, object, "id", out);
    const char *text;
    char name[65];
    if (cJSON_IsNumber(id) && id->valuestring) { /* whole, with more digits than a double holds */
        *out = id->valuestring;
        return KEEL_OK;
    }
    if (cJSON_IsNumber(id) && floor(id->valuedouble) == id->valuedouble && fabs(id->valuedouble) < 1e15) {
        snprintf(name, sizeof name, "%.0f", id->valuedouble);
    } else if (id && !cJSON_IsNull(id)) {
        return keel_fail(in->err, KEEL_E_PARSE, in->place, "id: expected a text or a whole number");
    } else {
        keel_sha256 hash;
        KEEL_TRY(keel__print_value(in->arena, object, in->where, &text, in->err));
        keel_sha256_init(&hash);
        keel_sha256_add_text(&hash, text);
        keel_sha256_hex(&hash, name);
        name[16] = '\0';
    }
    *out = keel_arena_strdup(in->arena, name);
    return *out ? KEEL_OK : keel_nomem(in->err, in->where);
}

/* What only an export of Keel says: the source of the conversation, and its decisions where they are not what
 * the messages imply. */
static keel_status read_keel(keel__chat *in, const cJSON *object) {
    const cJSON *said = NULL, *list = NULL;
    KEEL_TRY(keel_json_object(object, "keel", false, &said, in->place, in->err));
    if (!said) return KEEL_OK;
    KEEL_TRY(keel_json_string(said, "source", false, &in->out->source, in->place, in->err));
    if (in->out->source && !in->out->source[0])
        return keel_fail(in->err, KEEL_E_INVALID, in->place, "keel.source: expected a name, got \"\"");
    KEEL_TRY(keel_json_array(said, "decisions", false, &list, in->place, in->err));
    in->listed = list != NULL;
    in->next_listed = list ? list->child : NULL;
    return KEEL_OK;
}

static keel_status read_facts(keel__chat *in, const cJSON *object) {
    keel_conversation *out = in->out;
    const char *risk = NULL;
    bool completed = false;
    KEEL_TRY(read_id(in, object, &out->external_id));
    if (!out->external_id[0])
        return keel_fail(in->err, KEEL_E_INVALID, in->place, "id: expected a text, got \"\"");
    KEEL_TRY(keel__chat_text(in, object, "split", &out->split));
    KEEL_TRY(keel__chat_text(in, object, "group", &out->group));
    KEEL_TRY(keel_json_string(object, "risk", false, &risk, in->place, in->err));
    if (risk && !keel_risk_parse(keel__chat_lower(in, risk), &out->risk)) {
        keel_fail(in->err, KEEL_E_INVALID, in->place,
                  "risk: expected benign, dangerous or unknown, got \"%s\"", risk);
        return keel_hint(in->err, "call what is unsafe or harmful dangerous, what is safe benign");
    }
    KEEL_TRY(keel_json_bool(object, "completed", false, &completed, in->place, in->err));
    out->completed = !keel__chat_has(object, "completed") ? KEEL_UNKNOWN : completed ? KEEL_YES : KEEL_NO;
    return keel_json_bool(object, "truncated", false, &out->truncated, in->place, in->err);
}

/* Keys that mean something, but not where they stand. */
static bool has_misplaced(const cJSON *object) {
    static const char *const of_message[] = {"reward", "latency_ms", "feedback", "outcome", "propensity"};
    static const char *const of_conversation[] = {"risk", "completed"};
    const cJSON *list = find_messages(object);
    bool found = false;
    for (size_t i = 0; i < sizeof of_message / sizeof *of_message; i++)
        found = found || keel__chat_has(object, of_message[i]);
    for (const cJSON *message = list ? list->child : NULL; message; message = message->next)
        for (size_t i = 0; i < sizeof of_conversation / sizeof *of_conversation; i++)
            found = found || keel__chat_has(message, of_conversation[i]);
    return found;
}

static bool is_answered(const keel_conversation *c) {
    for (size_t d = 0; d < c->n_decisions; d++)
        if (c->decisions[d].n_candidates) return true;
    return false;
}

static keel_status read_conversation(keel__chat *in, const cJSON *object) {
    const cJSON *meta = NULL;
    KEEL_TRY(read_facts(in, object));
    KEEL_TRY(read_keel(in, object));
    KEEL_TRY(keel_json_object(object, "meta", false, &meta, in->place, in->err));
    in->extra = meta ? cJSON_Duplicate(meta, true) : cJSON_CreateObject();
    if (!in->extra) return keel_nomem(in->err, in->where);
    KEEL_TRY(keep_unknown(in, object, keel__chat_conversation_keys, in->extra));
    KEEL_TRY(read_messages(in, object));
    keel__chat_count(in, KEEL__CHAT_MISPLACED, has_misplaced(object));
    keel__chat_count(in, KEEL__CHAT_UNANSWERED, !is_answered(in->out));
    return keel__print_value(in->arena, in->extra, in->where, &in->out->meta, in->err);
}

keel_status keel__chat_read_object(const cJSON *object, const char *where, keel_arena *arena, int64_t *counts,
                                   keel_conversation *out, keel_err *err) {
    keel__chat in = {.arena = arena, .where = where, .err = err, .out = out, .counts = counts};
    *out = (keel_conversation){0};
    snprintf(in.place, sizeof in.place, "%s", where);
    KEEL_TRY(keel__chat_plain(object, where, arena, &object, err));
    keel_status status = read_conversation(&in, object);
    cJSON_Delete(in.extra);
    return status;
}

keel_status keel_chat_read(const char *text, size_t length, const char *where, keel_arena *arena,
                           keel_conversation *out, keel_err *err) {
    const cJSON *object;
    KEEL_TRY(keel_json_parse_in(arena, text, length, where, &object, err));
    if (!cJSON_IsObject(object)) return keel_fail(err, KEEL_E_PARSE, where, "expected a JSON object");
    KEEL_TRY(keel__chat_read_object(object, where, arena, NULL, out, err));
    if (!out->source) out->source = keel_formats[0].name;
    return KEEL_OK;
}
