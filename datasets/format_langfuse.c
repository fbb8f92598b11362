/* Langfuse's exports: JSON Lines or an array of observations, {"id", "trace_id", "type": "GENERATION",
 * "input", "output", "start_time", "end_time", ...}, of traces, {"id", "input", "output", "latency",
 * "scores"}, and of scores, {"name", "value", "trace_id", "observation_id"}, in one file or, as the export to
 * a storage of files has them, in files beside each other: a file of scores gives the conversations that they
 * are about. A conversation is a session, or else a trace. Scores that people gave are feedback. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/file.h"
#include "core/hash.h"
#include "datasets/build.h"
#include "datasets/message.h"
#include "datasets/session.h"

enum { OTHER_OBSERVATIONS, WITHOUT_ANSWER, SCORES_UNUSED };

typedef struct score {
    const char *names[3]; /* of observation, trace, session; NULL: none */
    double verdict;
} score;

typedef struct state {
    keel__sessions sessions;
    score *scores;
    size_t n_scores, scores_capacity;
    bool beside; /* the source has scores alone: what they are about was read from the files beside it */
} state;

/* Exports write trace_id, the interface traceId. */
static const cJSON *get(const cJSON *object, const char *snake, const char *camel) {
    const cJSON *item = keel_json_get(object, snake);
    return item ? item : keel_json_get(object, camel);
}

static const char *text_at(const cJSON *object, const char *snake, const char *camel) {
    const cJSON *item = get(object, snake, camel);
    return cJSON_IsString(item) && item->valuestring[0] ? item->valuestring : NULL;
}

/* ---- scores ---- */

/* 1, -1 or between; 0: no verdict of people. */
static double read_verdict(const cJSON *item) {
    const char *type = text_at(item, "data_type", "dataType"), *source = keel__string_at(item, "source");
    const char *word = text_at(item, "string_value", "stringValue");
    const cJSON *value = keel_json_get(item, "value");
    if (source && strcmp(source, "EVAL") == 0) return 0;
    if (!word && cJSON_IsString(value)) word = value->valuestring;
    if (word && (strcmp(word, "up") == 0 || strcmp(word, "True") == 0 || strcmp(word, "true") == 0)) return 1;
    if (word && (strcmp(word, "down") == 0 || strcmp(word, "False") == 0 || strcmp(word, "false") == 0))
        return -1;
    if (cJSON_IsBool(value)) return cJSON_IsTrue(value) ? 1 : -1;
    if (!cJSON_IsNumber(value) || value->valuedouble < -1 || value->valuedouble > 1) return 0;
    return type && strcmp(type, "BOOLEAN") == 0 && value->valuedouble == 0 ? -1 : value->valuedouble;
}

static keel_status add_score(keel_reader *reader, const cJSON *object, const char *where, keel_err *err) {
    state *s = reader->state;
    const score made = {.names = {text_at(object, "observation_id", "observationId"),
                                  text_at(object, "trace_id", "traceId"),
                                  text_at(object, "session_id", "sessionId")},
                        .verdict = read_verdict(object)};
    if (!keel_arena_grow(&s->sessions.arena, &s->scores, s->n_scores, &s->scores_capacity, sizeof *s->scores))
        return keel_nomem(err, where);
    s->scores[s->n_scores++] = made;
    return KEEL_OK;
}

/* ---- observations ---- */

/* A message as it is (with the role, if it has none), or one that says the value. */
static cJSON *to_message(keel__value *build, const char *role, const cJSON *value) {
    static const char *const keys[] = {"content", "text",     "output", "answer",
                                       "query",   "question", "input",  NULL};
    const char *named = keel__message_role_name(value);
    const bool has_role = named != NULL, parts = cJSON_IsArray(keel_json_get(value, "content"));
    if (cJSON_IsString(value)) return keel__build_message(build, role, value->valuestring);
    if (!cJSON_IsObject(value)) return NULL;
    if (has_role || parts || keel_json_get(value, "tool_calls")) {
        cJSON *made = keel__value_copy(build, value, NULL);
        if (!has_role) keel__value_put_text(build, made, "role", role);
        return made;
    }
    for (size_t i = 0; keys[i]; i++)
        if (keel__string_at(value, keys[i]))
            return keel__build_message(build, role, keel__string_at(value, keys[i]));
    return NULL;
}

