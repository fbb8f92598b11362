/* Between the files that read, write and tune decoders. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_INTERNAL_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_INTERNAL_H

#include "core/file.h"
#include "policies/transformer/gguf.h"
#include "policies/transformer/llama.h"
#include "policies/transformer/weights.h"

struct keel_llama_files {
    keel_arena arena;     /* texts */
    keel_arena copies;    /* weights that do not lie in a file */
    keel_weights weights; /* of a folder */
    keel_gguf gguf;       /* of a .gguf file */
    void **owned;         /* [n_owned] memory of weights that tuning left behind */
    size_t n_owned, owned_capacity;
    float *merged; /* while LoRA is merged */
};

/* A tensor as it lies in a file: its shape has been checked. */
typedef struct keel__llama_tensor {
    keel_block_type type;
    const void *data;
    size_t
        pairs; /* heads, where the rows of each stand in neighbouring pairs (GGUF of `llama`); 0: in halves */
    keel_matrix held; /* data: it lies in a format of core/matrix.h (keel_weights_held) instead */
} keel__llama_tensor;

typedef keel_status keel__llama_find(const keel_llama *llama, const char *path, size_t row,
                                     keel__llama_tensor *out, keel_err *err);

/* Configuration, tokenizer, template and weights of a folder. */
keel_status keel__llama_read_folder(keel_llama *llama, const char *dir, keel_llama_weights weights,
                                    keel_err *err);
/* The same of a .gguf file. */
keel_status keel__llama_read_gguf(keel_llama *llama, const char *path, keel_llama_weights weights,
                                  keel_err *err);
/* "blk.3.attn_q.weight" */
void keel__llama_gguf_name(const keel_llama_config *config, size_t row, char out[64]);
/* Heads whose rows a GGUF file of this kind has in pairs; 0: it keeps the row as it is. */
size_t keel__llama_pairs(const keel_llama_config *config, const char *kind, size_t row);
/* A row's numbers in a type, with the rows of each head in pairs where pairs says of how many heads. */
keel_status keel__llama_write_row(const keel_llama *llama, size_t row, keel_block_type type, size_t pairs,
                                  keel_file_writer *to, keel_err *err);
/* Whether it is a Qwen2, by its biases; else a Llama. */
static inline bool keel__llama_is_qwen2(const keel_llama_config *c) {
    return c->qkv_bias && !c->out_bias && !c->mlp_bias;
}
/* What scaling divides the i-th frequency by (llama.h): 1 where it is as it was. */
double keel__llama_rope_divisor(const keel_llama_config *config, size_t i);
/* The llama3 scaling of these divisors [head_dim / 2]; false: there is none. */
bool keel__llama_find_scaling(keel_llama_config *config, const float *factors);
/* Keeps the text of a chat template, and the template where it is understood. */
keel_status keel__llama_keep_template(keel_llama *llama, const char *text, const char *where, keel_err *err);
/* All rows that the configuration has, each from find. Memory is taken once all are known to be there. */
keel_status keel__llama_take(keel_llama *llama, const char *path, keel_llama_weights weights,
                             keel__llama_find *find, keel_err *err);
/* Puts a matrix in the place of row's: its data, taken with keel_alloc, are the model's from now on, even on
 * failure; sums are made. */
keel_status keel__llama_replace(keel_llama *llama, size_t row, keel_matrix matrix, keel_err *err);
/* Sizes and numbers that a computation can be made of; where: the file, for errors. */
keel_status keel__llama_check(const keel_llama_config *config, const char *where, keel_err *err);
/* Where a file in pairs has `row` of `rows` rows of `heads` heads in halves. */
static inline size_t keel__llama_to_pairs(size_t row, size_t rows, size_t heads) {
    const size_t dim = rows / heads, at = row % dim;
    return row - at + 2 * (at % (dim / 2)) + at / (dim / 2);
}

/* Whether tuning with factors has some for the row: a matrix that the model has. */
bool keel__llama_has_factors(const keel_llama_config *config, size_t row);

/* The linear layers that LoRA may go to, in the order of their bits. */
enum { KEEL__N_LLAMA_TARGETS = 7 };
typedef struct keel__llama_target {
    size_t row;         /* of the layer's weights */
    const char *module; /* "self_attn.q_proj" */
} keel__llama_target;
extern const keel__llama_target keel__llama_targets[KEEL__N_LLAMA_TARGETS];

#endif
