/* Which trial of a search comes next, as a function of the trials so far. It knows points of the unit cube
 * and how good they were; what a trial is and who runs it is the caller's. The same trials and the same seed
 * give the same next one. */
#ifndef KEEL_RL_SEARCH_SEARCH_H
#define KEEL_RL_SEARCH_SEARCH_H

#include <stdint.h>

#include "rl/search/space.h"

/* X(name, text): a method each, with a file of its own. */
#define KEEL_SEARCH_METHODS(X)                                                                               \
    X(grid, "grid")                                                                                          \
    X(random, "random")                                                                                      \
    X(bayes, "bayes")                                                                                        \
    X(halving, "halving")

enum { KEEL_SEARCH_REQUIRES = 8, KEEL_SEARCH_TRIALS = 10000 };

typedef enum keel_trial_state {
    KEEL_TRIAL_RUNNING,
    KEEL_TRIAL_DONE,
    KEEL_TRIAL_FAILED, /* it has no value, and none will come */
    KEEL_N_TRIAL_STATES
} keel_trial_state;
extern const char *const keel_trial_states[]; /* "running", "done", "failed", NULL */

typedef struct keel_trial {
    double at[KEEL_SPACE_DIMS];
    double budget; /* what halving gives it; else 0 */
    keel_trial_state state;
    double goal;                        /* when done: to be as large as possible */
    double slack[KEEL_SEARCH_REQUIRES]; /* a requirement holds where it is 0 or more */
} keel_trial;

typedef struct keel_search {
    const keel_space *space;
    int method; /* index into keel_search_methods */
    uint64_t seed;
    size_t trials;         /* as many are made; halving: as many begin. 0: grid: all, others: 20 */
    size_t points;         /* grid: values of each range of numbers */
    size_t n_requires;     /* of slack */
    keel_dimension budget; /* halving: from the least to the whole */
    double eta;            /* halving: one in eta goes on, with eta times the budget */
} keel_search;

typedef enum keel_search_turn {
    KEEL_SEARCH_TRIAL, /* there is one */
    KEEL_SEARCH_WAIT,  /* not before a running one has ended */
    KEEL_SEARCH_END
} keel_search_turn;

typedef struct keel_search_method {
    const char *help;
    /* The point (and budget) of trial n; what it leaves away from values is rounded by keel_search_next. */
    keel_status (*next)(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                        keel_search_turn *turn, keel_err *err);
    size_t (*size)(const keel_search *search); /* how many trials there will be, at most */
    bool believes;                             /* keeps what is best by its process, not by what was seen */
} keel_search_method;
extern const char *const keel_search_methods[]; /* their names; NULL-terminated */
const keel_search_method *keel_search_method_of(int method);

/* What cannot be searched so is KEEL_E_INVALID: no dimension, a grid or number of trials beyond
 * KEEL_SEARCH_TRIALS, bayes with more than KEEL_GP_POINTS, halving without a budget. */
keel_status keel_search_check(const keel_search *search, keel_err *err);

/* Trial number n after trials [n]; with turn KEEL_SEARCH_TRIAL *out has its point and budget and is running.
 */
keel_status keel_search_next(const keel_search *search, const keel_trial *trials, size_t n, keel_trial *out,
                             keel_search_turn *turn, keel_err *err);
size_t keel_search_size(const keel_search *search);

bool keel_trial_feasible(const keel_search *search,
                         const keel_trial *trial); /* done, and all requirements hold */
/* Whether a is better than b: with the larger budget, done, meeting more of what is required, of higher goal;
 * equal ones are not. */
bool keel_trial_better(const keel_search *search, const keel_trial *a, const keel_trial *b);
/* The one of highest goal among those that are feasible and have the largest budget that any has; the earlier
 * of equals. n: none is. */
size_t keel_search_best(const keel_search *search, const keel_trial *trials, size_t n);

/* What a Gaussian process over all trials of the same budget believes of one, without the noise that it sees
 * between trials: less flattered than the goal itself. */
typedef struct keel_search_belief {
    bool known; /* false with fewer than 5 trials, more than KEEL_GP_POINTS, or where no process can be fitted
                 */
    double mean, sd, noise;
} keel_search_belief;

/* Which trial is kept, and what is believed of it: keel_search_best, or, of a method that believes rather
 * than counts (bayes), the feasible one of highest mean. */
keel_status keel_search_keep(const keel_search *search, const keel_trial *trials, size_t n, size_t *which,
                             keel_search_belief *belief, keel_err *err);

#endif
