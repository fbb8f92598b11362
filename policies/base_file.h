/* What kinds of base write alike in their JSON files. */
#ifndef KEEL_POLICIES_BASE_FILE_H
#define KEEL_POLICIES_BASE_FILE_H

#include <cjson/cJSON.h>

#include "policies/base.h"

/* What pi_base is over, as a file says it. Texts point into the JSON value, lists lie in the arena. */
typedef struct keel_base_space {
    keel_action_space space;
    size_t n_acts, n_fixed;
    const char *const *acts;
    const keel_candidate *fixed;
} keel_base_space;

/* Adds "action_space", "acts" and "fixed_answers"; false when out of memory. */
bool keel_base_space_write(const keel_base *base, cJSON *to);
/* Hostile until checked: number of acts and answers, which of them the space allows, outcomes by name. */
keel_status keel_base_space_read(const cJSON *from, const char *where, keel_arena *arena,
                                 keel_base_space *out, keel_err *err);
/* Copies into the arena what the base shows of it: space, acts and fixed answers. */
keel_status keel_base_space_set(keel_base *base, const keel_base_space *space, keel_arena *arena,
                                keel_err *err);

/* ---- the settings of a base over a transformer ---- */

/* What all of them have. Texts point into the JSON value. */
typedef struct keel_base_settings {
    const char *where; /* the file */
    cJSON *json;       /* all of it */
    const char *split; /* it was tuned on */
    keel_base_space space;
    int64_t state_tokens, candidate_tokens;
    bool ngrams; /* an n-gram base stands beside it */
    keel_arena arena;
} keel_base_settings;

/* The same as JSON, to add a kind's own to; NULL when out of memory. */
cJSON *keel_base_settings_json(const keel_base *base, const char *model_type, const keel_base_settings *of);
/* Takes the JSON value over; NULL of it is KEEL_E_NOMEM. */
keel_status keel_base_settings_write(cJSON *json, const char *dir, const char *name, keel_err *err);
/* Hostile until checked. To be freed on failure too. */
keel_status keel_base_settings_read(keel_base_settings *out, const char *dir, const char *name,
                                    const char *model_type, keel_err *err);
keel_status keel_base_settings_number(const keel_base_settings *settings, const char *key, double low,
                                      double high, double *out, keel_err *err);
void keel_base_settings_free(keel_base_settings *settings);

#endif
