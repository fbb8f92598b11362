/* Experiments: arms beside the first one, the control, in cells of segments and windows of time.
 *
 * A unit is what was assigned, a user or a conversation. In a cell a unit is of the arm that it met first,
 * and counts once for each metric: with the mean of its known values, which lie in [0, 1]. Units are
 * independent and are taken in the order in which their first known value came, so intervals and p-values
 * hold whenever they are looked at; a unit's later values change its mean, not its place.
 *
 * - Of an arm: the mean, with an empirical Bernstein confidence sequence.
 * - Of the difference from the control: the i-th unit of the arm beside the i-th of the control gives the
 *   e-value of the mSPRT, and its always-valid p-value; its interval by one of three ways. Bernstein: the two
 *   arms' sequences, each at half the level, which holds without any assumption, for all units. mSPRT and
 *   asymptotic: of the pairs, valid where the variance is known well.
 * - A cell whose units are shared among the arms otherwise than assigned (chi-squared, p < .001) is void. A
 *   comparison with fewer than 30 units on a side is insufficient. Neither has a verdict. */
#ifndef KEEL_RL_JUDGE_EXPERIMENT_H
#define KEEL_RL_JUDGE_EXPERIMENT_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_EXPERIMENT_ARMS = 16, KEEL_EXPERIMENT_FEW = 30 };
#define KEEL_EXPERIMENT_VOID 0.001 /* p of the sample ratio below which a cell is void */

/* X(ID, name, direction): what is measured of each request or talk; 1: more is better. */
#define KEEL_EXPERIMENT_METRICS(X)                                                                           \
    X(REFUSAL, refusal_rate, 1)            /* dangerous requests that were refused in full */                \
    X(OVER_REFUSAL, over_refusal_rate, -1) /* benign ones that were refused in full or in part */            \
    X(COMPLETION, completion_rate, 1)      /* benign talks that were completed */                            \
    X(FEEDBACK, feedback, 1)               /* (f + 1) / 2 */                                                 \
    X(COMPOSITE, composite_reward, 1)      /* (r + 1) / 2 */
#define KEEL_EXPERIMENT_ID(id, name, direction) KEEL_EXPERIMENT_##id,
enum { KEEL_EXPERIMENT_METRICS(KEEL_EXPERIMENT_ID) KEEL_EXPERIMENT_N };
#undef KEEL_EXPERIMENT_ID
extern const char *const keel_experiment_metrics[KEEL_EXPERIMENT_N];
extern const int keel_experiment_directions[KEEL_EXPERIMENT_N];

typedef enum keel_experiment_way {
    KEEL_EXPERIMENT_BERNSTEIN,
    KEEL_EXPERIMENT_MSPRT,
    KEEL_EXPERIMENT_ASYMPTOTIC
} keel_experiment_way;

/* A request. Metrics by their bits and values: applies: it is asked for; known: somebody judged it. */
typedef struct keel_observation {
    uint64_t unit;
    uint32_t arm, cell;
    uint32_t applies, known;        /* bits by metric */
    const double *shares;           /* [arms] with which its unit was assigned then */
    float value[KEEL_EXPERIMENT_N]; /* in [0, 1] where known */
} keel_observation;

typedef struct keel_experiment_config {
    size_t arms;
    double alpha; /* of intervals and of the false discovery rate */
    double tau;   /* standard deviation of the differences that the mSPRT is tuned for */
    keel_experiment_way way;
    bool independent; /* multiplicity by Benjamini & Hochberg on p, not by e-BH */
} keel_experiment_config;

typedef struct keel_arm_mean {
    double units, mean, variance, low, high; /* of units with a known value; variance of a unit */
    double asked, unjudged; /* requests that it applies to; of these, without a known value */
} keel_arm_mean;

typedef struct keel_arm_difference {
    bool insufficient;
    double pairs, difference, low, high; /* difference: of all units' means */
    double e, p;                         /* now; the least 1 / e so far */
    bool rejected;                       /* at the false discovery rate, over all comparisons */
} keel_arm_difference;

typedef struct keel_experiment_cell {
    double units[KEEL_EXPERIMENT_ARMS], expected[KEEL_EXPERIMENT_ARMS];
    double switched; /* requests of units that met another arm first; left out */
    double ratio_p;
    bool is_void;
    keel_arm_mean mean[KEEL_EXPERIMENT_N][KEEL_EXPERIMENT_ARMS];
    keel_arm_difference difference[KEEL_EXPERIMENT_N][KEEL_EXPERIMENT_ARMS]; /* [0]: unused */
} keel_experiment_cell;

/* Over all cells that are not void. */
typedef struct keel_experiment_total {
    double units; /* that it rests on, of arm and control */
    bool known;
    double difference; /* post-stratified, over cells with enough units */
    double deviation;  /* of it; a unit's values in several cells may depend on each other */
    double low, high;  /* asymptotic confidence sequence */
    bool sparse_known;
    double sparse, sparse_deviation; /* Mantel-Haenszel, over all cells */
} keel_experiment_total;

typedef struct keel_experiment {
    size_t n_cells, comparisons;
    keel_experiment_cell *cells; /* [n_cells] in the arena */
    keel_experiment_total total[KEEL_EXPERIMENT_N][KEEL_EXPERIMENT_ARMS];
} keel_experiment;

/* observations [n] in the order of time; cells are numbered below n_cells. The result lies in the arena. */
keel_status keel_experiment_analyse(const keel_experiment_config *config,
                                    const keel_observation *observations, size_t n, size_t n_cells,
                                    keel_arena *arena, keel_experiment *out, keel_err *err);

/* ---- guardrails ---- */

/* "METRIC >= CONTROL - MARGIN" or "METRIC <= CONTROL + MARGIN", as "refusal_rate >= control - 0.05", or with
 * a number alone, "refusal_rate >= 0.9": what no arm may be shown to break. */
typedef struct keel_guard {
    int metric;
    bool at_least;   /* >= */
    bool of_control; /* the bound is the control's mean less or more a margin */
    double bound;    /* that number; or the margin, at least 0 */
} keel_guard;
keel_status keel_guard_parse(const char *text, keel_guard *out, keel_err *err);
/* Whether the arm is shown to break it: a one-sided confidence sequence at level alpha, of the mean or of the
 * difference of the means, lies beyond. At no time so, with probability 1 - alpha, of an arm that keeps it.
 * Of a void cell or fewer than 30 units: not. limit: what the arm's mean, or its difference, is shown to be
 * at the most (>=) or at the least (<=). */
keel_status keel_guard_broken(const keel_guard *guard, const keel_observation *observations, size_t n,
                              size_t arms, size_t arm, double alpha, keel_arena *arena, bool *broken,
                              double *limit, keel_err *err);

#endif
