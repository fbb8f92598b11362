/* One step of a training run whose minibatch is cut into shards: the gradients of the shards are added in
 * shard order, the sum is clipped by its global norm (Pascanu, Mikolov & Bengio 2013), Adam or AdamW moves
 * the parameters, and a target network may follow by Polyak averaging. Sum and update run in pieces of the
 * parameter block on all threads of the pool; results do not depend on the number of threads. */
#ifndef KEEL_CORE_SHARDED_STEP_H
#define KEEL_CORE_SHARDED_STEP_H

#include "core/loss_scale.h"
#include "core/optim.h"
#include "core/parallel.h"

typedef struct keel_sharded_step keel_sharded_step;

/* What a step does with the gradient. */
typedef struct keel_step_rule {
    keel_adam_config adam;
    double rate_factor;     /* on the learning rate */
    double clip_norm;       /* largest Euclidean norm of the sum; 0: no limit */
    keel_loss_scale *scale; /* the loss was multiplied by its factor: the gradient is divided by it, and the
                               factor moves; NULL: it was not */
    keel_real *target;      /* [params->size] of the target network; NULL: none moves */
    double tau;             /* target <- (1 - tau) target + tau parameters */
} keel_step_rule;

/* Called with the gradient [size] of one shard after the shard's work and before the sum, on the thread that
 * did the work; it may change the gradient. With shards of one example this is the gradient of that example,
 * so a filter of per-example gradients belongs here: clipping each one for differential privacy (DP-SGD,
 * Abadi et al. 2016, Algorithm 1; noise goes into the gradient of shard 0), or leaving out outliers. Random
 * numbers must depend on step and shard alone. */
typedef keel_status keel_gradient_filter(void *context, size_t shard, keel_real *gradient, size_t size,
                                         keel_err *err);

/* For parameter blocks laid out as `params`, with room for so many gradients of shards: a step of more shards
 * (gradients 2 or more) works through them in waves, which saves memory and changes no bit. The pool stays
 * the caller's. */
keel_status keel_sharded_step_open(keel_sharded_step **out, const keel_params *params, size_t gradients,
                                   keel_pool *pool, keel_err *err);
void keel_sharded_step_close(keel_sharded_step *step); /* NULL is harmless */
/* Where the work of a shard leaves its gradient [params->size]; zero at first, and what another shard left
 * there in a later wave. That of shard 0 holds the sum after a step, clipped if it was. */
keel_real *keel_sharded_step_gradient(const keel_sharded_step *step, size_t shard);
void keel_sharded_step_filter(keel_sharded_step *step, keel_gradient_filter *filter, void *context);

/* Calls work(context, shard, thread) for shards 0 .. shards-1 and adds up their gradients. *norm: that of the
 * sum. */
keel_status keel_sharded_step_sum(keel_sharded_step *step, size_t shards, keel_shard_work *work,
                                  void *context, double *norm, keel_err *err);
/* The same, then one step on params with the moments in adam. *norm: before clipping, of the unscaled sum.
 * With rule->scale, a sum that is not finite moves nothing, adam->steps neither, and *norm is not finite. */
keel_status keel_sharded_step_take(keel_sharded_step *step, size_t shards, keel_shard_work *work,
                                   void *context, const keel_step_rule *rule, keel_params *params,
                                   keel_adam *adam, double *norm, keel_err *err);

#endif
