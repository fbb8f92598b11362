/* The desk at which people look at responses: what `keel review` answers over HTTP (experiments/http.h), as
 * functions of a request and a response.
 *
 *   GET  /                      the page, with /review.css and /review.js
 *   GET  /api/next?reviewer=N   {"item": {...} or null, "progress": {...}}; the response is N's for a while
 *   POST /api/label             {"reviewer", "item", "outcome", "risk", "completed", "note"} -> {"done",
 * "progress"} POST /api/undo              {"reviewer"} -> {"item": {... "said": {...}} or null, "progress"}
 *   GET  /api/progress?reviewer=N
 *
 * outcome is compliance, partial_refusal, refusal, harmful (which complies, too) or skip. A label is on the
 * disk before its response is sent; the same label sent twice is one. A response is leased to one person at a
 * time, in memory: leases end after a while, and with the process. */
#ifndef KEEL_EXPERIMENTS_REVIEW_REVIEW_DESK_H
#define KEEL_EXPERIMENTS_REVIEW_REVIEW_DESK_H

#include "datasets/store_review.h"
#include "experiments/http.h"

enum { KEEL_REVIEW_LEASE = 600 /* seconds */ };

typedef struct keel_review_desk keel_review_desk;
typedef struct keel_review_desk_options {
    double wished;          /* half of the interval's width that the page counts labels for */
    const char *name;       /* that the page offers to who has none yet; NULL: none */
    double (*clock)(void);  /* seconds, for leases; NULL: core/clock.h */
    int64_t (*today)(void); /* seconds since 1970; NULL: the system's */
} keel_review_desk_options;

/* The store is the caller's and stays open; its responses have their places (rl/judge/review_order.h). */
keel_status keel_review_desk_open(keel_review_desk **out, keel_store *store,
                                  const keel_review_desk_options *options, keel_err *err);
void keel_review_desk_close(keel_review_desk *desk);

/* The function of a keel_http_page; context is the desk. */
void keel_review_desk_answer(void *desk, const keel_http_request *request, keel_http_response *response);

/* Given through this desk: labels, skipped, taken back. */
typedef struct keel_review_desk_tally {
    int64_t labels, skipped, undone;
} keel_review_desk_tally;
keel_review_desk_tally keel_review_desk_counted(const keel_review_desk *desk);

#endif
