/* Votes between two models, as LMSYS's Chatbot Arena publishes them: {"model_a", "model_b", "winner",
 * "conversation_a", "conversation_b"}, or a table with prompt, response_a, response_b and winner_model_a,
 * winner_model_b, winner_tie. The first answers of both are candidates of one decision, given by both. The
 * vote is feedback of the last answer of each. Where the chats went on, the other model's is a conversation
 * of its own, in which its first answer, a candidate already, is context only. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "datasets/csv.h"
#include "datasets/message.h"
#include "datasets/reader_internal.h"
#include "datasets/value.h"

enum { PROMPTS_DIFFER, MACHINE_VOTES, UNDECIDED /* counts, as in formats.c */ };
enum { A, B };

typedef struct side {
    const char *model;
    const cJSON *messages; /* a list */
    double vote;           /* 1, -1, 0: none */
} side;

typedef struct state {
    keel__objects objects;
    keel_buf text; /* of a table */
    keel__csv csv;
    bool table;
    keel_arena *arena; /* of the call at hand: what is given out lies in it */
    const cJSON *row;
    const char *where;
    keel_buf again, place; /* row and where, while the other model's chat is still to be given */
    side sides[2];
    const cJSON *joined[2]; /* the answers that are candidates of one decision; NULL: there is no such */
    bool second;            /* it is */
} state;

/* ---- rows ---- */

static keel_status open_file(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel_sniff sniff;
    const char *text;
    size_t length;
    KEEL_TRY(keel_source_peek(reader->source, 1 << 16, &text, &length, err));
    keel_formats_sniff(text, length, &sniff);
    s->table = sniff.shape == KEEL_SHAPE_TABLE;
    if (!s->table) return KEEL_OK;
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    return keel__csv_open(&s->csv, keel_source_name(reader->source), s->text.data, s->text.length, err);
}

static keel_status next_line(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = s->arena};
    size_t line;
    char place[400];
    s->row = NULL;
    KEEL_TRY(keel__csv_next(&s->csv, &line, err));
    if (!line) return KEEL_OK;
    snprintf(place, sizeof place, "%s:%zu", keel_source_name(reader->source), line);
    s->where = keel_arena_strdup(s->arena, place);
    cJSON *row = keel__value_object(&build);
    for (size_t i = 0; i < s->csv.n_columns; i++)
        keel__value_put_text(&build, row, s->csv.header[i], keel_arena_strdup(s->arena, s->csv.fields[i]));
    s->row = row;
    return build.failed || !s->where ? keel_nomem(err, place) : KEEL_OK;
}

static keel_status next_row(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    if (s->table) return next_line(reader, err);
    return keel__objects_next(&s->objects, reader->source, s->arena, &s->row, &s->where, err);
}

/* The row once more, for the next call, whose arena is another. */
static keel_status keep_row(state *s, keel_err *err) {
    keel_buf_clear(&s->again);
    keel_buf_clear(&s->place);
    keel_buf_text(&s->place, s->where);
    KEEL_TRY(keel_json_print(s->row, false, &s->again, err));
    return s->place.failed ? keel_nomem(err, s->where) : KEEL_OK;
}

static keel_status same_row(state *s, keel_err *err) {
    s->where = keel_arena_strdup(s->arena, s->place.data);
    if (!s->where) return keel_nomem(err, s->place.data);
    return keel_json_parse_in(s->arena, s->again.data, s->again.length, s->where, &s->row, err);
}

/* ---- what was said ---- */

/* Lists may be texts of JSON. */
static const cJSON *unpack(state *s, const cJSON *value) {
    const cJSON *parsed = NULL;
    if (!cJSON_IsString(value) || value->valuestring[strspn(value->valuestring, " \t\r\n")] != '[')
        return value;
    const keel_status status =
        keel_json_parse_in(s->arena, value->valuestring, strlen(value->valuestring), "", &parsed, NULL);
    return status == KEEL_OK ? parsed : value;
}

static void put_text(keel__value *build, cJSON *list, const char *role, const cJSON *text) {
    if (!cJSON_IsString(text)) return; /* null: nothing was said */
    cJSON *message = keel__value_object(build);
    keel__value_put_text(build, message, "role", role);
    keel__value_put_text(build, message, "content", text->valuestring);
    keel__value_put(build, list, NULL, message);
}

/* Prompts and answers in turn; each is a text or a list of texts. */
static const cJSON *interleave(state *s, keel__value *build, const cJSON *prompt, const cJSON *answer) {
    cJSON *list = keel__value_array(build);
    const cJSON *asked = unpack(s, prompt), *said = unpack(s, answer);
    const bool many = cJSON_IsArray(asked), several = cJSON_IsArray(said);
    if (many) asked = asked->child;
    if (several) said = said->child;
    while (asked || said) {
        put_text(build, list, "user", asked);
        put_text(build, list, "assistant", said);
        asked = asked && many ? asked->next : NULL;
        said = said && several ? said->next : NULL;
    }
    return list;
}

