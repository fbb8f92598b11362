/* Answers of models to one prompt, as evaluations log them: one file holds the answers of one model, or of
 * several. The conversation is named after what was asked, all answers are candidates of its one decision,
 * and what the log says of an answer stands in meta under the name of its model: so the answers of another
 * file join it, in whatever order the files come (keel_read.merge). Not for other folders. */
#ifndef KEEL_DATASETS_ANSWERS_H
#define KEEL_DATASETS_ANSWERS_H

#include "datasets/reader_internal.h"
#include "datasets/value.h"

typedef struct keel__answers {
    keel__value *build;
    cJSON *built, *messages, *list, *meta; /* of the conversation; list: its candidates */
    size_t given, passed, failed;          /* answers that were given, and what the evaluation says of them */
} keel__answers;

/* The messages of a prompt: a list of them as JSON, or what the user says. */
cJSON *keel__answers_prompt(keel__value *build, const char *prompt);
/* messages: what was asked. The group goes into answers->built, what holds for all answers into
 * answers->meta. */
void keel__answers_begin(keel__answers *answers, keel__value *build, cJSON *messages);
/* Adds an answer; more keys of a candidate may be put into what it returns. model: NULL if nobody knows. */
cJSON *keel__answers_add(keel__answers *answers, const char *text, const char *model, bool taken);
/* Whether the answer did what the task asks for: 1 or 0 is its reward, and the conversation's `completed`
 * where all answers agree. */
void keel__answers_judge(keel__answers *answers, cJSON *answer, bool passed);
/* What the log says of the answers of a model, for meta; the first value of a key holds. */
void keel__answers_note(keel__answers *answers, const char *model, const char *key, const cJSON *item);
/* Reads what was built. out->where is set. Its id is the name and a hash of the messages and of `asked`
 * ([n_asked]: what else belongs to the task, NULL for nothing). */
keel_status keel__answers_read(keel__answers *answers, const char *name, const cJSON *const *asked,
                               size_t n_asked, keel_read *out, keel_err *err);

#endif
