/* Fronts: what several policies, or one policy under several weightings, come to in completion, speed and
 * safety, and which of them no other beats in all three. `eval` and `simulate` make one where several answer.
 *
 *   {"objectives": [...], "reference": [...], "hypervolume": number, "best_alone": number,
 *    "mean_utility": number,
 *    "trained": {"runs", "updates", "transitions"},
 *    "points": [{"policy": hash, "weights": {...}, "utility": number, "on_front": bool, "metrics": {name:
 * interval}}]}
 *
 * The hypervolume (rl/judge/pareto.h) is that above the reference, by default completion 0, speed 0 and
 * safety -1: no task done, answers no faster than target_ms, harm in every conversation. So low a reference
 * favours one good point: best_alone is the largest volume of a single one. A reference a little below the
 * worst of what is compared shows the front; fronts are compared above the same one only. The volume rewards
 * being spread out; whether each weighting got what it asked for is in the utility, w . (accuracy, speed,
 * safety) under the point's own weights, and its mean over the points. trained: what the policies took
 * together, in optimizer updates and in transitions seen (updates times batch). What is not known is null,
 * and a point of which an objective is not known is not on the front.
 */
#ifndef KEEL_EXPERIMENTS_PARETO_REPORT_H
#define KEEL_EXPERIMENTS_PARETO_REPORT_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "experiments/cli.h"
#include "policies/policy.h"

/* For the verbs that make fronts: the flag, and its value or the default. */
enum { KEEL_N_OBJECTIVES = 3 };
#define KEEL_FLAG_REFERENCE                                                                                  \
    {                                                                                                        \
        "--reference", "C,S,S", false, false,                                                                \
            "of the front's hypervolume: completion, speed, safety (default: 0,0,-1)"                        \
    }

keel_status keel_pareto_report_reference(const keel_cli *cli, double out[KEEL_N_OBJECTIVES], keel_err *err);

/* Into an empty object: no points yet, the reference given, and what the training of the policies in these
 * folders took. Without memory parts are missing: see keel_json_lost. */
keel_status keel_pareto_report_begin(const keel_cli *cli, cJSON *front, const char *const *policy_dirs,
                                     size_t count, keel_err *err);
/* Adds a point: the policy under its weights as they are. Takes metrics over. */
void keel_pareto_report_add(cJSON *front, const keel_policy *policy, cJSON *metrics);
/* When all points are there: which are on the front, and the hypervolume. */
keel_status keel_pareto_report_end(cJSON *front, keel_err *err);

/* For people: a row for each point, and the hypervolume. */
void keel_pareto_report_print(const cJSON *front, FILE *out);
/* Fronts of a run (keel_report_fronts): each, then a table of their hypervolumes and of what they took. */
void keel_pareto_report_compare(const cJSON *fronts, FILE *out);
/* "accuracy 0.5, speed 0.25, safety 0.25" into out, cut to fit. */
void keel_pareto_report_name(const cJSON *point, char *out, size_t size);

#endif
