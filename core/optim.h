/* Optimizers: Adam (Kingma & Ba 2015, Algorithm 1) and AdamW (Loshchilov & Hutter 2019, Algorithm 2), and
 * Polyak averaging. Embedding tables have keel_sparse_grad_descend (core/sparse.h). */
#ifndef KEEL_CORE_OPTIM_H
#define KEEL_CORE_OPTIM_H

#include <stdint.h>

#include "core/params.h"
#include "core/status.h"

typedef struct keel_adam_config {
    double learning_rate; /* 3e-4 */
    double beta1;         /* 0.9 */
    double beta2;         /* 0.999 */
    double epsilon;       /* 1e-8, added after the square root of the bias-corrected second moment */
    double
        weight_decay; /* decoupled (AdamW): p -= lr * decay * p, on parameters whose table says so; 0: Adam */
} keel_adam_config;

typedef struct keel_adam {
    size_t size;       /* elements */
    uint64_t steps;    /* taken so far */
    keel_real *first;  /* [size] first moment */
    keel_real *second; /* [size] second moment */
} keel_adam;

keel_adam_config keel_adam_defaults(void);
keel_status keel_adam_open(keel_adam *adam, size_t size, keel_err *err);
void keel_adam_close(keel_adam *adam);
/* One step on all parameters; grads laid out as params->data. rate_factor multiplies the learning rate
 * (schedules), and so does each parameter's own. */
void keel_adam_step(keel_adam *adam, const keel_adam_config *config, keel_params *params,
                    const keel_real *grads, double rate_factor);
/* target <- (1 - tau) target + tau online */
void keel_polyak(keel_real *target, const keel_real *online, size_t size, double tau);

#endif
