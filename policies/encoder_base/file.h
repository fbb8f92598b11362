/* Internal header of the encoder base: its files.
 *
 *   config.json, tokenizer.json, model.safetensors, modules.json, ...
 *                      the tuned encoder, as transformers and sentence-transformers read it
 *   encoder.json       what the heads are over: action space, acts, fixed answers, windows, heads in use
 *   heads.safetensors  their layers, crossed logits by key, mean and scale of the logits
 *   ngrams/            the n-gram base beside it */
#ifndef KEEL_POLICIES_ENCODER_BASE_FILE_H
#define KEEL_POLICIES_ENCODER_BASE_FILE_H

#include "policies/encoder_base/model.h"

keel_status keel__encoder_base_save(const keel_base *base, const char *dir, keel_err *err);
keel_status keel__encoder_base_load(keel_base **out, const char *dir, keel_err *err);
keel_status keel__encoder_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err);
keel_status keel__encoder_base_compress_model(const char *path, const char *dir, const keel_compress_job *job,
                                              keel_err *err);
/* Whether a folder's config.json names a model, whichever: one that Keel does not compute is refused by name
 * when it is loaded. */
keel_status keel__encoder_base_starts_from(const char *dir, bool *out, keel_err *err);

#endif
