/* The registry of policies: which ones were judged and by which gates, and which one each arm of a server
 * serves from when on. The newest publication of an arm holds. */
#ifndef KEEL_DATASETS_STORE_POLICIES_H
#define KEEL_DATASETS_STORE_POLICIES_H

#include "datasets/store.h"

#define KEEL_ARM_DEFAULT "default" /* the arm of a server that was given one policy */

typedef struct keel_registered_policy {
    const char *hash, *dir, *base; /* base: a hash */
    const char *gates;             /* JSON array: each gate, its value, whether it is met */
    bool passed;                   /* all of them */
    double at;                     /* seconds since 1970, UTC */
} keel_registered_policy;
/* Adds it, or replaces what is known of it. */
keel_status keel_store_put_policy(keel_store *store, const keel_registered_policy *policy, keel_err *err);
/* All, the oldest first; in the arena. */
keel_status keel_store_policies(keel_store *store, keel_arena *arena, keel_registered_policy **out,
                                size_t *count, keel_err *err);

typedef struct keel_publication {
    int64_t id;
    const char *arm, *policy; /* policy: a hash; NULL: the arm is stopped */
    double at;
    const char *why;  /* KEEL_PUBLISHED_* */
    const char *note; /* in words, or NULL */
    const char *dir;  /* of the policy; NULL: stopped. Not read by keel_store_publish */
} keel_publication;
#define KEEL_PUBLISHED_PUBLISH   "publish"
#define KEEL_PUBLISHED_ROLLBACK  "rollback"
#define KEEL_PUBLISHED_GUARDRAIL "guardrail"
#define KEEL_PUBLISHED_LEARN     "learn"
#define KEEL_PUBLISHED_START     "start" /* named when the server was started */

/* Adds one; its policy must be registered: KEEL_E_NOT_FOUND. *id may be NULL. */
keel_status keel_store_publish(keel_store *store, const keel_publication *publication, int64_t *id,
                               keel_err *err);
/* Those after a row id (0: all), in their order; in the arena. */
keel_status keel_store_publications(keel_store *store, int64_t after, keel_arena *arena,
                                    keel_publication **out, size_t *count, keel_err *err);
/* The newest of an arm; *out NULL: there is none. */
keel_status keel_store_published(keel_store *store, const char *arm, keel_arena *arena,
                                 keel_publication **out, keel_err *err);
/* Publishes again what the arm served before: the newest policy before the last one that is another; of a
 * stopped arm, too. Inside the caller's transaction. KEEL_E_NOT_FOUND: there is none. out may be NULL. */
keel_status keel_store_roll_back(keel_store *store, const char *arm, double at, keel_arena *arena,
                                 keel_publication **out, keel_err *err);

#endif
