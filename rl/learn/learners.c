#include "rl/learn/learners.h"

#include <stddef.h>

#define NAME(id, name, kind, help) name,
const char *const keel_algorithms[] = {KEEL_LEARNERS(NAME) NULL};

#define KIND(id, name, kind, help) &keel_learn_##kind,
static const keel_learner_kind *const kinds[] = {KEEL_LEARNERS(KIND)};

const keel_learner_kind *keel_learner_kind_of(int algorithm) {
    return kinds[algorithm];
}
