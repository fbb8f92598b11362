/* Inside of training: the states that a policy learned from, as it is to know them again
 * (policies/familiar.h). */
#ifndef KEEL_RL_TRAIN_PLACES_H
#define KEEL_RL_TRAIN_PLACES_H

#include "rl/train/export.h"

/* Up to KEEL_FAMILIAR_MOST answered decisions of the conversations learned from, into policy->familiar: of
 * short logs all, else of some groups by their hash, of each conversation as many as there is room for,
 * spread over it. The same whatever order logs were imported in. */
keel_status keel_places_find(const keel_export *with, keel_policy *policy, keel_err *err);

#endif
