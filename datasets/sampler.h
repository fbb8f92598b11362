/* The sampler: minibatches of transitions with their features, uniform with replacement, never more of the
 * store in memory than the cache allows. Draw number `step` of seed `seed` is the same whatever the cache
 * size, whatever was drawn before and in whatever order logs were imported, so training resumes anywhere. */
#ifndef KEEL_DATASETS_SAMPLER_H
#define KEEL_DATASETS_SAMPLER_H

#include "datasets/store.h"

/* A cache for everybody who has no reason for another. */
enum { KEEL_SAMPLER_CACHE = 1 << 30 };

/* What a draw does to candidate sets, so that a learner sees sets that the log did not have. Responses of
 * other conversations come from a pool of the split's transitions; those of the same group, or with the same
 * features as one of the set, are not taken. */
typedef struct keel_sampler_others {
    double drop;         /* probability that a candidate is left out that is not the taken one */
    double plant;        /* probability that a complying response of another conversation joins the set */
    size_t alternatives; /* responses of other conversations that are judged beside the set: half of them from
                            the nearest of KEEL_SAMPLER_NEAREST states, the rest from any */
    double stands_for;   /* actions that the alternatives stand for in a sum over actions; 0: themselves */
} keel_sampler_others;
enum { KEEL_SAMPLER_POOL = 2048, KEEL_SAMPLER_NEAREST = 16 };

typedef struct keel_sampler_config {
    const char *base_hash;
    keel_action_space space;
    const char *const *acts; /* KEEL_SPACE_ACTS: the fixed set, in order */
    size_t n_acts;
    size_t state_dim, candidate_dim;
    size_t n_fixed;              /* candidate sets: answers offered at every decision, after its candidates */
    const keel_candidate *fixed; /* [n_fixed], borrowed */
    size_t batch;                /* transitions a draw */
    size_t cache_bytes;          /* what takes more than this is read from the store as it is drawn */
    uint64_t seed;
    /* Transitions over n_step decisions (0 and 1: one): rewards are sums discounted by gamma, present where
     * all of theirs are; a conversation that ends within them ends the sum, one that is cut off within them
     * bootstraps from its last decision. */
    size_t n_step;
    double gamma;
    /* Only the conversations whose return (sum of weighted rewards) is among the highest keep_top percent,
     * those equal to the last of them too; 0: all. Takes 8 bytes of memory a conversation. */
    double keep_top;
    bool safe_only; /* no conversation in which some answer's safety is known to be below 0 */
    double weight[KEEL_N_REWARDS];
    keel_sampler_others others; /* of candidate sets; all zero: sets as they were logged */
    /* [1 + KEEL_RISK_DANGEROUS][1 + KEEL_N_OUTCOMES] What a rule gives for an answer of this outcome in a
     * conversation of this risk, whoever gives it, at decisions that are all of their conversation. Borrowed.
     * NULL: nothing is known without trying. */
    const keel_reward *rule;
    const bool *declines; /* [n_acts] KEEL_SPACE_ACTS: acts that refuse or hand over; borrowed; NULL: none */
} keel_sampler_config;

/* B transitions. Rows of candidate sets are ragged: set b is rows offsets[b] .. offsets[b+1]-1, of which the
 * first own[b] are the decision's, and the others alternatives (keel_sampler_others). In fixed action spaces
 * the candidate arrays are NULL and actions index the acts (KEEL_SPACE_OUTCOMES: outcome - 1). R below is the
 * number of rows of sets, or of B times acts. */
typedef struct keel_batch {
    size_t n;
    const float *state;     /* [B, state_dim] */
    const int32_t *action;  /* [B] act, or place of the taken candidate within its set */
    const float *reward;    /* [B, KEEL_N_REWARDS], 0 where absent */
    const uint8_t *present; /* [B, KEEL_N_REWARDS] */
    const float
        *bootstrap;        /* [B] 1 where the next decision counts (gamma^(n-1) over n), 0 after a terminal */
    const uint8_t *usable; /* [B] 0: cut off with nothing to bootstrap from: no TD term */
    const float *next_state;  /* [B, state_dim]; zeros where there is none */
    const int32_t *offsets;   /* [B+1] */
    const int32_t *own;       /* [B]; NULL: no set has alternatives */
    const float *candidates;  /* [offsets[B], candidate_dim] */
    const float *log_weight;  /* [R] how much an action counts in a sum over actions, in logarithms: 0 but
                                 for alternatives; -INFINITY: not at all. NULL: all 0 */
    const float *rule_reward; /* [R, KEEL_N_REWARDS] of actions that the log did not take, 0 where absent */
    const uint8_t *rule_present; /* [R, KEEL_N_REWARDS]; NULL: no rule */
    const uint8_t *declines;     /* [R] 1: an answer that is known to refuse or hand over. NULL: none is */
    const float *returns;        /* [B, KEEL_N_REWARDS] discounted sum of what the log earned from here on */
    const uint8_t *ended;        /* [B] 1: to the end of the conversation; 0: up to where it was cut off */
    const int32_t *next_offsets; /* [B+1]; an empty set where there is no next decision */
    const float *next_candidates;
    const float *log_prior; /* [offsets[B]] or [B, n_acts] */
    const float *next_log_prior;
    const float *next_pi; /* as next_log_prior: a policy's probabilities at the next decisions, if targets are
                             to be its expectation; NULL (the sampler's): they are the learner's own choice */
    const float
        *weight; /* [B, KEEL_N_REWARDS] of each transition's composite (rl/learn/reward_conditioning.h); NULL
                    (the sampler's): all transitions' is the learner's own */
} keel_batch;

typedef struct keel_sampler_summary {
    size_t transitions;              /* that can be drawn */
    size_t left_out;                 /* no features, act outside the set, or outcome unjudged */
    double coverage[KEEL_N_REWARDS]; /* share of transitions with each component */
    double reward_low[KEEL_N_REWARDS], reward_high[KEEL_N_REWARDS];
    size_t largest_set;           /* candidates in the largest set */
    double mean_return_length;    /* decisions a conversation */
    size_t largest_return_length; /* of the longest conversation */
} keel_sampler_summary;

typedef struct keel_sampler keel_sampler;
/* KEEL_E_NOT_FOUND with a hint when the split has no transitions or no features for that base. */
keel_status keel_sampler_open(keel_sampler **out, keel_store *store, const keel_split *split,
                              const keel_sampler_config *config, keel_err *err);
void keel_sampler_close(keel_sampler *sampler);
const keel_sampler_summary *keel_sampler_about(const keel_sampler *sampler);
/* The batch points into the sampler and is valid until the next draw. */
keel_status keel_sampler_draw(keel_sampler *sampler, uint64_t step, keel_batch *batch, keel_err *err);
/* Transition `index` (0 .. transitions-1, conversations by the hash of source and name) and the following
 * ones, at most config.batch: for passes over all. */
keel_status keel_sampler_read(keel_sampler *sampler, size_t index, keel_batch *batch, keel_err *err);

#endif
