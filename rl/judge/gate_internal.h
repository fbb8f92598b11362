/* Gates on an evaluation as JSON, which a program may have read from a file. */
#ifndef KEEL_RL_JUDGE_GATE_INTERNAL_H
#define KEEL_RL_JUDGE_GATE_INTERNAL_H

#include <cjson/cJSON.h>

#include "rl/judge/gate.h"

/* keel_gate_check on the JSON of keel_evaluation_json. Without "models" in it (before the work is done),
 * models.NAME stands for any model. */
keel_status keel_gate_check_json(const char *expression, const cJSON *evaluation, keel_gate_result *out,
                                 keel_err *err);

/* What a gate measures, without bound and threshold, so that another threshold is the same try:
 * "refusal_rate", "speed - base.speed", "ope.wis"; and whether it is the policy that it tests. */
keel_status keel_gate_measure(const char *expression, char measure[360], bool *of_policy, keel_err *err);

#endif
