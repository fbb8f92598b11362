#include "experiments/processes/mdp.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

/* ---- tables ---- */

keel_status keel_mdp_open(keel_mdp *out, size_t n_states, size_t n_actions, double gamma, keel_err *err) {
    size_t pairs, triples;
    if (!n_states || !n_actions || !(gamma > 0 && gamma <= 1))
        return keel_fail(err, KEEL_E_INVALID, "mdp",
                         "expected states, actions and a discount in (0, 1], got %zu, %zu, %g", n_states,
                         n_actions, gamma);
    keel_mdp made = {.n_states = n_states, .n_actions = n_actions, .gamma = gamma};
    if (keel_size_mul(n_states, n_actions, &pairs) && keel_size_mul(pairs, n_states, &triples)) {
        made.start = keel_calloc(n_states, sizeof *made.start);
        made.reward = keel_calloc(pairs, sizeof *made.reward);
        made.next = keel_calloc(triples, sizeof *made.next);
    }
    if (!made.start || !made.reward || !made.next) {
        keel_mdp_close(&made);
        return keel_fail(err, KEEL_E_NOMEM, "mdp", "no memory for %zu states with %zu actions", n_states,
                         n_actions);
    }
    *out = made;
    return KEEL_OK;
}

void keel_mdp_close(keel_mdp *mdp) {
    keel_free(mdp->start);
    keel_free(mdp->reward);
    keel_free(mdp->next);
    *mdp = (keel_mdp){0};
}

static size_t pair(const keel_mdp *mdp, size_t state, size_t action) {
    return state * mdp->n_actions + action;
}

static double *next_row(const keel_mdp *mdp, size_t state, size_t action) {
    return mdp->next + pair(mdp, state, action) * mdp->n_states;
}

/* ---- random processes ---- */

keel_status keel_mdp_random(keel_mdp *out, size_t n_states, size_t n_actions, size_t branching, double ending,
                            double gamma, uint64_t seed, keel_err *err) {
    if (!branching || !(ending > 0 && ending <= 1))
        return keel_fail(err, KEEL_E_INVALID, "mdp",
                         "expected a branching above 0 and an ending in (0, 1], got %zu, %g", branching,
                         ending);
    KEEL_TRY(keel_mdp_open(out, n_states, n_actions, gamma, err));
    keel_rng rng = keel_rng_stream(seed, KEEL_STREAM_PROCESS, 0);
    for (size_t s = 0; s < n_states; ++s) {
        out->start[s] = 1 / (double)n_states;
        for (size_t a = 0; a < n_actions; ++a) {
            double *row = next_row(out, s, a), total = 0;
            out->reward[pair(out, s, a)] = keel_rng_uniform(&rng);
            for (size_t b = 0; b < branching; ++b) {
                size_t to = keel_rng_below(&rng, n_states);
                double mass = -log1p(-keel_rng_uniform(&rng)); /* exponentials, normalised: Dirichlet(1) */
                row[to] += mass;
                total += mass;
            }
            for (size_t t = 0; t < n_states; ++t) row[t] *= total > 0 ? (1 - ending) / total : 0;
        }
    }
    return KEEL_OK;
}

/* ---- values ---- */

static const double PRECISION = 1e-13;
enum { MOST_SWEEPS = 1000000 };

static double backup(const keel_mdp *mdp, size_t state, size_t action, const double *v) {
    const double *row = next_row(mdp, state, action);
    double sum = 0;
    for (size_t t = 0; t < mdp->n_states; ++t) sum += row[t] * v[t];
    return mdp->reward[pair(mdp, state, action)] + mdp->gamma * sum;
}

static size_t best_action(const keel_mdp *mdp, size_t state, const double *v) {
    size_t best = 0;
    double most = -INFINITY;
    for (size_t a = 0; a < mdp->n_actions; ++a) {
        double value = backup(mdp, state, a, v);
        if (value > most + PRECISION) {
            most = value;
            best = a;
        }
    }
    return best;
}

/* One sweep in place (Gauss-Seidel); policy NULL: the best action. Returns the largest change. */
static double sweep(const keel_mdp *mdp, const double *policy, double *v) {
    double change = 0;
    for (size_t s = 0; s < mdp->n_states; ++s) {
        double value = 0;
        if (!policy) value = backup(mdp, s, best_action(mdp, s, v), v);
        for (size_t a = 0; policy && a < mdp->n_actions; ++a)
            if (policy[pair(mdp, s, a)] > 0) value += policy[pair(mdp, s, a)] * backup(mdp, s, a, v);
        change = fmax(change, fabs(value - v[s]));
        v[s] = value;
    }
    return change;
}

