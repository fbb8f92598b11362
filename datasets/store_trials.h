/* Searches and their trials at rest. Several processes may work on one search: whoever takes a trial reads
 * them all and puts its own within one transaction (keel_store_begin), so no two take the same. Which
 * process is alive is not told here: each holds a lock (core/lock.h) as long as it works on a trial. */
#ifndef KEEL_DATASETS_STORE_TRIALS_H
#define KEEL_DATASETS_STORE_TRIALS_H

#include "datasets/store.h"

/* A search by the hash of all that its trials depend on. */
typedef struct keel_stored_search {
    const char *plan;   /* that, as JSON */
    const char *folder; /* where its trials lie */
} keel_stored_search;
/* In the arena; *out NULL when there is none. */
keel_status keel_store_find_search(keel_store *store, const char *hash, keel_arena *arena,
                                   keel_stored_search **out, keel_err *err);
/* Adds it, or moves it to another folder. */
keel_status keel_store_put_search(keel_store *store, const char *hash, const keel_stored_search *search,
                                  keel_err *err);
/* Forgets the search with its trials; harmless if there is none. */
keel_status keel_store_drop_search(keel_store *store, const char *hash, keel_err *err);

typedef struct keel_stored_trial {
    int64_t number;     /* from 0, without gaps */
    const char *config; /* JSON object of texts: what is varied, and its value */
    int64_t seed;
    keel_optional budget;           /* of halving */
    int state;                      /* as who writes them numbers them */
    keel_optional value, low, high; /* what is to be made large or small, with its interval */
    const char *required;           /* JSON array: the value of each requirement; or NULL */
    const char *note;               /* why it failed; or NULL */
    int64_t pid;                    /* who took it last: for people, nothing goes by it */
    double seconds;                 /* that it took in the process that ended it; 0 until then */
} keel_stored_trial;
/* All trials of a search by number, in the arena. KEEL_E_STORE where one is missing or damaged. */
keel_status keel_store_trials(keel_store *store, const char *hash, keel_arena *arena, keel_stored_trial **out,
                              size_t *count, keel_err *err);
/* Adds the trial, or replaces what is known of it. */
keel_status keel_store_put_trial(keel_store *store, const char *hash, const keel_stored_trial *trial,
                                 keel_err *err);

#endif
