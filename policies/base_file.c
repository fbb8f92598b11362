#include "policies/base_file.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"

/* ---- writing ---- */

static bool write_fixed(const keel_candidate *one, cJSON *list) {
    cJSON *row = cJSON_CreateObject();
    return keel_json_add(list, NULL, row) && cJSON_AddStringToObject(row, "content", one->text) &&
           cJSON_AddStringToObject(row, "outcome", keel_outcome_name(one->outcome)) &&
           (!one->act || cJSON_AddStringToObject(row, "act", one->act));
}

bool keel_base_space_write(const keel_base *base, cJSON *to) {
    cJSON *acts = NULL, *fixed = NULL;
    bool good = cJSON_AddStringToObject(to, "action_space", keel_space_name(base->space)) &&
                (acts = cJSON_AddArrayToObject(to, "acts")) &&
                (fixed = cJSON_AddArrayToObject(to, "fixed_answers"));
    for (size_t i = 0; good && i < base->n_acts; i++)
        good = keel_json_add(acts, NULL, cJSON_CreateString(base->acts[i]));
    for (size_t i = 0; good && i < base->n_fixed; i++) good = write_fixed(&base->fixed[i], fixed);
    return good;
}

/* ---- reading ---- */

static keel_status read_fixed(const cJSON *from, const char *where, keel_arena *arena, keel_base_space *out,
                              keel_err *err) {
    const cJSON *fixed = NULL, *item;
    KEEL_TRY(keel_json_array(from, "fixed_answers", false, &fixed, where, err));
    size_t n = fixed ? (size_t)cJSON_GetArraySize(fixed) : 0;
    if (n > KEEL_MOST_FIXED || (n > 0 && out->space != KEEL_SPACE_CANDIDATES))
        return keel_fail(err, KEEL_E_INVALID, where,
                         "\"fixed_answers\": expected at most %d, and none in the space %s, got %zu",
                         (int)KEEL_MOST_FIXED, keel_space_name(KEEL_SPACE_ACTS), n);
    keel_candidate *made = keel_arena_calloc(arena, n + 1, sizeof *made);
    if (!made) return keel_nomem(err, where);
    out->fixed = made;
    cJSON_ArrayForEach (item, fixed) {
        keel_candidate *one = &made[out->n_fixed++];
        const char *outcome = NULL;
        KEEL_TRY(keel_json_string(item, "content", true, &one->text, where, err));
        KEEL_TRY(keel_json_string(item, "outcome", true, &outcome, where, err));
        KEEL_TRY(keel_json_string(item, "act", false, &one->act, where, err));
        if (!keel_outcome_parse(outcome, &one->outcome))
            return keel_fail(err, KEEL_E_INVALID, where, "\"outcome\": unknown outcome \"%s\"", outcome);
    }
    return KEEL_OK;
}

static keel_status read_acts(const cJSON *from, const char *where, keel_arena *arena, keel_base_space *out,
                             keel_err *err) {
    const cJSON *acts = NULL, *item;
    KEEL_TRY(keel_json_array(from, "acts", true, &acts, where, err));
    const char **made = keel_arena_calloc(arena, (size_t)cJSON_GetArraySize(acts) + 1, sizeof *made);
    if (!made) return keel_nomem(err, where);
    out->acts = made;
    cJSON_ArrayForEach (item, acts) {
        if (!cJSON_IsString(item)) return keel_fail(err, KEEL_E_PARSE, where, "\"acts\": expected texts");
        made[out->n_acts++] = item->valuestring;
    }
    if (out->space == KEEL_SPACE_OUTCOMES && out->n_acts != KEEL_N_OUTCOMES)
        return keel_fail(err, KEEL_E_INVALID, where, "\"acts\": expected the %d outcomes, got %zu acts",
                         (int)KEEL_N_OUTCOMES, out->n_acts);
    if ((out->space == KEEL_SPACE_CANDIDATES) != (out->n_acts == 0) || out->n_acts > 65536)
        return keel_fail(err, KEEL_E_INVALID, where, "\"acts\": %zu acts do not fit the space %s",
                         out->n_acts, keel_space_name(out->space));
    return KEEL_OK;
}

keel_status keel_base_space_read(const cJSON *from, const char *where, keel_arena *arena,
                                 keel_base_space *out, keel_err *err) {
    const char *space = NULL;
    *out = (keel_base_space){0};
    KEEL_TRY(keel_json_string(from, "action_space", true, &space, where, err));
    if (!keel_space_parse(space, &out->space))
        return keel_fail(err, KEEL_E_INVALID, where, "\"action_space\": unknown space \"%s\"", space);
    KEEL_TRY(read_acts(from, where, arena, out, err));
    return read_fixed(from, where, arena, out, err);
}

