/* Answers of a decoder. What a job says depends on its prompt, its sampling and its seed alone, not on who is
 * beside it, nor on how many are. */
#ifndef KEEL_POLICIES_TRANSFORMER_GENERATE_H
#define KEEL_POLICIES_TRANSFORMER_GENERATE_H

#include "policies/transformer/llama_run.h"
#include "policies/transformer/sampling.h"

typedef enum keel_ended {
    KEEL_ENDED_NOT,   /* an interrupt or a failure came first */
    KEEL_ENDED_TOKEN, /* a token that ends texts (config.eos), or one of stop_id */
    KEEL_ENDED_STOP,  /* a stop string */
    KEEL_ENDED_LENGTH /* max_tokens, or no position is left */
} keel_ended;

typedef struct keel_generation {
    const keel_llama_sequence *prompt; /* read, at least one token; several jobs may have the same */
    keel_sampling sampling;
    size_t max_tokens;
    const char *const *stop; /* [n_stop] not empty; the text ends before the first that appears in it */
    size_t n_stop;
    const int32_t *stop_id; /* [n_stop_id] besides config.eos */
    size_t n_stop_id;
    /* The text as it comes, whole code points, on the calling thread; what may be part of a stop string is
     * held back. NULL: nobody listens. */
    void (*said)(void *context, const char *bytes, size_t n);
    void *context;
    /* out, in the arena; after KEEL_E_INTERRUPTED what there is so far */
    const char *text; /* valid UTF-8 without special tokens; NULL after any other failure */
    const int32_t *id;
    size_t tokens; /* [tokens] with the one that ended it */
    double
        log_prob; /* sum of ln of the probability with which each id was drawn: the propensity of these ids */
    keel_ended ended;
} keel_generation;

/* Runs at most at_once (0: all) jobs at a time; one that ends makes room for the next. KEEL_E_INVALID: an
 * empty prompt or stop string, sampling out of range. pool NULL: on this thread. */
keel_status keel_generate(const keel_llama *llama, keel_generation *jobs, size_t n, size_t at_once,
                          keel_pool *pool, keel_arena *arena, keel_err *err);

#endif
