/* What trials leave in the store besides their rows: features of the bases that they tuned, as large as the
 * log for each. */
#ifndef KEEL_EXPERIMENTS_SEARCH_TIDY_H
#define KEEL_EXPERIMENTS_SEARCH_TIDY_H

#include "experiments/recipe_run.h"
#include "experiments/search/search_trial.h"

/* Removes the features of all bases that trials tuned, once no trial runs; OUT/tidied.json says for how many
 * trials that was done. Who asks for such a base again has them made anew. */
keel_status keel_search_tidy(const keel_search_plan *plan, keel_store *store, keel_err *err);

/* Removes those of the base that step `sft` of a run folder made. */
keel_status keel_search_tidy_base(keel_store *store, keel_recipe_run *run, const char *step, keel_err *err);

#endif
