/* Internal header of the decoder base: which responses teach, and what of them. */
#ifndef KEEL_POLICIES_DECODER_BASE_UNITS_H
#define KEEL_POLICIES_DECODER_BASE_UNITS_H

#include "policies/decoder_base/reading.h"

/* What teaches at once: a response that is preferred to another (dpo); one as good or bad (kto); all
 * responses of a dialogue that are read in one text (sft): while what was said before the later ones begins
 * with the whole text of the earlier ones, which it does until turns leave the window. */
typedef struct keel_decoder_unit {
    size_t place; /* of its conversation in the corpus */
    size_t link;  /* its responses among the links, the earliest first */
    uint32_t n_links;
    uint32_t other; /* dpo: the candidate that the response is preferred to */
    bool good;      /* kto */
} keel_decoder_unit;

typedef struct keel_decoder_link {
    uint32_t decision, response;
} keel_decoder_link;

typedef struct keel_decoder_units {
    keel_decoder_unit *unit; /* [n], of keel_alloc, by the names of their conversations */
    size_t n;
    keel_decoder_link *link; /* of all units, of keel_alloc */
    size_t responses;        /* links */
    /* what is left out, and what is cut */
    size_t undeserving; /* responses that are not to be imitated */
    size_t too_long;    /* dropped: of more than candidate_tokens */
    size_t cut;         /* responses of which the first tokens are learned */
    size_t window_cut;  /* responses whose dialogue does not fit into the window as a whole */
    size_t longest_prompt, longest_response; /* tokens */
    uint64_t tokens, supervised;             /* read, and learned, in one pass */
} keel_decoder_units;

void keel__decoder_units_free(keel_decoder_units *units);
/* Reads the corpus through. KEEL_E_NOT_FOUND says what is missing where nothing teaches. */
keel_status keel__decoder_units(const keel_decoder_base *model, const keel_base_tuning *job,
                                keel_decoder_units *out, keel_err *err);

/* A text as it is learned: what was said, and the last response behind it. */
typedef struct keel_decoder_text {
    int32_t *id;      /* [n] */
    size_t n, prompt; /* prompt: tokens before the last response */
    bool *learned;    /* [n] */
    size_t supervised;
} keel_decoder_text;

/* The texts of a unit out of its conversation, in the arena: its responses'; dpo: the other one's after it.
 * links: of all units. */
enum { KEEL_DECODER_MOST_TEXTS = 2 };
keel_status keel__decoder_texts(const keel_decoder_base *model, const keel_conversation *conversation,
                                const keel_decoder_unit *unit, const keel_decoder_link *links,
                                keel_arena *arena, keel_decoder_text out[KEEL_DECODER_MOST_TEXTS], size_t *n,
                                keel_err *err);

#endif
