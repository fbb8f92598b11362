/* Logged text as tokens, for steps of compression that look at what a model computes. */
#ifndef KEEL_POLICIES_COMPRESS_SAMPLE_H
#define KEEL_POLICIES_COMPRESS_SAMPLE_H

#include "policies/compress/job.h"
#include "policies/transformer/bert.h"
#include "policies/transformer/llama.h"

/* Texts one behind the other, as keel_bert_batch and keel_llama_batch have them. */
typedef struct keel_sample {
    int32_t *id, *type; /* [offsets[n]]; type: of encoders, else NULL */
    int32_t *offsets;   /* [n + 1], no empty text */
    size_t n;
} keel_sample;

/* Whole conversations by the chat template, or a line a turn where there is none; of each at most
 * config.tokens, from its start. The first config.conversations by the hash of their names, which says
 * nothing of what is in them. KEEL_E_USAGE where nothing is logged, KEEL_E_INVALID where that has no text. In
 * the arena. */
keel_status keel_sample_llama(const keel_llama *llama, const keel_compress_job *job, keel_arena *arena,
                              keel_sample *out, keel_err *err);
/* Turns of conversations, each a text as the encoder frames it; of each conversation at most config.tokens.
 */
keel_status keel_sample_bert(const keel_bert *bert, const keel_compress_job *job, keel_arena *arena,
                             keel_sample *out, keel_err *err);

/* The first texts of at most so many tokens, but one at least; what is left comes behind it. Both borrow. */
keel_sample keel_sample_first(const keel_sample *sample, size_t tokens);
keel_sample keel_sample_rest(const keel_sample *sample, const keel_sample *first);

/* The first config.sensitivity_tokens to measure losses on, config.importance_tokens of others to measure
 * importance on. KEEL_E_INVALID where nothing is left for the latter. */
keel_status keel_sample_divide(const keel_sample *all, const keel_compress_job *job, keel_sample *losses,
                               keel_sample *importance, keel_err *err);

/* Texts at .. at + n - 1 as a batch of their own; offsets [n + 1]: room for its offsets. */
keel_bert_batch keel_sample_batch(const keel_sample *sample, size_t at, size_t n, int32_t *offsets);
/* Vectors of all texts: out [sample->n, hidden]; NULL: for what the encoder's observer sees alone. */
keel_status keel_sample_encode(const keel_bert *bert, const keel_sample *sample, float *out, keel_err *err);
/* Runs the decoder over all texts for what its observer sees. log_prob [tokens] or NULL: of each token, as
 * keel_llama_run. */
keel_status keel_sample_run(const keel_llama *llama, const keel_sample *sample, keel_pool *pool,
                            float *log_prob, keel_err *err);
/* The sum of squared differences between what two models made of the same texts. */
double keel_sample_distance(const float *a, const float *b, size_t n);

#endif
