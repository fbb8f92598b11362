/* Supervised tuning of a base on logged responses. */
#ifndef KEEL_POLICIES_SFT_H
#define KEEL_POLICIES_SFT_H

#include "core/options.h"
#include "core/parallel.h"
#include "datasets/store.h"

/* Options of the built-in base and its tuning; struct and table in policies/ngram_base/options.h. */
struct keel_ngram_base_config;

/* Tunes `spec` ("builtin", or an artefact folder to go on from) on the split and writes the artefact to
 * out_dir. Resumes from its checkpoints (of fitted heads, of the encoder) when interrupted before. Same
 * inputs and seed give the same bytes, whatever the pool's size. metrics_path (JSON Lines of each loss part)
 * may be NULL. */
keel_status keel_sft(keel_store *store, const keel_split *split, const char *spec,
                     const struct keel_ngram_base_config *config, const char *out_dir,
                     const char *metrics_path, keel_pool *pool, keel_err *err);

#endif
