/* Training of a byte-level BPE tokenizer from texts, as the trainer of the library `tokenizers` does it: the
 * pair of neighbours that is met most often becomes a token; of equals the one whose left id, then right id
 * is the smaller. */
#ifndef KEEL_POLICIES_TOKENS_BPE_TRAIN_H
#define KEEL_POLICIES_TOKENS_BPE_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

typedef struct keel_bpe_training {
    size_t size; /* tokens, special ones and the 256 bytes included; fewer, if the texts give fewer */
    const char *const *special; /* [n_special] the first ids, in this order; each once */
    size_t n_special;
    const char *pre; /* how texts are split: a name of keel_gguf_pre_find; NULL: "gpt-2" */
    uint64_t least;  /* how often a pair must be met; 0: once */
} keel_bpe_training;

typedef struct keel_bpe_train keel_bpe_train;

/* KEEL_E_INVALID: a size that has no room for bytes and special tokens, or is above 2^20. */
keel_status keel_bpe_train_open(keel_bpe_train **out, const keel_bpe_training *how, keel_err *err);
/* Counts the words of a UTF-8 text. Memory grows with distinct words, not with texts. */
keel_status keel_bpe_train_add(keel_bpe_train *train, const char *text, keel_err *err);
/* Appends the tokenizer.json. The same texts, in whatever order, give the same bytes. Once. */
keel_status keel_bpe_train_write(keel_bpe_train *train, keel_buf *json, keel_err *err);
void keel_bpe_train_close(keel_bpe_train *train); /* NULL is harmless */

#endif
