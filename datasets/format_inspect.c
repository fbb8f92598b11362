/* Logs of Inspect (UK AI Security Institute), version 2: one JSON object {status, eval, samples: [...]}, or a
 * zip archive (.eval) of header.json, or _journal/start.json where the run did not end, and a file for each
 * sample. A sample is a conversation; its epochs are of one group. Where the sample is one whole answer to a
 * prompt, the answers of several models in the same epoch are of one decision. Texts that the log keeps apart
 * (attachment://HASH) are put back. */
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/answers.h"
#include "datasets/build.h"
#include "datasets/message.h"
#include "datasets/zip.h"

enum { UNFINISHED /* counts, as in formats.c */ };

typedef struct state {
    keel_buf text; /* the file */
    keel_arena lasting;
    const cJSON *eval;
    bool any, archive;       /* any: there are samples, as one array */
    keel_json_items samples; /* of a JSON file */
    keel__zip zip;           /* of an archive */
    size_t entry;            /* the next to be looked at */
    keel_buf sample;         /* an entry, unpacked */
} state;

static keel_status fail_no_eval(const char *where, keel_err *err) {
    return keel_fail(err, KEEL_E_PARSE, where, "key \"eval\": expected an object, got nothing");
}

static keel_status open_json(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *value, *text = s->text.data ? s->text.data : "";
    size_t length;
    if (!keel__member(text, s->text.length, "eval", &value, &length)) return fail_no_eval(reader->place, err);
    KEEL_TRY(keel_json_parse_in(&s->lasting, value, length, reader->place, &s->eval, err));
    s->any = keel__member(text, s->text.length, "samples", &value, &length);
    while (s->any && length && keel__is_space(*value)) value++, length--;
    s->any = s->any && length && *value != 'n'; /* null: the log has none */
    return s->any ? keel_json_items_open(&s->samples, value, length, reader->place, "samples", err) : KEEL_OK;
}

static keel_status read_entry(keel_reader *reader, const keel__zip_entry *entry, keel_arena *arena,
                              const cJSON **out, const char **where, keel_err *err) {
    state *s = reader->state;
    char place[480];
    snprintf(place, sizeof place, "%s: %s", reader->place, entry->name);
    if (!(*where = keel_arena_strdup(arena, place))) return keel_nomem(err, place);
    KEEL_TRY(keel__zip_read(&s->zip, entry, *where, &s->sample, err));
    KEEL_TRY(keel_json_parse_in(arena, s->sample.data, s->sample.length, *where, out, err));
    return cJSON_IsObject(*out) ? KEEL_OK : keel_fail(err, KEEL_E_PARSE, *where, "expected an object");
}

static keel_status open_archive(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const cJSON *header = NULL;
    const char *where;
    KEEL_TRY(keel__zip_open(&s->zip, reader->place, s->text.data, s->text.length, err));
    const keel__zip_entry *entry = keel__zip_find(&s->zip, "header.json");
    if (!entry) entry = keel__zip_find(&s->zip, "_journal/start.json");
    if (!entry)
        return keel_fail(err, KEEL_E_PARSE, reader->place,
                         "a log of Inspect has header.json or _journal/start.json, this archive has neither");
    KEEL_TRY(read_entry(reader, entry, &s->lasting, &header, &where, err));
    s->eval = keel_json_get(header, "eval");
    return cJSON_IsObject(s->eval) ? KEEL_OK : fail_no_eval(where, err);
}

static keel_status open_file(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    s->archive = keel__zip_begins(s->text.data, s->text.length);
    return s->archive ? open_archive(reader, err) : open_json(reader, err);
}

/* ---- attachments ---- */

typedef struct work {
    keel__value build;
    const cJSON *attachments;
    const cJSON **calls; /* [n_calls] by hash of the id of their message */
    size_t n_calls;
} work;

