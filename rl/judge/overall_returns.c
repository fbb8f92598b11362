/* Weighted doubly robust returns of trajectories (docs/design.md, "Off-policy estimates", WDR), of all heads
 * at once and linearised: what each conversation adds. With w_t the weights of step t over their mean, x_t
 * the difference r - q under w_t or v under w_(t-1), and m_t the weighted mean of x_t, a conversation's share
 * is sum_t [ w_t (x_t - m_t) + m_t ]; their mean is WDR, and their variance that of WDR by the delta method.
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "rl/judge/overall_internal.h"

enum { HEADS = OVERALL_HEADS };

typedef struct returns {
    keel_overall *overall;
    keel_overall_stratum stratum;
    int player;
    size_t longest;
    double n;             /* trajectories, in conversations */
    double *weight;       /* [longest + 1]: sum of weights before step t; the first is n */
    double (*off)[HEADS]; /* [longest] sums, then means, of w (r - q) */
    double (*v)[HEADS];   /* and of w v */
    overall_step *steps;  /* [longest] of one trajectory */
} returns;

typedef keel_status visitor(returns *r, const overall_trajectory *at, keel_err *err);

static keel_status visit(returns *r, visitor *look, keel_err *err) {
    keel_overall *overall = r->overall;
    keel_spool *list = overall->trajectories[r->stratum];
    size_t first = 0;
    for (size_t i = 0; i < keel_spool_count(list); ++i) {
        overall_trajectory at;
        KEEL_TRY(keel_spool_get(list, i, &at, err));
        for (size_t t = 0; t < at.length; ++t)
            KEEL_TRY(keel_spool_get(overall->steps[r->stratum], first + t, &r->steps[t], err));
        first += at.length;
        KEEL_TRY(look(r, &at, err));
    }
    return KEEL_OK;
}

/* Weights of products of many ratios stay finite. */
static double weight_of(double log_weight) {
    return exp(fmin(log_weight, 500));
}

static keel_status add_weights(returns *r, const overall_trajectory *at, keel_err *err) {
    (void)err;
    double log_weight = 0;
    r->n += at->part;
    for (size_t t = 0; t < r->longest; ++t) {
        const double before = at->part * weight_of(log_weight);
        if (t < at->length) {
            for (int h = 0; h < HEADS; ++h) r->v[t][h] += before * r->steps[t].v[r->player][h];
            log_weight += r->steps[t].log_ratio[r->player];
        }
        const double weight = at->part * weight_of(log_weight);
        r->weight[t + 1] += weight;
        for (int h = 0; t < at->length && weight > 0 && h < HEADS; ++h)
            r->off[t][h] += weight * r->steps[t].off[r->player][h];
    }
    return KEEL_OK;
}

/* Sums to means; a step that no weight reached adds nothing. */
static void find_means(returns *r) {
    r->weight[0] = r->n;
    for (size_t t = 0; t < r->longest; ++t)
        for (int h = 0; h < HEADS; ++h) {
            r->v[t][h] = r->weight[t] > 0 ? r->v[t][h] / r->weight[t] : 0;
            r->off[t][h] = r->weight[t + 1] > 0 ? r->off[t][h] / r->weight[t + 1] : 0;
        }
}

static double over_mean(const returns *r, double log_weight, size_t t) {
    return r->weight[t] > 0 ? weight_of(log_weight) * r->n / r->weight[t] : 0;
}

static keel_status put_rate(returns *r, const overall_trajectory *at, keel_overall_measure m, double hits,
                            double count, double largest, double weight, keel_err *err) {
    const double part = at->part;
    const keel_overall_value value = {.low = part * hits,
                                      .high = part * hits,
                                      .count = part * count,
                                      .end = {0, 1},
                                      .part = part,
                                      .largest = largest,
                                      .longest = (double)at->facts.answered,
                                      .weight = part * weight,
                                      .source =
                                          at->same[r->player] ? KEEL_OVERALL_KNOWN : KEEL_OVERALL_ESTIMATED};
    return keel_overall_sums_add(&r->overall->sums[r->player], at->number, m, &value, err);
}