static keel_status read_side(state *s, int which, keel_err *err) {
    static const char *const models[] = {"model_a", "model_b"},
                             *const lists[] = {"conversation_a", "conversation_b"},
                             *const answers[] = {"response_a", "response_b"};
    keel__value build = {.arena = s->arena};
    side *out = &s->sides[which];
    const cJSON *list = unpack(s, keel_json_get(s->row, lists[which])),
                *answer = keel_json_get(s->row, answers[which]);
    *out = (side){.messages = list};
    KEEL_TRY(keel_json_string(s->row, models[which], true, &out->model, s->where, err));
    if (!list && answer) out->messages = interleave(s, &build, keel_json_get(s->row, "prompt"), answer);
    if (build.failed) return keel_nomem(err, s->where);
    if (!cJSON_IsArray(out->messages))
        return keel_fail(err, KEEL_E_PARSE, s->where, "key \"%s\": expected a list of messages",
                         lists[which]);
    return KEEL_OK;
}

static bool is_answer(const cJSON *message) {
    const char *name = message ? keel__message_role_name(message) : NULL;
    keel_role role;
    return name && keel__message_role(name, &role) && role == KEEL_ROLE_ASSISTANT;
}

static const cJSON *last_answer(const cJSON *list) {
    const cJSON *last = NULL;
    for (const cJSON *message = list->child; message; message = message->next)
        if (is_answer(message)) last = message;
    return last;
}

/* The first answers, if what was said before them is the same. */
static void find_joined(state *s) {
    const cJSON *a = s->sides[A].messages->child, *b = s->sides[B].messages->child;
    for (; a && b && !is_answer(a) && !is_answer(b) && cJSON_Compare(a, b, true); a = a->next) b = b->next;
    const bool joined = is_answer(a) && is_answer(b);
    s->joined[A] = joined ? a : NULL;
    s->joined[B] = joined ? b : NULL;
}

/* ---- the vote ---- */

static bool is_set(const cJSON *row, const char *key) {
    const cJSON *item = keel_json_get(row, key);
    return cJSON_IsTrue(item) || (cJSON_IsNumber(item) && item->valuedouble == 1) ||
           (cJSON_IsString(item) &&
            (strcmp(item->valuestring, "1") == 0 || strcasecmp(item->valuestring, "true") == 0));
}

static keel_status read_vote(state *s, int64_t *counts, keel_err *err) {
    static const struct {
        const char *name;
        double a, b;
    } votes[] = {{"model_a", 1, -1},        {"model_b", -1, 1},  {"tie", 0, 0},       {"", 0, 0},
                 {"tie (bothbad)", -1, -1}, {"bothbad", -1, -1}, {"both_bad", -1, -1}};
    enum { N = sizeof votes / sizeof *votes };
    const cJSON *judge = keel_json_get(s->row, "judge");
    const char *winner = NULL;
    size_t i = 0;
    KEEL_TRY(keel_json_string(s->row, "winner", false, &winner, s->where, err));
    if (!winner)
        winner = is_set(s->row, "winner_model_a")   ? "model_a"
                 : is_set(s->row, "winner_model_b") ? "model_b"
                                                    : "";
    while (i < N && strcasecmp(votes[i].name, winner) != 0) i++;
    if (i == N)
        return keel_fail(err, KEEL_E_INVALID, s->where,
                         "winner: expected model_a, model_b, tie or both_bad, got \"%s\"", winner);
    const bool machine =
        cJSON_IsArray(judge) || (cJSON_IsString(judge) && strncasecmp(judge->valuestring, "gpt", 3) == 0);
    counts[MACHINE_VOTES] += machine;
    counts[UNDECIDED] += !machine && votes[i].a == 0;
    s->sides[A].vote = machine ? 0 : votes[i].a;
    s->sides[B].vote = machine ? 0 : votes[i].b;
    return KEEL_OK;
}

/* ---- conversations ---- */

/* The message with its model and, of the last answer, the vote. */
static cJSON *put_message(keel__value *build, const side *from, const cJSON *message, bool candidate) {
    static const char *const of_messages[] = {"role", "from", NULL}, *const none[] = {NULL};
    cJSON *made = keel__value_object(build);
    const cJSON *value = keel_json_get(message, "value");
    keel__value_put_others(build, made, message, candidate ? of_messages : none);
    if (candidate && value) keel__value_put_same(build, made, "content", value);
    if (is_answer(message)) keel__value_put_text(build, made, "model", from->model);
    if (from->vote != 0 && message == last_answer(from->messages))
        keel__value_put(build, made, "feedback", keel__value_number(build, from->vote));
    return made;
}

