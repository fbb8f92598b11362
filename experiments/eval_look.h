/* What `eval` tells of an evaluation besides its metrics, gathered in the same walk: slices, cases, and by
 * whom the answers of the log are labelled. */
#ifndef KEEL_EXPERIMENTS_EVAL_LOOK_H
#define KEEL_EXPERIMENTS_EVAL_LOOK_H

#include <cjson/cJSON.h>

#include "experiments/cases.h"
#include "rl/judge/slices.h"

typedef struct keel_eval_look {
    keel_slices *slices;
    keel_cases *cases;
    double conversations, simulated, decisions, labelled[KEEL_AUTHORITY_HUMAN + 1];
} keel_eval_look;

/* most_cases: of each kind. Close in any case. */
keel_status keel_eval_look_open(keel_eval_look *look, size_t most_cases, keel_err *err);
void keel_eval_look_close(keel_eval_look *look);
/* A conversation (keel_evaluate_look); the context is a keel_eval_look. */
keel_status keel_eval_look_at(void *look, const keel_evaluate_seen *seen, keel_err *err);
/* "judged_on": {"conversations", "simulated", "decisions", "answers": {"human", "rule", "model", "nobody"}}
 * (answers of the log), "slices", "cases". */
void keel_eval_look_add(keel_eval_look *look, cJSON *result, double confidence);

#endif
