/* Logs of small processes whose values are known: states are one-hot, so that a network without hidden layers
 * is a table. */
#ifndef KEEL_TESTS_RL_TABULAR_H
#define KEEL_TESTS_RL_TABULAR_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "experiments/processes/mdp.h"
#include "rl/judge/fqe.h"
#include "rl/judge/ope.h"

enum { STATES = 8, ACTIONS = 3, PAIRS = STATES * ACTIONS, LONGEST = 24, MOST_EPISODES = 4000 };

typedef struct tabular {
    keel_mdp mdp;
    double behaviour[PAIRS], policy[PAIRS]; /* b: soft on the best; pi: softer or harder, as said */
    double v[STATES], q[PAIRS], value;      /* of pi, exact */
} tabular;

/* A random process; b and pi soften the best policy by so much. */
static inline tabular tabular_make(uint64_t seed, double behaviour, double policy) {
    tabular t;
    double best[PAIRS];
    assert_int_equal(keel_mdp_random(&t.mdp, STATES, ACTIONS, 3, .4, .9, seed, NULL), KEEL_OK);
    assert_int_equal(keel_mdp_solve(&t.mdp, NULL, NULL, best, NULL), KEEL_OK);
    keel_mdp_soften(&t.mdp, best, behaviour, t.behaviour);
    keel_mdp_soften(&t.mdp, best, policy, t.policy);
    assert_int_equal(keel_mdp_evaluate(&t.mdp, t.policy, t.v, t.q, NULL), KEEL_OK);
    t.value = keel_mdp_start_value(&t.mdp, t.v);
    return t;
}

typedef struct episode {
    size_t n;
    keel_mdp_step steps[LONGEST];
} episode;

static inline void tabular_play(const tabular *t, uint64_t seed, episode *out, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        keel_rng rng = keel_rng_named(seed, "episode", i);
        out[i].n = keel_mdp_episode(&t->mdp, t->behaviour, &rng, out[i].steps, LONGEST);
    }
}

/* Fitted Q evaluation of pi without a network: Q of the process whose rewards and transitions are the counted
 * ones. Pairs never seen are worth 0. */
static inline void tabular_count(const tabular *t, const episode *episodes, size_t n, double *q) {
    double seen[PAIRS] = {0}, reward[PAIRS] = {0}, to[PAIRS][STATES] = {{0}}, v[STATES] = {0};
    memset(q, 0, PAIRS * sizeof *q);
    for (size_t i = 0; i < n; ++i)
        for (size_t s = 0; s < episodes[i].n; ++s) {
            const keel_mdp_step *at = &episodes[i].steps[s];
            size_t pair = at->state * ACTIONS + at->action;
            seen[pair]++;
            reward[pair] += at->reward;
            if (!at->end) to[pair][at->next]++;
        }
    for (int sweep = 0; sweep < 100; ++sweep) {
        for (size_t p = 0; p < PAIRS; ++p) {
            double sum = reward[p];
            for (size_t s = 0; s < STATES; ++s) sum += t->mdp.gamma * to[p][s] * v[s];
            q[p] = seen[p] > 0 ? sum / seen[p] : 0;
        }
        memset(v, 0, sizeof v);
        for (size_t p = 0; p < PAIRS; ++p) v[p / ACTIONS] += t->policy[p] * q[p];
    }
}

/* What a step is to the fit: one-hot state, and in sets one-hot candidates. Points into `room`. */
typedef struct fit_room {
    float state[STATES], pi[ACTIONS], candidates[ACTIONS * ACTIONS];
} fit_room;

static inline keel_fqe_step tabular_fit_step(const double *policy, const keel_mdp_step *s, bool sets,
                                             fit_room *room) {
    *room = (fit_room){0};
    room->state[s->state] = 1;
    for (size_t a = 0; a < ACTIONS; ++a) {
        room->pi[a] = (float)policy[s->state * ACTIONS + a];
        room->candidates[a * ACTIONS + a] = 1;
    }
    return (keel_fqe_step){.state = room->state,
                           .candidates = sets ? room->candidates : NULL,
                           .pi = room->pi,
                           .n_actions = ACTIONS,
                           .action = (int32_t)s->action,
                           .reward = (float)s->reward};
}

static inline keel_qnet_shape tabular_shape(bool sets) {
    return (keel_qnet_shape){.space = sets ? KEEL_SPACE_CANDIDATES : KEEL_SPACE_ACTS,
                             .state_dim = STATES,
                             .candidate_dim = sets ? ACTIONS : 0,
                             .n_acts = sets ? 0 : ACTIONS};
}

static inline keel_fqe_config tabular_fit_config(size_t folds) {
    keel_fqe_config config;
    assert_int_equal(keel_fqe_standard(&config, NULL), KEEL_OK);
    config.folds = folds;
    config.learner.gamma = .9;
    config.learner.hidden = (keel_int_list){0};
    config.learner.batch = 64;
    config.learner.steps = 1000;
    config.learner.learning_rate = .03;
    return config;
}

static inline void tabular_add(keel_fqe *fqe, const double *policy, const episode *episodes, size_t n,
                               bool sets) {
    for (size_t i = 0; i < n; ++i) {
        keel_fqe_step steps[LONGEST];
        fit_room room[LONGEST];
        for (size_t s = 0; s < episodes[i].n; ++s)
            steps[s] = tabular_fit_step(policy, &episodes[i].steps[s], sets, &room[s]);
        assert_int_equal(
            keel_fqe_add(fqe, i, steps, episodes[i].n, !episodes[i].steps[episodes[i].n - 1].end, NULL),
            KEEL_OK);
    }
}

/* Q of one state's action by the network that has not seen the unit, and v of the state. */
static inline double tabular_q(const keel_fqe *fqe, const double *policy, uint64_t unit, size_t state,
                               size_t action, bool sets, double *v) {
    const keel_mdp_step at = {.state = state, .action = action};
    fit_room room;
    keel_arena scratch = {0};
    double q, of_state;
    const keel_fqe_step step = tabular_fit_step(policy, &at, sets, &room);
    assert_int_equal(keel_fqe_value(fqe, unit, &step, &scratch, &q, &of_state, NULL), KEEL_OK);
    keel_arena_free(&scratch);
    if (v) *v = of_state;
    return q;
}

#endif
