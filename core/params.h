/* Parameters: one table drives sizes, pointers, initialisation, weight decay, optimizer and file names. */
#ifndef KEEL_CORE_PARAMS_H
#define KEEL_CORE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/pcg.h"
#include "core/status.h"
#include "core/tensor.h"

typedef enum keel_init {
    KEEL_INIT_ZERO,
    KEEL_INIT_ONE,
    KEEL_INIT_UNIFORM, /* U(-1/sqrt(scale), 1/sqrt(scale)); scale = fan-in is PyTorch's for linear layers */
    KEEL_INIT_NORMAL   /* N(0, scale^2) */
} keel_init;

typedef struct keel_param {
    const char *name; /* as in the safetensors file */
    size_t rows, cols;
    keel_init init;
    double scale;
    bool decay;  /* weight decay applies */
    double rate; /* factor on the learning rate; 0 counts as 1 */
} keel_param;

typedef struct keel_params {
    size_t count;
    keel_param *table;
    size_t *offset;  /* of each parameter in the block */
    size_t start;    /* element of the block that data begin with; 0 but for a view of later rows */
    size_t size;     /* elements of data, each parameter padded to 16 elements */
    keel_real *data; /* one block */
} keel_params;

/* Copies the table and the names; data start as zeros, at an address divisible by 64. */
keel_status keel_params_make(keel_params *params, const keel_param *table, size_t count, keel_err *err);
void keel_params_init(keel_params *params, keel_rng *rng); /* draws in table order */
void keel_params_free(keel_params *params);
keel_real *keel_params_at(const keel_params *params, size_t index);
/* Where a parameter lies in data, and in gradients and moments laid out as these. */
size_t keel_params_offset(const keel_params *params, size_t index);
/* Rows first .. count - 1 (first up to count: none) as parameters of their own over the same data, so that
 * gradients and moments of the rest need no room. It owns nothing: it is not freed, and goes with params. */
keel_params keel_params_from(const keel_params *params, size_t first);

#endif
