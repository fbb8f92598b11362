/* Training the encoder: minibatches of conversations, cut into shards; AdamW on the layers, plain gradient
 * descent on the embeddings as in fastText (Joulin et al. 2017). The order of an epoch and the random draws
 * of an update depend only on the seed and on its number, so that a checkpoint holds parameters, moments and
 * the number of updates. */
#include <math.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/progress.h"
#include "core/sharded_step.h"
#include "policies/ngram_base/train.h"

typedef struct training {
    keel_tuning *tuning;
    keel_ngram_base *model;
    size_t batch, shard, n_shards; /* conversations of a batch and a shard; shards of a full batch */
    uint64_t updates, total, per_epoch;
    size_t *order;        /* [count] of the current epoch */
    uint64_t order_epoch; /* + 1; 0: none yet */
    keel_example_reader reader;
    keel_ngram_base_shard *shards; /* [n_shards] */
    keel_ngram_base_batch current;
    size_t current_shards;
    keel_sharded_step *step; /* of the layers */
    keel_adam layers;
    float mean[KEEL_N_LOSSES]; /* running means */
} training;

/* ---- life ---- */

static void close_shard(keel_ngram_base_shard *shard) {
    keel_tape_close(shard->tape);
    keel_sparse_grad_free(&shard->sparse);
    keel_arena_free(&shard->arena);
}

static void close_training(training *run) {
    for (size_t i = 0; run->shards && i < run->n_shards; i++) close_shard(&run->shards[i]);
    keel__ngram_base_reader_close(&run->reader);
    keel_adam_close(&run->layers);
    keel_sharded_step_close(run->step);
    keel_free(run->shards);
    keel_free(run->order);
}

static keel_status open_shard(const keel_ngram_base *model, keel_ngram_base_shard *shard, keel_err *err) {
    KEEL_TRY(keel_tape_open(&shard->tape, err));
    shard->sparse = (keel_sparse_grad){.table_rows = model->rows, .cols = (size_t)model->config.dim};
    return KEEL_OK;
}

static uint64_t updates_of(const struct keel_ngram_base_config *config, uint64_t per_epoch) {
    uint64_t asked = (uint64_t)config->epochs * per_epoch, least = (uint64_t)config->min_updates;
    return asked > least ? asked : least;
}

static keel_status open_training(training *run, keel_tuning *tuning, keel_err *err) {
    const struct keel_ngram_base_config *config = &tuning->model->config;
    *run = (training){.tuning = tuning,
                      .model = tuning->model,
                      .batch = (size_t)config->batch,
                      .shard = (size_t)config->shard};
    if (run->batch > tuning->corpus->count) run->batch = tuning->corpus->count;
    run->n_shards = (run->batch + run->shard - 1) / run->shard;
    run->per_epoch = (tuning->corpus->count + run->batch - 1) / run->batch;
    run->total = updates_of(config, run->per_epoch);
    run->order = keel_calloc(tuning->corpus->count, sizeof *run->order);
    run->shards = keel_calloc(run->n_shards, sizeof *run->shards);
    if (!run->order || !run->shards) return keel_nomem(err, "n-gram base");
    KEEL_TRY(keel_sharded_step_open(&run->step, &run->model->params, run->n_shards, tuning->job->pool, err));
    for (size_t i = 0; i < run->n_shards; i++) {
        run->shards[i].grads = keel_sharded_step_gradient(run->step, i);
        KEEL_TRY(open_shard(run->model, &run->shards[i], err));
    }
    KEEL_TRY(keel__ngram_base_reader_open(&run->reader, tuning, run->batch, err));
    return keel_adam_open(&run->layers, run->model->params.size, err);
}

/* ---- a batch ---- */

static void order_epoch(training *run) {
    uint64_t epoch = run->updates / run->per_epoch;
    if (run->order_epoch == epoch + 1) return;
    keel_rng rng = keel_rng_stream((uint64_t)run->model->config.common.seed, KEEL_STREAM_BASE_ORDER, epoch);
    memcpy(run->order, run->tuning->corpus->by_name, run->tuning->corpus->count * sizeof *run->order);
    keel_rng_shuffle(&rng, run->order, run->tuning->corpus->count);
    run->order_epoch = epoch + 1;
}

