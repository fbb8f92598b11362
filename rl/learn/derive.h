/* Deriving transitions: the conversations of a store through the rewards room and back into the store, before
 * a learner learns from them. */
#ifndef KEEL_RL_LEARN_DERIVE_H
#define KEEL_RL_LEARN_DERIVE_H

#include "core/api.h"
#include "datasets/store.h"
#include "rewards/reward.h"

KEEL_BEGIN_DECLS

/* The reward configuration of the store, its setting "rewards": how the rewards of all its transitions are
 * computed. `label` sets it and derives them anew in one transaction; what comes in later earns by it;
 * `train` and `eval` read it. A store without the setting goes by the defaults. */
keel_status keel_derive_rewards(keel_store *store, keel_reward_config *out, keel_err *err);
keel_status keel_derive_put_rewards(keel_store *store, const keel_reward_config *rewards, keel_err *err);
/* Reads it in a transaction that derives, and records it where it is the default, so that a later default
 * does not apply to what was derived under this one. */
keel_status keel_derive_settle_rewards(keel_store *store, keel_reward_config *out, keel_err *err);

/* Replaces the transitions of the split's conversations (NULL: all) with row ids above `after` by those their
 * labels, acts and times give under config, inside the caller's transaction. Interruptible. *transitions (may
 * be NULL) gets their number. */
keel_status keel_derive(keel_store *store, const keel_split *split, const keel_reward_config *config,
                        int64_t after, int64_t *transitions, keel_err *err);

/* The same of one conversation; adds to *transitions. */
keel_status keel_derive_conversation(keel_store *store, int64_t id, const keel_reward_config *config,
                                     keel_arena *arena, int64_t *transitions, keel_err *err);

/* Transitions of a conversation that was just added, from what is in memory; adds to *transitions. */
keel_status keel_derive_added(keel_store *store, const keel_conversation *conversation,
                              const keel_reward_config *config, keel_arena *arena, int64_t *transitions,
                              keel_err *err);

/* Taken candidates that have no transition yet, and the largest conversation id, over the whole store. */
keel_status keel_derive_state(keel_store *store, int64_t *missing, int64_t *last_id, keel_err *err);

KEEL_END_DECLS

#endif
