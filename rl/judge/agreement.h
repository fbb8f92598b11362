/* How a judge's verdicts agree with labels by humans, with 95 % intervals: accuracy, Cohen's kappa, the bias
 * of each source's rate, and whether the probabilities mean what they say. Verdicts must be by a judge that
 * did not learn from the labels (rewards/judge.h: keel_judge_predict sees to it). */
#ifndef KEEL_RL_JUDGE_AGREEMENT_H
#define KEEL_RL_JUDGE_AGREEMENT_H

#include "core/api.h"
#include "core/memory.h"
#include "rewards/judge.h"
#include "rl/judge/intervals.h"

KEEL_BEGIN_DECLS

enum { KEEL_AGREEMENT_BINS = 10, KEEL_AGREEMENT_SOURCES = 32 };

typedef struct keel_agreement_item {
    int label; /* by a human: a class */
    keel_judge_verdict verdict;
    const char *source; /* whose response it is; NULL: unknown */
    uint64_t group;     /* items of one group are alike: the unit of the bootstrap */
} keel_agreement_item;

/* Of one source: the rate of any class but the first, among what is judged. */
typedef struct keel_agreement_source {
    const char *name; /* the item's */
    size_t n, unjudged;
    double human, judge; /* rates */
    keel_interval bias;  /* judge - human; n 0: nothing is judged */
} keel_agreement_source;

/* Of the items judged whose probability of any class but the first lies in [i / BINS, (i + 1) / BINS). */
typedef struct keel_agreement_bin {
    size_t n;
    double mean_p;
    keel_interval share; /* that humans call so */
} keel_agreement_bin;

typedef struct keel_agreement {
    size_t n, unjudged;
    keel_interval any_accuracy, any_kappa; /* the first class against the others */
    keel_interval accuracy, kappa;         /* all classes; what is unjudged agrees with nothing */
    keel_interval judged_accuracy;         /* the first class against the others, among what is judged */
    keel_interval bias;                    /* over all sources, as theirs */
    double ece; /* expected calibration error: mean over bins of |share - mean p|, weighted by n */
    keel_agreement_bin bins[KEEL_AGREEMENT_BINS];
    size_t n_sources;
    keel_agreement_source sources[KEEL_AGREEMENT_SOURCES]; /* those with most items, by name; the rest is
                                                              "others" */
} keel_agreement;

/* Accuracies and shares: Wilson with a design effect for groups (rl/judge/metric_sums.h). Kappa and biases:
 * bootstrap over groups, each resample with Poisson(1) more mistakes of either kind, since one that was not
 * seen is not impossible. */
keel_status keel_agreement_measure(const keel_agreement_item *items, size_t count, size_t resamples,
                                   uint64_t seed, keel_agreement *out, keel_err *err);

KEEL_END_DECLS

#endif
