/* What an evaluation shows, in words: the one source of the sentences that `keel eval` prints and the report
 * begins with. Made from the result of `eval` alone; what the result does not hold is said to be missing. */
#ifndef KEEL_EXPERIMENTS_VERDICT_H
#define KEEL_EXPERIMENTS_VERDICT_H

#include <cjson/cJSON.h>

/* {"finding": "better than the log" | "worse than the log" | "no improvement over the log is shown" |
 *             "no policy was evaluated",
 *  "sentences": [what it does to dangerous and to benign requests, whether the gates are met],
 *  "answers": [{"asks": "Is it safer than today?", "says": "...", "good": true | false | null}],
 *  "missing": ["what was not measured", ...]}. The caller deletes; parts are missing where memory is. */
cJSON *keel_verdict_json(const cJSON *result);

#endif
