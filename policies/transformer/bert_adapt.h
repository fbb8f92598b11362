/* What makes a BERT encoder tunable: rows of low-rank corrections (LoRA, Hu et al. 2021) and heads behind the
 * encoder's own, so that every mode of tuning trains the end of one block:
 *
 *   [tables and their norm] [layers, the lowest first] [LoRA: A, B of each target of each layer] [heads]
 *
 * keel_params_from(&bert->params, keel_bert_first_trained(...)) is what a mode trains. A target's weights W
 * count as W + s B A with s = alpha / rank, or alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023). */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_ADAPT_H
#define KEEL_POLICIES_TRANSFORMER_BERT_ADAPT_H

#include "policies/transformer/bert.h"

typedef enum keel_bert_mode {
    KEEL_BERT_FULL,   /* everything */
    KEEL_BERT_FREEZE, /* layers from a given one on, LoRA and heads */
    KEEL_BERT_LORA,   /* LoRA and heads */
    KEEL_BERT_HEAD    /* heads alone */
} keel_bert_mode;

/* Puts LoRA (NULL or rank 0: none) and the caller's heads behind the encoder's parameters, whose rows and
 * offsets stay; the data move to a new block. Table and names are copied; what was added is zero until
 * keel_bert_adapt_init. Once an encoder: KEEL_E_USAGE. KEEL_E_INVALID: a rank above the width, no target,
 * alpha or dropout out of range. After an error the encoder is as before. */
keel_status keel_bert_extend(keel_bert *bert, const keel_lora_config *lora, const keel_param *heads,
                             size_t n_heads, keel_err *err);
/* LoRA's A as PEFT (uniform within 1 / sqrt(in)), B zero, so that at first it changes nothing; heads as their
 * rows say. Drawn in the order of rows. */
void keel_bert_adapt_init(keel_bert *bert, keel_rng *rng);

/* Row of the first head in bert->params; their number if there is none. */
size_t keel_bert_first_head(const keel_bert *bert);
/* Row of the first parameter that a mode trains; all after it are. frozen_layers, at most config.layers, is
 * for KEEL_BERT_FREEZE; the tables are frozen with the lowest. */
size_t keel_bert_first_trained(const keel_bert *bert, keel_bert_mode mode, size_t frozen_layers);

/* W <- W + s B A, so that the encoder can encode. The weights as they were are kept, and unmerge puts them
 * back bit for bit. Merging twice is KEEL_E_USAGE; without LoRA both do nothing. Weights that would not be
 * finite are KEEL_E_INVALID, and nothing is merged. */
keel_status keel_bert_merge(keel_bert *bert, keel_err *err);
void keel_bert_unmerge(keel_bert *bert);
/* Merges for good: LoRA and heads are gone, and the encoder can be extended anew. */
keel_status keel_bert_settle(keel_bert *bert, keel_err *err);

#endif
