/* Internal header of the n-gram base, shared by its files: the model, decisions as bags of n-grams, features
 * from bags. */
#ifndef KEEL_POLICIES_NGRAM_BASE_MODEL_H
#define KEEL_POLICIES_NGRAM_BASE_MODEL_H

#include "core/ngram.h"
#include "core/params.h"
#include "policies/base.h"
#include "policies/ngram_base/kind.h"
#include "policies/ngram_base/linear_probes.h"

/* Fields of text; each is hashed with its own salt and pooled by itself. */
enum {
    KEEL_FIELD_LAST = 0,      /* the last user turn: words, runs, characters */
    KEEL_FIELD_USER = 1,      /* earlier user turns: words, runs */
    KEEL_FIELD_ASSISTANT = 2, /* earlier turns of anybody else: words, runs */
    KEEL_FIELD_ACTS = 3,      /* acts so far, by distance and by occurrence; number of turns */
    KEEL_N_STATE_FIELDS = 4,
    KEEL_FIELD_TEXT = 4, /* a candidate's text: words, runs, characters */
    KEEL_FIELD_ACT = 5,  /* its act */
    KEEL_N_FIELDS = 6,
    KEEL_N_CANDIDATE_FIELDS = 2
};

/* The linear probes (policies/ngram_base/linear_probes.h). Each learns one kind of label of the tuning split.
 */
enum {
    KEEL_PROBE_REFUSAL = 0,    /* is the candidate's text a refusal */
    KEEL_PROBE_COMPLIANCE = 1, /* is it a compliance */
    KEEL_PROBE_RISK = 2,       /* is its conversation dangerous */
    KEEL_PROBE_PREFERENCE = 3, /* is it the preferred candidate of its decision */
    KEEL_N_CANDIDATE_PROBES = 4,
    KEEL_N_STATE_PROBES = 1 /* from the last user turn: is the conversation dangerous */
};

/* Surface numbers of a candidate's text: inputs of the preference probe. The first is a feature too. */
enum {
    KEEL_EXTRA_WORDS = 0,     /* log(1 + words) */
    KEEL_EXTRA_ASKS = 1,      /* ends as a question */
    KEEL_EXTRA_QUESTIONS = 2, /* log(1 + question marks) */
    KEEL_EXTRA_OVERLAP = 3,   /* share of the last user turn's words that it repeats */
    KEEL_EXTRA_DISTINCT = 4,  /* distinct words over words */
    KEEL_EXTRA_LINES = 5,     /* log(1 + line breaks) */
    KEEL_EXTRA_DIGITS = 6,    /* has a digit */
    KEEL_N_EXTRAS = 7
};

/* Features. Candidate sets have a few numbers and no embedding: on small logs embeddings only hide the logits
 * of the probes. state [log(1 + turns)], candidate [4 logits, log words] Fixed spaces: state [hidden
 * features, risk logit, log(1 + turns)]. */
enum { KEEL_STATE_SCALARS = 2, KEEL_CANDIDATE_SCALARS = KEEL_N_CANDIDATE_PROBES + 1 };

/* Parameters beside the embedding table. Those that an action space does not use have no rows. */
enum {
    KEEL_PARAM_STATE = 0,     /* [features, 4 dim], then bias */
    KEEL_PARAM_CANDIDATE = 2, /* [features, 2 dim], then bias */
    KEEL_PARAM_RANK = 4,      /* [1, features]: how likely a response is whatever the state */
    KEEL_PARAM_ACT = 6,       /* [n_acts, features], then bias */
    KEEL_PARAM_OUTCOME = 8,   /* [3, features], then bias */
    KEEL_PARAM_RISK = 10,     /* [1, features], then bias */
    KEEL_N_NGRAM_BASE_PARAMS = 12
};

typedef struct keel_bucket {
    int32_t row;         /* or -1 */
    float log_frequency; /* log(1 + frequency) */
} keel_bucket;

