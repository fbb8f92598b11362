/* The part of a response that answers: what a judge reads. Reasoning that stands before the answer is
 * skipped, and a response that holds no answer (empty, dots, a service's error message) is told from one that
 * does. */
#ifndef KEEL_REWARDS_ANSWER_H
#define KEEL_REWARDS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

/* A part of the response. Length 0: the response holds reasoning alone, or nothing. */
typedef struct keel_answer {
    const char *text;
    size_t length;
} keel_answer;

/* Skips blocks in tags (<think>, <thinking>, <reasoning>, <thought>, <scratchpad>, <analysis>, [THINK],
 * <details type="reasoning">), channels ("<|channel|>analysis ... <|channel|>final"), and "Thought: ...
 * Answer:". A block that never ends takes all that follows. */
keel_answer keel_answer_of(const char *response);

/* Whether the answer says nothing that could be judged: no letter and no digit, or a short error message. */
bool keel_answer_is_placeholder(const keel_answer *answer);

#endif
