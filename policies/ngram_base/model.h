/* Internal header of the n-gram base: the model. */
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
 * of the probes: state [log(1 + turns), risk logit], candidate [4 logits, log words]. Fixed spaces: state
 * [hidden features, log(1 + turns), risk logit]. */
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
    const char *split;                /* it was tuned on */
    int64_t documents[KEEL_N_FIELDS]; /* texts of each field in the tuning split */
    size_t rows;                      /* buckets that occurred */
    keel_bucket *bucket;              /* [buckets] */
    int32_t *bucket_of;               /* [rows] */
    int32_t *frequency;               /* [rows] texts it occurred in */
    float *table;                     /* [rows, dim] embeddings */
    unsigned char *packed;            /* the table at 8 bits (core/packed.h); NULL: it is whole */
    keel_params params;               /* indices as above */
    keel_linear_probes *candidate_heads, *state_heads; /* NULL where the space does not use them */
    float state_mean[KEEL_STATE_SCALARS], state_scale[KEEL_STATE_SCALARS]; /* scale: 1 / deviation */
    float candidate_mean[KEEL_CANDIDATE_SCALARS], candidate_scale[KEEL_CANDIDATE_SCALARS];
    keel_arena arena; /* owns all of it but params */
} keel_ngram_base;

/* The answers that it offers from now on; copied. */
keel_status keel__ngram_base_offer(keel_ngram_base *model, const keel_candidate *fixed, size_t n,
                                   keel_err *err);
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

#endif
