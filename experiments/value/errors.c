#include "experiments/value/errors.h"

#include <math.h>

#include "core/memory.h"
#include "rl/judge/bootstrap.h"

enum { RESAMPLES = 10000 };

double keel_value_squared_error(const keel_value_guess *guess) {
    double off = guess->estimate - guess->truth;
    return fmax(0, off * off - guess->se * guess->se) / (guess->range * guess->range);
}

value_error value_error_over(const keel_value_guess *guesses, size_t n) {
    value_error out = {.n = n};
    double squares = 0;
    for (size_t k = 0; k < n; ++k) {
        const keel_value_guess *one = &guesses[k];
        squares += keel_value_squared_error(one) / (double)n;
        out.bias += (one->estimate - one->truth) / one->range / (double)n;
        out.at_most += one->estimate <= one->truth;
    }
    out.rmse = sqrt(squares);
    return out;
}

/* total: the sums of both methods' squared errors. */
static double reduction_of(const void *context, size_t index, const double *total) {
    (void)context, (void)index;
    return total[1] > 0 ? 1 - sqrt(total[0] / total[1]) : NAN;
}

keel_status keel_value_compare(const keel_value_guess *method, const keel_value_guess *base, size_t n,
                               uint64_t seed, keel_value_comparison *out, keel_err *err) {
    const keel_bootstrap_plan plan = {
        .resamples = RESAMPLES, .seed = seed, .confidence = 0.95, .corrected = true};
    double total[2] = {0, 0};
    if (n < 2) return keel_fail(err, KEEL_E_INVALID, "value errors", "expected 2 seeds or more, got %zu", n);
    double *rows = keel_calloc(n, 2 * sizeof *rows);
    if (!rows) return keel_fail(err, KEEL_E_NOMEM, "value errors", "no memory for %zu seeds", n);
    for (size_t k = 0; k < n; ++k) {
        total[0] += rows[2 * k] = keel_value_squared_error(&method[k]);
        total[1] += rows[2 * k + 1] = keel_value_squared_error(&base[k]);
    }
    keel_value_comparison made = {.method = value_error_over(method, n),
                                  .base = value_error_over(base, n),
                                  .reduction = reduction_of(NULL, 0, total)};
    keel_status status =
        keel_bootstrap(rows, 2, n, &plan, reduction_of, NULL, 1, NULL, &made.low, &made.high, err);
    keel_free(rows);
    if (status == KEEL_OK) *out = made;
    return status;
}

/* ---- the estimands ---- */

#define NAME(id, name, help) name,
#define HELP(id, name, help) help,
const char *const keel_estimand_names[] = {KEEL_ESTIMANDS(NAME) NULL};
const char *const keel_estimand_helps[] = {KEEL_ESTIMANDS(HELP) NULL};

static keel_value_guess about(const keel_value_run *run, double estimate, const keel_value_policy *policy) {
    return (keel_value_guess){estimate, policy->value, policy->se, run->range};
}

static keel_value_guess shortfall(const keel_value_run *run, const keel_value_policy *policy) {
    return (keel_value_guess){run->best, policy->value, hypot(run->best_se, policy->se), run->range};
}

void keel_value_guesses(const keel_value_run *run, keel_estimand estimand, keel_value_guess *method,
                        keel_value_guess *base) {
    const keel_value_policy *bc = &run->bc, *ql = &run->ql, *cql = &run->cql;
    *method = about(run, cql->own, cql);
    switch (estimand) {
    case KEEL_ESTIMAND_E2:
        *method = about(run, cql->fitted, cql);
        *base = about(run, bc->fitted, bc);
        break;
    case KEEL_ESTIMAND_E3:
        *method = shortfall(run, cql);
        *base = shortfall(run, bc);
        break;
    case KEEL_ESTIMAND_E4:
        *base = about(run, ql->own, ql);
        break;
    case KEEL_ESTIMAND_E5:
        *base = about(run, run->logged, cql);
        break;
    case KEEL_ESTIMAND_E1_LOGGED:
        *base = about(run, run->logged, bc);
        break;
    case KEEL_ESTIMAND_E1:
    case KEEL_N_ESTIMANDS:
        *base = about(run, bc->fitted, bc);
        break;
    }
}
