/* Preference pairs of TRL, of OpenAI's preference tuning and of tools like them: an answer that was preferred
 * and one that was not, to the same prompt. Both are candidates of one decision, taken as those of hh-rlhf
 * are, with feedback up and down; the file does not say which one a user got. A pair that differs before its
 * last answer is cut at the first answer that differs, and the rest goes into meta. Where the users' messages
 * differ, the pair is two conversations of one group. */
#include <string.h>

#include "core/hash.h"
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

/* What was said before the answers: a prompt, or messages, or OpenAI's {"input": {"messages": [...]}}. */
static keel_status read_prompt(keel__value *build, const cJSON *object, cJSON *list, const char *where,
                               keel_err *err) {
    static const char *const systems[] = {"system", "system_prompt", NULL};
    const cJSON *system = first_of(object, systems), *input = keel_json_get(object, "input");
    if (cJSON_IsString(system) && system->valuestring[0])
        KEEL_TRY(keel__build_said(build, list, system, "system", where, err));
    const cJSON *inner = keel_json_get(input, "messages");
    if (inner) return keel__build_said(build, list, inner, "user", where, err);
    const cJSON *prompt = first_of(object, prompt_keys);
    if (!prompt || prompt == system) return KEEL_OK;
    KEEL_TRY(keel__build_said(build, list, prompt, "user", where, err));
    if (strcmp(prompt->string, "input") != 0 && cJSON_IsString(input) && input->valuestring[0])
        keel__build_append(build, list, input->valuestring);
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
static keel_status read_side(keel__value *build, const cJSON *prompt, const cJSON *said, cJSON *list,
                             const char *where, keel_err *err) {
    if (begins_like_an_answer(said)) KEEL_TRY(keel__build_said(build, list, prompt, "user", where, err));
    KEEL_TRY(keel__build_said(build, list, said, "assistant", where, err));
    return !list || list->child ? KEEL_OK
                                : keel_fail(err, KEEL_E_PARSE, where, "%s: expected an answer", said->string);
}

/* ---- pairs ---- */

/* The state of the reader: the pair at hand, whose second half the next call gives where it is two
 * conversations. */
typedef struct state {
    keel__objects objects;
    keel_buf again; /* the row, while its other half is still to be given */
    char *where;    /* its place; owned */
} state;

typedef struct pair {
    keel__value build;
    const cJSON *object;
    cJSON *sides[2]; /* preferred, other: lists of messages */
    bool apart;      /* two conversations of one group */
} pair;

/* Variants of one prompt stay together: the group is a hash of what the user said first. */
static const char *group_of(pair *p, keel_err *err) {
    const cJSON *first = p->sides[0]->child;
    for (; first->next; first = first->next) {
        const char *role = keel__string_at(first, "role");
        if (!role || strcmp(role, "system") != 0) break;
    }
    const cJSON *said = keel_json_get(first, "content");
    if (!said) said = keel_json_get(first, "value");
    keel_buf text = {0};
    keel_sha256 hash;
    char hex[65];
    if (said && !cJSON_IsString(said) && keel_json_print(said, false, &text, err) != KEEL_OK) {
        keel_buf_free(&text);
        return NULL;
    }
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, cJSON_IsString(said) ? said->valuestring : text.data);
    keel_sha256_hex(&hash, hex);
    keel_buf_free(&text);
    return keel__value_format(&p->build, "%.16s", hex);
}

static keel_status begin(pair *p, const char *where, cJSON **out, keel_err *err) {
    static const char *const used[] = {"chosen", "preferred_output", "rejected", "non_preferred_output",
                                       NULL};
    *out = keel__value_object(&p->build);
    keel__build_facts(&p->build, *out, p->object);
    keel__value_put(&p->build, *out, "meta", keel__build_rest(&p->build, p->object, used, prompt_keys));
    if (!p->apart || keel_json_get(*out, "group")) return KEEL_OK;
    const char *group = group_of(p, err);
    keel__value_put_text(&p->build, *out, "group", group);
    return group ? KEEL_OK : keel_nomem(err, where);
}

/* The message as a candidate that was given, with feedback. */
static void add_candidate(keel__value *build, cJSON *list, const cJSON *message, double feedback) {
    static const char *const not_of_candidates[] = {"role", "from", "feedback", "value", NULL};
    cJSON *made = keel__value_copy(build, message, not_of_candidates);
    if (!keel_json_get(made, "content"))
        keel__value_put_same(build, made, "content", keel_json_get(message, "value"));
    keel__value_put(build, made, "taken", keel__value_bool(build, true));
    keel__value_put(build, made, "feedback", keel__value_number(build, feedback));
    keel__value_put(build, list, NULL, made);
}

static void add_rest(keel__value *build, cJSON *meta, const char *key, const cJSON *from) {
    cJSON *list = from ? keel__value_array(build) : NULL;
    for (; from; from = from->next) keel__value_put(build, list, NULL, keel__value_same(build, from));
    keel__value_put(build, meta, key, list);
}

