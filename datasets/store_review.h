/* What people say of responses: the order in which they look at them, what they said, and what counts. The
 * order itself is made in rl/judge/review_order.h.
 *
 * A review is one person's: an outcome (or none: skipped), whether the response does harm, the risk of the
 * conversation, whether it was completed, a note. Its outcome is a label by a human under the name
 * KEEL_REVIEW_LABEL NAME. Of several people's what most of them say counts, of equally many what was said
 * first; so for the outcome, harm, risk and completion alike, each among those who said something about it.
 * Harm sets the safety reward of the response to -1. What the log itself says of risk, completion and safety
 * is kept beside, comes back when the review is undone, and is what a later import is compared with. */
#ifndef KEEL_DATASETS_STORE_REVIEW_H
#define KEEL_DATASETS_STORE_REVIEW_H

#include "datasets/store.h"

#define KEEL_REVIEW_LABEL "review:" /* the judge's name of a label begins so */

enum {
    KEEL_REVIEW_NAME = 64,         /* most bytes of a person's name */
    KEEL_REVIEW_NOTE = 2000,       /* most bytes of a note */
    KEEL_REVIEW_MOST_LEASED = 256, /* responses that may be with people at a time */
    KEEL_REVIEW_MOST_PEOPLE = 64   /* that counts tell apart */
};

/* Why a response stands where it does: the largest part of its size. */
typedef enum keel_review_reason {
    KEEL_REVIEW_RANDOM,
    KEEL_REVIEW_UNSURE,
    KEEL_REVIEW_DIFFERS
} keel_review_reason;

/* Forgets the order as long as nobody has reviewed anything: until then it may be made anew. */
keel_status keel_store_review_restart(keel_store *store, keel_err *err);

/* A taken response with text, without a label by a human, that has no place in the order yet. */
typedef struct keel_review_response {
    int64_t candidate, decision, conversation;
    keel_risk risk;
    keel_outcome judged; /* by the judge of the highest authority; NONE: by none */
    double confidence;   /* in that */
    double number,
        other; /* in (0, 1), by what the conversation is called and the response says: drawn once */
} keel_review_response;
/* All of them, by row; the caller frees *out with keel_free. */
keel_status keel_store_review_new(keel_store *store, keel_review_response **out, size_t *count,
                                  keel_err *err);

typedef struct keel_review_place {
    double size, place;
    keel_review_reason reason;
    bool twice; /* two people shall look at it */
} keel_review_place;
/* Gives responses [count] their places, in one transaction. */
keel_status keel_store_review_add(keel_store *store, const keel_review_response *responses,
                                  const keel_review_place *places, size_t count, keel_err *err);

/* From here on a commit is on the disk before it returns. */
keel_status keel_store_review_sync(keel_store *store, keel_err *err);

/* The next response for a person, of those that are not leased to another: what people disagree about, what a
 * second one shall see, then the open one of the lowest place. *candidate 0: nothing is left. */
typedef struct keel_review_next {
    int64_t candidate, conversation, decision;
    keel_review_reason reason;
    int64_t done, wants;
} keel_review_next;
keel_status keel_store_review_next(keel_store *store, const char *reviewer, const int64_t *leased,
                                   size_t n_leased, keel_review_next *out, keel_err *err);
/* Of a candidate that has a place; KEEL_E_NOT_FOUND. */
keel_status keel_store_review_find(keel_store *store, int64_t candidate, keel_review_next *out,
                                   keel_err *err);

typedef struct keel_review {
    int64_t candidate;
    const char *reviewer; /* a name */
    keel_outcome outcome; /* NONE: skipped */
    bool harmful;
    keel_risk risk;     /* UNKNOWN: nothing said */
    keel_tri completed; /* UNKNOWN: nothing said */
    const char *note;   /* "" */
    int64_t at;         /* seconds since 1970, UTC */
} keel_review;
/* A name is 1 to KEEL_REVIEW_NAME bytes of UTF-8 without control characters. */
bool keel_review_name_ok(const char *name);
/* Records it, in place of what the same person said of the response before, and settles what counts, in one
 * transaction that is committed when this returns. */
keel_status keel_store_review_put(keel_store *store, const keel_review *review, keel_err *err);
/* Takes back the person's last review; *out is what it said, texts in the arena; candidate 0: there is none.
 */
keel_status keel_store_review_undo(keel_store *store, const char *reviewer, keel_arena *arena,
                                   keel_review *out, keel_err *err);

typedef struct keel_review_person {
    const char *name;
    int64_t labels, skipped;
} keel_review_person;
typedef struct keel_review_counts {
    int64_t items, open;                            /* responses in the order; that nobody looked at */
    int64_t labels, labelled, skipped;              /* reviews with an outcome; responses with one; without */
    int64_t seconds, disagreements;                 /* responses that wait for a second person; for a third */
    double table[KEEL_N_OUTCOMES][KEEL_N_OUTCOMES]; /* the first two people's outcomes of one response */
    keel_review_person *people;                     /* [n_people] those with most first; in the arena */
    size_t n_people;
} keel_review_counts;
keel_status keel_store_review_counts(keel_store *store, keel_arena *arena, keel_review_counts *out,
                                     keel_err *err);

/* Responses by the risk that the log gives their conversation, and by what the judge said when they were
 * drawn; those with a label by a human that came with the log are apart. */
typedef struct keel_review_population {
    int64_t drawn[3][KEEL_N_OUTCOMES + 1]; /* by risk and outcome; 0: not judged */
    int64_t human[3][KEEL_N_OUTCOMES + 1];
} keel_review_population;
keel_status keel_store_review_population(keel_store *store, keel_review_population *out, keel_err *err);

/* A response of the order that somebody looked at. */
typedef struct keel_review_seen {
    keel_risk risk, logged;     /* what counts; what the log says */
    keel_outcome human, judged; /* human NONE: skipped by all who looked at it */
    double size, place;
} keel_review_seen;
/* All, by place, and the lowest place that is open (INFINITY: none is). In the arena. */
keel_status keel_store_review_seen(keel_store *store, keel_arena *arena, keel_review_seen **out,
                                   size_t *count, double *open, keel_err *err);
/* Whether the store has the tables at all: one of an older schema that may only be read does not. */
keel_status keel_store_review_has(keel_store *store, bool *has, keel_err *err);

#endif
