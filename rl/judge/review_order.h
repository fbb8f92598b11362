/* The order in which people look at responses (datasets/store_review.h), and what their labels say about the
 * log while they are at it.
 *
 * Every response is drawn with a known chance, and what teaches most is drawn more often: priority sampling
 * (Duffield, Lund and Thorup 2007, "Priority sampling for estimation of arbitrary subset sums"). Response i
 * has a size s_i and a number u_i, uniform in (0, 1); people go by u_i / s_i, its place. When all responses
 * of a lower place than t were seen, and the lowest unseen place is t, i was drawn with the chance pi_i =
 * min(1, t s_i), and sums weighted by 1 / pi_i are unbiased. A label so serves both the judge, which learns
 * most from what it is unsure of, and the rates.
 *
 * The size is a mixture: KEEL_REVIEW_RANDOM_SHARE of it is the same for all, so that no chance is below that
 * share of a plain random draw (a defensive mixture, Hesterberg 1995); the rest goes by sqrt(c (1 - c)), c
 * the judge's confidence in its label, which is the standard deviation of its error and so the best size for
 * a rate (as in Zrnic and Candes 2024, "Active statistical inference"); with a policy
 * KEEL_REVIEW_DIFFERS_SHARE goes to responses in whose place it would do something else. What is not judged
 * has c = 1/2. Responses to benign requests, to dangerous ones and to those of unknown risk get equally many
 * labels, unless one rate is wished: then those of its risk get KEEL_REVIEW_AIMED_SHARE of them. */
#ifndef KEEL_RL_JUDGE_REVIEW_ORDER_H
#define KEEL_RL_JUDGE_REVIEW_ORDER_H

#include "datasets/store_review.h"
#include "rl/judge/corrected.h"
#include "rl/judge/intervals.h"

#define KEEL_REVIEW_RANDOM_SHARE  0.5
#define KEEL_REVIEW_DIFFERS_SHARE 0.25
#define KEEL_REVIEW_AIMED_SHARE   0.9
#define KEEL_REVIEW_TWICE_SHARE   0.125 /* of the responses, for the agreement of people */

typedef struct keel_review_aim {
    double random; /* the share that is the same for all: KEEL_REVIEW_RANDOM_SHARE; 1: a plain random order */
    keel_risk risk; /* of the wished rate; UNKNOWN: all */
} keel_review_aim;
/* Places of responses [count] into out [count]. differs [count]: where the policy does something else; NULL:
 * there is none. */
void keel_review_order_place(const keel_review_response *responses, const bool *differs, size_t count,
                             const keel_review_aim *aim, keel_review_place *out);

/* The chance with which it was drawn. open: the lowest place that is open; INFINITY: all were seen. */
double keel_review_order_chance(double size, double open);

/* A rate of the log as it stands: prediction-powered (Angelopoulos et al. 2023) with weights,
 *   (sum over all of f + N_drawn e) / N,  e = sum w (y - f) / sum w over what was drawn and labelled,  w = 1
 * / pi, f and y: whether the judge's label and the people's is a hit. 95 %, from var e = (sum w (w - 1) (y -
 * f - e)^2 + max w (max w - 1)) / (sum w)^2: the second summand is a mistake in what was drawn least often,
 * which nobody saw. All responses are those to requests of the rate's risk by the log. Where the log knows no
 * such request they are those that people call so: f is 0, and N = N_drawn = sum w. Labels at a higher place
 * than `open` are left out until their turn. */
typedef struct keel_review_rate {
    keel_interval rate; /* n: the responses; 0: fewer than KEEL_CORRECTED_FEWEST labels, or no response */
    double labels;      /* of people that it rests on */
    double needed;      /* more of these for the wished interval; NaN: not known yet */
} keel_review_rate;
/* wished: half of the interval's width. rate: not KEEL_CORRECTED_COMPLETION. */
keel_review_rate keel_review_order_rate(const keel_review_population *population,
                                        const keel_review_seen *seen, size_t count, double open,
                                        keel_corrected_rate rate, double wished);

#endif
