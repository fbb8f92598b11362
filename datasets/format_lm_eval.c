/* Samples of lm-evaluation-harness: JSON Lines of {doc_id, doc, target, arguments, resps, filter, metrics,
 * ...}, in a file samples_TASK_DATE.jsonl in a folder named after the model. An answer that was generated is
 * what was taken, its repeats too; of a choice, the continuations are candidates, and the likeliest is taken.
 * Answers of several models, in a file each, to the same prompt of a document are of one decision. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/decimal.h"
#include "datasets/answers.h"

enum { OTHER_FILTERS, WITHOUT_ANSWER /* counts, as in formats.c */ };

typedef struct state {
    keel__objects objects;
    keel_arena names;
    const char *task, *filter; /* filter: of the first row; NULL before it */
} state;

/* samples_TASK_2024-05-29T12-00-00.1.jsonl. */
static keel_status open_file(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *name = strncmp(reader->name, "samples_", 8) == 0 ? reader->name + 8 : reader->name;
    const char *end = strrchr(name, '_'), *dot = strrchr(name, '.');
    if (!end || !isdigit((unsigned char)end[1])) end = dot ? dot : name + strlen(name);
    s->task = keel_arena_strndup(&s->names, name, (size_t)(end - name));
    return s->task ? KEEL_OK : keel_nomem(err, reader->name);
}

/* The k-th request: {"gen_args_K": {"arg_0", "arg_1"}}, in older versions [[arg_0, arg_1], ...]. */
static const cJSON *argument(const cJSON *request, int which) {
    return cJSON_IsArray(request) ? cJSON_GetArrayItem(request, which)
                                  : keel_json_get(request, which ? "arg_1" : "arg_0");
}

