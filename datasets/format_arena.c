/* Votes between two models, as LMSYS's Chatbot Arena publishes them: {"model_a", "model_b", "winner",
 * "conversation_a", "conversation_b"}, or a table with prompt, response_a, response_b and winner_model_a,
 * winner_model_b, winner_tie. The first answers of both are candidates of one decision, given by both. The
 * vote is feedback of the last answer of each. Where the chats went on, the other model's is a conversation
 * of its own, in which its first answer, a candidate already, is context only. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "datasets/build.h"
#include "datasets/csv.h"
#include "datasets/message.h"

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
    KEEL_TRY(keel__sniff(reader->source, &sniff, err));
    s->table = sniff.shape == KEEL_SHAPE_TABLE;
    if (!s->table) return KEEL_OK;
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    return keel__csv_open(&s->csv, keel_source_name(reader->source), s->text.data, s->text.length, err);
}

static keel_status next_line(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = s->arena};
    size_t line;
    s->row = NULL;
    KEEL_TRY(keel__csv_next(&s->csv, &line, err));
    if (!line) return KEEL_OK;
    s->where = keel__value_format(&build, "%s:%zu", reader->place, line);
    s->row = keel__csv_object(&s->csv, &build);
    return build.failed ? keel_nomem(err, reader->place) : KEEL_OK;
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
    if (cJSON_IsString(text)) /* null: nothing was said */
        keel__value_put(build, list, NULL, keel__build_message(build, role, text->valuestring));
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

static const cJSON *last_answer(const cJSON *list) {
    const cJSON *last = NULL;
    for (const cJSON *message = list->child; message; message = message->next)
        if (keel__message_is_answer(message)) last = message;
    return last;
}

/* The first answers, if what was said before them is the same. */
static void find_joined(state *s) {
    const cJSON *a = s->sides[A].messages->child, *b = s->sides[B].messages->child;
    for (; a && b && !keel__message_is_answer(a) && !keel__message_is_answer(b) && cJSON_Compare(a, b, true);
         a = a->next)
        b = b->next;
    const bool joined = keel__message_is_answer(a) && keel__message_is_answer(b);
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
    static const char *const of_messages[] = {"role", "from", NULL};
    cJSON *made = keel__value_copy(build, message, candidate ? of_messages : NULL);
    const cJSON *value = keel_json_get(message, "value");
    if (candidate && value) keel__value_put_same(build, made, "content", value);
    if (keel__message_is_answer(message)) keel__value_put_text(build, made, "model", from->model);
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

static keel_status give_side(state *s, int which, keel_read *out, keel_err *err) {
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
    keel__value build = {.arena = s->arena};
    const cJSON *id = name_of(s->row);
    cJSON *made = keel__value_object(&build);
    if (id)
        keel__value_put_text(&build, made, "id",
                             keel__value_format(&build, "%s%s", id->valuestring, which == A ? "" : "-b"));
    const cJSON *group = keel_json_get(s->row, "group");
    if (!group && !s->joined[A]) group = name_of(s->row); /* of other prompts, but not independent */
    keel__value_put_same(&build, made, "group", group);
    keel__value_put_same(&build, made, "split", keel_json_get(s->row, "split"));
    keel__value_put(&build, made, "messages", put_messages(s, &build, which));
    keel__value_put(&build, made, "meta", keel__value_copy(&build, s->row, used));
    return keel__build_read(&build, made, NULL, out, err);
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
    KEEL_TRY(give_side(s, which, out, err));
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
