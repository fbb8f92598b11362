#include "toy_base.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "core/pcg.h"

typedef struct toy_base {
    keel_base base;
    toy_base_config config;
    double *count; /* [n_acts] */
    keel_arena arena;
} toy_base;

static keel_status make(toy_base **out, const toy_base_config *config, const char *const *acts, size_t n,
                        keel_err *err) {
    toy_base *toy = keel_calloc(1, sizeof *toy);
    if (!toy) return keel_nomem(err, "toy");
    toy->config = *config;
    toy->count = keel_arena_calloc(&toy->arena, n, sizeof *toy->count);
    toy->base = (keel_base){.kind = &toy_base_kind,
                            .config = &toy->config.common,
                            .space = KEEL_SPACE_ACTS,
                            .n_acts = n,
                            .acts = keel_arena_calloc(&toy->arena, n, sizeof(char *)),
                            .state_dim = (size_t)config->width};
    bool good = toy->count && toy->base.acts;
    for (size_t i = 0; good && i < n; i++)
        good = (toy->base.acts[i] = keel_arena_strdup(&toy->arena, acts[i])) != NULL;
    *out = toy;
    return good ? KEEL_OK : keel_nomem(err, "toy");
}

static void toy_close(keel_base *base) {
    keel_arena_free(&((toy_base *)base)->arena);
    keel_free(base);
}

static keel_status count_acts(toy_base *toy, keel_corpus *corpus, keel_err *err) {
    keel_arena arena = {0};
    keel_status status = KEEL_OK;
    for (size_t i = 0; i < corpus->count && status == KEEL_OK; i++) {
        keel_conversation *conversation;
        status = corpus->read(corpus, &i, 1, &arena, &conversation, err);
        for (size_t d = 0; status == KEEL_OK && d < conversation->n_decisions; d++)
            for (size_t c = 0; c < conversation->decisions[d].n_candidates; c++) {
                const keel_candidate *candidate = &conversation->decisions[d].candidates[c];
                int32_t act = keel_base_action_index(&toy->base, candidate);
                if (candidate->taken && act >= 0) toy->count[act]++;
            }
    }
    keel_arena_free(&arena);
    return status;
}

static keel_status toy_tune(const keel_base_tuning *tuning, keel_base **out, keel_base_report *report,
                            keel_err *err) {
    toy_base *toy;
    if (tuning->space != KEEL_SPACE_ACTS) return keel_fail(err, KEEL_E_UNSUPPORTED, "toy", "expected acts");
    KEEL_TRY(make(&toy, (const toy_base_config *)tuning->config, tuning->acts, tuning->n_acts, err));
    keel_status status = count_acts(toy, tuning->corpus, err);
    for (size_t i = 0; tuning->from && i < tuning->n_acts; i++)
        toy->count[i] += ((const toy_base *)tuning->from)->count[i];
    *report = (keel_base_report){.n_figures = 1, .figure = {{"acts", (double)tuning->n_acts}}};
    *out = &toy->base;
    if (status != KEEL_OK) toy_close(&toy->base);
    return status;
}

static keel_status toy_save(const keel_base *base, const char *dir, keel_err *err) {
    const toy_base *toy = (const toy_base *)base;
    char path[1024];
    cJSON *json = cJSON_CreateObject(), *counts = cJSON_AddObjectToObject(json, "counts");
    cJSON_AddNumberToObject(json, "width", (double)toy->config.width);
    cJSON_AddNumberToObject(json, "smoothing", toy->config.smoothing);
    for (size_t i = 0; i < base->n_acts; i++) cJSON_AddNumberToObject(counts, base->acts[i], toy->count[i]);
    snprintf(path, sizeof path, "%s/counts.json", dir);
    keel_status status = keel_json_write_file(path, json, err);
    cJSON_Delete(json);
    return status;
}

static keel_status read_counts(const cJSON *json, const char *where, toy_base **out, keel_err *err) {
    toy_base_config config = {0};
    const cJSON *counts = NULL, *item;
    const char *acts[16];
    double width = 0;
    size_t n = 0;
    KEEL_TRY(keel_json_object(json, "counts", true, &counts, where, err));
    KEEL_TRY(keel_json_number(json, "width", true, &width, where, err));
    KEEL_TRY(keel_json_number(json, "smoothing", true, &config.smoothing, where, err));
    config.width = (int64_t)width;
    cJSON_ArrayForEach (item, counts)
        if (n < 16) acts[n++] = item->string;
    KEEL_TRY(make(out, &config, acts, n, err));
    n = 0;
    cJSON_ArrayForEach (item, counts)
        if (n < (*out)->base.n_acts) (*out)->count[n++] = item->valuedouble;
    return KEEL_OK;
}

