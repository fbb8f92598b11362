/* The rooms of the sampler: which transitions can be drawn (sampler_records.c), their features in minibatches
 * (sampler.c), and what a draw adds to candidate sets (sampler_others.c). Nobody else includes this. */
#ifndef KEEL_DATASETS_SAMPLER_INTERNAL_H
#define KEEL_DATASETS_SAMPLER_INTERNAL_H

#include "core/pcg.h"
#include "core/spool.h"
#include "datasets/sampler.h"
#include "datasets/store_internal.h"

/* One transition that can be drawn. features and next are row ids of the features table, or in memory 1 +
 * slot; next is 0 when there is no next decision. */
typedef struct keel__record {
    int64_t features, next;
    float reward[KEEL_N_REWARDS];
    uint8_t present[KEEL_N_REWARDS];
    uint8_t usable;
    uint8_t outcome, risk; /* keel_outcome of the taken answer, keel_risk of the conversation */
    uint8_t alone;         /* the only decision, and of unknown completion: rules may say what answers earn */
    uint8_t ended;         /* returns go to the end of the conversation */
    int32_t action;
    float bootstrap;
    float returns[KEEL_N_REWARDS];
    int64_t group; /* keel_conversation_group_hash */
} keel__record;

/* What records are listed of. All borrowed. */
typedef struct keel__records_of {
    keel_store *store;
    const keel_split *split;
    const keel_sampler_config *config;
    size_t n_actions; /* of a fixed space */
} keel__records_of;

/* A statement over the split: head, the split's clause, tail; ":base" is the base's hash. */
keel_status keel__records_prepare(const keel__records_of *of, const char *head, const char *tail,
                                  sqlite3_stmt **out, keel_err *err);

/* How many decisions and candidates the split has, and at most how many transitions. */
typedef struct keel__records_sizes {
    size_t decisions, candidates, transitions;
} keel__records_sizes;
keel_status keel__records_measure(const keel__records_of *of, keel__records_sizes *out, keel_err *err);

/* Lists them into list, which has room for `room`, or, where list is NULL, onto the spool: conversations by
 * the hash of source and name, so that the order of imports does not matter. Where they go to a spool memory
 * does not grow with the store; else they are held twice on the way. KEEL_E_NOT_FOUND with a hint when there
 * are none. */
keel_status keel__records_list(const keel__records_of *of, keel__record *list, size_t room, keel_spool *spool,
                               keel_sampler_summary *summary, keel_err *err);

/* ---- what a draw adds to candidate sets ---- */

/* Responses that were taken at other decisions, with the states they were taken in. */
typedef struct keel__pool {
    size_t n, n_complying;
    float *state, *row; /* [n, state_dim], [n, candidate_dim] */
    int64_t *group;     /* [n] */
    uint8_t *outcome;   /* [n] */
    size_t *complying;  /* [n_complying] places of compliances */
} keel__pool;
keel_status keel__pool_room(keel__pool *pool, const keel_sampler_config *config, size_t n, keel_arena *arena,
                            keel_err *err);
void keel__pool_add(keel__pool *pool, const keel_sampler_config *config, const keel__record *record,
                    const float *state, const float *row);
/* Whether draws change sets at all. */
bool keel__others_wanted(const keel_sampler_config *config);
/* Rows that a set may grow by. */
size_t keel__others_most(const keel_sampler_config *config);

/* One set, as logged, and where it goes. */
typedef struct keel__set {
    const keel__record *record;
    const float *state, *rows, *log_prior; /* [n, candidate_dim], [n] */
    size_t n;
    float *to_rows, *to_log_prior, *to_log_weight, *to_rule;
    uint8_t *to_present, *to_declines;
    int32_t action;  /* place of the taken one, in and out */
    size_t own, all; /* out: rows of the decision, rows with the alternatives */
} keel__set;
/* pool NULL: the set as it was logged. */
void keel__others_fill(const keel_sampler_config *config, const keel__pool *pool, keel_rng *rng,
                       keel__set *set);
/* What the rule gives for an answer at this decision; *present false of each component if nothing is known.
 */
void keel__rule_fill(const keel_sampler_config *config, const keel__record *record, int outcome,
                     float *reward, uint8_t *present);

#endif
