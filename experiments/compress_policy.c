#include "experiments/compress_policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "experiments/cli_resources.h"
#include "experiments/eval_config.h"
#include "experiments/table.h"
#include "policies/artefact.h"
#include "policies/compress/prune_qnet.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/judge/exchange.h"
#include "rl/learn/derive.h"
#include "rl/train/constrain_internal.h"

typedef struct exchanging {
    const keel_compress_policy_job *job;
    keel_policy *policy[KEEL_N_EXCHANGE];
    keel_base *base[KEEL_N_EXCHANGE];
    keel_reward_config rewards;
    cJSON *manifest;      /* of the policy as it was */
    bool bound;           /* there is one */
    keel_constraint harm; /* its part: what tests it */
    keel_split judged;    /* what both are compared on */
    keel_constrained made;
    double threshold[KEEL_N_EXCHANGE];
    keel_exchange found;
    keel_interval loss;
    cJSON *result; /* owned */
    char refused[512];
    keel_err *err;
} exchanging;

enum { BEFORE = KEEL_EXCHANGE_BEFORE, AFTER = KEEL_EXCHANGE_AFTER };

/* ---- what there is ---- */

static keel_status open_all(exchanging *x) {
    const keel_compress_policy_job *job = x->job;
    KEEL_TRY(keel_cli_open_policy(job->policy, job->base, &x->policy[BEFORE], &x->base[BEFORE], x->err));
    KEEL_TRY(keel_policy_load(&x->policy[AFTER], job->policy, x->err));
    KEEL_TRY(keel_base_load(&x->base[AFTER], job->small_base, x->err));
    KEEL_TRY(keel_policy_rebind(x->policy[AFTER], x->base[AFTER], x->err));
    KEEL_TRY(keel_manifest_read(job->policy, &x->manifest, x->err));
    return keel_derive_rewards(job->store, &x->rewards, x->err);
}

static keel_status read_bound(const exchanging *x, const cJSON *was, const char **part, const char **counts,
                              double *harm, double *confidence) {
    const char *where = x->job->policy;
    KEEL_TRY(keel_json_string(was, "tested_on", false, part, where, x->err));
    KEEL_TRY(keel_json_string(was, "counts", false, counts, where, x->err));
    KEEL_TRY(keel_json_number(was, "max_harm", false, harm, where, x->err));
    return keel_json_number(was, "confidence", false, confidence, where, x->err);
}

/* What the policy was tested by last: one that was written --anyway claims no bound, but was under one. */
static const cJSON *last_bound(const cJSON *manifest) {
    const cJSON *metrics = keel_json_get(manifest, "metrics");
    while (metrics && !keel_json_get(metrics, "constraint")) metrics = keel_json_get(metrics, "before");
    return keel_json_get(metrics, "constraint");
}

/* Whether the base was tuned on conversations of a part, or compression looked at some. What a base keeps of
 * them (crossed logits) compression leaves as it was, so that they would test what the base was. */
static keel_status is_known(const exchanging *x, const keel_split *part, bool *out) {
    const keel_split *looked_at = x->job->looked_at;
    keel_base_saw saw;
    KEEL_TRY(keel_cli_base_saw(x->job->small_base, part, &saw, x->err));
    *out = saw.itself || saw.teacher || (looked_at && !keel_split_disjoint(looked_at, part));
    return KEEL_OK;
}

/* The part that tested the policy before, if it can again; else half of what is held out. */
static keel_status find_part(exchanging *x, const char *before) {
    bool known = true;
    if (before && keel_split_parse(before, &x->harm.part, NULL) == KEEL_OK &&
        keel_split_disjoint(&x->harm.part, &x->judged) &&
        keel_store_check_split(x->job->store, &x->harm.part, NULL) == KEEL_OK)
        KEEL_TRY(is_known(x, &x->harm.part, &known));
    if (!known) return KEEL_OK;
    KEEL_TRY(keel_split_cut(&x->job->held_out, "0/2", &x->harm.part, &x->judged, x->err));
    KEEL_TRY(keel_store_check_split(x->job->store, &x->harm.part, x->err));
    KEEL_TRY(is_known(x, &x->harm.part, &known));
    if (!known) return KEEL_OK;
    keel_fail(x->err, KEEL_E_USAGE, "--held-out",
              "%s: the base was tuned on some of it, or its compression looked at it", x->job->held_out.text);
    return keel_hint(x->err, "a bound of harm is tested on conversations that neither knows");
}