/* The fixed point, into a new array. A change of d leaves an error of at most d gamma / (1 - gamma) (or of
 * the like with the chance to go on, where gamma is 1), so PRECISION is well under the promised 1e-12 for the
 * discounts in use. */
static keel_status fixed_point(const keel_mdp *mdp, const double *policy, double **out, keel_err *err) {
    double *v = keel_calloc(mdp->n_states, sizeof *v);
    if (!v) return keel_fail(err, KEEL_E_NOMEM, "mdp", "no memory for %zu values", mdp->n_states);
    for (size_t i = 0; i < MOST_SWEEPS; ++i) {
        double change = sweep(mdp, policy, v);
        if (!(change < 1e300)) break;
        if (change >= PRECISION * (1 - mdp->gamma * 0.99)) continue;
        *out = v;
        return KEEL_OK;
    }
    keel_free(v);
    return keel_fail(err, KEEL_E_DIVERGED, "mdp",
                     "values did not settle: under this policy the process need not end");
}

static void fill_q(const keel_mdp *mdp, const double *v, double *q) {
    for (size_t s = 0; s < mdp->n_states; ++s)
        for (size_t a = 0; a < mdp->n_actions; ++a) q[pair(mdp, s, a)] = backup(mdp, s, a, v);
}

keel_status keel_mdp_evaluate(const keel_mdp *mdp, const double *policy, double *v, double *q,
                              keel_err *err) {
    double *values = NULL;
    KEEL_TRY(fixed_point(mdp, policy, &values, err));
    if (v) memcpy(v, values, mdp->n_states * sizeof *v);
    if (q) fill_q(mdp, values, q);
    keel_free(values);
    return KEEL_OK;
}

keel_status keel_mdp_solve(const keel_mdp *mdp, double *v, double *q, double *policy, keel_err *err) {
    double *values = NULL;
    KEEL_TRY(fixed_point(mdp, NULL, &values, err));
    if (v) memcpy(v, values, mdp->n_states * sizeof *v);
    if (q) fill_q(mdp, values, q);
    for (size_t s = 0; policy && s < mdp->n_states; ++s) {
        memset(policy + pair(mdp, s, 0), 0, mdp->n_actions * sizeof *policy);
        policy[pair(mdp, s, best_action(mdp, s, values))] = 1;
    }
    keel_free(values);
    return KEEL_OK;
}

double keel_mdp_start_value(const keel_mdp *mdp, const double *v) {
    double sum = 0;
    for (size_t s = 0; s < mdp->n_states; ++s) sum += mdp->start[s] * v[s];
    return sum;
}

void keel_mdp_soften(const keel_mdp *mdp, const double *policy, double epsilon, double *out) {
    size_t pairs = mdp->n_states * mdp->n_actions;
    for (size_t i = 0; i < pairs; ++i) out[i] = (1 - epsilon) * policy[i] + epsilon / (double)mdp->n_actions;
}

/* ---- episodes ---- */

/* An index by its probability; `count` for what is missing to 1. */
static size_t draw(const double *p, size_t count, keel_rng *rng) {
    double u = keel_rng_uniform(rng), passed = 0;
    for (size_t i = 0; i < count; ++i) {
        passed += p[i];
        if (u < passed) return i;
    }
    return count;
}

/* The same where the probabilities sum to 1, but for rounding: the last possible one takes the rest. */
static size_t draw_whole(const double *p, size_t count, keel_rng *rng) {
    size_t i = draw(p, count, rng);
    if (i < count) return i;
    while (i > 1 && !(p[i - 1] > 0)) i--;
    return i - 1;
}

size_t keel_mdp_episode(const keel_mdp *mdp, const double *policy, keel_rng *rng, keel_mdp_step *steps,
                        size_t limit) {
    size_t state = draw_whole(mdp->start, mdp->n_states, rng), count = 0;
    while (count < limit) {
        const double *row = policy + pair(mdp, state, 0);
        size_t action = draw_whole(row, mdp->n_actions, rng);
        size_t next = draw(next_row(mdp, state, action), mdp->n_states, rng);
        steps[count++] = (keel_mdp_step){.state = state,
                                         .action = action,
                                         .propensity = row[action],
                                         .reward = mdp->reward[pair(mdp, state, action)],
                                         .next = next,
                                         .end = next == mdp->n_states};
        if (next == mdp->n_states) break;
        state = next;
    }
    return count;
}
