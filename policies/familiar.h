/* Whether a state is like those that a policy learned from. Where none is near, Q and prior extrapolate:
 * nothing in the log vouches for the choice.
 *
 * A state is a place, a sparse unit vector that the base gives (keel_base_place); its distance is 1 - cos to
 * the nearest of some states of training. A state is unfamiliar if that exceeds a threshold: the 99th
 * percentile of the distances of those same states to the nearest of another group, which is as far as a
 * held-out state of the same kind is (conformal: the ceil(0.99 (n + 1))-th of n, or the largest). So about
 * one held-out decision in a hundred is marked, and what is in another language or of another topic mostly
 * is. */
#ifndef KEEL_POLICIES_FAMILIAR_H
#define KEEL_POLICIES_FAMILIAR_H

#include "core/memory.h"
#include "policies/base.h"

enum { KEEL_FAMILIAR_MOST = 512 }; /* states that are kept */

/* States one after the other, and where each dimension occurs in them. */
typedef struct keel_familiar {
    size_t n;                /* states; 0: nothing is known, and nothing marked */
    double threshold;        /* distances above it are unfamiliar */
    const int32_t *first;    /* [n + 1]: state i has entries first[i] .. first[i + 1] - 1 */
    const int32_t *dim;      /* [first[n]], rising within a state */
    const float *weight;     /* [first[n]] */
    const int32_t *by_dim;   /* [first[n]]: places in dim and weight, by dimension */
    const int32_t *state_of; /* [first[n]] */
} keel_familiar;

/* Makes the index, in the arena, over `first`, `dim` and `weight`, which are borrowed and hostile until
 * checked: KEEL_E_INVALID. n is at most KEEL_FAMILIAR_MOST. */
keel_status keel_familiar_open(const int32_t *first, const int32_t *dim, const float *weight, size_t n,
                               double threshold, keel_arena *arena, keel_familiar *out, keel_err *err);
/* From states and their groups [n], with the threshold that follows from them. unseen [n]: the same states as
 * they would be if the base did not know them; their distances are those of held-out ones. Fewer than two
 * groups: out->n is 0. */
keel_status keel_familiar_make(const keel_place *places, const keel_place *unseen, const int64_t *group,
                               size_t n, keel_arena *arena, keel_familiar *out, keel_err *err);
/* 1 - the largest cosine; NaN where nothing is known. */
double keel_familiar_distance(const keel_familiar *familiar, const keel_place *place);

#endif