static keel_status run_shard(void *context, size_t shard, size_t thread, keel_err *err) {
    training *run = context;
    size_t first = shard * run->shard, last = first + run->shard;
    (void)thread;
    if (last > run->current.n) last = run->current.n;
    for (size_t i = first; i < last; i++)
        keel__ngram_base_weigh_example(run->model, run->current.examples[i]);
    return keel__ngram_base_loss(&run->current, first, last, shard, &run->shards[shard], err);
}

static double rate_factor(const training *run) {
    return 1 - (double)run->updates / (double)run->total;
}

/* A part of the table for each thread, with the gradients of all shards in shard order. */
static keel_status descend_part(void *context, size_t part, size_t thread, keel_err *err) {
    training *run = context;
    double rate = run->model->config.embedding_rate * rate_factor(run);
    (void)thread, (void)err;
    for (size_t s = 0; s < run->current_shards; s++)
        keel_sparse_grad_descend(&run->shards[s].sparse, run->model->table, rate, part,
                                 keel_pool_threads(run->tuning->job->pool));
    return KEEL_OK;
}

static keel_status step(training *run, keel_err *err) {
    const struct keel_ngram_base_config *config = &run->model->config;
    keel_step_rule rule = {.adam = keel_adam_defaults(), .rate_factor = rate_factor(run)};
    double norm;
    rule.adam.learning_rate = config->learning_rate;
    rule.adam.weight_decay = config->weight_decay;
    KEEL_TRY(keel_sharded_step_take(run->step, run->current_shards, run_shard, run, &rule,
                                    &run->model->params, &run->layers, &norm, err));
    return keel_pool_run(run->tuning->job->pool, keel_pool_threads(run->tuning->job->pool), descend_part, run,
                         err);
}

static void note_losses(training *run, double part[KEEL_N_LOSSES]) {
    float rate = run->updates == 0 ? 1 : 0.05f;
    for (int k = 0; k < KEEL_N_LOSSES; k++) {
        part[k] = 0;
        for (size_t s = 0; s < run->current_shards; s++) part[k] += run->shards[s].part[k];
        run->mean[k] += rate * ((float)part[k] - run->mean[k]);
    }
}

static keel_status update(training *run, double part[KEEL_N_LOSSES], keel_err *err) {
    size_t first = (size_t)(run->updates % run->per_epoch) * run->batch,
           n = run->tuning->corpus->count - first;
    if (n > run->batch) n = run->batch;
    order_epoch(run);
    KEEL_TRY(keel__ngram_base_fetch(&run->reader, run->order + first, n, err));
    run->current = (keel_ngram_base_batch){
        .model = run->model, .examples = run->reader.example, .n = n, .update = run->updates};
    keel__ngram_base_divisors(&run->current);
    run->current_shards = (n + run->shard - 1) / run->shard;
    KEEL_TRY(step(run, err));
    note_losses(run, part);
    run->updates++;
    return KEEL_OK;
}

/* ---- checkpoints ---- */

enum { N_CHECKPOINT = 6 };

/* progress: updates, then AdamW's step count. */
static void list_checkpoint(const training *run, const int64_t progress[2],
                            keel_named_tensor out[N_CHECKPOINT]) {
    const size_t layers = run->model->params.size, table = run->model->rows * (size_t)run->model->config.dim;
    out[0] = keel_named_tensor_of("progress", KEEL_I64, 2, 0, progress);
    out[1] = keel_named_tensor_of("losses", KEEL_F32, KEEL_N_LOSSES, 0, run->mean);
    out[2] = keel_named_tensor_of("layers", KEEL_F32, layers, 0, run->model->params.data);
    out[3] = keel_named_tensor_of("layers.first", KEEL_F32, layers, 0, run->layers.first);
    out[4] = keel_named_tensor_of("layers.second", KEEL_F32, layers, 0, run->layers.second);
    out[5] = keel_named_tensor_of("table", KEEL_F32, table, 0, run->model->table);
}

static keel_status save_checkpoint(const training *run, const char *identity, const char *path,
                                   keel_err *err) {
    const int64_t progress[2] = {(int64_t)run->updates, (int64_t)run->layers.steps};
    keel_named_tensor tensors[N_CHECKPOINT];
    list_checkpoint(run, progress, tensors);
    return keel_checkpoint_save(path, identity, tensors, N_CHECKPOINT, err);
}

