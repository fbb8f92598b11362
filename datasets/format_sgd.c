/* Schema-Guided Dialogue (Rastogi et al. 2020, arXiv 1909.05855): task-oriented conversations with dialogue
 * acts. A conversation is completed when the last notice about each transactional (service, intent) that the
 * user activated is NOTIFY_SUCCESS; one without a transactional intent has no verdict: completed stays
 * unknown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "datasets/reader_internal.h"
#include "datasets/value.h"

enum { MAX_ACTS = 32, MAX_TASKS = 64 };

/* A (service, intent) of the conversation. */
typedef struct task {
    const char *service, *intent;
    bool wanted, done;
} task;

typedef struct dialogue {
    keel_arena *arena;
    const cJSON *schema;
    const char *where;
    keel_err *err;
    task tasks[MAX_TASKS];
    size_t n_tasks;
} dialogue;

/* ---- the schema ---- */

/* log: path of the dialogues, or NULL. */
static keel_status load_schema(const char *log, cJSON **out, keel_err *err) {
    if (!log)
        return keel_fail(
            err, KEEL_E_NOT_FOUND, "schema.json",
            "the dialogues come without a path: give the path of their file, so that schema.json is "
            "found beside it");
    keel_arena arena = {0};
    const char *slash = strrchr(log, '/');
    size_t length = slash ? (size_t)(slash - log) : 1;
    char *folder = keel_arena_strndup(&arena, slash ? log : ".", length);
    char *path = folder ? keel_path_join(&arena, folder, "schema.json") : NULL;
    char *packed = folder ? keel_path_join(&arena, folder, "schema.json.gz") : NULL;
    keel_status status = path && packed ? KEEL_OK : keel_nomem(err, log);
    if (status == KEEL_OK && !keel_file_exists(path)) path = packed;
    if (status == KEEL_OK && !keel_file_exists(path)) {
        status = keel_fail(err, KEEL_E_NOT_FOUND, log, "no schema.json (or schema.json.gz) beside this file");
        keel_hint(err, "the schema says which intents are transactional: put it into the same folder");
    }
    if (status == KEEL_OK) status = keel_json_parse_file(path, out, err);
    if (status == KEEL_OK && !cJSON_IsArray(*out)) {
        status = keel_fail(err, KEEL_E_PARSE, path, "expected an array of services");
        cJSON_Delete(*out);
        *out = NULL;
    }
    keel_arena_free(&arena);
    return status;
}

static const cJSON *find_named(const cJSON *list, const char *key, const char *name) {
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
        if (cJSON_IsString(value) && strcmp(value->valuestring, name) == 0) return item;
    }
    return NULL;
}

static keel_status is_transactional(const dialogue *in, const char *service, const char *intent, bool *out) {
    const cJSON *entry = find_named(in->schema, "service_name", service);
    const cJSON *intents = entry ? cJSON_GetObjectItemCaseSensitive(entry, "intents") : NULL;
    const cJSON *found = find_named(intents, "name", intent);
    if (!found)
        return keel_fail(in->err, KEEL_E_PARSE, in->where, "intent %s of service %s is not in the schema",
                         intent, service);
    return keel_json_bool(found, "is_transactional", true, out, in->where, in->err);
}

/* ---- tasks ---- */

static keel_status find_task(dialogue *in, const char *service, const char *intent, task **out) {
    size_t i = 0;
    while (i < in->n_tasks &&
           (strcmp(in->tasks[i].service, service) != 0 || strcmp(in->tasks[i].intent, intent) != 0))
        i++;
    if (i == MAX_TASKS) return keel_fail(in->err, KEEL_E_PARSE, in->where, "more than %d intents", MAX_TASKS);
    if (i == in->n_tasks) in->tasks[in->n_tasks++] = (task){.service = service, .intent = intent};
    *out = &in->tasks[i];
    return KEEL_OK;
}

