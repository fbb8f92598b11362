/* Internal header of the n-gram base: conversations with their labels, for tuning. */
#ifndef KEEL_POLICIES_NGRAM_BASE_EXAMPLE_H
#define KEEL_POLICIES_NGRAM_BASE_EXAMPLE_H

#include "policies/ngram_base/bags.h"
#include "policies/ngram_base/tune.h"

/* One decision with its labels. */
typedef struct keel_lesson {
    keel_ngram_sample sample;
    int32_t act;     /* fixed spaces: index of the taken act or outcome, or -1 */
    size_t n_taken;  /* number of true values in `taken` */
    bool *taken;     /* [n_candidates], as are the next two; candidate sets only */
    int8_t *outcome; /* keel_outcome */
    keel_optional *feedback;
    const keel_soft_label *soft; /* what the teacher says, or NULL */
} keel_lesson;

/* One conversation. */
typedef struct keel_example {
    size_t n_lessons;
    keel_lesson *lesson;
    keel_risk risk;
    int64_t group; /* keel_conversation_group_hash */
    uint64_t name; /* keel_conversation_name_hash */
    bool weighed;  /* whether keel__ngram_base_weigh_example was called */
} keel_example;

/* Turns buckets into weighted rows, the first time it is called for an example; one thread an example. */
void keel__ngram_base_weigh_example(const keel_ngram_base *model, keel_example *example);

/* Reads up to `room` examples at a time, from memory or from the corpus. */
typedef struct keel_example_reader {
    keel_tuning *tuning;
    size_t room, n_read; /* n_read: of the last fetch, from the corpus */
    keel_arena *arena;   /* [room], as are those below; the first n_read are in use */
    size_t *slot;        /* place in `example` of what was read */
    size_t *place;       /* place of it in the corpus */
    keel_conversation **read;
    keel_example *fresh;
    keel_example **example; /* the examples of the last fetch, valid until the next */
} keel_example_reader;
keel_status keel__ngram_base_reader_open(keel_example_reader *reader, keel_tuning *tuning, size_t room,
                                         keel_err *err);
void keel__ngram_base_reader_close(keel_example_reader *reader);
/* example[i] is made from the conversation at place[i] of the corpus. It is kept in memory while memory_mb
 * allows. */
keel_status keel__ngram_base_fetch(keel_example_reader *reader, const size_t *place, size_t n, keel_err *err);

#endif
