/* Training, once for each fold and once on everything. A training has up to three stages: the heads alone
 * on the vectors of the encoder as it came, which are worked out once; then what the mode tunes, with a
 * warm-up; then the heads of candidates alone on the vectors of the tuned encoder.
 * AdamW; the order of an epoch and the random draws of an update depend on the seed and their numbers alone,
 * so that a checkpoint holds parameters, moments and numbers. */
#include "policies/encoder_base/train_internal.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "core/schedule.h"
#include "policies/compress/quantise.h"
#include "policies/encoder_base/near.h"
#include "policies/transformer/bert_matrix.h"

/* ---- a stage ---- */

/* Whether a stage tunes heads on vectors that are worked out before. */
static bool on_vectors(const keel_encoder_training *run) {
    return run->at[STAGE] != ENCODER;
}

static bool has_stage(const keel_encoder_training *run, int64_t stage) {
    if (stage == ENCODER) return !keel__encoder_head_only(run);
    if (stage == CANDIDATES)
        return keel__encoder_reads_candidates(run->model) && !keel__encoder_config(run)->tune_candidates &&
               !keel__encoder_head_only(run);
    return stage == HEADS;
}

static void free_vectors(keel_encoder_vectors *vectors, size_t n) {
    for (size_t i = 0; vectors->of && i < n; i++) keel_free(vectors->of[i]);
    keel_free(vectors->of);
    *vectors = (keel_encoder_vectors){0};
}

static void close_stage(keel_encoder_training *run) {
    for (size_t i = 0; run->shards && i < run->n_shards; i++) {
        keel_tape_close(run->shards[i].tape);
        keel_arena_free(&run->shards[i].arena);
    }
    keel_free(run->shards);
    keel_free(run->units);
    keel_free(run->held);
    keel_free(run->order);
    keel__encoder_reader_close(&run->reader);
    keel_sharded_step_close(run->step);
    if (run->faked) keel_fake_quant_close(&run->fake.quant);
    run->faked = false;
    free_vectors(&run->tuned, run->tuning->n);
    run->shards = NULL;
    run->units = run->held = run->order = NULL;
    run->step = NULL;
}

static keel_status list_units(keel_encoder_training *run, keel_err *err) {
    const keel_encoder_tuning *tuning = run->tuning;
    run->units = keel_calloc(tuning->n + 1, sizeof *run->units);
    run->held = keel_calloc(tuning->n + 1, sizeof *run->held);
    run->order = keel_calloc(tuning->n + 1, sizeof *run->order);
    if (!run->units || !run->held || !run->order) return keel_nomem(err, "encoder base");
    run->n_units = run->n_held = 0;
    for (size_t i = 0; i < tuning->n; i++) {
        if ((int64_t)tuning->unit[i].fold == run->at[LEFT_OUT] && keel__encoder_config(run)->folds > 0)
            continue;
        if (tuning->unit[i].held_out)
            run->held[run->n_held++] = i;
        else
            run->units[run->n_units++] = i;
    }
    if (run->n_units > 0) return KEEL_OK;
    if (run->n_held > 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, tuning->job->corpus->name,
                  "held_out leaves nothing to learn from: all groups are held out");
        return keel_hint(err, "import more conversations, or use --set held_out=0");
    }
    keel_fail(err, KEEL_E_NOT_FOUND, tuning->job->corpus->name, "one fold has all conversations");
    return keel_hint(
        err, "a fold has all conversations of the same requests: import other ones, or use --set folds=0");
}

static uint64_t epochs_of(const keel_encoder_training *run) {
    return (uint64_t)(on_vectors(run) ? keel__encoder_config(run)->head_epochs
                                      : keel__encoder_config(run)->epochs);
}

/* Units of an update: more where updates cost nothing. */
static size_t batch_of(const keel_encoder_training *run) {
    const size_t wanted = (size_t)keel__encoder_config(run)->batch * (on_vectors(run) ? 4 : 1);
    return wanted < run->n_units ? wanted : run->n_units;
}

