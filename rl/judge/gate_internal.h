/* Gates on an evaluation as JSON, which a program may have read from a file. */
#ifndef KEEL_RL_JUDGE_GATE_INTERNAL_H
#define KEEL_RL_JUDGE_GATE_INTERNAL_H

#include <cjson/cJSON.h>

#include "rl/judge/gate.h"

/* keel_gate_check on the JSON of keel_evaluation_json. Without "models" in it (before the work is done),
 * models.NAME stands for any model. */
keel_status keel_gate_check_json(const char *expression, const cJSON *evaluation, keel_gate_result *out,
                                 keel_err *err);

#endif