static const char *text_of(const cJSON *item) {
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* A prompt of a chat, for a model behind an API, is a list of one text, which is JSON. */
static const char *prompt_of(const cJSON *item) {
    const bool only = cJSON_IsArray(item) && item->child && !item->child->next;
    return text_of(only ? item->child : item);
}

static double likelihood(const cJSON **at) {
    const cJSON *pair = *at ? (*at)->child : NULL, *value = cJSON_IsArray(pair) ? pair->child : pair;
    *at = *at ? (*at)->next : NULL;
    if (cJSON_IsNumber(value)) return value->valuedouble;
    return cJSON_IsString(value) ? keel_decimal_read(value->valuestring, NULL) : -1e300;
}

/* The continuations of a choice: the likeliest was taken. */
static cJSON *add_choices(keel__answers *answers, const cJSON *requests, const cJSON *responses,
                          const char *model) {
    const cJSON *at = responses->child, *best = requests->child;
    double most = -1e301;
    for (const cJSON *request = requests->child; request; request = request->next) {
        const double value = likelihood(&at);
        if (value > most) most = value, best = request;
    }
    cJSON *taken = keel__answers_add(answers, text_of(argument(best, 1)), model, true);
    for (const cJSON *request = requests->child; request; request = request->next)
        if (request != best && text_of(argument(request, 1)))
            keel__answers_add(answers, text_of(argument(request, 1)), NULL, false);
    return taken;
}

/* The last of what was generated; NULL if there is nothing. */
static cJSON *add_generated(keel__answers *answers, const cJSON *responses, const char *model) {
    const cJSON *list = responses->child;
    cJSON *last = NULL;
    for (const cJSON *answer = cJSON_IsArray(list) ? list->child : NULL; answer; answer = answer->next)
        if (text_of(answer)) last = keel__answers_add(answers, answer->valuestring, model, true);
    return last;
}

/* 0 or 1 in all metrics that the row names. Of several answers nobody knows which one they are about. */
static void put_metrics(keel__answers *answers, const cJSON *row, cJSON *answer, const char *model) {
    const cJSON *names = keel_json_get(row, "metrics");
    cJSON *values = keel__value_object(answers->build);
    int yes = 0, no = 0, left = 100;
    for (const cJSON *name = cJSON_IsArray(names) ? names->child : NULL; name && left--; name = name->next) {
        const cJSON *value = text_of(name) ? keel_json_get(row, name->valuestring) : NULL;
        if (!value || cJSON_IsNull(value)) continue;
        if (!keel_json_get(values, name->valuestring))
            keel__value_put_same(answers->build, values, name->valuestring, value);
        yes += cJSON_IsTrue(value) || (cJSON_IsNumber(value) && value->valuedouble == 1);
        no += cJSON_IsFalse(value) || (cJSON_IsNumber(value) && value->valuedouble == 0);
    }
    if (values && values->child) keel__answers_note(answers, model, "metrics", values);
    if (answers->given == 1 && (yes > 0) != (no > 0)) keel__answers_judge(answers, answer, yes > 0);
}

static const char *name_row(keel__value *build, const char *task, const cJSON *row) {
    const cJSON *id = keel_json_get(row, "doc_id");
    keel_buf name = {0};
    keel_buf_format(&name, "%s/", task);
    if (id && id->valuestring) /* a text, or a number with more digits than a double holds */
        keel_buf_text(&name, id->valuestring);
    else if (cJSON_IsNumber(id))
        keel_buf_format(&name, "%.0f", id->valuedouble);
    else
        keel_buf_text(&name, "?");
    char *copy = name.failed ? NULL : keel_arena_strndup(build->arena, name.data, name.length);
    build->failed = build->failed || !copy;
    keel_buf_free(&name);
    return copy;
}

static keel_status read_row(keel_reader *reader, const cJSON *row, keel_arena *arena, keel_read *out,
                            keel_err *err) {
    static const char *const kept[] = {"filter", "prompt_hash", NULL};
    const state *s = reader->state;
    const cJSON *requests = keel_json_get(row, "arguments"), *responses = keel_json_get(row, "resps"),
                *first = requests ? requests->child : NULL;
    const cJSON *const asked[] = {keel_json_get(row, "doc"), keel_json_get(row, "target")};
    const char *prompt = prompt_of(argument(first, 0)), *model = reader->folder[0] ? reader->folder : NULL;
    keel__value build = {.arena = arena};
    keel__answers answers;
    if (!prompt || !cJSON_IsArray(responses))
        return keel_fail(err, KEEL_E_PARSE, out->where,
                         "expected a prompt at arguments.gen_args_0.arg_0 and a list of answers at resps");
    if (cJSON_GetArraySize(requests) > KEEL__MOST_ANSWERS ||
        cJSON_GetArraySize(responses->child) > KEEL__MOST_ANSWERS)
        return keel_fail(err, KEEL_E_INVALID, out->where, "more than %d answers to one prompt",
                         KEEL__MOST_ANSWERS);
    keel__answers_begin(&answers, &build, keel__answers_prompt(&build, prompt));
    cJSON *answer = text_of(argument(first, 1)) ? add_choices(&answers, requests, responses, model)
                                                : add_generated(&answers, responses, model);
    reader->counts[WITHOUT_ANSWER] += !answers.given;
    keel__value_put_text(&build, answers.built, "group", keel__string_at(row, "doc_hash"));
    keel__value_put_text(&build, answers.meta, "task", s->task);
    keel__value_put_same(&build, answers.meta, "doc", asked[0]);
    keel__value_put_same(&build, answers.meta, "target", asked[1]);
    for (size_t i = 0; kept[i]; i++)
        keel__answers_note(&answers, model, kept[i], keel_json_get(row, kept[i]));
    put_metrics(&answers, row, answer, model);
    return keel__answers_read(&answers, name_row(&build, s->task, row), asked, 2, out, err);
}

/* The same answer comes once for each filter: the first one's rows are kept. */
static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    const cJSON *row = NULL;
    for (;;) {
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, arena, &row, &out->where, err));
        if (!row) return KEEL_OK;
        const char *filter = keel__string_at(row, "filter");
        if (!s->filter && !(s->filter = keel_arena_strdup(&s->names, filter ? filter : "")))
            return keel_nomem(err, out->where);
        if (strcmp(s->filter, filter ? filter : "") == 0) break;
        reader->counts[OTHER_FILTERS]++;
    }
    return read_row(reader, row, arena, out, err);
}

static void close_file(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel_arena_free(&s->names);
}

static bool looks_like(const keel_sniff *sniff) {
    return sniff->shape != KEEL_SHAPE_TABLE && keel_formats_has(sniff, "doc_id") &&
           keel_formats_has(sniff, "arguments") &&
           (keel_formats_has(sniff, "resps") || keel_formats_has(sniff, "target"));
}

const keel_reader_kind keel__lm_eval_reader = {.looks_like = looks_like,
                                               .state_size = sizeof(state),
                                               .open = open_file,
                                               .next = next,
                                               .close = close_file};
