/* How well a base that writes foretells what was said in a log. */
#ifndef KEEL_RL_JUDGE_PERPLEXITY_H
#define KEEL_RL_JUDGE_PERPLEXITY_H

#include "core/parallel.h"
#include "datasets/store.h"
#include "policies/base.h"

typedef struct keel_perplexity {
    size_t responses, tokens; /* that were given and have text; their tokens, ends of turns included */
    double log_prob;          /* sum of ln p(token | all before it) */
    double perplexity;        /* exp(-log_prob / tokens); NaN without tokens */
    double low, high;         /* 95 %: bootstrap over conversations */
} keel_perplexity;

/* Over the responses of the split (NULL: all) that were given. KEEL_E_UNSUPPORTED for a kind that has no
 * likelihood. Interruptible. */
keel_status keel_perplexity_of(keel_store *store, const keel_split *split, const keel_base *base,
                               keel_pool *pool, keel_perplexity *out, keel_err *err);

#endif
