/* What steps of compression are handed, and what they tell. */
#ifndef KEEL_POLICIES_COMPRESS_JOB_H
#define KEEL_POLICIES_COMPRESS_JOB_H

#include "core/corpus.h"
#include "core/parallel.h"
#include "policies/base.h"
#include "policies/compress/config.h"

/* What pruning left of a layer; 0: it is gone. */
typedef struct keel_compress_layer {
    size_t channels_before, channels, heads_before, heads; /* heads: of keys and values */
    double harm[3]; /* how far off the model is without the layer; with its channels, its heads alone pruned;
                       NAN where that was not measured */
} keel_compress_layer;

/* What was done, in figures whose names are static; of a base with an n-gram base beside it, of both. */
typedef struct keel_compress_report {
    double parameters_before, parameters, bytes_before, bytes; /* of weights, as they are held */
    size_t n_layers;
    keel_compress_layer *layer; /* [n_layers] where something was pruned; owned */
    size_t n_figures;
    keel_base_figure figure[KEEL_BASE_MAX_FIGURES];
} keel_compress_report;

/* All borrowed. The result depends on config and logged alone, not on the pool. */
struct keel_compress_job {
    const keel_compress_config *config;
    keel_corpus *logged; /* conversations to look at; NULL: none */
    keel_pool *pool;     /* NULL: the calling thread alone */
    keel_compress_report *report;
};

void keel_compress_report_free(keel_compress_report *report);
/* Adds a figure; one too many is left out. */
void keel_compress_tell(keel_compress_report *report, const char *name, double value);
/* KEEL_E_INTERRUPTED where somebody stops the run: asked before each text, matrix, block of tokens. */
keel_status keel_compress_go_on(keel_err *err);
/* shards of work on the job's threads; the first that fails gives the status. */
keel_status keel_compress_share(const keel_compress_job *job, size_t shards, keel_shard_work *work,
                                void *context, keel_err *err);

#endif
