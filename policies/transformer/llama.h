/* Decoders of the Llama family (Touvron et al. 2023): Llama 2 and 3, SmolLM2, Qwen2 and Qwen2.5,
 * DeepSeek-R1-Distill, Mistral without a sliding window. One computation with switches:
 *
 *   x = E[token]
 *   per layer  h = x + Wo attention(rms(x; g1)),  x = h + Wd (silu(Wg r) * (Wu r)),  r = rms(h; g2)
 *   logits = W rms(x; g),  W = E where tied;  rms(x; g)_i = g_i x_i / sqrt(mean x^2 + epsilon)
 *
 * Attention is causal, of `heads` queries over `kv_heads` keys and values (query head h reads kv head
 * h / (heads / kv_heads)), scores / sqrt(head_dim). Queries and keys are turned by their position p (RoPE, Su
 * et al. 2021; halves, not neighbouring pairs), of each head
 *
 *   y_i = x_i cos(p f_i) - x_(i+d/2) sin(p f_i),  y_(i+d/2) = x_(i+d/2) cos(p f_i) + x_i sin(p f_i),  i < d/2
 *   f_i = rope_theta^(-2i/d), scaled:
 *   LINEAR  f / factor
 *   LLAMA3  with the wavelength l = 2 pi / f: f where l < original / high; f / factor where
 *           l > original / low; else between them (1 - s) f / factor + s f,
 *           s = (original / l - low) / (high - low)
 *
 * Weights lie in the file that is mapped, as far as their type allows. Reading changes nothing. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_H

#include "core/matrix.h"
#include "core/params.h"
#include "policies/tokens/chat_template.h"
#include "policies/tokens/tokenizer.h"
#include "policies/transformer/blocks.h"
#include "policies/transformer/lora.h"
#include "policies/transformer/observer.h"

typedef enum keel_rope { KEEL_ROPE_PLAIN, KEEL_ROPE_LINEAR, KEEL_ROPE_LLAMA3 } keel_rope;
enum { KEEL_LLAMA_MOST_EOS = 8 };

typedef struct keel_llama_config {
    size_t vocab; /* rows of the embedding: at least the tokenizer's size; ids beyond it are never meant */
    size_t hidden, layers, heads, kv_heads, head_dim, inner, positions;
    /* Layers of unequal sizes, as pruning leaves them: [layers] of each, 1 .. kv_heads and 1 .. inner, which
     * are the largest; the heads of a layer are heads / kv_heads for each of its kv heads. NULL: all alike.
     */
    const uint32_t *layer_kv_heads, *layer_inner;
    double epsilon, rope_theta;
    keel_rope rope;
    double rope_factor, rope_low, rope_high; /* low and high: of LLAMA3 */
    size_t rope_original;                    /* positions before scaling, of LLAMA3 */
    bool tied, qkv_bias, out_bias, mlp_bias;
    int32_t bos;                      /* -1: none */
    int32_t eos[KEEL_LLAMA_MOST_EOS]; /* tokens that end a text or a turn */
    size_t n_eos;
    int32_t pad;   /* -1: none */
    bool adds_bos; /* a text begins with bos */
} keel_llama_config;

static inline size_t keel_llama_kv_heads(const keel_llama_config *c, size_t layer) {
    return c->layer_kv_heads ? c->layer_kv_heads[layer] : c->kv_heads;
}
static inline size_t keel_llama_heads(const keel_llama_config *c, size_t layer) {
    return keel_llama_kv_heads(c, layer) * (c->heads / c->kv_heads);
}
static inline size_t keel_llama_inner(const keel_llama_config *c, size_t layer) {
    return c->layer_inner ? c->layer_inner[layer] : c->inner;
}
/* Heads of keys and values in the layers before this one; of all layers where layer is their number. */
size_t keel_llama_kv_heads_before(const keel_llama_config *config, size_t layer);

/* How the model's makers would have it sampled; 1, 0, 1, 0, 1 where they do not say. temperature 0: the most
 * probable token. */
typedef struct keel_llama_defaults {
    double temperature;
    size_t top_k; /* 0: all */
    double top_p, min_p, repetition_penalty;
} keel_llama_defaults;

