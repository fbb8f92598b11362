/* Which policy each arm serves now. A version is a loaded policy with its base, counted by who uses it: a new
 * one is taken by new requests at once, those that run finish with theirs, and the last who lets go of an old
 * one closes it. Versions of one base share it.
 *
 * A policy is loaded and checked, by deciding a made-up request, before it takes the place of another; one
 * that fails changes nothing. */
#ifndef KEEL_EXPERIMENTS_SERVE_VERSIONS_H
#define KEEL_EXPERIMENTS_SERVE_VERSIONS_H

#include "datasets/store.h"
#include "experiments/serve/arms.h"
#include "experiments/serve/monitor.h"
#include "policies/policy.h"

typedef struct keel_version {
    const keel_policy *policy; /* as it was trained; decides in several threads at once */
    const keel_base *base;
    const char *hash, *base_hash, *dir;
    const char *arm;
    size_t arm_index;
} keel_version;

typedef struct keel_versions keel_versions;

typedef struct keel_versions_options {
    const char *base;         /* folder of the base; NULL: the one beside the policy that it names */
    double harm_threshold;    /* NAN: each policy's own */
    bool fallback_unfamiliar; /* unfamiliar states are sent to the fallback */
    keel_monitor *monitor;    /* is told what changes; NULL: nobody is */
} keel_versions_options;

/* Loads what each arm serves first, its dir; arms are borrowed. */
keel_status keel_versions_open(keel_versions **out, keel_arms *arms, const keel_versions_options *options,
                               keel_err *err);
/* After the last version was released. NULL is harmless. */
void keel_versions_close(keel_versions *versions);

/* What an arm serves now; give it back. From any thread, never waits for a load. */
const keel_version *keel_versions_take(keel_versions *versions, size_t arm);
/* The same one once more, for who may outlive who took it. */
const keel_version *keel_version_hold(const keel_version *version);
void keel_version_release(const keel_version *version); /* NULL is harmless */

/* Loads, checks and swaps; KEEL_E_NOT_FOUND for an unknown arm. On failure the arm serves what it did. From
 * any thread, one at a time. */
keel_status keel_versions_publish(keel_versions *versions, const char *arm, const char *dir, keel_err *err);
/* Publishes to each arm what it was opened with, where nothing was published to it, or another policy at an
 * earlier start: what a later policy is compared with, and what a rollback goes back to. A policy that was
 * never judged is registered without gates, as one that has not passed. */
keel_status keel_versions_start(keel_versions *versions, keel_store *store, keel_err *err);
/* Takes up what was published to the store since the last call (at the first: the newest of each arm). A
 * policy that cannot be loaded or is another than the one registered is refused once, and said. */
keel_status keel_versions_follow(keel_versions *versions, keel_store *store, keel_err *err);

/* A policy that was judged. */
typedef struct keel_judged_policy {
    const char *dir, *base; /* base: its folder; NULL: the one beside it that it names */
    const char *hash;       /* KEEL_E_CONFLICT where the folder holds another by now; NULL: any */
    const char *gates;      /* JSON array, as `keel eval` gives it */
    bool passed;            /* all of them */
    const char *arm;        /* that it is published to if it passed; NULL: to none */
    const char *why, *note; /* KEEL_PUBLISHED_*; in words, or NULL */
} keel_judged_policy;
/* Registers it under the path that its folder has now, after the checks of a load, and publishes it. *hash
 * gets its hash. */
keel_status keel_versions_register(keel_store *store, const keel_judged_policy *judged, char hash[65],
                                   keel_err *err);

/* POST /admin/policy: publishes a registered policy (by its hash, or a prefix of at least 8 digits) to an
 * arm, or with policy NULL rolls the arm back, in the store, for the server to follow. A policy whose gates
 * were not met is KEEL_E_GATE; unknown ones are KEEL_E_NOT_FOUND. versions: of the server that is to serve
 * it; an arm that it does not have is KEEL_E_NOT_FOUND, and a policy that it could not serve KEEL_E_CONFLICT;
 * NULL: nobody's. On failure the store is as it was. *out, in the arena: the hash. */
keel_status keel_versions_order(keel_store *store, keel_versions *versions, const char *arm,
                                const char *policy, const char *note, keel_arena *arena, const char **out,
                                keel_err *err);

#endif
