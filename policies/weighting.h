/* A policy for many weightings of the reward's components (rl/learn/reward_conditioning.h trains it): its
 * network takes the weights w as more numbers behind the state, and w is chosen when it decides.
 * Weights are shares: none negative, their sum one.
 *
 * What else depends on w:
 * - beta. The spread of Q_w over a decision's actions changes with w, so that one beta would spend far more
 * of the KL budget under one weighting than under another. So beta is solved for at each point of a lattice
 * of weightings, and 1 / beta is interpolated between them: the spread of w.Q is convex in w, so between
 * points beta rather comes out too small, within the budget, than too large (exactly so where Q_k themselves
 * do not move with w). The weighting it was trained under as standard has its own solution.
 * - the harm threshold does not. It bounds C in its own units, whatever else is wanted: a weighting says
 * what to strive for, never what is allowed. */
#ifndef KEEL_POLICIES_WEIGHTING_H
#define KEEL_POLICIES_WEIGHTING_H

#include <stdbool.h>
#include <stddef.h>

#include "core/nouns.h"
#include "core/status.h"

/* Weightings in quarters: all ways of giving KEEL_LATTICE of them to the components, (KEEL_N_REWARDS + 3 over
 * 4) in number. */
enum {
    KEEL_LATTICE = 4,
    KEEL_N_LATTICE = KEEL_N_REWARDS * (KEEL_N_REWARDS + 1) * (KEEL_N_REWARDS + 2) * (KEEL_N_REWARDS + 3) / 24
};
void keel_weighting_point(size_t i, double weight[KEEL_N_REWARDS]); /* i < KEEL_N_LATTICE */

/* 1 / beta linear within each simplex of neighbouring points (Freudenthal's triangulation); at a point, its
 * own. */
double keel_weighting_beta(const double beta[KEEL_N_LATTICE], const double weight[KEEL_N_REWARDS]);

/* KEEL_E_INVALID unless they are shares (their sum within 1e-6 of one). */
keel_status keel_weighting_check(const double weight[KEEL_N_REWARDS], keel_err *err);

/* to [dim + KEEL_N_REWARDS]: a state and behind it the weights. */
void keel_weighting_extend(const float *state, const float *weight, size_t dim, float *to);

#endif
