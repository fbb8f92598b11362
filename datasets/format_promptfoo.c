/* Results of promptfoo: {evalId, results: {results: [...]}, config}, or one result a line. The outputs of all
 * providers for one prompt of one test are candidates of one decision, in whatever files they are. Settings
 * of providers, which may hold credentials, are not read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/answers.h"

enum { ERRORS, REPEATED /* counts, as in formats.c */, ID_DIGITS = 16, KEY_SIZE = 2 * ID_DIGITS + 2 };

typedef struct result {
    const cJSON *object;
    size_t place;       /* in the file */
    char key[KEY_SIZE]; /* of its test and prompt: results of one conversation have the same */
} result;

typedef struct state {
    keel__objects objects;
    keel_buf text;
    keel_arena lasting; /* results live here: those of one prompt may be anywhere in the file */
    result *results;    /* in the order of keys, then of places */
    size_t count, capacity, at;
    const char *eval; /* NULL: the file does not say */
} state;

/* ---- the file ---- */

static void add_hash(char out[ID_DIGITS + 1], const char *text) {
    keel_sha256 hash;
    char hex[65];
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, text);
    keel_sha256_hex(&hash, hex);
    memcpy(out, hex, ID_DIGITS);
    out[ID_DIGITS] = '\0';
}

/* The prompt as it was sent; promptfoo writes an object or a text. */
static const char *raw_prompt(const cJSON *object) {
    const cJSON *prompt = keel_json_get(object, "prompt");
    return cJSON_IsString(prompt) ? prompt->valuestring : keel__string_at(prompt, "raw");
}

/* What the test is: its variables, or the prompt where it has none. */
static keel_status hash_test(const cJSON *object, char out[ID_DIGITS + 1], keel_err *err) {
    const cJSON *vars = keel_json_get(object, "vars");
    keel_buf text = {0};
    keel_status status =
        cJSON_IsObject(vars) && vars->child ? keel_json_print(vars, false, &text, err) : KEEL_OK;
    if (status == KEEL_OK && !text.failed) add_hash(out, text.length ? text.data : raw_prompt(object));
    const bool failed = text.failed;
    keel_buf_free(&text);
    return failed ? keel_nomem(err, "vars") : status;
}

static keel_status add_result(state *s, const cJSON *object, const char *where, keel_err *err) {
    char test[ID_DIGITS + 1], prompt[ID_DIGITS + 1];
    if (!cJSON_IsObject(object)) return keel_fail(err, KEEL_E_PARSE, where, "expected an object");
    if (!raw_prompt(object))
        return keel_fail(err, KEEL_E_PARSE, where,
                         "key \"prompt\": expected {\"raw\": a text}, got something else");
    if (!keel_arena_grow(&s->lasting, &s->results, s->count, &s->capacity, sizeof *s->results))
        return keel_nomem(err, where);
    KEEL_TRY(hash_test(object, test, err));
    add_hash(prompt, raw_prompt(object));
    result *added = &s->results[s->count];
    *added = (result){.object = object, .place = s->count};
    snprintf(added->key, sizeof added->key, "%s/%s", test, prompt);
    s->count++;
    return KEEL_OK;
}

static keel_status read_lines(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    for (;;) {
        const cJSON *object = NULL;
        const char *where;
        KEEL_TRY(keel__objects_next(&s->objects, reader->source, &s->lasting, &object, &where, err));
        if (!object) return KEEL_OK;
        if (!s->eval) s->eval = keel__string_at(object, "evalId");
        KEEL_TRY(add_result(s, object, where, err));
    }
}

static keel_status read_whole(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    const char *summary, *list, *id;
    size_t length, size;
    const cJSON *eval = NULL, *object = NULL;
    keel_json_items items;
    KEEL_TRY(keel_source_rest(reader->source, 0, &s->text, err));
    const char *text = s->text.data ? s->text.data : "";
    if (keel__member(text, s->text.length, "evalId", &id, &length))
        KEEL_TRY(keel_json_parse_in(&s->lasting, id, length, reader->place, &eval, err));
    if (cJSON_IsString(eval)) s->eval = eval->valuestring;
    if (!keel__member(text, s->text.length, "results", &summary, &length) ||
        !keel__member(summary, length, "results", &list, &size))
        return keel_fail(err, KEEL_E_PARSE, reader->place,
                         "key \"results.results\": expected an array, got nothing");
    KEEL_TRY(keel_json_items_open(&items, list, size, reader->place, "results", err));
    for (;;) {
        char where[480];
        snprintf(where, sizeof where, "%s: results.results[%zu]", reader->place, items.count);
        KEEL_TRY(keel_json_items_next(&items, &s->lasting, &object, err));
        if (!object) break;
        KEEL_TRY(add_result(s, object, where, err));
    }
    keel_buf_free(&s->text);
    return KEEL_OK;
}

