/* What a teacher's base says of every decision of a corpus (keel_base_kind.opinion): asked once, before a
 * student learns, and kept in memory. */
#ifndef KEEL_POLICIES_SOFT_LABELS_H
#define KEEL_POLICIES_SOFT_LABELS_H

#include "policies/base.h"

/* Of one decision. */
typedef struct keel_soft_label {
    float risk;            /* log odds, NAN: unknown */
    const float *prior;    /* [n_actions] probabilities at the temperature: fixed spaces, over the student's
                              acts; candidate sets, over the decision's own candidates; NULL: unknown */
    const float *outcomes; /* [n_candidates, 2] log odds of refusal, of compliance; NULL: unknown */
    const float *vector;   /* [vector_width of the teacher] of the state, of length 1; NULL: unknown, or not
                              asked for */
} keel_soft_label;

typedef struct keel_soft_labels {
    const keel_soft_label **of; /* [count of the corpus] of each conversation, by decision */
    size_t decisions, taught;   /* all, and those of which the teacher says anything */
    keel_arena arena;
} keel_soft_labels;

/* Asks job->teacher_base of job->corpus; *out is NULL without a teacher. who: the student, for errors.
 * vectors: they are kept too.
 * KEEL_E_UNSUPPORTED: a kind that is no teacher; KEEL_E_CONFLICT: it is over another action space, or knows
 * none of the student's acts; KEEL_E_INTERRUPTED. The same on any number of threads. */
keel_status keel_soft_labels_ask(keel_soft_labels **out, const keel_base_tuning *job, const char *who,
                                 bool vectors, keel_err *err);
void keel_soft_labels_free(keel_soft_labels *labels); /* NULL is harmless */

/* NULL without a teacher. */
const keel_soft_label *keel_soft_label_of(const keel_soft_labels *labels, size_t place, size_t decision);
/* Share of the teacher in the loss of a decision: distil where the log has a label too, 1 where only the
 * teacher says something, 0 where it says nothing. */
double keel_soft_label_share(bool taught, bool labelled, double distil);
/* Probabilities of KEEL_OUTCOME_COMPLIANCE, partial refusal and refusal, in the order of their numbers, from
 * log odds of refusal and compliance, at the temperature. */
void keel_soft_label_outcome(const float log_odds[2], double temperature, float out[KEEL_N_OUTCOMES]);

#endif