/* What the user is after, by the state of the frame. */
static keel_status note_intent(dialogue *in, const cJSON *frame, const char *service) {
    const cJSON *state = NULL;
    const char *intent = NULL;
    bool transactional;
    task *wanted;
    KEEL_TRY(keel_json_object(frame, "state", false, &state, in->where, in->err));
    if (state) KEEL_TRY(keel_json_string(state, "active_intent", false, &intent, in->where, in->err));
    if (!intent || strcmp(intent, "NONE") == 0) return KEEL_OK;
    KEEL_TRY(is_transactional(in, service, intent, &transactional));
    if (!transactional) return KEEL_OK;
    KEEL_TRY(find_task(in, service, intent, &wanted));
    wanted->wanted = true;
    return KEEL_OK;
}

/* What the system says became of it; the call tells which intent it is about. */
static keel_status note_result(dialogue *in, const cJSON *frame, const char *service, bool success) {
    const cJSON *call = NULL;
    const char *method = NULL;
    task *about;
    KEEL_TRY(keel_json_object(frame, "service_call", true, &call, in->where, in->err));
    KEEL_TRY(keel_json_string(call, "method", true, &method, in->where, in->err));
    KEEL_TRY(find_task(in, service, method, &about));
    about->done = success;
    return KEEL_OK;
}

static keel_tri verdict(const dialogue *in) {
    keel_tri completed = KEEL_UNKNOWN;
    for (size_t i = 0; i < in->n_tasks; i++)
        if (in->tasks[i].wanted) completed = in->tasks[i].done && completed != KEEL_NO ? KEEL_YES : KEEL_NO;
    return completed;
}

/* ---- turns ---- */

typedef struct acts {
    const char *names[MAX_ACTS];
    size_t count;
} acts;

/* Keeps the names sorted and distinct. */
static keel_status acts_add(const dialogue *in, acts *set, const char *name) {
    size_t i = 0;
    while (i < set->count && strcmp(set->names[i], name) < 0) i++;
    if (i < set->count && strcmp(set->names[i], name) == 0) return KEEL_OK;
    if (set->count == MAX_ACTS)
        return keel_fail(in->err, KEEL_E_PARSE, in->where, "more than %d acts", MAX_ACTS);
    memmove(&set->names[i + 1], &set->names[i], (set->count - i) * sizeof *set->names);
    set->names[i] = name;
    set->count++;
    return KEEL_OK;
}

/* "INFORM_COUNT+OFFER"; NULL for none. */
static keel_status acts_join(const dialogue *in, const acts *set, const char **out) {
    keel_buf text = {0};
    *out = NULL;
    if (!set->count) return KEEL_OK;
    for (size_t i = 0; i < set->count; i++) {
        if (i) keel_buf_text(&text, "+");
        keel_buf_text(&text, set->names[i]);
    }
    if (!text.failed) *out = keel_arena_strndup(in->arena, text.data, text.length);
    keel_buf_free(&text);
    return *out ? KEEL_OK : keel_nomem(in->err, in->where);
}

static keel_status read_frame(dialogue *in, const cJSON *frame, bool user, acts *set) {
    const char *service = NULL;
    const cJSON *actions = NULL;
    KEEL_TRY(keel_json_string(frame, "service", true, &service, in->where, in->err));
    KEEL_TRY(keel_json_array(frame, "actions", true, &actions, in->where, in->err));
    if (user) KEEL_TRY(note_intent(in, frame, service));
    for (const cJSON *action = actions->child; action; action = action->next) {
        const char *act = NULL;
        KEEL_TRY(keel_json_string(action, "act", true, &act, in->where, in->err));
        KEEL_TRY(acts_add(in, set, act));
        bool success = strcmp(act, "NOTIFY_SUCCESS") == 0;
        if (!user && (success || strcmp(act, "NOTIFY_FAILURE") == 0))
            KEEL_TRY(note_result(in, frame, service, success));
    }
    return KEEL_OK;
}

static keel_status read_turn(dialogue *in, const cJSON *turn, keel_turn *out) {
    const char *speaker = NULL;
    const cJSON *frames = NULL;
    acts set = {.count = 0};
    *out = (keel_turn){0};
    KEEL_TRY(keel_json_string(turn, "speaker", true, &speaker, in->where, in->err));
    KEEL_TRY(keel_json_string(turn, "utterance", true, &out->text, in->where, in->err));
    KEEL_TRY(keel_json_array(turn, "frames", true, &frames, in->where, in->err));
    bool user = strcmp(speaker, "USER") == 0;
    if (!user && strcmp(speaker, "SYSTEM") != 0)
        return keel_fail(in->err, KEEL_E_PARSE, in->where, "speaker: expected USER or SYSTEM, got \"%s\"",
                         speaker);
    out->role = user ? KEEL_ROLE_USER : KEEL_ROLE_ASSISTANT;
    for (const cJSON *frame = frames->child; frame; frame = frame->next)
        KEEL_TRY(read_frame(in, frame, user, &set));
    return acts_join(in, &set, &out->act);
}

