/* The text of an answer as its tokens come: bytes that are no whole code point yet, and an end that may
 * become a stop string, are held back until it is known what they are. */
#ifndef KEEL_POLICIES_TRANSFORMER_REPLY_H
#define KEEL_POLICIES_TRANSFORMER_REPLY_H

#include <stdbool.h>

#include "core/memory.h"

typedef struct keel_reply {
    const char *const *stop; /* [n_stop] none is empty; the first that appears ends the text before it */
    size_t n_stop;
    void (*said)(void *context, const char *bytes, size_t n); /* whole code points, in order; NULL: nobody */
    void *context;
    /* out */
    keel_buf text; /* valid UTF-8 without NUL; what is neither became U+FFFD; .failed: no memory */
    bool stopped;  /* by a stop string */
    /* private */
    size_t told;
    char part[4]; /* of a code point */
    size_t n_part;
} keel_reply;

/* Does nothing once stopped. */
void keel_reply_add(keel_reply *reply, const char *bytes, size_t n);
/* Nothing more comes: what was held back is said. cut: it would have gone on, so that a code point of which
 * bytes are missing is left out. */
void keel_reply_end(keel_reply *reply, bool cut);
void keel_reply_free(keel_reply *reply);

#endif
