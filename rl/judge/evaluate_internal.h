/* An evaluation as a tree of cJSON, inside the library and for the program. */
#ifndef KEEL_RL_JUDGE_EVALUATE_INTERNAL_H
#define KEEL_RL_JUDGE_EVALUATE_INTERNAL_H

#include <cjson/cJSON.h>

#include "rl/judge/evaluate.h"
#include "rl/judge/overall.h"

/* What keel_evaluation_print prints; the caller deletes. NULL when out of memory. */
cJSON *keel_evaluation_json(const keel_evaluation_set *set);
/* Parts of it. */
cJSON *keel__interval_json(const keel_interval *interval);
cJSON *keel_corrected_json(const keel_corrected corrected[KEEL_N_CORRECTED]);
cJSON *keel_judged_json(const keel_judged_by *judged);

/* Means from the sums; rates too where conversations of several turns were played (overall; NULL: nobody
 * played), and what they are at the decisions of the log moves to on_log. */
void keel__evaluation_put(const keel_overall_sums *sums, const keel_overall *overall, double confidence,
                          keel_evaluation *out);
/* The same of differences: policy minus another. */
void keel__evaluation_put_difference(const keel_overall *overall, keel_overall_who other, double confidence,
                                     keel_interval *out);
/* The same of a policy minus the one that it takes the place of, from the sums of both; rates that were
 * played are those that have an on_log in `evaluated`. */
void keel__evaluation_put_exchange(const keel_overall_sums *after, const keel_overall_sums *before,
                                   const keel_evaluation *evaluated, double confidence, keel_interval *out);

#endif
