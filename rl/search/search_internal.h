/* What the methods share. */
#ifndef KEEL_RL_SEARCH_SEARCH_INTERNAL_H
#define KEEL_RL_SEARCH_SEARCH_INTERNAL_H

#include "rl/search/gp.h"
#include "rl/search/search.h"

/* Draws for trial `number` until it is none of trials [n], as far as there are others. */
void keel__search_draw(const keel_search *search, const keel_trial *trials, size_t n, size_t number,
                       keel_trial *out);
bool keel__search_same(const keel_search *search, const double *a, const double *b);
bool keel__search_tried(const keel_search *search, const keel_trial *trials, size_t n, const double *at);
/* How many are made: search->trials or the standard, as far as the space has so many. */
size_t keel__search_asked(const keel_search *search);

/* Goals of done trials with a budget of `budget`, or, with slack 0 or more, that slack of them, and their
 * points
 * [., dims], for a process: returns how many. Goals far below the others are drawn nearer, so that one cliff
 * does not flatten the rest; failed trials have the lowest value. */
size_t keel__search_data(const keel_search *search, const keel_trial *trials, size_t n, double budget,
                         int slack, double *x, double *value);

#define KEEL_SEARCH_METHOD(name, text) extern const keel_search_method keel__search_##name;
KEEL_SEARCH_METHODS(KEEL_SEARCH_METHOD)
#undef KEEL_SEARCH_METHOD

#endif
