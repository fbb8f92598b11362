/* The built-in base ("builtin"): hashed words, word pairs and character n-grams in the manner of fastText
 * (Bojanowski et al. 2017), no download. Two things are tuned on a split:
 *
 * - an encoder: embeddings of the n-grams of what the user just said, of what both said before, and of a
 * candidate, pooled and squashed; supervised to rank the logged response above others (candidate sets) or to
 * name the logged act or outcome (fixed spaces): this gives pi_base, and in fixed spaces the state features;
 * - linear heads (policies/ngram_base/linear_probes.h) over the same n-grams for what the labels of the split
 * know: is this text a refusal, a compliance; is the conversation dangerous in which it was said; which
 * response is preferred. Their logits are the candidate features. They are crossed over folds, so that a
 * Q-network meets features of the same honesty in training and in use.
 *
 * Inputs are texts and acts alone: never model names, risk, labels, rewards. */
#ifndef KEEL_POLICIES_NGRAM_BASE_OPTIONS_H
#define KEEL_POLICIES_NGRAM_BASE_OPTIONS_H

#include <stdint.h>

#include "core/options.h"

/* What keel_option tables fill: meaning, default and bounds of each are in keel_ngram_base_options. */
struct keel_ngram_base_config {
    int action_space; /* index into auto, candidates, acts, outcomes */
    int64_t max_acts;
    int64_t buckets, dim, features;
    int64_t word_high, char_low, char_high, max_words, context_turns;
    int64_t batch, shard, epochs, min_updates, negatives, checkpoint_every;
    double learning_rate, weight_decay, embedding_rate, dropout;
    double rank_weight, act_weight, outcome_weight, risk_weight;
    int64_t head_folds;
    double label_l2, risk_l2;
    int64_t memory_mb;
    int64_t seed;
};
extern const keel_option keel_ngram_base_options[];

#endif