static keel_status toy_load(keel_base **out, const char *dir, keel_err *err) {
    char path[1024];
    cJSON *json = NULL;
    toy_base *toy = NULL;
    snprintf(path, sizeof path, "%s/counts.json", dir);
    KEEL_TRY(keel_json_parse_file(path, &json, err));
    keel_status status = read_counts(json, path, &toy, err);
    cJSON_Delete(json);
    *out = &toy->base;
    return status;
}

static double log_prior(const toy_base *toy, size_t act) {
    double total = 0;
    for (size_t i = 0; i < toy->base.n_acts; i++) total += toy->count[i] + toy->config.smoothing;
    return log((toy->count[act] + toy->config.smoothing) / total);
}

static keel_status toy_encode(const keel_base *base, const keel_base_item *items, size_t n,
                              keel_arena *scratch, keel_err *err) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < items[i].n; k++) {
            size_t decision = items[i].decision ? items[i].decision[k] : k;
            float *state = keel_arena_calloc(scratch, base->state_dim, sizeof *state);
            float *prior = keel_arena_calloc(scratch, base->n_acts, sizeof *prior);
            if (!state || !prior) return keel_nomem(err, "toy");
            for (size_t j = 0; j < base->state_dim; j++)
                state[j] = (float)items[i].conversation->decisions[decision].turn;
            for (size_t a = 0; a < base->n_acts; a++) prior[a] = (float)log_prior((const toy_base *)base, a);
            items[i].features[k] = (keel_features){
                .state_dim = base->state_dim, .n_actions = base->n_acts, .state = state, .log_prior = prior};
        }
    return KEEL_OK;
}

/* Writes the name of an act that is drawn from the prior. */
static keel_status toy_propose(const keel_base *base, const keel_proposal_item *items, size_t n,
                               const keel_proposal_config *config, keel_arena *scratch, keel_err *err) {
    (void)scratch, (void)err;
    keel_rng rng = keel_rng_stream(config->seed, KEEL_STREAM_MADE, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < items[i].n; k++) {
            double left = keel_rng_uniform(&rng);
            size_t act = 0;
            while (act + 1 < base->n_acts && (left -= exp(log_prior((const toy_base *)base, act))) > 0) act++;
            items[i].proposal[k] =
                (keel_proposal){base->acts[act], log_prior((const toy_base *)base, act), true};
        }
    return KEEL_OK;
}

static keel_status toy_log_prob(const keel_base *base, const keel_conversation *conversation, size_t decision,
                                const keel_candidate *candidates, size_t n, keel_arena *scratch, double *out,
                                keel_err *err) {
    (void)conversation, (void)decision, (void)scratch, (void)err;
    for (size_t i = 0; i < n; i++)
        out[i] = log_prior((const toy_base *)base, (size_t)keel_base_action_index(base, &candidates[i]));
    return KEEL_OK;
}

static const keel_option options[] = {
    KEEL_BASE_OPTION_SPACE,
    KEEL_BASE_OPTION_ACTS,
    {"width", KEEL_OPT_INT, offsetof(toy_base_config, width), "2", 1, 8, NULL, "width of the state features"},
    {"smoothing", KEEL_OPT_REAL, offsetof(toy_base_config, smoothing), "1", 0, 100, NULL, "added to counts"},
    KEEL_BASE_OPTION_MEMORY,
    KEEL_BASE_OPTION_SEED,
    {0}};
static const char *const shape[] = {"width", NULL};

const keel_base_kind toy_base_kind = {.type = "toy",
                                      .options = options,
                                      .config_size = sizeof(toy_base_config),
                                      .shape = shape,
                                      .tune = toy_tune,
                                      .load = toy_load,
                                      .save = toy_save,
                                      .encode = toy_encode,
                                      .propose = toy_propose,
                                      .log_prob = toy_log_prob,
                                      .close = toy_close};
