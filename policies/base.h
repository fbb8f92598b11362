/* The base model under the policy: it encodes states and candidates, gives the prior pi_base(a | s), and may
 * write candidates. A kind of base is one folder or file and one row of keel_base_kinds
 * (policies/base_kinds.c); nothing else in Keel names a kind. A base knows neither the store nor where
 * conversations come from. */
#ifndef KEEL_POLICIES_BASE_H
#define KEEL_POLICIES_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "core/api.h"
#include "core/corpus.h"
#include "core/memory.h"
#include "core/nouns.h"
#include "core/options.h"
#include "core/parallel.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef struct keel_base keel_base;
typedef struct keel_base_kind keel_base_kind;
typedef struct keel_compress_job keel_compress_job; /* policies/compress/compress.h */

/* ---- configuration ---- */

enum { KEEL_MOST_FIXED = 64 };
#define KEEL_HAND_OVER "handover"

/* The options of every kind; first member of each kind's configuration struct. */
typedef struct keel_base_config {
    int action_space;  /* index into keel_base_spaces: 0 for auto, else a keel_action_space + 1 */
    int fixed_answers; /* index into keel_base_fixed */
    int64_t max_acts;
    int64_t memory_mb;
    int64_t seed;
    double distil, distil_temperature; /* of kinds that learn from a teacher's base */
} keel_base_config;

extern const char *const keel_base_spaces[]; /* auto, candidates, acts, outcomes; NULL-terminated */

extern const char *const keel_base_fixed[]; /* auto, none, refusal; NULL-terminated */

/* Their rows in a kind's option table: the first two at its head, the others anywhere. */
#define KEEL_BASE_OPTION_SPACE                                                                                  \
    {                                                                                                           \
        "action_space", KEEL_OPT_CHOICE, offsetof(keel_base_config, action_space), "auto", 0, 0,                \
            keel_base_spaces,                                                                                   \
            "what pi_base is over; auto: candidates if half of the conversations offer a choice, else acts if " \
            "half of the responses carry one, else candidates if half of them have text, else outcomes"         \
    }
#define KEEL_BASE_OPTION_ACTS                                                                                \
    {                                                                                                        \
        "max_acts", KEEL_OPT_INT, offsetof(keel_base_config, max_acts), "256", 1, 65536, NULL,               \
            "maximum number of distinct dialogue acts in a fixed space"                                      \
    }
#define KEEL_BASE_OPTION_FIXED                                                                               \
    {                                                                                                        \
        "fixed_answers", KEEL_OPT_CHOICE, offsetof(keel_base_config, fixed_answers), "auto", 0, 0,           \
            keel_base_fixed,                                                                                 \
            "candidate sets: answers that are offered at every decision beside its own; auto: a refusal if " \
            "fewer than half of the conversations offer a choice"                                            \
    }
#define KEEL_BASE_OPTION_MEMORY                                                                              \
    {                                                                                                        \
        "memory_mb", KEEL_OPT_INT, offsetof(keel_base_config, memory_mb), "256", 1, 1000000, NULL,           \
            "megabytes of what is read from the store that stay in memory; the rest is read again"           \
    }
#define KEEL_BASE_OPTION_SEED                                                                                \
    {                                                                                                        \
        "seed", KEEL_OPT_INT, offsetof(keel_base_config, seed), "1", 0, 9007199254740991, NULL,              \
            "seed of every random draw"                                                                      \
    }
/* Of kinds that learn from a teacher's base (keel_base_kind.distils). */
#define KEEL_BASE_OPTION_DISTIL                                                                                \
    {                                                                                                          \
        "distil", KEEL_OPT_REAL, offsetof(keel_base_config, distil), "0.5", 0, 1, NULL,                        \
            "with --teacher-base: share of the loss that is what the teacher says, the rest what the log says" \
    }
