/* The fold that moves the multiplier of a constraint (rl/learn/cql_constrained.c): conversations that nothing
 * is learned from, and that choose and test nothing else. */
#ifndef KEEL_RL_TRAIN_DUAL_H
#define KEEL_RL_TRAIN_DUAL_H

#include "core/api.h"
#include "datasets/split.h"

KEEL_BEGIN_DECLS

typedef struct keel_dual {
    keel_split part, rest; /* keel_split_cut: judged, learned from */
    bool partial;          /* an answer in part is harm too */
} keel_dual;

KEEL_END_DECLS

#endif
