/* The gates of `eval` and their ledger in the store: which policy was tested on which split by which gate.
 * Whoever tries many policies on one split finds one that passes by chance, so the k-th policy that a gate is
 * tried on there needs an interval of confidence 1 - 0.05 / k (Bonferroni). The same policy again is the same
 * try. */
#ifndef KEEL_EXPERIMENTS_EVAL_GATES_H
#define KEEL_EXPERIMENTS_EVAL_GATES_H

#include "datasets/store.h"
#include "experiments/cli.h"
#include "rl/judge/evaluate.h"

typedef struct keel_gate_try {
    char measure[360];
    bool of_policy; /* others are not tried: what the log is does not change */
    int64_t number; /* which policy it is, from 1, that the gate is tried on; 0: nobody knows */
    size_t level;   /* of keel_eval_gates.level */
} keel_gate_try;

typedef struct keel_eval_gates {
    const char *const *expression;
    size_t count;
    keel_gate_try *of; /* [count] in the cli's arena */
    double *level;     /* [n_levels] confidences to evaluate at, the first 0.95 */
    size_t n_levels;
    bool kept, recorded;        /* the store has a ledger; and may be written */
    const char *split, *policy; /* texts for the ledger, in the cli's arena */
    char split_hash[65];
    keel_arena *arena;
} keel_eval_gates;

/* The flags --gate. KEEL_E_USAGE for one that makes no sense, before any work. */
keel_status keel_eval_gates_read(keel_eval_gates *out, keel_cli *cli, keel_err *err);
/* Numbers of the tries, and the confidences that they need. policy: names what is tested with all that it
 * decides by. */
keel_status keel_eval_gates_look_up(keel_eval_gates *gates, keel_store *store, const char *policy,
                                    const keel_split *const *splits, size_t n, keel_err *err);
/* All gates, each against the evaluation of its level (sets [n_levels]); found gets a row for each.
 * KEEL_E_GATE names those that are not met. */
keel_status keel_eval_gates_check(const keel_eval_gates *gates, const keel_evaluation_set *sets, cJSON *found,
                                  keel_err *err);
keel_status keel_eval_gates_record(const keel_eval_gates *gates, keel_store *store, keel_err *err);

#endif