static size_t shard_of(const keel_encoder_training *run) {
    return (size_t)keel__encoder_config(run)->shard * (on_vectors(run) ? 4 : 1);
}

static keel_status open_shards(keel_encoder_training *run, keel_err *err) {
    const size_t shard = shard_of(run);
    run->n_shards = (batch_of(run) + shard - 1) / shard;
    run->shards = keel_calloc(run->n_shards, sizeof *run->shards);
    if (!run->shards) return keel_nomem(err, "encoder base");
    for (size_t i = 0; i < run->n_shards; i++) KEEL_TRY(keel_tape_open(&run->shards[i].tape, err));
    return KEEL_OK;
}

/* The encoder as keel compress will hold it, if asked for, while it is tuned. */
static keel_status open_fake(keel_encoder_training *run, keel_err *err) {
    const struct keel_encoder_base_config *c = keel__encoder_config(run);
    const keel_compress_config how = {.weights = c->fake_quant};
    keel_bert *bert = run->model->bert;
    if (!c->fake_quant || on_vectors(run)) return KEEL_OK;
    keel_matrix_type *type = keel_calloc(keel_bert_rows(bert), sizeof *type);
    if (!type) return keel_nomem(err, "encoder base");
    for (size_t row = 0; row < keel_bert_rows(bert); row++)
        type[row] = keel_quantise_type(&how, row < KEEL_BERT_FIRST_LAYER, keel_bert_matrix(bert, row).cols);
    keel_status status = keel_bert_fake_open(&run->fake, bert, type, c->fake_inputs != 0, err);
    run->faked = status == KEEL_OK;
    keel_free(type);
    return status;
}

static keel_status hold(keel_encoder_training *run, keel_err *err) {
    if (!run->faked) return KEEL_OK;
    return keel_fake_quant_hold(&run->fake.quant, &run->model->bert->params, run->tuning->job->pool, err);
}

static keel_status open_stage(keel_encoder_training *run, keel_err *err) {
    const keel_encoder_tuning *tuning = run->tuning;
    KEEL_TRY(list_units(run, err));
    const size_t rows[N_STAGES] = {
        keel_bert_first_head(run->model->bert), tuning->first,
        keel__encoder_head(run->model, KEEL_HEAD_OUTCOME)}; /* after it come candidates' alone */
    run->first_row = rows[run->at[STAGE]];
    run->trained = keel_params_from(&run->model->bert->params, run->first_row);
    run->per_epoch = (run->n_units + batch_of(run) - 1) / batch_of(run);
    run->total = epochs_of(run) * run->per_epoch;
    run->order_epoch = -1;
    KEEL_TRY(open_fake(run, err));
    KEEL_TRY(hold(run, err));
    KEEL_TRY(open_shards(run, err));
    KEEL_TRY(keel__encoder_reader_open(&run->reader, run->tuning, batch_of(run), err));
    if (on_vectors(run)) run->reader.vectors = keel__encoder_vectors_of(run);
    const size_t most =
        keel_pool_threads(tuning->job->pool) + 1; /* a gradient is as large as what is trained */
    return keel_sharded_step_open(&run->step, &run->trained, run->n_shards < most ? run->n_shards : most,
                                  tuning->job->pool, err);
}

/* ---- an update ---- */

/* The numbers of this training's streams: it, its stage, then `within`. */
static uint64_t stream_of(const keel_encoder_training *run, uint64_t within) {
    return ((uint64_t)run->at[LEFT_OUT] * N_STAGES + (uint64_t)run->at[STAGE]) << 48 | within;
}

/* Whether the stage's ranking loss is to have responses to near states as wrong answers. */
static bool ranks_near(const keel_encoder_training *run) {
    return keel__encoder_config(run)->near_negatives && keel__encoder_compares(run->model) &&
           keel__encoder_reads(run);
}

