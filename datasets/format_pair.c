/* Preference pairs of TRL, of OpenAI's preference tuning and of tools like them: an answer that was preferred
 * and one that was not, to the same prompt. Both are candidates of one decision, taken as those of hh-rlhf
 * are, with feedback up and down; the file does not say which one a user got. A pair that differs before its
 * last answer is cut at the first answer that differs, and the rest goes into meta. Where the users' messages
 * differ, the pair is two conversations of one group. */
#include <string.h>

#include "datasets/build.h"
#include "datasets/message.h"

enum { EARLY_DIFFERENCE, PROMPTS_DIFFER, SAME_ANSWERS /* counts, as in formats.c */ };

/* The two answers, under the names that tools give to them. */
static const char *const preferred_keys[] = {"chosen", "preferred_output", NULL};
static const char *const other_keys[] = {"rejected", "non_preferred_output", NULL};
static const char *const prompt_keys[] = {
    "prompt", "messages", "conversations", "conversation",  "instruction", "question",
    "query",  "input",    "system",        "system_prompt", NULL};

static const cJSON *first_of(const cJSON *object, const char *const *keys) {
    for (; *keys; keys++) {
        const cJSON *item = keel_json_get(object, *keys);
        if (item && !cJSON_IsNull(item)) return item;
    }
    return NULL;
}

/* ---- lists of messages ---- */

/* A text is one message of the role; a message or a list of messages is taken as it is. */
static keel_status add_said(cJSON *list, const cJSON *said, const char *role, const char *where,
                            keel_err *err) {
    if (cJSON_IsString(said)) {
        return keel__add_message(list, role, said->valuestring) ? KEEL_OK : keel_nomem(err, where);
    }
    if (!cJSON_IsObject(said) && !cJSON_IsArray(said))
        return keel_fail(err, KEEL_E_PARSE, where, "%s: expected a text or a list of messages",
                         said->string ? said->string : role);
    for (const cJSON *item = cJSON_IsArray(said) ? said->child : said; item;
         item = cJSON_IsArray(said) ? item->next : NULL) {
        if (!cJSON_IsObject(item))
            return keel_fail(err, KEEL_E_PARSE, where, "%s: expected a list of messages",
                             said->string ? said->string : role);
        if (!keel_json_add(list, NULL, cJSON_Duplicate(item, true))) return keel_nomem(err, where);
    }
    return KEEL_OK;
}

/* What was said before the answers: a prompt, or messages, or OpenAI's {"input": {"messages": [...]}}. */
static keel_status read_prompt(const cJSON *object, cJSON *list, const char *where, keel_err *err) {
    static const char *const systems[] = {"system", "system_prompt", NULL};
    const cJSON *system = first_of(object, systems), *input = keel_json_get(object, "input");
    if (cJSON_IsString(system) && system->valuestring[0])
        KEEL_TRY(add_said(list, system, "system", where, err));
    const cJSON *inner = keel_json_get(input, "messages");
    if (inner) return add_said(list, inner, "user", where, err);
    const cJSON *prompt = first_of(object, prompt_keys);
    if (!prompt || prompt == system) return KEEL_OK;
    KEEL_TRY(add_said(list, prompt, "user", where, err));
    if (strcmp(prompt->string, "input") != 0 && cJSON_IsString(input) && input->valuestring[0] &&
        !keel__append_text(list->child ? cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1) : NULL,
                           input->valuestring))
        return keel_nomem(err, where);
    return KEEL_OK;
}

static bool begins_like_an_answer(const cJSON *said) {
    const cJSON *first = cJSON_IsArray(said) ? said->child : said;
    const char *name = first && !cJSON_IsString(first) ? keel__message_role_name(first) : NULL;
    keel_role role;
    return !name || !keel__message_role(name, &role) || role == KEEL_ROLE_ASSISTANT || role == KEEL_ROLE_TOOL;
}

/* The whole conversation that ends with this answer. One that begins with a user's message is whole already.
 */
static keel_status read_side(const cJSON *prompt, const cJSON *said, cJSON *list, const char *where,
                             keel_err *err) {
    if (begins_like_an_answer(said)) KEEL_TRY(add_said(list, prompt, "user", where, err));
    KEEL_TRY(add_said(list, said, "assistant", where, err));
    return list->child ? KEEL_OK
                       : keel_fail(err, KEEL_E_PARSE, where, "%s: expected an answer", said->string);
}

