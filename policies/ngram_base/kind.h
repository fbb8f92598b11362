/* The n-gram base ("builtin"): hashed words, word pairs and character n-grams in the manner of fastText
 * (Bojanowski et al. 2017); it needs no download. Two things are tuned on a split:
 *
 * - an encoder: embeddings of the n-grams of the last user turn, of the turns before it, and of a candidate,
 *   pooled and squashed. It learns to rank the logged response above others (candidate sets), or to name the
 *   logged act or outcome (fixed spaces). This gives pi_base, and in fixed spaces the state features.
 * - linear probes (linear_probes.h) over the same n-grams, which learn the labels of the split: is a text a
 *   refusal, is it a compliance, is the conversation dangerous, which response is preferred. Their logits are
 *   the candidate features. They are cross-fitted over folds, so that a Q-network sees features of the same
 *   quality in training and in use.
 *
 * Inputs are texts and acts alone: never model names, risk, labels or rewards. */
#ifndef KEEL_POLICIES_NGRAM_BASE_KIND_H
#define KEEL_POLICIES_NGRAM_BASE_KIND_H

#include "policies/base.h"

/* Meaning, default and bounds of each member are in keel_ngram_base_options. */
struct keel_ngram_base_config {
    keel_base_config common;
    int64_t buckets, dim, features;
    int64_t word_high, char_low, char_high, max_words, context_turns;
    bool user_acts;
    int64_t batch, shard, epochs, min_updates, negatives, checkpoint_every;
    double learning_rate, weight_decay, embedding_rate, dropout;
    double rank_weight, act_weight, outcome_weight, risk_weight;
    int64_t head_folds;
    double label_l2, risk_l2;
};
extern const keel_option keel_ngram_base_options[];

extern const keel_base_kind keel_ngram_base_kind;

#endif