#define KEEL_BASE_OPTION_TEMPERATURE                                                                         \
    {                                                                                                        \
        "distil_temperature", KEEL_OPT_REAL, offsetof(keel_base_config, distil_temperature), "1", 0.05, 100, \
            NULL,                                                                                            \
            "with --teacher-base: logits of teacher and student are divided by it (Hinton et al. 2015)"      \
    }

/* ---- tuning ---- */

typedef struct keel_base_figure {
    const char *name; /* static */
    double value;
} keel_base_figure;

enum { KEEL_BASE_MAX_CHECKPOINTS = 8, KEEL_BASE_MAX_FIGURES = 16 };

/* What keel_sft hands to a kind, all of it borrowed. The result must depend on corpus, config, from and space
 * alone, not on the pool, nor on interruptions. */
typedef struct keel_base_tuning {
    keel_corpus *corpus;
    const keel_base_config *config; /* the kind's own configuration, of which this is the first member */
    const keel_base *from;          /* a base of this kind to go on from; NULL: start anew */
    const char *model; /* the model that the kind starts from, the folder of `from` too; or NULL */
    const keel_base *teacher_base; /* what it says is learned, config->distil of the loss; or NULL. Of any
                                      kind: whether it fits is for the kind to say, by name */
    keel_action_space space;
    const char *const *acts; /* [n_acts] of a fixed space */
    size_t n_acts;
    const keel_candidate *fixed; /* [n_fixed] answers that the base is to offer */
    size_t n_fixed;
    bool taught;          /* the corpus says what a teacher would have said (policies/teacher.h) */
    const char *identity; /* 64 hex digits over all that the result depends on, for checkpoints */
    const char *checkpoint[KEEL_BASE_MAX_CHECKPOINTS]; /* a path for each of kind->checkpoints */
    const char *metrics_path;                          /* JSON Lines; NULL: none */
    keel_pool *pool;
} keel_base_tuning;

/* What a kind reports of its tuning: the parts of the loss at the end, and other figures. */
typedef struct keel_base_report {
    size_t n_losses, n_figures;
    keel_base_figure loss[KEEL_BASE_MAX_FIGURES], figure[KEEL_BASE_MAX_FIGURES];
} keel_base_report;

/* ---- encoding, writing, judging ---- */

/* Decisions of one conversation to be encoded. */
typedef struct keel_base_item {
    const keel_conversation *conversation;
    const size_t *decision; /* [n] ascending places in conversation->decisions; NULL: the first n */
    size_t n;
    keel_features *features; /* [n] to be filled; what they point to lies in the scratch arena */
} keel_base_item;

typedef struct keel_proposal_config {
    uint64_t seed;           /* the same request and seed give the same texts */
    size_t max_tokens;       /* of one candidate */
    double temperature;      /* 1: sampled from pi_base; towards 0: its most likely text */
    double top_p;            /* (0, 1]: sampled from the most likely tokens that hold so much probability */
    size_t top_k;            /* sampled from so many most likely tokens; 0: from all */
    double min_p;            /* [0, 1]: not from tokens below so much of the most likely one's probability */
    const char *instruction; /* what the assistant is told besides, for example to refuse politely; or NULL */
    keel_pool *pool;         /* borrowed; NULL: the calling thread alone. No bit depends on it */
} keel_proposal_config;

/* A candidate that a base wrote. */
typedef struct keel_proposal {
    const char *text; /* UTF-8, in the arena */
    double
        log_prob; /* natural logarithm of the probability with which its tokens were drawn, by temperature,
                     top_p, top_k and min_p: not that of pi_base, but at temperature 1 without the others */
    bool ended;   /* false: cut at max_tokens */
} keel_proposal;

/* Candidates to be written at one decision. */
typedef struct keel_proposal_item {
    const keel_conversation *conversation;
    size_t decision;         /* its place in conversation->decisions */
    size_t n;                /* how many are wanted */
    keel_proposal *proposal; /* [n] to be filled */
} keel_proposal_item;

/* How likely the responses are that the assistant gave: the sum of ln p(token | all before it) over their
 * tokens. A response without a token does not count. */
