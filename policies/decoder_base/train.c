#include "policies/decoder_base/train.h"

#include <math.h>
#include <string.h>

#include "core/checkpoint.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/progress.h"
#include "core/schedule.h"
#include "core/sharded_step.h"
#include "policies/decoder_base/encode.h"
#include "policies/decoder_base/loss.h"
#include "policies/decoder_base/memory.h"
#include "policies/transformer/llama_fake.h"

/* Numbers of how far a training is. */
enum { UPDATES, STEPS, N_PROGRESS };

typedef struct training {
    keel_decoder_base *model;
    const keel_base_tuning *job;
    const keel_decoder_units *units;
    const keel_llama_teacher *teacher; /* or NULL */
    double rate;
    int64_t at[N_PROGRESS];
    keel_real *first, *second; /* AdamW's moments, laid out as params */
    float mean[1];             /* running mean of the loss; below 0: none yet */
    float scale[2];            /* keel_loss_scale of fp16: its factor, clean steps */
    double norm;
    float *reference; /* [units][MOST_TEXTS] log-likelihoods by the model as it was; NULL for sft */
    size_t per_epoch, total;
    size_t *order; /* [n] of the current epoch */
    int64_t order_epoch;
    /* of the batch at hand */
    size_t n, n_shards;
    size_t *place, *shard; /* [2 batch], [batch + 1] where each shard begins */
    keel_arena *texts;     /* [2 batch]: kto: the second half for the responses to other dialogues */
    keel_conversation **read;
    keel_decoder_example *example;            /* [batch] */
    double *part;                             /* [batch] of each shard */
    double (*score)[KEEL_DECODER_MOST_TEXTS]; /* [batch] log-likelihoods */
    keel_decoder_batch batch;
    keel_tape **tape;    /* [threads] */
    keel_arena *scratch; /* [threads] */
    keel_sharded_step *step;
    keel_metrics *metrics;
} training;

static const struct keel_decoder_base_config *config_of(const training *run) {
    return &run->model->config;
}

double keel__decoder_rate(const struct keel_decoder_base_config *config, bool anew) {
    static const double rates[] = {[KEEL_DECODER_NONE] = 0,
                                   [KEEL_DECODER_FULL] = 2e-5,
                                   [KEEL_DECODER_FREEZE] = 2e-5,
                                   [KEEL_DECODER_LORA] = 2e-4,
                                   [KEEL_DECODER_PROMPT] = 0.1};
    const double rate = anew ? 1e-3 : rates[config->mode];
    if (config->learning_rate > 0) return config->learning_rate;
    return config->loss == KEEL_LOSS_SFT ? rate : rate / 10;
}

/* ---- life ---- */

static size_t threads_of(const training *run) {
    return keel_pool_threads(run->job->pool);
}

static size_t batch_of(const training *run) {
    const size_t wanted = (size_t)config_of(run)->batch;
    return wanted < run->units->n ? wanted : run->units->n;
}

static void close_training(training *run) {
    const size_t batch = batch_of(run), threads = threads_of(run);
    for (size_t i = 0; run->texts && i < 2 * batch; i++) keel_arena_free(&run->texts[i]);
    for (size_t i = 0; run->tape && i < threads; i++) keel_tape_close(run->tape[i]);
    for (size_t i = 0; run->scratch && i < threads; i++) keel_arena_free(&run->scratch[i]);
    void *const owned[] = {run->first, run->second, run->reference, run->order,   run->place,
                           run->shard, run->texts,  run->read,      run->example, run->part,
                           run->score, run->tape,   run->scratch};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) keel_free(owned[i]);
    keel_sharded_step_close(run->step);
}