typedef struct keel_ngram_base {
    keel_base base; /* first: what callers see */
    struct keel_ngram_base_config config;
    keel_ngram_rules rules;
    const char *split;                                 /* it was tuned on */
    int64_t documents[KEEL_N_FIELDS];                  /* texts of each field in the tuning split */
    size_t rows;                                       /* buckets that occurred */
    keel_bucket *bucket;                               /* [buckets] */
    int32_t *bucket_of;                                /* [rows] */
    int32_t *frequency;                                /* [rows] texts it occurred in */
    float *table;                                      /* [rows, dim] embeddings */
    keel_params params;                                /* indices as above */
    keel_linear_probes *candidate_heads, *state_heads; /* NULL where the space does not use them */
    float state_mean[KEEL_STATE_SCALARS], state_scale[KEEL_STATE_SCALARS]; /* scale: 1 / deviation */
    float candidate_mean[KEEL_CANDIDATE_SCALARS], candidate_scale[KEEL_CANDIDATE_SCALARS];
    keel_arena arena; /* owns all of it but params */
} keel_ngram_base;

/* ---- model.c ---- */

/* A model of this configuration: names and sizes, no table yet. acts are copied. */
keel_status keel__ngram_base_make(keel_ngram_base **out, const struct keel_ngram_base_config *config,
                                  keel_action_space space, const char *const *acts, size_t n_acts,
                                  keel_err *err);
/* Allocates table and maps of `rows` rows. The caller fills bucket_of, frequency and table, then calls
 * keel__ngram_base_index. */
keel_status keel__ngram_base_room(keel_ngram_base *model, size_t rows, keel_err *err);
void keel__ngram_base_index(keel_ngram_base *model); /* fills bucket */
void keel__ngram_base_close(keel_base *base);
bool keel__ngram_base_has_param(const keel_ngram_base *model, size_t index);

/* ---- bags.c ---- */

/* The n-grams of one field. Before weighing: buckets, each once. After it: rows of the table with their
 * weights; n-grams that the model does not know are left out, but count in the L2 norm of the weights. */
typedef struct keel_bag {
    size_t count;
    uint32_t *row;
    float *weight;
} keel_bag;

typedef struct keel_sample_candidate {
    keel_bag field[KEEL_N_CANDIDATE_FIELDS];
    float extra[KEEL_N_EXTRAS];
} keel_sample_candidate;

/* One decision as the model sees it. */
typedef struct keel_sample {
    keel_bag field[KEEL_N_STATE_FIELDS];
    float log_turns;
    size_t n_candidates; /* 0 in fixed spaces */
    keel_sample_candidate *candidate;
} keel_sample;

/* Reads decisions (NULL: the first n) into bags of buckets, all in the arena: out [n]. It uses the rules of
 * the model, not its weights. */
keel_status keel__ngram_base_samples(const keel_ngram_base *model, const keel_conversation *conversation,
                                     const size_t *decisions, size_t n, keel_arena *arena, keel_sample *out,
                                     keel_err *err);
/* Turns buckets into weighted rows, in place; to be called once. Linear probes and scalars read buckets, so
 * they come before it. */
void keel__ngram_base_weigh(const keel_ngram_base *model, keel_sample *sample);

/* ---- encode.c ---- */

keel_linear_probes_row keel__ngram_base_state_row(const keel_sample *sample);
keel_linear_probes_row keel__ngram_base_candidate_row(const keel_sample_candidate *candidate);
/* Rows of the linear probes, and scalar features before standardisation; of samples that are not weighed yet.
 */
void keel__ngram_base_state_scalars(const keel_ngram_base *model, const keel_sample *sample, int64_t group,
                                    float out[KEEL_STATE_SCALARS]);
void keel__ngram_base_candidate_scalars(const keel_ngram_base *model, const keel_sample_candidate *candidate,
                                        int64_t group, float out[KEEL_CANDIDATE_SCALARS]);
keel_status keel__ngram_base_encode(const keel_base *base, const keel_base_item *items, size_t n,
                                    keel_arena *scratch, keel_err *err);
keel_status keel__ngram_base_log_prob(const keel_base *base, const keel_conversation *conversation,
                                      size_t decision, const keel_candidate *candidates, size_t n,
                                      keel_arena *scratch, double *out, keel_err *err);

/* ---- file.c ---- */

keel_status keel__ngram_base_load(keel_base **out, const char *dir, keel_err *err);
keel_status keel__ngram_base_save(const keel_base *base, const char *dir, keel_err *err);

#endif
