/* Tokenizers between GGUF's keys (tokenizer.ggml.*) and the text of a tokenizer.json. What is read are
 * byte-level BPE ("gpt2") with the split patterns that policies/tokens/gguf_pre.h has names for, and pieces
 * of SentencePiece with scores ("llama"); what is written is the former. */
#ifndef KEEL_POLICIES_TRANSFORMER_GGUF_TOKENIZER_H
#define KEEL_POLICIES_TRANSFORMER_GGUF_TOKENIZER_H

#include "policies/tokens/tokenizer.h"
#include "policies/transformer/gguf.h"

typedef struct keel_gguf_marks {
    int32_t bos, eos, eot, pad; /* -1: none */
    bool adds_bos;
} keel_gguf_marks;

/* The tokenizer of the file, and its marks. KEEL_E_UNSUPPORTED names another model or pattern. */
keel_status keel_gguf_read_tokenizer(const keel_gguf *gguf, keel_tokenizer **out, keel_gguf_marks *marks,
                                     keel_err *err);
/* The other way; rows: the model's, those without a token are filled up. */
keel_status keel_gguf_put_tokenizer(keel_gguf_head *head, const keel_tokenizer *tokenizer,
                                    const keel_gguf_marks *marks, size_t rows, keel_err *err);

#endif
