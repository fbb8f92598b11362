/* The features of a split's decisions under a base, in the store. */
#ifndef KEEL_POLICIES_ENCODE_STORE_H
#define KEEL_POLICIES_ENCODE_STORE_H

#include "core/api.h"
#include "core/parallel.h"
#include "datasets/store.h"
#include "policies/base.h"

KEEL_BEGIN_DECLS

/* Encodes the decisions of the split (NULL: of all) that have no features under this base yet; *encoded (may
 * be NULL) gets their number. Conversations are read on the caller's thread and encoded on the pool's, in
 * batches, in bounded memory. Interruptible and resumable: what is done stays. */
keel_status keel_encode_store(keel_store *store, const keel_split *split, const keel_base *base,
                              keel_pool *pool, size_t *encoded, keel_err *err);

/* The features of one decision as the store has them, into the arena; *found false where it has none.
 * Features that fit neither the base nor the decision's candidates are damage (KEEL_E_STORE). */
keel_status keel_encode_store_find(const keel_base *base, keel_store *store, const keel_decision *decision,
                                   keel_arena *arena, keel_features *out, bool *found, keel_err *err);

/* The features of one decision of a conversation of the store: as the store has them, else encoded anew. */
keel_status keel_encode_store_decision(const keel_base *base, keel_store *store,
                                       const keel_conversation *conversation, size_t decision,
                                       keel_arena *arena, keel_features *out, keel_err *err);

KEEL_END_DECLS

#endif
