/* A random process for each seed (experiments/processes/mdp.h), with exact values: 30 states and 6
 * actions. States are one-hot. */
#include <math.h>
#include <string.h>

#include "core/numeric.h"
#include "experiments/processes/mdp.h"
#include "experiments/value/world.h"

enum { STATES = 30, ACTIONS = 6, PAIRS = STATES * ACTIONS, BRANCHING = 3, LONGEST = 400 };
static const double GAMMA = 0.9, ENDING = 0.05;

typedef struct tabular {
    keel_mdp mdp;
    double best[PAIRS]; /* the greedy policy */
    float states[STATES * STATES];
} tabular;

static keel_status value_of(const keel_mdp *mdp, const double *policy, double *out, keel_err *err) {
    double v[STATES];
    KEEL_TRY(keel_mdp_evaluate(mdp, policy, v, NULL, err));
    *out = keel_mdp_start_value(mdp, v);
    return KEEL_OK;
}

static keel_status solve(value_world *world, keel_err *err) {
    tabular *t = world->own;
    double any[PAIRS];
    KEEL_TRY(keel_mdp_random(&t->mdp, STATES, ACTIONS, BRANCHING, ENDING, GAMMA, world->seed, err));
    KEEL_TRY(keel_mdp_solve(&t->mdp, NULL, NULL, t->best, err));
    keel_mdp_soften(&t->mdp, t->best, 1, any);
    KEEL_TRY(value_of(&t->mdp, t->best, &world->best, err));
    return value_of(&t->mdp, any, &world->random, err);
}

static keel_status tabular_open(value_world *world, keel_err *err) {
    tabular *t = world->own = keel_calloc(1, sizeof *t);
    if (!t) return keel_fail(err, KEEL_E_NOMEM, "tabular", "no memory for a process");
    world->dim = STATES;
    world->acts = ACTIONS;
    world->gamma = GAMMA;
    for (size_t s = 0; s < STATES; ++s) t->states[s * STATES + s] = 1;
    const keel_status status = solve(world, err);
    if (status != KEEL_OK) value_world_close(world);
    return status;
}

static void tabular_close(value_world *world) {
    tabular *t = world->own;
    keel_mdp_close(&t->mdp);
    keel_free(t);
}

static keel_status add_episode(const tabular *t, const keel_mdp_step *steps, size_t n, value_log *log,
                               double *sum, keel_err *err) {
    double discount = 1;
    for (size_t i = 0; i < n; ++i, discount *= GAMMA) {
        KEEL_TRY(value_log_add(log, STATES, t->states + steps[i].state * STATES, (int32_t)steps[i].action,
                               i == 0, err));
        log->reward[log->n - 1] = (float)steps[i].reward;
        log->last[log->n - 1] = i + 1 == n;
        *sum += discount * steps[i].reward;
    }
    return KEEL_OK;
}

static keel_status tabular_log(value_world *world, size_t n, double eps, int part, value_log *out,
                               keel_err *err) {
    const tabular *t = world->own;
    double behaviour[PAIRS];
    keel_mdp_step steps[LONGEST];
    value_log made = {0};
    keel_mdp_soften(&t->mdp, t->best, eps, behaviour);
    for (size_t e = 0; e < n; ++e) {
        keel_rng rng = keel_rng_stream(2 * world->seed + (uint64_t)part, KEEL_STREAM_EPISODE, e);
        const size_t length = keel_mdp_episode(&t->mdp, behaviour, &rng, steps, LONGEST);
        double sum = 0;
        const keel_status status = add_episode(t, steps, length, &made, &sum, err);
        made.mean_return += sum / (double)n;
        if (status == KEEL_OK) continue;
        value_log_free(&made);
        return status;
    }
    *out = made;
    return KEEL_OK;
}

static keel_status tabular_truth(value_world *world, const keel_qnet *net, value_truth *out, keel_err *err) {
    const tabular *t = world->own;
    keel_arena scratch = {0};
    float q[PAIRS];
    double policy[PAIRS];
    value_truth made = {0};
    keel_status status = keel_qnet_infer(net, t->states, STATES, q, NULL, &scratch, err);
    keel_arena_free(&scratch);
    for (size_t s = 0; status == KEEL_OK && s < STATES; ++s)
        keel_softmax(q + s * ACTIONS, ACTIONS, q + s * ACTIONS);
    for (size_t j = 0; status == KEEL_OK && j < PAIRS; ++j) policy[j] = (double)q[j];
    if (status == KEEL_OK) status = value_of(&t->mdp, policy, &made.value, err);
    if (status == KEEL_OK) *out = made;
    return status;
}

const value_world_kind value_tabular = {"tabular", tabular_open, tabular_log, tabular_truth, tabular_close};
