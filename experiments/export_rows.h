/* What `keel export` writes besides logs: a table, preference pairs, and files for supervised tuning. Rewards
 * are those of the store's configuration, composed with the default weights. */
#ifndef KEEL_EXPERIMENTS_EXPORT_ROWS_H
#define KEEL_EXPERIMENTS_EXPORT_ROWS_H

#include "datasets/export.h"
#include "policies/policy.h"
#include "rewards/reward.h"

/* A policy whose choices the table shows. */
typedef struct keel_export_policy {
    keel_store *store;
    keel_policy *policy;
    keel_base *base;
    keel_arena scratch;
} keel_export_policy;

typedef struct keel_export_rewards {
    keel_reward_config config;
    double least;                /* sft: the composite reward from which on an answer is imitated */
    keel_export_policy *chooser; /* csv: NULL for a table without a policy */
    int64_t left_out; /* conversations, or for pairs decisions with several candidates, that gave no row */
    int64_t by_judge; /* pairs whose better answer nobody said, and a judge alone finds the better one */
} keel_export_rewards;

/* user: a keel_export_rewards. */
extern const char keel_export_csv_header[];
extern const char keel_export_csv_policy[]; /* what is added to it with a policy */
keel_export_write keel_export_csv;          /* a row for each candidate */
keel_export_write
    keel_export_trl; /* {"prompt", "chosen", "rejected"}: the best and the worst answer of a decision */
keel_export_write keel_export_sft; /* {"messages"}, in which answers with less reward have weight 0 */

#endif
