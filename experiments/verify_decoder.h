/* What `keel verify` shows of a decoder: sizes, hashes, what comes after fixed prompts, perplexity. */
#ifndef KEEL_EXPERIMENTS_VERIFY_DECODER_H
#define KEEL_EXPERIMENTS_VERIFY_DECODER_H

#include "experiments/cli.h"

/* Flags of a decoder alone: --weights, --lines. */
keel_status keel_verify_decoder(keel_cli *cli, const char *path, keel_err *err);
void keel_verify_decoder_print(const cJSON *result, FILE *out);
/* SHA-256 of a file of the folder into an object, if it is there. */
keel_status keel_verify_hash(keel_cli *cli, cJSON *json, const char *dir, const char *name, keel_err *err);
/* "text" of a row, under `label`, and its "tokens". */
void keel_verify_print_tokens(const cJSON *row, const char *label, FILE *out);
/* Values of --text, or the standard ones: UTF-8. */
keel_status keel_verify_texts(keel_cli *cli, const char *const *standard, size_t n_standard,
                              const char *const **texts, size_t *n, keel_err *err);

#endif
