#include "experiments/serve/versions.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/file.h"
#include "core/log.h"
#include "datasets/store_policies.h"
#include "experiments/cli_resources.h"
#include "policies/policy_internal.h"

/* A base, by all versions that use it. */
typedef struct shared_base {
    struct shared_base *next;
    keel_base *base;
    size_t users;
} shared_base;

typedef struct version {
    keel_version seen; /* the first member: what is handed out */
    keel_versions *of;
    keel_policy *policy;
    shared_base *base;
    char *dir;
    size_t users; /* the arm that serves it is one */
} version;

struct keel_versions {
    keel_arms *arms;
    keel_versions_options options;
    pthread_mutex_t loading; /* one load at a time */
    int64_t seen;            /* the newest publication that was looked at; under `loading` */
    pthread_mutex_t lock;
    /* under the lock: */
    version *now[KEEL_ARMS_MOST];
    shared_base *bases;
};

/* ---- counting ---- */

/* Takes a base that nobody uses out of the list; under the lock. */
static keel_base *drop_base(keel_versions *versions, shared_base *base) {
    if (--base->users > 0) return NULL;
    shared_base **at = &versions->bases;
    while (*at != base) at = &(*at)->next;
    *at = base->next;
    keel_base *left = base->base;
    keel_free(base);
    return left;
}

static void drop(version *one) {
    keel_versions *versions = one->of;
    keel_base *left = NULL;
    pthread_mutex_lock(&versions->lock);
    const bool last = --one->users == 0;
    if (last && one->base) left = drop_base(versions, one->base);
    pthread_mutex_unlock(&versions->lock);
    if (!last) return;
    keel_policy_close(one->policy);
    keel_base_close(left);
    keel_free(one->dir);
    keel_free(one);
}

const keel_version *keel_versions_take(keel_versions *versions, size_t arm) {
    pthread_mutex_lock(&versions->lock);
    version *one = versions->now[arm];
    one->users++;
    pthread_mutex_unlock(&versions->lock);
    return &one->seen;
}

const keel_version *keel_version_hold(const keel_version *held) {
    version *one = (version *)(uintptr_t)held;
    pthread_mutex_lock(&one->of->lock);
    one->users++;
    pthread_mutex_unlock(&one->of->lock);
    return held;
}

void keel_version_release(const keel_version *one) {
    if (one) drop((version *)(uintptr_t)one);
}

/* ---- loading ---- */

/* The base that the policy was trained on: one in use, or from its folder. */
static keel_status open_base(keel_versions *versions, const char *dir, version *one, keel_err *err) {
    char found[4096];
    const char *from = versions->options.base;
    pthread_mutex_lock(&versions->lock);
    for (shared_base *b = versions->bases; b && !one->base; b = b->next)
        if (strcmp(b->base->hash, one->policy->base_hash) == 0) one->base = b, b->users++;
    pthread_mutex_unlock(&versions->lock);
    if (one->base) return KEEL_OK;
    if (!from) KEEL_TRY(keel_cli_find_base(dir, one->policy->base_hash, found, sizeof found, err));
    shared_base *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, dir);
    const keel_status status = keel_base_load(&made->base, from ? from : found, err);
    if (status != KEEL_OK) {
        keel_free(made);
        return status;
    }
    made->users = 1;
    one->base = made;
    pthread_mutex_lock(&versions->lock);
    made->next = versions->bases;
    versions->bases = made;
    pthread_mutex_unlock(&versions->lock);
    return KEEL_OK;
}

static bool is_sound(const keel_choice *choice) {
    double sum = 0;
    if (!(choice->chosen < choice->n)) return false;
    for (size_t i = 0; i < choice->n; i++) sum += exp((double)choice->log_pi[i]);
    return fabs(sum - 1) < 1e-3;
}

