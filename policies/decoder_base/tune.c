/* Tuning, in this order: the model, which responses teach, the n-gram base beside it, training, scaling. */
#include "policies/decoder_base/tune.h"

#include <math.h>
#include <string.h>

#include "core/log.h"
#include "policies/compress/quantise.h"
#include "policies/decoder_base/encode.h"
#include "policies/decoder_base/file.h"
#include "policies/decoder_base/fresh.h"
#include "policies/decoder_base/train.h"
#include "policies/transformer/llama_fake.h"
#include "policies/transformer/tuning_rows.h"

/* Places of its checkpoints among the job's. */
enum { CHECKPOINT_TRAINING, CHECKPOINT_BESIDE };

typedef struct tuning {
    const keel_base_tuning *job;
    const struct keel_decoder_base_config *config;
    keel_decoder_base *model;
    keel_decoder_units units;
    keel_decoder_trained trained;
    keel_llama_teacher teacher; /* llama NULL: none */
    bool anew;                  /* the model is a new one */
} tuning;

/* ---- the model ---- */

static keel_status check_config(const struct keel_decoder_base_config *c, bool anew, bool taught,
                                keel_err *err) {
    const keel_tuning_fake fake = {c->fake_quant, c->fake_inputs, c->learned_scales};
    if (anew && c->mode != KEEL_DECODER_FULL) {
        keel_fail(err, KEEL_E_USAGE, "mode", "a new decoder knows nothing yet: all of it is tuned");
        return keel_hint(err, "use --mode full, or give --base a decoder: experiments/fetch-base.sh smollm2");
    }
    if (c->mode == KEEL_DECODER_NONE && c->loss != KEEL_LOSS_SFT)
        return keel_fail(err, KEEL_E_USAGE, "loss", "mode=none tunes nothing");
    if (taught && (c->loss != KEEL_LOSS_SFT || c->imitate != KEEL_IMITATE_TAKEN))
        return keel_fail(err, KEEL_E_USAGE, "--teacher",
                         "what a teacher chooses is learned by loss=sft and imitate=taken alone");
    return keel_tuning_check_fake(&fake, c->mode == KEEL_DECODER_FULL || c->mode == KEEL_DECODER_FREEZE, err);
}

static keel_status check_layers(const struct keel_decoder_base_config *c, const keel_llama *llama,
                                keel_err *err) {
    if (c->mode != KEEL_DECODER_FREEZE) return KEEL_OK;
    return keel_tuning_check_frozen(c->frozen_layers, llama->config.layers, "decoder", err);
}

/* ---- the teacher ---- */

static keel_status find_teacher(tuning *t, keel_err *err) {
    const keel_base *base = t->job->teacher_base;
    if (!base) return KEEL_OK;
    if (base->kind != &keel_decoder_base_kind)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "--teacher-base",
                         "a decoder learns from another decoder, not from a base of type \"%s\"",
                         base->kind->type);
    if (t->config->mode == KEEL_DECODER_NONE || t->config->loss != KEEL_LOSS_SFT)
        return keel_fail(err, KEEL_E_USAGE, "--teacher-base",
                         "what another base says is learned by loss=sft, in any mode but none");
    t->teacher = (keel_llama_teacher){.llama = ((const keel_decoder_base *)base)->llama,
                                      .share = (keel_real)t->config->common.distil,
                                      .temperature = (keel_real)t->config->common.distil_temperature};
    if (t->teacher.llama->n_virtual)
        return keel_fail(err, KEEL_E_UNSUPPORTED, "--teacher-base",
                         "it has virtual tokens: tune a teacher by another mode");
    return KEEL_OK;
}

static keel_status check_tokens(const tuning *t, const keel_llama *llama, keel_err *err) {
    if (!t->teacher.llama || keel_tokenizer_same(llama->tokenizer, t->teacher.llama->tokenizer))
        return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "--teacher-base",
                     "its tokens are not those of --base: both need the same tokenizer");
}

/* ---- the base ---- */

static keel_status open_llama(const tuning *t, keel_llama **out, keel_err *err) {
    if (t->anew) return keel__decoder_fresh(t->job, t->config, out, err);
    KEEL_TRY(keel__decoder_open_model(out, t->job->model, (keel_llama_weights)t->config->weights, err));
    keel_status status = keel_llama_settle(*out, err); /* an adapter becomes the model's own */
    if (status == KEEL_OK) status = check_layers(t->config, *out, err);
    if (status == KEEL_OK) status = check_tokens(t, *out, err);
    if (status != KEEL_OK) keel_llama_close(*out);
    return status;
}

/* Not from what was said. */
static bool learns_from_teacher_alone(const tuning *t) {
    return t->teacher.llama && t->teacher.share >= 1;
}

/* Whether it learns responses by heart: not from a teacher that never did. */
static bool learns_the_log(const tuning *t) {
    const keel_decoder_base *teacher = (const keel_decoder_base *)t->job->teacher_base;
    return t->config->mode != KEEL_DECODER_NONE && !(learns_from_teacher_alone(t) && !teacher->tuned);
}

