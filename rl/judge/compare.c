#include "rl/judge/compare.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "rl/judge/bootstrap.h"
#include "rl/judge/metric_sums.h"
#include "rl/judge/overall_internal.h"

enum { LEAST, MOST, ONE, N_TERMS };

struct keel_compare {
    double weight[KEEL_N_REWARDS];
    keel_compared counts;
    double here[2];          /* of the conversation at hand */
    double span;             /* of it: what one answer can earn more than another, over its decisions */
    double widest;           /* the largest span of a conversation so far */
    bool any;                /* a decision of it was added */
    double (*rows)[N_TERMS]; /* at most KEEL_BOOTSTRAP_ROWS */
    size_t n_rows, room;
};

keel_status keel_compare_open(keel_compare **out, const double weight[KEEL_N_REWARDS], keel_err *err) {
    keel_compare *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, "comparison");
    memcpy(made->weight, weight, sizeof made->weight);
    *out = made;
    return KEEL_OK;
}

void keel_compare_close(keel_compare *compare) {
    if (!compare) return;
    keel_free(compare->rows);
    keel_free(compare);
}

/* What an answer earns of a component: from end[0] to end[1]. */
static bool earned(const overall_facts *facts, const keel_answer *answer, int k, double end[2]) {
    bool known = answer->reward.present[k];
    for (int i = 0; i < 2; i++) end[i] = known ? (double)answer->reward.value[k] : facts->end[k][i];
    return known || !(facts->end[k][0] < facts->end[k][1]);
}

void keel_compare_add(keel_compare *compare, const keel_reward_view *log, const keel_answer answer[2],
                      bool same) {
    const overall_facts facts = keel__overall_read_facts(compare->weight, log);
    bool known = true;
    compare->any = true;
    compare->counts.decisions++;
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        compare->span += facts.share[k] * (facts.end[k][1] - facts.end[k][0]);
    if (same) return;
    compare->counts.differing++;
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        double a[2], b[2];
        if (!(facts.share[k] > 0)) continue;
        known &= earned(&facts, &answer[0], k, a);
        known &= earned(&facts, &answer[1], k, b);
        compare->here[LEAST] += facts.share[k] * (a[0] - b[1]);
        compare->here[MOST] += facts.share[k] * (a[1] - b[0]);
    }
    compare->counts.known += known;
}

keel_status keel_compare_end_conversation(keel_compare *compare, keel_err *err) {
    const size_t row = compare->counts.conversations % KEEL_BOOTSTRAP_ROWS;
    if (!compare->any) return KEEL_OK;
    if (row == compare->n_rows) {
        if (!keel_grow(&compare->rows, row + 1, &compare->room, sizeof *compare->rows))
            return keel_nomem(err, "comparison");
        memset(compare->rows[row], 0, sizeof *compare->rows);
        compare->n_rows++;
    }
    for (int i = 0; i < 2; i++) compare->rows[row][i] += compare->here[i];
    compare->rows[row][ONE]++;
    compare->counts.conversations++;
    compare->widest = fmax(compare->widest, compare->span);
    compare->here[LEAST] = compare->here[MOST] = compare->span = 0;
    compare->any = false;
    return KEEL_OK;
}

static double mean(const void *context, size_t index, const double *total) {
    (void)context;
    return total[ONE] > 0 ? total[index] / total[ONE] : NAN;
}

keel_status keel_compare_finish(const keel_compare *compare, size_t resamples, uint64_t seed,
                                double confidence, keel_compared *out, keel_err *err) {
    const keel_bootstrap_plan plan = {resamples, seed, confidence, false};
    double total[N_TERMS] = {0}, low[2] = {NAN, NAN}, high[2] = {NAN, NAN};
    *out = compare->counts;
    if (!compare->n_rows) return KEEL_OK;
    for (size_t r = 0; r < compare->n_rows; r++)
        for (int i = 0; i < N_TERMS; i++) total[i] += compare->rows[r][i];
    KEEL_TRY(keel_bootstrap(&compare->rows[0][0], N_TERMS, compare->n_rows, &plan, mean, NULL, 2, NULL, low,
                            high, err));
    const double n = (double)compare->counts.conversations, span = compare->widest;
    out->least = mean(NULL, LEAST, total);
    out->most = mean(NULL, MOST, total);
    const keel_interval least = keel_difference_interval(out->least, low[LEAST], high[LEAST], n, span,
                                                         confidence),
                        most =
                            keel_difference_interval(out->most, low[MOST], high[MOST], n, span, confidence);
    out->difference = (keel_interval){(out->least + out->most) / 2, least.low, most.high, n};
    return KEEL_OK;
}