static keel_status open_training(training *run, keel_err *err) {
    const size_t batch = batch_of(run), threads = threads_of(run), n = run->units->n;
    const keel_params *params = &run->model->llama->params;
    run->first = keel_calloc(params->size, sizeof *run->first);
    run->second = keel_calloc(params->size, sizeof *run->second);
    run->order = keel_calloc(n, sizeof *run->order);
    run->place = keel_calloc(2 * batch, sizeof *run->place);
    run->shard = keel_calloc(batch + 1, sizeof *run->shard);
    run->texts = keel_calloc(2 * batch, sizeof *run->texts);
    run->read = keel_calloc(2 * batch, sizeof *run->read);
    run->example = keel_calloc(batch, sizeof *run->example);
    run->part = keel_calloc(batch, sizeof *run->part);
    run->score = keel_calloc(batch, sizeof *run->score);
    run->tape = keel_calloc(threads, sizeof *run->tape);
    run->scratch = keel_calloc(threads, sizeof *run->scratch);
    if (config_of(run)->loss != KEEL_LOSS_SFT)
        run->reference = keel_calloc(n * KEEL_DECODER_MOST_TEXTS, sizeof *run->reference);
    if (!run->first || !run->second || !run->order || !run->place || !run->shard || !run->texts ||
        !run->read || !run->example || !run->part || !run->score || !run->tape || !run->scratch ||
        (config_of(run)->loss != KEEL_LOSS_SFT && !run->reference))
        return keel_nomem(err, "decoder base");
    for (size_t i = 0; i < threads; i++) {
        KEEL_TRY(keel_tape_open(&run->tape[i], err));
        if (config_of(run)->precision == KEEL_TUNE_BF16)
            keel_tape_precision(run->tape[i], KEEL_PRECISION_BF16);
    }
    run->mean[0] = -1;
    run->scale[0] = (float)keel_loss_scale_start().factor;
    run->per_epoch = (n + batch - 1) / batch;
    run->total = run->per_epoch * (size_t)config_of(run)->epochs;
    run->order_epoch = -1;
    return keel_sharded_step_open(&run->step, params, threads + 1, run->job->pool, err);
}

/* ---- a batch ---- */

static void order_epoch(training *run) {
    const int64_t epoch = run->at[UPDATES] / (int64_t)run->per_epoch;
    if (run->order_epoch == epoch) return;
    keel_rng rng =
        keel_rng_stream((uint64_t)config_of(run)->common.seed, KEEL_STREAM_BASE_ORDER, (uint64_t)epoch);
    for (size_t i = 0; i < run->units->n; i++) run->order[i] = i;
    keel_rng_shuffle(&rng, run->order, run->units->n);
    run->order_epoch = epoch;
}

typedef struct fetching {
    training *run;
    const size_t *at; /* [n] units */
} fetching;

/* kto: the unit whose response is put behind another dialogue. */
static size_t other_unit(const training *run, size_t unit) {
    const keel_decoder_units *units = run->units;
    for (size_t k = 1; k < units->n; k++)
        if (units->unit[(unit + k) % units->n].place != units->unit[unit].place) return (unit + k) % units->n;
    return unit; /* there is no other dialogue */
}

static keel_status put_behind(const keel_decoder_text *prompt, const keel_decoder_text *response,
                              keel_arena *arena, keel_decoder_text *out, keel_err *err) {
    const size_t said = response->n - response->prompt, n = prompt->prompt + said;
    int32_t *id = keel_arena_alloc(arena, n * sizeof *id);
    bool *learned = keel_arena_calloc(arena, n, sizeof *learned);
    if (!id || !learned) return keel_nomem(err, "decoder base");
    memcpy(id, prompt->id, prompt->prompt * sizeof *id);
    memcpy(id + prompt->prompt, response->id + response->prompt, said * sizeof *id);
    memset(learned + prompt->prompt, true, said * sizeof *learned);
    *out = (keel_decoder_text){
        .id = id, .n = n, .prompt = prompt->prompt, .learned = learned, .supervised = said};
    return KEEL_OK;
}

static keel_status fetch_one(void *context, size_t i, size_t thread, keel_err *err) {
    const fetching *f = context;
    training *run = f->run;
    keel_decoder_example *to = &run->example[i];
    keel_decoder_text other[KEEL_DECODER_MOST_TEXTS];
    const keel_decoder_unit *unit = run->units->unit;
    size_t n;
    (void)thread;
    *to = (keel_decoder_example){.good = unit[f->at[i]].good};
    for (size_t k = 0; run->reference && k < KEEL_DECODER_MOST_TEXTS; k++)
        to->reference[k] = (double)run->reference[f->at[i] * KEEL_DECODER_MOST_TEXTS + k];
    KEEL_TRY(keel__decoder_texts(run->model, run->read[i], &unit[f->at[i]], run->units->link, &run->texts[i],
                                 to->text, &to->n, err));
    if (config_of(run)->loss != KEEL_LOSS_KTO) return KEEL_OK;
    const size_t at = run->n + i;
    KEEL_TRY(keel__decoder_texts(run->model, run->read[at], &unit[other_unit(run, f->at[i])],
                                 run->units->link, &run->texts[at], other, &n, err));
    to->n = 2;
    return put_behind(&to->text[0], &other[0], &run->texts[i], &to->text[1], err);
}

