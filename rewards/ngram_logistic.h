/* Hashed n-gram features of a response and the multinomial logistic regression over them (evaluation
 * reference 1.4). Private to this room. Letters: D buckets and one bias, K outcomes, N examples. */
#ifndef KEEL_REWARDS_NGRAM_LOGISTIC_H
#define KEEL_REWARDS_NGRAM_LOGISTIC_H

#include <stddef.h>
#include <stdint.h>

#include "core/ngram.h"
#include "core/nouns.h"
#include "core/status.h"

enum {
    KEEL_NGRAM_BUCKETS = 1 << 16,
    KEEL_NGRAM_BIAS = KEEL_NGRAM_BUCKETS, /* the bias is one more weight, so L2 keeps it finite too */
    KEEL_NGRAM_DIM = KEEL_NGRAM_BUCKETS + 1,
    KEEL_NGRAM_WEIGHTS = KEEL_NGRAM_DIM * KEEL_N_OUTCOMES
};

/* The features of one text, each with the value 1 / sqrt(count); the bias is left to the regression. Uni-,
 * bi- and trigrams of the first 12, the first 60 and the last 25 words, uni- and bigrams of all, and a bucket
 * for the logarithm of the length. Ids live in the arena. KEEL_E_NOMEM only. */
keel_status keel_ngram_features(keel_arena *arena, const char *text, keel_grams *out, keel_err *err);

/* Minimises sum_i -log p(outcome_i | row_i) + lambda / 2 |weights|^2 from zero by L-BFGS; out [D, K],
 * row-major. Deterministic: one thread, sums in order. label [N] holds 0 .. K-1 (compliance first). */
keel_status keel_ngram_logistic_fit(float *out, const keel_grams *rows, const int *label, size_t count,
                                    double lambda, keel_err *err);

/* Probabilities of the K outcomes into out [K]. */
void keel_ngram_logistic_predict(const float *weights, const keel_grams *row, double *out);

#endif
