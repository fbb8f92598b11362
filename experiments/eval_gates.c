#include "experiments/eval_gates.h"

#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "rl/judge/evaluate_internal.h"
#include "rl/judge/gate_internal.h"

static const double CONFIDENCE = 0.95;

/* ---- reading ---- */

/* Whether the gate makes sense: against an evaluation of nothing, whose models nobody knows yet. */
static keel_status try_on_nothing(const char *expression, keel_err *err) {
    keel_evaluation_set nothing = {0};
    keel_gate_result result;
    cJSON *evaluation = keel_evaluation_json(&nothing);
    if (!evaluation) return keel_nomem(err, "--gate");
    cJSON_DeleteItemFromObjectCaseSensitive(evaluation, "models");
    keel_status status = keel_gate_check_json(expression, evaluation, &result, err);
    cJSON_Delete(evaluation);
    return status;
}

keel_status keel_eval_gates_read(keel_eval_gates *out, keel_cli *cli, keel_err *err) {
    keel_eval_gates made = {.n_levels = 1, .arena = &cli->arena};
    KEEL_TRY(keel_cli_values(cli, "--gate", &made.expression, &made.count, err));
    made.of = keel_arena_calloc(&cli->arena, made.count + 1, sizeof *made.of);
    made.level = keel_arena_calloc(&cli->arena, made.count + 1, sizeof *made.level);
    if (!made.of || !made.level) return keel_nomem(err, "--gate");
    made.level[0] = CONFIDENCE;
    for (size_t i = 0; i < made.count; i++) {
        KEEL_TRY(try_on_nothing(made.expression[i], err));
        KEEL_TRY(keel_gate_measure(made.expression[i], made.of[i].measure, &made.of[i].of_policy, err));
    }
    *out = made;
    return KEEL_OK;
}

/* ---- tries ---- */

/* The content hash of the split; of several, that of theirs. */
static keel_status hash_splits(keel_eval_gates *gates, keel_store *store, const keel_split *const *splits,
                               size_t n, keel_err *err) {
    keel_buf names = {0}, hashes = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        status = keel_store_content_hash(store, splits[i], gates->split_hash, err);
        keel_buf_format(&names, "%s%s", i ? " + " : "", splits[i]->text);
        keel_buf_format(&hashes, "%s%s", i ? " " : "", gates->split_hash);
    }
    if (status == KEEL_OK && n > 1) {
        keel_sha256 hash;
        keel_sha256_init(&hash);
        keel_sha256_add_text(&hash, hashes.data);
        keel_sha256_hex(&hash, gates->split_hash);
    }
    gates->split = names.data ? keel_arena_strdup(gates->arena, names.data) : NULL;
    if (status == KEEL_OK && (!gates->split || hashes.failed)) status = keel_nomem(err, "--gate");
    keel_buf_free(&names);
    keel_buf_free(&hashes);
    return status;
}

static size_t level_of(keel_eval_gates *gates, int64_t number) {
    const double confidence = number > 1 ? 1 - (1 - CONFIDENCE) / (double)number : CONFIDENCE;
    size_t i = 0;
    while (i < gates->n_levels && gates->level[i] != confidence) i++;
    if (i == gates->n_levels) gates->level[gates->n_levels++] = confidence;
    return i;
}

keel_status keel_eval_gates_look_up(keel_eval_gates *gates, keel_store *store, const char *policy,
                                    const keel_split *const *splits, size_t n, keel_err *err) {
    gates->policy = keel_arena_strdup(gates->arena, policy);
    if (!gates->policy) return keel_nomem(err, "--gate");
    KEEL_TRY(keel_store_has_tries(store, &gates->kept, err));
    gates->recorded = gates->kept && keel_store_writable(store);
    if (!gates->recorded)
        keel_log(KEEL_LOG_INFO, "note: %s may not be written: the tries of its gates are not counted on",
                 keel_store_path(store));
    if (!gates->kept) return KEEL_OK;
    KEEL_TRY(hash_splits(gates, store, splits, n, err));
    for (size_t i = 0; i < gates->count; i++) {
        keel_gate_try *one = &gates->of[i];
        int64_t tries, place;
        if (!one->of_policy) continue;
        KEEL_TRY(keel_store_find_try(store, gates->split_hash, one->measure, policy, &tries, &place, err));
        one->number = place ? place : tries + 1;
        one->level = level_of(gates, one->number);
    }
    return KEEL_OK;
}

