/* The base model under the policy: encodes a decision's state and candidates and gives the prior pi_base(a |
 * s). Behind this interface sits the built-in n-gram encoder today and a transformer next. */
#ifndef KEEL_POLICIES_BASE_H
#define KEEL_POLICIES_BASE_H

#include <cjson/cJSON.h>

#include "core/memory.h"
#include "core/nouns.h"
#include "core/parallel.h"
#include "core/status.h"
#include "datasets/store.h"

typedef struct keel_base keel_base;

typedef struct keel_base_kind {
    const char *type; /* as in keel.json: "builtin" */
    keel_status (*load)(keel_base **out, const char *dir, const cJSON *manifest, keel_err *err);
    /* Thread-safe: everything mutable is in scratch; out points into it. */
    keel_status (*encode)(const keel_base *base, const keel_conversation *conversation, size_t decision,
                          keel_arena *scratch, keel_features *out, keel_err *err);
    void (*close)(keel_base *base);
} keel_base_kind;

/* What every base shows; embedded first in each implementation's struct. */
struct keel_base {
    const keel_base_kind *kind;
    char hash[65];
    keel_action_space space; /* what pi_base is a distribution over: fixed when the base was tuned */
    size_t n_acts;           /* fixed spaces: number of acts; 0 for candidate sets */
    const char **acts;       /* names, in order of index (outcome names for KEEL_SPACE_OUTCOMES) */
    size_t state_dim, candidate_dim;
};

keel_status keel_base_load(keel_base **out, const char *dir, keel_err *err);
void keel_base_close(keel_base *base); /* NULL is harmless */
/* State and candidate features and log pi_base of one decision; reads only turns before the decision,
 * candidates' texts and acts, never labels, models, risk or rewards. */
keel_status keel_base_encode(const keel_base *base, const keel_conversation *conversation, size_t decision,
                             keel_arena *scratch, keel_features *out, keel_err *err);

/* The same as the store has it, into the arena; *found false where it has none. Features that fit neither the
 * base nor the decision's candidates are damage (KEEL_E_STORE). */
keel_status keel_base_stored(const keel_base *base, keel_store *store, const keel_decision *decision,
                             keel_arena *arena, keel_features *out, bool *found, keel_err *err);

/* Encodes what a split has not yet got under this base into the store's features; *encoded (may be NULL) gets
 * the number of decisions. Interruptible and resumable: done work stays. */
keel_status keel_encode_store(keel_store *store, const keel_split *split, const keel_base *base,
                              keel_pool *pool, size_t *encoded, keel_err *err);

/* Index of an act in a fixed space, or -1. */
int32_t keel_base_act_index(const keel_base *base, const char *act);

#endif