typedef struct keel_base_said {
    double log_prob;
    size_t tokens, responses;
} keel_base_said;

/* A word of a text, and what it adds to a logit. */
typedef struct keel_base_word {
    const char *text;
    double part;
} keel_base_word;

/* What a base reads in the words of one text: a logit, and the words it comes from. logit = rest + the sum of
 * all parts. */
typedef struct keel_base_evidence {
    const char *about; /* static: what is the likelier the higher the logit; NULL: the base says nothing */
    double logit, rest;
    size_t n;
    const keel_base_word *word; /* [n] each word once, the largest part in size first; in the arena */
} keel_base_evidence;

/* What a base says of a decision in the terms of labels: what a student learns from it. Of what the base was
 * tuned on, and where its features are crossed, it is what parts of it say that were tuned without it. */
typedef struct keel_base_opinion {
    float risk;             /* log odds that the conversation is dangerous; NAN: it says nothing */
    const float *log_prior; /* [n_actions] ln pi_base: keel_base_n_actions; NULL: it says nothing */
    const float *outcomes;  /* [n_candidates, 2] log odds of refusal, and of compliance, of the decision's own
                               candidates; NULL: it says nothing */
    const float *vector; /* [vector_width of the base] of the state; NULL where it was tuned on the state */
} keel_base_opinion;

/* A vector of any length by its dimensions, each once, in any order. */
typedef struct keel_sparse_vector {
    size_t n;
    const int32_t *dim;  /* [n] */
    const float *weight; /* [n] */
} keel_sparse_vector;

/* Where a state lies among others: a sparse unit vector, or nothing. */
enum { KEEL_PLACE_MOST = 256 };
typedef struct keel_place {
    size_t n;
    int32_t dim[KEEL_PLACE_MOST]; /* rising */
    float weight[KEEL_PLACE_MOST];
} keel_place;

/* ---- kinds ---- */

/* Calls from several threads at once must be safe for encode, propose and log_prob: everything mutable is in
 * the scratch arena, which each thread has for itself. What a kind cannot do is NULL. */