/* The value with the texts in place of what stands for them; parts of a list too. */
static cJSON *attach(work *w, const cJSON *item) {
    static const char scheme[] = "attachment://";
    const size_t length = sizeof scheme - 1;
    if (cJSON_IsString(item) && strncmp(item->valuestring, scheme, length) == 0) {
        const char *text = keel__string_at(w->attachments, item->valuestring + length);
        if (text) return keel__value_text(&w->build, text);
    }
    if (!cJSON_IsArray(item)) return keel__value_same(&w->build, item);
    cJSON *list = keel__value_array(&w->build);
    for (const cJSON *part = item->child; part; part = part->next) {
        cJSON *copy = cJSON_IsObject(part) ? keel__value_object(&w->build) : attach(w, part);
        for (const cJSON *member = cJSON_IsObject(part) ? part->child : NULL; member; member = member->next)
            keel__value_put(&w->build, copy, member->string,
                            cJSON_IsString(member) ? attach(w, member) : keel__value_same(&w->build, member));
        keel__value_put(&w->build, list, NULL, copy);
    }
    return list;
}

/* ---- messages ---- */

static double seconds_of(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsNumber(item) && item->valuedouble >= 0 ? item->valuedouble : -1;
}

static const cJSON *first_choice(const cJSON *output) {
    const cJSON *choices = keel_json_get(output, "choices");
    return cJSON_IsArray(choices) ? choices->child : NULL;
}

/* The message that a call of the model gave; NULL: the event is none, or names none. */
static const char *message_of(const cJSON *event) {
    const char *type = keel__string_at(event, "event");
    if (!type || strcmp(type, "model") != 0) return NULL;
    return keel__string_at(keel_json_get(first_choice(keel_json_get(event, "output")), "message"), "id");
}

static size_t slot_of(const work *w, const char *id) {
    size_t at = (size_t)keel_hash64(id, strlen(id), 0) % w->n_calls;
    while (w->calls[at] && strcmp(message_of(w->calls[at]), id) != 0) at = (at + 1) % w->n_calls;
    return at;
}

/* Calls of the model by the message that they gave, the first of each; graders call models too. */
static void find_calls(work *w, const cJSON *events) {
    size_t n = 0;
    const cJSON *first = cJSON_IsArray(events) ? events->child : NULL;
    for (const cJSON *event = first; event; event = event->next) n += message_of(event) != NULL;
    w->n_calls = 2 * n + 1;
    w->calls = keel_arena_calloc(w->build.arena, w->n_calls, sizeof *w->calls);
    w->build.failed = w->build.failed || !w->calls;
    for (const cJSON *event = first; event && w->calls; event = event->next) {
        const char *id = message_of(event);
        const size_t at = id ? slot_of(w, id) : 0;
        if (id && !w->calls[at]) w->calls[at] = event;
    }
}

/* Time and end of an answer; one that a filter of the service took away is a refusal. */
static void put_end(work *w, cJSON *to, const cJSON *output, double seconds) {
    const char *reason = keel__string_at(first_choice(output), "stop_reason");
    if (seconds >= 0)
        keel__value_put(&w->build, to, "latency_ms", keel__value_number(&w->build, seconds * 1000));
    if (reason && strcmp(reason, "stop") != 0) keel__value_put_text(&w->build, to, "finish_reason", reason);
}

