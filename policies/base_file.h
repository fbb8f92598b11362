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

#endif
