/* The encoder base ("encoder"): a BERT encoder as Hugging Face and sentence-transformers lay it out
 * (policies/transformer/bert.h), tuned on a split by heads on the vectors of its texts:
 *
 *   risk        is the conversation dangerous: from the state
 *   act         the logged act or outcome: from the state (fixed spaces)
 *   outcome     compliance, partial refusal or refusal: from a candidate (candidate sets)
 *   preference  the better of two candidates (Bradley & Terry 1952): from a candidate
 *   vector      of tuning with a teacher alone: its vector of the state, by a projection of the student's
 *   rank        the logged response among others (candidate sets): the cosine of state and candidate, as
 *               bi-encoders learn it (Reimers & Gurevych 2019), and how likely a candidate is at all
 *
 * The state is the dialogue within a window of tokens, cut at the borders of turns. A candidate is read
 * apart, or with the state as the other half of a pair. Features are the heads' logits, beside those of an
 * n-gram base tuned on the same split, or alone; pi_base is that of the rank or act head, the geometric mean
 * of it and the n-gram base's.
 *
 * What the base was tuned on it would know by heart. So its features are crossed over folds: of each decision
 * that taught it, with the answers offered beside it, the base keeps the logits of an encoder that was tuned
 * without that decision's fold. */
#ifndef KEEL_POLICIES_ENCODER_BASE_KIND_H
#define KEEL_POLICIES_ENCODER_BASE_KIND_H

#include "policies/base.h"

/* Meaning, default and bounds of each member are in keel_encoder_base_options. */
struct keel_encoder_base_config {
    keel_base_config common;
    int mode, ngrams, candidates, targets, schedule, fake_quant, fake_inputs;
    bool rslora, tune_candidates, near_negatives;
    int64_t frozen_layers, state_tokens, candidate_tokens, rank;
    int64_t folds, batch, shard, epochs, head_epochs, checkpoint_every, patience;
    double alpha, lora_dropout;
    double learning_rate, head_factor, weight_decay, dropout, label_smoothing, clip_norm, warm_up, held_out;
    double risk_weight, act_weight, outcome_weight, preference_weight, rank_weight, distil_features;
    size_t teacher_width; /* no option: of the vectors that distil_features learns; 0: none */
};
extern const keel_option keel_encoder_base_options[];

extern const keel_base_kind keel_encoder_base_kind;

#endif