static void order_epoch(keel_encoder_training *run) {
    const int64_t epoch = run->at[UPDATES] / (int64_t)run->per_epoch;
    if (run->order_epoch == epoch) return;
    keel_rng rng = keel_rng_stream((uint64_t)keel__encoder_config(run)->common.seed, KEEL_STREAM_BASE_ORDER,
                                   stream_of(run, (uint64_t)epoch));
    memcpy(run->order, run->units, run->n_units * sizeof *run->order);
    keel_rng_shuffle(&rng, run->order, run->n_units);
    if (ranks_near(run))
        keel__encoder_order_near(run->order, run->n_units,
                                 (const float *const *)keel__encoder_vectors_of(run)->of,
                                 run->model->bert->config.hidden, batch_of(run), shard_of(run));
    run->order_epoch = epoch;
}

static void fill_batch(keel_encoder_training *run, size_t n) {
    run->batch = (keel_encoder_batch){.model = run->model,
                                      .training = {.trained = run->trained,
                                                   .first = run->first_row,
                                                   .dropout = (float)keel__encoder_config(run)->dropout,
                                                   .fake = run->faked ? &run->fake : NULL},
                                      .lesson = run->reader.lesson,
                                      .n = n,
                                      .states_known = run->at[STAGE] == CANDIDATES};
    for (size_t i = 0; i < n; i++) {
        keel_encoder_lesson *lesson = &run->reader.lesson[i];
        if (!keel__encoder_reads(run)) lesson->texts.n_candidates = 0;
    }
    for (int h = 0; h < KEEL_N_HEADS; h++) {
        double *terms = &run->batch.terms[h];
        for (size_t i = 0; i < n; i++)
            *terms += (double)keel__encoder_terms(run->model, &run->reader.lesson[i].labels, h);
        run->batch.divisor[h] = fmax(1, *terms);
    }
}

static keel_status run_shard(void *context, size_t shard, size_t thread, keel_err *err) {
    keel_encoder_training *run = context;
    const size_t size = shard_of(run), first = shard * size;
    const size_t last = first + size < run->batch.n ? first + size : run->batch.n;
    keel_rng rng = keel_rng_stream((uint64_t)keel__encoder_config(run)->common.seed, KEEL_STREAM_BASE_UPDATE,
                                   stream_of(run, (uint64_t)run->at[UPDATES] << 16 | shard));
    (void)thread;
    return keel__encoder_loss(&run->batch, first, last, keel_sharded_step_gradient(run->step, shard),
                              on_vectors(run) ? NULL : &rng, &run->shards[shard], err);
}

static double rate_factor(const keel_encoder_training *run) {
    if (on_vectors(run)) return 1 - (double)run->at[UPDATES] / (double)run->total;
    const size_t warm = (size_t)(keel__encoder_config(run)->warm_up * (double)run->total);
    return keel_schedule_factor((keel_schedule)keel__encoder_config(run)->schedule, (size_t)run->at[UPDATES],
                                warm, (size_t)run->total);
}

static keel_status step(keel_encoder_training *run, keel_err *err) {
    const struct keel_encoder_base_config *c = keel__encoder_config(run);
    const size_t skipped = run->size - run->trained.size;
    keel_step_rule rule = {
        .adam = keel_adam_defaults(), .rate_factor = rate_factor(run), .clip_norm = c->clip_norm};
    keel_adam adam = {run->trained.size, (uint64_t)run->at[STEPS], run->first + skipped,
                      run->second + skipped};
    double norm;
    rule.adam.learning_rate = c->learning_rate;
    rule.adam.weight_decay = c->weight_decay;
    const size_t shards = (run->batch.n + shard_of(run) - 1) / shard_of(run);
    KEEL_TRY(
        keel_sharded_step_take(run->step, shards, run_shard, run, &rule, &run->trained, &adam, &norm, err));
    run->at[STEPS] = (int64_t)adam.steps;
    return hold(run, err);
}

/* Whether the stage at hand has the loss of a head. */
static bool has_loss(const keel_encoder_training *run, int head) {
    return head < KEEL_HEAD_OUTCOME ? run->at[STAGE] != CANDIDATES : keel__encoder_reads(run);
}