/* Whether it decides a request at all. */
static keel_status check(const keel_policy *policy, const keel_base *base, const char *dir, keel_err *err) {
    keel_turn turn = {.role = KEEL_ROLE_USER, .text = "Hello, can you help me with my order?"};
    keel_candidate candidates[] = {{.text = "Of course. What is its number?"},
                                   {.text = "I cannot help with that."}};
    keel_decision decision = {.turn = 1, .n_candidates = 2, .candidates = candidates};
    keel_conversation talk = {.source = "serve",
                              .external_id = "check",
                              .n_turns = 1,
                              .turns = &turn,
                              .n_decisions = 1,
                              .decisions = &decision};
    keel_arena scratch = {0};
    keel_features features;
    keel_choice choice;
    keel_status status = keel_base_encode_decision(base, &talk, 0, &scratch, &features, err);
    if (status == KEEL_OK)
        status = keel_policy_decide_at(policy, base, &talk, 0, &features, &scratch, &choice, err);
    if (status == KEEL_OK && !is_sound(&choice))
        status =
            keel_fail(err, KEEL_E_INVALID, dir, "the policy decides a made-up request by no distribution");
    keel_arena_free(&scratch);
    return status;
}

static keel_status prepare(keel_versions *versions, const char *dir, version *one, keel_err *err) {
    const keel_versions_options *o = &versions->options;
    KEEL_TRY(keel_policy_load(&one->policy, dir, err));
    KEEL_TRY(open_base(versions, dir, one, err));
    KEEL_TRY(keel_policy_check_base(one->policy, one->base->base, err));
    if (!isnan(o->harm_threshold)) KEEL_TRY(keel_policy_mask_above(one->policy, o->harm_threshold, err));
    if (o->fallback_unfamiliar) {
        KEEL_TRY(keel_policy_check_familiar(one->policy, err));
        keel_policy_when_unfamiliar(one->policy, true);
    }
    return check(one->policy, one->base->base, dir, err);
}

static keel_status load(keel_versions *versions, size_t arm, const char *dir, version **out, keel_err *err) {
    version *one = keel_calloc(1, sizeof *one);
    if (!one) return keel_nomem(err, dir);
    one->of = versions, one->users = 1;
    one->dir = keel_strdup(dir);
    keel_status status = one->dir ? prepare(versions, dir, one, err) : keel_nomem(err, dir);
    if (status != KEEL_OK) {
        drop(one);
        return status;
    }
    one->seen = (keel_version){.policy = one->policy,
                               .base = one->base->base,
                               .hash = one->policy->hash,
                               .base_hash = one->base->base->hash,
                               .dir = one->dir,
                               .arm = versions->arms->of[arm].name,
                               .arm_index = arm};
    *out = one;
    return KEEL_OK;
}

static void swap(keel_versions *versions, size_t arm, version *to) {
    pthread_mutex_lock(&versions->lock);
    version *old = versions->now[arm];
    versions->now[arm] = to;
    pthread_mutex_unlock(&versions->lock);
    atomic_store(&versions->arms->of[arm].stopped, false);
    if (old) drop(old);
}

/* ---- telling ---- */

/* Which policies are served, by their hashes; of `old`, whether any arm still serves it. */
static void tell_served(keel_versions *versions, const char *old) {
    keel_monitor *monitor = versions->options.monitor;
    if (old) keel_monitor_set(monitor, KEEL_MONITOR_POLICY, old, 0);
    for (size_t i = 0; i < versions->arms->n; i++) {
        if (!versions->now[i]) continue;
        const bool stopped = atomic_load(&versions->arms->of[i].stopped);
        if (!stopped) keel_monitor_set(monitor, KEEL_MONITOR_POLICY, versions->now[i]->seen.hash, 1);
        keel_monitor_set(monitor, KEEL_MONITOR_ARM_STOPPED, versions->arms->of[i].name, stopped);
    }
}

static void tell_published(keel_versions *versions, size_t arm, const char *old) {
    const char *name = versions->arms->of[arm].name;
    keel_monitor_add(versions->options.monitor, KEEL_MONITOR_PUBLICATIONS, name, 1);
    tell_served(versions, old);
    keel_log(KEEL_LOG_INFO, "note: arm %s serves policy %.12s of %s, as published%s%.12s", name,
             versions->now[arm]->seen.hash, versions->now[arm]->dir, old ? ", in place of " : "",
             old ? old : "");
}

static void tell_refused(keel_versions *versions, const char *arm, const keel_err *err) {
    keel_monitor_add(versions->options.monitor, KEEL_MONITOR_PUBLISH_ERRORS, arm, 1);
    keel_log(KEEL_LOG_INFO, "warning: arm %s serves what it did: %s: %s", arm, err->where, err->message);
}

