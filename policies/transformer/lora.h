/* Low-rank corrections (LoRA, Hu et al. 2021) of linear layers, whatever model has them. */
#ifndef KEEL_POLICIES_TRANSFORMER_LORA_H
#define KEEL_POLICIES_TRANSFORMER_LORA_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

/* The linear layers that corrections may go to: bits. */
enum {
    KEEL_LORA_QUERY = 1,
    KEEL_LORA_KEY = 2,
    KEEL_LORA_VALUE = 4,
    KEEL_LORA_OUT = 8,   /* of attention */
    KEEL_LORA_UP = 16,   /* of the feed-forward layer, hidden to inner */
    KEEL_LORA_DOWN = 32, /* inner to hidden */
    KEEL_LORA_ALL = 63,  /* of an encoder */
    KEEL_LORA_GATE = 64  /* of a decoder's feed-forward layer, hidden to inner */
};

/* The option "targets" of bases: query and value alone, or every layer. NULL-terminated. */
extern const char *const keel_lora_target_names[];

typedef struct keel_lora_config {
    size_t rank; /* 0: none */
    double alpha, dropout;
    bool rslora;      /* factor alpha / sqrt(rank) (Kalajdzievski 2023), else alpha / rank */
    unsigned targets; /* KEEL_LORA_* bits */
} keel_lora_config;

/* Ranks up to the width, targets among `all`. KEEL_E_INVALID names what is out of range. */
keel_status keel_lora_check(const keel_lora_config *lora, size_t width, unsigned all, keel_err *err);

/* s in W + s B A. */
static inline double keel_lora_factor(const keel_lora_config *lora) {
    return lora->alpha / (lora->rslora ? sqrt((double)lora->rank) : (double)lora->rank);
}

#endif