struct keel_base_kind {
    const char *type;               /* its name in keel.json and for --base */
    const char *alias;              /* another name for --base, or NULL */
    const keel_option *options;     /* of tuning; table over the configuration struct */
    size_t config_size;             /* of that struct */
    const char *const *shape;       /* keys of options that weights depend on: fixed once a base is made;
                                       NULL-terminated */
    const char *const *checkpoints; /* suffixes of its checkpoint files, at most KEEL_BASE_MAX_CHECKPOINTS,
                                       NULL-terminated */
    bool prunes;                    /* it has layers: compress takes ratio and sensitive_share */
    /* Whether the path, which is no artefact, holds a model that the kind starts from: a folder, or a .gguf
     * file. The first kind that says so takes it. NULL: it starts from nothing. */
    keel_status (*starts_from)(const char *path, bool *out, keel_err *err);
    bool needs_model; /* it starts from nothing else */
    bool distils;     /* it learns from a teacher's base (tuning->teacher_base); its options have distil and
                         distil_temperature */
    /* A base of a model as it came, over candidate sets; its hash is not the kind's. NULL: a model has to be
     * tuned first. */
    keel_status (*open)(keel_base **out, const char *path, keel_err *err);
    /* Makes a base from a corpus; interruptible (KEEL_E_INTERRUPTED), and goes on from its checkpoints. */
    keel_status (*tune)(const keel_base_tuning *tuning, keel_base **out, keel_base_report *report,
                        keel_err *err);
    /* Reads what save wrote. The files are as they were written, but hostile until checked. */
    keel_status (*load)(keel_base **out, const char *dir, keel_err *err);
    /* Writes the base's files into the folder, which is there; keel.json is not the kind's. */
    keel_status (*save)(const keel_base *base, const char *dir, keel_err *err);
    /* Makes the base smaller and faster, in place: another base with the same features in the same order.
     * After an error it is of no use but to be closed. NULL: it cannot be. */
    keel_status (*compress)(keel_base *base, const keel_compress_job *job, keel_err *err);
    /* The same of a model as it came, whose smaller one is written into a folder that is there. NULL: it has
     * to be tuned first. */
    keel_status (*compress_model)(const char *path, const char *dir, const keel_compress_job *job,
                                  keel_err *err);
    /* All decisions of all items, in one batch. The features of a decision must not depend on what else is in
     * the batch. */
    keel_status (*encode)(const keel_base *base, const keel_base_item *items, size_t n, keel_arena *scratch,
                          keel_err *err);
    keel_status (*propose)(const keel_base *base, const keel_proposal_item *items, size_t n,
                           const keel_proposal_config *config, keel_arena *scratch, keel_err *err);
    /* NULL: by encode, whose prior is over the given candidates. */
    keel_status (*log_prob)(const keel_base *base, const keel_conversation *conversation, size_t decision,
                            const keel_candidate *candidates, size_t n, keel_arena *scratch, double *out,
                            keel_err *err);
    /* NULL: it is no model of texts. */
    keel_status (*likelihood)(const keel_base *base, const keel_conversation *conversation,
                              keel_base_said *out, keel_err *err);
    /* action: of the decision, or SIZE_MAX for its state. */
    keel_status (*evidence)(const keel_base *base, const keel_conversation *conversation, size_t decision,
                            size_t action, keel_arena *arena, keel_base_evidence *out, keel_err *err);
    /* Of all decisions of the conversation, out [n_decisions]; what they point to lies in the scratch arena.
     * NULL: it is no teacher. */
    keel_status (*opinion)(const keel_base *base, const keel_conversation *conversation, keel_arena *scratch,
                           keel_base_opinion *out, keel_err *err);
    /* Where the state of a decision lies among others, in the scratch arena. Texts with nothing in common are
     * at right angles. seen: the base was tuned on this decision, and is to say what it would say had it not
     * been. NULL: the state features serve. */
    keel_status (*place)(const keel_base *base, const keel_conversation *conversation, size_t decision,
                         bool seen, keel_arena *scratch, keel_sparse_vector *out, keel_err *err);
    void (*close)(keel_base *base);
};

extern const keel_base_kind *const keel_base_kinds[]; /* NULL-terminated */

/* What every base shows; first member of each kind's struct. */
struct keel_base {
    const keel_base_kind *kind;
    const keel_base_config *config; /* it was tuned with, as far as its files say; of config_size bytes */
    char hash[65];
    keel_action_space space; /* what pi_base is a distribution over: fixed when the base was tuned */
    size_t n_acts;           /* fixed spaces: number of acts; 0 for candidate sets */
    const char **acts;       /* names, in order of index (outcome names for KEEL_SPACE_OUTCOMES) */
    size_t state_dim, candidate_dim;
    size_t vector_width; /* of keel_base_opinion.vector; 0: it has none */
    /* Whether the features of what it was tuned on come from parts that were tuned without it, so that they
     * are no better than those of what is new. */
    bool crossed;
    /* Candidate sets: answers that it offers at every decision, as actions after the decision's candidates:
     * action n_candidates + i is fixed[i]. Text, outcome and act alone. */
    size_t n_fixed;
    const keel_candidate *fixed;
    /* An n-gram base that the kind put beside its model (policies/beside.h), or NULL: places and evidence are
     * its, and it is closed, and made smaller, with the base. */
    keel_base *beside;
};

/* spec: the name of a kind, the folder of a base, or a model that a kind starts from.
 * KEEL_E_NOT_FOUND lists the names. */
keel_status keel_base_find_kind(const char *spec, const keel_base_kind **out, keel_err *err);
/* Of what is there alone, a base or a model: the names of kinds, of which new bases are made, are none. */
keel_status keel_base_find_made(const char *spec, const keel_base_kind **out, keel_err *err);
/* Whether spec is the name of a kind, so that tuning starts anew. */
bool keel_base_is_kind(const char *spec);
/* Whether spec, whose kind was found, is a model that tuning starts from: no artefact. */
bool keel_base_is_model(const char *spec);