/* The bound and what tests it: as the policy's own keel.json says, unless the configuration does. */
static keel_status find_bound(exchanging *x) {
    const keel_compress_config *c = x->job->config;
    const cJSON *was = last_bound(x->manifest);
    const char *part = NULL, *counts = "compliance";
    double harm = 0, confidence = 0.95;
    if (was) KEEL_TRY(read_bound(x, was, &part, &counts, &harm, &confidence));
    x->judged = x->job->held_out;
    x->harm = (keel_constraint){.max_harm = c->max_harm > 0 ? c->max_harm : harm,
                                .confidence = c->confidence > 0 ? c->confidence : confidence,
                                .partial = strcmp(counts, "partial") == 0};
    x->bound = x->harm.max_harm > 0;
    return x->bound ? find_part(x, part) : KEEL_OK;
}

/* ---- the harm threshold ---- */

static void refuse(exchanging *x, const char *why) {
    if (!x->refused[0]) snprintf(x->refused, sizeof x->refused, "%s", why);
}

/* With `anyway`, where none passes: the strictest. */
static keel_status set_threshold(exchanging *x) {
    keel_policy *policy = x->policy[AFTER];
    keel_err told = {0};
    x->threshold[BEFORE] = x->threshold[AFTER] = policy->harm_threshold;
    if (!x->bound) return KEEL_OK;
    KEEL_TRY(keel_encode_store(x->job->store, &x->harm.part, x->base[AFTER], x->job->pool, NULL, x->err));
    keel_status status =
        keel_constrain(&x->harm, x->job->store, x->base[AFTER], &x->rewards, policy, &x->made, &told);
    if (status == KEEL_E_GATE) {
        refuse(x, told.message);
        policy->harm_threshold = keel_constrain_threshold(0);
        x->made.chosen = 0;
    } else if (status != KEEL_OK) {
        if (x->err) *x->err = told;
        return status;
    }
    x->threshold[AFTER] = policy->harm_threshold;
    return KEEL_OK;
}

/* ---- before and after ---- */

static const int shown[] = {KEEL_METRIC_REFUSAL,    KEEL_METRIC_HARMFUL_COMPLIANCE, KEEL_METRIC_OVER_REFUSAL,
                            KEEL_METRIC_BORDERLINE, KEEL_METRIC_COMPLETION,         KEEL_METRIC_COMPOSITE,
                            KEEL_METRIC_AGREEMENT};
enum { N_SHOWN = sizeof shown / sizeof *shown };

static keel_status compare(exchanging *x) {
    keel_eval_config measure;
    keel_evaluate_item items[KEEL_N_EXCHANGE];
    KEEL_TRY(keel_options_defaults(keel_eval_config_options, &measure, x->err));
    const keel_evaluate_config config = keel_eval_config_resolve(&measure, &x->rewards);
    for (int i = 0; i < KEEL_N_EXCHANGE; i++) {
        items[i] = (keel_evaluate_item){.policy = x->policy[i], .base = x->base[i], .split = x->judged};
        KEEL_TRY(keel_encode_store(x->job->store, &x->judged, x->base[i], x->job->pool, NULL, x->err));
    }
    return keel_exchange_evaluate(x->job->store, items, &config, x->job->pool, &x->found, x->err);
}

/* The mean of what refusal and completion fall by, of those that are known; both are of other conversations
 * (danger; what can be completed), so their distances to the limits are joined as those of independent
 * estimates. */
static keel_interval loss_of(const exchanging *x) {
    static const int kept[] = {KEEL_METRIC_REFUSAL, KEEL_METRIC_COMPLETION};
    keel_interval loss = {0};
    double n = 0, below = 0, above = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const keel_interval *minus = &x->found.minus[kept[i]];
        if (!(minus->n > 0)) continue;
        n++;
        loss.value -= minus->value;
        loss.n += minus->n;
        below = hypot(below, minus->high - minus->value);
        above = hypot(above, minus->value - minus->low);
    }
    if (!(n > 0)) return loss;
    loss.value /= n;
    loss.low = loss.value - below / n;
    loss.high = loss.value + above / n;
    return loss;
}