static keel_status fetch(training *run, const size_t *at, size_t n, keel_err *err) {
    keel_corpus *corpus = run->job->corpus;
    const size_t all = config_of(run)->loss == KEEL_LOSS_KTO ? 2 * n : n;
    fetching f = {run, at};
    for (size_t i = 0; i < all; i++) {
        keel_arena_reset(&run->texts[i]);
        run->place[i] = run->units->unit[i < n ? at[i] : other_unit(run, at[i - n])].place;
    }
    run->n = n;
    KEEL_TRY(corpus->read(corpus, run->place, all, run->texts, run->read, err));
    return keel_pool_run(run->job->pool, n, fetch_one, &f, err);
}

/* What an example takes of a shard: what is run at once, of kto one text or the other. */
static size_t tokens_of(const training *run, const keel_decoder_example *example) {
    const size_t one = example->text[0].n, other = example->n > 1 ? example->text[1].n : 0;
    if (config_of(run)->loss == KEEL_LOSS_DPO) return one + other;
    return one > other ? one : other;
}

/* Examples one behind the other, as many to a shard as shard_tokens takes, one at least. */
static void pack(training *run) {
    const size_t most = (size_t)config_of(run)->shard_tokens;
    size_t filled = 0;
    run->n_shards = 0;
    for (size_t i = 0; i < run->n; i++) {
        const size_t tokens = tokens_of(run, &run->example[i]);
        if (i == 0 || filled + tokens > most) {
            run->shard[run->n_shards++] = i;
            filled = 0;
        }
        filled += tokens;
    }
    run->shard[run->n_shards] = run->n;
}

static double divisor_of(const training *run) {
    size_t supervised = 0;
    for (size_t i = 0; i < run->n; i++) supervised += run->example[i].text[0].supervised;
    return config_of(run)->loss == KEEL_LOSS_SFT ? (double)supervised : (double)run->n;
}

static keel_status take_batch(training *run, size_t first, keel_err *err) {
    const size_t size = batch_of(run), n = run->units->n - first < size ? run->units->n - first : size;
    KEEL_TRY(fetch(run, run->order + first, n, err));
    pack(run);
    run->batch = (keel_decoder_batch){.model = run->model,
                                      .training = {.drops = true, .keep = keel__decoder_keep(config_of(run))},
                                      .teacher = run->teacher,
                                      .example = run->example,
                                      .divisor = divisor_of(run)};
    return KEEL_OK;
}

/* ---- the model as it was, for dpo and kto ---- */

/* With the gradient of number `gradient` to leave its own in. */
static keel_decoder_shard shard_of(const training *run, const keel_decoder_batch *batch, size_t shard,
                                   size_t thread, size_t gradient) {
    keel_arena_reset(&run->scratch[thread]);
    return (keel_decoder_shard){.batch = batch,
                                .first = run->shard[shard],
                                .last = run->shard[shard + 1],
                                .grads = keel_sharded_step_gradient(run->step, gradient),
                                .tape = run->tape[thread],
                                .arena = &run->scratch[thread]};
}

typedef struct scoring {
    training *run;
    size_t k; /* dpo: both texts, by 0 */
} scoring;

static keel_status score_shard(void *context, size_t shard, size_t thread, keel_err *err) {
    const scoring *s = context;
    training *run = s->run;
    keel_decoder_batch batch = run->batch;
    batch.training.drops = false;
    const keel_decoder_shard of = shard_of(run, &batch, shard, thread, thread);
    return keel__decoder_likelihoods(&of, s->k, run->score, err);
}

/* run->score of text k of the batch, by the model as it is. */
static keel_status score(training *run, size_t k, keel_err *err) {
    scoring s = {run, k};
    return keel_pool_run(run->job->pool, run->n_shards, score_shard, &s, err);
}

/* Of the batch of the first epoch that begins at `first`, packed as its update packs it. */
static keel_status find_reference_of(training *run, size_t first, keel_err *err) {
    if (keel_interrupted())
        return keel_fail(err, KEEL_E_INTERRUPTED, "sft", "stopped before the first update");
    KEEL_TRY(take_batch(run, first, err));
    KEEL_TRY(score(run, 0, err));
    if (config_of(run)->loss == KEEL_LOSS_KTO) KEEL_TRY(score(run, 1, err));
    for (size_t i = 0; i < run->n; i++)
        for (size_t k = 0; k < KEEL_DECODER_MOST_TEXTS; k++)
            run->reference[run->order[first + i] * KEEL_DECODER_MOST_TEXTS + k] = (float)run->score[i][k];
    return KEEL_OK;
}

static keel_status find_reference(training *run, keel_err *err) {
    const size_t n = run->units->n;
    keel_progress progress;
    keel_status status = KEEL_OK;
    order_epoch(run);
    keel_progress_start(&progress, "the model as it was", n);
    for (size_t first = 0; first < n && status == KEEL_OK; first += batch_of(run)) {
        status = find_reference_of(run, first, err);
        keel_progress_step(&progress, first + run->n, NULL);
    }
    keel_progress_end(&progress, n);
    return status;
}

