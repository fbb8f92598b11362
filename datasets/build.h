/* Objects of the chat format that readers of other formats build (value.h), and read like a line of it. Not
 * for other folders. */
#ifndef KEEL_DATASETS_BUILD_H
#define KEEL_DATASETS_BUILD_H

#include "datasets/reader_internal.h"
#include "datasets/value.h"

/* {"role", "content"}; text NULL: without content. */
cJSON *keel__build_message(keel__value *build, const char *role, const char *text);
/* Puts what was said at the end of a list of messages: a text as one message of the role; a message, or a
 * list of them, as it is. KEEL_E_PARSE: anything else. */
keel_status keel__build_said(keel__value *build, cJSON *list, const cJSON *said, const char *role,
                             const char *where, keel_err *err);
/* Adds a paragraph to the content of the last message, if that is a text. */
void keel__build_append(keel__value *build, cJSON *list, const char *text);
/* The last item of a list; NULL: it has none. */
cJSON *keel__build_last(const cJSON *list);

/* Facts, which a conversation takes from an object as they are: id (a number or a text), risk, group, split,
 * completed and truncated, where they are of their types. */
void keel__build_facts(keel__value *build, cJSON *to, const cJSON *object);
/* Appends to the id, if there is one. */
void keel__build_suffix(keel__value *build, cJSON *to, const char *suffix);
/* What is left of the object for meta: no facts (but a risk in unknown words), not the keys of the lists
 * (more may be NULL), no addresses of people and no credentials. Its own meta is joined in. NULL: nothing is
 * left. */
cJSON *keel__build_rest(keel__value *build, const cJSON *object, const char *const *used,
                        const char *const *more);

/* Reads what was built into out->conversation, in the arena of the builder; out->where is set. counts: as
 * keel__chat_read_object. */
keel_status keel__build_read(keel__value *build, const cJSON *built, int64_t *counts, keel_read *out,
                             keel_err *err);

#endif