/* Rows: the embedding [vocab, hidden], KEEL_LLAMA_LAYER rows a layer, the last norm, the head [vocab, hidden]
 * (absent where tied). Matrices are [out, in]; vectors are F32 with one row. */
enum { KEEL_LLAMA_EMBED, KEEL_LLAMA_FIRST_LAYER };
enum {
    KEEL_LLAMA_NORM_1,
    KEEL_LLAMA_Q,
    KEEL_LLAMA_K,
    KEEL_LLAMA_V,
    KEEL_LLAMA_Q_BIAS,
    KEEL_LLAMA_K_BIAS,
    KEEL_LLAMA_V_BIAS,
    KEEL_LLAMA_O,
    KEEL_LLAMA_O_BIAS,
    KEEL_LLAMA_NORM_2,
    KEEL_LLAMA_GATE,
    KEEL_LLAMA_UP,
    KEEL_LLAMA_DOWN,
    KEEL_LLAMA_GATE_BIAS,
    KEEL_LLAMA_UP_BIAS,
    KEEL_LLAMA_DOWN_BIAS,
    KEEL_LLAMA_LAYER
};
/* Places in keel_llama.matrix. */
static inline size_t keel_llama_row(size_t layer, size_t row) {
    return KEEL_LLAMA_FIRST_LAYER + layer * KEEL_LLAMA_LAYER + row;
}
static inline size_t keel_llama_norm(const keel_llama_config *c) {
    return keel_llama_row(c->layers, 0);
}
static inline size_t keel_llama_head(const keel_llama_config *c) {
    return keel_llama_norm(c) + 1;
}
/* Of a layer's matrices, the first that reads the same: what an observer is told it by. The head's input is
 * told by the row that is multiplied, for the rows whose logits are asked for. */
static inline size_t keel_llama_reads(size_t row) {
    return row == KEEL_LLAMA_K || row == KEEL_LLAMA_V ? KEEL_LLAMA_Q
           : row == KEEL_LLAMA_UP                     ? KEEL_LLAMA_GATE
                                                      : row;
}

typedef struct keel_llama {
    keel_llama_config config;
    size_t n_rows;       /* of the model itself: embedding .. head */
    keel_matrix *matrix; /* [n_rows, then those that tuning adds]; what is computed with; data NULL: absent */
    keel_params
        params; /* rows first_trained .. in F32, to which matrix[] of them points; empty until tuning */
    size_t first_trained;
    keel_tokenizer *tokenizer;
    keel_chat_template *chat; /* NULL: the model has none that Keel understands */
    const char *chat_source;  /* its text, understood or not; NULL: none */
    keel_llama_defaults defaults;
    keel_lora_config lora;
    size_t n_virtual; /* prompt tuning: rows of virtual tokens */
    struct keel_llama_fake
        *fake; /* tuning computes as number formats hold it (llama_fake.h); NULL: as it is */
    const keel_observer *observer;  /* borrowed: is told what keel_llama_run multiplies; NULL: nobody is */
    keel_matrix *unmerged;          /* matrix[] before keel_llama_merge; NULL: LoRA is not merged */
    size_t file_bytes;              /* of the files' weights */
    struct keel_llama_files *files; /* private: what is mapped, and the memory of the rest */
} keel_llama;

/* AS_STORED: F32, BF16 and what `keel compress` wrote stay where they are mapped, everything else is made
 * F32. The others are rounded by keel_matrix_write_row while they are read; Q8_0, Q4_0 and Q4_G32 want widths
 * that 32 divides; with Q4_0 and Q4_G32 embedding and head are Q8_0. Vectors are F32 always. */
typedef enum keel_llama_weights {
    KEEL_LLAMA_AS_STORED,
    KEEL_LLAMA_F32,
    KEEL_LLAMA_BF16,
    KEEL_LLAMA_Q8_0,
    KEEL_LLAMA_I8,
    KEEL_LLAMA_Q4_0,
    KEEL_LLAMA_Q4_G32,
    KEEL_N_LLAMA_WEIGHTS
} keel_llama_weights;

