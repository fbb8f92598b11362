/* An evaluation as a tree of cJSON, inside the library and for the program. */
#ifndef KEEL_RL_JUDGE_EVALUATE_INTERNAL_H
#define KEEL_RL_JUDGE_EVALUATE_INTERNAL_H

#include <cjson/cJSON.h>

#include "rl/judge/evaluate.h"

/* What keel_evaluation_print prints; the caller deletes. NULL when out of memory. */
cJSON *keel_evaluation_json(const keel_evaluation_set *set);
/* Parts of it. */
cJSON *keel_corrected_json(const keel_corrected corrected[KEEL_N_CORRECTED]);
cJSON *keel_judged_json(const keel_judged_by *judged);

#endif
