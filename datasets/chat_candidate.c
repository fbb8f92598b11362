/* One response of the chat format: its numbers, its judgements, and two mentions of it. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "datasets/chat_internal.h"

void keel__chat_count(keel__chat *in, int what, bool happened) {
    if (in->counts) in->counts[what] += happened;
}

bool keel__chat_has(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return item && !cJSON_IsNull(item);
}

/* ---- scalars ---- */

keel_status keel__chat_text(keel__chat *in, const cJSON *object, const char *key, const char **out) {
    return keel_json_string(object, key, false, out, in->place, in->err);
}

static keel_status check_range(keel__chat *in, const char *key, double value, double low, double high) {
    char got[KEEL_DECIMAL_SIZE];
    if (value >= low && value <= high) return KEEL_OK;
    keel_decimal_print(got, value);
    keel_fail(in->err, KEEL_E_INVALID, in->place, "%s: expected a number from %g to %g, got %s", key, low,
              high, got);
    if (high == 1 && low == -1)
        return keel_hint(in->err, "divide by the largest: rewards and feedback are from -1 to 1");
    return KEEL_E_INVALID;
}

static keel_status fail_number(keel__chat *in, const char *key, const char *text, const char *end,
                               double value) {
    keel_fail(in->err, KEEL_E_PARSE, in->place, "%s: expected a number, got \"%s\"", key, text);
    if (end == text) return KEEL_E_PARSE;
    if (!isfinite(value)) return keel_hint(in->err, "leave it empty, or write null, where nobody knows it");
    if (*end == ',') return keel_hint(in->err, "write the number without a comma");
    return keel_hint(in->err, "write %.*s, a number without its unit", (int)(end - text), text);
}

/* A number, or a text that is nothing but one. */
static keel_status read_number(keel__chat *in, const cJSON *object, const char *key, double low, double high,
                               keel_optional *out) {
    const cJSON *item = keel_json_get(object, key);
    double value = 0;
    if (!keel__chat_has(object, key)) return KEEL_OK;
    if (cJSON_IsString(item)) {
        char *end;
        value = keel_decimal_read(item->valuestring, &end);
        if (end == item->valuestring || *end || !isfinite(value))
            return fail_number(in, key, item->valuestring, end, value);
    } else {
        KEEL_TRY(keel_json_number(object, key, true, &value, in->place, in->err));
    }
    KEEL_TRY(check_range(in, key, value, low, high));
    *out = (keel_optional){true, value};
    return KEEL_OK;
}

const char *keel__chat_lower(keel__chat *in, const char *word) {
    char *lower = keel_arena_strdup(in->arena, word);
    for (char *at = lower; at && *at; at++) *at = (char)tolower((unsigned char)*at);
    return lower ? lower : "";
}

/* What a softmax in single precision leaves above 1 is 1. */
static keel_status read_propensity(keel__chat *in, const cJSON *object, keel_optional *out) {
    const double noise = 1e-6;
    const cJSON *item = keel_json_get(object, "propensity");
    if (cJSON_IsNumber(item) && item->valuedouble > 1 && item->valuedouble <= 1 + noise) {
        *out = (keel_optional){true, 1};
        return KEEL_OK;
    }
    const keel_status status = read_number(in, object, "propensity", 0, 1, out);
    if (status == KEEL_E_INVALID && cJSON_IsNumber(item) && item->valuedouble < 0)
        return keel_hint(in->err, "a logarithm? write the probability itself: exp of it");
    KEEL_TRY(status);
    if (!out->present || out->value > 0) return KEEL_OK;
    return keel_fail(in->err, KEEL_E_INVALID, in->place,
                     "propensity: what was taken cannot have had probability 0");
}

/* A number in [-1, 1], "up" or "down", true or false. */
static keel_status read_feedback(keel__chat *in, const cJSON *object, keel_optional *out) {
    const cJSON *item = keel_json_get(object, "feedback");
    if (cJSON_IsBool(item)) {
        *out = (keel_optional){true, cJSON_IsTrue(item) ? 1 : -1};
        return KEEL_OK;
    }
    if (!cJSON_IsString(item)) return read_number(in, object, "feedback", -1, 1, out);
    bool up = strcasecmp(item->valuestring, "up") == 0;
    if (!up && strcasecmp(item->valuestring, "down") != 0) {
        keel_fail(in->err, KEEL_E_INVALID, in->place,
                  "feedback: expected \"up\", \"down\" or a number from -1 to 1, got \"%s\"",
                  item->valuestring);
        return keel_hint(in->err,
                         "write up for thumbs up, like or good, down for the contrary, 0.5 for \"0.5\"");
    }
    *out = (keel_optional){true, up ? 1 : -1};
    return KEEL_OK;
}

/* A number is the accuracy; an object names its components. */
static keel_status read_reward(keel__chat *in, const cJSON *object, keel_reward *out) {
    const cJSON *item = keel_json_get(object, "reward");
    if (!item || cJSON_IsNull(item)) return KEEL_OK;
    bool whole = !cJSON_IsObject(item);
    for (const cJSON *part = whole ? NULL : item->child; part; part = part->next) {
        if (keel_reward_find(part->string) == KEEL_N_REWARDS)
            return keel_fail(in->err, KEEL_E_INVALID, in->place, "reward: \"%s\" is not one of %s",
                             part->string, keel_reward_list);
    }
    for (int k = 0; k < (whole ? 1 : KEEL_N_REWARDS); k++) {
        keel_optional value = {0};
        const double *range = keel_reward_range(k);
        KEEL_TRY(read_number(in, whole ? object : item, whole ? "reward" : keel_reward_name(k), range[0],
                             range[1], &value));
        out->present[k] = value.present;
        out->value[k] = (float)value.value;
    }
    return KEEL_OK;
}