/* Messages of an input or output; NULL: there are none. */
static cJSON *to_messages(state *s, const char *role, const cJSON *value) {
    keel__value build = {.arena = &s->sessions.arena};
    value = keel__sessions_unpack(&s->sessions, value);
    const cJSON *inner = keel_json_get(value, "messages"), *choices = keel_json_get(value, "choices");
    const cJSON *list = cJSON_IsArray(inner) ? inner : cJSON_IsArray(choices) ? choices : value;
    const cJSON *one = cJSON_IsArray(list) ? list->child : list;
    cJSON *made = keel__value_array(&build);
    const char *system = list == inner ? keel__string_at(value, "system") : NULL;
    if (system) keel__value_put(&build, made, NULL, keel__build_message(&build, "system", system));
    for (; one; one = cJSON_IsArray(list) ? one->next : NULL) {
        const cJSON *message = keel_json_get(one, "message");
        cJSON *said = to_message(&build, role, message ? message : one);
        if (message && !keel_json_get(said, "finish_reason"))
            keel__value_put_same(&build, said, "finish_reason", keel_json_get(one, "finish_reason"));
        keel__value_put(&build, made, NULL, said);
    }
    return made && made->child && !build.failed ? made : NULL;
}

/* Where the output holds what others said too, as the state of a graph does, its last message is the answer;
 * what stands before is the history, or goes on from it. */
static void split_state(keel__value *build, keel__call *call) {
    const cJSON *last = keel__build_last(call->answers), *first = last ? call->answers->child : NULL;
    bool others = false;
    for (const cJSON *said = first; said; said = said->next)
        others = others || !keel__message_is_answer(said);
    if (!others || !keel__message_is_answer(last)) return;
    const bool again =
        cJSON_Compare(keel_json_get(first, "content"), keel_json_get(call->history->child, "content"), true);
    cJSON *history = keel__value_array(build), *answers = keel__value_array(build);
    for (const cJSON *said = again ? NULL : call->history->child; said; said = said->next)
        keel__value_put(build, history, NULL, keel__value_same(build, said));
    for (const cJSON *said = first; said != last; said = said->next)
        keel__value_put(build, history, NULL, keel__value_same(build, said));
    keel__value_put(build, answers, NULL, keel__value_copy(build, last, NULL));
    if (build->failed) return;
    call->history = history;
    call->answers = answers;
}

/* Milliseconds; below 0: not known. */
static double latency_of(const cJSON *object) {
    double begin, end;
    const cJSON *seconds = keel_json_get(object, "latency");
    if (keel__iso_seconds(text_at(object, "start_time", "startTime"), &begin) &&
        keel__iso_seconds(text_at(object, "end_time", "endTime"), &end) && end >= begin)
        return floor(1000 * (end - begin) + 0.5);
    return cJSON_IsNumber(seconds) ? 1000 * seconds->valuedouble : -1;
}

static const char *hash_user(keel_arena *arena, const char *user) {
    char hex[65];
    keel_sha256 hash;
    if (!user) return NULL;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, user);
    keel_sha256_hex(&hash, hex);
    return keel_arena_strndup(arena, hex, 16);
}

static cJSON *make_meta(keel__value *build, const cJSON *object) {
    static const char *const kept[] = {"name",     "trace_name", "tags", "environment",
                                       "metadata", "scores",     "level"};
    cJSON *meta = keel__value_object(build);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        keel__value_put_same(build, meta, kept[i], keel_json_get(object, kept[i]));
    return meta;
}

/* Whether the item is the column of a score: a list of numbers or words under its name. */
static bool is_score_column(const cJSON *item) {
    static const char *const others[] = {"input", "output", "tags", "toolCallNames", "tool_call_names", NULL};
    if (!cJSON_IsArray(item) || !item->child || keel__is_among(item->string, others)) return false;
    for (const cJSON *value = item->child; value; value = value->next)
        if (!cJSON_IsNumber(value) && !cJSON_IsString(value)) return false;
    return true;
}

/* The interface exports a column for each name of a score, and does not say who gave it: what is called after
 * users or humans is theirs. All are kept in meta. */
static void use_columns(keel_reader *reader, keel__value *build, const cJSON *object, cJSON *answer,
                        cJSON *meta) {
    cJSON *columns = NULL;
    for (const cJSON *item = object->child; item; item = item->next) {
        if (!is_score_column(item)) continue;
        cJSON *made = keel__value_object(build);
        const bool people =
            strncasecmp(item->string, "user", 4) == 0 || strncasecmp(item->string, "human", 5) == 0;
        if (!columns) keel__value_put(build, meta, "score_columns", columns = keel__value_object(build));
        keel__value_put_same(build, columns, item->string, item);
        keel__value_put_same(build, made, "value", item->child->prev); /* the last */
        const double verdict = people ? read_verdict(made) : 0;
        const bool used = verdict != 0 && !keel_json_get(answer, "feedback");
        if (used) keel__value_put(build, answer, "feedback", keel__value_number(build, verdict));
        reader->counts[SCORES_UNUSED] += !used;
    }
}

