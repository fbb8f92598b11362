/* What the acts of a fixed space amount to, as the training log judged them. */
#ifndef KEEL_RL_TRAIN_ACTS_H
#define KEEL_RL_TRAIN_ACTS_H

#include "datasets/store.h"
#include "policies/base.h"

typedef struct keel_acts {
    keel_outcome *outcome[3]; /* [keel_risk][act] judged most often, the more cautious on ties; NONE: never */
    bool *declines;           /* [act] refuses or hands over: see keel_acts_learn */
    int32_t fallback;         /* act judged a refusal most often, among those that mostly are one; -1: none */
} keel_acts;

/* Of the split's conversations; arrays in the arena. In the space of outcomes acts are the outcomes
 * themselves. An act declines where in conversations of each risk that it was taken in it was judged at least
 * half of the time, and mostly a refusal or an answer in part; one of conversations without danger alone must
 * be a refusal. */
keel_status keel_acts_learn(keel_store *store, const keel_split *split, const keel_base *base,
                            keel_arena *arena, keel_acts *out, keel_err *err);

#endif