/* hash: what it has to be; NULL: anything. Under `loading`. */
static keel_status load_same(keel_versions *versions, size_t arm, const char *dir, const char *hash,
                             version **out, keel_err *err) {
    version *made = NULL;
    KEEL_TRY(load(versions, arm, dir, &made, err));
    if (!hash || strcmp(made->seen.hash, hash) == 0) {
        *out = made;
        return KEEL_OK;
    }
    keel_fail(err, KEEL_E_CONFLICT, dir, "the folder holds policy %.12s, not %.12s that was published",
              made->seen.hash, hash);
    drop(made);
    return KEEL_E_CONFLICT;
}

static keel_status publish(keel_versions *versions, size_t arm, const char *dir, const char *hash,
                           keel_err *err) {
    version *made = NULL;
    char old[65];
    keel_err own = {0};
    const keel_status status = load_same(versions, arm, dir, hash, &made, &own);
    if (status == KEEL_OK) {
        snprintf(old, sizeof old, "%s", versions->now[arm]->seen.hash);
        swap(versions, arm, made);
        tell_published(versions, arm, old);
    } else {
        tell_refused(versions, versions->arms->of[arm].name, &own);
        if (err) *err = own;
    }
    return status;
}

static keel_status find_arm(const keel_versions *versions, const char *arm, size_t *which, keel_err *err) {
    *which = keel_arms_find(versions->arms, arm);
    if (*which < KEEL_ARMS_MOST) return KEEL_OK;
    return keel_fail(err, KEEL_E_NOT_FOUND, arm, "there is no arm of this name");
}

keel_status keel_versions_publish(keel_versions *versions, const char *arm, const char *dir, keel_err *err) {
    size_t which;
    KEEL_TRY(find_arm(versions, arm, &which, err));
    pthread_mutex_lock(&versions->loading);
    const keel_status status = publish(versions, which, dir, NULL, err);
    pthread_mutex_unlock(&versions->loading);
    return status;
}

keel_status keel_versions_open(keel_versions **out, keel_arms *arms, const keel_versions_options *options,
                               keel_err *err) {
    keel_versions *made = keel_calloc(1, sizeof *made);
    keel_status status = KEEL_OK;
    if (!made) return keel_nomem(err, "versions");
    made->arms = arms, made->options = *options;
    pthread_mutex_init(&made->loading, NULL);
    pthread_mutex_init(&made->lock, NULL);
    for (size_t i = 0; i < arms->n && status == KEEL_OK; i++)
        status = load(made, i, arms->of[i].dir, &made->now[i], err);
    if (status == KEEL_OK) {
        tell_served(made, NULL);
        *out = made;
    } else {
        keel_versions_close(made);
    }
    return status;
}

void keel_versions_close(keel_versions *versions) {
    if (!versions) return;
    for (size_t i = 0; i < versions->arms->n; i++)
        if (versions->now[i]) drop(versions->now[i]);
    pthread_mutex_destroy(&versions->loading);
    pthread_mutex_destroy(&versions->lock);
    keel_free(versions);
}

/* ---- following the store ---- */

static void stop(keel_versions *versions, size_t arm, const keel_publication *row) {
    keel_err err = {0};
    if (arm == 0) {
        keel_fail(&err, KEEL_E_INVALID, row->arm,
                  "the first arm is not stopped: it serves what others do not");
        tell_refused(versions, row->arm, &err);
        return;
    }
    atomic_store(&versions->arms->of[arm].stopped, true);
    tell_served(versions, versions->now[arm]->seen.hash);
    keel_log(KEEL_LOG_INFO, "warning: arm %s is stopped: %s", row->arm, row->note ? row->note : row->why);
}

static void take_up(keel_versions *versions, const keel_publication *row) {
    const size_t arm = keel_arms_find(versions->arms, row->arm);
    if (arm == KEEL_ARMS_MOST) return;
    const bool stopped = atomic_load(&versions->arms->of[arm].stopped);
    if (!row->policy) {
        stop(versions, arm, row);
    } else if (strcmp(versions->now[arm]->seen.hash, row->policy) != 0) {
        publish(versions, arm, row->dir, row->policy, NULL);
    } else if (stopped) {
        atomic_store(&versions->arms->of[arm].stopped, false);
        tell_published(versions, arm, NULL);
    }
}

