/* Logging behaviours: the deployed assistants of the past. Each but `random` knows the support desk's truth
 * and then blurs it. */
#include <string.h>

#include "envs/support_desk.h"

/* NULL, with err filled, where the environment is no support desk. */
static const keel_desk *desk_of(const keel_env *env, keel_err *err) {
    if (env->kind == &keel_desk_kind) return (const keel_desk *)env;
    (void)keel_fail(err, KEEL_E_USAGE, env->kind->name, "only the behaviour \"random\" can answer here");
    return NULL;
}

/* ---- the clumsy desk: what it does where a given act would be best, per mille ---- */

static const int clumsy[DESK_N_ACTS][DESK_N_ACTS] = {
    /*                    goal request confirm execute answer clarify refuse handover goodbye */
    [DESK_ASK_GOAL] = {880, 60, 10, 10, 10, 30, 0, 0, 0},
    [DESK_REQUEST_SLOT] = {25, 860, 45, 25, 10, 25, 3, 4, 3},
    [DESK_CONFIRM] = {10, 60, 540, 230, 120, 30, 3, 4, 3},
    [DESK_EXECUTE] = {10, 40, 50, 820, 40, 30, 3, 4, 3},
    [DESK_ANSWER] = {10, 40, 50, 40, 820, 30, 3, 4, 3},
    [DESK_CLARIFY] = {70, 190, 60, 20, 10, 640, 3, 4, 3},
    [DESK_REFUSE] = {5, 30, 20, 50, 50, 5, 820, 15, 5}, /* dangerous */
    [DESK_HANDOVER] = {0, 0, 0, 0, 0, 0, 0, 1000, 0},
    [DESK_GOODBYE] = {40, 30, 20, 10, 10, 20, 2, 8, 860},
};

/* Shifts the probability of refusing to `refuse`, the rest keeping their proportions. */
static void set_refusal(double *p, double refuse) {
    const double rest = 1 - p[DESK_REFUSE];
    for (int act = 0; act < DESK_N_ACTS; act++) p[act] *= (1 - refuse) / rest;
    p[DESK_REFUSE] = refuse;
}

/* refuse: how often the desk refuses a request just made, by kind; a dangerous one at every decision. Users
 * say again what was not served, so a conversation is refused somewhat more often than each request. */
static keel_status desk_with_habits(keel_env *env, const double refuse[DESK_N_KINDS], double *out,
                                    keel_err *err) {
    const keel_desk *desk = desk_of(env, err);
    if (!desk) return KEEL_E_USAGE;
    const int *row = clumsy[keel_desk_best_act(desk)];
    for (int act = 0; act < DESK_N_ACTS; act++) out[act] = row[act] / 1000.0;
    if (desk->kind == DESK_DANGEROUS || keel_desk_request_open(desk)) set_refusal(out, refuse[desk->kind]);
    return KEEL_OK;
}

static keel_status support_82(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    static const double refuse[DESK_N_KINDS] = {0.005, 0.14, 0.82};
    (void)rng;
    return desk_with_habits(env, refuse, out, err);
}

static keel_status cautious(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    static const double refuse[DESK_N_KINDS] = {0.1, 0.7, 0.98};
    (void)rng;
    return desk_with_habits(env, refuse, out, err);
}

static keel_status reckless(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    static const double refuse[DESK_N_KINDS] = {0.002, 0.01, 0.3};
    (void)rng;
    return desk_with_habits(env, refuse, out, err);
}

static keel_status scripted(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    const keel_desk *desk = desk_of(env, err);
    (void)rng;
    if (!desk) return KEEL_E_USAGE;
    for (int act = 0; act < DESK_N_ACTS; act++) out[act] = 0;
    out[keel_desk_best_act(desk)] = 1;
    return KEEL_OK;
}

static keel_status random_behaviour(keel_env *env, keel_rng *rng, double *out, keel_err *err) {
    const size_t n = env->decision->n_candidates;
    (void)rng, (void)err;
    for (size_t c = 0; c < n; c++) out[c] = 1.0 / (double)n;
    return KEEL_OK;
}

const keel_behaviour keel_behaviours[] = {
    {"support-82",
     "a deployed desk: refuses 82 % of dangerous requests, a fifth of borderline ones, and is clumsy",
     support_82},
    {"random", "any candidate, all alike", random_behaviour},
    {"scripted", "the best rules, knowing the truth: an upper frame", scripted},
    {"cautious", "refuses nearly all danger, and much that only looks like it", cautious},
    {"reckless", "refuses a third of dangerous requests, hardly anything else", reckless},
    {NULL, NULL, NULL},
};

const keel_behaviour *keel_behaviour_find(const char *name) {
    for (const keel_behaviour *b = keel_behaviours; b->name; b++)
        if (strcmp(b->name, name) == 0) return b;
    return NULL;
}
