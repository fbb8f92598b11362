/* The table of learners, and what a kind of learner offers. A new one takes a file in this folder that
 * defines its kind, and a row here. */
#ifndef KEEL_RL_LEARN_LEARNERS_H
#define KEEL_RL_LEARN_LEARNERS_H

#include "core/options.h"
#include "policies/qnet.h"

/* ROW(kind, name): keel_learn_kind is its kind, the name is that of --algo */
#define KEEL_LEARNERS(ROW)                                                                                   \
    ROW(cql, "cql")                                                                                          \
    ROW(dqn, "dqn")                                                                                          \
    ROW(bc, "bc")                                                                                            \
    ROW(filtered_bc, "filtered-bc")                                                                          \
    ROW(safe_bc, "safe-bc")                                                                                  \
    ROW(cql_constrained, "cql-constrained")                                                                  \
    ROW(cql_lagrange, "cql-lagrange")                                                                        \
    ROW(iql, "iql")                                                                                          \
    ROW(ilql, "ilql")                                                                                        \
    ROW(awac, "awac")                                                                                        \
    ROW(bcq, "bcq")

#define KEEL_LEARNER_ONE(kind, name) +1
enum { KEEL_N_LEARNERS = 0 KEEL_LEARNERS(KEEL_LEARNER_ONE) };
#undef KEEL_LEARNER_ONE
extern const char *const keel_algorithms[]; /* [KEEL_N_LEARNERS] names, NULL */

typedef struct keel_tensor keel_tensor;
struct keel_learner_config;
struct keel_learner;
struct keel_loss_parts;
struct keel_loss;
struct keel_target_next;

/* Settings of a peer: they take the place of the defaults. */
typedef struct keel_learner_preset_row {
    const char *name;
    const char *const *settings; /* "key=value", NULL */
} keel_learner_preset_row;

/* What a learner trains and reports besides Q. */
enum { KEEL_LEARNER_EXTRAS = 2 };
typedef struct keel_learner_extras {
    size_t n_networks;
    struct {
        const char *name; /* of its parameters in checkpoints */
        keel_qnet_shape shape;
        bool acts; /* the policy is made of this network instead of Q's */
    } network[KEEL_LEARNER_EXTRAS];
    size_t n_scalars; /* single parameters without a network */
    struct {
        const char *name;
        double start;
    } scalar[KEEL_LEARNER_EXTRAS];
    const char *part[KEEL_LEARNER_EXTRAS]; /* names of keel_loss_parts.own, as metrics have them; or NULL */
    double
        support; /* the policy takes only actions whose prior is at least this share of the largest; 0: all */
} keel_learner_extras;

/* What is NULL or false below is not there. */
typedef struct keel_learner_kind {
    const char *help;                       /* one line */
    const keel_option *options;             /* all keys that it takes (rl/learn/learner_options.h), {0} */
    const keel_learner_preset_row *presets; /* {0} at the end */
    bool cost;     /* targets take one next action, so that the cost of harm can be learned of the same */
    bool imitates; /* the network that acts puts out log pi itself: the policy uses no prior, beta or
                      threshold */
    void (*extras)(const struct keel_learner_config *config, const keel_qnet_shape *q,
                   keel_learner_extras *out); /* *out is zero */
    /* KEEL_E_INVALID for a configuration that trains, but makes no policy artefact. */
    keel_status (*check_policy)(const struct keel_learner_config *config, keel_err *err);
    /* y [n, K*N] += gamma bootstrap V(s') of a shard's rows whose next decision counts (rl/learn/loss.h).
     * NULL: no Q is learned, and no reward is looked at. */
    keel_status (*next_value)(struct keel_target_next *next, float *y, keel_err *err);
    /* Weight of the cost of harm in what the policy maximises; NULL: none. */
    double (*cost_weight)(const struct keel_learner *learner);
    /* Whether the multiplier of a constraint is to move after the step just done; moves it by the held-out
     * share of conversations of danger that are answered harmfully. NULL: there is none. */
    bool (*dual_due)(const struct keel_learner *learner);
    void (*dual_step)(struct keel_learner *learner, double harm);
    /* The shard's loss out of what the frame has made (rl/learn/loss.h); NULL when an operation failed. */
    keel_tensor *(*loss)(struct keel_loss *loss);
    /* The same loss in double, from its parts as means over the batch. */
    double (*total)(const struct keel_learner *learner, const struct keel_loss_parts *parts);
    /* KEEL_E_DIVERGED, with `where`, when something of its own is out of hand after a step. */
    keel_status (*guard)(const struct keel_learner *learner, const struct keel_loss_parts *parts,
                         const char *where, keel_err *err);
} keel_learner_kind;

#define KEEL_LEARNER_KIND(kind, name) extern const keel_learner_kind keel_learn_##kind;
KEEL_LEARNERS(KEEL_LEARNER_KIND)
#undef KEEL_LEARNER_KIND
/* Of an index into keel_algorithms. */
const keel_learner_kind *keel_learner_kind_of(int algorithm);

#endif
