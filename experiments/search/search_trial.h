/* Trials: taken, run, kept.
 *
 * OUT/common      what the steps before the first varied one make, once
 * OUT/trials/NNNN what the others make in trial NNNN, with the results of steps in steps/
 * OUT/held-out    the kept trial under the settings of --held-out
 *
 * A trial of the same values as an earlier one that has ended is not run again: it has no folder.
 *
 * A trial is taken within one transaction of the store, by a process that holds the lock of its folder until
 * it has ended. A trial that runs without a lock is one whose process was killed: the next to look takes it
 * up, and its steps go on where they were stopped. */
#ifndef KEEL_EXPERIMENTS_SEARCH_TRIAL_H
#define KEEL_EXPERIMENTS_SEARCH_TRIAL_H

#include "datasets/store_trials.h"
#include "experiments/search/search_plan.h"

/* Trials as they are stored, and as methods see them. */
typedef struct keel_search_trials {
    size_t n;
    keel_stored_trial *stored;  /* [n] */
    const char *const **values; /* [n] texts [dims] */
    keel_trial *trials;         /* [n] */
    keel_arena arena;
} keel_search_trials;

/* Free in any case. KEEL_E_STORE where a row is none of this plan's. */
keel_status keel_search_trial_list(const keel_search_plan *plan, keel_store *store, keel_search_trials *out,
                                   keel_err *err);
void keel_search_trial_free(keel_search_trials *trials);

/* Makes OUT and the rows of the search. KEEL_E_CONFLICT where OUT holds another search, or this one goes on
 * in another folder. */
keel_status keel_search_trial_begin(const keel_search_plan *plan, keel_store *store, keel_err *err);
/* Takes trials and runs them until there are no more, for this process and all others, or time is up
 * (*in_time false). What comes of a trial does not depend on when it is run or by whom; with bayes, which
 * trials there are depends on what had ended when they were taken. KEEL_E_INTERRUPTED loses nothing. */
keel_status keel_search_trial_all(const keel_search_plan *plan, keel_store *store, bool *in_time,
                                  keel_err *err);
/* The kept trial under the settings of --held-out: its goal and requirements [n_requires]. */
keel_status keel_search_trial_held_out(const keel_search_plan *plan, const keel_search_trials *trials,
                                       size_t which, keel_search_value *goal, keel_search_value *required,
                                       keel_err *err);

/* "OUT/trials/0007", in the arena; NULL when out of memory. */
const char *keel_search_trial_folder(const keel_search_plan *plan, size_t number, keel_arena *arena);

#endif
