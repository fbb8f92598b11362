/* Results of tau-bench (Yao et al. 2024, arXiv 2406.12045), version 1: a JSON array of {task_id, trial,
 * reward, info, traj}. The file names neither its agent nor its domain: the agent is the name of the file,
 * the domain is known by the tools. */
#include <string.h>

#include "datasets/tau.h"

typedef struct state {
    keel__objects objects;
    const char *domain, *agent; /* domain NULL: nobody knows; agent in names */
    bool looked;                /* for the domain */
    keel_arena names;
} state;

/* The domain that the tools in the text say; else the folder. */
static void find_domain(keel_reader *reader, const char *text, size_t length) {
    state *s = reader->state;
    if (s->looked || !text) return;
    s->looked = true;
    s->domain = keel__tau_domain(text, length);
    if (!s->domain) s->domain = keel__tau_domain(reader->folder, strlen(reader->folder));
}

static keel_status open_file(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    s->agent = keel__tau_agent(reader, &s->names);
    return s->agent ? KEEL_OK : keel_nomem(err, reader->name);
}

/* Without a stop of the user and without a transfer, the last step was the one that the limit of steps
 * allowed. */
static bool is_cut_off(const cJSON *messages) {
    const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    const cJSON *role = keel_json_get(last, "role"), *name = keel_json_get(last, "name"),
                *content = keel_json_get(last, "content");
    if (!cJSON_IsString(role)) return false;
    if (strcmp(role->valuestring, "tool") == 0)
        return !cJSON_IsString(name) || strcmp(name->valuestring, "transfer_to_human_agents") != 0;
    return strcmp(role->valuestring, "user") == 0 && cJSON_IsString(content) &&
           !strstr(content->valuestring, "###STOP###");
}

static keel_status name_it(const state *s, const cJSON *row, const char *where, keel_arena *arena,
                           keel_conversation *out, keel_err *err) {
    keel_buf id = {0}, group = {0};
    const cJSON *task = keel_json_get(row, "task_id"), *trial = keel_json_get(row, "trial");
    const char *domain = s->domain ? s->domain : "tau-bench";
    keel_status status = KEEL_OK;
    if (!cJSON_IsString(task) && !cJSON_IsNumber(task))
        return keel_fail(err, KEEL_E_PARSE, where, "key \"task_id\": expected a text or a number");
    keel_buf_format(&group, "%s/", domain);
    if (cJSON_IsString(task))
        keel_buf_text(&group, task->valuestring);
    else
        status = keel_json_print(task, false, &group, err);
    keel_buf_format(&id, "%s/%s/%s", domain, s->agent, group.data ? group.data + strlen(domain) + 1 : "");
    if (cJSON_IsNumber(trial)) keel_buf_format(&id, "/%.0f", trial->valuedouble);
    if (status == KEEL_OK && !group.failed && !id.failed) {
        out->external_id = keel_arena_strndup(arena, id.data, id.length);
        out->group = keel_arena_strndup(arena, group.data, group.length);
    }
    keel_buf_free(&id);
    keel_buf_free(&group);
    if (status != KEEL_OK) return status;
    return out->external_id && out->group ? KEEL_OK : keel_nomem(err, where);
}

static void copy_to(keel__value *build, cJSON *meta, const char *key, const cJSON *item) {
    if (item) keel__value_put(build, meta, key, keel__value_same(build, item)); /* null too */
}

static keel_status read_row(keel_reader *reader, const cJSON *row, const char *where, keel__value *build,
                            cJSON *meta, keel_conversation *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *info = NULL, *task = NULL;
    keel__tau_trial trial = {.domain = s->domain, .model = s->agent, .meta = meta};
    KEEL_TRY(keel_json_object(row, "info", false, &info, where, err));
    KEEL_TRY(keel_json_array(row, "traj", true, &trial.messages, where, err));
    if (info) KEEL_TRY(keel_json_object(info, "task", false, &task, where, err));
    if (task) KEEL_TRY(keel_json_array(task, "actions", false, &trial.actions, where, err));
    trial.reward.present = keel_json_get(row, "reward") && !cJSON_IsNull(keel_json_get(row, "reward"));
    KEEL_TRY(keel_json_number(row, "reward", false, &trial.reward.value, where, err));
    trial.truncated = is_cut_off(trial.messages);
    keel__value_put_text(build, meta, "domain", s->domain);
    keel__value_put_text(build, meta, "agent", s->agent);
    copy_to(build, meta, "task_id", keel_json_get(row, "task_id"));
    copy_to(build, meta, "trial", keel_json_get(row, "trial"));
    copy_to(build, meta, "task_reward", keel_json_get(row, "reward"));
    copy_to(build, meta, "user_cost", keel_json_get(info, "user_cost"));
    KEEL_TRY(keel__tau_read(&trial, where, "traj", build, out, err));
    return name_it(s, row, where, build->arena, out, err);
}

/* No message, or the traceback of a program in place of the task. */
static bool is_crash(const cJSON *row) {
    const cJSON *info = keel_json_get(row, "info"), *messages = keel_json_get(row, "traj");
    return (cJSON_IsObject(info) && keel_json_get(info, "error")) ||
           (cJSON_IsArray(messages) && !messages->child);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *row = NULL;
    for (;;) {
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &row, &out->where, err));
        if (!row) return KEEL_OK;
        if (!is_crash(row)) break;
        reader->counts[KEEL__TAU_CRASHED]++;
    }
    find_domain(reader, s->objects.text.data, s->objects.text.length);
    return keel__tau_give(reader, read_row, row, arena, out, err);
}

static void close_file(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel_arena_free(&s->names);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape == KEEL_SHAPE_ARRAY && keel_formats_has(sniff, "task_id") &&
           (keel_formats_has(sniff, "traj") ||
            (keel_formats_has(sniff, "reward") && keel_formats_has(sniff, "info")));
}

const keel_reader_kind keel__tau_bench_reader = {.looks_like = looks_like,
                                                 .state_size = sizeof(state),
                                                 .open = open_file,
                                                 .next = next,
                                                 .close = close_file};