/* ---- pairs ---- */

static bool is_answer(const cJSON *message) {
    const char *name = message ? keel__message_role_name(message) : NULL;
    keel_role role;
    return name && keel__message_role(name, &role) && role == KEEL_ROLE_ASSISTANT;
}

static bool ends_with_answer(const cJSON *list) {
    return is_answer(cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1));
}

typedef struct pair {
    cJSON *sides[2]; /* preferred, other: lists of messages */
    cJSON *rest;     /* what goes into meta */
    char group[20];  /* of both, where they are two conversations: */
    bool apart;
} pair;

static void free_pair(pair *p) {
    cJSON_Delete(p->sides[0]);
    cJSON_Delete(p->sides[1]);
    cJSON_Delete(p->rest);
}

static keel_status start(const cJSON *object, const pair *p, const char *where, cJSON **out, keel_err *err) {
    *out = keel__chat_begin(object, where, err);
    if (!*out) return KEEL_E_NOMEM;
    if (p->rest && !keel_json_add(*out, "meta", cJSON_Duplicate(p->rest, true)))
        return keel_nomem(err, where);
    if (p->apart && !cJSON_GetObjectItemCaseSensitive(*out, "group") &&
        !cJSON_AddStringToObject(*out, "group", p->group))
        return keel_nomem(err, where);
    return KEEL_OK;
}

/* The message as a candidate that was given, with feedback. */
static bool add_candidate(cJSON *list, const cJSON *message, double feedback) {
    cJSON *copy = cJSON_Duplicate(message, true);
    if (!copy) return false;
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "role");
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "from");
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "feedback");
    cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(copy, "value");
    if (value && !keel_json_add(copy, "content", value)) return cJSON_Delete(copy), false;
    const bool good =
        cJSON_AddBoolToObject(copy, "taken", true) && cJSON_AddNumberToObject(copy, "feedback", feedback);
    if (!good) return cJSON_Delete(copy), false;
    return keel_json_add(list, NULL, copy);
}

static bool add_rest(cJSON *to, const char *key, const cJSON *from) {
    cJSON *meta = cJSON_GetObjectItemCaseSensitive(to, "meta");
    if (!meta) meta = cJSON_AddObjectToObject(to, "meta");
    cJSON *list = from && meta ? cJSON_AddArrayToObject(meta, key) : NULL;
    for (; list && from; from = from->next)
        if (!keel_json_add(list, NULL, cJSON_Duplicate(from, true))) return false;
    return meta && (!from || list);
}

/* One conversation up to the answers. */
static bool make_pair(cJSON *to, const cJSON *a, const cJSON *b, cJSON *messages, const cJSON *first) {
    for (; first != a; first = first->next)
        if (!keel_json_add(messages, NULL, cJSON_Duplicate(first, true))) return false;
    cJSON *last = cJSON_CreateObject();
    if (!keel_json_add(messages, NULL, last) || !cJSON_AddStringToObject(last, "role", "assistant"))
        return false;
    cJSON *candidates = cJSON_AddArrayToObject(last, "candidates");
    if (!candidates || !add_candidate(candidates, a, 1) || !add_candidate(candidates, b, -1)) return false;
    if (!a->next && !b->next) return true;
    return cJSON_AddBoolToObject(to, "truncated", true) && add_rest(to, "chosen_rest", a->next) &&
           add_rest(to, "rejected_rest", b->next);
}

/* One side as a conversation of its own. feedback 0: none. */
static keel_status make_single(const cJSON *object, const pair *p, int side, const char *suffix,
                               double feedback, const char *where, cJSON **out, keel_err *err) {
    KEEL_TRY(start(object, p, where, out, err));
    cJSON *messages = cJSON_Duplicate(p->sides[side], true);
    if (!keel_json_add(*out, "messages", messages)) return keel_nomem(err, where);
    cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    cJSON_DeleteItemFromObjectCaseSensitive(last, "feedback");
    if (feedback != 0 && is_answer(last) && !cJSON_AddNumberToObject(last, "feedback", feedback))
        return keel_nomem(err, where);
    return keel__chat_suffix_id(*out, suffix, where, err);
}

/* ---- the reader ---- */

