/* Structured pruning of decoders (policies/compress/prune.h). With W the down projection, a channel's
 * importance is
 *
 *   weight      sum of squares of its rows in gate and up and its column in W
 *   activation  E[a_j^2] ||W_j||^2 over the sample: the mean square of what it adds to the residual stream
 *   taylor      E[(sum_i W_ij dL/dW_ij)^2] over texts, which is E[(a_j dL/da_j)^2]: what the loss changes
 *               by to first order without it (Molchanov et al. 2019, arXiv 1906.10771, equation 8)
 *
 * and that of a group, a head of keys and values with the query heads that read it, the same over its columns
 * in the output projection. How far off it is without some units: half the mean square of what ln p of a
 * held-out token differs by, which is KL(whole || pruned) to second order. */
#ifndef KEEL_POLICIES_COMPRESS_PRUNE_LLAMA_H
#define KEEL_POLICIES_COMPRESS_PRUNE_LLAMA_H

#include "policies/compress/compress.h"

/* In place (policies/compress/compress.h); ratio 0: nothing. */
keel_status keel_prune_llama(keel_llama *llama, const keel_compress_job *job, keel_err *err);

#endif
