/* The pole on a cart (Barto, Sutton & Anderson 1983) with the constants everybody compares on (CartPole-v1):
 * a force of 10 N to the left or right each 0.02 s, reward 1 a step, the end when the pole leans more than 12
 * degrees or the cart is 2.4 m off, cut off after 500 steps. Not a dialogue: it is here so that learners can
 * be held against those of others. */
#ifndef KEEL_EXPERIMENTS_PROCESSES_CARTPOLE_H
#define KEEL_EXPERIMENTS_PROCESSES_CARTPOLE_H

#include <stdbool.h>

#include "core/pcg.h"

enum { KEEL_CARTPOLE_STATE = 4, KEEL_CARTPOLE_ACTIONS = 2, KEEL_CARTPOLE_LIMIT = 500 };

typedef struct keel_cartpole {
    double state[KEEL_CARTPOLE_STATE]; /* position m, speed m/s, angle rad, angular speed rad/s */
    int steps;
    bool fell;    /* the end */
    bool cut_off; /* at the limit */
} keel_cartpole;

/* Each part of the state uniform in [-0.05, 0.05). */
void keel_cartpole_reset(keel_cartpole *pole, keel_rng *rng);
/* 0 pushes left, anything else right. Every step pays 1, the falling one too. Not to be called after the end.
 */
void keel_cartpole_step(keel_cartpole *pole, int action);
/* A proportional-derivative balancer: holds the pole up to the limit from every start. */
int keel_cartpole_balance(const keel_cartpole *pole);

#endif
