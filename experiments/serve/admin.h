/* Work that may block, asked for over HTTP: one piece at a time, in a thread of its own. */
#ifndef KEEL_EXPERIMENTS_SERVE_ADMIN_H
#define KEEL_EXPERIMENTS_SERVE_ADMIN_H

#include "experiments/http.h"
#include "experiments/serve/versions.h"

typedef struct keel_admin keel_admin;
/* store: path of the store that holds the registry; NULL: there is none. Both are borrowed. */
keel_status keel_admin_open(keel_admin **out, keel_versions *versions, const char *store, keel_err *err);
/* POST /admin/policy, {"policy": a registered hash or its beginning, or null to roll back, "arm", "note"}:
 * sends the exchange once the arm serves the policy, or the error. While one is at work: 409. */
void keel_admin_policy(keel_admin *admin, keel_http_exchange *exchange, const keel_http_request *request);
void keel_admin_close(keel_admin *admin); /* finishes what is at work; NULL is harmless */

#endif
