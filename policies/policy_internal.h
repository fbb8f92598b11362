/* Inside of a policy, for the learners that make one and the judges that look into it. */
#ifndef KEEL_POLICIES_POLICY_INTERNAL_H
#define KEEL_POLICIES_POLICY_INTERNAL_H

#include <cjson/cJSON.h>

#include "policies/familiar.h"
#include "policies/policy.h"
#include "policies/qnet.h"
#include "policies/weighting.h"

struct keel_policy {
    char hash[65];
    char base_hash[65];
    char algorithm[32]; /* "cql", "bc", "dqn", ... */
    char split[160];    /* it was trained on */
    keel_qnet net;
    unsigned char *
        *packed; /* [net.params.count] weights at 8 bits (core/packed.h), NULL of biases; NULL: all whole */
    size_t n_acts;
    const char **acts;             /* fixed spaces */
    keel_outcome *act_outcome[3];  /* [keel_risk][act]: what an act amounts to, as the training log judged it;
                                      NONE if it never did */
    double weight[KEEL_N_REWARDS]; /* w; 0 for components without coverage; for one head: unused */
    double beta;
    bool conditioned; /* w is an input of the network, so that another may be chosen: keel_policy_weigh */
    /* Conditioned alone: components that were logged, and so may have weight; the standard w and its beta;
     * the lattice's betas. */
    bool covered[KEEL_N_REWARDS];
    double own_weight[KEEL_N_REWARDS], own_beta, lattice_beta[KEEL_N_LATTICE];
    double harm_threshold; /* C above it is masked. INFINITY: none, as where the log knew no harm and there is
                              no cost critic */
    double cost_weight;    /* lambda: what is maximised is Q_w - lambda C */
    bool *declines;        /* [n_acts] fixed spaces: acts that refuse or hand over, which are never masked as
                              harm; NULL: none */
    size_t n_fixed;        /* candidate sets: fixed answers at their end, which refuse: likewise */
    double support;        /* actions whose prior is below this share of the largest are masked; 0: none */
    bool imitates; /* behaviour cloning: the network's output is log pi itself; prior, beta and threshold are
                      not used */
    int32_t fallback_act;   /* fixed spaces: act taken when all are masked; -1: the one of the lowest cost */
    keel_familiar familiar; /* states it learned from */
    bool leave_unfamiliar;  /* unfamiliar states are sent to the fallback; not kept on disk */
    keel_arena arena;       /* owns names and places */
};

/* log pi from prior, advantages and mask, shared by decide and by the search for beta; golden: G4 of
 * docs/design.md. */
void keel_policy_tilt(const float *log_prior, const float *advantage, const bool *masked, size_t n,
                      double beta, float *log_pi, double *kl);

/* The least log prior that is supported (keel_policy.support); -INFINITY for support 0. */
double keel_policy_least_prior(const float *log_prior, size_t n, double support);

/* Largest beta <= limit whose mean KL over the given decisions is within budget (bisection; KL rises with
 * beta). Rows of all decisions one after the other: log_prior, q_w [offsets[n]]. */
double keel_policy_solve_beta(const float *log_prior, const float *q_w, const int32_t *offsets, size_t n,
                              double budget, double limit);

/* Masks what has a higher cost of harm than this from now on, not than its own threshold. KEEL_E_USAGE where
 * it has no critic of that cost. */
keel_status keel_policy_mask_above(keel_policy *policy, double threshold, keel_err *err);
/* KEEL_E_USAGE where it does not know the states that it learned from, so that no state is unfamiliar. */
keel_status keel_policy_check_familiar(const keel_policy *policy, keel_err *err);

/* Puts the policy on another base that has the same features of the same actions, as a smaller one of its own
 * has. KEEL_E_CONFLICT for a base over others. */
keel_status keel_policy_rebind(keel_policy *policy, const keel_base *base, keel_err *err);

/* What the network reads of one decision: x [*rows, net.input_dim], for keel_qnet_infer; in the arena or the
 * features. */
keel_status keel_policy_rows(const keel_policy *policy, const keel_features *features, keel_arena *scratch,
                             const float **x, size_t *rows, keel_err *err);

/* Rounds the networks' weights to 8 bits, a scale for each output; biases stay as they are. */
keel_status keel_policy_pack(keel_policy *policy, keel_err *err);
/* Bytes of the networks' weights on disk. */
double keel_policy_bytes(const keel_policy *policy);

/* Writes the artefact. lineage and config and metrics as for keel_artefact_commit. */
keel_status keel_policy_save(const keel_policy *policy, const char *dir, const cJSON *lineage,
                             const cJSON *config, const cJSON *metrics, char hash[65], keel_err *err);

#endif
