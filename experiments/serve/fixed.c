#include "experiments/serve/fixed.h"

#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/source.h"
#include "experiments/serve/openai.h"

static keel_status read_line(const char *line, size_t length, const char *where, keel_arena *arena,
                             keel_candidate *out, keel_err *err) {
    static const char *const known[] = {"text", "outcome", "act", NULL};
    const cJSON *object;
    const char *outcome = NULL;
    KEEL_TRY(keel_json_parse_in(arena, line, length, where, &object, err));
    if (!cJSON_IsObject(object)) return keel_fail(err, KEEL_E_PARSE, where, "expected a JSON object");
    KEEL_TRY(keel_openai_check_keys(object, known, where, err));
    KEEL_TRY(keel_json_string(object, "text", true, &out->text, where, err));
    KEEL_TRY(keel_json_string(object, "act", false, &out->act, where, err));
    KEEL_TRY(keel_json_string(object, "outcome", false, &outcome, where, err));
    if (!out->text[0]) return keel_fail(err, KEEL_E_INVALID, where, "text: expected an answer, got \"\"");
    if (!outcome || (keel_outcome_parse(outcome, &out->outcome) && out->outcome != KEEL_OUTCOME_NONE))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, where,
                     "outcome: expected compliance, partial_refusal or refusal, got \"%s\"", outcome);
}

static keel_status read_lines(keel_source *source, keel_arena *arena, keel_candidate *out, size_t *n,
                              keel_err *err) {
    char *line, where[400];
    size_t length, number;
    for (;;) {
        KEEL_TRY(keel_source_line(source, &line, &length, &number, err));
        if (!line) return KEEL_OK;
        if (strspn(line, " \t\r") == length) continue;
        snprintf(where, sizeof where, "%s:%zu", keel_source_name(source), number);
        if (*n == KEEL_FIXED_MOST)
            return keel_fail(err, KEEL_E_INVALID, where, "more than %d answers", KEEL_FIXED_MOST);
        KEEL_TRY(read_line(line, length, where, arena, &out[(*n)++], err));
    }
}

keel_status keel_fixed_read(const char *path, keel_arena *arena, keel_candidate **out, size_t *n,
                            keel_err *err) {
    keel_source *source;
    *n = 0;
    *out = keel_arena_calloc(arena, KEEL_FIXED_MOST, sizeof **out);
    if (!*out) return keel_nomem(err, path);
    KEEL_TRY(keel_source_open(&source, path, err));
    keel_status status = read_lines(source, arena, *out, n, err);
    keel_source_close(source);
    return status;
}
