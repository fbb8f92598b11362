#include "rl/train/export.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/options_internal.h"
#include "policies/artefact.h"
#include "policies/policy_internal.h"
#include "rl/train/inspect.h"
#include "rl/train/places.h"

enum { BETA_DECISIONS = 4096 }; /* training transitions that the search for beta looks at */

/* ---- the network that acts ---- */

/* Quantiles of the last layer, rows [K*N*A, columns], become their mean [K*A, columns]. */
static void average_rows(const float *from, float *to, size_t heads, size_t quantiles, size_t acts,
                         size_t columns) {
    for (size_t k = 0; k < heads; ++k)
        for (size_t a = 0; a < acts; ++a)
            for (size_t c = 0; c < columns; ++c) {
                double sum = 0;
                for (size_t j = 0; j < quantiles; ++j)
                    sum += (double)from[((k * quantiles + j) * acts + a) * columns + c];
                to[(k * acts + a) * columns + c] = (float)(sum / (double)quantiles);
            }
}

/* A network of its own, as artefacts have it: Q means, and called critic whatever it was called in training.
 */
static keel_status make_net(const keel_learner *learner, keel_qnet *out, keel_err *err) {
    const keel_qnet *from = keel_learner_acting(learner);
    keel_qnet_shape shape = from->shape;
    size_t acts = shape.space == KEEL_SPACE_CANDIDATES ? 1 : shape.n_acts;
    shape.quantiles = 0;
    KEEL_TRY(keel_qnet_open(out, &shape, err));
    for (size_t i = 0; i < out->params.count; ++i) {
        const keel_param *param = &out->params.table[i];
        const float *data = keel_params_at(&from->params, i);
        float *to = keel_params_at(&out->params, i);
        size_t elements = param->rows * param->cols, wide = from->params.table[i].rows;
        if (wide * from->params.table[i].cols == elements)
            memcpy(to, data, elements * sizeof *to);
        else
            average_rows(data, to, shape.heads, from->shape.quantiles, acts, elements / shape.heads / acts);
    }
    return KEEL_OK;
}

/* ---- beta ---- */

/* Prior and Q_w of some decisions, one after the other. */
typedef struct decisions {
    float *log_prior, *q_w;
    int32_t *offsets;
    size_t n, capacity; /* decisions */
    size_t rows, row_capacity;
} decisions;

static bool reserve(decisions *all, size_t more, size_t rows) {
    if (all->rows + rows <= all->row_capacity && all->n + more <= all->capacity) return true;
    size_t row_capacity = 2 * (all->row_capacity + rows), capacity = 2 * (all->capacity + more);
    float *prior = keel_realloc(all->log_prior, row_capacity * sizeof *prior);
    if (prior) all->log_prior = prior;
    float *q_w = keel_realloc(all->q_w, row_capacity * sizeof *q_w);
    if (q_w) all->q_w = q_w;
    int32_t *offsets = keel_realloc(all->offsets, (capacity + 1) * sizeof *offsets);
    if (offsets) all->offsets = offsets;
    if (!prior || !q_w || !offsets) return false;
    all->row_capacity = row_capacity;
    all->capacity = capacity;
    if (!all->n) offsets[0] = 0;
    return true;
}

/* q [rows of the network] -> Q_w per action: heads mixed, in the layout of either kind of action space. */
static void mix(const keel_policy *policy, const float *q, size_t n, size_t rows, float *q_w) {
    const keel_qnet_shape *shape = &policy->net.shape;
    size_t acts = shape->space == KEEL_SPACE_CANDIDATES ? 1 : shape->n_acts;
    size_t outer = shape->space == KEEL_SPACE_CANDIDATES ? rows : n;
    for (size_t i = 0; i < outer * acts; ++i)
        q_w[i] =
            (float)keel_qnet_objective(shape, policy->weight, policy->cost_weight,
                                       q + (i / acts) * keel_qnet_outputs(shape) * acts + i % acts, acts);
}

/* What is not supported has no prior: the search sees what deciding will see. */
static void add_decision(decisions *all, size_t size, double support) {
    float *prior = all->log_prior + all->offsets[all->n];
    double least = keel_policy_least_prior(prior, size, support);
    for (size_t i = 0; i < size; ++i)
        if ((double)prior[i] < least) prior[i] = -INFINITY;
    all->offsets[all->n + 1] = all->offsets[all->n] + (int32_t)size;
    all->n++;
}

