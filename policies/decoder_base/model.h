/* Internal header of the decoder base: the model. */
#ifndef KEEL_POLICIES_DECODER_BASE_MODEL_H
#define KEEL_POLICIES_DECODER_BASE_MODEL_H

#include "policies/base_file.h"
#include "policies/beside.h"
#include "policies/decoder_base/kind.h"
#include "policies/tokens/chat_template.h"
#include "policies/transformer/llama_adapt.h"
#include "policies/transformer/llama_run.h"

typedef struct keel_decoder_base {
    keel_base base; /* first: what callers see */
    struct keel_decoder_base_config config;
    const char *split; /* it was tuned on; "" where nothing was */
    bool tuned;        /* on the log: what it says of a response that it learned is no feature for critics */
    keel_llama *llama;
    size_t longest_name;        /* tokens of the longest name of an act or outcome, with its line break; 0 in
                                   candidate sets */
    keel_tokens ending;         /* what the template puts behind a response */
    const char *const *special; /* [n_special] texts of special tokens, which nobody may say */
    size_t n_special;
    float mean, scale; /* of a response's mean log-likelihood on the tuning split; scale: 1 / deviation */
    keel_arena arena;
} keel_decoder_base;

/* A base of this configuration over a model that it owns from now on, even on failure. */
keel_status keel__decoder_base_make(keel_decoder_base **out, const struct keel_decoder_base_config *config,
                                    keel_llama *llama, const keel_base_space *space, keel_err *err);
void keel__decoder_base_close(keel_base *base);

/* Again once tuning has added virtual tokens: candidate_tokens takes at most half of what the model's
 * positions leave. KEEL_E_INVALID where they leave nothing. */
keel_status keel__decoder_base_fit(keel_decoder_base *model, keel_err *err);

/* Puts the n-gram base beside it, or none (NULL), which it owns from now on, even on failure. */
keel_status keel__decoder_base_join(keel_decoder_base *model, keel_base *beside, keel_err *err);
/* Whether what it says of responses is a feature: not of ones that it learned by heart. */
static inline bool keel__decoder_says(const keel_decoder_base *model) {
    return model->base.space == KEEL_SPACE_CANDIDATES && !model->tuned;
}

#endif
