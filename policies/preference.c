#include "policies/preference.h"

bool keel_preference(const keel_candidate *a, const keel_candidate *b) {
    if (a->feedback.present && b->feedback.present) return a->feedback.value > b->feedback.value;
    return a->taken && !b->taken;
}
