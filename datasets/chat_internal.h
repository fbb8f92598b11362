/* What the files that read the chat format share: the object at hand, and one response of it. Not for others.
 */
#ifndef KEEL_DATASETS_CHAT_INTERNAL_H
#define KEEL_DATASETS_CHAT_INTERNAL_H

#include "datasets/message.h"
#include "datasets/reader_internal.h"

/* One object being read. */
typedef struct keel__chat {
    keel_arena *arena;
    const char *where; /* "file:line" */
    char place[480];   /* "file:line: messages[3]" */
    keel_err *err;
    keel_conversation *out;
    cJSON *extra; /* what goes into meta */
    /* keel.decisions: where it is given, only these turns have decisions, with the candidates listed there.
     */
    bool listed;
    const cJSON *next_listed; /* the item of the next decision, or NULL */
    int64_t *counts;          /* [KEEL__CHAT_COUNTS], or NULL */
} keel__chat;

void keel__chat_count(keel__chat *in, int what, bool happened);
/* Whether the key has a value that is not null. */
bool keel__chat_has(const cJSON *object, const char *key);
/* *out stays as it is if the key is not there. */
keel_status keel__chat_text(keel__chat *in, const cJSON *object, const char *key, const char **out);
/* Words are known in letters of any case; "" when out of memory. */
const char *keel__chat_lower(keel__chat *in, const char *word);

/* Everything that is said of a response but its text. */
keel_status keel__chat_judgements(keel__chat *in, const cJSON *object, keel_candidate *out);
/* What the service itself marked as a refusal is one, unless the log has a label. */
void keel__chat_judge_by_service(keel__chat *in, const keel__message *said, keel_candidate *out);
/* An item of the list `candidates`. *whole: its content is nothing but text. index: its place in the list,
 * for errors. */
keel_status keel__chat_candidate(keel__chat *in, const cJSON *item, int index, keel_candidate *out,
                                 bool *whole);
/* Two mentions of one response become one: what either says holds, what both say must agree. */
keel_status keel__chat_join(keel__chat *in, keel_candidate *into, const keel_candidate *from);

#endif