static keel_status make_model(tuning *t, keel_err *err) {
    const keel_base_tuning *job = t->job;
    const keel_base_space space = {.space = job->space,
                                   .n_acts = job->n_acts,
                                   .acts = job->acts,
                                   .n_fixed = job->n_fixed,
                                   .fixed = job->fixed};
    keel_llama *llama;
    t->anew = !job->model;
    KEEL_TRY(check_config(t->config, t->anew, job->taught, err));
    KEEL_TRY(find_teacher(t, err));
    KEEL_TRY(open_llama(t, &llama, err));
    KEEL_TRY(keel__decoder_base_make(&t->model, t->config, llama, &space, err));
    t->model->split = keel_arena_strdup(&t->model->arena, job->corpus->name);
    t->model->tuned = learns_the_log(t);
    const keel_decoder_base *from = (const keel_decoder_base *)job->from;
    if (from) t->model->tuned |= from->tuned;
    return t->model->split ? KEEL_OK : keel_nomem(err, "decoder base");
}

/* ---- the n-gram base beside it ---- */

static keel_status tune_beside(const tuning *t, keel_err *err) {
    const keel_decoder_base *from = (const keel_decoder_base *)t->job->from;
    keel_base *beside = NULL;
    if (from && from->base.beside &&
        learns_from_teacher_alone(t)) /* the log teaches nothing: it stays as it is */
        KEEL_TRY(keel_beside_load(&beside, t->job->model, err));
    else if (keel_beside_wanted(t->model->config.ngrams, t->model->base.space))
        KEEL_TRY(keel_beside_tune(t->job, from ? from->base.beside : NULL, CHECKPOINT_BESIDE, &beside, err));
    return keel__decoder_base_join(t->model, beside, err);
}

/* ---- training ---- */

/* What virtual tokens say at first where they begin as a text. */
static const char told[] =
    "You are a helpful and harmless assistant: help where you can, and refuse what does harm.";

static keel_status start(const tuning *t, keel_llama *llama, keel_err *err) {
    enum { RANDOM, VOCABULARY, TEXT };
    const struct keel_decoder_base_config *c = t->config;
    keel_rng rng = keel_rng_stream((uint64_t)c->common.seed, KEEL_STREAM_BASE_INIT, 0);
    if (c->mode == KEEL_DECODER_LORA) keel_llama_lora_start(llama, &rng);
    if (c->mode != KEEL_DECODER_PROMPT) return KEEL_OK;
    if (c->prompt_start == TEXT) return keel_llama_prompt_text(llama, told, err);
    return c->prompt_start == RANDOM ? keel_llama_prompt_random(llama, &rng, err)
                                     : keel_llama_prompt_vocabulary(llama, &rng, err);
}

/* Compute as keel compress will hold it, if asked for. */
static keel_status fake(const tuning *t, keel_llama *llama, keel_err *err) {
    const keel_compress_config how = {.weights = t->config->fake_quant};
    if (!t->config->fake_quant) return KEEL_OK;
    keel_matrix_type *type = keel_calloc(llama->n_rows, sizeof *type);
    if (!type) return keel_nomem(err, "decoder base");
    for (size_t row = 0; row < llama->n_rows; row++) {
        const bool outer = row == KEEL_LLAMA_EMBED || row == keel_llama_head(&llama->config);
        if (keel_llama_is_matrix(&llama->config, row))
            type[row] = keel_quantise_type(&how, outer, llama->matrix[row].cols);
    }
    const keel_status status =
        keel_llama_fake_open(llama, type, t->config->fake_inputs != 0, t->job->pool, err);
    keel_free(type);
    return status;
}

static keel_status start_training(const tuning *t, keel_err *err) {
    const struct keel_decoder_base_config *c = t->config;
    const keel_llama_tuning plan = {
        .mode = (keel_llama_mode)(c->mode - KEEL_DECODER_FULL),
        .frozen_layers = (size_t)c->frozen_layers,
        .lora = {.rank = (size_t)c->rank,
                 .alpha = c->alpha,
                 .dropout = c->lora_dropout,
                 .rslora = c->rslora,
                 .targets = c->targets == 0 ? KEEL_LORA_QUERY | KEEL_LORA_VALUE : KEEL_LORA_DECODER},
        .n_virtual = (size_t)c->virtual_tokens,
        .scales = c->learned_scales};
    KEEL_TRY(keel_llama_train(t->model->llama, &plan, err));
    KEEL_TRY(keel__decoder_base_fit(t->model, err));
    KEEL_TRY(start(t, t->model->llama, err));
    return fake(t, t->model->llama, err);
}