/* Running means; a batch in which nothing has a label for a head says nothing of its loss. */
static void note_losses(keel_encoder_training *run, double part[KEEL_N_HEADS]) {
    const size_t shards = (run->batch.n + shard_of(run) - 1) / shard_of(run);
    for (int k = 0; k < KEEL_N_HEADS; k++) {
        part[k] = 0;
        for (size_t s = 0; s < shards; s++) part[k] += run->shards[s].part[k];
        if (!has_loss(run, k) || !(run->batch.terms[k] > 0)) continue;
        run->mean[k] += (run->mean[k] < 0 ? 1 : 0.05f) * ((float)part[k] - run->mean[k]);
    }
}

/* Heads that nothing in the batch has a label for have no loss there. */
static keel_status write_losses(keel_encoder_training *run, const double part[KEEL_N_HEADS], keel_err *err) {
    const char *name[KEEL_N_HEADS];
    double value[KEEL_N_HEADS];
    size_t n = 0;
    for (int h = 0; h < KEEL_N_HEADS; h++) {
        if (!has_loss(run, h) || !(run->batch.terms[h] > 0)) continue;
        name[n] = keel__encoder_heads[h];
        value[n++] = part[h];
    }
    return keel_metrics_write(run->metrics, (uint64_t)run->at[TOTAL_UPDATES], name, value, n, err);
}

static keel_status update(keel_encoder_training *run, keel_err *err) {
    const size_t size = batch_of(run), first = (size_t)(run->at[UPDATES] % (int64_t)run->per_epoch) * size;
    const size_t n = run->n_units - first < size ? run->n_units - first : size;
    double part[KEEL_N_HEADS];
    order_epoch(run);
    KEEL_TRY(keel__encoder_fetch(&run->reader, run->order + first, n, err));
    fill_batch(run, n);
    KEEL_TRY(step(run, err));
    note_losses(run, part);
    for (int k = 0; k < KEEL_N_HEADS; k++)
        if (!isfinite(part[k])) {
            keel_fail(err, KEEL_E_DIVERGED, "sft", "loss \"%s\" is not finite after %lld updates",
                      keel__encoder_heads[k], (long long)run->at[UPDATES]);
            return keel_hint(err, "try a smaller --set learning_rate");
        }
    run->at[UPDATES]++;
    run->at[TOTAL_UPDATES]++;
    return write_losses(run, part, err);
}

/* ---- held-out units ---- */

static keel_status held_out_loss(keel_encoder_training *run, double *out, keel_err *err) {
    double sum[KEEL_N_HEADS] = {0}, terms[KEEL_N_HEADS] = {0};
    const size_t size = batch_of(run);
    for (size_t at = 0; at < run->n_held; at += size) {
        const size_t n = run->n_held - at < size ? run->n_held - at : size;
        KEEL_TRY(keel__encoder_fetch(&run->reader, run->held + at, n, err));
        fill_batch(run, n);
        KEEL_TRY(keel__encoder_loss(&run->batch, 0, n, NULL, NULL, &run->shards[0], err));
        for (int h = 0; h < KEEL_N_HEADS; h++) {
            sum[h] += run->shards[0].part[h] * run->batch.divisor[h];
            terms[h] += run->batch.terms[h];
        }
    }
    *out = 0;
    for (int h = 0; h < KEEL_N_HEADS; h++)
        *out += terms[h] > 0 ? keel__encoder_weight(run->model, h) * sum[h] / terms[h] : 0;
    return KEEL_OK;
}

/* At the end of an epoch: keeps the best parameters so far; true in *stop once patience is over. */
static keel_status look_at_held_out(keel_encoder_training *run, bool *stop, keel_err *err) {
    const int64_t epoch = run->at[UPDATES] / (int64_t)run->per_epoch;
    double loss;
    KEEL_TRY(held_out_loss(run, &loss, err));
    if (run->at[BEST_EPOCH] == 0 || loss < (double)run->best_loss[0]) {
        run->best_loss[0] = (float)loss;
        run->at[BEST_EPOCH] = epoch;
        run->at[WAITED] = 0;
        memcpy(run->best, run->trained.data, run->size * sizeof *run->best);
    } else {
        run->at[WAITED]++;
    }
    *stop = run->at[WAITED] >= keel__encoder_config(run)->patience;
    return KEEL_OK;
}

