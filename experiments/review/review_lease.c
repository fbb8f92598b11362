/* Leases: a response is with one person at a time. */
#include <string.h>

#include "experiments/review/review_desk_internal.h"

static void drop(keel_review_desk *desk, size_t i) {
    desk->leases[i] = desk->leases[--desk->n_leases];
}

static void drop_ended(keel_review_desk *desk) {
    const double now = desk->options.clock();
    for (size_t i = desk->n_leases; i-- > 0;)
        if (desk->leases[i].until <= now) drop(desk, i);
}

size_t keel__review_desk_leased(keel_review_desk *desk, const char *reviewer,
                                int64_t out[KEEL_REVIEW_MOST_LEASED]) {
    size_t n = 0;
    drop_ended(desk);
    for (size_t i = 0; i < desk->n_leases; i++)
        if (strcmp(desk->leases[i].reviewer, reviewer) != 0) out[n++] = desk->leases[i].candidate;
    return n;
}

int64_t keel__review_desk_held(const keel_review_desk *desk, const char *reviewer) {
    for (size_t i = 0; i < desk->n_leases; i++)
        if (strcmp(desk->leases[i].reviewer, reviewer) == 0 && desk->leases[i].until > desk->options.clock())
            return desk->leases[i].candidate;
    return 0;
}

void keel__review_desk_release(keel_review_desk *desk, int64_t candidate) {
    for (size_t i = desk->n_leases; i-- > 0;)
        if (desk->leases[i].candidate == candidate) drop(desk, i);
}

/* A person holds one response; what they held before is open again. */
void keel__review_desk_lease(keel_review_desk *desk, int64_t candidate, const char *reviewer) {
    size_t first = 0;
    for (size_t i = desk->n_leases; i-- > 0;)
        if (strcmp(desk->leases[i].reviewer, reviewer) == 0) drop(desk, i);
    keel__review_desk_release(desk, candidate);
    if (desk->n_leases == KEEL_REVIEW_MOST_LEASED) {
        for (size_t i = 1; i < desk->n_leases; i++)
            if (desk->leases[i].until < desk->leases[first].until) first = i;
        drop(desk, first);
    }
    keel__lease *lease = &desk->leases[desk->n_leases++];
    *lease = (keel__lease){.candidate = candidate, .until = desk->options.clock() + KEEL_REVIEW_LEASE};
    strncpy(lease->reviewer, reviewer, KEEL_REVIEW_NAME);
}
