/* Gates: conditions on an evaluation.
 *
 *   NAME[.low|.high|.value] OP NUMBER        OP is one of >= <= > <
 *   policy.METRIC - WHO.METRIC OP NUMBER     WHO is logged or base
 *   (policy.METRIC - WHO.METRIC).BOUND OP NUMBER
 *
 * NAME is a metric of the policy ("refusal_rate", or "policy.refusal_rate"), of a baseline
 * ("logged.refusal_rate", "base.refusal_rate"), of a source model ("models.MODEL.refusal_rate"), or an
 * off-policy estimate ("ope.wis"). Without a bound a NAME stands for its value, or, where part of it is
 * unknown and its value but a middle, for the limit that the condition must hold for. A difference without a
 * bound stands for the limit of its 95 % interval that the condition must hold for: low with >= and >, high
 * with <= and <. The minus sign has a blank on both sides, since names may hold '-'. */
#ifndef KEEL_RL_JUDGE_GATE_H
#define KEEL_RL_JUDGE_GATE_H

#include <stdbool.h>

#include "core/api.h"
#include "core/memory.h"
#include "core/status.h"
#include "rl/judge/evaluate.h"

KEEL_BEGIN_DECLS

typedef struct keel_gate_result {
    char what[360];         /* name and bound: "refusal_rate.low", "(policy.speed - base.speed).low" */
    const char *comparison; /* ">=", "<=", ">" or "<" */
    double threshold;
    double measured; /* NaN: nothing is known */
    bool met;
    keel_interval interval; /* n 0: the name has no interval, or nothing is known */
    double needed;          /* with fewer observations than this no result could meet the gate; 0: there are
                               enough, or no such number exists */
} keel_gate_result;

/* A metric of which nothing is known never meets a gate; nor does an estimate over propensities that are
 * refuted (rl/judge/ope.h).
 *
 * KEEL_E_USAGE: a malformed expression, an unknown name (the error lists the
 * names), or a threshold outside the range of the metric, which it would always or never meet. */
keel_status keel_gate_check(const char *expression, const keel_evaluation_set *set, keel_gate_result *out,
                            keel_err *err);

/* "refusal_rate.low 0.975 >= 0.97 (0.986 [0.975, 0.992] on 2,028)"; what would be needed, if n is too small;
 * that nothing is known. */
void keel_gate_describe(const keel_gate_result *result, keel_buf *out);

KEEL_END_DECLS

#endif