/* It counts as it is measured; its interval stands beside it. */
static void check_loss(exchanging *x) {
    const double most = x->job->config->max_loss;
    char why[160];
    x->loss = loss_of(x);
    if (most < 1 && !(x->loss.n > 0))
        refuse(
            x,
            "no label on --held-out says whether max_loss is kept: neither refusal nor completion is known");
    if (!(x->loss.n > 0) || !(x->loss.value > most)) return;
    snprintf(why, sizeof why,
             "refusal_rate and completion_rate fall by %.4f on average, more than max_loss %g", x->loss.value,
             most);
    refuse(x, why);
}

static cJSON *threshold_json(double threshold) {
    return isfinite(threshold) ? cJSON_CreateNumber(threshold) : cJSON_CreateNull();
}

/* The share of decisions that are not as they were. */
static keel_interval changed_of(const keel_exchange *found) {
    const keel_interval *same = &found->same;
    return (keel_interval){
        .value = 1 - same->value, .low = 1 - same->high, .high = 1 - same->low, .n = same->n};
}

static keel_status put_result(exchanging *x) {
    const keel_interval changed = changed_of(&x->found);
    cJSON *json = x->result = cJSON_CreateObject(), *table = cJSON_AddObjectToObject(json, "table"),
          *threshold = cJSON_AddObjectToObject(json, "threshold");
    bool good = json && table && threshold && cJSON_AddStringToObject(json, "held_out", x->judged.text) &&
                cJSON_AddNumberToObject(json, "critic_bytes_before", keel_policy_bytes(x->policy[BEFORE])) &&
                cJSON_AddNumberToObject(json, "critic_bytes", keel_policy_bytes(x->policy[AFTER])) &&
                keel_json_add(json, "loss", keel_interval_json(&x->loss)) &&
                keel_json_add(json, "changed", keel_interval_json(&changed)) &&
                keel_json_add(threshold, "before", threshold_json(x->threshold[BEFORE])) &&
                keel_json_add(threshold, "after", threshold_json(x->threshold[AFTER]));
    for (int i = 0; good && i < N_SHOWN; i++) {
        cJSON *row = cJSON_AddObjectToObject(table, keel_metric_names[shown[i]]);
        good = row &&
               keel_json_add(row, "before", keel_interval_json(&x->found.side[BEFORE].metric[shown[i]])) &&
               keel_json_add(row, "after", keel_interval_json(&x->found.side[AFTER].metric[shown[i]])) &&
               keel_json_add(row, "difference", keel_interval_json(&x->found.minus[shown[i]]));
    }
    if (good && x->bound) good = keel_json_add(json, "constraint", keel_constrained_json(&x->made, &x->harm));
    if (good && x->refused[0]) good = cJSON_AddStringToObject(json, "refused", x->refused) != NULL;
    return good ? KEEL_OK : keel_nomem(x->err, "compress");
}

/* ---- the artefact ---- */

static cJSON *lineage_json(const exchanging *x) {
    const cJSON *was = keel_json_get(x->manifest, "lineage");
    cJSON *lineage = cJSON_CreateObject();
    bool good =
        lineage && cJSON_AddStringToObject(lineage, "compressed_from", x->policy[BEFORE]->hash) &&
        cJSON_AddStringToObject(lineage, "base", x->base[AFTER]->hash) &&
        cJSON_AddStringToObject(lineage, "held_out", x->job->held_out.text) &&
        keel_json_add(lineage, "compression", keel_options_to_json(keel_compress_options, x->job->config));
    for (const char *const *key = (const char *const[]){"seed", "content", "split", "rewards", NULL};
         good && *key; key++)
        if (keel_json_get(was, *key))
            good = keel_json_add(lineage, *key, cJSON_Duplicate(keel_json_get(was, *key), true));
    good = good && (!was || keel_json_add(lineage, "before", cJSON_Duplicate(was, true)));
    if (good &&
        keel_artefact_identify(lineage, keel_json_get(x->manifest, "config"), NULL, x->err) == KEEL_OK)
        return lineage;
    cJSON_Delete(lineage);
    return NULL;
}

static cJSON *metrics_json(const exchanging *x) {
    const cJSON *was = keel_json_get(x->manifest, "metrics");
    cJSON *metrics = cJSON_CreateObject();
    bool good = metrics && keel_json_add(metrics, "exchange", cJSON_Duplicate(x->result, true)) &&
                (!was || keel_json_add(metrics, "before", cJSON_Duplicate(was, true)));
    if (good && x->bound && !x->refused[0])
        good = keel_json_add(metrics, "constraint", keel_constrained_json(&x->made, &x->harm));
    if (good) return metrics;
    cJSON_Delete(metrics);
    return NULL;
}