static keel_status name_answer(state *s, const cJSON *object, const keel__call *call, keel_err *err) {
    const char *names[] = {keel__string_at(object, "id"), text_at(object, "trace_id", "traceId"),
                           text_at(object, "session_id", "sessionId")};
    for (int k = 0; k < 3; k++) KEEL_TRY(keel__sessions_name(&s->sessions, names[k], call, err));
    return KEEL_OK;
}

static keel_status add_call(keel_reader *reader, const cJSON *object, const char *where, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = &s->sessions.arena};
    const char *session = text_at(object, "session_id", "sessionId"),
               *trace = text_at(object, "trace_id", "traceId");
    const char *model = text_at(object, "provided_model_name", "providedModelName");
    const cJSON *scores = keel_json_get(object, "scores");
    const double latency = latency_of(object);
    keel__call call = {.where = where};
    (void)keel__iso_seconds(text_at(object, "start_time", "startTime"), &call.time);
    call.history = to_messages(s, "user", keel_json_get(object, "input"));
    call.answers = to_messages(s, "assistant", keel_json_get(object, "output"));
    reader->counts[WITHOUT_ANSWER] += !call.history || !call.answers;
    if (!call.history || !call.answers) return KEEL_OK;
    split_state(&build, &call);
    cJSON *answer = call.answers->child;
    if (!model) model = keel__string_at(object, "model");
    if (!keel_json_get(answer, "model")) keel__value_put_text(&build, answer, "model", model);
    if (latency >= 0) keel__value_put(&build, answer, "latency_ms", keel__value_number(&build, latency));
    for (const cJSON *one = cJSON_IsArray(scores) ? scores->child : NULL; one; one = one->next)
        if (read_verdict(one) != 0 && !keel_json_get(answer, "feedback"))
            keel__value_put(&build, answer, "feedback", keel__value_number(&build, read_verdict(one)));
    if (!session) session = trace ? trace : keel__string_at(object, "id");
    if (!session) return keel_fail(err, KEEL_E_PARSE, where, "expected session_id, trace_id or id");
    call.session = session;
    call.group = hash_user(build.arena, text_at(object, "user_id", "userId"));
    cJSON *meta = make_meta(&build, object);
    use_columns(reader, &build, object, answer, meta);
    call.meta = meta;
    if (build.failed) return keel_nomem(err, where);
    KEEL_TRY(keel__sessions_add(&s->sessions, &call, err));
    return name_answer(s, object, &call, err);
}

static bool is_score(const cJSON *object) {
    return keel_json_get(object, "value") &&
           (get(object, "trace_id", "traceId") || get(object, "session_id", "sessionId"));
}

static bool is_generation(const cJSON *object) {
    const char *type = keel__string_at(object, "type");
    return !type || strcmp(type, "GENERATION") == 0;
}

static keel_status read_object(keel_reader *reader, const cJSON *object, const char *where, keel_err *err) {
    if (is_score(object)) return add_score(reader, object, where, err);
    if (is_generation(object)) return add_call(reader, object, where, err);
    reader->counts[OTHER_OBSERVATIONS]++;
    return KEEL_OK;
}

/* ---- files beside ---- */

typedef struct paths {
    const char **names;
    size_t count, capacity;
} paths;

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* By name, files of the folder that are logs by their names, but not the one called `not`. A folder that is
 * not there has none. */
static keel_status list_files(state *s, const char *folder, const char * not, paths *out, keel_err *err) {
    keel_arena *arena = &s->sessions.arena;
    const size_t before = out->count;
    DIR *entries = opendir(folder);
    keel_status status = KEEL_OK;
    for (struct dirent *entry; entries && status == KEEL_OK && (entry = readdir(entries));) {
        if (!keel_formats_plausible(entry->d_name) || (not &&strcmp(entry->d_name, not ) == 0)) continue;
        const char *path = keel_path_join(arena, folder, entry->d_name);
        if (!path || !keel_arena_grow(arena, &out->names, out->count, &out->capacity, sizeof *out->names))
            status = keel_nomem(err, folder);
        else
            out->names[out->count++] = path;
    }
    if (entries) closedir(entries);
    if (out->count > before)
        qsort(out->names + before, out->count - before, sizeof *out->names, compare_names);
    return status;
}

/* Exports have the folders observations_v2/ (or observations/, traces/) and scores/ beside each other, with
 * files of the same names for the same time. */
static keel_status list_beside(state *s, const char *path, paths *out, keel_err *err) {
    static const char *const folders[] = {"../observations_v2", "../observations", "../traces"};
    keel_arena *arena = &s->sessions.arena;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *folder = keel_arena_strndup(arena, slash ? path : ".", slash ? (size_t)(slash - path) : 1);
    if (!folder) return keel_nomem(err, path);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *other = keel_path_join(arena, folder, folders[i]);
        if (!other) return keel_nomem(err, path);
        KEEL_TRY(list_files(s, other, NULL, out, err));
    }
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(strrchr(out->names[i], '/') + 1, name) == 0) {
            const char *same = out->names[i];
            out->names[i] = out->names[0];
            out->names[0] = same;
        }
    return list_files(s, folder, name, out, err);
}

