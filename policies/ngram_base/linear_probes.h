/* Linear probes, cross-fitted: several L2-regularised logistic regressions ("heads") on the same sparse
 * binary rows (hashed n-grams). Each learns from labels, which may be missing, or from pairs of which one row
 * is better.
 *
 *   x = presence * idf over its L2 norm,  idf = ln((1 + rows) / (1 + rows with it)) + 1;  z = w . x + b
 *
 * by core/logistic.h: labelled heads have the bias, ranking heads the dense numbers of a row, scaled to unit
 * deviation.
 *
 * Each is fitted folds + 1 times: on all rows, and without the rows of each fold of groups. Rows of a group
 * that took part in fitting get the logits of the weights that did not see their fold; other rows get those
 * of the weights fitted on all rows. So a feature learned from labels has the same quality on the tuning
 * split and on new text.
 *
 * Call order: builder_open, add for every decision, fit, builder_close; then logits from any thread.
 * The same decisions, configuration and seed give the same bits, whatever the order of adds and the pool's
 * size. */
#ifndef KEEL_POLICIES_NGRAM_BASE_LINEAR_PROBES_H
#define KEEL_POLICIES_NGRAM_BASE_LINEAR_PROBES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/logistic.h"
#include "core/nouns.h"
#include "core/parallel.h"
#include "core/safetensors.h"
#include "core/status.h"

enum {
    KEEL_LINEAR_PROBES_MAX = KEEL_LOGISTIC_LANES,
    KEEL_LINEAR_PROBES_TENSORS = 7,
    KEEL_LINEAR_PROBES_MAX_FOLDS = 16
};

typedef struct keel_linear_probes_config {
    size_t n_ids;   /* ids of a row are below it */
    size_t n_dense; /* dense numbers of a row; 0: none */
    size_t n_heads; /* 1 .. KEEL_LINEAR_PROBES_MAX */
    struct {
        double lambda; /* > 0 */
        bool ranks;    /* learns from pairs, not from labels */
    } head[KEEL_LINEAR_PROBES_MAX];
    size_t folds;       /* 2 .. KEEL_LINEAR_PROBES_MAX_FOLDS */
    size_t iterations;  /* maximum, of accelerated gradient descent */
    size_t max_entries; /* maximum of ids over all rows; above it whole decisions are dropped at random */
    uint64_t seed;      /* of that draw */
    double distil;      /* share of a teacher in the loss of rows that have a label too */
    double temperature; /* > 0 */
} keel_linear_probes_config;
/* Folds 5, iterations 150, 8 million entries, lambda 1, no dense numbers, distil 0.5, temperature 1; set
 * n_ids, n_heads and the rest. */
extern const keel_linear_probes_config keel_linear_probes_standard;

/* One row: a text. All borrowed until the call returns. */
typedef struct keel_linear_probes_row {
    const uint32_t *id; /* [n_ids], each once, any order */
    size_t n_ids;
    const float *dense; /* [config.n_dense] */
    keel_tri
        label[KEEL_LINEAR_PROBES_MAX]; /* of labelled heads; ignored for ranking heads and beyond n_heads */
    /* Of labelled heads what a teacher says: its log odds, NAN where it says nothing. NULL: no teacher. */
    const float *taught; /* [n_heads] */
} keel_linear_probes_row;

/* Rows `better` and `worse` of the same add, for a ranking head. */
typedef struct keel_linear_probes_pair {
    uint32_t head, better, worse;
} keel_linear_probes_pair;

typedef struct keel_linear_probes_builder keel_linear_probes_builder;
typedef struct keel_linear_probes keel_linear_probes;

keel_status keel_linear_probes_builder_open(keel_linear_probes_builder **out,
                                            const keel_linear_probes_config *config, keel_err *err);
void keel_linear_probes_builder_close(keel_linear_probes_builder *builder); /* NULL is harmless */
/* The rows of one decision with their pairs. name: a hash that identifies the decision; rows are ordered and
 * dropped by it, so the order of calls does not matter. group: keel_conversation_group_hash of its
 * conversation. A decision without any label or pair is left out. Ids out of range are KEEL_E_INVALID. */
keel_status keel_linear_probes_add(keel_linear_probes_builder *builder, uint64_t name, int64_t group,
                                   const keel_linear_probes_row *rows, size_t n_rows,
                                   const keel_linear_probes_pair *pairs, size_t n_pairs, keel_err *err);

/* Fits all sets of weights, folds + 1 shards of the pool. A head that has not both labels (or no pairs) in
 * one of the sets is not fitted: its logit is 0. KEEL_E_INTERRUPTED when the interrupt flag is set. Finished
 * sets are saved in the file `checkpoint` (NULL: none), which stays; a later call with the same identity
 * reads them instead of fitting them again. identity: 64 hex digits over all that rows and configuration are
 * made from. */
keel_status keel_linear_probes_fit(keel_linear_probes_builder *builder, keel_pool *pool,
                                   const char *checkpoint, const char *identity, keel_linear_probes **out,
                                   keel_err *err);
void keel_linear_probes_close(keel_linear_probes *heads); /* NULL is harmless */

/* Logits [n_heads] of one row, whose labels are not read, by the weights that did not see the group. Ids out
 * of range count as unknown. Thread-safe. */
void keel_linear_probes_logits(const keel_linear_probes *heads, const keel_linear_probes_row *row,
                               int64_t group, float *logits);

/* The same logit of one head taken apart: part[i] of row->id[i], for [n_ids] of them, and what the row's
 * n-grams do not give. rest + their sum is the logit. A logit is linear, so these are Shapley values too,
 * against a row of the same norm without them. false, and zeros, for a head that was not fitted. */
bool keel_linear_probes_parts(const keel_linear_probes *heads, const keel_linear_probes_row *row,
                              int64_t group, size_t head, double *part, double *rest);

/* Rounds the weights of ids to 8 bits, a scale for each head of each set; biases and those of dense numbers
 * stay as they are. NULL is harmless. */
keel_status keel_linear_probes_pack(keel_linear_probes *heads, keel_err *err);
/* Weights, and the bytes that they take on disk; 0 for NULL. */
double keel_linear_probes_parameters(const keel_linear_probes *heads);
double keel_linear_probes_bytes(const keel_linear_probes *heads);

/* As tensors "<prefix>.id", ".idf", ".weight", ".dense", ".fitted", ".group": only ids that occurred; packed,
 * instead of ".weight": ".weight.int8" and, of what is not packed, ".rest". Names are made in the arena; data
 * point into heads. *count <= KEEL_LINEAR_PROBES_TENSORS. */
keel_status keel_linear_probes_tensors(const keel_linear_probes *heads, const char *prefix, keel_arena *arena,
                                       keel_named_tensor out[KEEL_LINEAR_PROBES_TENSORS], size_t *count,
                                       keel_err *err);
/* From a file, which is hostile until checked: types, shapes, ids below n_ids and each once, ascending
 * groups, finite numbers. Anything else is KEEL_E_INVALID, naming the tensor. */
keel_status keel_linear_probes_load(keel_linear_probes **out, const keel_safetensors *file,
                                    const char *prefix, size_t n_ids, size_t n_heads, size_t n_dense,
                                    keel_err *err);

#endif
