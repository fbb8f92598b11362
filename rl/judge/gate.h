/* Gates: "NAME[.low|.high|.value] OP NUMBER" over metrics of the policy (or "baselines.logged.NAME...",
 * "ope.wis.low"), OP one of >= <= > <. */
#ifndef KEEL_RL_JUDGE_GATE_H
#define KEEL_RL_JUDGE_GATE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "core/status.h"

/* evaluation: the JSON of keel_evaluation_json. KEEL_E_USAGE for a malformed expression or unknown name
 * (listing the names); a metric that is null never meets a gate. measured gets what was compared (NaN for
 * null). Without "models" in the evaluation (before the work is done), models.NAME stands for any model. */
keel_status keel_gate_check(const char *expression, const cJSON *evaluation, bool *met, double *measured,
                            keel_err *err);

#endif