static cJSON *make_messages(work *w, const cJSON *sample, const char *model) {
    static const char *const kept[] = {"role", "tool_calls", NULL};
    const cJSON *list = keel_json_get(sample, "messages"), *output = keel_json_get(sample, "output");
    cJSON *out = keel__value_array(&w->build);
    find_calls(w, keel_json_get(sample, "events"));
    for (const cJSON *message = list->child; message; message = message->next) {
        cJSON *copy =
            cJSON_IsObject(message) ? keel__value_object(&w->build) : keel__value_same(&w->build, message);
        const char *role = keel__string_at(message, "role"), *id = keel__string_at(message, "id"),
                   *who = keel__string_at(message, "model");
        keel__value_put(&w->build, out, NULL, copy);
        if (!cJSON_IsObject(message)) continue;
        for (size_t i = 0; kept[i]; i++)
            keel__value_put_same(&w->build, copy, kept[i], keel_json_get(message, kept[i]));
        const cJSON *content = keel_json_get(message, "content");
        if (content && !cJSON_IsNull(content))
            keel__value_put(&w->build, copy, "content", attach(w, content));
        else
            keel__value_put_text(&w->build, copy, "content", "");
        if (!role || strcmp(role, "assistant") != 0) continue;
        const cJSON *event = id && w->calls ? w->calls[slot_of(w, id)] : NULL;
        keel__value_put_text(&w->build, copy, "model", who ? who : model);
        if (event) {
            const double working = seconds_of(event, "working_time");
            const cJSON *given = keel_json_get(event, "output");
            put_end(w, copy, given, working >= 0 ? working : seconds_of(given, "time"));
        } else if (!message->next) {
            put_end(w, copy, output, seconds_of(output, "time"));
        }
    }
    return out;
}

/* ---- samples ---- */

/* Scores as texts and numbers: what a score means is for the user to say, but for the only one. *out NULL:
 * there are none. */
static keel_tri read_scores(work *w, const cJSON *sample, cJSON **out) {
    const cJSON *scores = keel_json_get(sample, "scores"), *alone = keel_json_get(sample, "score"),
                *only = NULL;
    size_t n = 0;
    *out = keel__value_object(&w->build);
    for (const cJSON *score = cJSON_IsObject(scores) ? scores->child : NULL; score;
         score = score->next, n++) {
        only = keel_json_get(score, "value");
        keel__value_put_same(&w->build, *out, score->string, only);
    }
    if (!n && cJSON_IsObject(alone)) { /* of older logs, with one scorer */
        only = keel_json_get(alone, "value");
        keel__value_put_same(&w->build, *out, "score", only);
        n = 1;
    }
    if (*out && !(*out)->child) *out = NULL;
    if (!only || n != 1) return KEEL_UNKNOWN;
    if (cJSON_IsTrue(only) || (cJSON_IsNumber(only) && only->valuedouble == 1) ||
        (cJSON_IsString(only) && strcmp(only->valuestring, "C") == 0))
        return KEEL_YES;
    const bool no = cJSON_IsFalse(only) || (cJSON_IsNumber(only) && only->valuedouble == 0) ||
                    (cJSON_IsString(only) && strcmp(only->valuestring, "I") == 0);
    return no ? KEEL_NO : KEEL_UNKNOWN;
}

static const char *name_of(work *w, const char *task, const cJSON *sample, bool epoch) {
    const cJSON *id = keel_json_get(sample, "id"), *number = keel_json_get(sample, "epoch");
    keel_buf name = {0};
    keel_buf_format(&name, "%s/", task);
    if (id && id->valuestring) /* a text, or a number with more digits than a double holds */
        keel_buf_text(&name, id->valuestring);
    else if (cJSON_IsNumber(id))
        keel_buf_format(&name, "%.0f", id->valuedouble);
    if (epoch && cJSON_IsNumber(number)) keel_buf_format(&name, "/%.0f", number->valuedouble);
    char *copy = name.failed ? NULL : keel_arena_strndup(w->build.arena, name.data, name.length);
    w->build.failed = w->build.failed || !copy;
    keel_buf_free(&name);
    return copy;
}

static bool is_set(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return item && !cJSON_IsNull(item);
}

static bool is_assistant(const cJSON *message) {
    const char *role = keel__string_at(message, "role");
    return role && strcmp(role, "assistant") == 0;
}

