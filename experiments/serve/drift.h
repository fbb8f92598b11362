/* Whether what is served drifts away from what was judged: three rates over the last requests that say them,
 * against the interval that is expected.
 *
 * - unfamiliar: states further from those of training than 99 in 100 held-out ones (policies/familiar.h);
 *   expected in [0, 0.01]
 * - refusal_rate: answers that refuse, of requests that feedback calls dangerous
 * - completion_rate: conversations that got done, of those that feedback says it of
 *
 * The last two are expected where the gates of the policy want them: "refusal_rate.low >= 0.97" is [0.97, 1];
 * without a gate nothing is expected. A rate is outside when its Wilson interval of 99 % is, over the last
 * KEEL_DRIFT_WINDOW, of at least KEEL_DRIFT_LEAST. That is a look at a time, not a test of always-valid
 * level: an alert should want it to last. A server feeds it the answers of its first arm. */
#ifndef KEEL_EXPERIMENTS_SERVE_DRIFT_H
#define KEEL_EXPERIMENTS_SERVE_DRIFT_H

#include <stdbool.h>

#include "core/nouns.h"
#include "experiments/serve/monitor.h"

enum {
    KEEL_DRIFT_WINDOW = 1000,
    KEEL_DRIFT_LEAST = 50,
    KEEL_DRIFT_REQUESTS = 1 << 16 /* answers that feedback can still come for; older ones are forgotten */
};

typedef enum keel_drift_rate {
    KEEL_DRIFT_UNFAMILIAR,
    KEEL_DRIFT_REFUSAL,
    KEEL_DRIFT_COMPLETION,
    KEEL_DRIFT_RATES
} keel_drift_rate;
extern const char *const keel_drift_names[KEEL_DRIFT_RATES];

typedef struct keel_drift keel_drift;
keel_status keel_drift_open(keel_drift **out, keel_err *err);
void keel_drift_close(keel_drift *drift); /* NULL is harmless; so it is below */

/* What is expected from now on of the last two: gates as keel_store_put_policy keeps them, a JSON array of
 * objects with the key "gate"; gates of other rates are passed over. NULL: nothing. KEEL_E_PARSE. */
keel_status keel_drift_expect(keel_drift *drift, const char *gates, keel_err *err);
/* An answer. Any thread, as below. */
void keel_drift_answered(keel_drift *drift, const char *request, bool unfamiliar, bool refused);
/* Feedback. completed: -1 not said. The second feedback on a request counts for what the first did not say.
 */
void keel_drift_told(keel_drift *drift, const char *request, keel_risk risk, int completed);

typedef struct keel_drift_state {
    double rate, low, high, n;          /* over the window, its interval; NAN: nothing known */
    double expected_low, expected_high; /* NAN: nothing is expected */
    bool outside;
} keel_drift_state;
void keel_drift_look(keel_drift *drift, keel_drift_rate rate, keel_drift_state *out);
/* Sets the gauges keel:drift_*. */
void keel_drift_show(keel_drift *drift, keel_monitor *monitor);

#endif
