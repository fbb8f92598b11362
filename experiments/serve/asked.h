/* What a request asks for, whatever body it came in. */
#ifndef KEEL_EXPERIMENTS_SERVE_ASKED_H
#define KEEL_EXPERIMENTS_SERVE_ASKED_H

#include "core/nouns.h"

/* Everything lies in the arena of the request. NULL, 0 or false: not said. */
typedef struct keel_asked {
    keel_turn *turns; /* [n_turns] what was said so far; at least one */
    size_t n_turns;
    const char *model;
    const char *user;         /* whom it is for */
    const char *conversation; /* its name */
    const char *segment;      /* of an experiment */
    bool stream, usage;       /* as server-sent events; with their count of tokens at the end */
    bool details;             /* what Keel thought */
    size_t max_tokens;
    keel_candidate *candidates; /* [n_candidates] given by the caller, each response once */
    size_t *place;              /* [n_candidates] where each stands in the caller's list */
    size_t n_candidates;
} keel_asked;

#endif
