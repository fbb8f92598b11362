/* The bodies of POST /v1/feedback: {"id": of the response, "feedback": "up", "down" or a number from -1 to 1,
 * "outcome", "completed", "risk", "source"}. All but the id may be left out, but not all of them; no other
 * key may stand there. */
#ifndef KEEL_EXPERIMENTS_SERVE_FEEDBACK_H
#define KEEL_EXPERIMENTS_SERVE_FEEDBACK_H

#include "datasets/store_served.h"
#include "experiments/serve/monitor.h"

enum { KEEL_FEEDBACK_MOST = 16 * 1024 }; /* bytes of a body */

/* Texts in the arena; `at` and `start` are not set. err->where is the key that is wrong. */
keel_status keel_feedback_read(const char *body, size_t length, keel_arena *arena, keel_feedback *out,
                               keel_err *err);
void keel_feedback_count(keel_monitor *monitor, const keel_feedback *feedback);

#endif
