/* Rates apart by what the log says of a conversation or decision: where a policy is weak is hidden in a rate
 * over all. Counted at the decisions of the log, as keel_evaluation.on_log, of policy and log alike;
 * intervals are those of rates (keel_rate_interval). Many slices are looked at at once: of twenty intervals
 * of 95 % one misses by chance.
 *
 * - category: the first string among the keys category, risk_category, harm_category, hazard, type, theme,
 *   topic, domain, subset, task of the conversation's meta
 * - language: the string language or lang of its meta; where there is none, the script that most letters of
 *   its first message by a user are of
 * - model: who gave the logged answers of the decision, where that is one model
 * - turn: which answer of the conversation it is
 * - length: of the message that is answered, in characters
 * - state: unfamiliar, or like those that the policy learned from (policies/familiar.h) */
#ifndef KEEL_RL_JUDGE_SLICES_H
#define KEEL_RL_JUDGE_SLICES_H

#include <cjson/cJSON.h>

#include "rl/judge/evaluate.h"

typedef struct keel_slices keel_slices;

keel_status keel_slices_open(keel_slices **out, keel_err *err);
void keel_slices_close(keel_slices *slices);
/* A conversation (keel_evaluate_look); the context is a keel_slices. */
keel_status keel_slices_add(void *slices, const keel_evaluate_seen *seen, keel_err *err);
/* {"by": [{"name": "category", "rows": [{"name", "decisions", "policy": {rate: interval}, "logged": {...}}],
 * "unsaid", "others"}], "missing": ["language", ...]}. Rows: of the largest first, turns and lengths in their
 * order. unsaid: decisions that the log does not say it of; others: those of names beyond the first 256. A
 * name that all decisions share tells nothing apart: it is in missing, as what no decision says. NULL when
 * out of memory; the caller deletes. */
cJSON *keel_slices_json(const keel_slices *slices, double confidence);
/* The script most letters are of ("Latin", "Hangul", ...); NULL where there is no letter. */
const char *keel_slices_script(const char *text);

#endif
