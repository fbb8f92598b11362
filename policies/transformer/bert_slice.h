/* A smaller encoder out of a larger one: some layers, and of each some heads and channels. */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_SLICE_H
#define KEEL_POLICIES_TRANSFORMER_BERT_SLICE_H

#include "policies/transformer/bert.h"
#include "policies/transformer/layer_kept.h"

/* Makes it of these n layers, in this order, in F32; heads behind the encoder stay. The vectors are those of
 * the larger one with zeros in place of what is left out. KEEL_E_USAGE while it has low-rank corrections, or
 * is compressed. After an error it is as before. */
keel_status keel_bert_slice(keel_bert *bert, const keel_layer_kept *kept, size_t n, keel_err *err);

#endif
