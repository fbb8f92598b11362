/* A policy as a teacher: of each decision its choice counts as what was said, and nothing else does. What is
 * tuned on such a corpus imitates the policy. */
#ifndef KEEL_POLICIES_TEACHER_H
#define KEEL_POLICIES_TEACHER_H

#include "core/corpus.h"
#include "core/parallel.h"
#include "policies/policy.h"

/* base: the policy's own, both borrowed, as is `of`, until close. The policy is asked once of each decision,
 * on the pool; interruptible. An act or outcome that it chooses and no candidate has is a candidate of its
 * own, without text. A decision that it cannot judge teaches nothing. The content hash is that of corpus and
 * policy. KEEL_E_NOT_FOUND: it chooses nothing.
 */
keel_status keel_teacher_open(keel_corpus **out, keel_corpus *of, const keel_policy *policy,
                              const keel_base *base, keel_pool *pool, keel_err *err);

typedef struct keel_teacher_counts {
    size_t named;  /* decisions taught by the name of an act or outcome that no candidate has */
    size_t silent; /* decisions that teach nothing */
} keel_teacher_counts;

/* What is tuned is over this space: names alone say something only where it is the teacher's, and are left
 * out elsewhere. To be called before the corpus is read. */
keel_teacher_counts keel_teacher_settle(keel_corpus *corpus, keel_action_space space);
void keel_teacher_close(keel_corpus *corpus); /* NULL is harmless */

#endif
