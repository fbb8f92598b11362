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
    bool decay; /* weight decay applies */
} keel_param;

typedef struct keel_params {
    size_t count;
    keel_param *table;
    size_t *offset;  /* of each parameter in the block */
    size_t size;     /* elements of the block, each parameter padded to 16 elements */
    keel_real *data; /* one block */
} keel_params;

/* Copies the table and the names; data start as zeros, at an address divisible by 64. */
keel_status keel_params_make(keel_params *params, const keel_param *table, size_t count, keel_err *err);
void keel_params_init(keel_params *params, keel_rng *rng); /* draws in table order */
void keel_params_free(keel_params *params);
keel_real *keel_params_at(const keel_params *params, size_t index);

#endif
