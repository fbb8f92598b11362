/* A policy as a teacher: of each decision its choice counts as what was said, and nothing else does. What is
 * tuned on such a corpus imitates the policy. */
#ifndef KEEL_POLICIES_TEACHER_H
#define KEEL_POLICIES_TEACHER_H

#include "core/corpus.h"
#include "core/parallel.h"
#include "policies/policy.h"

/* base: the policy's own, both borrowed, as is `of`, until close. The policy is asked once of each decision,
 * on the pool; interruptible. A decision that it cannot judge, and one in which it falls back on an action
 * that is no text, teaches nothing. The content hash is that of corpus and policy. KEEL_E_NOT_FOUND: it
 * chooses nothing.
 */
keel_status keel_teacher_open(keel_corpus **out, keel_corpus *of, const keel_policy *policy,
                              const keel_base *base, keel_pool *pool, keel_err *err);
void keel_teacher_close(keel_corpus *corpus); /* NULL is harmless */

#endif
