/* Structured pruning of encoders (policies/compress/prune.h): channels of feed-forward layers, heads, layers.
 * An encoder by itself has no loss: what counts is how far the vectors of logged texts move. With W the
 * matrix that reads a unit a_j, its importance is
 *
 *   weight      the sum of squares of its weights
 *   activation  E[a_j^2] ||W_j||^2 over the sample
 *   taylor      E[(sum_i W_ij d(r . v)/dW_ij)^2] over texts and directions r ~ N(0, I): by how much,
 *               squared, a text's vector v moves without it, to first order (Hutchinson's estimate of the
 *               diagonal of the Gauss-Newton matrix)
 *
 * How far off it is: the mean squared distance of vectors from those of the whole encoder. */
#ifndef KEEL_POLICIES_COMPRESS_PRUNE_BERT_H
#define KEEL_POLICIES_COMPRESS_PRUNE_BERT_H

#include "policies/compress/compress.h"

/* In place (policies/compress/compress.h); ratio 0: nothing. */
keel_status keel_prune_bert(keel_bert *bert, const keel_compress_job *job, keel_err *err);

#endif