/* Observations of a file; what is no log of Langfuse is passed over. */
static keel_status read_file(keel_reader *reader, const char *path, keel_err *err) {
    state *s = reader->state;
    keel__objects objects = {0};
    keel_source *source = NULL;
    const keel_format *format = NULL;
    const cJSON *object = NULL;
    const char *where = NULL;
    KEEL_TRY(keel_source_open(&source, path, err));
    keel_status status = keel_formats_detect(source, &format, NULL);
    const bool known = status == KEEL_OK && format == reader->format;
    status = KEEL_OK;
    while (known && status == KEEL_OK) {
        status = keel__objects_next(&objects, source, &s->sessions.arena, &object, &where, err);
        if (status != KEEL_OK || !object) break;
        if (is_generation(object) && !is_score(object)) status = add_call(reader, object, where, err);
    }
    keel__objects_close(&objects);
    keel_source_close(source);
    return status;
}

/* ---- what scores are about ---- */

static cJSON *scored(state *s, const score *one) {
    cJSON *found = NULL;
    for (int k = 0; k < 3 && !found; k++) found = keel__sessions_named(&s->sessions, one->names[k]);
    return found;
}

static bool all_found(state *s) {
    for (size_t i = 0; i < s->n_scores; i++)
        if (!scored(s, &s->scores[i])) return false;
    return true;
}

static keel_status read_beside(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *path = keel_source_path(reader->source);
    paths files = {0};
    s->beside = true;
    if (path) KEEL_TRY(list_beside(s, path, &files, err));
    for (size_t i = 0; i < files.count && !all_found(s); i++)
        KEEL_TRY(read_file(reader, files.names[i], err));
    reader->counts[WITHOUT_ANSWER] = 0; /* of the other files */
    if (s->sessions.count) return KEEL_OK;
    keel_fail(
        err, KEEL_E_NOT_FOUND, reader->place,
        "these are scores alone: the observations that they are about are neither in this file nor beside it");
    return keel_hint(err,
                     "put the observations into the same folder, or into observations_v2/ beside scores/");
}

static keel_status use_scores(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel__value build = {.arena = &s->sessions.arena};
    if (s->n_scores && !s->sessions.count) KEEL_TRY(read_beside(reader, err));
    for (size_t i = 0; i < s->n_scores; i++) {
        cJSON *found = scored(s, &s->scores[i]);
        const bool used = found && s->scores[i].verdict != 0 && !keel_json_get(found, "feedback");
        reader->counts[SCORES_UNUSED] += !used;
        if (used)
            keel__value_put(&build, found, "feedback", keel__value_number(&build, s->scores[i].verdict));
    }
    return build.failed ? keel_nomem(err, reader->place) : KEEL_OK;
}

static bool has_feedback(const keel_conversation *conversation) {
    for (size_t i = 0; i < conversation->n_decisions; i++)
        for (size_t k = 0; k < conversation->decisions[i].n_candidates; k++)
            if (conversation->decisions[i].candidates[k].feedback.present) return true;
    return false;
}

/* Of what lies in other files, only what was scored. */
static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    const state *s = reader->state;
    do {
        *out = (keel_read){0};
        KEEL_TRY(keel__sessions_next(reader, read_object, use_scores, arena, out, err));
    } while (s->beside && out->conversation && !has_feedback(out->conversation));
    return KEEL_OK;
}

static bool looks_like(const keel_sniff *sniff) {
    static const char *const marks[] = {"trace_id",   "traceId",   "latency",    "scores",
                                        "session_id", "sessionId", "start_time", "startTime"};
    bool marked = false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        marked = marked || keel_formats_has(sniff, marks[i]);
    const bool scored = keel_formats_has(sniff, "value") && keel_formats_has(sniff, "name");
    const bool call = keel_formats_has(sniff, "input") && keel_formats_has(sniff, "output");
    const bool bare = keel_formats_has(sniff, "type") && keel_formats_has(sniff, "id");
    const bool traced = keel_formats_has(sniff, "trace_id") || keel_formats_has(sniff, "traceId");
    return sniff->shape != KEEL_SHAPE_TABLE && keel_formats_has(sniff, "id") &&
           ((call && marked) || (traced && (scored || bare)));
}

const keel_reader_kind keel__langfuse_reader = {
    .looks_like = looks_like, .state_size = sizeof(state), .next = next, .close = keel__sessions_close};
