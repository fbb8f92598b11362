#include "policies/explain.h"

#include <math.h>
#include <string.h>

const char *keel_part_name(int part) {
    static const char *const names[] = {"prior", "harm", "cost", "value", "imitation"};
    return part < KEEL_N_REWARDS ? keel_reward_name(part) : names[part - KEEL_N_REWARDS];
}

/* The game at one decision. */
typedef struct game {
    const keel_policy *policy;
    const keel_choice *choice;
    double least_prior; /* of actions that are supported */
    size_t n;
    int player[KEEL_N_PARTS]; /* [n] parts */
} game;

static bool weighs(const keel_policy *policy, int k) {
    return policy->weight[k] > 0;
}

static game game_of(const keel_policy *policy, const keel_choice *choice) {
    game g = {.policy = policy,
              .choice = choice,
              .least_prior = keel_policy_least_prior(choice->log_prior, choice->n, policy->support)};
    if (policy->imitates) {
        g.player[g.n++] = KEEL_PART_IMITATION;
        return g;
    }
    g.player[g.n++] = KEEL_PART_PRIOR;
    const bool vector = policy->net.shape.heads == KEEL_N_REWARDS;
    if (!vector) g.player[g.n++] = KEEL_PART_VALUE;
    for (int k = 0; vector && k < KEEL_N_REWARDS; k++)
        if (weighs(policy, k)) g.player[g.n++] = k;
    if (choice->cost && policy->cost_weight > 0) g.player[g.n++] = KEEL_PART_COST;
    if (choice->cost && policy->harm_threshold < INFINITY) g.player[g.n++] = KEEL_PART_HARM;
    return g;
}

static bool has(const game *g, unsigned parts, int part) {
    for (size_t i = 0; i < g->n; i++)
        if (g->player[i] == part) return parts >> i & 1;
    return false;
}

static bool offered(const game *g, size_t a) {
    double prior = (double)g->choice->log_prior[a];
    return prior > -INFINITY && prior >= g->least_prior;
}

/* What is masked and yet on offer and supported is above the harm threshold. */
static bool is_harm(const game *g, size_t a) {
    return g->choice->masked[a] && offered(g, a);
}

/* The term of one part in log pi of an action, but for what all actions share. */
static double term(const game *g, int part, size_t a) {
    const keel_policy *policy = g->policy;
    size_t heads = policy->net.shape.heads;
    switch (part) {
    case KEEL_PART_HARM:
        return 0;
    case KEEL_PART_COST:
        return -policy->beta * policy->cost_weight * (double)g->choice->cost[a];
    case KEEL_PART_PRIOR:
        return (double)g->choice->log_prior[a];
    case KEEL_PART_VALUE:
        return policy->beta * (double)g->choice->q[a * heads];
    case KEEL_PART_IMITATION:
        return (double)g->choice->q_w[a];
    default:
        return policy->beta * policy->weight[part] * (double)g->choice->q[a * heads + (size_t)part];
    }
}

/* -INFINITY where it cannot be chosen. */
static double score(const game *g, unsigned parts, size_t a) {
    double sum = 0;
    if (!offered(g, a) || (has(g, parts, KEEL_PART_HARM) && is_harm(g, a))) return -INFINITY;
    for (size_t i = 0; i < g->n; i++)
        if (parts >> i & 1) sum += term(g, g->player[i], a);
    return sum;
}

/* v(parts). Where the threshold leaves nothing, the chosen action is the fallback. */
static double margin(const game *g, unsigned parts, size_t against) {
    double high = -INFINITY, sum = 0;
    for (size_t a = 0; a < g->choice->n; a++) high = fmax(high, score(g, parts, a));
    if (!(high > -INFINITY)) return 1;
    for (size_t a = 0; a < g->choice->n; a++) sum += exp(score(g, parts, a) - high);
    return (exp(score(g, parts, g->choice->chosen) - high) - exp(score(g, parts, against) - high)) / sum;
}

static double factorial(size_t n) {
    return n < 2 ? 1 : (double)n * factorial(n - 1);
}

static size_t members(unsigned parts) {
    size_t n = 0;
    for (; parts; parts &= parts - 1) n++;
    return n;
}

/* phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S with i) - v(S)). */
static void shapley(const game *g, size_t against, double *out) {
    double v[1u << KEEL_N_PARTS];
    unsigned all = (1u << g->n) - 1;
    for (unsigned s = 0; s <= all; s++) v[s] = margin(g, s, against);
    for (size_t i = 0; i < g->n; i++)
        for (unsigned s = 0; s <= all; s++) {
            if (s >> i & 1) continue;
            double weight = factorial(members(s)) * factorial(g->n - members(s) - 1) / factorial(g->n);
            out[g->player[i]] += weight * (v[s | 1u << i] - v[s]);
        }
}

/* Whether log pi(chosen) - log pi(against) would be less without the part. */
static bool speaks_for(const game *g, int part, size_t against) {
    const keel_choice *choice = g->choice;
    if (part == KEEL_PART_HARM) return choice->masked[choice->chosen] || is_harm(g, against);
    return !choice->masked[against] && term(g, part, choice->chosen) > term(g, part, against);
}

void keel_policy_explain(const keel_policy *policy, const keel_choice *choice, size_t against,
                         keel_explanation *out) {
    game g = game_of(policy, choice);
    *out = (keel_explanation){.against = against, .reason = -1};
    out->margin = margin(&g, (1u << g.n) - 1, against);
    shapley(&g, against, out->shapley);
    for (size_t i = 0; i < g.n; i++) {
        int part = g.player[i];
        out->plays[part] = true;
        if (!speaks_for(&g, part, against)) continue;
        if (out->reason < 0 || out->shapley[part] > out->shapley[out->reason]) out->reason = part;
    }
}
