/* A corpus: conversations to learn from, in a fixed order, read as often as needed. A learner that uses one
 * knows neither the store nor a file format; datasets/store_corpus.h makes one from a split of a store. */
#ifndef KEEL_CORE_CORPUS_H
#define KEEL_CORE_CORPUS_H

#include "core/api.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

/* What there is to learn from. */
typedef struct keel_corpus_counts {
    size_t conversations, decisions, candidates;
    size_t taken;     /* decisions with a taken candidate */
    size_t with_act;  /* decisions with a taken candidate that carries an act */
    size_t with_text; /* decisions with a taken candidate that has text */
    size_t judged;    /* decisions with a taken candidate whose outcome is judged */
    size_t choices;   /* conversations in which a taken candidate was one of several */
    size_t with_risk; /* conversations whose risk is known */
} keel_corpus_counts;

typedef struct keel_corpus keel_corpus;
struct keel_corpus {
    const char *name; /* where the conversations come from, for error messages and artefacts: a split */
    char content[65]; /* SHA-256 of the conversations and their labels; their order does not matter */
    size_t count;     /* of conversations */
    keel_corpus_counts counts;
    const size_t *by_name; /* [count] all places, ascending by keel_conversation_name_hash: an order that does
                              not depend on how the conversations are stored */
    size_t in_memory;      /* bytes that the corpus itself holds in memory, see forget */
    /* Reads the conversations at place[0 .. n), of one state of the source: out[i] lies in arena[i], or in
     * the corpus' own memory. One thread at a time. */
    keel_status (*read)(keel_corpus *corpus, const size_t *place, size_t n, keel_arena *arena,
                        keel_conversation **out, keel_err *err);
    /* Distinct dialogue acts of taken candidates, sorted, in the arena. */
    keel_status (*acts)(keel_corpus *corpus, keel_arena *arena, const char ***acts, size_t *n, keel_err *err);
    /* Frees the conversations that the corpus holds in memory; they are read from the source from here on. */
    void (*forget)(keel_corpus *corpus);
};

/* Adds one conversation to the counts. */
void keel_corpus_count(keel_corpus_counts *counts, const keel_conversation *conversation);

KEEL_END_DECLS

#endif
