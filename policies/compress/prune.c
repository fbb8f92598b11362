#include "policies/compress/prune.h"

#include <math.h>

#include "policies/compress/rank.h"

/* ---- units ---- */

keel_status keel_prune_make(keel_prune_model *model, size_t n, keel_arena *arena, keel_err *err) {
    model->n = n;
    model->arena = arena;
    model->layer = keel_arena_calloc(arena, n, sizeof *model->layer);
    for (size_t l = 0; model->layer && l < n; l++) model->layer[l].harm = NAN;
    return model->layer ? KEEL_OK : keel_nomem(err, "prune");
}

keel_status keel_prune_set_units(keel_prune_model *model, size_t layer, keel_prune_kind kind, size_t n,
                                 size_t step, double parameters, keel_err *err) {
    keel_prune_units *units = &model->layer[layer].units[kind];
    *units = (keel_prune_units){.n = n,
                                .step = step,
                                .parameters = parameters,
                                .harm = NAN,
                                .importance = keel_arena_calloc(model->arena, n, sizeof(double)),
                                .order = keel_arena_calloc(model->arena, n, sizeof(uint32_t))};
    return units->importance && units->order ? KEEL_OK : keel_nomem(err, "prune");
}

static size_t steps_of(const keel_prune_units *units) {
    return (units->n - 1) / units->step;
}

static double step_size(const keel_prune_units *units) {
    return (double)units->step * units->parameters;
}

/* Steps as near to these parameters as can be. */
static size_t steps_for(const keel_prune_units *units, double parameters) {
    const double wanted = floor(fmax(parameters, 0) / step_size(units) + .5);
    return wanted < (double)steps_of(units) ? (size_t)wanted : steps_of(units);
}

static double layer_size(const keel_prune_layer *layer) {
    double size = layer->rest;
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++)
        size += (double)layer->units[k].n * layer->units[k].parameters;
    return size;
}

static unsigned kinds_of(const keel_compress_config *config) {
    return (unsigned)config->prune + 1;
}

static bool goes(const keel_compress_config *config, int kind) {
    return kinds_of(config) & (kind == KEEL_PRUNE_CHANNEL ? KEEL_PRUNE_CHANNELS : KEEL_PRUNE_GROUPS);
}

/* ---- whole layers ---- */

static bool asks_for_losses(const keel_compress_config *config) {
    return config->spread == KEEL_SPREAD_SENSITIVITY ||
           (kinds_of(config) & KEEL_PRUNE_LAYERS && config->importance != KEEL_IMPORTANCE_WEIGHT);
}

bool keel_prune_looks(const keel_compress_config *config) {
    return config->importance != KEEL_IMPORTANCE_WEIGHT || asks_for_losses(config);
}

static double whole_importance(const keel_prune_layer *layer) {
    double sum = 0;
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++)
        for (size_t i = 0; i < layer->units[k].n; i++) sum += layer->units[k].importance[i];
    return sum;
}

/* By how far off the model is without the layer (Kim et al. 2024, arXiv 2402.02834, section 3.2, by the
 * loss); beside other units layers are half of what goes, at most. */
static keel_status drop_layers(keel_prune_model *model, const keel_compress_config *config, double *budget,
                               keel_err *err) {
    const bool alone = kinds_of(config) == KEEL_PRUNE_LAYERS;
    size_t most = (size_t)(alone ? floor(config->ratio * (double)model->n + .5)
                                 : floor(config->ratio * (double)model->n / 2));
    if (!(kinds_of(config) & KEEL_PRUNE_LAYERS)) return KEEL_OK;
    for (size_t l = 0; l < model->n; l++) {
        keel_prune_layer *layer = &model->layer[l];
        const size_t all[] = {layer->units[0].n, layer->units[1].n};
        layer->harm = whole_importance(layer);
        if (config->importance == KEEL_IMPORTANCE_WEIGHT) continue;
        KEEL_TRY(model->harm(model->context, l, all, &layer->harm, err));
    }
    for (most = most < model->n ? most : model->n - 1; most-- > 0;) {
        keel_prune_layer *least = NULL;
        for (size_t l = 0; l < model->n; l++)
            if (!model->layer[l].gone && (!least || model->layer[l].harm < least->harm))
                least = &model->layer[l];
        least->gone = true;
        *budget -= layer_size(least);
    }
    return KEEL_OK;
}

/* ---- spread ---- */

/* Heads first, rounded down where channels make up for the rest. */
static void spread_layer(const keel_compress_config *config, keel_prune_layer *layer, double share) {
    keel_prune_units *channels = &layer->units[KEEL_PRUNE_CHANNEL], *heads = &layer->units[KEEL_PRUNE_HEAD];
    const double size = layer_size(layer);
    if (goes(config, KEEL_PRUNE_HEAD)) {
        const double part = goes(config, KEEL_PRUNE_CHANNEL)
                                ? floor(share / size * (double)heads->n) * heads->parameters
                                : share;
        heads->gone = steps_for(heads, part) * heads->step;
    }
    share -= (double)heads->gone * heads->parameters;
    if (goes(config, KEEL_PRUNE_CHANNEL)) channels->gone = steps_for(channels, share) * channels->step;
}

