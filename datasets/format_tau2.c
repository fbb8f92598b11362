/* Results of tau2-bench (Barres et al. 2025, arXiv 2506.07982): one JSON object {timestamp, info, tasks,
 * simulations}; or a folder with results.json, which has simulation_index in place of the simulations, and
 * simulations/ID.json, one object each. The simulations are read one after the other; info and tasks are kept
 * as values. The settings of the models (llm_args) may hold credentials and are never kept. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "datasets/tau.h"

typedef struct state {
    keel_buf text;
    keel_arena lasting;                                /* info, tasks and agent live here */
    const cJSON *tasks;                                /* NULL: none given */
    const char *domain, *model, *user_model, *setting; /* of info; NULL: not said */
    const char *agent;
    keel_json_items simulations;
    bool listed;          /* the simulations lie in files of their own */
    const cJSON *only;    /* the source is this simulation */
    bool given;           /* it was given out */
    const cJSON *at_task; /* where the next look-up begins: files keep the order of their tasks */
} state;

/* ---- the file ---- */

static keel_status parse_member(state *s, const char *key, const char *name, const cJSON **out,
                                keel_err *err) {
    const char *value;
    char where[400];
    size_t length;
    if (!keel__member(s->text.data, s->text.length, key, &value, &length)) return KEEL_OK;
    snprintf(where, sizeof where, "%s: %s", name, key);
    return keel_json_parse_in(&s->lasting, value, length, where, out, err);
}

static keel_status read_members(keel_reader *reader, const char *name, keel_err *err) {
    state *s = reader->state;
    const cJSON *info = NULL;
    KEEL_TRY(parse_member(s, "info", name, &info, err));
    KEEL_TRY(parse_member(s, "tasks", name, &s->tasks, err));
    if (s->tasks && !cJSON_IsArray(s->tasks)) s->tasks = NULL;
    s->domain = keel__string_at(keel_json_get(info, "environment_info"), "domain_name");
    s->model = keel__string_at(keel_json_get(info, "agent_info"), "llm");
    s->setting = keel__string_at(keel_json_get(info, "agent_info"), "implementation");
    s->user_model = keel__string_at(keel_json_get(info, "user_info"), "llm");
    if (!s->model) s->model = s->agent;
    return KEEL_OK;
}

/* results.json in the folder above that of the simulation; the agent is the name of the folder that it lies
 * in. */
static keel_status read_results(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *path = keel_source_path(reader->source), *slash = path ? strrchr(path, '/') : NULL;
    char *folder = keel_arena_strndup(&s->lasting, slash ? path : ".", slash ? (size_t)(slash - path) : 1);
    char *above = folder ? keel_path_join(&s->lasting, folder, "../results.json") : NULL;
    char *packed = folder ? keel_path_join(&s->lasting, folder, "../results.json.gz") : NULL;
    if (!packed || !above) return keel_nomem(err, reader->place);
    if (!keel_file_exists(above)) above = packed;
    if (!path || !keel_file_exists(above)) {
        keel_fail(err, KEEL_E_NOT_FOUND, reader->place,
                  "a simulation of tau2-bench is read with results.json, which has its task");
        return keel_hint(err, "import the folder that has results.json and simulations/");
    }
    KEEL_TRY(keel_file_read(above, 0, &s->text, err));
    s->agent = keel__tau_folder(path, 2, &s->lasting);
    return s->agent ? read_members(reader, above, err) : keel_nomem(err, reader->place);
}

static keel_status open_simulation(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    KEEL_TRY(keel_json_parse_in(&s->lasting, s->text.data, s->text.length, reader->place, &s->only, err));
    return read_results(reader, err);
}

static keel_status open_index(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const cJSON *index = NULL;
    KEEL_TRY(parse_member(s, "simulation_index", reader->place, &index, err));
    s->listed = cJSON_IsArray(index);
    if (!s->listed)
        return keel_fail(err, KEEL_E_PARSE, reader->place,
                         "key \"simulations\": expected an array of simulations, got nothing");
    reader->counts[KEEL__TAU_IN_FILES] = cJSON_GetArraySize(index);
    return KEEL_OK;
}