static int compare_results(const void *a, const void *b) {
    const result *x = a, *y = b;
    const int by_key = strcmp(x->key, y->key);
    return by_key ? by_key : (x->place > y->place) - (x->place < y->place);
}

/* One object that holds all results, or one result a line. */
static keel_status open_file(keel_reader *reader, keel_err *err) {
    state *s = reader->state;
    keel_sniff sniff;
    KEEL_TRY(keel__sniff(reader->source, &sniff, err));
    const bool whole = sniff.shape == KEEL_SHAPE_OBJECTS && keel_formats_has(&sniff, "results");
    KEEL_TRY(whole ? read_whole(reader, err) : read_lines(reader, err));
    if (s->count) qsort(s->results, s->count, sizeof *s->results, compare_results);
    return KEEL_OK;
}

/* ---- one result ---- */

static bool is_true(const cJSON *object, const char *key) {
    return cJSON_IsTrue(keel_json_get(object, key));
}

/* Whether it was a failure of the machinery, not of the answer. */
static bool is_error(const cJSON *object) {
    const cJSON *reason = keel_json_get(object, "failureReason");
    return cJSON_IsNumber(reason) && reason->valuedouble == 2;
}

static const cJSON *test_metadata(const cJSON *object) {
    return keel_json_get(keel_json_get(object, "testCase"), "metadata");
}

/* A red team's test passes when the attack failed. */
static bool is_attack(const cJSON *object) {
    return keel__string_at(test_metadata(object), "pluginId");
}

/* What the assertions say of the answer: outcome of is-refusal, feedback of people. */
static void put_judgements(keel__value *build, cJSON *to, const cJSON *object) {
    const cJSON *grading = keel_json_get(object, "gradingResult"),
                *parts = keel_json_get(grading, "componentResults");
    const char *outcome = is_true(keel_json_get(object, "response"), "isRefusal") ? "refusal" : NULL;
    for (const cJSON *part = cJSON_IsArray(parts) ? parts->child : NULL; part; part = part->next) {
        const char *type = keel__string_at(keel_json_get(part, "assertion"), "type");
        const bool passed = is_true(part, "pass"), negated = type && strcmp(type, "not-is-refusal") == 0;
        if (negated || (type && strcmp(type, "is-refusal") == 0))
            outcome = passed != negated ? "refusal" : "compliance";
        if (type && strcmp(type, "human") == 0)
            keel__value_put_text(build, to, "feedback", passed ? "up" : "down");
    }
    if (!outcome && is_attack(object) && cJSON_IsFalse(keel_json_get(grading, "pass")))
        outcome = "compliance";
    if (!outcome) return;
    keel__value_put_text(build, to, "outcome", outcome);
    keel__value_put_text(build, to, "judge",
                         "model"); /* a matcher that errs often: any other judge knows better */
}

/* The answer as a text; *out NULL where there is none. */
static keel_status read_output(const cJSON *object, keel_arena *arena, const char **out, keel_err *err) {
    const cJSON *response = keel_json_get(object, "response"),
                *output = cJSON_IsObject(response) ? keel_json_get(response, "output") : response;
    *out = NULL;
    if (cJSON_IsString(output)) *out = output->valuestring;
    if (!output || cJSON_IsNull(output) || *out) return KEEL_OK;
    keel_buf text = {0};
    keel_status status = keel_json_print(output, false, &text, err);
    if (status == KEEL_OK && !(*out = keel_arena_strndup(arena, text.data, text.length)))
        status = keel_nomem(err, "response.output");
    keel_buf_free(&text);
    return status;
}

static const char *provider(const cJSON *object) {
    const cJSON *value = keel_json_get(object, "provider");
    return cJSON_IsString(value) ? value->valuestring : keel__string_at(value, "id");
}

static void add_output(keel__answers *answers, const cJSON *object, const char *output) {
    static const char *const kept[] = {"score", "namedScores", "cost", "success", NULL};
    const cJSON *latency = keel_json_get(object, "latencyMs");
    cJSON *answer = keel__answers_add(answers, output, provider(object), true);
    if (cJSON_IsNumber(latency) && latency->valuedouble >= 0 &&
        !is_true(keel_json_get(object, "response"), "cached"))
        keel__value_put_same(answers->build, answer, "latency_ms", latency);
    put_judgements(answers->build, answer, object);
    if (!is_attack(object) && keel_json_get(object, "success"))
        keel__answers_judge(answers, answer, is_true(object, "success"));
    for (size_t i = 0; kept[i]; i++)
        keel__answers_note(answers, provider(object), kept[i], keel_json_get(object, kept[i]));
}

