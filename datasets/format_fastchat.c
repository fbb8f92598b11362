/* The log of FastChat's server (LMArena): JSON Lines of events, {"type": "chat", "model", "start", "finish",
 * "state": {"conv_id", "roles", "messages": [[role, text], ...], "offset"}}, votes on the last answer, and
 * votes between two models, {"type": "leftvote", "models", "states"}: their answers are candidates of one
 * decision. */
#include <string.h>

#include "core/hash.h"
#include "datasets/build.h"
#include "datasets/session.h"

enum { NO_ANSWER, OTHER_EVENTS };

/* One message, [role, text] or [role, [text, images]]; NULL: no text. */
static const char *text_of(const cJSON *pair) {
    const cJSON *text = cJSON_IsArray(pair) && pair->child ? pair->child->next : NULL;
    if (cJSON_IsArray(text)) text = text->child;
    return cJSON_IsString(text) ? text->valuestring : NULL;
}

/* History and answer of a state; answers is NULL if nobody answered. */
static keel_status read_state(keel__value *build, const cJSON *state, keel__call *out, keel_err *err) {
    const cJSON *list = NULL, *roles = keel_json_get(state, "roles"),
                *offset = keel_json_get(state, "offset");
    const char *system = keel__string_at(state, "system_message");
    const char *user =
        cJSON_IsArray(roles) && cJSON_IsString(roles->child) ? roles->child->valuestring : NULL;
    KEEL_TRY(keel_json_array(state, "messages", true, &list, out->where, err));
    double skip = cJSON_IsNumber(offset) ? offset->valuedouble : 0;
    out->history = keel__value_array(build);
    out->answers = NULL;
    if (system && *system)
        keel__value_put(build, out->history, NULL, keel__build_message(build, "system", system));
    for (const cJSON *pair = list->child; pair; pair = pair->next) {
        if (skip-- > 0) continue;
        const cJSON *role = cJSON_IsArray(pair) ? pair->child : NULL;
        if (!cJSON_IsString(role))
            return keel_fail(err, KEEL_E_PARSE, out->where, "state: expected messages of a role and a text");
        const bool asks =
            user ? strcmp(role->valuestring, user) == 0 : strcmp(role->valuestring, "USER") == 0;
        const char *text = text_of(pair);
        cJSON *made = text ? keel__build_message(build, asks ? "user" : "assistant", text) : NULL;
        if (!asks && !pair->next && made)
            keel__value_put(build, out->answers = keel__value_array(build), NULL, made);
        if (asks || pair->next) keel__value_put(build, out->history, NULL, made);
    }
    return build->failed ? keel_nomem(err, out->where) : KEEL_OK;
}

/* Without an id, the first thing that was said names the session. */
static const char *name_session(keel__value *build, const cJSON *state, const keel__call *call) {
    const char *id = keel__string_at(state, "conv_id");
    char hex[65];
    keel_sha256 hash;
    if (id && *id) return id;
    keel_sha256_init(&hash);
    for (const cJSON *m = call->history ? call->history->child : NULL; m; m = m->next)
        keel_sha256_add_text(&hash, keel__string_at(m, "content"));
    keel_sha256_hex(&hash, hex);
    return keel_arena_strndup(build->arena, hex, 16);
}

static double number_at(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

typedef struct event {
    const char *session;
    double verdict; /* on the last answer: 1, -1, 0: none */
} event;

static keel_status add_state(keel_reader *reader, const cJSON *object, const cJSON *state, const char *model,
                             event *about, const char *where, keel_err *err) {
    keel__sessions *sessions = reader->state;
    keel__value build = {.arena = &sessions->arena};
    const double start = number_at(object, "start"), finish = number_at(object, "finish");
    keel__call call = {.where = where, .time = number_at(object, "tstamp")};
    if (!cJSON_IsObject(state)) return keel_fail(err, KEEL_E_PARSE, where, "state: expected an object");
    KEEL_TRY(read_state(&build, state, &call, err));
    reader->counts[NO_ANSWER] += !call.answers || !call.history->child;
    if (!call.answers || !call.history->child) return KEEL_OK;
    cJSON *answer = call.answers->child;
    if (!model) model = keel__string_at(state, "model_name");
    keel__value_put_text(&build, answer, "model", model);
    if (start > 0 && finish >= start)
        keel__value_put(&build, answer, "latency_ms", keel__value_number(&build, 1000 * (finish - start)));
    if (about->verdict != 0)
        keel__value_put(&build, answer, "feedback", keel__value_number(&build, about->verdict));
    if (!about->session) about->session = name_session(&build, state, &call);
    const char *other = keel__string_at(state, "conv_id");
    call.session = about->session;
    if (other && *other && about->session && strcmp(other, about->session) != 0)
        KEEL_TRY(keel__sessions_alias(sessions, other, about->session, err));
    if (build.failed || !call.session) return keel_nomem(err, where);
    return keel__sessions_add(sessions, &call, err);
}

/* Two models side by side: the second state belongs to the session of the first. */
static keel_status add_arena(keel_reader *reader, const cJSON *object, const char *type, const char *where,
                             keel_err *err) {
    const cJSON *states = NULL, *models = keel_json_get(object, "models");
    const bool bad = strcmp(type, "bothbad_vote") == 0;
    const int won = (strcmp(type, "leftvote") == 0) - (strcmp(type, "rightvote") == 0);
    const double left = bad ? -1 : won, right = bad ? -1 : -won;
    event about = {.verdict = left};
    KEEL_TRY(keel_json_array(object, "states", true, &states, where, err));
    const cJSON *model = cJSON_IsArray(models) ? models->child : NULL;
    for (const cJSON *state = states->child; state; state = state->next) {
        const char *name = cJSON_IsString(model) && *model->valuestring ? model->valuestring : NULL;
        KEEL_TRY(add_state(reader, object, state, name, &about, where, err));
        about.verdict = right;
        model = model ? model->next : NULL;
    }
    return KEEL_OK;
}

static keel_status read_event(keel_reader *reader, const cJSON *object, const char *where, keel_err *err) {
    const char *type = NULL, *model = keel__string_at(object, "model");
    KEEL_TRY(keel_json_string(object, "type", true, &type, where, err));
    event about = {0};
    if (keel_json_get(object, "states")) return add_arena(reader, object, type, where, err);
    const bool down = strcmp(type, "downvote") == 0 || strcmp(type, "flag") == 0;
    about.verdict = down ? -1 : strcmp(type, "upvote") == 0;
    if (about.verdict != 0 || strcmp(type, "chat") == 0)
        return add_state(reader, object, keel_json_get(object, "state"), model, &about, where, err);
    reader->counts[OTHER_EVENTS]++;
    return KEEL_OK;
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    return keel__sessions_next(reader, read_event, NULL, arena, out, err);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE && keel_formats_has(sniff, "tstamp") &&
           keel_formats_has(sniff, "type") &&
           (keel_formats_has(sniff, "state") || keel_formats_has(sniff, "states"));
}

const keel_reader_kind keel__fastchat_reader = {.looks_like = looks_like,
                                                .state_size = sizeof(keel__sessions),
                                                .next = next,
                                                .close = keel__sessions_close};
