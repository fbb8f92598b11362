/* Internal header of the decoder base: a Llama-family decoder as a base. It gives pi_base from the
 * likelihood of responses, writes candidates, and is tuned on what deserves imitation. An n-gram base beside
 * it brings features of states and candidates. */
#ifndef KEEL_POLICIES_DECODER_BASE_KIND_H
#define KEEL_POLICIES_DECODER_BASE_KIND_H

#include "policies/base.h"

/* Meaning, default and bounds of each member are in keel_decoder_base_options. */
struct keel_decoder_base_config {
    keel_base_config common;
    int mode, weights, ngrams, schedule, loss, imitate, too_long, targets, prompt_start, precision,
        fake_quant, fake_inputs;
    bool rslora, recompute, learned_scales;
    int64_t frozen_layers, rank, virtual_tokens, state_tokens, candidate_tokens;
    int64_t batch, shard_tokens, epochs, checkpoint_every;
    int64_t layers, hidden, heads, kv_heads, inner, vocabulary; /* of a model of our own */
    double alpha, lora_dropout;
    double learning_rate, weight_decay, label_smoothing, clip_norm, warm_up;
    double preference_beta, prior_factor;
};
extern const keel_option keel_decoder_base_options[];

extern const keel_base_kind keel_decoder_base_kind;

/* By config.mode, config.loss, config.imitate, config.too_long, config.precision. */
enum { KEEL_DECODER_NONE, KEEL_DECODER_FULL, KEEL_DECODER_FREEZE, KEEL_DECODER_LORA, KEEL_DECODER_PROMPT };
enum { KEEL_LOSS_SFT, KEEL_LOSS_DPO, KEEL_LOSS_KTO };
enum { KEEL_IMITATE_TAKEN, KEEL_IMITATE_GOOD };
enum { KEEL_TOO_LONG_DROP, KEEL_TOO_LONG_CUT };
enum { KEEL_TUNE_F32, KEEL_TUNE_BF16, KEEL_TUNE_FP16 };

#endif