/* A checkpoint of another run is ignored. */
static keel_status resume(training *run, const char *identity, const char *path, keel_err *err) {
    int64_t progress[2] = {0};
    keel_named_tensor tensors[N_CHECKPOINT];
    bool found = false, there = keel_file_exists(path);
    list_checkpoint(run, progress, tensors);
    KEEL_TRY(keel_checkpoint_load(path, identity, tensors, N_CHECKPOINT, &found, err));
    for (int i = 0; i < 2; i++)
        if (progress[i] < 0 || (uint64_t)progress[i] > run->total)
            return keel_fail(err, KEEL_E_INVALID, path, "the checkpoint holds impossible counts of updates");
    run->updates = (uint64_t)progress[0];
    run->layers.steps = (uint64_t)progress[1];
    if (there)
        keel_log(KEEL_LOG_INFO,
                 found ? "sft: going on after %llu updates" : "sft: the checkpoint is of another run (%llu)",
                 (unsigned long long)run->updates);
    return KEEL_OK;
}

/* ---- the loop ---- */

static keel_status log_losses(keel_metrics *metrics, uint64_t step, const double part[KEEL_N_LOSSES],
                              keel_err *err) {
    return keel_metrics_write(metrics, step, keel__ngram_base_losses, part, KEEL_N_LOSSES, err);
}

static keel_status check_finite(const training *run, const double part[KEEL_N_LOSSES], keel_err *err) {
    for (int k = 0; k < KEEL_N_LOSSES; k++) {
        if (isfinite(part[k])) continue;
        keel_fail(err, KEEL_E_DIVERGED, "sft", "loss \"%s\" is not finite after %llu updates",
                  keel__ngram_base_losses[k], (unsigned long long)run->updates);
        return keel_hint(err, "try a smaller --set learning_rate");
    }
    return KEEL_OK;
}

static keel_status stop(const training *run, const char *identity, const char *checkpoint, keel_err *err) {
    KEEL_TRY(save_checkpoint(run, identity, checkpoint, err));
    return keel_fail(err, KEEL_E_INTERRUPTED, "sft", "stopped after %llu of %llu updates",
                     (unsigned long long)run->updates, (unsigned long long)run->total);
}

static keel_status go_on(training *run, const char *identity, const char *checkpoint, keel_metrics *metrics,
                         keel_err *err) {
    double part[KEEL_N_LOSSES];
    KEEL_TRY(update(run, part, err));
    KEEL_TRY(check_finite(run, part, err));
    KEEL_TRY(log_losses(metrics, run->updates, part, err));
    return run->updates % (uint64_t)run->model->config.checkpoint_every == 0
               ? save_checkpoint(run, identity, checkpoint, err)
               : KEEL_OK;
}

static keel_status loop(training *run, const char *identity, const char *checkpoint, keel_metrics *metrics,
                        keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    keel_progress_start(&progress, "sft", run->total);
    while (status == KEEL_OK && run->updates < run->total) {
        status = keel_interrupted() ? stop(run, identity, checkpoint, err)
                                    : go_on(run, identity, checkpoint, metrics, err);
        keel_progress_step(&progress, run->updates, NULL);
    }
    keel_progress_end(&progress, run->updates);
    return status;
}

keel_status keel__ngram_base_train(keel_tuning *tuning, double last[KEEL_N_LOSSES], uint64_t *updates,
                                   keel_err *err) {
    const char *identity = tuning->job->identity, *metrics_path = tuning->job->metrics_path;
    const char *checkpoint = tuning->job->checkpoint[KEEL_CHECKPOINT_ENCODER];
    training run;
    keel_metrics *metrics = NULL;
    keel_status status = open_training(&run, tuning, err);
    if (status == KEEL_OK) status = resume(&run, identity, checkpoint, err);
    bool append = status == KEEL_OK && run.updates > 0 && metrics_path && keel_file_exists(metrics_path);
    if (append) status = keel_metrics_trim(metrics_path, run.updates, err);
    if (status == KEEL_OK) status = keel_metrics_open(&metrics, metrics_path, append, err);
    if (status == KEEL_OK) status = loop(&run, identity, checkpoint, metrics, err);
    keel_status closed = keel_metrics_close(metrics, status == KEEL_OK ? err : NULL);
    if (status == KEEL_OK) status = closed;
    if (status == KEEL_OK) {
        for (int k = 0; k < KEEL_N_LOSSES; k++) last[k] = (double)run.mean[k];
        *updates = run.updates;
    }
    close_training(&run);
    return status;
}
