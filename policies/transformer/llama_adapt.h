/* What makes a decoder tunable: the rows that a mode trains are copied to params, in F32, and matrix[] of
 * them points there. With the rows that tuning adds, every mode trains the end of one list:
 *
 *   [embedding] [layers, the lowest first] [last norm] [head]
 *   [LoRA: A, B of each target of each layer] [virtual] or [factors of each trained matrix's rows]
 *
 * LoRA (Hu et al. 2021): a target's weights W count as W + s B A with s = alpha / rank, or alpha / sqrt(rank)
 * (rsLoRA, Kalajdzievski 2023); W may be of any number format. Prompt tuning (Lester et al. 2021): n vectors
 * stand before every text, in place of tokens. */
#ifndef KEEL_POLICIES_TRANSFORMER_LLAMA_ADAPT_H
#define KEEL_POLICIES_TRANSFORMER_LLAMA_ADAPT_H

#include "policies/transformer/llama.h"

typedef enum keel_llama_mode {
    KEEL_LLAMA_FULL,   /* everything */
    KEEL_LLAMA_FREEZE, /* layers from a given one on, the last norm and the head: not one tied to the
                          embedding */
    KEEL_LLAMA_LORA,   /* low-rank corrections alone */
    KEEL_LLAMA_PROMPT  /* virtual tokens alone */
} keel_llama_mode;

enum { KEEL_LORA_DECODER = KEEL_LORA_ALL | KEEL_LORA_GATE }; /* all targets of a decoder */

typedef struct keel_llama_tuning {
    keel_llama_mode mode;
    size_t frozen_layers;  /* FREEZE: 0 to config.layers; the embedding is frozen with them */
    keel_lora_config lora; /* LORA: rank 1 to the narrowest target's width, targets of KEEL_LORA_DECODER */
    size_t n_virtual;      /* PROMPT: 1 to KEEL_LLAMA_MOST_VIRTUAL */
    bool scales;           /* FULL, FREEZE: a factor of each row of matrices too (llama_fake.h) */
} keel_llama_tuning;
enum { KEEL_LLAMA_MOST_VIRTUAL = 4096 };

/* Prepares a decoder that is not being tuned (else KEEL_E_USAGE). What was added is zero until it is started.
 * KEEL_E_INVALID: a number out of range. After an error the decoder is as before. */
keel_status keel_llama_train(keel_llama *llama, const keel_llama_tuning *tuning, keel_err *err);
/* How a decoder is being tuned. */
keel_llama_tuning keel_llama_tuning_of(const keel_llama *llama);
/* Elements that a tuning trains, padding included, and the rows in which they are; for plans. */
size_t keel_llama_trained_size(const keel_llama_config *config, const keel_llama_tuning *tuning);

/* LoRA's A as PEFT (uniform within 1 / sqrt(in)), B zero, so that at first it changes nothing. */
void keel_llama_lora_start(keel_llama *llama, keel_rng *rng);
/* Virtual tokens as vectors of random numbers of the size of the embedding's. */
keel_status keel_llama_prompt_random(keel_llama *llama, keel_rng *rng, keel_err *err);
/* As embeddings of tokens drawn from the 5,000 lowest ids that stand for text (merges come in the order of
 * how common they are). */
keel_status keel_llama_prompt_vocabulary(keel_llama *llama, keel_rng *rng, keel_err *err);
/* As embeddings of a text's tokens, repeated or cut to n_virtual. KEEL_E_INVALID: it has none. */
keel_status keel_llama_prompt_text(keel_llama *llama, const char *text, keel_err *err);

/* W <- W + s B A, in F32. What W was is kept, and unmerge puts it back. Merging twice is KEEL_E_USAGE;
 * without LoRA both do nothing. Weights that would not be finite are KEEL_E_INVALID, and nothing is merged.
 */
keel_status keel_llama_merge(keel_llama *llama, keel_err *err);
void keel_llama_unmerge(keel_llama *llama);
/* Ends tuning: LoRA is merged for good, and what was trained is the model's own. Virtual tokens cannot become
 * weights: KEEL_E_UNSUPPORTED. */
keel_status keel_llama_settle(keel_llama *llama, keel_err *err);

#endif
