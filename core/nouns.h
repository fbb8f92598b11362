/* The shared nouns: what a conversation, a turn, a decision, a candidate and a transition are. Plain structs;
 * importers fill them, the store keeps them, every other room reads them. Strings are UTF-8, NUL-terminated,
 * owned by the arena (or caller) that made the struct; NULL means absent. "Absent" is always a flag or NULL,
 * never a magic number. */
#ifndef KEEL_CORE_NOUNS_H
#define KEEL_CORE_NOUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/api.h"

KEEL_BEGIN_DECLS

typedef enum keel_risk { KEEL_RISK_UNKNOWN = 0, KEEL_RISK_BENIGN = 1, KEEL_RISK_DANGEROUS = 2 } keel_risk;

typedef enum keel_role {
    KEEL_ROLE_SYSTEM = 0,
    KEEL_ROLE_USER = 1,
    KEEL_ROLE_ASSISTANT = 2,
    KEEL_ROLE_TOOL = 3
} keel_role;

/* What a candidate is judged to be. NONE: nobody judged it yet. */
typedef enum keel_outcome {
    KEEL_OUTCOME_NONE = 0,
    KEEL_OUTCOME_COMPLIANCE = 1,
    KEEL_OUTCOME_PARTIAL = 2,
    KEEL_OUTCOME_REFUSAL = 3,
    KEEL_N_OUTCOMES = 3 /* judged ones */
} keel_outcome;

/* Who judged, in rising authority: a label never replaces one of higher authority. */
typedef enum keel_authority {
    KEEL_AUTHORITY_NONE = 0,
    KEEL_AUTHORITY_MODEL = 1,
    KEEL_AUTHORITY_RULE = 2,
    KEEL_AUTHORITY_HUMAN = 3
} keel_authority;

typedef enum keel_tri { KEEL_UNKNOWN = -1, KEEL_NO = 0, KEEL_YES = 1 } keel_tri;

/* The reward vector's components: X(ID, name, default weight in the composite, lowest, highest value). The
 * name is the key in logs and artefacts, the store's column, and the name of the metric; with "weight_"
 * before it, that of the option. A new component is one row here, one migration that adds its column to
 * candidates and transitions (datasets/schema.c), and its formula (rewards/reward.c). */
#define KEEL_REWARDS(X)                                                                                      \
    X(ACCURACY, accuracy, 0.6, -1, 1)                                                                        \
    X(SPEED, speed, 0.3, -1, 1)                                                                              \
    X(SAFETY, safety, 0.1, -1, 1)

#define KEEL_REWARD_ID(id, name, weight, low, high) KEEL_##id,
enum { KEEL_REWARDS(KEEL_REWARD_ID) KEEL_N_REWARDS };
#undef KEEL_REWARD_ID
/* "accuracy", "speed", "safety", for tables of names: with a comma after each. */
#define KEEL_REWARD_NAME(id, name, weight, low, high) #name,
#define KEEL_REWARD_NAMES                             KEEL_REWARDS(KEEL_REWARD_NAME)

typedef struct keel_reward {
    float value[KEEL_N_REWARDS];
    bool present[KEEL_N_REWARDS]; /* an absent component is not zero */
} keel_reward;

typedef struct keel_optional {
    bool present;
    double value;
} keel_optional;

typedef struct keel_turn {
    keel_role role;
    const char *text;         /* "" if the turn has only an act */
    const char *model;        /* who wrote it, or NULL */
    const char *act;          /* dialogue act, or NULL */
    keel_optional latency_ms; /* time taken */
} keel_turn;

/* One possible response at a decision. */
typedef struct keel_candidate {
    int64_t id; /* row in the store; 0 before it is stored */
    const char *text;
    const char *act;
    const char *model;
    bool taken;               /* given to a user in the log */
    keel_optional propensity; /* logged probability of taking it, in (0, 1] */
    keel_optional latency_ms; /* >= 0 */
    keel_optional feedback;   /* in [-1, 1]: thumbs, preference, task success of this response */
    keel_reward
        logged_reward;    /* reward components given by the log itself; they override the computed ones */
    keel_outcome outcome; /* the winning label */
    keel_authority judge; /* who gave it */
} keel_candidate;

