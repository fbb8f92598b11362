#include "experiments/verbs.h"

#define ADDRESS(name) &keel_verb_##name,
const keel_verb *const keel_verbs[] = {KEEL_VERBS(ADDRESS) NULL};