static cJSON *put_messages(state *s, keel__value *build, int which) {
    const side *from = &s->sides[which];
    cJSON *list = keel__value_array(build);
    for (const cJSON *message = from->messages->child; message; message = message->next) {
        if (!cJSON_IsObject(message)) {
            keel__value_put(build, list, NULL, keel__value_same(build, message));
            continue;
        }
        cJSON *made = put_message(build, from, message, false);
        if (message == s->joined[which] && which == B)
            keel__value_put(build, made, "weight", keel__value_number(build, 0));
        if (message == s->joined[which] && which == A) {
            cJSON *candidates = keel__value_array(build),
                  *other = put_message(build, &s->sides[B], s->joined[B], true);
            keel__value_put(build, other, "taken", keel__value_bool(build, true));
            keel__value_put(build, candidates, NULL, other);
            keel__value_put(build, made, "candidates", candidates);
        }
        keel__value_put(build, list, NULL, made);
    }
    return list;
}

/* A number names the question in some sets, which many rows are about: there the row has no name. */
static const cJSON *name_of(const cJSON *row) {
    const cJSON *id = keel_json_get(row, "question_id");
    if (!cJSON_IsString(id)) id = keel_json_get(row, "id");
    return cJSON_IsString(id) && id->valuestring[0] ? id : NULL;
}

static void put_id(state *s, keel__value *build, cJSON *to, int which) {
    const cJSON *id = name_of(s->row);
    char text[256];
    if (!id) return;
    snprintf(text, sizeof text, "%.240s%s", id->valuestring, which == A ? "" : "-b");
    keel__value_put_text(build, to, "id", keel_arena_strdup(build->arena, text));
}

static keel_status build_side(state *s, int which, keel_arena *arena, keel_conversation *out, keel_err *err) {
    static const char *const used[] = {"conversation_a",
                                       "conversation_b",
                                       "full_conversation",
                                       "prompt",
                                       "response_a",
                                       "response_b",
                                       "group",
                                       "split",
                                       "judge",
                                       "judge_hash",
                                       NULL};
    keel__value build = {.arena = arena};
    cJSON *made = keel__value_object(&build), *meta = keel__value_object(&build);
    put_id(s, &build, made, which);
    const cJSON *group = keel_json_get(s->row, "group");
    if (!group && !s->joined[A]) group = name_of(s->row); /* of other prompts, but not independent */
    keel__value_put_same(&build, made, "group", group);
    keel__value_put_same(&build, made, "split", keel_json_get(s->row, "split"));
    keel__value_put(&build, made, "messages", put_messages(s, &build, which));
    keel__value_put_others(&build, meta, s->row, used);
    keel__value_put(&build, made, "meta", meta);
    if (build.failed) return keel_nomem(err, s->where);
    return keel__chat_read_object(made, s->where, arena, NULL, out, err);
}

static keel_status read_row(state *s, int64_t *counts, keel_err *err) {
    KEEL_TRY(read_side(s, A, err));
    KEEL_TRY(read_side(s, B, err));
    KEEL_TRY(read_vote(s, counts, err));
    find_joined(s);
    counts[PROMPTS_DIFFER] += !s->joined[A];
    return KEEL_OK;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const int which = s->second ? B : A;
    int64_t counted[KEEL_FORMAT_COUNTS] = {0};
    s->arena = arena;
    s->second = false;
    KEEL_TRY(which == A ? next_row(reader, err) : same_row(s, err));
    if (!s->row) return KEEL_OK;
    KEEL_TRY(read_row(s, which == A ? reader->counts : counted, err));
    out->where = s->where;
    out->conversation = keel_arena_calloc(arena, 1, sizeof *out->conversation);
    if (!out->conversation) return keel_nomem(err, s->where);
    KEEL_TRY(build_side(s, which, arena, out->conversation, err));
    s->second = which == A && (!s->joined[B] || s->joined[B]->next);
    return s->second ? keep_row(s, err) : KEEL_OK;
}

static void close_file(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel_buf_free(&s->text);
    keel_buf_free(&s->again);
    keel_buf_free(&s->place);
}

static bool looks_like(const keel_sniff *sniff) {
    return keel_formats_has(sniff, "model_a") && keel_formats_has(sniff, "model_b") &&
           ((keel_formats_has(sniff, "conversation_a") && keel_formats_has(sniff, "conversation_b")) ||
            (keel_formats_has(sniff, "response_a") && keel_formats_has(sniff, "response_b")));
}

const keel_reader_kind keel__arena_reader = {.looks_like = looks_like,
                                             .state_size = sizeof(state),
                                             .open = open_file,
                                             .next = next,
                                             .close = close_file};