/* One conversation up to the answers a and b. */
static keel_status make_pair(pair *p, const cJSON *a, const cJSON *b, const char *where, cJSON **out,
                             keel_err *err) {
    keel__value *build = &p->build;
    cJSON *messages = keel__value_array(build), *last = keel__value_object(build),
          *candidates = keel__value_array(build);
    KEEL_TRY(begin(p, where, out, err));
    for (const cJSON *said = p->sides[0]->child; said != a; said = said->next)
        keel__value_put(build, messages, NULL, keel__value_same(build, said));
    add_candidate(build, candidates, a, 1);
    add_candidate(build, candidates, b, -1);
    keel__value_put_text(build, last, "role", "assistant");
    keel__value_put(build, last, "candidates", candidates);
    keel__value_put(build, messages, NULL, last);
    keel__value_put(build, *out, "messages", messages);
    if (!a->next && !b->next) return KEEL_OK;
    cJSON_DetachItemFromObjectCaseSensitive(*out, "truncated");
    keel__value_put(build, *out, "truncated", keel__value_bool(build, true));
    cJSON *meta = cJSON_GetObjectItemCaseSensitive(*out, "meta");
    if (!meta) keel__value_put(build, *out, "meta", meta = keel__value_object(build));
    add_rest(build, meta, "chosen_rest", a->next);
    add_rest(build, meta, "rejected_rest", b->next);
    return KEEL_OK;
}

/* One side as a conversation of its own. feedback 0: none. */
static keel_status make_single(pair *p, int side, const char *suffix, double feedback, const char *where,
                               cJSON **out, keel_err *err) {
    KEEL_TRY(begin(p, where, out, err));
    cJSON *last = keel__build_last(p->sides[side]);
    cJSON_DetachItemFromObjectCaseSensitive(last, "feedback");
    if (feedback != 0 && keel__message_is_answer(last))
        keel__value_put(&p->build, last, "feedback", keel__value_number(&p->build, feedback));
    keel__value_put(&p->build, *out, "messages", p->sides[side]);
    if (suffix) keel__build_suffix(&p->build, *out, suffix);
    return KEEL_OK;
}

/* ---- the reader ---- */

static keel_status read_pair(pair *p, const char *where, keel_err *err) {
    const cJSON *said[2] = {first_of(p->object, preferred_keys), first_of(p->object, other_keys)};
    if (!said[0] || !said[1])
        return keel_fail(err, KEEL_E_PARSE, where, "key \"%s\": expected an answer, got nothing",
                         said[0] ? "rejected" : "chosen");
    cJSON *prompt = keel__value_array(&p->build);
    KEEL_TRY(read_prompt(&p->build, p->object, prompt, where, err));
    for (int i = 0; i < 2; i++) {
        p->sides[i] = keel__value_array(&p->build);
        KEEL_TRY(read_side(&p->build, prompt, said[i], p->sides[i], where, err));
    }
    if (p->build.failed) return keel_nomem(err, where);
    if (!p->sides[0]->child || keel__message_is_answer(p->sides[0]->child)) {
        keel_fail(err, KEEL_E_PARSE, where, "there is no prompt before \"chosen\" and \"rejected\"");
        return keel_hint(
            err, "give the key \"prompt\", or make both lists of messages that begin with the user's");
    }
    for (int i = 0; i < 2; i++)
        if (!keel__message_is_answer(keel__build_last(p->sides[i])))
            return keel_fail(err, KEEL_E_PARSE, where, "%s: expected an assistant's answer at the end",
                             said[i]->string);
    return KEEL_OK;
}

/* Keeps the row for the second call. */
static keel_status keep_row(state *s, const pair *p, const char *where, keel_err *err) {
    keel_buf_clear(&s->again);
    KEEL_TRY(keel_json_print(p->object, false, &s->again, err));
    s->where = keel_strdup(where);
    return s->where ? KEEL_OK : keel_nomem(err, where);
}

/* What a pair becomes; of one that is two conversations the first. */
static keel_status build(keel_reader *reader, pair *p, const char *where, cJSON **out, keel_err *err) {
    const cJSON *a = p->sides[0]->child, *b = p->sides[1]->child;
    for (; a && b && cJSON_Compare(a, b, true); a = a->next) b = b->next;
    if (!a && !b) {
        reader->counts[SAME_ANSWERS]++;
        return make_single(p, 0, NULL, 0, where, out, err);
    }
    reader->counts[EARLY_DIFFERENCE] += !a || !b || a->next || b->next;
    if (keel__message_is_answer(a) && keel__message_is_answer(b)) return make_pair(p, a, b, where, out, err);
    reader->counts[PROMPTS_DIFFER]++;
    p->apart = true;
    KEEL_TRY(keep_row(reader->state, p, where, err));
    return make_single(p, 0, "-chosen", 1, where, out, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    pair p = {.build = {.arena = arena}, .apart = s->where != NULL};
    cJSON *built = NULL;
    if (!p.apart) {
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &p.object, &out->where, err));
        if (!p.object) return KEEL_OK;
        KEEL_TRY(read_pair(&p, out->where, err));
        KEEL_TRY(build(reader, &p, out->where, &built, err));
        return keel__build_read(&p.build, built, NULL, out, err);
    }
    out->where = keel__value_format(&p.build, "%s", s->where);
    keel_free(s->where);
    s->where = NULL;
    if (!out->where) return keel_nomem(err, reader->place);
    KEEL_TRY(keel_json_parse_in(arena, s->again.data, s->again.length, out->where, &p.object, err));
    KEEL_TRY(read_pair(&p, out->where, err));
    KEEL_TRY(make_single(&p, 1, "-rejected", -1, out->where, &built, err));
    return keel__build_read(&p.build, built, NULL, out, err);
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel_buf_free(&s->again);
    keel_free(s->where);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE &&
           ((keel_formats_has(sniff, "chosen") && keel_formats_has(sniff, "rejected")) ||
            (keel_formats_has(sniff, "preferred_output") && keel_formats_has(sniff, "non_preferred_output")));
}

const keel_reader_kind keel__pair_reader = {
    .looks_like = looks_like, .state_size = sizeof(state), .next = next, .close = close_state};