/* path: a folder as Hugging Face lays it out (config.json, generation_config.json, tokenizer.json,
 * tokenizer_config.json, chat_template.jinja, model.safetensors or shards), or a .gguf file, also by a folder
 * that holds it alone. Both are hostile until checked; KEEL_E_UNSUPPORTED names what Keel does not compute
 * (another model_type, activation, kind of RoPE, a sliding window, quantisation, ...). Numbers that are not
 * finite are found where weights are copied, not where they are mapped. */
keel_status keel_llama_open(keel_llama **out, const char *path, keel_llama_weights weights, keel_err *err);
/* Whether the path holds such a model: a .gguf file, or a folder whose config.json names a family that Keel
 * reads. */
bool keel_llama_is(const char *path);
void keel_llama_close(keel_llama *llama); /* NULL is harmless */

/* Writes a folder as transformers reads it: config.json with the keys of both generations,
 * generation_config.json, tokenizer.json as it was read, tokenizer_config.json with the chat template, and
 * the weights in F32, F16 or BF16, in shards of at most shard_bytes (0: 5 GB); or KEEL_LLAMA_AS_HELD: each
 * matrix in the number format that it is held in (weights.h), which transformers refuses by name. What
 * matrix[] holds is written: corrections and virtual tokens are not. KEEL_E_UNSUPPORTED where no family of
 * models has these biases; KEEL_E_INVALID where a weight is too large for F16. Each file appears whole or not
 * at all; for all or nothing, save into the temporary folder of keel_folder_begin. */
#define KEEL_LLAMA_AS_HELD KEEL_N_BLOCKS
keel_status keel_llama_save(const keel_llama *llama, const char *dir, keel_block_type type,
                            size_t shard_bytes, keel_err *err);
/* Writes a .gguf file that llama.cpp runs: matrices in F32, F16, BF16, Q8_0, Q4_0 or KEEL_LLAMA_AS_HELD,
 * vectors in F32, tokenizer and template. With Q4_0, embedding and head are Q8_0, and layers that have 8 bits
 * where others have 4 keep 8. KEEL_E_UNSUPPORTED names what GGUF cannot say (a split pattern, a width that 32
 * does not divide, matrices held as I8 or Q4_G32). */
keel_status keel_llama_save_gguf(const keel_llama *llama, const char *path, keel_block_type type,
                                 keel_err *err);

/* Gives layers these sizes [layers], each copied into the model's memory or NULL: alike. Sizes that are all
 * the same become the configuration's own. heads / kv_heads stays. KEEL_E_INVALID for one that is 0. */
keel_status keel_llama_set_sizes(keel_llama *llama, const uint32_t *kv_heads, const uint32_t *inner,
                                 keel_err *err);

/* A new one: weights N(0, .02^2), those that end in the residual stream / sqrt(2 layers) (Radford et al.
 * 2019), norms 1, biases 0. Takes the tokenizer, also when it fails; chat_template (NULL: none) and sizes of
 * layers are copied. */
keel_status keel_llama_make(keel_llama **out, const keel_llama_config *config, keel_tokenizer *tokenizer,
                            const char *chat_template, uint64_t seed, keel_err *err);

/* [rows, cols] of a row 0 .. n_rows - 1, whether it is there or not. */
void keel_llama_shape(const keel_llama_config *config, size_t row, size_t *rows, size_t *cols);
/* Whether the configuration has the row. */
bool keel_llama_has(const keel_llama_config *config, size_t row);
/* "model.layers.3.self_attn.q_proj.weight" */
void keel_llama_name(const keel_llama_config *config, size_t row, char out[128]);
/* Whether it is a matrix; else a vector. */
bool keel_llama_is_matrix(const keel_llama_config *config, size_t row);

/* Rows that tuning adds behind n_rows: of each layer, of each target of lora (bits of KEEL_LORA_*, the lowest
 * first), A [rank, in] and then B [out, rank] in F32, where data NULL says that they were merged; behind
 * these the virtual tokens [n_virtual, hidden]. */
size_t keel_llama_lora_row(const keel_llama *llama, size_t layer,
                           unsigned target); /* of A; target: one bit */
size_t keel_llama_virtual_row(const keel_llama *llama);

/* turn [head_dim]: cosines, then sines of p f_i for position p, angles in float as in Hugging Face. */
void keel_llama_turn(const keel_llama_config *config, size_t position, float *turn);

#endif
