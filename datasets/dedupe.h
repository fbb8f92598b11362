/* Duplicates: conversations with the same turns or the same prompt under several ids. What a policy or a
 * judge learned from one must not be tested on the other, so they belong to one group, which never straddles
 * splits or folds.
 *
 * The prompt is what is said before the first answer, folded and cut into words (core/text.h), with roles.
 * While it has fewer than 5 words of the user ("Hi"), what the user says next belongs to it too. */
#ifndef KEEL_DATASETS_DEDUPE_H
#define KEEL_DATASETS_DEDUPE_H

#include "core/api.h"
#include "datasets/store.h"

KEEL_BEGIN_DECLS

/* The name of the group of a conversation that names none, by its prompt: "prompt:" and a hash; into the
 * arena. *out NULL where no user says anything. Where the split is given, each split has groups of its own.
 */
keel_status keel_dedupe_group(const keel_conversation *conversation, keel_arena *arena, const char **out,
                              keel_err *err);

/* Conversations beyond the first of each kind, and how many of all lie in another split than the first. */
typedef struct keel_dedupe_count {
    int64_t same_turns, same_turns_straddling;   /* all turns: roles and texts, folded */
    int64_t same_prompt, same_prompt_straddling; /* the prompt alone, those with the same turns included */
} keel_dedupe_count;

/* Over the whole store. Takes 40 bytes of memory a conversation. */
keel_status keel_dedupe_stats(keel_store *store, keel_dedupe_count *out, keel_err *err);

KEEL_END_DECLS

#endif
