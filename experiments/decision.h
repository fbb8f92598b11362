/* What a policy answers where a conversation ends with somebody waiting: the object that `keel decide --json`
 * prints, and that keel_decide of edge/keel_decide.h returns. Needs no store. */
#ifndef KEEL_EXPERIMENTS_DECISION_H
#define KEEL_EXPERIMENTS_DECISION_H

#include <cjson/cJSON.h>

#include "datasets/reader.h"
#include "policies/policy.h"

/* The place of the open decision, which is made in the arena if the conversation waits for an answer without
 * naming candidates; SIZE_MAX if its last message is an answer. */
keel_status keel_decision_find(keel_conversation *c, keel_arena *arena, size_t *place, keel_err *err);

/* Decides it. scratch is emptied first; *choice lies in it, *out is the caller's to delete. KEEL_E_INVALID
 * where the policy chooses among candidates and there is none. */
keel_status keel_decision_make(const keel_policy *policy, const keel_base *base, const keel_read *read,
                               size_t place, keel_arena *scratch, keel_choice *choice, cJSON **out,
                               keel_err *err);

#endif
