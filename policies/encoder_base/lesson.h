/* Internal header of the encoder base: decisions as tokens, with their labels. */
#ifndef KEEL_POLICIES_ENCODER_BASE_LESSON_H
#define KEEL_POLICIES_ENCODER_BASE_LESSON_H

#include "policies/encoder_base/model.h"
#include "policies/soft_labels.h"

/* What the encoder reads of a text; in the arena of whoever asked. */
typedef struct keel_reading {
    const int32_t *id, *type; /* [n] */
    size_t n, cut;            /* cut: tokens that were left out */
    uint64_t hash;            /* of id and type */
} keel_reading;

/* One decision as the model sees it. */
typedef struct keel_lesson_texts {
    keel_reading state;
    size_t n_candidates; /* 0 where no head reads them */
    keel_reading
        *candidate; /* [n_candidates] the decision's own; the pair with the state where config says cross */
    int64_t state_key, *candidate_key; /* places in the tables of crossed logits: text within group */
} keel_lesson_texts;

/* turns before the decision, as many whole ones as the window takes, the last one at least; candidates [n].
 */
keel_status keel__encoder_read(const keel_encoder_base *model, const keel_conversation *conversation,
                               size_t turn, const keel_candidate *candidates, size_t n, keel_arena *arena,
                               keel_lesson_texts *out, keel_err *err);

/* Labels of a decision: what a head has to learn from it. */
typedef struct keel_encoder_labels {
    keel_risk risk;
    int32_t act;     /* fixed spaces: index of the taken act or outcome, or -1 */
    size_t n_taken;  /* of candidates */
    size_t n_judged; /* candidates with an outcome */
    size_t n_pairs;  /* of which one candidate is preferred */
    const keel_decision *decision;
    const keel_soft_label *soft; /* what a teacher says, or NULL */
} keel_encoder_labels;

keel_encoder_labels keel__encoder_labels(const keel_encoder_base *model,
                                         const keel_conversation *conversation, size_t decision,
                                         const keel_soft_label *soft);
/* How many terms the decision adds to the loss of a head. */
size_t keel__encoder_terms(const keel_encoder_base *model, const keel_encoder_labels *labels, int head);

#endif