/* The states as the network sees them under the policy's weights. NULL when out of memory. */
static const float *states_seen(const keel_policy *policy, const keel_batch *batch, keel_arena *arena) {
    size_t wide = policy->net.shape.state_dim, dim = wide - KEEL_N_REWARDS;
    float weight[KEEL_N_REWARDS], *state;
    if (!policy->conditioned) return batch->state;
    for (size_t k = 0; k < KEEL_N_REWARDS; ++k) weight[k] = (float)policy->weight[k];
    state = keel_arena_alloc(arena, batch->n * wide * sizeof *state);
    for (size_t i = 0; state && i < batch->n; ++i)
        keel_weighting_extend(batch->state + i * dim, weight, dim, state + i * wide);
    return state;
}

static keel_status add_batch(decisions *all, const keel_policy *policy, const keel_batch *batch,
                             keel_arena *arena, keel_err *err) {
    const keel_qnet *net = &policy->net;
    bool sets = net->shape.space == KEEL_SPACE_CANDIDATES;
    size_t acts = net->shape.n_acts, inputs = keel_qnet_n_rows(net, batch->offsets, batch->n);
    size_t rows = sets ? inputs : batch->n * acts;
    float *x = keel_arena_alloc(arena, inputs * net->input_dim * sizeof *x);
    float *q = keel_arena_alloc(arena, rows * keel_qnet_outputs(&net->shape) * sizeof *q);
    const float *state = states_seen(policy, batch, arena);
    if (!x || !q || !state || !reserve(all, batch->n, rows)) return keel_nomem(err, "training");
    keel_qnet_rows(net, state, batch->candidates, batch->offsets, NULL, batch->n, x);
    KEEL_TRY(keel_qnet_infer(net, x, inputs, q, NULL, arena, err));
    mix(policy, q, batch->n, rows, all->q_w + all->rows);
    if (rows) memcpy(all->log_prior + all->rows, batch->log_prior, rows * sizeof *all->log_prior);
    for (size_t i = 0; i < batch->n; ++i) {
        size_t size = sets ? (size_t)(batch->offsets[i + 1] - batch->offsets[i]) : acts;
        add_decision(all, size, policy->support);
    }
    all->rows += rows;
    return KEEL_OK;
}

/* Blocks of a batch each, spread evenly over the transitions, so that a large store is not read through for
 * this. */
static keel_status collect(const keel_export *with, const keel_policy *policy, decisions *all,
                           keel_arena *arena, keel_err *err) {
    size_t transitions = keel_sampler_about(with->sampler)->transitions;
    size_t batch_size = (size_t)with->learner->config.batch;
    size_t blocks = (transitions + batch_size - 1) / batch_size, wanted = BETA_DECISIONS / batch_size + 1;
    if (wanted > blocks) wanted = blocks;
    for (size_t i = 0; i < wanted; ++i) {
        keel_batch batch;
        keel_arena_reset(arena);
        KEEL_TRY(keel_sampler_read(with->sampler, i * blocks / wanted * batch_size, &batch, err));
        KEEL_TRY(add_batch(all, policy, &batch, arena, err));
    }
    return KEEL_OK;
}

/* For the policy's weights as they are. */
static keel_status find_beta(const keel_export *with, keel_policy *policy, keel_err *err) {
    const keel_learner_config *config = &with->learner->config;
    if (config->kl_budget == 0 || with->learner->kind->imitates) {
        policy->beta = config->beta;
        return KEEL_OK;
    }
    decisions all = {0};
    keel_arena arena = {0};
    keel_status status = collect(with, policy, &all, &arena, err);
    if (status == KEEL_OK)
        policy->beta = keel_policy_solve_beta(all.log_prior, all.q_w, all.offsets, all.n, config->kl_budget,
                                              config->beta_limit);
    keel_arena_free(&arena);
    keel_free(all.log_prior);
    keel_free(all.q_w);
    keel_free(all.offsets);
    return status;
}

/* At each point of the lattice; where there is weight on what was never logged, what the rest of it gives. */
static keel_status find_lattice(const keel_export *with, keel_policy *policy, keel_err *err) {
    const keel_learner *learner = with->learner;
    if (!learner->config.conditioned) return KEEL_OK;
    policy->conditioned = true;
    memcpy(policy->covered, learner->covered, sizeof policy->covered);
    for (size_t i = 0; i < KEEL_N_LATTICE; ++i) {
        keel_weighting_point(i, policy->weight);
        for (int k = 0; k < KEEL_N_REWARDS; ++k) policy->weight[k] *= policy->covered[k];
        KEEL_TRY(find_beta(with, policy, err));
        policy->lattice_beta[i] = policy->beta;
    }
    memcpy(policy->weight, learner->weight, sizeof policy->weight);
    return KEEL_OK;
}

/* ---- the artefact ---- */

static cJSON *parse_choice(const keel_train_choice *choice) {
    cJSON *json = NULL;
    return keel_json_parse(choice->json, strlen(choice->json), "choice", &json, NULL) == KEEL_OK ? json
                                                                                                 : NULL;
}

