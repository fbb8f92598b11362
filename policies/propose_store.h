/* Candidates that a base writes, into the store: at each decision of a split, beside those that were logged.
 */
#ifndef KEEL_POLICIES_PROPOSE_STORE_H
#define KEEL_POLICIES_PROPOSE_STORE_H

#include "core/api.h"
#include "datasets/store.h"
#include "policies/base.h"

KEEL_BEGIN_DECLS

typedef struct keel_propose_job {
    keel_store *store;
    const keel_split *split; /* NULL: all */
    const keel_base *base;
    const char *model; /* the name under which they stand in the store, as that of any model that answers */
    size_t n;          /* texts at a decision, plain ones */
    const char *const *instruction; /* [n_instructions] besides, a text each, written as it is told; its words
                                       stand behind the model's name */
    size_t n_instructions;
    bool says; /* the first plain text of a decision that nobody answered counts as said: the log of a model
                  that stands alone */
    keel_proposal_config how; /* without instruction */
    /* Called of each conversation in which something now counts as said, in the transaction that stores it:
     * what follows from it is derived anew. NULL: nothing is. */
    keel_status (*said)(void *context, int64_t conversation, keel_err *err);
    void *context;
} keel_propose_job;

typedef struct keel_propose_counts {
    size_t decisions; /* that were written for */
    size_t there;     /* that had candidates of this name already, and were left as they are */
    size_t added;     /* candidates */
    size_t said;      /* decisions in which the first text counts as said */
    size_t repeated;  /* texts that a candidate of the decision had already */
    size_t empty;     /* texts without a word */
    size_t cut;       /* added ones that end at max_tokens */
} keel_propose_counts;

/* What a conversation waits for at its end is a decision too. Candidates get no propensity: that is of the
 * choice among a decision's candidates, not of the words of one.
 * Interruptible: what is in the store stays, and the same job goes on. */
keel_status keel_propose_store(const keel_propose_job *job, keel_propose_counts *out, keel_err *err);

KEEL_END_DECLS

#endif
