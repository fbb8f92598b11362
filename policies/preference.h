/* Which of two candidates people preferred: what bases learn to prefer (candidate sets). */
#ifndef KEEL_POLICIES_PREFERENCE_H
#define KEEL_POLICIES_PREFERENCE_H

#include "core/nouns.h"

/* Whether a was preferred to b: by better feedback where both have it, else because a was taken and b was
 * not. */
bool keel_preference(const keel_candidate *a, const keel_candidate *b);

#endif