static void spread_evenly(keel_prune_model *model, const keel_compress_config *config, double budget) {
    double all = 0;
    for (size_t l = 0; l < model->n; l++)
        if (!model->layer[l].gone) all += layer_size(&model->layer[l]);
    for (size_t l = 0; l < model->n; l++)
        if (!model->layer[l].gone)
            spread_layer(config, &model->layer[l], budget * layer_size(&model->layer[l]) / all);
}

void keel_prune_cheapest(keel_prune_part *part, size_t n, double parameters) {
    for (;;) {
        keel_prune_part *best = NULL;
        for (size_t i = 0; i < n; i++)
            if (part[i].gone < part[i].n && (!best || part[i].cost[part[i].gone] < best->cost[best->gone]))
                best = &part[i];
        if (!best || best->parameters / 2 > parameters) return;
        best->gone++;
        parameters -= best->parameters;
    }
}

static double importance_gone(const keel_prune_units *units) {
    double gone = 0;
    for (size_t i = 0; i < units->gone; i++) gone += units->importance[units->order[i]];
    return gone;
}

/* Loss for importance, over all that was measured: for units of which nothing that matters went. */
static double usual_factor(const keel_prune_model *model, int kind) {
    double harm = 0, gone = 0;
    for (size_t l = 0; l < model->n; l++) {
        const keel_prune_units *units = &model->layer[l].units[kind];
        if (isnan(units->harm)) continue;
        harm += units->harm;
        gone += importance_gone(units);
    }
    return harm > 0 && gone > 0 ? harm / gone : 1;
}

static double factor_of(const keel_prune_model *model, const keel_prune_units *units, int kind) {
    const double gone = importance_gone(units);
    return gone > 0 ? units->harm / gone : usual_factor(model, kind);
}

static keel_status measure_harm(keel_prune_model *model, const keel_compress_config *config, keel_err *err) {
    for (size_t l = 0; l < model->n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            keel_prune_units *units = &model->layer[l].units[k];
            if (model->layer[l].gone || !goes(config, k) || steps_of(units) == 0) continue;
            if (units->gone == 0) units->gone = units->step;
            const size_t gone[KEEL_N_PRUNE_KINDS] = {k == 0 ? units->gone : 0, k == 1 ? units->gone : 0};
            KEEL_TRY(model->harm(model->context, l, gone, &units->harm, err));
        }
    return KEEL_OK;
}

/* What was measured says little of much more: half as much again as evenly goes, at most. */
static keel_status make_part(const keel_prune_model *model, const keel_prune_units *units, double factor,
                             keel_prune_part *out, keel_err *err) {
    const size_t even = units->gone / units->step, all = steps_of(units), most = (3 * even + 1) / 2,
                 n = most < all ? most : all;
    double *cost = keel_arena_calloc(model->arena, n + 1, sizeof *cost);
    if (!cost) return keel_nomem(err, "prune");
    for (size_t i = 0; i < n * units->step; i++)
        cost[i / units->step] += factor * units->importance[units->order[i]] / step_size(units);
    *out = (keel_prune_part){.n = n, .cost = cost, .parameters = step_size(units)};
    return KEEL_OK;
}

static keel_status spread_by_harm(keel_prune_model *model, const keel_compress_config *config, double budget,
                                  keel_err *err) {
    const size_t most = model->n * KEEL_N_PRUNE_KINDS;
    keel_prune_part *part = keel_arena_calloc(model->arena, most, sizeof *part);
    if (!part) return keel_nomem(err, "prune");
    KEEL_TRY(measure_harm(model, config, err));
    for (size_t i = 0; i < most; i++) {
        keel_prune_layer *layer = &model->layer[i / KEEL_N_PRUNE_KINDS];
        const int kind = (int)(i % KEEL_N_PRUNE_KINDS);
        const keel_prune_units *units = &layer->units[kind];
        if (!layer->gone && goes(config, kind))
            KEEL_TRY(make_part(model, units, factor_of(model, units, kind), &part[i], err));
    }
    keel_prune_cheapest(part, most, budget);
    for (size_t i = 0; i < most; i++) {
        keel_prune_units *units = &model->layer[i / KEEL_N_PRUNE_KINDS].units[i % KEEL_N_PRUNE_KINDS];
        units->gone = part[i].gone * units->step;
    }
    return KEEL_OK;
}

/* ---- all of it ---- */