/* The newest row of each arm. */
static void take_up_newest(keel_versions *versions, const keel_publication *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool newest = true;
        for (size_t k = i + 1; k < n && newest; k++) newest = strcmp(rows[i].arm, rows[k].arm) != 0;
        if (newest) take_up(versions, &rows[i]);
    }
    if (n) versions->seen = rows[n - 1].id;
}

static keel_status register_unjudged(keel_store *store, const keel_version *one, keel_arena *arena,
                                     keel_err *err) {
    keel_registered_policy *all;
    size_t n;
    KEEL_TRY(keel_store_policies(store, arena, &all, &n, err));
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].hash, one->hash) == 0) return KEEL_OK;
    const char *path;
    KEEL_TRY(keel_path_absolute(one->dir, arena, &path, err));
    const keel_registered_policy unjudged = {
        .hash = one->hash, .dir = path, .base = one->base_hash, .gates = "[]", .at = (double)time(NULL)};
    return keel_store_put_policy(store, &unjudged, err);
}

static keel_status publish_start(keel_store *store, const keel_version *one, keel_arena *arena,
                                 keel_err *err) {
    keel_publication *last;
    KEEL_TRY(keel_store_published(store, one->arm, arena, &last, err));
    if (last && (strcmp(last->why, KEEL_PUBLISHED_START) != 0 || strcmp(last->policy, one->hash) == 0))
        return KEEL_OK;
    KEEL_TRY(register_unjudged(store, one, arena, err));
    const keel_publication start = {
        .arm = one->arm, .policy = one->hash, .at = (double)time(NULL), .why = KEEL_PUBLISHED_START};
    return keel_store_publish(store, &start, NULL, err);
}

keel_status keel_versions_start(keel_versions *versions, keel_store *store, keel_err *err) {
    keel_arena arena = {0};
    keel_status status = keel_store_begin(store, err);
    if (status != KEEL_OK) return status;
    for (size_t i = 0; i < versions->arms->n && status == KEEL_OK; i++) {
        const keel_version *one = keel_versions_take(versions, i);
        status = publish_start(store, one, &arena, err);
        keel_version_release(one);
    }
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    keel_arena_free(&arena);
    return status;
}

keel_status keel_versions_follow(keel_versions *versions, keel_store *store, keel_err *err) {
    keel_arena arena = {0};
    keel_publication *rows;
    size_t n = 0;
    pthread_mutex_lock(&versions->loading);
    keel_status status = keel_store_publications(store, versions->seen, &arena, &rows, &n, err);
    if (status == KEEL_OK) take_up_newest(versions, rows, n);
    pthread_mutex_unlock(&versions->loading);
    keel_arena_free(&arena);
    return status;
}

/* ---- registering ---- */

static keel_status put_judged(keel_store *store, const keel_judged_policy *judged, const char *path,
                              const keel_policy *policy, keel_err *err) {
    const double at = (double)time(NULL);
    KEEL_TRY(keel_store_put_policy(store,
                                   &(keel_registered_policy){.hash = policy->hash,
                                                             .dir = path,
                                                             .base = policy->base_hash,
                                                             .gates = judged->gates,
                                                             .passed = judged->passed,
                                                             .at = at},
                                   err));
    if (!judged->passed || !judged->arm) return KEEL_OK;
    return keel_store_publish(
        store,
        &(keel_publication){
            .arm = judged->arm, .policy = policy->hash, .at = at, .why = judged->why, .note = judged->note},
        NULL, err);
}

static keel_status transact(keel_store *store, const keel_judged_policy *judged, const keel_policy *policy,
                            keel_err *err) {
    keel_arena arena = {0};
    const char *path = NULL;
    keel_status status = keel_path_absolute(judged->dir, &arena, &path, err);
    if (status == KEEL_OK) status = keel_store_begin(store, err);
    if (status == KEEL_OK) {
        status = put_judged(store, judged, path, policy, err);
        if (status == KEEL_OK) status = keel_store_commit(store, err);
        if (status != KEEL_OK) keel_store_rollback(store);
    }
    keel_arena_free(&arena);
    return status;
}

