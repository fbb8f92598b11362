/* The n-gram base that stands beside a model, for kinds of base that have one: its features are theirs too.
 */
#ifndef KEEL_POLICIES_BESIDE_H
#define KEEL_POLICIES_BESIDE_H

#include "policies/base.h"

/* The option "ngrams" of such a kind: whether it has one. */
enum { KEEL_BESIDE_AUTO, KEEL_BESIDE_YES, KEEL_BESIDE_NO };
extern const char *const keel_beside_choices[]; /* auto, yes, no; NULL-terminated */
/* auto: in candidate sets. */
static inline bool keel_beside_wanted(int choice, keel_action_space space) {
    return choice == KEEL_BESIDE_AUTO ? space == KEEL_SPACE_CANDIDATES : choice == KEEL_BESIDE_YES;
}

/* Tunes it for the job of the kind that it stands beside, by the n-gram base's defaults and what all kinds
 * share. from (NULL: anew): the one to go on from, whose shape it keeps. Its checkpoints are those of the job
 * from `checkpoint` on. */
keel_status keel_beside_tune(const keel_base_tuning *job, const keel_base *from, size_t checkpoint,
                             keel_base **out, keel_err *err);
/* In the folder "ngrams" within dir. */
keel_status keel_beside_save(const keel_base *beside, const char *dir, keel_err *err);
keel_status keel_beside_load(keel_base **out, const char *dir, keel_err *err);
/* Its features [n] at the head of `out`, or, where there is none (NULL), a length alone; returns how many. */
size_t keel_beside_put(const float *features, size_t n, double length, float *out);
/* Puts it beside the base (keel_base.beside), which owns it from now on, even on failure. NULL: none.
 * KEEL_E_INVALID where it is over other answers: space, acts and fixed answers by their names. */
keel_status keel_beside_join(keel_base *base, keel_base *beside, keel_err *err);

#endif