/* The answer, if the sample is a prompt and one whole answer to it; else NULL. */
static const cJSON *only_answer(const cJSON *messages) {
    const cJSON *last = messages && messages->child ? messages->child->prev : NULL;
    keel__message ended = {0};
    const char *reason = keel__string_at(last, "finish_reason");
    if (!is_assistant(last) || last == messages->child) return NULL;
    for (const cJSON *message = messages->child; message != last; message = message->next) {
        const char *role = keel__string_at(message, "role");
        if (!role || (strcmp(role, "user") != 0 && strcmp(role, "system") != 0)) return NULL;
    }
    const cJSON *calls = keel_json_get(last, "tool_calls");
    if (reason) keel__message_ended(reason, &ended);
    return ended.cut_off || (calls && calls->child) ? NULL : last;
}

/* A prompt and its one answer, which those of other models join. */
static keel_status read_answer(work *w, const cJSON *sample, const char *task, cJSON *messages,
                               const cJSON *last, keel_arena *arena, keel_read *out, keel_err *err) {
    static const char *const kept[] = {"metadata", "uuid", NULL};
    const cJSON *const asked[] = {keel_json_get(sample, "target"), keel_json_get(sample, "choices")};
    const char *model = keel__string_at(last, "model"), *reason = keel__string_at(last, "finish_reason");
    cJSON *prompt = keel__value_array(&w->build), *scores;
    keel__message said, ended = {0};
    keel__answers answers;
    KEEL_TRY(keel__message_content(last, out->where, arena, &said, err));
    if (reason) keel__message_ended(reason, &ended);
    for (const cJSON *message = messages->child; message != last; message = message->next)
        keel__value_put(&w->build, prompt, NULL, keel__value_same(&w->build, message));
    keel__answers_begin(&answers, &w->build, prompt);
    cJSON *answer = keel__answers_add(&answers, said.text ? said.text : "", model, true);
    keel__value_put_same(&w->build, answer, "latency_ms", keel_json_get(last, "latency_ms"));
    if (ended.refused) keel__value_put_text(&w->build, answer, "outcome", "refusal");
    if (ended.refused) keel__value_put_text(&w->build, answer, "judge", "rule");
    const keel_tri passed = read_scores(w, sample, &scores);
    if (passed != KEEL_UNKNOWN) keel__answers_judge(&answers, answer, passed == KEEL_YES);
    keel__value_put_text(&w->build, answers.built, "group", name_of(w, task, sample, false));
    keel__value_put_text(&w->build, answers.meta, "task", task);
    keel__value_put_same(&w->build, answers.meta, "sample", keel_json_get(sample, "id"));
    keel__value_put_same(&w->build, answers.meta, "epoch", keel_json_get(sample, "epoch"));
    keel__value_put_same(&w->build, answers.meta, "target", asked[0]);
    keel__value_put_same(&w->build, answers.meta, "choices", asked[1]);
    for (size_t i = 0; kept[i]; i++)
        keel__answers_note(&answers, model, kept[i], keel_json_get(sample, kept[i]));
    keel__answers_note(&answers, model, "scores", scores);
    if (!said.whole) keel__answers_note(&answers, model, "content", keel_json_get(last, "content"));
    return keel__answers_read(&answers, name_of(w, task, sample, true), asked, 2, out, err);
}

