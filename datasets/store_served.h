/* What was served: each request that a server answered, with its talk, all candidates and what was taken, and
 * the feedback that came later. Written by one thread of the server (experiments/serve/served_log.h). */
#ifndef KEEL_DATASETS_STORE_SERVED_H
#define KEEL_DATASETS_STORE_SERVED_H

#include "datasets/store.h"

#define KEEL_SERVED_SOURCE "served" /* source of its conversations */

enum { KEEL_SERVED_REQUEST = 128 }; /* most bytes of a request's id */

/* A request that was answered. Texts are borrowed. */
typedef struct keel_served {
    const char *request;             /* its id, of all servers on the store its own */
    int64_t start;                   /* of keel_store_add_start; 0: none */
    keel_conversation *conversation; /* the whole talk with the answer at its end */
    size_t decision;                 /* place in conversation->decisions of the one that was answered */
    size_t taken;                    /* place of its answer among the decision's candidates, as given here */
    int64_t would;             /* place of what the policy would have taken in shadow mode; -1: no shadow */
    const char *policy, *base; /* hashes, or NULL */
    const char *arm, *segment; /* "" */
    const char *user;          /* a hash, or NULL */
    double at;                 /* seconds since 1970, UTC */
    keel_optional propensity;  /* of what was taken, in (0, 1] */
    bool explored, fallback, shadow;
    uint32_t stopped; /* arms that were stopped when the arm was drawn: bit i is the i-th of the start */
    keel_optional total_ms, upstream_ms, encode_ms, decide_ms;
    keel_outcome judged; /* what a judge said of the answer, beside what its candidate says; NONE: nothing */
    keel_authority authority; /* of the judge */
    const char *judge;        /* its name, as keel label would give it */
    double confidence;        /* in what it said */
} keel_served;

/* Adds requests [n] with their talks, inside the caller's transaction; several at once are much quicker. A
 * talk that is there already goes on; one that was answered at this place before, or says something else
 * there, becomes another conversation of the same group, "ID~REQUEST" (in the arena): its external_id then
 * says so. Groups are those of prompts (datasets/dedupe.h). Conversations, decisions and candidates get their
 * ids. KEEL_E_INVALID; KEEL_E_CONFLICT: the request is there already. */
keel_status keel_store_add_served(keel_store *store, const keel_served *served, size_t n, keel_arena *arena,
                                  keel_err *err);

/* Whether a request of this id is there: KEEL_E_NOT_FOUND. */
keel_status keel_store_find_served(keel_store *store, const char *request, keel_err *err);

/* What somebody says of an answer, and of the talk as a whole. */
typedef struct keel_feedback {
    const char *request;
    int64_t start;
    double at;
    keel_optional feedback; /* -1 to 1, of the answer */
    keel_outcome outcome;   /* of the answer; NONE: nothing said */
    keel_tri completed;     /* the talk; UNKNOWN: nothing said */
    keel_risk risk;         /* of the talk; UNKNOWN: nothing said */
    const char *source;     /* who says so: "" */
} keel_feedback;

/* Records it, and says it of the answer and the talk: feedback and completion replace what was said before,
 * an outcome is a label by a human under the name "feedback" or "feedback:SOURCE", a risk counts where the
 * log had none. *conversation: which talk it is. Inside the caller's transaction. KEEL_E_NOT_FOUND: no such
 * request; KEEL_E_INVALID: a value out of range. */
keel_status keel_store_add_feedback(keel_store *store, const keel_feedback *feedback, int64_t *conversation,
                                    keel_err *err);

/* A start of a server; arms: JSON object of names and shares. */
keel_status keel_store_add_start(keel_store *store, double at, const char *arms, int64_t *id, keel_err *err);
/* The server ended; accepted: entries that it took in. *ended: it is a start of this store, and had not
 * ended. */
keel_status keel_store_end_start(keel_store *store, int64_t id, int64_t accepted, bool *ended, keel_err *err);
/* Ends all starts that have not, where no server runs: what the store has of them is what they accepted. */
keel_status keel_store_end_starts(keel_store *store, keel_err *err);
/* Entries of a start that are in the store, requests, feedback and lost ones together. */
keel_status keel_store_count_start(keel_store *store, int64_t id, int64_t *entries, keel_err *err);
/* Entries that were accepted and not written. start 0: none. */
keel_status keel_store_add_lost(keel_store *store, int64_t start, double at, int64_t count, const char *why,
                                keel_err *err);

/* A request as experiments read it. Texts are valid until the look returns. */
typedef struct keel_served_row {
    int64_t conversation, start;               /* start 0: none */
    const char *arm, *segment, *user, *policy; /* user, policy: NULL where there is none */
    double at;
    bool shadow;
    uint32_t stopped; /* as in keel_served */
    keel_risk risk;
    keel_tri completed;
    keel_outcome outcome;   /* of the answer */
    keel_optional feedback; /* of the answer */
    keel_reward reward;     /* of its transition */
} keel_served_row;
typedef keel_status keel_served_look(void *context, const keel_served_row *row, keel_err *err);
/* All requests from a time on, in the order in which they were written. */
keel_status keel_store_walk_served(keel_store *store, double since, keel_served_look *look, void *context,
                                   keel_err *err);

/* Who answered, in the order in which it was written, without requests in shadow: much less to read. */
typedef keel_status keel_served_arm_look(void *context, const char *arm, const char *policy, double at,
                                         keel_err *err); /* policy "": none */
keel_status keel_store_walk_arms(keel_store *store, keel_served_arm_look *look, void *context, keel_err *err);
/* How many requests came before a time, and how many from then on. */
keel_status keel_store_count_served(keel_store *store, double since, size_t *before, size_t *from,
                                    keel_err *err);
/* Another number whenever somebody else has written to the store. */
keel_status keel_store_version(keel_store *store, int64_t *out, keel_err *err);

typedef struct keel_serve_start {
    int64_t id;
    double at;
    const char *arms; /* JSON */
} keel_serve_start;
/* All, by id; in the arena. */
keel_status keel_store_starts(keel_store *store, keel_arena *arena, keel_serve_start **out, size_t *count,
                              keel_err *err);

/* Whether the store has the tables at all: one of an older schema that may only be read does not. */
keel_status keel_store_has_served(keel_store *store, bool *has, keel_err *err);

#endif
