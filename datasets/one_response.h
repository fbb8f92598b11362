/* One answer a decision: an ordinary log, in which each request got one response, out of a log in which
 * several models answered each. */
#ifndef KEEL_DATASETS_ONE_RESPONSE_H
#define KEEL_DATASETS_ONE_RESPONSE_H

#include "datasets/export.h"

typedef struct keel_one_response {
    uint64_t seed;
    int64_t answers;   /* counts: that were kept, one a decision */
    int64_t left_out;  /* candidates that were not kept */
    int64_t decisions; /* counts: without an answer, because none of their candidates was given to a user */
} keel_one_response;

/* Changes the conversation, whose parts lie in the arena: of each decision one taken candidate stays, with
 * what is known of it. Where the conversation goes on after the answer, it is what was said; else each taken
 * one is equally likely, and the chosen one becomes the last message. The draw is of stream "one response" by
 * the name of the conversation and by model, act and text of the answers, so the order of imports does not
 * matter. A propensity stays only where one candidate was taken. Of meta.messages, what was said of single
 * candidates and of a message that is replaced is left out. Adds to the counts. */
keel_status keel_one_response_keep(keel_one_response *one, keel_conversation *conversation, keel_arena *arena,
                                   keel_err *err);
/* keel_export_chat of the conversations that this makes. */
keel_status keel_export_one_response(keel_store *store, const keel_split *split, keel_one_response *one,
                                     keel_file_writer *to, int64_t *count, keel_err *err);

#endif