/* ---- into a base ---- */

keel_status keel_base_space_set(keel_base *base, const keel_base_space *space, keel_arena *arena,
                                keel_err *err) {
    const char **acts = keel_arena_calloc(arena, space->n_acts + 1, sizeof *acts);
    keel_candidate *fixed = keel_arena_calloc(arena, space->n_fixed + 1, sizeof *fixed);
    bool good = acts && fixed;
    for (size_t i = 0; good && i < space->n_acts; i++)
        good = (acts[i] = keel_arena_strdup(arena, space->acts[i])) != NULL;
    for (size_t i = 0; good && i < space->n_fixed; i++) {
        const keel_candidate *from = &space->fixed[i];
        fixed[i] = (keel_candidate){.text = keel_arena_strdup(arena, from->text), .outcome = from->outcome};
        if (from->act) fixed[i].act = keel_arena_strdup(arena, from->act);
        good = fixed[i].text && (!from->act || fixed[i].act);
    }
    if (!good) return keel_nomem(err, "base");
    base->space = space->space;
    base->acts = acts;
    base->n_acts = space->n_acts;
    base->fixed = fixed;
    base->n_fixed = space->n_fixed;
    return KEEL_OK;
}

/* ---- the settings of a base over a transformer ---- */

cJSON *keel_base_settings_json(const keel_base *base, const char *model_type, const keel_base_settings *of) {
    cJSON *json = cJSON_CreateObject();
    if (json && cJSON_AddStringToObject(json, "model_type", model_type) &&
        cJSON_AddStringToObject(json, "split", of->split) && keel_base_space_write(base, json) &&
        cJSON_AddNumberToObject(json, "state_tokens", (double)of->state_tokens) &&
        cJSON_AddNumberToObject(json, "candidate_tokens", (double)of->candidate_tokens) &&
        cJSON_AddBoolToObject(json, "ngrams", of->ngrams))
        return json;
    cJSON_Delete(json);
    return NULL;
}

keel_status keel_base_settings_write(cJSON *json, const char *dir, const char *name, keel_err *err) {
    keel_arena arena = {0};
    const char *path = keel_path_join(&arena, dir, name);
    keel_status status = json && path ? keel_json_write_file(path, json, err) : keel_nomem(err, dir);
    keel_arena_free(&arena);
    cJSON_Delete(json);
    return status;
}

keel_status keel_base_settings_number(const keel_base_settings *s, const char *key, double low, double high,
                                      double *out, keel_err *err) {
    KEEL_TRY(keel_json_number(s->json, key, true, out, s->where, err));
    if (*out >= low && *out <= high) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, s->where, "\"%s\": expected %g to %g, got %g", key, low, high,
                     *out);
}

static keel_status read_tokens(const keel_base_settings *s, const char *key, int64_t *out, keel_err *err) {
    double value = 0;
    KEEL_TRY(keel_base_settings_number(s, key, 1, 1e6, &value, err));
    *out = (int64_t)value;
    if (value == floor(value)) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, s->where, "\"%s\": expected a whole number, got %g", key, value);
}

keel_status keel_base_settings_read(keel_base_settings *out, const char *dir, const char *name,
                                    const char *model_type, keel_err *err) {
    const char *type = NULL;
    *out = (keel_base_settings){0};
    out->where = keel_path_join(&out->arena, dir, name);
    if (!out->where) return keel_nomem(err, dir);
    KEEL_TRY(keel_json_parse_file(out->where, &out->json, err));
    KEEL_TRY(keel_json_string(out->json, "model_type", true, &type, out->where, err));
    if (strcmp(type, model_type) != 0)
        return keel_fail(err, KEEL_E_UNSUPPORTED, out->where, "expected model_type \"%s\", got \"%s\"",
                         model_type, type);
    KEEL_TRY(keel_json_string(out->json, "split", true, &out->split, out->where, err));
    KEEL_TRY(keel_base_space_read(out->json, out->where, &out->arena, &out->space, err));
    KEEL_TRY(read_tokens(out, "state_tokens", &out->state_tokens, err));
    KEEL_TRY(read_tokens(out, "candidate_tokens", &out->candidate_tokens, err));
    return keel_json_bool(out->json, "ngrams", true, &out->ngrams, out->where, err);
}

void keel_base_settings_free(keel_base_settings *settings) {
    cJSON_Delete(settings->json);
    keel_arena_free(&settings->arena);
}