/* The point before an assistant turn. Its state is turns[0 .. turn) of the conversation. */
typedef struct keel_decision {
    int64_t id;
    size_t turn; /* index of the assistant turn it precedes; n_turns for a decision still to be taken */
    size_t n_candidates;
    keel_candidate *candidates; /* what was said next, then by model, then as they came; several
                                   are taken when several models answered */
} keel_decision;

typedef struct keel_conversation {
    int64_t id;
    const char
        *source; /* format and file family it came from: "chat", "hh-rlhf", "sgd", "xstest", "simulator" */
    const char *external_id; /* its name in the log; unique within a source */
    const char *split;       /* never NULL once stored */
    const char *group; /* conversations of one group never straddle a split or fold; NULL: itself alone */
    keel_risk risk;
    keel_tri completed;
    bool truncated; /* cut off rather than ended: its last transition is not terminal */
    size_t n_turns;
    keel_turn *turns;
    size_t n_decisions;
    keel_decision *decisions; /* ascending by turn */
    const char *meta;         /* JSON object of everything else the log said, or NULL */
} keel_conversation;

/* The name of its group: the one it says, or its own; never NULL. */
const char *keel_conversation_group(const keel_conversation *conversation);
/* Names of groups by prompt (datasets/dedupe.h) begin so: where the split is Keel's, conversations of all
 * sources are in them; where the log gives it, those of one source and split. Any other group is of one
 * source too. */
#define KEEL_GROUP_ASKED  "asked:"
#define KEEL_GROUP_PROMPT "prompt:"
bool keel_group_of_all_sources(const char *group);
/* Hash of its source and group, of a group of all sources that of the group alone, >= 0: folds are hash % N.
 */
int64_t keel_conversation_group_hash(const keel_conversation *conversation);
/* Hash of its source and external_id. */
uint64_t keel_conversation_name_hash(const keel_conversation *conversation);

/* Features of one decision under one base. state [state_dim]; candidates [n_candidates, candidate_dim] in the
 * decision's order (NULL in fixed action spaces); log_prior [n_actions] = log pi_base, n_actions =
 * n_candidates or the number of acts. */
typedef struct keel_features {
    size_t state_dim, candidate_dim, n_candidates, n_actions;
    const float *state;
    const float *candidates;
    const float *log_prior;
} keel_features;

/* One taking of a candidate. */
typedef struct keel_transition {
    int64_t id;
    int64_t decision_id;
    int64_t candidate_id;
    keel_reward reward;
    int64_t next_decision_id; /* 0: none */
    bool terminal;            /* the conversation ended here */
    bool truncated; /* it was cut off here: bootstraps if there is a next decision, else is left out of TD */
} keel_transition;

/* What the policy chooses among. */
typedef enum keel_action_space {
    KEEL_SPACE_CANDIDATES = 0, /* the decision's own candidates */
    KEEL_SPACE_ACTS = 1,       /* a fixed set of dialogue acts */
    KEEL_SPACE_OUTCOMES = 2    /* comply, answer in part, refuse: for plain logs of one response a decision */
} keel_action_space;

/* Whether one of the candidates [n] says what this one says: the same text and act. NULL is the empty text.
 */
bool keel_candidate_among(const keel_candidate *candidates, size_t n, const keel_candidate *one);

/* Names as they stand in files and on the command line; the parsers return false for an unknown name. */
const char *keel_risk_name(keel_risk risk);
const char *keel_role_name(keel_role role);
const char *keel_outcome_name(keel_outcome outcome);
const char *keel_authority_name(keel_authority authority);
const char *keel_space_name(keel_action_space space);
const char *keel_reward_name(int component);         /* "accuracy", "speed", "safety" */
int keel_reward_find(const char *name);              /* component, or KEEL_N_REWARDS for an unknown name */
const double *keel_reward_range(int component);      /* lowest and highest value */
bool keel_reward_within(int component, float value); /* that range; false for NaN */
extern const char *const keel_reward_list;           /* all names: "accuracy, speed, safety" */
bool keel_risk_parse(const char *name, keel_risk *out);
bool keel_outcome_parse(const char *name, keel_outcome *out);
bool keel_authority_parse(const char *name, keel_authority *out); /* not of "none" */
bool keel_space_parse(const char *name, keel_action_space *out);

KEEL_END_DECLS

#endif
