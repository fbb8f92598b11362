#include "rl/learn/learners.h"

#define NAME(kind, name) name,
const char *const keel_algorithms[] = {KEEL_LEARNERS(NAME) NULL};

#define KIND(kind, name) &keel_learn_##kind,
static const keel_learner_kind *const kinds[] = {KEEL_LEARNERS(KIND)};

const keel_learner_kind *keel_learner_kind_of(int algorithm) {
    return kinds[algorithm];
}
