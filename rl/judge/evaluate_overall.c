/* Metrics out of the sums over all decisions. */
#include "rl/judge/evaluate_internal.h"

static const struct {
    keel_metric metric;
    keel_overall_measure measure;
} rows[] = {{KEEL_METRIC_REFUSAL, KEEL_OVERALL_REFUSAL},
            {KEEL_METRIC_HARMFUL_COMPLIANCE, KEEL_OVERALL_HARMFUL_COMPLIANCE},
            {KEEL_METRIC_OVER_REFUSAL, KEEL_OVERALL_OVER_REFUSAL},
            {KEEL_METRIC_COMPLETION, KEEL_OVERALL_COMPLETION},
            {KEEL_METRIC_COMPOSITE, KEEL_OVERALL_COMPOSITE},
#define ROW(id, name, weight, low, high)                                                                     \
    {KEEL_METRIC_##id, KEEL_OVERALL_ACCURACY + (keel_overall_measure)KEEL_##id},
            KEEL_REWARDS(ROW)
#undef ROW
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* A rate stays what it is at the decisions of the log, unless somebody plays on. */
static bool is_put(const keel_overall *overall, keel_overall_measure measure) {
    return measure < KEEL_OVERALL_REFUSAL || (overall && keel_overall_played(overall, measure));
}

void keel__evaluation_put(const keel_overall_sums *sums, const keel_overall *overall, double confidence,
                          keel_evaluation *out) {
    const bool plays = overall && sums != keel_overall_of(overall, KEEL_OVERALL_LOGGED);
    for (int i = 0; i < N_ROWS; ++i) {
        if (!is_put(plays ? overall : NULL, rows[i].measure)) continue;
        const keel_overall_result found = keel_overall_sums_result(sums, rows[i].measure, confidence);
        out->on_log[rows[i].metric] = out->metric[rows[i].metric];
        out->metric[rows[i].metric] = found.interval;
        out->source[rows[i].metric] =
            (keel_sources){found.share[KEEL_OVERALL_KNOWN], found.share[KEEL_OVERALL_ESTIMATED],
                           found.share[KEEL_OVERALL_UNKNOWN], found.clipped};
    }
}

void keel__evaluation_put_difference(const keel_overall *overall, keel_overall_who other, double confidence,
                                     keel_interval *out) {
    for (int i = 0; i < N_ROWS; ++i) {
        const keel_overall_measure m = rows[i].measure;
        if (!is_put(overall, m)) continue;
        out[rows[i].metric] = keel_overall_sums_difference(keel_overall_of(overall, KEEL_OVERALL_POLICY),
                                                           keel_overall_of(overall, other), m, confidence);
    }
}

void keel__evaluation_put_exchange(const keel_overall_sums *after, const keel_overall_sums *before,
                                   const keel_evaluation *evaluated, double confidence, keel_interval *out) {
    for (int i = 0; i < N_ROWS; ++i) {
        const keel_overall_measure m = rows[i].measure;
        if (!is_put(NULL, m) && !(evaluated->on_log[rows[i].metric].n > 0)) continue;
        out[rows[i].metric] = keel_overall_sums_difference(after, before, m, confidence);
    }
}