/* The label, and who gave it: people, unless `judge` says otherwise. */
static keel_status read_outcome(keel__chat *in, const cJSON *object, keel_candidate *out) {
    const char *name = NULL, *judge = NULL;
    KEEL_TRY(keel_json_string(object, "outcome", false, &name, in->place, in->err));
    if (!name) return KEEL_OK;
    if (!keel_outcome_parse(keel__chat_lower(in, name), &out->outcome) || out->outcome == KEEL_OUTCOME_NONE) {
        keel_fail(in->err, KEEL_E_INVALID, in->place,
                  "outcome: expected compliance, partial_refusal or refusal, got \"%s\"", name);
        return keel_hint(in->err, "call what was answered compliance, in part partial_refusal, not refusal");
    }
    out->judge = KEEL_AUTHORITY_HUMAN;
    KEEL_TRY(keel_json_string(object, "judge", false, &judge, in->place, in->err));
    if (!judge || keel_authority_parse(judge, &out->judge)) return KEEL_OK;
    return keel_fail(in->err, KEEL_E_INVALID, in->place, "judge: expected human, rule or model, got \"%s\"",
                     judge);
}

/* ---- responses ---- */

keel_status keel__chat_judgements(keel__chat *in, const cJSON *object, keel_candidate *out) {
    KEEL_TRY(keel__chat_text(in, object, "model", &out->model));
    KEEL_TRY(keel__chat_text(in, object, "act", &out->act));
    KEEL_TRY(read_propensity(in, object, &out->propensity));
    KEEL_TRY(read_number(in, object, "latency_ms", 0, 1e12, &out->latency_ms));
    KEEL_TRY(read_feedback(in, object, &out->feedback));
    KEEL_TRY(read_reward(in, object, &out->logged_reward));
    return read_outcome(in, object, out);
}

void keel__chat_judge_by_service(keel__chat *in, const keel__message *said, keel_candidate *out) {
    if (!said->refused || out->outcome != KEEL_OUTCOME_NONE) return;
    if (!out->text) out->text = "";
    out->outcome = KEEL_OUTCOME_REFUSAL;
    out->judge = KEEL_AUTHORITY_RULE;
    keel__chat_count(in, KEEL__CHAT_SERVICE_REFUSALS, true);
}

keel_status keel__chat_candidate(keel__chat *in, const cJSON *item, int index, keel_candidate *out,
                                 bool *whole) {
    *out = (keel_candidate){0};
    *whole = true;
    if (cJSON_IsString(item)) {
        out->text = item->valuestring;
        return KEEL_OK;
    }
    if (!cJSON_IsObject(item))
        return keel_fail(in->err, KEEL_E_PARSE, in->place, "candidates[%d]: expected a text or an object",
                         index);
    keel__message said;
    KEEL_TRY(keel__message_content(item, in->place, in->arena, &said, in->err));
    out->text = said.text;
    *whole = said.whole;
    KEEL_TRY(keel__chat_judgements(in, item, out));
    keel__chat_judge_by_service(in, &said, out);
    KEEL_TRY(keel_json_bool(item, "taken", false, &out->taken, in->place, in->err));
    if (!out->text && !out->act)
        return keel_fail(in->err, KEEL_E_PARSE, in->place, "candidates[%d]: expected content or an act",
                         index);
    if (!out->text) out->text = "";
    return KEEL_OK;
}

static bool agree(const char *a, const char *b) {
    return !a || !b || strcmp(a, b) == 0;
}

static keel_status join_optional(keel__chat *in, const char *key, keel_optional *into, keel_optional from) {
    if (into->present && from.present && into->value != from.value) {
        char first[KEEL_DECIMAL_SIZE], second[KEEL_DECIMAL_SIZE];
        keel_decimal_print(first, into->value);
        keel_decimal_print(second, from.value);
        return keel_fail(in->err, KEEL_E_INVALID, in->place,
                         "%s: given twice for one candidate, as %s and %s", key, first, second);
    }
    if (!into->present) *into = from;
    return KEEL_OK;
}

keel_status keel__chat_join(keel__chat *in, keel_candidate *into, const keel_candidate *from) {
    if (!into->act) into->act = from->act;
    if (!into->model) into->model = from->model;
    into->taken |= from->taken;
    KEEL_TRY(join_optional(in, "propensity", &into->propensity, from->propensity));
    KEEL_TRY(join_optional(in, "latency_ms", &into->latency_ms, from->latency_ms));
    KEEL_TRY(join_optional(in, "feedback", &into->feedback, from->feedback));
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        keel_optional value = {into->logged_reward.present[k], (double)into->logged_reward.value[k]};
        KEEL_TRY(join_optional(
            in, "reward", &value,
            (keel_optional){from->logged_reward.present[k], (double)from->logged_reward.value[k]}));
        into->logged_reward.present[k] = value.present;
        into->logged_reward.value[k] = (float)value.value;
    }
    if (into->outcome != KEEL_OUTCOME_NONE && from->outcome != KEEL_OUTCOME_NONE &&
        into->outcome != from->outcome)
        return keel_fail(in->err, KEEL_E_INVALID, in->place,
                         "outcome: given twice for one candidate, as %s and %s",
                         keel_outcome_name(into->outcome), keel_outcome_name(from->outcome));
    if (into->outcome == KEEL_OUTCOME_NONE) into->outcome = from->outcome;
    if (into->judge == KEEL_AUTHORITY_NONE) into->judge = from->judge;
    return KEEL_OK;
}

bool keel__chat_same_response(const keel_candidate *a, const keel_candidate *b) {
    return strcmp(a->text, b->text) == 0 && agree(a->act, b->act) && agree(a->model, b->model);
}