static keel_status write_policy(exchanging *x) {
    const cJSON *config = keel_json_get(x->manifest, "config");
    cJSON *lineage = lineage_json(x), *metrics = metrics_json(x);
    keel_status status = lineage && metrics ? KEEL_OK : keel_nomem(x->err, "compress");
    if (status == KEEL_OK)
        status = keel_artefact_check_out(x->job->place, "policy", lineage, config, x->job->replace, x->err);
    if (status == KEEL_OK)
        status = keel_policy_save(x->policy[AFTER], x->job->out, lineage, config, metrics, NULL, x->err);
    cJSON_Delete(lineage);
    cJSON_Delete(metrics);
    return status;
}

static keel_status exchange(exchanging *x) {
    KEEL_TRY(open_all(x));
    KEEL_TRY(find_bound(x));
    KEEL_TRY(keel_prune_policy(x->policy[AFTER], x->base[AFTER], x->job->config, x->job->logged, x->err));
    if (x->job->config->critics) KEEL_TRY(keel_policy_pack(x->policy[AFTER], x->err));
    KEEL_TRY(set_threshold(x));
    KEEL_TRY(compare(x));
    check_loss(x);
    KEEL_TRY(put_result(x));
    if (!x->refused[0] || x->job->anyway) return write_policy(x);
    keel_fail(x->err, KEEL_E_GATE, x->job->policy, "%s", x->refused);
    return keel_hint(x->err, "nothing is written; --anyway writes it all the same");
}

keel_status keel_compress_policy(const keel_compress_policy_job *job, cJSON **out, keel_err *err) {
    exchanging x = {.job = job, .err = err};
    const keel_status status = exchange(&x);
    *out = x.result;
    for (int i = 0; i < KEEL_N_EXCHANGE; i++) {
        keel_policy_close(x.policy[i]);
        keel_base_close(x.base[i]);
    }
    cJSON_Delete(x.manifest);
    return status;
}

/* ---- for people ---- */

static void print_threshold(const cJSON *threshold, const char *key, FILE *out) {
    const cJSON *item = keel_json_get(threshold, key);
    if (cJSON_IsNumber(item))
        fprintf(out, "%g", item->valuedouble);
    else
        fprintf(out, "none");
}

static void print_bound(const cJSON *constraint, FILE *out) {
    if (!constraint) {
        fprintf(out, "; no bound on harm was asked for\n");
        return;
    }
    fprintf(out, "; harmful in %.0f of %.0f dangerous conversations of %s, p = %.3g for a bound of %g\n",
            cJSON_GetNumberValue(keel_json_get(constraint, "harms")),
            cJSON_GetNumberValue(keel_json_get(constraint, "conversations")),
            keel_json_get(constraint, "tested_on")->valuestring,
            cJSON_GetNumberValue(keel_json_get(constraint, "p")),
            cJSON_GetNumberValue(keel_json_get(constraint, "max_harm")));
}

void keel_compress_policy_print(const cJSON *result, FILE *out) {
    const cJSON *threshold = keel_json_get(result, "threshold"), *row;
    keel_table table = {.columns = 4};
    fprintf(out, "\nthe policy on %s\n", keel_json_get(result, "held_out")->valuestring);
    for (const char *const *head = (const char *const[]){"", "before", "after", "after - before", NULL};
         *head; head++)
        keel_table_cell(&table, "%s", *head);
    cJSON_ArrayForEach (row, keel_json_get(result, "table")) {
        keel_table_cell(&table, "%s", row->string);
        keel_table_interval(&table, keel_json_get(row, "before"));
        keel_table_interval(&table, keel_json_get(row, "after"));
        keel_table_interval(&table, keel_json_get(row, "difference"));
    }
    for (const char *const *name = (const char *const[]){"changed", "loss", NULL}; *name; name++) {
        keel_table_cell(&table, "%s", *name);
        keel_table_cell(&table, "-");
        keel_table_cell(&table, "-");
        keel_table_interval(&table, keel_json_get(result, *name));
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
    fprintf(out, "\nharm threshold: ");
    print_threshold(threshold, "before", out);
    fprintf(out, " before, ");
    print_threshold(threshold, "after", out);
    fprintf(out, " after");
    print_bound(keel_json_get(result, "constraint"), out);
    if (keel_json_get(result, "refused"))
        fprintf(out, "refused: %s\n", keel_json_get(result, "refused")->valuestring);
}