/* kto: the mean of log p - log p_ref of responses to other dialogues, at least 0, by the model as it is now.
 */
static keel_status find_baseline(training *run, keel_err *err) {
    double sum = 0;
    run->batch.baseline = 0;
    if (config_of(run)->loss != KEEL_LOSS_KTO) return KEEL_OK;
    KEEL_TRY(score(run, 1, err));
    for (size_t i = 0; i < run->n; i++) sum += run->score[i][1] - run->example[i].reference[1];
    run->batch.baseline = fmax(0, sum / (double)run->n);
    return KEEL_OK;
}

/* ---- an update ---- */

static keel_status run_shard(void *context, size_t shard, size_t thread, keel_err *err) {
    training *run = context;
    keel_decoder_batch batch = run->batch;
    batch.training.seed =
        keel_hash64_mix((uint64_t)config_of(run)->common.seed, (uint64_t)run->at[UPDATES] << 16 | shard);
    const keel_decoder_shard of = shard_of(run, &batch, shard, thread, shard);
    KEEL_TRY(keel__decoder_loss(&of, &run->part[shard], err));
    keel_llama_fake_flow(run->model->llama, of.grads);
    return KEEL_OK;
}

static double rate_factor(const training *run) {
    const size_t warm = (size_t)(config_of(run)->warm_up * (double)run->total);
    return keel_schedule_factor((keel_schedule)config_of(run)->schedule,
                                (size_t)run->at[UPDATES] + (warm > 0), warm, run->total + (warm > 0));
}

static bool is_scaled(const training *run) {
    return config_of(run)->precision == KEEL_TUNE_FP16;
}

static keel_status step(training *run, keel_err *err) {
    const struct keel_decoder_base_config *c = config_of(run);
    keel_loss_scale scale = {.factor = (double)run->scale[0], .clean = (uint64_t)run->scale[1]};
    keel_params *params = &run->model->llama->params;
    keel_step_rule rule = {
        .adam = keel_adam_defaults(), .rate_factor = rate_factor(run), .clip_norm = c->clip_norm};
    keel_adam adam = {params->size, (uint64_t)run->at[STEPS], run->first, run->second};
    rule.adam.learning_rate = run->rate;
    rule.adam.weight_decay = c->weight_decay;
    if (is_scaled(run)) rule.scale = &scale;
    KEEL_TRY(keel_sharded_step_take(run->step, run->n_shards, run_shard, run, &rule, params, &adam,
                                    &run->norm, err));
    run->at[STEPS] = (int64_t)adam.steps;
    run->scale[0] = (float)scale.factor;
    run->scale[1] = (float)scale.clean;
    return keel_llama_fake_hold(run->model->llama, run->job->pool, err);
}

/* A gradient that is too large for binary16 moved nothing, and the next is scaled by less. */
static bool has_diverged(const training *run, double loss, float factor) {
    if (!isfinite(loss)) return true;
    return !isfinite(run->norm) && !(is_scaled(run) && factor > 1);
}

static keel_status update(training *run, keel_err *err) {
    static const char *const names[] = {"loss", "grad_norm"};
    double figure[2] = {0, 0};
    order_epoch(run);
    KEEL_TRY(take_batch(run, (size_t)(run->at[UPDATES] % (int64_t)run->per_epoch) * batch_of(run), err));
    KEEL_TRY(find_baseline(run, err));
    const float factor = run->scale[0];
    run->batch.scale = is_scaled(run) ? (double)factor : 1;
    KEEL_TRY(step(run, err));
    for (size_t s = 0; s < run->n_shards; s++) figure[0] += run->part[s];
    figure[1] = run->norm;
    if (has_diverged(run, figure[0], factor)) {
        keel_fail(err, KEEL_E_DIVERGED, "sft", "the loss is not finite after %lld updates",
                  (long long)run->at[UPDATES]);
        return keel_hint(err, "try a smaller --set learning_rate");
    }
    run->mean[0] =
        run->mean[0] < 0 ? (float)figure[0] : run->mean[0] + 0.05f * ((float)figure[0] - run->mean[0]);
    run->at[UPDATES]++;
    return keel_metrics_write(run->metrics, (uint64_t)run->at[UPDATES], names, figure, 2, err);
}

/* ---- checkpoints ---- */

enum { N_TENSORS = 6 };

