/* Split expressions: which conversations a verb looks at.
 *
 *   all            every conversation
 *   NAME           conversations imported (or assigned) to that split
 *   fold:K/N       fold K of N (K counts from 0), by keel_conversation_group_hash
 *   rest:K/N       everything but that fold
 *   NAME,fold:K/N  both; a second fold or rest may follow, and then that holds too
 *
 * Folds depend on a conversation's group alone, so contrast pairs and variants stay together and a fold does
 * not change when more logs come in. */
#ifndef KEEL_DATASETS_SPLIT_H
#define KEEL_DATASETS_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/api.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef enum keel_fold_kind { KEEL_FOLD_NONE, KEEL_FOLD_IN, KEEL_FOLD_REST } keel_fold_kind;

typedef struct keel_fold {
    keel_fold_kind kind;
    int64_t fold, folds;
} keel_fold;

enum { KEEL_SPLIT_FOLDS = 2 };
typedef struct keel_split {
    char text[160];                    /* as given */
    char name[64];                     /* "" for any */
    keel_fold folds[KEEL_SPLIT_FOLDS]; /* all of them hold; KEEL_FOLD_NONE after the last */
} keel_split;

keel_status keel_split_parse(const char *text, keel_split *out, keel_err *err);
/* Whether conversations can be assigned to a split of that name: KEEL_E_INVALID for one that an expression
 * could not name, or would read otherwise. */
keel_status keel_split_check_name(const char *name, const char *where, keel_err *err);
/* fold:K/N of rest:K/N: what a policy trained on `split` has not seen. KEEL_E_INVALID when the split names no
 * rest, or more than that. */
keel_status keel_split_held_out(const keel_split *split, keel_split *out, keel_err *err);
/* Cuts a split in two: what is in fold "K/N" of it, and the rest. KEEL_E_INVALID when the text is no fold,
 * when the split has no room for another one, or when by its own folds one of the two is empty. */
keel_status keel_split_cut(const keel_split *split, const char *fold, keel_split *part, keel_split *rest,
                           keel_err *err);
/* Whether certainly no conversation is in both: true by their names or by a fold of each. */
bool keel_split_disjoint(const keel_split *a, const keel_split *b);

KEEL_END_DECLS

#endif
