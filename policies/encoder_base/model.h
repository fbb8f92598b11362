/* Internal header of the encoder base: the model. */
#ifndef KEEL_POLICIES_ENCODER_BASE_MODEL_H
#define KEEL_POLICIES_ENCODER_BASE_MODEL_H

#include "policies/base_file.h"
#include "policies/beside.h"
#include "policies/encoder_base/crossed.h"
#include "policies/encoder_base/kind.h"
#include "policies/transformer/bert_adapt.h"

/* By config.candidates. */
enum { KEEL_CANDIDATES_NONE, KEEL_CANDIDATES_APART, KEEL_CANDIDATES_CROSS };

/* Each has two rows of the encoder's parameters behind the encoder's own: weight and bias. */
enum {
    KEEL_HEAD_RISK,
    KEEL_HEAD_ACT,
    KEEL_HEAD_VECTOR,
    KEEL_HEAD_OUTCOME,
    KEEL_HEAD_PREFERENCE,
    KEEL_HEAD_RANK,
    KEEL_N_HEADS
};
extern const char *const keel__encoder_heads[KEEL_N_HEADS];

typedef struct keel_encoder_base {
    keel_base base; /* first: what callers see */
    struct keel_encoder_base_config config;
    const char *split; /* it was tuned on */
    bool uses[KEEL_N_HEADS];
    keel_bert *bert;
    bool normalise; /* what its folder says: here vectors are not */
    keel_crossed states, candidates;
    size_t n_state, n_candidate; /* logits of a state and of a candidate; the rank head's score is the last */
    float *mean, *scale; /* [n_state + n_candidate] of the logits of the tuning split; scale: 1 / deviation */
    keel_arena arena;
} keel_encoder_base;

/* A base of this configuration over an encoder that it owns from now on, even on failure; heads are zero.
 * uses NULL: the heads whose losses have a weight. */
keel_status keel__encoder_base_make(keel_encoder_base **out, const struct keel_encoder_base_config *config,
                                    keel_bert *bert, const keel_base_space *space, const bool *uses,
                                    keel_err *err);
void keel__encoder_base_close(keel_base *base);

/* Puts the n-gram base beside it. */
keel_status keel__encoder_base_join(keel_encoder_base *model, keel_base *beside, keel_err *err);

/* Place in bert->params of a head's weight; its bias is the next. */
static inline size_t keel__encoder_head(const keel_encoder_base *model, int head) {
    return keel_bert_first_head(model->bert) + 2 * (size_t)head;
}

/* Whether any head reads candidates. */
static inline bool keel__encoder_reads_candidates(const keel_encoder_base *model) {
    return model->n_candidate > 0;
}
/* Whether the rank head compares the state's vector with the candidate's. */
static inline bool keel__encoder_compares(const keel_encoder_base *model) {
    return model->uses[KEEL_HEAD_RANK] && model->config.candidates == KEEL_CANDIDATES_APART;
}
/* Whether any head reads the state's vector. */
static inline bool keel__encoder_reads_states(const keel_encoder_base *model) {
    return model->n_state > 0 || model->uses[KEEL_HEAD_VECTOR] || keel__encoder_compares(model);
}

/* Logits of heads from vectors [hidden]: out [n_state], out [n_candidate]. state may be NULL where the rank
 * head compares nothing. */
void keel__encoder_state_logits(const keel_encoder_base *model, const float *vector, float *out);
void keel__encoder_candidate_logits(const keel_encoder_base *model, const float *state, const float *vector,
                                    float *out);

/* The scale of cosines in the rank head's logit: that of sentence-transformers' ranking loss. */
enum { KEEL_COSINE_SCALE = 20 };

#endif