/* ---- conversations ---- */

static keel_status keep_services(const dialogue *in, const cJSON *object, const char **meta) {
    const cJSON *services = keel_json_get(object, "services");
    keel__value build = {.arena = in->arena};
    cJSON *kept = keel__value_object(&build);
    if (services) keel__value_put(&build, kept, "services", keel__value_same(&build, services));
    if (build.failed) return keel_nomem(in->err, in->where);
    return keel__print_value(in->arena, kept, in->where, meta, in->err);
}

/* Ids repeat between train and dev, so the folder's name is part of them. */
static keel_status name_dialogue(const dialogue *in, const char *folder, const char *id,
                                 keel_conversation *out) {
    out->external_id = folder[0] ? keel_path_join(in->arena, folder, id) : keel_arena_strdup(in->arena, id);
    if (!out->external_id) return keel_nomem(in->err, in->where);
    out->group = out->external_id; /* first utterances are few, and alike by design */
    static const char *const splits[] = {"train", "dev", "test"};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        if (strcmp(folder, splits[i]) == 0) out->split = splits[i];
    return KEEL_OK;
}

static keel_status read_dialogue(dialogue *in, const cJSON *object, keel_conversation *out) {
    const cJSON *turns = NULL;
    KEEL_TRY(keel_json_array(object, "turns", true, &turns, in->where, in->err));
    size_t count = (size_t)cJSON_GetArraySize(turns);
    out->turns = keel_arena_calloc(in->arena, count, sizeof *out->turns);
    out->decisions = keel_arena_calloc(in->arena, count, sizeof *out->decisions);
    if (!out->turns || !out->decisions) return keel_nomem(in->err, in->where);
    for (const cJSON *turn = turns->child; turn; turn = turn->next)
        KEEL_TRY(read_turn(in, turn, &out->turns[out->n_turns++]));
    out->n_decisions = keel__decide_turns(in->arena, out->turns, out->n_turns, out->decisions);
    if (out->n_decisions == SIZE_MAX) return keel_nomem(in->err, in->where);
    out->completed = verdict(in);
    return keep_services(in, object, &out->meta);
}

/* ---- the reader ---- */

typedef struct state {
    keel__objects objects;
    cJSON *schema;
} state;

static keel_status open_schema(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    s->objects.array_of = "dialogues";
    return load_schema(keel_source_path(reader->source), &s->schema, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *object = NULL;
    const char *id = NULL;
    char where[480];
    dialogue in = {.arena = arena, .schema = s->schema, .where = where, .err = err};
    KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &object, &out->where, err));
    if (!object) return KEEL_OK;
    KEEL_TRY(keel_json_string(object, "dialogue_id", true, &id, out->where, err));
    snprintf(where, sizeof where, "%s: dialogue %s", keel_source_name(reader->source), id);
    out->where = keel_arena_strdup(arena, where);
    out->conversation = keel_arena_alloc(arena, sizeof *out->conversation);
    if (!out->conversation || !out->where) return keel_nomem(err, where);
    *out->conversation = (keel_conversation){.risk = KEEL_RISK_BENIGN};
    KEEL_TRY(name_dialogue(&in, reader->folder, id, out->conversation));
    return read_dialogue(&in, object, out->conversation);
}

static void close_state(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    cJSON_Delete(s->schema);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape == KEEL_SHAPE_ARRAY && keel_formats_has(sniff, "dialogue_id") &&
           keel_formats_has(sniff, "turns");
}

const keel_reader_kind keel__sgd_reader = {.looks_like = looks_like,
                                           .state_size = sizeof(state),
                                           .open = open_schema,
                                           .next = next,
                                           .close = close_state};
