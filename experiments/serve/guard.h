/* Guardrails of a server: a thread that looks now and then at what was logged, and stops an arm that is shown
 * to break one, by a publication that the server follows. */
#ifndef KEEL_EXPERIMENTS_SERVE_GUARD_H
#define KEEL_EXPERIMENTS_SERVE_GUARD_H

#include "core/status.h"
#include "datasets/store.h"

typedef struct keel_guards keel_guards;

/* texts [n]: guardrails (rl/judge/experiment.h), KEEL_E_USAGE for one that is none. every: seconds between
 * two looks, 0: 10; more where a look takes long. */
keel_status keel_guards_open(keel_guards **out, const char *store, const char *const *texts, size_t n,
                             double every, keel_err *err);
void keel_guards_close(keel_guards *guards); /* NULL is harmless */

/* What the thread does, not at the same time: where something was written since the last look, publishes a
 * stop for each arm that breaks a guardrail and is not stopped; *stopped: how many. */
keel_status keel_guards_look(keel_guards *guards, size_t *stopped, keel_err *err);

#endif
