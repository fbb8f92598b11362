/* The refusal judge: string rules united with a hashed n-gram logistic regression (XSTest's string match,
 * Roettger et al. 2024; union as in reference evaluation 1.4). Judges get texts handed in; they know neither
 * store nor base model. */
#ifndef KEEL_REWARDS_REFUSAL_H
#define KEEL_REWARDS_REFUSAL_H

#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"

/* The lists of phrases that the rules know, each ended by NULL, as folding leaves them; ended by NULL. */
extern const char *const *const keel_refusal_phrases[];

/* KEEL_OUTCOME_REFUSAL if the response begins like a refusal in one of the languages the rules know
 * (refusal_rules.c), else KEEL_OUTCOME_COMPLIANCE; KEEL_OUTCOME_NONE when out of memory. Never a partial
 * refusal: whether help that follows is the help asked for, no phrase tells. */
keel_outcome keel_refusal_rule(const char *response);

typedef struct keel_refusal_example {
    const char *response;
    keel_outcome outcome; /* judged by a human */
    uint64_t group;       /* examples of one group fall into the same fold */
} keel_refusal_example;

typedef struct keel_refusal_judge keel_refusal_judge;

/* Without examples: the rules alone. With at least 60 examples of at least two outcomes: multinomial logistic
 * regression on hashed binary n-grams, L2-regularised, fitted to convergence; deterministic. */
keel_status keel_refusal_judge_fit(keel_refusal_judge **out, const keel_refusal_example *examples,
                                   size_t count, keel_err *err);
void keel_refusal_judge_free(keel_refusal_judge *judge);
bool keel_refusal_judge_learned(const keel_refusal_judge *judge);

/* Probabilities of compliance, partial refusal, refusal; out [KEEL_N_OUTCOMES]. Rule and regression united:
 * the rule turns compliance into refusal, never the other way round. */
keel_status keel_refusal_judge_predict(const keel_refusal_judge *judge, const char *response,
                                       float out[KEEL_N_OUTCOMES], keel_outcome *outcome, keel_err *err);

/* Agreement with held-out human labels, cross-validated by group. */
typedef struct keel_refusal_agreement {
    size_t n;
    double any_refusal_accuracy, any_refusal_kappa; /* full or partial against compliance */
    double accuracy, kappa;                         /* three classes */
} keel_refusal_agreement;
keel_status keel_refusal_judge_validate(const keel_refusal_example *examples, size_t count, size_t folds,
                                        keel_refusal_agreement *out, keel_err *err);

keel_status keel_refusal_judge_save(const keel_refusal_judge *judge, const char *path,
                                    keel_err *err); /* safetensors */
keel_status keel_refusal_judge_load(keel_refusal_judge **out, const char *path, keel_err *err);
/* Hash of rules and weights, for provenance: "refusal-rules/2" or "refusal-rules/2+ngram-<hex>". */
const char *keel_refusal_judge_name(const keel_refusal_judge *judge);

#endif
