/* The table of learners. A new one takes a row here and a file in this folder that defines its kind. */
#ifndef KEEL_RL_LEARN_LEARNERS_H
#define KEEL_RL_LEARN_LEARNERS_H

#include <stdbool.h>

#include "core/status.h"

/* ROW(enumerator, name, kind, help) */
#define KEEL_LEARNERS(ROW)                                                                                   \
    ROW(CQL, "cql", cql, "conservative Q-learning (alpha)")                                                  \
    ROW(DQN, "dqn", dqn, "double Q-learning: no conservative term")                                          \
    ROW(BC, "bc", bc, "behaviour cloning")                                                                   \
    ROW(FILTERED_BC, "filtered-bc", filtered_bc, "cloning of the best conversations (keep_top)")             \
    ROW(CQL_LAGRANGE, "cql-lagrange", cql_lagrange,                                                          \
        "cql, weighted so as to hold its gap (lagrange_threshold)")                                          \
    ROW(IQL, "iql", iql, "implicit Q-learning: expectile values (expectile)")                                \
    ROW(ILQL, "ilql", ilql, "iql with each critic's conservative term (expectile, alpha)")                   \
    ROW(AWAC, "awac", awac, "cloning weighted by advantages; cloning=binary: CRR (temperature)")             \
    ROW(BCQ, "bcq", bcq, "Q-learning over the actions that the base supports (support)")

#define KEEL_LEARNER_ID(id, name, kind, help) KEEL_ALGO_##id,
typedef enum keel_algorithm { KEEL_LEARNERS(KEEL_LEARNER_ID) KEEL_N_ALGORITHMS } keel_algorithm;
#undef KEEL_LEARNER_ID
extern const char *const keel_algorithms[]; /* names, NULL */

typedef struct keel_tensor keel_tensor;
struct keel_learner_config;
struct keel_loss;

/* How the value of the next decision is made. */
typedef enum keel_target_rule {
    KEEL_TARGET_NONE, /* no Q is learned */
    KEEL_TARGET_BEST, /* Qbar of the best action, chosen by the online network (double Q) or by Qbar itself */
    KEEL_TARGET_ACTOR, /* expectation of Qbar under the actor */
    KEEL_TARGET_VALUE  /* the value network */
} keel_target_rule;

typedef struct keel_learner_kind {
    keel_target_rule target;
    bool value, actor, multiplier; /* what it trains besides net */
    bool imitates;                 /* the acting network's outputs are log pi itself */
    bool each_critic; /* the conservative term is the critics' sum instead of the term of their mean */
    bool supported;   /* actions are those that the behaviour supports */
    void (*standard)(struct keel_learner_config *config); /* its own defaults; NULL: the table's */
    keel_status (*check)(const struct keel_learner_config *config, keel_err *err); /* NULL: all is well */
    /* The shard's loss out of what the frame has made (rl/learn/loss.h); NULL when an operation failed. */
    keel_tensor *(*loss)(struct keel_loss *loss);
} keel_learner_kind;

#define KEEL_LEARNER_KIND(id, name, kind, help) extern const keel_learner_kind keel_learn_##kind;
KEEL_LEARNERS(KEEL_LEARNER_KIND)
#undef KEEL_LEARNER_KIND
const keel_learner_kind *keel_learner_kind_of(int algorithm);

#endif