keel_status keel_base_load(keel_base **out, const char *dir, keel_err *err);
/* The same of a folder that `keel sft` wrote or of a model as it came, where its kind can do with one; its
 * hash is then that of the model's files. */
keel_status keel_base_open(keel_base **out, const char *path, keel_err *err);
/* SHA-256 over the names and contents of the files that a model is read from. */
keel_status keel_base_hash_model(const char *path, char hash[65], keel_err *err);
void keel_base_close(keel_base *base); /* NULL is harmless */

/* ---- use ---- */

/* State and candidate features and log pi_base of each decision, those of fixed answers last. A fixed answer
 * that is one of the decision's candidates too is that candidate: as itself it has log pi_base -INFINITY. A
 * base reads turns before the decision, candidates' texts and acts; never labels, models, risk or rewards. In
 * candidate sets a decision without candidates and fixed answers is KEEL_E_INVALID. */
keel_status keel_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                             keel_arena *scratch, keel_err *err);
/* One decision of one conversation. */
keel_status keel_base_encode_decision(const keel_base *base, const keel_conversation *conversation,
                                      size_t decision, keel_arena *scratch, keel_features *out,
                                      keel_err *err);
/* The place of a decision's state (policies/familiar.h). It reads turns before the decision alone. Of more
 * than KEEL_PLACE_MOST dimensions those with the least hashes stay, the same in every place. seen: the base
 * was tuned on this decision, and is to forget it. features: the decision's, where they are at hand; else
 * NULL. */
keel_status keel_base_place(const keel_base *base, const keel_conversation *conversation, size_t decision,
                            const keel_features *features, bool seen, keel_arena *scratch, keel_place *out,
                            keel_err *err);
/* Number of actions at the decision: its candidates and the fixed answers, or the acts. */
size_t keel_base_n_actions(const keel_base *base, const keel_decision *decision);
/* Whether the base can encode the decision: in candidate sets, whether it has candidates or fixed answers. */
bool keel_base_can_encode(const keel_base *base, const keel_decision *decision);

/* KEEL_E_UNSUPPORTED for a kind that cannot be made smaller. */
keel_status keel_base_compress(keel_base *base, const keel_compress_job *job, keel_err *err);

/* Writes candidates at each item's decision. KEEL_E_UNSUPPORTED for a kind that writes none. */
keel_status keel_base_propose(const keel_base *base, const keel_proposal_item *items, size_t n,
                              const keel_proposal_config *config, keel_arena *scratch, keel_err *err);

/* out [n]: log pi_base of each candidate at the decision, whatever candidates the decision has itself. In
 * candidate sets pi_base is over these n candidates; in fixed spaces over the acts or outcomes, and a
 * candidate without a known one is KEEL_E_INVALID. */
keel_status keel_base_log_prob(const keel_base *base, const keel_conversation *conversation, size_t decision,
                               const keel_candidate *candidates, size_t n, keel_arena *scratch, double *out,
                               keel_err *err);

/* How likely the taken candidates of all decisions are to the base, token by token. KEEL_E_UNSUPPORTED for a
 * kind that is no model of texts. */
keel_status keel_base_likelihood(const keel_base *base, const keel_conversation *conversation,
                                 keel_base_said *out, keel_err *err);

/* What the base reads in the last user turn before the decision (action SIZE_MAX), or in the text of an
 * action. about is NULL where it reads nothing. */
keel_status keel_base_evidence_of(const keel_base *base, const keel_conversation *conversation,
                                  size_t decision, size_t action, keel_arena *arena, keel_base_evidence *out,
                                  keel_err *err);

/* Index of an act in a fixed space, or -1. */
int32_t keel_base_act_index(const keel_base *base, const char *act);
/* Index of the candidate's act or outcome in a fixed space, or -1. */
int32_t keel_base_action_index(const keel_base *base, const keel_candidate *candidate);

KEEL_END_DECLS

#endif
