/* Structured pruning: which channels of feed-forward layers, attention heads and layers go, whatever the
 * model (prune_llama.h, prune_bert.h). What is left is dense.
 *
 * Every unit has an importance: about how much is lost without it, so that importances add up. The share of
 * the parameters that goes is spread evenly, so that all layers stay alike; or by sensitivity: each layer is
 * pruned alone, as the even spread would, and how far off that takes it on held-out text, over the importance
 * that went, makes importances of layers comparable; then the cheapest units go, by importance over
 * parameters, wherever they are. */
#ifndef KEEL_POLICIES_COMPRESS_PRUNE_H
#define KEEL_POLICIES_COMPRESS_PRUNE_H

#include "policies/compress/job.h"
#include "policies/transformer/layer_kept.h"

/* Bits of config.prune + 1; config.importance; config.spread. */
enum { KEEL_PRUNE_CHANNELS = 1, KEEL_PRUNE_GROUPS = 2, KEEL_PRUNE_LAYERS = 4 };
enum { KEEL_IMPORTANCE_WEIGHT, KEEL_IMPORTANCE_ACTIVATION, KEEL_IMPORTANCE_TAYLOR };
enum { KEEL_SPREAD_EVEN, KEEL_SPREAD_SENSITIVITY };

enum { KEEL_PRUNE_BLOCK = 32 }; /* channels go by so many, so that number formats of 32 columns still fit */

typedef enum keel_prune_kind { KEEL_PRUNE_CHANNEL, KEEL_PRUNE_HEAD, KEEL_N_PRUNE_KINDS } keel_prune_kind;

/* Channels, or heads (of a decoder: a head of keys and values with those that read it), of one layer. */
typedef struct keel_prune_units {
    size_t n, step;     /* they go by so many at a time; one step at least stays, or what does not fill it */
    double *importance; /* [n] */
    double parameters;  /* of each */
    uint32_t *order;    /* [n] the least important first; the first `gone` of them go */
    size_t gone;
    double harm; /* how far off the model is if these alone go as the even spread has it; NAN: not measured */
} keel_prune_units;

typedef struct keel_prune_layer {
    keel_prune_units units[KEEL_N_PRUNE_KINDS];
    double rest; /* parameters that go with the whole layer alone */
    bool gone;
    double harm; /* of the whole layer, where layers may go: by config.importance=weight its importance */
} keel_prune_layer;

typedef struct keel_prune_model {
    size_t n;
    keel_prune_layer *layer; /* [n] */
    double parameters;       /* of all but embeddings and heads of vocabularies */
    /* How far off the whole model it is on held-out text without the first `gone` units of each kind of the
     * layer, 0 or more. Before the first call, one with layer SIZE_MAX for the whole model. */
    keel_status (*harm)(void *context, size_t layer, const size_t gone[KEEL_N_PRUNE_KINDS], double *out,
                        keel_err *err);
    void *context;
    keel_arena *arena;
} keel_prune_model;

/* Makes model->layer [n], units with importances 0; in the arena. */
keel_status keel_prune_make(keel_prune_model *model, size_t n, keel_arena *arena, keel_err *err);
keel_status keel_prune_set_units(keel_prune_model *model, size_t layer, keel_prune_kind kind, size_t n,
                                 size_t step, double parameters, keel_err *err);
/* Whether logged text is looked at. */
bool keel_prune_looks(const keel_compress_config *config);
/* Sets what goes. KEEL_E_INVALID: so much cannot go, or nothing would. */
keel_status keel_prune_decide(keel_prune_model *model, const keel_compress_config *config, keel_err *err);
/* The layers that stay, and what stays of them: [*n] in the arena. */
keel_status keel_prune_kept(const keel_prune_model *model, keel_layer_kept **out, size_t *n, keel_err *err);
/* What went, layer by layer and in all, for the report. */
keel_status keel_prune_tell(const keel_prune_model *model, keel_compress_report *report, keel_err *err);

/* ---- parts ---- */

/* Steps that can go one after the other, of one kind in one layer. */
typedef struct keel_prune_part {
    size_t n;           /* steps */
    const double *cost; /* [n] of each step, by parameter, rising */
    double parameters;  /* of a step */
    size_t gone;        /* out */
} keel_prune_part;
/* Takes the cheapest steps until `parameters` have gone, as near as a step comes; ties go to the first part.
 */
void keel_prune_cheapest(keel_prune_part *part, size_t n, double parameters);

#endif
