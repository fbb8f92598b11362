/* The sums behind what an actor earns, refuses and completes over all conversations of a log: ratios of
 * what conversations add, with intervals (docs/metrics.md, docs/design.md "Over all decisions").
 *
 * A conversation adds to each measure a value, or two where part of it can only be bounded, and a count. Its
 * value is known (the log or the rule says it), estimated (doubly robust), or unknown: then low and high are
 * the least and the most that rewards allow. */
#ifndef KEEL_RL_JUDGE_OVERALL_SUMS_H
#define KEEL_RL_JUDGE_OVERALL_SUMS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/nouns.h"
#include "core/status.h"
#include "rl/judge/intervals.h"

typedef enum keel_overall_measure {
    KEEL_OVERALL_COMPOSITE,
    KEEL_OVERALL_ACCURACY, /* then the other components of the reward */
    KEEL_OVERALL_REFUSAL = KEEL_OVERALL_ACCURACY + KEEL_N_REWARDS,
    KEEL_OVERALL_HARMFUL_COMPLIANCE,
    KEEL_OVERALL_OVER_REFUSAL,
    KEEL_OVERALL_COMPLETION,
    KEEL_N_OVERALL
} keel_overall_measure;

/* Where a value comes from. */
typedef enum keel_overall_source {
    KEEL_OVERALL_KNOWN,
    KEEL_OVERALL_ESTIMATED,
    KEEL_OVERALL_UNKNOWN,
    KEEL_N_OVERALL_SOURCES
} keel_overall_source;

/* Conversations of one decision, whose value is known whatever the log did (or open), or is estimated from
 * those where the log did the same; and conversations of several decisions by risk. What speaks for the ones
 * says nothing of the others. */
typedef enum keel_overall_stratum {
    KEEL_OVERALL_ALONE,
    KEEL_OVERALL_SHARED,
    KEEL_OVERALL_DANGEROUS,
    KEEL_OVERALL_OTHER,
    KEEL_N_OVERALL_STRATA
} keel_overall_stratum;

/* What a conversation adds to one measure. */
typedef struct keel_overall_value {
    double low, high;      /* equal unless it is unknown */
    double least, most;    /* what it can be: the value itself where it is known */
    double count;          /* 1; of rates, how many cases it holds */
    double floor, ceiling; /* what it could be if nothing were known, */
    double worst, best;    /* and if nothing estimated were */
    double end[2];         /* the least and the most that one answer can add */
    double part;           /* 1, or less where a conversation is added in parts: they sum to 1 */
    double largest;        /* how large a count may be in such a conversation */
    double longest;        /* its decisions */
    double weight;         /* of its evidence: 1, or a ratio of probabilities */
    keel_overall_source source;
    keel_overall_stratum stratum;
} keel_overall_value;

/* The sums of one measure over the conversations of a stratum. */
typedef struct keel_overall_tally {
    double n, count; /* conversations, and their counts */
    double value[2]; /* low, high */
    double least, most, worst, best;
    double largest, longest; /* the largest count that a conversation may have; the most decisions */
    double weight, squares;  /* of evidence */
} keel_overall_tally;

typedef struct keel_overall_sums {
    size_t n_rows, capacity;           /* conversations, at most KEEL_BOOTSTRAP_ROWS */
    double (*rows)[KEEL_N_OVERALL][3]; /* low, high, count */
    keel_overall_tally tally[KEEL_N_OVERALL][KEEL_N_OVERALL_STRATA];
    double end[KEEL_N_OVERALL][2];   /* the least and the most that one conversation was seen to add, or could
                                        have by one answer */
    double range[KEEL_N_OVERALL][2]; /* the least floor and the most ceiling of a conversation */
    double from[KEEL_N_OVERALL][KEEL_N_OVERALL_SOURCES]; /* conversations by source */
} keel_overall_sums;

/* Adds what conversation number `number` has; conversations may be added in parts. */
keel_status keel_overall_sums_add(keel_overall_sums *sums, size_t number, keel_overall_measure measure,
                                  const keel_overall_value *value, keel_err *err);
void keel_overall_sums_free(keel_overall_sums *sums);

typedef struct keel_overall_result {
    keel_interval interval; /* of a mean n counts conversations, of a rate cases */
    double share[KEEL_N_OVERALL_SOURCES];
    bool clipped; /* the estimate lay outside what is possible */
} keel_overall_result;

/* The measure, sum of values over sum of counts, with an interval of this confidence (two-sided).
 *
 * All known, or of one decision each: Wilson's interval, on the way from the one end of what a conversation
 * adds to the other, for the effective number of conversations that the variance of the ratio gives
 * (linearised: sum (value - ratio count)^2, Cochran 1977, 6.11); two conversations are added for it, one at
 * each end, since few that differ tell the variance badly, each as heavy as one of the m that speak, m = (sum
 * w)^2 / sum w^2 of the weights. Several decisions, or m below 10: Student's interval of the same variance,
 * and beside it, squared and added, what m conversations of a stratum cannot exclude: a share of up to u = 1
 * - ((1 - confidence)/2)^(1/m) may do otherwise though none did (Clopper & Pearson 1934), in conversations as
 * large as any. Some unknown: from the lower limit of the low values to the upper of the high ones, and the
 * value is their middle. */
keel_overall_result keel_overall_sums_result(const keel_overall_sums *sums, keel_overall_measure measure,
                                             double confidence);

/* Sum of value over sum of count, and its standard error by the delta method with n / (n - 1); which: 0 low
 * values, 1 high. Golden: `ratio`. */
double keel_overall_sums_ratio(const keel_overall_sums *sums, keel_overall_measure measure, int which,
                               double *standard_error);

/* One actor's measure minus another's at the same conversations, paired: from the limits of the normal
 * interval, moved out by what the evidence cannot exclude: a share of up to u (as above) of conversations in
 * which the two differ by as much as they can, from the least floor to the most ceiling of a conversation (a
 * rate: by 1). Both distances are squared and added, as in keel_difference_interval. */
keel_interval keel_overall_sums_difference(const keel_overall_sums *a, const keel_overall_sums *b,
                                           keel_overall_measure measure, double confidence);

#endif
