/* Worlds whose rewards are known, logs of them, and the true value of a policy. Values are discounted returns
 * of a whole conversation (episode). */
#ifndef KEEL_EXPERIMENTS_VALUE_WORLD_H
#define KEEL_EXPERIMENTS_VALUE_WORLD_H

#include <stdbool.h>

#include "policies/qnet.h"

/* Conversations one after the other. The caller frees it with value_log_free. */
typedef struct value_log {
    size_t n, n_conversations, room; /* steps */
    float *state;                    /* [n, dim] */
    int32_t *action;                 /* [n] */
    float *reward;                   /* [n] */
    bool *first, *last;              /* [n] of a conversation */
    double mean_return;
} value_log;
void value_log_free(value_log *log);
keel_status value_log_add(value_log *log, size_t dim, const float *state, int32_t action, bool first,
                          keel_err *err); /* no reward, not the last */

/* A value as a mean over episodes; se 0: exact. */
typedef struct value_truth {
    double value, se;
    size_t episodes;
} value_truth;

typedef struct value_world {
    const struct value_world_kind *kind;
    size_t dim, acts; /* of states; of the fixed set */
    double gamma;
    double precision; /* standard error of a true value at most, as a share of best - random */
    uint64_t seed;
    double best, best_se, random; /* values of the best (scripted) policy and of acting at random */
    void *own;
} value_world;

typedef struct value_world_kind {
    const char *name;
    keel_status (*open)(value_world *world, keel_err *err);
    /* n conversations of a behaviour that takes the best act, but with probability eps any; part 0 is the
     * log, part 1 another one like it. A longer log begins as a shorter one does. */
    keel_status (*log)(value_world *world, size_t n, double eps, int part, value_log *out, keel_err *err);
    /* Of the policy softmax(net outputs). */
    keel_status (*truth)(value_world *world, const keel_qnet *net, value_truth *out, keel_err *err);
    void (*close)(value_world *world);
} value_world_kind;
extern const value_world_kind value_desk;    /* the support desk: rollouts */
extern const value_world_kind value_tabular; /* a random process for each seed: exact */

keel_status value_world_open(value_world *world, const value_world_kind *kind, uint64_t seed,
                             double precision, keel_err *err);
void value_world_close(value_world *world); /* a zeroed one is harmless */

#endif