/* second: the other half of a pair that is two conversations, and its place; both owned. */
typedef struct state {
    keel__objects objects;
    cJSON *second;
    char *where;
} state;

static keel_status split_pair(keel_reader *reader, const cJSON *object, pair *p, const char *where,
                              cJSON **out, keel_err *err) {
    state *s = reader->state;
    reader->counts[PROMPTS_DIFFER]++;
    p->apart = true;
    keel_free(s->where);
    if (!(s->where = keel_strdup(where))) return keel_nomem(err, where);
    KEEL_TRY(make_single(object, p, 1, "-rejected", -1, where, &s->second, err));
    return make_single(object, p, 0, "-chosen", 1, where, out, err);
}

static keel_status build(keel_reader *reader, const cJSON *object, pair *p, const char *where, cJSON **out,
                         keel_err *err) {
    const cJSON *a = p->sides[0]->child, *b = p->sides[1]->child;
    for (; a && b && cJSON_Compare(a, b, true); a = a->next) b = b->next;
    if (!a && !b) {
        reader->counts[SAME_ANSWERS]++;
        return make_single(object, p, 0, NULL, 0, where, out, err);
    }
    reader->counts[EARLY_DIFFERENCE] += !a || !b || a->next || b->next;
    if (!is_answer(a) || !is_answer(b)) return split_pair(reader, object, p, where, out, err);
    KEEL_TRY(start(object, p, where, out, err));
    cJSON *messages = cJSON_AddArrayToObject(*out, "messages");
    return messages && make_pair(*out, a, b, messages, p->sides[0]->child) ? KEEL_OK : keel_nomem(err, where);
}

static keel_status read_pair(const cJSON *object, pair *p, const char *where, keel_err *err) {
    static const char *const used[] = {"chosen", "preferred_output", "rejected", "non_preferred_output",
                                       NULL};
    const cJSON *said[2] = {first_of(object, preferred_keys), first_of(object, other_keys)};
    if (!said[0] || !said[1])
        return keel_fail(err, KEEL_E_PARSE, where, "key \"%s\": expected an answer, got nothing",
                         said[0] ? "rejected" : "chosen");
    cJSON *prompt = cJSON_CreateArray();
    keel_status status = prompt ? read_prompt(object, prompt, where, err) : keel_nomem(err, where);
    for (int i = 0; status == KEEL_OK && i < 2; i++) {
        p->sides[i] = cJSON_CreateArray();
        status = p->sides[i] ? read_side(prompt, said[i], p->sides[i], where, err) : keel_nomem(err, where);
    }
    cJSON_Delete(prompt);
    KEEL_TRY(status);
    if (!p->sides[0]->child || is_answer(p->sides[0]->child)) {
        keel_fail(err, KEEL_E_PARSE, where, "there is no prompt before \"chosen\" and \"rejected\"");
        return keel_hint(
            err, "give the key \"prompt\", or make both lists of messages that begin with the user's");
    }
    for (int i = 0; i < 2; i++)
        if (!ends_with_answer(p->sides[i]))
            return keel_fail(err, KEEL_E_PARSE, where, "%s: expected an assistant's answer at the end",
                             said[i]->string);
    KEEL_TRY(keel__chat_group(p->sides[0]->child, p->group, err));
    return keel__chat_rest(object, used, prompt_keys, &p->rest, where, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *object = NULL;
    cJSON *built = s->second;
    keel_status status = KEEL_OK;
    if (built) {
        s->second = NULL;
        out->where = keel_arena_strdup(arena, s->where);
        if (!out->where) status = keel_nomem(err, s->where);
    } else {
        pair p = {0};
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &object, &out->where, err));
        if (!object) return KEEL_OK;
        status = read_pair(object, &p, out->where, err);
        if (status == KEEL_OK) status = build(reader, object, &p, out->where, &built, err);
        free_pair(&p);
    }
    return keel__chat_read_built(status, built, arena, NULL, out, err);
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    cJSON_Delete(s->second);
    keel_free(s->where);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE &&
           ((keel_formats_has(sniff, "chosen") && keel_formats_has(sniff, "rejected")) ||
            (keel_formats_has(sniff, "preferred_output") && keel_formats_has(sniff, "non_preferred_output")));
}

const keel_reader_kind keel__pair_reader = {
    .looks_like = looks_like, .state_size = sizeof(state), .next = next, .close = close_state};
