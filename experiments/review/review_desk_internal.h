/* What the files of the desk share. */
#ifndef KEEL_EXPERIMENTS_REVIEW_REVIEW_DESK_INTERNAL_H
#define KEEL_EXPERIMENTS_REVIEW_REVIEW_DESK_INTERNAL_H

#include <cjson/cJSON.h>

#include "experiments/review/review_desk.h"

typedef struct keel__lease {
    int64_t candidate;
    char reviewer[KEEL_REVIEW_NAME + 1];
    double until;
} keel__lease;

struct keel_review_desk {
    keel_store *store;
    keel_review_desk_options options;
    keel__lease leases[KEEL_REVIEW_MOST_LEASED];
    size_t n_leases;
    keel_review_population population;
    keel_review_desk_tally tally;
    keel_arena arena; /* for the length of one request */
};

/* review_lease.c: what is with others; leasing, which takes from the longest-leased where there are too many.
 */
size_t keel__review_desk_leased(keel_review_desk *desk, const char *reviewer,
                                int64_t out[KEEL_REVIEW_MOST_LEASED]);
void keel__review_desk_lease(keel_review_desk *desk, int64_t candidate, const char *reviewer);
void keel__review_desk_release(keel_review_desk *desk, int64_t candidate);
int64_t keel__review_desk_held(const keel_review_desk *desk, const char *reviewer); /* 0: nothing */

/* review_desk_json.c: a response with its conversation, and how far the work is. */
keel_status keel__review_desk_item(keel_review_desk *desk, const keel_review_next *next, cJSON *to,
                                   keel_err *err);
keel_status keel__review_desk_progress(keel_review_desk *desk, const char *reviewer, cJSON *to,
                                       keel_err *err);
/* The body of a label. KEEL_E_PARSE, KEEL_E_INVALID name the key. Texts point into the JSON. */
keel_status keel__review_desk_read_label(const cJSON *json, keel_review *out, keel_err *err);
/* "compliance", "partial_refusal", "refusal", "harmful", "skip". */
const char *keel__review_desk_said(const keel_review *review);

#endif
