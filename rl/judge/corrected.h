/* Rates corrected for the error of the judge whose labels they count.
 *
 * The error comes from responses that both a human and the judge labelled, in the same store. For one rate
 * let f be what the judge says (1: a hit), y what the human says. Of N answers that the judge alone labelled:
 *   Rogan and Gladen 1978:  p = (mean f + TNR - 1) / (TPR + TNR - 1),
 *                           TPR, TNR: shares of y = 1 and of y = 0 where the judge agrees
 *   prediction-powered (Angelopoulos et al. 2023):  p = mean f + mean over the labelled of (y - f)
 * The first holds where what humans labelled has other rates than the rest, as long as the judge errs as
 * often on a hit and as often on none; the second where what humans labelled was drawn at random. Both are
 * clipped to [0, 1]. The error is taken by source model where KEEL_CORRECTED_LEAST responses of it have both
 * labels, else over all; refusals of dangerous and of benign requests apart. Answers that a human labelled,
 * answers by another authority (a rule of the log) and answers that are outcomes themselves count as they
 * are. Unjudged answers are left out, as in the rates.
 *
 * Responses that people reviewed were drawn each with its own chance, and count by their weight
 * (keel_judged_pair); a mistake that was not seen has the largest weight of any.
 *
 * Intervals, 95 %: bootstrap over conversations, those with both labels and the others each for themselves.
 * A resample knows no mistake that was not seen, so each adds Poisson(1) conversations with a missed hit, as
 * many with a false one, and as many answers of each kind: where no mistake was seen, the interval still
 * holds what so many labels cannot exclude. */
#ifndef KEEL_RL_JUDGE_CORRECTED_H
#define KEEL_RL_JUDGE_CORRECTED_H

#include "core/api.h"
#include "datasets/store.h"
#include "rl/judge/intervals.h"

KEEL_BEGIN_DECLS

enum {
    KEEL_CORRECTED_LEAST = 50, /* responses with both labels that give a source an error of its own */
    KEEL_CORRECTED_FEWEST = 20 /* with fewer, of all sources together, the error is unknown */
};

/* The rates whose answers a judge may have labelled. */
typedef enum keel_corrected_rate {
    KEEL_CORRECTED_REFUSAL, /* of dangerous requests */
    KEEL_CORRECTED_HARMFUL_COMPLIANCE,
    KEEL_CORRECTED_OVER_REFUSAL, /* of benign ones */
    KEEL_CORRECTED_COMPLETION,   /* of benign conversations of one decision without a verdict */
    KEEL_N_CORRECTED
} keel_corrected_rate;
extern const char *const keel_corrected_names[KEEL_N_CORRECTED]; /* as the metrics are called */

/* n of an interval is 0 where the rate has no answer by the judge, or its error is unknown. */
typedef struct keel_corrected {
    keel_interval rogan_gladen, ppi; /* n: the answers */
    double judged;                   /* answers of the rate that the judge alone labelled */
    double both;                     /* responses with both labels that the error rests on */
} keel_corrected;

/* Golden: .62, .90, .95 -> .670588. NaN where TPR + TNR <= 1: the judge says nothing. */
double keel_rogan_gladen(double observed, double tpr, double tnr);

/* The error of a store's judge. */
typedef struct keel_judge_error keel_judge_error;
/* NULL in *out where no judge labelled anything. Reads all splits: labels of any tell how the judge errs. */
keel_status keel_judge_error_open(keel_judge_error **out, keel_store *store, keel_err *err);
/* The same of pairs that the caller has; they are copied, but for the names of judge and models. */
keel_status keel_judge_error_of(keel_judge_error **out, const keel_judged_pairs *pairs, keel_err *err);
void keel_judge_error_close(keel_judge_error *error); /* NULL is harmless */

/* Who labelled the answers of a store where no human did, and how well that is known. */
typedef struct keel_judged_by {
    char judge[96];      /* its name; "": nobody did */
    double labels;       /* that it gave where no human did */
    double both;         /* responses with its label and one by a human */
    const char *unknown; /* why no rate can be corrected; NULL where one can, or needs not */
} keel_judged_by;
keel_judged_by keel_judge_error_about(const keel_judge_error *error); /* all 0 of NULL */

/* The answers of one actor. Zero-initialised; error is the same in all calls. */
typedef struct keel_corrected_sums {
    float *both, *rest; /* by conversation: with both labels; others */
    size_t n_rest, rest_capacity;
} keel_corrected_sums;

/* Counts an answer, candidate NULL: an outcome of its own, at a decision of conversation number `number`. */
keel_status keel_corrected_count(keel_corrected_sums *sums, const keel_judge_error *error,
                                 const keel_conversation *conversation, size_t number,
                                 const keel_candidate *candidate, keel_outcome outcome, keel_err *err);
/* resamples and seed as in rl/judge/bootstrap.h. */
keel_status keel_corrected_close(const keel_corrected_sums *sums, const keel_judge_error *error,
                                 size_t resamples, uint64_t seed, keel_corrected out[KEEL_N_CORRECTED],
                                 keel_err *err);
void keel_corrected_free(keel_corrected_sums *sums);

KEEL_END_DECLS

#endif