static keel_status read_sample(keel_reader *reader, const cJSON *sample, keel_arena *arena, keel_read *out,
                               keel_err *err) {
    const state *s = reader->state;
    static const char *const kept[] = {"epoch", "target", "choices", "metadata", "limit", NULL};
    const char *task = keel__string_at(s->eval, "task"), *uuid = keel__string_at(sample, "uuid");
    work w = {.build = {.arena = arena}, .attachments = keel_json_get(sample, "attachments")};
    cJSON *built = keel__value_object(&w.build), *meta = keel__value_object(&w.build), *scores;
    cJSON *messages = make_messages(&w, sample, keel__string_at(s->eval, "model"));
    const bool broken = is_set(sample, "error") || is_set(sample, "limit");
    const cJSON *last = broken ? NULL : only_answer(messages);
    if (!task) task = reader->name;
    if (last) return read_answer(&w, sample, task, messages, last, arena, out, err);
    keel__value_put_text(&w.build, built, "id", uuid && uuid[0] ? uuid : name_of(&w, task, sample, true));
    keel__value_put_text(&w.build, built, "group", name_of(&w, task, sample, false));
    keel__value_put(&w.build, built, "truncated", keel__value_bool(&w.build, broken));
    reader->counts[UNFINISHED] += broken;
    keel__value_put_text(&w.build, meta, "task", task);
    keel__value_put_same(&w.build, meta, "sample", keel_json_get(sample, "id"));
    for (size_t i = 0; kept[i]; i++)
        keel__value_put_same(&w.build, meta, kept[i], keel_json_get(sample, kept[i]));
    const keel_tri passed = read_scores(&w, sample, &scores);
    keel__value_put(&w.build, meta, "scores", scores);
    if (passed != KEEL_UNKNOWN)
        keel__value_put(&w.build, built, "completed", keel__value_bool(&w.build, passed == KEEL_YES));
    keel__value_put(&w.build, built, "messages", messages);
    keel__value_put(&w.build, built, "meta", meta);
    return keel__build_read(&w.build, built, NULL, out, err);
}

static bool is_sample(const char *name) {
    static const char folder[] = "samples/", ending[] = ".json";
    const size_t length = strlen(name), least = sizeof ending - 1;
    return strncmp(name, folder, sizeof folder - 1) == 0 && length > least &&
           strcmp(name + length - least, ending) == 0;
}

/* *sample NULL at the end. */
static keel_status next_sample(keel_reader *reader, keel_arena *arena, const cJSON **sample,
                               const char **where, keel_err *err) {
    state *s = reader->state;
    char place[480];
    *sample = NULL;
    while (s->archive && s->entry < s->zip.count) {
        const keel__zip_entry *entry = &s->zip.entries[s->entry++];
        if (is_sample(entry->name)) return read_entry(reader, entry, arena, sample, where, err);
    }
    if (!s->any) return KEEL_OK;
    snprintf(place, sizeof place, "%s: samples[%zu]", reader->place, s->samples.count);
    if (!(*where = keel_arena_strdup(arena, place))) return keel_nomem(err, place);
    return keel_json_items_next(&s->samples, arena, sample, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    const cJSON *sample = NULL, *messages = NULL;
    for (;;) {
        KEEL_TRY(next_sample(reader, arena, &sample, &out->where, err));
        if (!sample) return KEEL_OK;
        KEEL_TRY(keel_json_array(sample, "messages", false, &messages, out->where, err));
        if (messages && messages->child) break;
        reader->counts[UNFINISHED]++; /* it ended before anything was said */
    }
    return read_sample(reader, sample, arena, out, err);
}

static void close_file(keel_reader *reader) {
    state *s = reader->state;
    keel_buf_free(&s->text);
    keel_buf_free(&s->sample);
    keel__zip_close(&s->zip);
    keel_arena_free(&s->lasting);
}

/* Names of files stand unpacked in an archive. */
static bool is_archive(const keel_sniff *sniff) {
    return keel__zip_begins(sniff->text, sniff->length) &&
           (keel_formats_contains(sniff, "_journal/start.json") ||
            keel_formats_contains(sniff, "header.json") || keel_formats_contains(sniff, "_epoch_"));
}

static bool looks_like(const keel_sniff *sniff) {
    if (is_archive(sniff)) return true;
    return sniff->shape == KEEL_SHAPE_OBJECTS && keel_formats_has(sniff, "eval") &&
           (keel_formats_has(sniff, "status") || keel_formats_has(sniff, "samples")) &&
           (keel_formats_contains(sniff, "\"task\"") || keel_formats_contains(sniff, "\"run_id\""));
}

const keel_reader_kind keel__inspect_reader = {.looks_like = looks_like,
                                               .state_size = sizeof(state),
                                               .open = open_file,
                                               .next = next,
                                               .close = close_file};