static cJSON *make_metrics(const keel_export *with, const keel_policy *policy, const keel_inspection *found,
                           const keel_constrained *constrained) {
    const keel_loss_parts *sum = &with->window->sum;
    double n = with->window->steps;
    const keel_sampler_summary *about = keel_sampler_about(with->sampler);
    cJSON *metrics = cJSON_CreateObject();
    cJSON *coverage = metrics ? cJSON_AddObjectToObject(metrics, "reward_coverage") : NULL;
    bool complete = coverage && cJSON_AddNumberToObject(metrics, "steps", (double)with->learner->step) &&
                    cJSON_AddNumberToObject(metrics, "transitions", (double)about->transitions) &&
                    cJSON_AddNumberToObject(metrics, "loss", sum->total / n) &&
                    cJSON_AddNumberToObject(metrics, "td", sum->td / n) &&
                    cJSON_AddNumberToObject(metrics, "conservative", sum->conservative / n) &&
                    cJSON_AddNumberToObject(metrics, "q_taken", sum->q_taken / n);
    for (int k = 0; complete && k < KEEL_N_REWARDS; ++k)
        complete = cJSON_AddNumberToObject(coverage, keel_reward_name(k), about->coverage[k]) != NULL;
    complete = complete && keel_inspection_add(metrics, found, policy);
    if (complete && with->trials)
        complete = keel_json_add(metrics, "validation", keel_validation_json(with->trials, with->validation));
    if (complete && with->choice) complete = keel_json_add(metrics, "choice", parse_choice(with->choice));
    if (complete && with->constraint)
        complete = keel_json_add(metrics, "constraint", keel_constrained_json(constrained, with->constraint));
    if (complete) return metrics;
    cJSON_Delete(metrics);
    return NULL;
}

static keel_status save(const keel_export *with, const keel_policy *policy,
                        const keel_constrained *constrained, const char *out_dir, keel_err *err) {
    keel_inspection found;
    KEEL_TRY(keel_inspect(with, policy, &found, err));
    if (!with->quiet) keel_inspection_tell(&found, with, policy);
    cJSON *metrics = make_metrics(with, policy, &found, constrained);
    cJSON *config = keel_options_to_json(with->learner->kind->options, &with->learner->config);
    char hash[65];
    keel_status status = metrics && config
                             ? keel_policy_save(policy, out_dir, with->lineage, config, metrics, hash, err)
                             : keel_nomem(err, "training");
    cJSON_Delete(metrics);
    cJSON_Delete(config);
    return status;
}

void keel_export_free(keel_policy *policy) {
    keel_qnet_close(&policy->net);
    keel_arena_free(&policy->arena);
}

static void set_acts(const keel_export *with, keel_policy *policy) {
    policy->n_acts = with->base->n_acts;
    policy->acts = with->base->acts;
    policy->fallback_act = with->acts->fallback;
    policy->declines = with->acts->declines;
    policy->n_fixed = with->base->n_fixed;
    memcpy(policy->act_outcome, with->acts->outcome, sizeof policy->act_outcome);
}

/* The largest that can be given masks nothing. */
static double threshold_of(const keel_learner *learner) {
    const double given = learner->config.harm_threshold;
    return learner->net.shape.cost && given < 1e6 ? given : INFINITY;
}

keel_status keel_export_make(const keel_export *with, keel_policy *out, keel_err *err) {
    const keel_learner *learner = with->learner;
    *out = (keel_policy){.support = learner->extras.support,
                         .harm_threshold = threshold_of(learner),
                         .cost_weight = learner->kind->cost_weight ? learner->kind->cost_weight(learner) : 0,
                         .imitates = learner->kind->imitates};
    memcpy(out->weight, learner->weight, sizeof out->weight);
    snprintf(out->base_hash, sizeof out->base_hash, "%s", with->base->hash);
    snprintf(out->algorithm, sizeof out->algorithm, "%s", keel_algorithms[learner->config.algorithm]);
    snprintf(out->split, sizeof out->split, "%s", with->split ? with->split->text : "all");
    KEEL_TRY(make_net(learner, &out->net, err));
    KEEL_TRY(find_lattice(with, out, err));
    set_acts(with, out);
    return find_beta(with, out, err);
}

keel_status keel_export_policy(const keel_export *with, const char *out_dir, keel_err *err) {
    keel_policy policy;
    keel_constrained constrained;
    keel_status status = keel_export_make(with, &policy, err);
    if (status == KEEL_OK && with->constraint)
        status = keel_constrain(with->constraint, with->store, with->base, with->rewards, &policy,
                                &constrained, err);
    if (status == KEEL_OK) status = keel_places_find(with, &policy, err);
    if (status == KEEL_OK) status = save(with, &policy, &constrained, out_dir, err);
    keel_export_free(&policy);
    return status;
}
