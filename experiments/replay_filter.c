#include "experiments/replay_filter.h"

#include <string.h>

#include "core/json.h"
#include "core/text.h"

/* ---- flags ---- */

static keel_status bad_name(const char *flag, const char *given, const char *names, keel_err *err) {
    return keel_fail(err, KEEL_E_USAGE, flag, "\"%s\": expected %s", given, names);
}

static keel_status read_outcome(const keel_cli *cli, const char *flag, int *out, keel_err *err) {
    const char *given = keel_cli_value(cli, flag);
    keel_outcome outcome = KEEL_OUTCOME_NONE;
    *out = -1;
    if (!given) return KEEL_OK;
    if (strcmp(given, "none") != 0 && !keel_outcome_parse(given, &outcome))
        return bad_name(flag, given, "compliance, partial_refusal, refusal or none", err);
    *out = (int)outcome;
    return KEEL_OK;
}

static keel_status read_slice(const keel_cli *cli, keel_replay_filter *filter, keel_err *err) {
    const char *given = keel_cli_value(cli, "--slice"), *equals = given ? strchr(given, '=') : NULL;
    if (!given) return KEEL_OK;
    if (!equals || equals == given) return bad_name("--slice", given, "KEY=VALUE", err);
    char *key = keel_arena_strdup(&filter->arena, given);
    if (!key) return keel_nomem(err, "--slice");
    key[equals - given] = '\0';
    filter->key = key;
    filter->value = equals + 1;
    return KEEL_OK;
}

static keel_status read_text(const keel_cli *cli, keel_replay_filter *filter, keel_err *err) {
    const char *given = keel_cli_value(cli, "--text");
    if (!given) return KEEL_OK;
    if (keel_utf8_valid_prefix(given, strlen(given)) != strlen(given))
        return keel_fail(err, KEEL_E_USAGE, "--text", "it is not UTF-8 text");
    filter->text = keel_text_fold(&filter->arena, given, strlen(given));
    return filter->text ? KEEL_OK : keel_nomem(err, "--text");
}

keel_status keel_replay_filter_open(keel_replay_filter *filter, const keel_cli *cli, keel_err *err) {
    const char *given = keel_cli_value(cli, "--risk");
    keel_risk risk;
    *filter = (keel_replay_filter){.risk = -1, .outcome = -1, .answer = -1};
    if (given && !keel_risk_parse(given, &risk))
        return bad_name("--risk", given, "benign, dangerous or unknown", err);
    if (given) filter->risk = (int)risk;
    filter->unfamiliar = keel_cli_has(cli, "--only-unfamiliar");
    KEEL_TRY(read_outcome(cli, "--outcome", &filter->outcome, err));
    KEEL_TRY(read_outcome(cli, "--answer", &filter->answer, err));
    KEEL_TRY(read_text(cli, filter, err));
    return read_slice(cli, filter, err);
}

void keel_replay_filter_close(keel_replay_filter *filter) {
    keel_arena_free(&filter->arena);
}

/* ---- decisions ---- */

static bool has_outcome(const keel_decision *decision, int outcome) {
    for (size_t c = 0; c < decision->n_candidates; c++)
        if (decision->candidates[c].taken && (int)decision->candidates[c].outcome == outcome) return true;
    return false;
}

static bool was_said(const keel_replay_filter *filter, const keel_conversation *c, size_t before) {
    keel_arena scratch = {0};
    bool found = false;
    for (size_t t = 0; t < before && t < c->n_turns && !found; t++) {
        const char *text = c->turns[t].text ? c->turns[t].text : "";
        const char *folded = keel_text_fold(&scratch, text, strlen(text));
        if (!folded) keel_json_lose();
        found = folded && strstr(folded, filter->text);
    }
    keel_arena_free(&scratch);
    return found;
}

static bool wrote(const keel_decision *decision, const char *model) {
    for (size_t c = 0; c < decision->n_candidates; c++) {
        const keel_candidate *one = &decision->candidates[c];
        if (one->taken && one->model && strcmp(one->model, model) == 0) return true;
    }
    return false;
}

/* A text as it is, a number or truth value as JSON writes it. For want of memory nothing is, which counts as
 * lost. */
static bool meta_has(const char *meta, const char *key, const char *value) {
    cJSON *object = NULL;
    keel_buf text = {0};
    if (!meta || !strstr(meta, key)) return false;
    keel_status status = keel_json_parse(meta, strlen(meta), "meta", &object, NULL);
    const cJSON *item = status == KEEL_OK ? keel_json_get(object, key) : NULL;
    const char *said = cJSON_GetStringValue(item);
    if (item && !said) {
        status = keel_json_print(item, false, &text, NULL);
        said = text.data;
    }
    if (status == KEEL_E_NOMEM) keel_json_lose();
    const bool same = status == KEEL_OK && said && strcmp(said, value) == 0;
    keel_buf_free(&text);
    cJSON_Delete(object);
    return same;
}

static bool in_slice(const keel_replay_filter *filter, const keel_conversation *c,
                     const keel_decision *decision) {
    if (strcmp(filter->key, "model") == 0 && wrote(decision, filter->value)) return true;
    return meta_has(c->meta, filter->key, filter->value);
}

bool keel_replay_filter_reads(keel_replay_filter *filter, const keel_conversation *conversation,
                              size_t place) {
    const keel_decision *decision = &conversation->decisions[place];
    if (filter->risk >= 0 && (int)conversation->risk != filter->risk) return false;
    if (filter->outcome >= 0 && !has_outcome(decision, filter->outcome)) return false;
    if (filter->key && !in_slice(filter, conversation, decision)) return false;
    return !filter->text || was_said(filter, conversation, decision->turn);
}

bool keel_replay_filter_takes(const keel_replay_filter *filter, const keel_answer *answer,
                              const keel_choice *choice) {
    if (filter->unfamiliar && !choice->unfamiliar) return false;
    return filter->answer < 0 || (int)answer->outcome == filter->answer;
}