static bool watches(const keel_encoder_training *run) {
    return run->best && run->at[STAGE] == ENCODER && run->n_held > 0;
}

/* ---- the trainings ---- */

static keel_status stop_here(const keel_encoder_training *run, keel_err *err) {
    return keel_fail(err, KEEL_E_INTERRUPTED, "sft", "stopped after %lld updates",
                     (long long)run->at[TOTAL_UPDATES]);
}

static void name_training(const keel_encoder_training *run, char *out, size_t size) {
    const int64_t folds = keel__encoder_config(run)->folds;
    static const char *const stages[N_STAGES] = {"heads", "encoder", "candidates"};
    const char *stage = stages[run->at[STAGE]];
    if (run->at[LEFT_OUT] < folds)
        snprintf(out, size, "tune %s, fold %lld of %lld", stage, (long long)run->at[LEFT_OUT] + 1,
                 (long long)folds);
    else
        snprintf(out, size, "tune %s", stage);
}

static keel_status run_updates(keel_encoder_training *run, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    char name[64];
    bool stop = watches(run) && run->at[WAITED] >= keel__encoder_config(run)->patience;
    name_training(run, name, sizeof name);
    keel_progress_start(&progress, name, run->total);
    while (status == KEEL_OK && !stop && (uint64_t)run->at[UPDATES] < run->total) {
        if (keel_interrupted()) {
            status = stop_here(run, err);
            break;
        }
        status = update(run, err);
        const bool epoch_ends = run->at[UPDATES] % (int64_t)run->per_epoch == 0;
        if (status == KEEL_OK && epoch_ends && watches(run)) status = look_at_held_out(run, &stop, err);
        if (status == KEEL_OK && run->at[UPDATES] % keel__encoder_config(run)->checkpoint_every == 0)
            status = keel__encoder_keep_training(run, err);
        keel_progress_step(&progress, (uint64_t)run->at[UPDATES], NULL);
    }
    keel_progress_end(&progress, (uint64_t)run->at[UPDATES]);
    return status;
}

static void swap_origin(keel_encoder_training *run) {
    keel_real *trained = keel_params_from(&run->model->bert->params, run->tuning->first).data;
    for (size_t i = 0; i < run->size; i++) {
        const keel_real now = trained[i];
        trained[i] = run->tuning->origin[i];
        run->tuning->origin[i] = now;
    }
}

/* Vectors by the encoder as it came: nearness is the same for a training that goes on from a checkpoint. */
static keel_status encode_origin(keel_encoder_training *run, keel_err *err) {
    swap_origin(run);
    keel_status status = keel__encoder_encode_missing(run, run->units, run->n_units, err);
    swap_origin(run);
    return status;
}

/* The encoder as it came, with heads that were drawn. */
static void start_anew(keel_encoder_training *run) {
    keel_params trained = keel_params_from(&run->model->bert->params, run->tuning->first);
    memcpy(trained.data, run->tuning->origin, run->size * sizeof *trained.data);
    for (int h = 0; h < KEEL_N_HEADS; h++) run->mean[h] = -1;
    run->at[STAGE] = HEADS;
    run->at[UPDATES] = run->at[STEPS] = run->at[BEST_EPOCH] = run->at[WAITED] = 0;
    memset(run->first, 0, run->size * sizeof *run->first);
    memset(run->second, 0, run->size * sizeof *run->second);
}

