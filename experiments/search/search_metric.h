/* What a search looks at in the results of steps: a metric by its place, and requirements on metrics. */
#ifndef KEEL_EXPERIMENTS_SEARCH_METRIC_H
#define KEEL_EXPERIMENTS_SEARCH_METRIC_H

#include "core/nouns.h"
#include "experiments/recipe.h"

/* "composite_reward", "refusal_rate.low", "train.metrics.td", "differences.policy - logged.speed.low": keys
 * with points between, from the top of a step's JSON result, of its "metrics" or of its "policy.metrics". A
 * step's name before it says which step's; else it is the last one's. */
typedef struct keel_search_metric {
    const char *text; /* as given */
    const char *step; /* its name */
    const char *path; /* in its result */
} keel_search_metric;

typedef struct keel_search_require {
    const char *text;
    keel_search_metric metric;
    bool at_least; /* else at most */
    double bound;
} keel_search_require;

/* In the arena. KEEL_E_USAGE, with `where`, for an empty key. */
keel_status keel_search_metric_read(const keel_recipe *recipe, const char *text, keel_arena *arena,
                                    const char *where, keel_search_metric *out, keel_err *err);
/* "METRIC >= NUMBER" or "METRIC <= NUMBER" (> and < mean the same: numbers are not exact). */
keel_status keel_search_metric_require(const keel_recipe *recipe, const char *text, keel_arena *arena,
                                       keel_search_require *out, keel_err *err);

/* Its value in the result of its step, with the ends of its interval where it has one; all absent where it is
 * null. KEEL_E_NOT_FOUND, with what there is, where it has no such key. */
typedef struct keel_search_value {
    keel_optional value, low, high;
} keel_search_value;
keel_status keel_search_metric_find(const keel_search_metric *metric, const cJSON *result,
                                    keel_search_value *out, keel_err *err);

#endif
