#include "core/optim.h"

#include <tgmath.h>

#include "core/memory.h"
#include "core/simd.h"

keel_adam_config keel_adam_defaults(void) {
    return (keel_adam_config){.learning_rate = 3e-4, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
}

keel_status keel_adam_open(keel_adam *adam, size_t size, keel_err *err) {
    keel_adam made = {.size = size};
    made.first = keel_calloc(size, sizeof *made.first);
    made.second = keel_calloc(size, sizeof *made.second);
    if (!made.first || !made.second) {
        keel_adam_close(&made);
        return keel_fail(err, KEEL_E_NOMEM, "keel_adam_open", "no memory for the moments of %zu elements",
                         size);
    }
    *adam = made;
    return KEEL_OK;
}

void keel_adam_close(keel_adam *adam) {
    keel_free(adam->second);
    keel_free(adam->first);
    *adam = (keel_adam){0};
}

/* One step's constants, worked out in double once:
 *   p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)  =  step m / (sqrt(v) root + eps)
 * with step = lr / (1 - b1^t) and root = 1 / sqrt(1 - b2^t). */
typedef struct adam_step {
    keel_real beta1, rest1, beta2, rest2; /* rest = 1 - beta */
    keel_real step, root, epsilon;
    keel_real shrink; /* 1 - lr * decay */
} adam_step;

static adam_step plan_step(const keel_adam *adam, const keel_adam_config *config, double rate_factor) {
    double rate = config->learning_rate * rate_factor, t = (double)adam->steps;
    return (adam_step){
        .beta1 = (keel_real)config->beta1,
        .rest1 = (keel_real)(1 - config->beta1),
        .beta2 = (keel_real)config->beta2,
        .rest2 = (keel_real)(1 - config->beta2),
        .step = (keel_real)(rate / (1 - pow(config->beta1, t))),
        .root = (keel_real)(1 / sqrt(1 - pow(config->beta2, t))),
        .epsilon = (keel_real)config->epsilon,
        .shrink = (keel_real)(1 - rate * config->weight_decay),
    };
}

/* shrink 1: no decay (a multiplication by 1 changes no bit). */
KEEL_SIMD static void adam_span(const adam_step *plan, keel_real shrink, size_t count, keel_real *restrict p,
                                keel_real *restrict m, keel_real *restrict v, const keel_real *restrict g) {
    const adam_step k = *plan;
    for (size_t i = 0; i < count; ++i) {
        m[i] = k.beta1 * m[i] + k.rest1 * g[i];
        v[i] = k.beta2 * v[i] + k.rest2 * (g[i] * g[i]);
        p[i] = p[i] * shrink - k.step * m[i] / (sqrt(v[i]) * k.root + k.epsilon);
    }
}

void keel_adam_step(keel_adam *adam, const keel_adam_config *config, keel_params *params,
                    const keel_real *grads, double rate_factor) {
    adam->steps++;
    for (size_t i = 0; i < params->count; ++i) {
        const keel_param *param = &params->table[i];
        adam_step plan = plan_step(adam, config, param->rate > 0 ? rate_factor * param->rate : rate_factor);
        size_t at = keel_params_offset(params, i);
        adam_span(&plan, param->decay ? plan.shrink : 1, param->rows * param->cols, params->data + at,
                  adam->first + at, adam->second + at, grads + at);
    }
}

KEEL_SIMD static void blend(keel_real *restrict to, const keel_real *from, size_t size, keel_real keep,
                            keel_real take) {
    for (size_t i = 0; i < size; ++i) to[i] = keep * to[i] + take * from[i];
}

void keel_polyak(keel_real *target, const keel_real *online, size_t size, double tau) {
    blend(target, online, size, (keel_real)(1 - tau), (keel_real)tau);
}
