/* Fronts of policies judged by several objectives, all to be maximised (docs/design.md). points [n,
 * d] row by row, d at least 1; d is 3 for completion, speed and safety. */
#ifndef KEEL_RL_JUDGE_PARETO_H
#define KEEL_RL_JUDGE_PARETO_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

/* on [n]: no other point is at least as good in all objectives and better in one. Of equal points the first
 * is kept. */
void keel_pareto_front(const double *points, size_t n, size_t d, bool *on);

/* Volume of what the points dominate above the reference point [d]; points that do not exceed it in every
 * objective add nothing. Exact, by slicing along the last objective: for tens of points in a few dimensions.
 * Golden (2-D, reference 0):
 * (.9, .2), (.7, .6), (.4, .85) -> .56. */
keel_status keel_pareto_volume(const double *points, size_t n, size_t d, const double *reference, double *out,
                               keel_err *err);

#endif