static void list_tensors(training *run, int64_t at[N_PROGRESS], keel_named_tensor out[N_TENSORS]) {
    const keel_params *params = &run->model->llama->params;
    out[0] = keel_named_tensor_of("progress", KEEL_I64, N_PROGRESS, 0, at);
    out[1] = keel_named_tensor_of("loss", KEEL_F32, 1, 0, run->mean);
    out[2] = keel_named_tensor_of("scale", KEEL_F32, 2, 0, run->scale);
    out[3] = keel_named_tensor_of("trained", KEEL_F32, params->size, 0, params->data);
    out[4] = keel_named_tensor_of("first", KEEL_F32, params->size, 0, run->first);
    out[5] = keel_named_tensor_of("second", KEEL_F32, params->size, 0, run->second);
}

static keel_status keep(training *run, keel_err *err) {
    keel_named_tensor tensor[N_TENSORS];
    list_tensors(run, run->at, tensor);
    return keel_checkpoint_save(run->job->checkpoint[0], run->job->identity, tensor, N_TENSORS, err);
}

static keel_status resume(training *run, bool *found, keel_err *err) {
    keel_named_tensor tensor[N_TENSORS];
    int64_t at[N_PROGRESS] = {0};
    list_tensors(run, at, tensor);
    KEEL_TRY(
        keel_checkpoint_load(run->job->checkpoint[0], run->job->identity, tensor, N_TENSORS, found, err));
    if (!*found) return KEEL_OK;
    for (int i = 0; i < N_PROGRESS; i++)
        if (at[i] < 0 || (uint64_t)at[i] > run->total)
            return keel_fail(err, KEEL_E_INVALID, run->job->checkpoint[0],
                             "the checkpoint holds impossible numbers");
    if (!(run->scale[0] >= 1 && run->scale[1] >= 0 && run->scale[1] < 2000))
        return keel_fail(err, KEEL_E_INVALID, run->job->checkpoint[0],
                         "the checkpoint holds an impossible loss scale");
    memcpy(run->at, at, sizeof at);
    keel_log(KEEL_LOG_INFO, "sft: going on after %lld updates", (long long)run->at[UPDATES]);
    return keel_llama_fake_hold(run->model->llama, run->job->pool, err);
}

/* ---- the training ---- */

static keel_status run_updates(training *run, keel_err *err) {
    keel_progress progress;
    keel_status status = KEEL_OK;
    keel_progress_start(&progress, "tune decoder", run->total);
    while (status == KEEL_OK && (uint64_t)run->at[UPDATES] < run->total) {
        if (keel_interrupted()) {
            status = keep(run, err);
            if (status == KEEL_OK)
                status = keel_fail(err, KEEL_E_INTERRUPTED, "sft", "stopped after %lld updates",
                                   (long long)run->at[UPDATES]);
            break;
        }
        status = update(run, err);
        if (status == KEEL_OK && run->at[UPDATES] % config_of(run)->checkpoint_every == 0)
            status = keep(run, err);
        keel_progress_step(&progress, (uint64_t)run->at[UPDATES], NULL);
    }
    keel_progress_end(&progress, (uint64_t)run->at[UPDATES]);
    return status;
}

static keel_status run_all(training *run, keel_err *err) {
    const char *path = run->job->metrics_path;
    bool found = false;
    const keel_llama *teacher = run->teacher ? run->teacher->llama : NULL;
    KEEL_TRY(keel__decoder_check_memory(run->model, teacher, run->units, threads_of(run), err));
    KEEL_TRY(open_training(run, err));
    if (run->reference) KEEL_TRY(find_reference(run, err)); /* before a checkpoint moves the parameters */
    KEEL_TRY(resume(run, &found, err));
    const bool append = found && path && keel_file_exists(path);
    if (append) KEEL_TRY(keel_metrics_trim(path, (uint64_t)run->at[UPDATES], err));
    KEEL_TRY(keel_metrics_open(&run->metrics, path, append, err));
    keel_status status = run_updates(run, err);
    keel_status closed = keel_metrics_close(run->metrics, status == KEEL_OK ? err : NULL);
    return status == KEEL_OK ? closed : status;
}

keel_status keel__decoder_train(keel_decoder_base *model, const keel_base_tuning *job,
                                const keel_decoder_units *units, const keel_llama_teacher *teacher,
                                double rate, keel_decoder_trained *out, keel_err *err) {
    training run = {.model = model, .job = job, .units = units, .teacher = teacher, .rate = rate};
    keel_status status = run_all(&run, err);
    *out = (keel_decoder_trained){
        .updates = (uint64_t)run.at[UPDATES], .loss = (double)run.mean[0], .grad_norm = run.norm};
    close_training(&run);
    return status;
}