/* Parameters that would go if as much as can went; those of the largest step. */
static double most_of(const keel_prune_model *model, const keel_compress_config *config, double *step) {
    double most = 0;
    *step = 0;
    for (size_t l = 0; l < model->n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            const keel_prune_units *units = &model->layer[l].units[k];
            if (model->layer[l].gone || !goes(config, k)) continue;
            most += (double)steps_of(units) * step_size(units);
            *step = fmax(*step, step_size(units));
        }
    return most;
}

static keel_status check_budget(const keel_prune_model *model, const keel_compress_config *config,
                                double budget, keel_err *err) {
    double step;
    const double most = most_of(model, config, &step);
    if (kinds_of(config) == KEEL_PRUNE_LAYERS || budget <= most + step / 2) return KEEL_OK;
    keel_fail(err, KEEL_E_INVALID, "ratio", "%g of the weights cannot go: prune=%s takes away at most %.2g",
              config->ratio, keel_compress_prunes[config->prune],
              config->ratio - (budget - most) / model->parameters);
    return keel_hint(err, "prune=channels,groups,layers takes the most");
}

static double gone_of(const keel_prune_layer *layer) {
    if (layer->gone) return layer_size(layer);
    double gone = 0;
    for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++)
        gone += (double)layer->units[k].gone * layer->units[k].parameters;
    return gone;
}

static double all_gone(const keel_prune_model *model) {
    double gone = 0;
    for (size_t l = 0; l < model->n; l++) gone += gone_of(&model->layer[l]);
    return gone;
}

keel_status keel_prune_decide(keel_prune_model *model, const keel_compress_config *config, keel_err *err) {
    double budget = config->ratio * model->parameters, none;
    for (size_t l = 0; l < model->n; l++)
        for (int k = 0; k < KEEL_N_PRUNE_KINDS; k++) {
            keel_prune_units *units = &model->layer[l].units[k];
            KEEL_TRY(keel_rank(units->importance, units->n, units->order, err));
        }
    if (asks_for_losses(config)) KEEL_TRY(model->harm(model->context, SIZE_MAX, NULL, &none, err));
    KEEL_TRY(drop_layers(model, config, &budget, err));
    KEEL_TRY(check_budget(model, config, budget, err));
    spread_evenly(model, config, budget);
    if (config->spread == KEEL_SPREAD_SENSITIVITY && kinds_of(config) != KEEL_PRUNE_LAYERS)
        KEEL_TRY(spread_by_harm(model, config, budget, err));
    if (all_gone(model) > 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, "ratio",
                     "%g of the weights is less than what can go at once: %d channels, a head, a layer",
                     config->ratio, KEEL_PRUNE_BLOCK);
}

static keel_status list_kept(const keel_prune_model *model, const keel_prune_units *units,
                             const uint32_t **out, size_t *n, keel_err *err) {
    uint32_t *kept = keel_arena_alloc(model->arena, (units->n + 1) * sizeof *kept);
    if (!kept) return keel_nomem(err, "prune");
    keel_rank_stay(units->order, units->n, units->gone, kept);
    *out = kept;
    *n = units->n - units->gone;
    return KEEL_OK;
}

keel_status keel_prune_kept(const keel_prune_model *model, keel_layer_kept **out, size_t *n, keel_err *err) {
    *n = 0;
    *out = keel_arena_calloc(model->arena, model->n, sizeof **out);
    if (!*out) return keel_nomem(err, "prune");
    for (size_t l = 0; l < model->n; l++) {
        const keel_prune_units *units = model->layer[l].units;
        keel_layer_kept *kept = *out + *n;
        if (model->layer[l].gone) continue;
        kept->layer = l;
        KEEL_TRY(list_kept(model, &units[KEEL_PRUNE_HEAD], &kept->head, &kept->n_heads, err));
        KEEL_TRY(list_kept(model, &units[KEEL_PRUNE_CHANNEL], &kept->inner, &kept->n_inner, err));
        (*n)++;
    }
    return KEEL_OK;
}

keel_status keel_prune_tell(const keel_prune_model *model, keel_compress_report *report, keel_err *err) {
    keel_compress_layer *rows = keel_calloc(model->n, sizeof *rows);
    if (!rows) return keel_nomem(err, "prune");
    keel_free(report->layer);
    report->layer = rows;
    report->n_layers = model->n;
    for (size_t l = 0; l < model->n; l++) {
        const keel_prune_layer *layer = &model->layer[l];
        const keel_prune_units *channels = &layer->units[KEEL_PRUNE_CHANNEL],
                               *heads = &layer->units[KEEL_PRUNE_HEAD];
        rows[l] = (keel_compress_layer){.channels_before = channels->n,
                                        .channels = layer->gone ? 0 : channels->n - channels->gone,
                                        .heads_before = heads->n,
                                        .heads = layer->gone ? 0 : heads->n - heads->gone,
                                        .harm = {layer->harm, channels->harm, heads->harm}};
    }
    keel_compress_tell(report, "pruned", all_gone(model) / model->parameters);
    return KEEL_OK;
}
