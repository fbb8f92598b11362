/* Between the files that read and write decoders: llama.c, llama_folder.c, llama_gguf.c, llama_save.c. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_INTERNAL_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_INTERNAL_H

#include "policies/transformer/blocks.h"
#include "policies/transformer/llama.h"
#include "policies/transformer/weights.h"

struct keel_llama_files {
    keel_arena arena;     /* weights that are copied, texts */
    keel_weights weights; /* of a folder */
};

/* A tensor as it lies in a file: its shape has been checked. */
typedef struct keel__llama_tensor {
    keel_block_type type;
    const void *data;
    size_t
        pairs; /* heads, where the rows of each stand in neighbouring pairs (GGUF of `llama`); 0: in halves */
} keel__llama_tensor;

typedef keel_status keel__llama_find(const keel_llama *llama, const char *path, size_t row,
                                     keel__llama_tensor *out, keel_err *err);

/* Configuration, tokenizer, template and weights of a folder. */
keel_status keel__llama_read_folder(keel_llama *llama, const char *dir, keel_llama_weights weights,
                                    keel_err *err);
/* All rows that the configuration has, each from find. Memory is taken once all are known to be there. */
keel_status keel__llama_take(keel_llama *llama, const char *path, keel_llama_weights weights,
                             keel__llama_find *find, keel_err *err);
/* Sizes and numbers that a computation can be made of; where: the file, for errors. */
keel_status keel__llama_check(const keel_llama_config *config, const char *where, keel_err *err);
/* The row of a head's half that GGUF keeps at `row` of `rows`, of `heads` heads: pairs to halves. */
static inline size_t keel__llama_from_pairs(size_t row, size_t rows, size_t heads) {
    const size_t dim = rows / heads, at = row % dim;
    return row - at + 2 * (at % (dim / 2)) + at / (dim / 2);
}

#endif
