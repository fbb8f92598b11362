/* What a GGUF file calls a pre-tokenizer (tokenizer.ggml.pre): the parts of a tokenizer.json that it stands
 * for, so that one reader reads both. A new name is one row. */
#ifndef KEEL_POLICIES_TOKENS_GGUF_PRE_H
#define KEEL_POLICIES_TOKENS_GGUF_PRE_H

#include <stdbool.h>

/* For byte-level BPE (tokenizer.ggml.model "gpt2"). normalizer and pre_tokenizer are JSON; the decoder is
 * {"type":"ByteLevel"}. */
typedef struct keel_gguf_pre {
    const char *name;
    const char *normalizer, *pre_tokenizer;
    bool ignore_merges; /* of the model */
} keel_gguf_pre;

/* NULL: a name that is not known. */
const keel_gguf_pre *keel_gguf_pre_find(const char *name);
/* All of them, up to one without a name; of those that say the same, the first is the one to write. */
const keel_gguf_pre *keel_gguf_pre_first(void);
/* The known names, ", " between. */
const char *keel_gguf_pre_names(void);

#endif