static keel_status open_file(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *value;
    size_t length;
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    const char *text = s->text.data ? s->text.data : "";
    const bool any = keel__member(text, s->text.length, "simulations", &value, &length);
    if (!any && keel__member(text, s->text.length, "messages", &value, &length))
        return open_simulation(reader, err);
    s->agent = keel__tau_agent(reader, &s->lasting);
    if (!s->agent) return keel_nomem(err, reader->place);
    KEEL_TRY(read_members(reader, reader->place, err));
    if (!any) return open_index(reader, err);
    return keel_json_items_open(&s->simulations, value, length, reader->place, "simulations", err);
}

/* ---- tasks ---- */

/* Files mostly list simulations in the order of their tasks, so the search goes on where the last one ended.
 */
static const cJSON *find_task(state *s, const char *id) {
    const cJSON *first = s->tasks ? s->tasks->child : NULL, *task = s->at_task ? s->at_task : first;
    for (const cJSON *begin = task; task;) {
        const char *name = keel__string_at(task, "id");
        if (name && strcmp(name, id) == 0) return s->at_task = task;
        task = task->next ? task->next : first;
        if (task == begin) break;
    }
    return NULL;
}

/* Whether every check is of an action of the task: same name and same arguments. */
static bool agrees(const cJSON *checks, const cJSON *actions) {
    for (const cJSON *check = checks->child; check; check = check->next) {
        const cJSON *checked = keel_json_get(check, "action"), *action = actions ? actions->child : NULL;
        const char *name = keel__string_at(checked, "name");
        for (; action; action = action->next) {
            const char *other = keel__string_at(action, "name");
            if (name && other && strcmp(name, other) == 0 &&
                cJSON_Compare(keel_json_get(checked, "arguments"), keel_json_get(action, "arguments"), true))
                break;
        }
        if (!action) return false;
    }
    return true;
}

/* The gold actions of the simulation's task; NULL where they are unknown or contradicted. */
static const cJSON *gold_actions(keel_reader *reader, const cJSON *simulation, const char *task_id) {
    const cJSON *task = find_task(reader->state, task_id),
                *criteria = keel_json_get(task, "evaluation_criteria"),
                *actions = keel_json_get(criteria, "actions"),
                *checks = keel_json_get(keel_json_get(simulation, "reward_info"), "action_checks");
    static const cJSON none = {.type = cJSON_Array};
    if (cJSON_IsObject(criteria) && !cJSON_IsArray(actions)) actions = &none;
    if (!cJSON_IsArray(actions)) return NULL;
    if (!cJSON_IsArray(checks) || agrees(checks, actions)) return actions;
    reader->counts[KEEL__TAU_ACTIONS_DIFFER]++;
    return NULL;
}

/* ---- simulations ---- */

static bool is_crash(const cJSON *simulation) {
    static const char *const machinery[] = {"infrastructure_error", "unexpected_error", NULL};
    const cJSON *messages = keel_json_get(simulation, "messages");
    return keel__is_among(keel__string_at(simulation, "termination_reason"), machinery) ||
           !cJSON_IsArray(messages) || !messages->child;
}

static void copy_all(keel__value *build, cJSON *meta, const cJSON *from, const char *const *keys) {
    for (; *keys; keys++) keel__value_put_same(build, meta, *keys, keel_json_get(from, *keys));
}

static void fill_meta(const state *s, keel__value *build, const cJSON *simulation, const cJSON *reward_info,
                      cJSON *meta) {
    static const char *const keys[] = {"task_id",    "trial",    "seed",     "termination_reason",
                                       "start_time", "end_time", "duration", "agent_cost",
                                       "user_cost",  "mode",     NULL};
    static const char *const parts[] = {"reward_basis", "reward_breakdown", NULL};
    const cJSON *reward = keel_json_get(reward_info, "reward");
    keel__value_put_text(build, meta, "domain", s->domain);
    keel__value_put_text(build, meta, "agent", s->agent);
    keel__value_put_text(build, meta, "setting", s->setting);
    keel__value_put_text(build, meta, "user_model", s->user_model);
    copy_all(build, meta, simulation, keys);
    copy_all(build, meta, reward_info, parts);
    if (cJSON_IsNumber(reward)) keel__value_put_same(build, meta, "task_reward", reward);
}