static void next_stage(keel_encoder_training *run) {
    run->at[STAGE]++;
    run->at[UPDATES] = run->at[STEPS] = 0;
    for (int h = 0; h < KEEL_N_HEADS; h++)
        if (has_stage(run, run->at[STAGE]) && has_loss(run, h)) run->mean[h] = -1;
    memset(run->first, 0, run->size * sizeof *run->first);
    memset(run->second, 0, run->size * sizeof *run->second);
}

static keel_status run_stage(keel_encoder_training *run, keel_err *err) {
    keel_status status = open_stage(run, err);
    const bool over = status == KEEL_OK && (uint64_t)run->at[UPDATES] >= run->total;
    if (status == KEEL_OK && on_vectors(run) && !over)
        status = keel__encoder_encode_missing(run, run->units, run->n_units, err);
    if (status == KEEL_OK && !on_vectors(run) && !over && ranks_near(run)) status = encode_origin(run, err);
    if (status == KEEL_OK) status = run_updates(run, err);
    if (status == KEEL_OK && watches(run) && run->at[BEST_EPOCH] > 0)
        memcpy(run->trained.data, run->best, run->size * sizeof *run->best);
    close_stage(run);
    return status;
}

/* The model learns from all but one fold, and says what it thinks of that one. */
static keel_status run_fold(keel_encoder_training *run, keel_err *err) {
    const bool last = run->at[LEFT_OUT] == keel__encoder_config(run)->folds;
    for (;;) {
        if (has_stage(run, run->at[STAGE])) KEEL_TRY(run_stage(run, err));
        if (run->at[STAGE] == N_STAGES - 1) break;
        next_stage(run);
    }
    if (!last || keel__encoder_config(run)->folds == 0) KEEL_TRY(keel__encoder_judge(run, err));
    if (last) return KEEL_OK;
    run->at[LEFT_OUT]++;
    start_anew(run);
    return keel__encoder_keep_folds(run, err);
}

static keel_status run_all(keel_encoder_training *run, keel_err *err) {
    bool found, begun;
    KEEL_TRY(keel__encoder_resume(run, &found, &begun, err));
    if (!begun) start_anew(run);
    const char *path = run->tuning->job->metrics_path;
    const bool append = found && path && keel_file_exists(path);
    if (append) KEEL_TRY(keel_metrics_trim(path, (uint64_t)run->at[TOTAL_UPDATES], err));
    KEEL_TRY(keel_metrics_open(&run->metrics, path, append, err));
    keel_status status = KEEL_OK;
    bool last = false;
    while (status == KEEL_OK && !last) {
        last = run->at[LEFT_OUT] == keel__encoder_config(run)->folds;
        status = run_fold(run, err);
    }
    if (status == KEEL_E_INTERRUPTED) { /* in a pass as well as between updates */
        const keel_status kept = keel__encoder_keep_training(run, err);
        if (kept != KEEL_OK) status = kept;
    }
    keel_status closed = keel_metrics_close(run->metrics, status == KEEL_OK ? err : NULL);
    return status == KEEL_OK ? closed : status;
}

keel_status keel__encoder_train(keel_encoder_tuning *tuning, keel_encoder_trained *out, keel_err *err) {
    keel_encoder_training run = {.tuning = tuning, .model = tuning->model};
    run.size = keel_params_from(&tuning->model->bert->params, tuning->first).size;
    run.first = keel_calloc(run.size, sizeof *run.first);
    run.second = keel_calloc(run.size, sizeof *run.second);
    if (tuning->model->config.held_out > 0) run.best = keel_calloc(run.size, sizeof *run.best);
    bool room = run.first && run.second && (run.best || !(tuning->model->config.held_out > 0));
    keel_status status = room ? run_all(&run, err) : keel_nomem(err, "encoder base");
    for (int h = 0; h < KEEL_N_HEADS; h++) out->loss[h] = (double)run.mean[h];
    out->updates = (uint64_t)run.at[TOTAL_UPDATES];
    out->best_epoch = run.at[BEST_EPOCH];
    keel_free(run.first);
    keel_free(run.second);
    keel_free(run.best);
    free_vectors(&tuning->known, tuning->n);
    return status;
}
