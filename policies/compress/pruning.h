/* Pruning a model in its order, as encoders and decoders have it alike: text is drawn, units are listed and
 * given their importance, prune.h decides, and what stays is cut out. */
#ifndef KEEL_POLICIES_COMPRESS_PRUNING_H
#define KEEL_POLICIES_COMPRESS_PRUNING_H

#include "core/params.h"
#include "core/tape.h"
#include "policies/compress/prune.h"
#include "policies/compress/sample.h"
#include "policies/transformer/observer.h"

typedef struct keel_pruning keel_pruning;

/* What a kind of model is to pruning. */
typedef struct keel_pruned_kind {
    keel_status (*draw)(keel_pruning *p, keel_sample *all);
    keel_status (*list)(keel_pruning *p); /* keel_prune_make and so on */
    /* The row of the matrix whose columns read units, in the model's table; and the matrix of a row. */
    size_t (*reader)(size_t layer, int kind);
    keel_matrix (*matrix)(const keel_pruning *p, size_t row);
    /* Importance by weight of what makes units, by keel_pruning_rows. */
    keel_status (*makers)(keel_pruning *p, size_t layer, int kind);
    /* Runs over p->sample for an observer. */
    keel_status (*look)(keel_pruning *p, const keel_observer *observer);
    /* Importance by gradients: sets p->trained and p->first; the gradients of one of the sample's texts,
     * which are zeros before; the model is what it was again. */
    keel_status (*begin)(keel_pruning *p);
    keel_status (*text)(keel_pruning *p, size_t text, keel_tape *tape, keel_arena *arena, float *grads);
    void (*end)(keel_pruning *p);
    /* What the model makes of p->held_out: [p->n_numbers]. */
    keel_status (*run)(keel_pruning *p, float *out);
    /* keel_prune_model.harm of a layer: by keel_pruning_off while it is without these units. */
    keel_status (*without)(keel_pruning *p, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS], double *out);
    /* How many numbers run makes; what the sum of their squared differences is divided by. */
    void (*measure)(keel_pruning *p);
    keel_status (*slice)(keel_pruning *p, const keel_layer_kept *kept, size_t n);
} keel_pruned_kind;

/* The first member of what a kind knows besides. */
struct keel_pruning {
    const keel_pruned_kind *kind;
    const keel_compress_job *job;
    size_t n_rows, wide[KEEL_N_PRUNE_KINDS]; /* rows of the model's table; columns of a reader by unit */
    keel_prune_model model;
    keel_sample held_out, sample; /* by what losses are measured; importance */
    keel_params trained; /* what gradients are laid out as, from row `first` of the model's table on */
    size_t first;
    size_t n_numbers;
    double divisor;
    float *whole; /* [n_numbers] of the whole model */
    keel_arena arena;
    keel_err *err;
};

/* Prunes by config.ratio, where it is above 0. What p holds is freed. */
keel_status keel_pruning_run(keel_pruning *p);

/* Adds to the importance of units the squares of a matrix's rows, each `wide` of each of `parts` equal parts.
 */
keel_status keel_pruning_rows(const keel_pruning *p, const keel_matrix *matrix, size_t parts, size_t wide,
                              double *importance);
/* How far what the model makes now of held-out text is from what the whole one made. */
keel_status keel_pruning_off(keel_pruning *p, double *out);

#endif