static keel_status train(tuning *t, keel_err *err) {
    if (t->config->mode == KEEL_DECODER_NONE) return KEEL_OK;
    KEEL_TRY(start_training(t, err));
    KEEL_TRY(keel__decoder_units(t->model, t->job, &t->units, err));
    if (t->units.too_long > 0)
        keel_log(
            KEEL_LOG_INFO,
            "sft: %zu responses of more than candidate_tokens=%lld teach nothing (too_long=cut uses them)",
            t->units.too_long, (long long)t->config->candidate_tokens);
    if (t->units.n * (size_t)t->config->epochs < 20 * (size_t)t->config->batch)
        keel_log(
            KEEL_LOG_INFO,
            "sft: note: %zu texts in %lld passes are few updates of %lld: more epochs or a smaller batch teach more",
            t->units.n, (long long)t->config->epochs, (long long)t->config->batch);
    KEEL_TRY(keel__decoder_train(t->model, t->job, &t->units, t->teacher.llama ? &t->teacher : NULL,
                                 keel__decoder_rate(t->config, t->anew), &t->trained, err));
    keel_llama_fake_settle(t->model->llama);
    return KEEL_OK;
}

/* ---- scaling ---- */

/* Mean and deviation of the mean log-likelihood of responses, over the first conversations by name. */
enum { SCALED_BY = 64 };

typedef struct moments {
    double n, sum, square;
} moments;

static keel_status add_conversation(const keel_decoder_base *model, const keel_conversation *conversation,
                                    moments *to, keel_arena *scratch, keel_err *err) {
    const keel_base *base = &model->base;
    const size_t at = base->candidate_dim - 1; /* the last feature: mean 0, scale 1 as yet */
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        keel_features features;
        if (!keel_base_can_encode(base, &conversation->decisions[d])) continue;
        keel_arena_reset(scratch);
        KEEL_TRY(keel_base_encode_decision(base, conversation, d, scratch, &features, err));
        for (size_t i = 0; i < features.n_candidates; i++) {
            const double x = (double)features.candidates[i * features.candidate_dim + at];
            to->n++;
            to->sum += x;
            to->square += x * x;
        }
    }
    return KEEL_OK;
}

static keel_status scale(tuning *t, keel_err *err) {
    keel_corpus *corpus = t->job->corpus;
    keel_decoder_base *model = t->model;
    const size_t n = corpus->count < SCALED_BY ? corpus->count : SCALED_BY;
    keel_arena arena[1] = {{0}}, scratch = {0};
    moments all = {0};
    keel_status status = KEEL_OK;
    if (!keel__decoder_says(model)) return KEEL_OK;
    model->mean = -2; /* so that nothing is cut at four deviations: a token's likelihood is within 0 and -6 */
    for (size_t i = 0; i < n && status == KEEL_OK; i++) {
        keel_conversation *read;
        status = corpus->read(corpus, corpus->by_name + i, 1, arena, &read, err);
        if (status == KEEL_OK) status = add_conversation(model, read, &all, &scratch, err);
    }
    keel_arena_free(arena);
    keel_arena_free(&scratch);
    if (status != KEEL_OK || all.n == 0) return status;
    const double mean = all.sum / all.n, variance = all.square / all.n - mean * mean;
    model->mean += (float)mean;
    model->scale = variance > 1e-8 ? (float)(1 / sqrt(variance)) : 0;
    return KEEL_OK;
}

/* ---- all together ---- */

static size_t count_trained(const keel_llama *llama) {
    size_t sum = 0;
    for (size_t i = 0; i < llama->params.count; i++)
        sum += llama->params.table[i].rows * llama->params.table[i].cols;
    return sum;
}

static void add_figure(keel_base_report *report, const char *name, double value) {
    report->figure[report->n_figures++] = (keel_base_figure){name, value};
}

static void write_report(const tuning *t, keel_base_report *report) {
    static const char *const names[] = {"token", "dpo", "kto"};
    const keel_decoder_units *units = &t->units;
    *report = (keel_base_report){0};
    if (t->config->mode == KEEL_DECODER_NONE) return;
    add_figure(report, "responses_learned_from", (double)units->responses);
    add_figure(report, "texts", (double)units->n);
    add_figure(report, "responses_undeserving", (double)units->undeserving);
    add_figure(report, "responses_too_long", (double)units->too_long);
    add_figure(report, "responses_cut", (double)units->cut);
    add_figure(report, "dialogues_cut", (double)units->window_cut);
    add_figure(report, "tokens", (double)units->tokens);
    add_figure(report, "tokens_learned", (double)units->supervised);
    add_figure(report, "parameters_trained", (double)count_trained(t->model->llama));
    add_figure(report, "updates", (double)t->trained.updates);
    if (t->trained.updates > 0)
        report->loss[report->n_losses++] =
            (keel_base_figure){t->teacher.llama ? "taught" : names[t->config->loss], t->trained.loss};
}

static keel_status run(tuning *t, keel_base_report *report, keel_err *err) {
    KEEL_TRY(make_model(t, err));
    KEEL_TRY(train(t, err));
    KEEL_TRY(tune_beside(t, err));
    KEEL_TRY(scale(t, err));
    write_report(t, report);
    return KEEL_OK;
}

keel_status keel__decoder_base_tune(const keel_base_tuning *job, keel_base **out, keel_base_report *report,
                                    keel_err *err) {
    tuning t = {.job = job, .config = (const struct keel_decoder_base_config *)job->config};
    keel_status status = run(&t, report, err);
    keel__decoder_units_free(&t.units);
    if (status == KEEL_OK)
        *out = &t.model->base;
    else if (t.model)
        keel_base_close(&t.model->base);
    return status;
}
