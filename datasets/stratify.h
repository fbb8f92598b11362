/* Stratified splits: every risk has its share of the test split, however rare it is.
 *
 * A conversation that is added without a split joins the split of its group. The first of a new group puts it
 * into "train" or "test" by the hash of source and group (of a group of all sources, of the group alone): the
 * fifth with the highest hashes is "test". That is provisional until keel_stratify, which import and simulate
 * call when all their files are in. It corrects the new groups risk by risk. The risk of a group is dangerous
 * if one of its conversations is, else benign if one is, else unknown. Of G groups of a risk, the earlier
 * ones included, at least floor(G/5) and at most ceil(G/5) are in "test", and at least one as soon as G is 3.
 * As few new groups as possible change sides, those whose hashes lie nearest to the boundary, so that neither
 * the order of files within one command nor threads matter. Of separate commands the earlier one is never
 * changed.
 *
 * From then on a group stays where it is. Groups whose split the log or --split gives are neither moved nor
 * counted. An import that was cut off leaves its groups provisional: the next import, or the first verb that
 * learns from a split or judges on one, settles them. */
#ifndef KEEL_DATASETS_STRATIFY_H
#define KEEL_DATASETS_STRATIFY_H

#include "core/api.h"
#include "datasets/store.h"

KEEL_BEGIN_DECLS

/* Settles the splits of all provisional groups, in the transaction at hand or one of its own. Without any it
 * does not write. Time and memory go with the number of provisional groups, not with the store. */
keel_status keel_stratify(keel_store *store, keel_err *err);

KEEL_END_DECLS

#endif
