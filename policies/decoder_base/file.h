/* Internal header of the decoder base: its files.
 *
 *   config.json, tokenizer.json, model.safetensors, ...
 *                 the model, as transformers reads it but for matrices that are compressed (weights.h);
 *                 older ones: model.gguf in Q8_0
 *   decoder.json  what it is over: action space, acts, fixed answers, windows, scaling
 *   adapter/      LoRA or virtual tokens as PEFT reads them, where they are not in the model's own weights
 *   ngrams/       the n-gram base beside it */
#ifndef KEEL_POLICIES_DECODER_BASE_FILE_H
#define KEEL_POLICIES_DECODER_BASE_FILE_H

#include "policies/decoder_base/model.h"

keel_status keel__decoder_base_save(const keel_base *base, const char *dir, keel_err *err);
keel_status keel__decoder_base_load(keel_base **out, const char *dir, keel_err *err);
keel_status keel__decoder_base_open(keel_base **out, const char *path, keel_err *err);
/* Whether the path holds a decoder of the Llama family. */
keel_status keel__decoder_base_starts_from(const char *path, bool *out, keel_err *err);
keel_status keel__decoder_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err);
keel_status keel__decoder_base_compress_model(const char *path, const char *dir, const keel_compress_job *job,
                                              keel_err *err);
/* The model of an artefact or a model's own folder or file. */
keel_status keel__decoder_open_model(keel_llama **out, const char *path, keel_llama_weights weights,
                                     keel_err *err);

#endif