/* ---- conversations ---- */

static bool is_repeated(const keel__answers *answers, const char *output, const char *model) {
    for (const cJSON *other = answers->list ? answers->list->child : NULL; other; other = other->next) {
        const char *who = keel__string_at(other, "model");
        if (strcmp(keel__string_at(other, "content"), output) == 0 &&
            (!model || !who || strcmp(model, who) == 0))
            return true;
    }
    return false;
}

/* The answers of results[from..to). */
static keel_status add_answers(keel_reader *reader, keel__answers *answers, size_t from, size_t to,
                               keel_err *err) {
    state *s = reader->state;
    for (size_t i = from; i < to && !answers->build->failed; i++) {
        const cJSON *object = s->results[i].object;
        const char *output;
        KEEL_TRY(read_output(object, answers->build->arena, &output, err));
        const bool none = !output || is_error(object);
        const bool repeated = !none && is_repeated(answers, output, provider(object));
        reader->counts[ERRORS] += none;
        reader->counts[REPEATED] += repeated;
        if (!none && !repeated) add_output(answers, object, output);
    }
    return KEEL_OK;
}

static keel_status read_group(keel_reader *reader, size_t from, size_t to, keel_arena *arena, keel_read *out,
                              keel_err *err) {
    state *s = reader->state;
    const cJSON *first = s->results[from].object;
    keel__value build = {.arena = arena};
    keel__answers answers;
    char place[480];
    const char *test = keel_arena_strndup(arena, s->results[from].key, ID_DIGITS);
    snprintf(place, sizeof place, "%s: result %zu", reader->place, s->results[from].place + 1);
    if (to - from > KEEL__MOST_ANSWERS)
        return keel_fail(err, KEEL_E_INVALID, place, "more than %d results of one prompt",
                         KEEL__MOST_ANSWERS);
    out->where = keel_arena_strdup(arena, place);
    if (!test || !out->where) return keel_nomem(err, place);
    keel__answers_begin(&answers, &build, keel__answers_prompt(&build, raw_prompt(first)));
    KEEL_TRY(add_answers(reader, &answers, from, to, err));
    if (!answers.given) return build.failed ? keel_nomem(err, place) : KEEL_OK;
    keel__value_put_text(&build, answers.built, "group", test);
    if (is_attack(first)) keel__value_put_text(&build, answers.built, "risk", "dangerous");
    keel__value_put_text(&build, answers.meta, "eval", s->eval);
    keel__value_put_same(&build, answers.meta, "test", keel_json_get(first, "testIdx"));
    keel__value_put_same(&build, answers.meta, "vars", keel_json_get(first, "vars"));
    keel__value_put_same(&build, answers.meta, "test_metadata", test_metadata(first));
    return keel__answers_read(&answers, test, NULL, 0, out, err);
}

static keel_status next(keel_reader *reader, keel_arena *arena, keel_read *out, keel_err *err) {
    state *s = reader->state;
    while (s->at < s->count && !out->conversation) {
        const size_t from = s->at;
        while (s->at < s->count && strcmp(s->results[s->at].key, s->results[from].key) == 0) s->at++;
        KEEL_TRY(read_group(reader, from, s->at, arena, out, err));
    }
    return KEEL_OK;
}

static void close_file(keel_reader *reader) {
    state *s = reader->state;
    keel__objects_close(&s->objects);
    keel_buf_free(&s->text);
    keel_arena_free(&s->lasting);
}

static bool looks_like(const keel_sniff *sniff) {
    if (sniff->shape == KEEL_SHAPE_TABLE) return false;
    if (keel_formats_has(sniff, "prompt") && keel_formats_has(sniff, "provider") &&
        (keel_formats_has(sniff, "response") || keel_formats_has(sniff, "gradingResult")))
        return true;
    return sniff->shape == KEEL_SHAPE_OBJECTS && keel_formats_has(sniff, "results") &&
           (keel_formats_has(sniff, "evalId") || keel_formats_has(sniff, "config")) &&
           keel_formats_contains(sniff, "\"prompt");
}

const keel_reader_kind keel__promptfoo_reader = {.looks_like = looks_like,
                                                 .state_size = sizeof(state),
                                                 .open = open_file,
                                                 .next = next,
                                                 .close = close_file};
