/* BERT encoders (Devlin et al. 2018) as Hugging Face and sentence-transformers lay out their folders:
 *
 *   e = LN(word + position + segment);  per layer  a = LN(x + Wo attention(x) + bo),
 *   x = LN(a + W2 gelu(W1 a + b1) + b2)
 *
 * A text's vector is the mean of its tokens' (or that of the first), as 1_Pooling/config.json says, of length
 * 1 where modules.json has a Normalize. Without these files: the mean, of length 1. Encoding changes nothing
 * and is thread-safe; bert_adapt.h makes encoders tunable. */
#ifndef KEEL_POLICIES_TRANSFORMER_BERT_H
#define KEEL_POLICIES_TRANSFORMER_BERT_H

#include "core/matrix.h"
#include "core/params.h"
#include "policies/tokens/tokenizer.h"
#include "policies/transformer/lora.h"
#include "policies/transformer/observer.h"

typedef struct keel_bert_config {
    size_t vocab, hidden, layers, heads, inner; /* inner: width of the feed-forward layer */
    size_t head_dim;                            /* 0: hidden / heads */
    size_t positions, types;
    /* Layers of unequal sizes, as pruning leaves them: [layers] of each, 1 .. heads and 1 .. inner, which are
     * the largest. NULL: all alike. */
    const uint32_t *layer_heads, *layer_inner;
    double epsilon;    /* of layer normalisation */
    size_t max_tokens; /* of a text, what is put around it included */
    bool first_token;  /* the vector is the first token's; else the mean */
    bool normalise;    /* to length 1 */
} keel_bert_config;
static inline size_t keel_bert_head_dim(const keel_bert_config *c) {
    return c->head_dim ? c->head_dim : c->hidden / c->heads;
}
static inline size_t keel_bert_heads(const keel_bert_config *c, size_t layer) {
    return c->layer_heads ? c->layer_heads[layer] : c->heads;
}
static inline size_t keel_bert_inner(const keel_bert_config *c, size_t layer) {
    return c->layer_inner ? c->layer_inner[layer] : c->inner;
}

typedef struct keel_bert {
    keel_bert_config config;
    keel_params params; /* KEEL_BERT_* below, then what keel_bert_extend put there */
    /* [keel_bert_rows] matrices in another number format than F32, of which params has no rows; data NULL:
     * it has. NULL: all are F32. */
    keel_matrix *compressed;
    keel_arena held;               /* memory of these */
    const keel_observer *observer; /* borrowed: told what QKV, OUT, UP, DOWN read; one thread; NULL: none */
    keel_tokenizer *tokenizer;
    uint32_t *sizes; /* memory of the configuration's sizes of layers */
    keel_lora_config lora;
    size_t n_heads;      /* rows of heads, the last of params */
    keel_real *unmerged; /* weights as they were before keel_bert_merge; NULL: not merged */
} keel_bert;

/* First rows of params: three tables and a norm, then KEEL_BERT_LAYER rows a layer. q, k and v are one
 * matrix. */
enum {
    KEEL_BERT_WORD,
    KEEL_BERT_POSITION,
    KEEL_BERT_TYPE,
    KEEL_BERT_GAIN,
    KEEL_BERT_BIAS,
    KEEL_BERT_FIRST_LAYER
};
enum {
    KEEL_BERT_QKV,
    KEEL_BERT_QKV_BIAS,
    KEEL_BERT_OUT,
    KEEL_BERT_OUT_BIAS,
    KEEL_BERT_GAIN_1,
    KEEL_BERT_BIAS_1,
    KEEL_BERT_UP,
    KEEL_BERT_UP_BIAS,
    KEEL_BERT_DOWN,
    KEEL_BERT_DOWN_BIAS,
    KEEL_BERT_GAIN_2,
    KEEL_BERT_BIAS_2,
    KEEL_BERT_LAYER
};

/* The folder is hostile until checked. KEEL_E_UNSUPPORTED names what Keel does not compute: another
 * model_type, activation, kind of positions or pooling. */
keel_status keel_bert_load(keel_bert **out, const char *dir, keel_err *err);
void keel_bert_close(keel_bert *bert); /* NULL is harmless */

/* Gives layers these sizes [layers], each copied or NULL: alike. Sizes that are all the same become the
 * configuration's own. KEEL_E_INVALID for one that is 0. */
keel_status keel_bert_set_sizes(keel_bert *bert, const uint32_t *heads, const uint32_t *inner, keel_err *err);

/* Writes the folder as Hugging Face and sentence-transformers read it: config.json with the keys of both
 * generations, model.safetensors in F32 (compressed matrices as they are held: weights.h), tokenizer.json as
 * it was read, and the little files beside them. LoRA is merged in the file; heads are left out. Each file
 * appears whole or not at all; for all or nothing, save into the temporary folder of keel_folder_begin. What
 * is loaded again has the same bits. */
keel_status keel_bert_save(const keel_bert *bert, const char *dir, keel_err *err);

/* Texts to be encoded: tokens one text behind the other. */
typedef struct keel_bert_batch {
    const int32_t *id, *type; /* [offsets[n]]; type NULL: all 0 */
    const int32_t *offsets;   /* [n + 1], no empty text */
    size_t n;
} keel_bert_batch;

/* Ids and types of texts: each cut at max_tokens (from its end), framed by the tokenizer; in the arena. *cut
 * counts tokens left out. */
keel_status keel_bert_read(const keel_bert *bert, const char *const *texts, size_t n, keel_arena *arena,
                           keel_bert_batch *out, size_t *cut, keel_err *err);
/* out [n, hidden]: vectors of the texts. What one is does not depend on what else is in the batch, nor on the
 * number of threads. KEEL_E_USAGE while low-rank corrections are not merged into the weights; KEEL_E_INVALID
 * where a vector is not finite. */
keel_status keel_bert_encode(const keel_bert *bert, const keel_bert_batch *batch, keel_arena *scratch,
                             keel_real *out, keel_err *err);

#endif
