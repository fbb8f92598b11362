#include "policies/ngram_base/tune.h"

#include <string.h>

#include "policies/ngram_base/passes.h"
#include "policies/ngram_base/train.h"

const char *const keel__ngram_base_checkpoints[] = {"", ".states", ".candidates", NULL};

static void start_layers(const keel_tuning *tuning) {
    keel_params *params = &tuning->model->params;
    keel_rng rng = keel_rng_stream((uint64_t)tuning->model->config.common.seed, KEEL_STREAM_BASE_INIT, 0);
    keel_params_init(params, &rng);
    if (tuning->from) memcpy(params->data, tuning->from->params.data, params->size * sizeof *params->data);
}

static void write_report(const keel_tuning *tuning, const double losses[KEEL_N_LOSSES], uint64_t updates,
                         keel_base_report *report) {
    *report =
        (keel_base_report){.n_losses = KEEL_N_LOSSES,
                           .n_figures = 2,
                           .figure = {{"ngrams", (double)tuning->model->rows}, {"updates", (double)updates}}};
    if (tuning->soft)
        report->figure[report->n_figures++] =
            (keel_base_figure){"decisions_taught", (double)tuning->soft->taught};
    for (size_t k = 0; k < KEEL_N_LOSSES; k++)
        report->loss[k] = (keel_base_figure){keel__ngram_base_losses[k], losses[k]};
}

static keel_status make_model(keel_tuning *tuning, keel_err *err) {
    const keel_base_tuning *job = tuning->job;
    const struct keel_ngram_base_config *config = (const struct keel_ngram_base_config *)job->config;
    keel_ngram_base *model;
    KEEL_TRY(keel__ngram_base_make(&model, config, job->space, job->acts, job->n_acts, err));
    tuning->model = model;
    tuning->kept = keel_calloc(tuning->corpus->count, sizeof *tuning->kept);
    model->split = keel_arena_strdup(&model->arena, tuning->corpus->name);
    return tuning->kept && model->split ? KEEL_OK : keel_nomem(err, "n-gram base");
}

static keel_status run(keel_tuning *tuning, keel_base_report *report, keel_err *err) {
    double losses[KEEL_N_LOSSES];
    uint64_t updates;
    KEEL_TRY(make_model(tuning, err));
    KEEL_TRY(keel_soft_labels_ask(&tuning->soft, tuning->job, "n-gram base", false, err));
    KEEL_TRY(keel__ngram_base_count(tuning, err));
    start_layers(tuning);
    KEEL_TRY(keel__ngram_base_fit_heads(tuning, err));
    KEEL_TRY(keel__ngram_base_scale(tuning, err));
    KEEL_TRY(keel__ngram_base_train(tuning, losses, &updates, err));
    write_report(tuning, losses, updates, report);
    return KEEL_OK;
}

keel_status keel__ngram_base_tune(const keel_base_tuning *job, keel_base **out, keel_base_report *report,
                                  keel_err *err) {
    keel_tuning tuning = {.job = job, .corpus = job->corpus, .from = (const keel_ngram_base *)job->from};
    keel_status status = run(&tuning, report, err);
    if (status == KEEL_OK) /* now: they are no part of what is learned from */
        status = keel__ngram_base_offer(tuning.model, job->fixed, job->n_fixed, err);
    keel_soft_labels_free(tuning.soft);
    keel_arena_free(&tuning.memory);
    keel_free(tuning.kept);
    if (status == KEEL_OK)
        *out = &tuning.model->base;
    else if (tuning.model)
        keel__ngram_base_close(&tuning.model->base);
    return status;
}
