/* Adapters as the Python library PEFT keeps them: a folder of adapter_config.json and
 * adapter_model.safetensors, with tensors base_model.model.encoder.layer.0.attention.self.query.lora_A.weight
 * [rank, in], lora_B [out, rank] and so on. Hostile until checked. KEEL_E_UNSUPPORTED names what Keel does
 * not compute: another kind of adapter, DoRA, biases, ranks that differ by module, other modules than those
 * of KEEL_LORA_*, some layers only, modules saved whole. */
#ifndef KEEL_POLICIES_TRANSFORMER_PEFT_H
#define KEEL_POLICIES_TRANSFORMER_PEFT_H

#include "policies/transformer/bert_adapt.h"
#include "policies/transformer/llama_adapt.h"

/* What keel_bert_extend needs to make room for the adapter beside heads. */
keel_status keel_peft_config(const keel_bert *bert, const char *dir, keel_lora_config *out, keel_err *err);
/* The adapter's A and B into the encoder. One without low-rank corrections and heads is extended; of one that
 * has corrections rank, factor and targets must agree, else KEEL_E_INVALID. Not while merged: KEEL_E_USAGE.
 * After an error rows of LoRA may have been read in part. */
keel_status keel_peft_load(keel_bert *bert, const char *dir, keel_err *err);
/* Opens the folder of an encoder as keel_bert_load does; an adapter that lies in it is merged for good. */
keel_status keel_peft_open(keel_bert **out, const char *dir, keel_err *err);
/* Writes both files, each whole or not at all; heads are not in them. KEEL_E_USAGE without LoRA. */
keel_status keel_peft_save(const keel_bert *bert, const char *dir, keel_err *err);

/* The same for decoders: LoRA with tensors base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight and
 * so on, and prompt tuning with one tensor, prompt_embeddings. One that is not being tuned is made ready for
 * the adapter. KEEL_E_UNSUPPORTED names embed_tokens or lm_head of a tied model, of which merging would lose
 * one. */
keel_status keel_peft_tuning(const keel_llama *llama, const char *dir, keel_llama_tuning *out, keel_err *err);
keel_status keel_peft_load_llama(keel_llama *llama, const char *dir, keel_err *err);
/* Opens a decoder as keel_llama_open does; an adapter in the folder "adapter" within it is applied. */
keel_status keel_peft_open_llama(keel_llama **out, const char *path, keel_llama_weights weights,
                                 keel_err *err);
/* LoRA or virtual tokens, whichever there are. */
keel_status keel_peft_save_llama(const keel_llama *llama, const char *dir, keel_err *err);

#endif
