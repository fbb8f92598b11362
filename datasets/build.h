/* Objects of the chat format that readers of other formats build, and read like a line of it. Not for other
 * folders. What cannot be added for lack of memory is false or KEEL_E_NOMEM. */
#ifndef KEEL_DATASETS_BUILD_H
#define KEEL_DATASETS_BUILD_H

#include "datasets/reader_internal.h"

/* {"role", "content"} at the end of the list. */
bool keel__add_message(cJSON *list, const char *role, const char *text);
/* Adds a paragraph to the content of a message; one without a text stays. */
bool keel__append_text(cJSON *message, const char *text);
/* A new conversation with id, risk, group, split, completed and truncated of the object, where these are of
 * the right type. NULL when out of memory. */
cJSON *keel__chat_begin(const cJSON *object, const char *where, keel_err *err);
/* Appends to the id; NULL, or a conversation without id: does nothing. */
keel_status keel__chat_suffix_id(cJSON *to, const char *suffix, const char *where, keel_err *err);
/* What is left of the object for meta: not what keel__chat_begin takes, not the keys of the lists (more may
 * be NULL), no addresses of people and no credentials. Its own meta is joined in. *out NULL: nothing is left.
 * The caller deletes it. */
keel_status keel__chat_rest(const cJSON *object, const char *const *used, const char *const *more,
                            cJSON **out, const char *where, keel_err *err);
/* Name of the group of a conversation: a hash of the first message that is not the system's. */
keel_status keel__chat_group(const cJSON *messages, char group[20], keel_err *err);
/* Reads what was built into out->conversation, in the arena; out->where is set. Takes built over. If status
 * is an error, returns it. */
keel_status keel__chat_read_built(keel_status status, cJSON *built, keel_arena *arena, int64_t *counts,
                                  keel_read *out, keel_err *err);

#endif