keel_status keel_versions_register(keel_store *store, const keel_judged_policy *judged, char hash[65],
                                   keel_err *err) {
    keel_policy *policy = NULL;
    keel_base *base = NULL;
    KEEL_TRY(keel_cli_open_policy(judged->dir, judged->base, &policy, &base, err));
    keel_status status = check(policy, base, judged->dir, err);
    if (status == KEEL_OK && judged->hash && strcmp(judged->hash, policy->hash) != 0)
        status = keel_fail(err, KEEL_E_CONFLICT, judged->dir,
                           "holds policy %.12s now, and %.12s was judged: judge it again", policy->hash,
                           judged->hash);
    if (status == KEEL_OK) status = transact(store, judged, policy, err);
    snprintf(hash, 65, "%s", policy->hash);
    keel_policy_close(policy);
    keel_base_close(base);
    return status;
}

/* ---- orders ---- */

enum { LEAST_PREFIX = 8 };

static keel_status find_registered(keel_store *store, const char *text, keel_arena *arena,
                                   const keel_registered_policy **out, keel_err *err) {
    keel_registered_policy *all;
    size_t count, found = 0;
    KEEL_TRY(keel_store_policies(store, arena, &all, &count, err));
    for (size_t i = 0; i < count; i++)
        if (strlen(text) >= LEAST_PREFIX && strncmp(all[i].hash, text, strlen(text)) == 0)
            *out = &all[i], found++;
    if (found == 1) return KEEL_OK;
    keel_fail(err, KEEL_E_NOT_FOUND, text,
              found ? "several registered policies begin so" : "no policy of this hash is registered");
    return keel_hint(err, "`keel publish --policy DIR` registers one; `keel publish --list` shows them");
}

/* Whether the arm could serve it: all that a load checks. */
static keel_status try_out(keel_versions *versions, const char *arm, const char *dir, const char *hash,
                           keel_err *err) {
    version *made = NULL;
    size_t which;
    KEEL_TRY(find_arm(versions, arm, &which, err));
    pthread_mutex_lock(&versions->loading);
    const bool served = strcmp(versions->now[which]->seen.hash, hash) == 0;
    const keel_status status = served ? KEEL_OK : load_same(versions, which, dir, hash, &made, err);
    pthread_mutex_unlock(&versions->loading);
    if (status == KEEL_E_NOMEM) return status;
    if (status != KEEL_OK) {
        if (err) err->code = KEEL_E_CONFLICT;
        return keel_hint(err, "nothing was published; `keel publish --policy DIR` registers where it is now");
    }
    if (made) drop(made);
    return KEEL_OK;
}

static keel_status order(keel_store *store, const char *arm, const char *policy, const char *note,
                         keel_arena *arena, keel_publication *out, keel_err *err) {
    const double at = (double)time(NULL);
    const keel_registered_policy *found = NULL;
    keel_publication *back;
    if (!policy) {
        KEEL_TRY(keel_store_roll_back(store, arm, at, arena, &back, err));
        *out = *back;
        return KEEL_OK;
    }
    KEEL_TRY(find_registered(store, policy, arena, &found, err));
    if (!found->passed)
        return keel_fail(err, KEEL_E_GATE, found->hash, "the gates of this policy were not met");
    *out = (keel_publication){.arm = arm,
                              .policy = found->hash,
                              .at = at,
                              .why = KEEL_PUBLISHED_PUBLISH,
                              .note = note,
                              .dir = found->dir};
    return keel_store_publish(store, out, NULL, err);
}

keel_status keel_versions_order(keel_store *store, keel_versions *versions, const char *arm,
                                const char *policy, const char *note, keel_arena *arena, const char **out,
                                keel_err *err) {
    keel_publication made = {0};
    KEEL_TRY(keel_store_begin(store, err));
    keel_status status = order(store, arm, policy, note, arena, &made, err);
    if (status == KEEL_OK && versions) status = try_out(versions, arm, made.dir, made.policy, err);
    if (status == KEEL_OK) status = keel_store_commit(store, err);
    if (status != KEEL_OK) keel_store_rollback(store);
    *out = made.policy;
    return status;
}
