/* What a search found: as JSON, and for people. */
#ifndef KEEL_EXPERIMENTS_SEARCH_RESULT_H
#define KEEL_EXPERIMENTS_SEARCH_RESULT_H

#include "experiments/search/search_trial.h"

/* {"search", "out", "method", "maximise" or "minimise", "require", "trials": [{"trial", "config" (null: left
 * out), "budget", "state", "value", "low", "high", "required", "feasible", "note"}] best first, "kept":
 * {"trial", "config", "folder", "value", "low", "high", "expected", "expected_sd", "noise"} or null,
 * "held_out":
 * {"settings", "value", "low", "high", "required", "feasible"}, "asked", "done", "failed", "in_time",
 * "notes": [text]}. Runs the kept trial under --held-out. The caller deletes *out. */
keel_status keel_search_result_json(const keel_search_plan *plan, keel_store *store, bool in_time,
                                    cJSON **out, keel_err *err);
/* Told, not kept (experiments/cli.h): the seconds of each trial, by number. The caller deletes *out. */
keel_status keel_search_result_seconds(const keel_search_plan *plan, keel_store *store, cJSON **out,
                                       keel_err *err);

void keel_search_result_print(const cJSON *result, FILE *out);
/* The table alone; seconds: as above, or NULL. */
void keel_search_result_print_trials(const cJSON *result, const cJSON *seconds, FILE *out);

#endif