static keel_status read_simulation(keel_reader *reader, const cJSON *simulation, const char *where,
                                   keel__value *build, cJSON *meta, keel_conversation *out, keel_err *err) {
    static const char *const cut_off[] = {"max_steps", "timeout", "context_window_exceeded", "user_error",
                                          NULL};
    state *s = reader->state;
    const cJSON *reward_info = NULL;
    const char *id = NULL, *task_id = NULL;
    keel__tau_trial trial = {.domain = s->domain, .model = s->model, .meta = meta};
    KEEL_TRY(keel_json_string(simulation, "id", true, &id, where, err));
    KEEL_TRY(keel_json_string(simulation, "task_id", true, &task_id, where, err));
    KEEL_TRY(keel_json_array(simulation, "messages", true, &trial.messages, where, err));
    KEEL_TRY(keel_json_object(simulation, "reward_info", false, &reward_info, where, err));
    const cJSON *reward = keel_json_get(reward_info, "reward");
    trial.reward.present = cJSON_IsNumber(reward);
    if (trial.reward.present) trial.reward.value = reward->valuedouble;
    trial.actions = gold_actions(reader, simulation, task_id);
    trial.truncated = keel__is_among(keel__string_at(simulation, "termination_reason"), cut_off);
    fill_meta(s, build, simulation, reward_info, meta);
    KEEL_TRY(keel__tau_read(&trial, where, "messages", build, out, err));
    out->external_id = id;
    out->group = keel__value_format(build, "%s/%s", s->domain ? s->domain : s->agent, task_id);
    if (!id[0]) return keel_fail(err, KEEL_E_INVALID, where, "id: expected a text, got \"\"");
    return out->group ? KEEL_OK : keel_nomem(err, where);
}

/* *out NULL at the end. */
static keel_status next_item(keel_reader *reader, keel_arena *arena, const cJSON **out, const char **where,
                             keel_err *err) {
    state *s = reader->state;
    char place[480];
    *out = NULL;
    if (s->listed) return KEEL_OK;
    if (s->only) {
        *where = reader->place;
        *out = s->given ? NULL : s->only;
        s->given = true;
        return KEEL_OK;
    }
    snprintf(place, sizeof place, "%s: simulations[%zu]", reader->place, s->simulations.count);
    if (!(*where = keel_arena_strdup(arena, place))) return keel_nomem(err, place);
    return keel_json_items_next(&s->simulations, arena, out, err);
}

static keel_status next_simulation(keel_reader *reader, keel_arena *arena, const cJSON **out,
                                   const char **where, keel_err *err) {
    for (;;) {
        KEEL_TRY(next_item(reader, arena, out, where, err));
        if (!*out) return KEEL_OK;
        if (!cJSON_IsObject(*out)) return keel_fail(err, KEEL_E_PARSE, *where, "expected an object");
        if (!is_crash(*out)) return KEEL_OK;
        reader->counts[KEEL__TAU_CRASHED]++;
    }
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    const cJSON *simulation = NULL;
    KEEL_TRY(next_simulation(reader, arena, &simulation, &out->where, err));
    if (!simulation) return KEEL_OK;
    return keel__tau_give(reader, read_simulation, simulation, arena, out, err);
}

static void close_file(keel_reader *reader) {
    state *s = reader->state;
    keel_buf_free(&s->text);
    keel_arena_free(&s->lasting);
}

static bool looks_like(const keel_sniff *sniff) {
    if (keel__tau_is_simulation(sniff)) return true;
    return sniff->shape == KEEL_SHAPE_OBJECTS &&
           ((keel_formats_has(sniff, "simulations") && keel_formats_has(sniff, "tasks")) ||
            (keel_formats_has(sniff, "info") && keel_formats_contains(sniff, "\"agent_info\"") &&
             (keel_formats_has(sniff, "tasks") || keel_formats_has(sniff, "simulations") ||
              keel_formats_has(sniff, "simulation_index"))));
}

const keel_reader_kind keel__tau2_reader = {.looks_like = looks_like,
                                            .state_size = sizeof(state),
                                            .open = open_file,
                                            .next = next,
                                            .close = close_file};
