/* Internal header of the n-gram base: decisions as bags of n-grams. */
#ifndef KEEL_POLICIES_NGRAM_BASE_BAGS_H
#define KEEL_POLICIES_NGRAM_BASE_BAGS_H

#include "policies/ngram_base/model.h"

/* The n-grams of one field. Before weighing: buckets, each once. After it: rows of the table with their
 * weights; n-grams that the model does not know are left out, but count in the L2 norm of the weights. */
typedef struct keel_bag {
    size_t count;
    uint32_t *row;
    float *weight;
} keel_bag;

typedef struct keel_sample_candidate {
    keel_bag field[KEEL_N_CANDIDATE_FIELDS];
    float extra[KEEL_N_EXTRAS];
} keel_sample_candidate;

/* One decision as the model sees it. */
typedef struct keel_ngram_sample {
    keel_bag field[KEEL_N_STATE_FIELDS];
    float log_turns;
    size_t n_candidates; /* 0 in fixed spaces */
    keel_sample_candidate *candidate;
} keel_ngram_sample;

/* Reads decisions (NULL: the first n) into bags of buckets, all in the arena: out [n]. It uses the rules of
 * the model, not its weights. */
keel_status keel__ngram_base_samples(const keel_ngram_base *model, const keel_conversation *conversation,
                                     const size_t *decisions, size_t n, keel_arena *arena,
                                     keel_ngram_sample *out, keel_err *err);
/* The n-grams of what a decision answers (KEEL_FIELD_LAST) with their idf; those that the model does not know
 * weigh as the rarest; seen: one text less has them. */
keel_status keel__ngram_base_place(const keel_base *base, const keel_conversation *conversation,
                                   size_t decision, bool seen, keel_arena *scratch, keel_sparse_vector *out,
                                   keel_err *err);
/* Turns buckets into weighted rows, in place; to be called once. Linear probes and scalars read buckets, so
 * they come before it. */
void keel__ngram_base_weigh(const keel_ngram_base *model, keel_ngram_sample *sample);

#endif
