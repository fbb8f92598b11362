/* Between the files of the refusal judge. */
#ifndef KEEL_REWARDS_REFUSAL_INTERNAL_H
#define KEEL_REWARDS_REFUSAL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/memory.h"
#include "core/nouns.h"
#include "rewards/answer.h"

/* keel_refusal_rule of an answer that is normalised (normalise.h). */
bool keel__refusal_rule_of(const char *normal, keel_outcome *out);

/* The beginning of an answer with slips of the hand, in the arena; the same each time. NULL when out of
 * memory. */
char *keel__refusal_slips(const keel_answer *answer, keel_arena *arena);

/* The judge that was taught on public labelled logs (README.md of rewards/judges): a safetensors file. */
extern const unsigned char keel__refusal_builtin[];
extern const size_t keel__refusal_builtin_length;

/* The words that the normaliser knows (words.h). */
extern const unsigned char keel__words_builtin[];
extern const size_t keel__words_builtin_length;

#endif
