/* One pass over a corpus in the order of names, some conversations in memory at a time. */
#ifndef KEEL_POLICIES_CORPUS_PASS_H
#define KEEL_POLICIES_CORPUS_PASS_H

#include "core/corpus.h"
#include "core/parallel.h"

enum { KEEL_PASS_ONCE = 64 };

typedef struct keel_corpus_some {
    size_t n; /* up to KEEL_PASS_ONCE */
    const size_t *place;
    keel_conversation **read;
    keel_arena *arena; /* [n] with each, emptied before others are read */
} keel_corpus_some;

typedef struct keel_corpus_pass {
    const char *what; /* for the progress */
    const char *who;  /* for errors */
    /* One of them, on any thread, and then all on this one; either may be NULL. */
    keel_status (*look)(void *context, const keel_corpus_some *some, size_t i, keel_err *err);
    keel_status (*take)(void *context, const keel_corpus_some *some, keel_err *err);
    void *context;
} keel_corpus_pass;

/* pool NULL: on this thread. KEEL_E_INTERRUPTED. */
keel_status keel_corpus_pass_run(const keel_corpus_pass *pass, keel_corpus *corpus, keel_pool *pool,
                                 keel_err *err);

#endif