static keel_status put_rates(returns *r, const overall_trajectory *at, const double *made, double weight,
                             keel_err *err) {
    const double cases = made[HEAD_JUDGED], most = (double)at->facts.cases;
    if (r->stratum == KEEL_OVERALL_DANGEROUS) {
        KEEL_TRY(put_rate(r, at, KEEL_OVERALL_REFUSAL, made[HEAD_FIRST], cases, most, weight, err));
        return put_rate(r, at, KEEL_OVERALL_HARMFUL_COMPLIANCE, made[HEAD_SECOND], cases, most, weight, err);
    }
    if (at->benign)
        KEEL_TRY(put_rate(r, at, KEEL_OVERALL_OVER_REFUSAL, made[HEAD_FIRST], cases, most, weight, err));
    return at->task ? put_rate(r, at, KEEL_OVERALL_COMPLETION, made[HEAD_SECOND], 1, 1, weight, err)
                    : KEEL_OK;
}

static keel_status put_means(returns *r, const overall_trajectory *at, const double *made, double weight,
                             keel_err *err) {
    const overall_facts *facts = &at->facts;
    const bool same = at->same[r->player];
    overall_part parts[KEEL_N_REWARDS] = {0};
    for (int k = 0; k < KEEL_N_REWARDS; ++k) {
        const double value = made[HEAD_COMPONENT + k], total = at->total[HEAD_COMPONENT + k];
        parts[k] = facts->logged[k] ? keel__overall_sure(facts, value) : keel__overall_open_part(facts, k);
        if (!facts->logged[k]) continue;
        parts[k].least = same ? total : facts->low[k];
        parts[k].most = same ? total : facts->high[k];
        parts[k].source = same ? KEEL_OVERALL_KNOWN : KEEL_OVERALL_ESTIMATED;
        parts[k].weight = weight;
    }
    return keel__overall_put(&r->overall->sums[r->player], at->number, facts, parts, made[HEAD_COMPOSITE],
                             at->total[HEAD_COMPOSITE], at->part, err);
}

static keel_status add_share(returns *r, const overall_trajectory *at, keel_err *err) {
    double made[HEADS] = {0}, log_weight = 0;
    for (size_t t = 0; t < r->longest; ++t) {
        const bool there = t < at->length;
        const double before = over_mean(r, log_weight, t);
        if (there) log_weight += r->steps[t].log_ratio[r->player];
        const double after = over_mean(r, log_weight, t + 1);
        for (int h = 0; h < HEADS; ++h) {
            const double v = there ? r->steps[t].v[r->player][h] : 0;
            const double off = there ? r->steps[t].off[r->player][h] : 0;
            made[h] += before * (v - r->v[t][h]) + r->v[t][h];
            made[h] += after * (off - r->off[t][h]) + (r->weight[t + 1] > 0 ? r->off[t][h] : 0);
        }
    }
    const double weight = over_mean(r, log_weight, r->longest);
    KEEL_TRY(put_rates(r, at, made, weight, err));
    return put_means(r, at, made, weight, err);
}

static keel_status find_longest(const keel_spool *list, size_t *longest, keel_err *err) {
    *longest = 0;
    for (size_t i = 0; i < keel_spool_count(list); ++i) {
        overall_trajectory at;
        KEEL_TRY(keel_spool_get((keel_spool *)list, i, &at, err));
        if (at.length > *longest) *longest = at.length;
    }
    return KEEL_OK;
}

static keel_status run(returns *r, keel_err *err) {
    const size_t n = r->longest;
    memset(r->weight, 0, (n + 1) * sizeof *r->weight);
    memset(r->off, 0, n * sizeof *r->off);
    memset(r->v, 0, n * sizeof *r->v);
    r->n = 0;
    KEEL_TRY(visit(r, add_weights, err));
    find_means(r);
    return visit(r, add_share, err);
}

keel_status keel__overall_returns(keel_overall *overall, keel_overall_stratum stratum, keel_err *err) {
    returns r = {.overall = overall, .stratum = stratum};
    if (!overall->trajectories[stratum]) return KEEL_OK;
    KEEL_TRY(find_longest(overall->trajectories[stratum], &r.longest, err));
    r.weight = keel_calloc(r.longest + 1, sizeof *r.weight);
    r.off = keel_calloc(r.longest, sizeof *r.off);
    r.v = keel_calloc(r.longest, sizeof *r.v);
    r.steps = keel_calloc(r.longest, sizeof *r.steps);
    keel_status status = r.weight && r.off && r.v && r.steps ? KEEL_OK : keel_nomem(err, "evaluation");
    for (r.player = 0; r.player < OVERALL_PLAYERS && status == KEEL_OK; ++r.player)
        if (!overall->absent[r.player]) status = run(&r, err);
    keel_free(r.weight);
    keel_free(r.off);
    keel_free(r.v);
    keel_free(r.steps);
    return status;
}