keel_status keel_eval_gates_record(const keel_eval_gates *gates, keel_store *store, keel_err *err) {
    if (!gates->recorded) return KEEL_OK;
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < gates->count && status == KEEL_OK; i++)
        if (gates->of[i].of_policy)
            status = keel_store_put_try(store, gates->split_hash, gates->of[i].measure, gates->policy,
                                        gates->split, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    return status;
}

/* ---- the check ---- */

/* "; policy 3 that this gate is tried on here: interval of 98.33 %". */
static void describe_try(const keel_eval_gates *gates, const keel_gate_try *one, keel_buf *text) {
    if (one->number > 1)
        keel_buf_format(text, "; policy %lld that this gate is tried on here: interval of %.4g %%",
                        (long long)one->number, 100 * gates->level[one->level]);
    if (one->of_policy && !gates->recorded)
        keel_buf_text(text, gates->kept ? "; this try is not recorded" : "; no ledger of tries");
}

static cJSON *gate_json(const keel_eval_gates *gates, size_t i, const keel_gate_result *result) {
    const keel_gate_try *one = &gates->of[i];
    keel_buf text = {0};
    cJSON *row = cJSON_CreateObject();
    keel_gate_describe(result, &text);
    describe_try(gates, one, &text);
    cJSON_AddStringToObject(row, "gate", gates->expression[i]);
    cJSON_AddBoolToObject(row, "met", result->met);
    cJSON_AddNumberToObject(row, "measured", result->measured);
    cJSON_AddNumberToObject(row, "n", result->interval.n);
    cJSON_AddNumberToObject(row, "needed", result->needed);
    keel_json_add(row, "tries", one->number ? cJSON_CreateNumber((double)one->number) : cJSON_CreateNull());
    cJSON_AddNumberToObject(row, "confidence", gates->level[one->level]);
    cJSON_AddBoolToObject(row, "recorded", gates->recorded && one->of_policy);
    cJSON_AddStringToObject(row, "text", text.data ? text.data : "");
    keel_buf_free(&text);
    return row;
}

static keel_status check_one(const keel_eval_gates *gates, size_t i, const keel_evaluation_set *sets,
                             cJSON **row, bool *met, keel_err *err) {
    keel_gate_result result;
    cJSON *evaluation = keel_evaluation_json(&sets[gates->of[i].level]);
    if (!evaluation) return keel_nomem(err, "--gate");
    keel_status status = keel_gate_check_json(gates->expression[i], evaluation, &result, err);
    cJSON_Delete(evaluation);
    if (status != KEEL_OK) return status;
    *met = result.met;
    *row = gate_json(gates, i, &result);
    return KEEL_OK;
}

keel_status keel_eval_gates_check(const keel_eval_gates *gates, const keel_evaluation_set *sets, cJSON *found,
                                  keel_err *err) {
    size_t missed = 0;
    keel_buf names = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < gates->count && status == KEEL_OK; i++) {
        cJSON *row = NULL;
        bool met = true;
        status = check_one(gates, i, sets, &row, &met, err);
        if (status != KEEL_OK) break;
        if (!met)
            keel_buf_format(&names, "%s%s", missed++ ? "; " : "", keel_json_get(row, "text")->valuestring);
        keel_json_add(found, NULL, row);
    }
    const char *which = names.data ? names.data : "";
    if (status == KEEL_OK && missed == 1)
        status = keel_fail(err, KEEL_E_GATE, "--gate", "not met: %s", which);
    if (status == KEEL_OK && missed > 1)
        status =
            keel_fail(err, KEEL_E_GATE, "--gate", "%zu of %zu are not met: %s", missed, gates->count, which);
    keel_buf_free(&names);
    return status;
}
