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

/* The name of the group of a conversation that names none, by its prompt: "asked:" and a hash, the same in
 * every source; where the split is given, "prompt:" and a hash, of that source and split. Into the arena.
 * *out NULL where no user says anything. */
keel_status keel_dedupe_group(const keel_conversation *conversation, keel_arena *arena, const char **out,
                              keel_err *err);

/* The similarity from which on prompts are called nearly the same: where none is asked for, and at least. */
#define KEEL_DEDUPE_NEAR  0.8
#define KEEL_DEDUPE_LEAST 1e-6

/* Conversations beyond the first of each kind, and how many of all lie in another split than the first. */
typedef struct keel_dedupe_count {
    int64_t same_turns, same_turns_straddling;   /* all turns: roles and texts, folded */
    int64_t same_prompt, same_prompt_straddling; /* the prompt alone, those with the same turns included */
    int64_t near_prompt, near_prompt_straddling; /* prompts as similar as asked for, the same ones included */
} keel_dedupe_count;

/* Over the whole store. near: the least similarity of near-duplicates (minhash.h), 0: they are not looked
 * for. Takes 48 bytes of memory a conversation, for near-duplicates what minhash.h says. */
keel_status keel_dedupe_stats(keel_store *store, double near, keel_dedupe_count *out, keel_err *err);

/* Puts groups by prompt whose prompts are similar together, before keel_stratify and in its
 * transaction: provisional groups join the settled one that they resemble, or the first of theirs by name.
 * What is settled stays. *merged: how many groups joined another. */
keel_status keel_dedupe_join(keel_store *store, double near, int64_t *merged, keel_err *err);

KEEL_END_DECLS

#endif
