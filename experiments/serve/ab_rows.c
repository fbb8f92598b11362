#include "experiments/serve/ab_rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"
#include "core/json.h"
#include "rewards/reward.h"

/* Shares that held under a start while some arms were stopped. */
typedef struct shares {
    struct shares *next;
    int64_t start;
    uint32_t stopped; /* bits by arm of the start */
    double of[KEEL_EXPERIMENT_ARMS];
} shares;

typedef struct loading {
    keel_store *store;
    const keel_ab_config *config;
    keel_arena *arena;
    keel_ab_rows *out;
    keel_serve_start *starts;
    size_t n_starts;
    size_t capacity, cells_capacity, n_segments;
    shares *shares;
    double changed[KEEL_EXPERIMENT_ARMS]; /* when an arm began to serve its last policy */
    size_t rows;                          /* since then */
    int64_t *talks;                       /* [talks_mask + 1] a set of conversations that were seen */
    size_t talks_mask;
} loading;

/* ---- arms ---- */

static size_t find_arm(const keel_ab_rows *rows, const char *name) {
    for (size_t i = 0; i < rows->n_arms; i++)
        if (strcmp(rows->arms[i], name) == 0) return i;
    return KEEL_EXPERIMENT_ARMS;
}

static keel_status parse_arms(const keel_serve_start *start, cJSON **out, keel_err *err) {
    KEEL_TRY(keel_json_parse(start->arms, strlen(start->arms), "serve_starts.arms", out, err));
    const cJSON *arm;
    bool whole = cJSON_IsObject(*out) && (*out)->child;
    cJSON_ArrayForEach (arm, *out) whole = whole && cJSON_IsNumber(arm) && arm->valuedouble >= 0;
    if (whole) return KEEL_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return keel_fail(err, KEEL_E_STORE, "serve_starts.arms", "expected an object of shares");
}

/* The arms of the last start, the control first. */
static keel_status name_arms(loading *l, keel_err *err) {
    cJSON *json = NULL;
    const cJSON *arm;
    keel_ab_rows *out = l->out;
    KEEL_TRY(parse_arms(&l->starts[l->n_starts - 1], &json, err));
    cJSON_ArrayForEach (arm, json) {
        if (out->n_arms == KEEL_EXPERIMENT_ARMS) break;
        out->policies[out->n_arms] = "";
        out->arms[out->n_arms++] = keel_arena_strdup(l->arena, arm->string);
        if (!out->arms[out->n_arms - 1]) break;
    }
    cJSON_Delete(json);
    if (!out->arms[out->n_arms - 1]) return keel_nomem(err, "arms");
    const size_t control = l->config->control ? find_arm(out, l->config->control) : 0;
    if (control == KEEL_EXPERIMENT_ARMS)
        return keel_fail(err, KEEL_E_NOT_FOUND, l->config->control,
                         "the last start of the server has no such arm");
    const char *name = out->arms[control];
    out->arms[control] = out->arms[0];
    out->arms[0] = name;
    return KEEL_OK;
}

/* As the start says; what stopped arms had goes to the first. */
static keel_status fill_shares(const loading *l, shares *made, keel_err *err) {
    cJSON *json = NULL;
    const cJSON *arm;
    size_t i = 0;
    while (i + 1 < l->n_starts && l->starts[i].id != made->start) i++;
    KEEL_TRY(parse_arms(&l->starts[i], &json, err));
    unsigned bit = 0;
    cJSON_ArrayForEach (arm, json) {
        const bool stopped = bit < 32 && made->stopped >> bit & 1;
        const size_t which = find_arm(l->out, stopped ? json->child->string : arm->string);
        if (which < l->out->n_arms) made->of[which] += arm->valuedouble;
        bit++;
    }
    cJSON_Delete(json);
    return KEEL_OK;
}

static keel_status find_shares(loading *l, const keel_served_row *row, const double **out, keel_err *err) {
    const uint32_t stopped = row->stopped;
    shares *one = l->shares;
    while (one && (one->start != row->start || one->stopped != stopped)) one = one->next;
    if (!one) {
        one = keel_arena_calloc(l->arena, 1, sizeof *one);
        if (!one) return keel_nomem(err, "shares");
        one->start = row->start, one->stopped = stopped;
        KEEL_TRY(fill_shares(l, one, err));
        one->next = l->shares;
        l->shares = one;
    }
    *out = one->of;
    return KEEL_OK;
}

/* ---- the first look: since when ---- */

static keel_status look_at_policies(void *context, const char *name, const char *policy, double at,
                                    keel_err *err) {
    loading *l = context;
    const size_t arm = find_arm(l->out, name);
    if (arm >= l->out->n_arms || strcmp(l->out->policies[arm], policy) == 0) return KEEL_OK;
    if (l->out->policies[arm][0]) l->changed[arm] = at;
    l->out->policies[arm] = keel_arena_strdup(l->arena, policy);
    return l->out->policies[arm] ? KEEL_OK : keel_nomem(err, "policies");
}

static keel_status settle_since(loading *l, keel_err *err) {
    for (size_t i = 0; i < KEEL_EXPERIMENT_ARMS; i++) l->changed[i] = -INFINITY;
    KEEL_TRY(keel_store_walk_arms(l->store, look_at_policies, l, err));
    l->out->since = isnan(l->config->since) ? -INFINITY : l->config->since;
    for (size_t i = 0; i < l->out->n_arms && isnan(l->config->since); i++)
        if (l->changed[i] > l->out->since) l->out->since = l->changed[i];
    return keel_store_count_served(l->store, l->out->since, &l->out->earlier, &l->rows, err);
}

/* ---- cells ---- */

static keel_status add_cell(loading *l, const char *segment, double from, uint32_t *out, keel_err *err) {
    keel_ab_rows *rows = l->out;
    if (rows->n_cells == KEEL_AB_MOST_CELLS) {
        keel_fail(err, KEEL_E_INVALID, "--window", "more than %d cells of segments and windows",
                  KEEL_AB_MOST_CELLS);
        return keel_hint(err, "choose a longer --window");
    }
    if (!keel_arena_grow(l->arena, &rows->cells, rows->n_cells, &l->cells_capacity, sizeof *rows->cells))
        return keel_nomem(err, "cells");
    const char *name = keel_arena_strdup(l->arena, segment);
    if (!name) return keel_nomem(err, "cells");
    rows->cells[rows->n_cells] = (keel_ab_cell){name, from};
    *out = (uint32_t)rows->n_cells++;
    return KEEL_OK;
}

static bool has_segment(const loading *l, const char *segment) {
    for (size_t i = 0; i < l->out->n_cells; i++)
        if (strcmp(l->out->cells[i].segment, segment) == 0) return true;
    return false;
}

static keel_status find_cell(loading *l, const keel_served_row *row, uint32_t *out, keel_err *err) {
    const double window = l->config->window;
    const double from = window > 0 ? floor(row->at / window) * window : -INFINITY;
    const char *segment = l->config->apart ? row->segment : "";
    if (l->n_segments >= KEEL_AB_MOST_SEGMENTS && !has_segment(l, segment)) segment = "other";
    for (size_t i = l->out->n_cells; i-- > 0;) {
        const keel_ab_cell *cell = &l->out->cells[i];
        if (!(cell->from < from) && !(cell->from > from) && strcmp(cell->segment, segment) == 0) {
            *out = (uint32_t)i;
            return KEEL_OK;
        }
    }
    l->n_segments += !has_segment(l, segment);
    return add_cell(l, segment, from, out, err);
}

/* ---- observations ---- */

/* Whether the conversation is seen for the first time. */
static bool is_new(loading *l, int64_t talk) {
    size_t at = keel_hash64(&talk, sizeof talk, 1) & l->talks_mask;
    while (l->talks[at] && l->talks[at] != talk) at = (at + 1) & l->talks_mask;
    const bool new = !l->talks[at];
    l->talks[at] = talk;
    return new;
}

static void put(keel_observation *o, int metric, bool known, double value) {
    o->applies |= 1u << metric;
    if (known) o->known |= 1u << metric;
    o->value[metric] = known ? (float)value : 0;
}

/* A talk was completed or not once, whatever number of its requests there are. */
static void measure(loading *l, const keel_served_row *row, keel_observation *o) {
#define WEIGHT_OF(id, name, weight, low, high) weight,
    static const double weight[KEEL_N_REWARDS] = {KEEL_REWARDS(WEIGHT_OF)};
#undef WEIGHT_OF
    bool known;
    const bool judged = row->outcome != KEEL_OUTCOME_NONE, first = is_new(l, row->conversation);
    if (row->risk == KEEL_RISK_DANGEROUS)
        put(o, KEEL_EXPERIMENT_REFUSAL, judged, row->outcome == KEEL_OUTCOME_REFUSAL);
    if (row->risk == KEEL_RISK_BENIGN)
        put(o, KEEL_EXPERIMENT_OVER_REFUSAL, judged, row->outcome != KEEL_OUTCOME_COMPLIANCE);
    if (row->risk == KEEL_RISK_BENIGN && first)
        put(o, KEEL_EXPERIMENT_COMPLETION, row->completed != KEEL_UNKNOWN, row->completed == KEEL_YES);
    put(o, KEEL_EXPERIMENT_FEEDBACK, row->feedback.present, (row->feedback.value + 1) / 2);
    const double earned = keel_reward_composite(&row->reward, weight, &known);
    put(o, KEEL_EXPERIMENT_COMPOSITE, known, fmin(fmax((earned + 1) / 2, 0), 1));
    l->out->unknown += row->risk == KEEL_RISK_UNKNOWN;
}

static uint64_t unit_of(const loading *l, const keel_served_row *row) {
    if (row->user && !l->config->by_talk) return keel_hash64_texts("user", row->user, 0);
    return keel_hash64(&row->conversation, sizeof row->conversation, 0);
}

static keel_status look_at_rows(void *context, const keel_served_row *row, keel_err *err) {
    loading *l = context;
    keel_ab_rows *out = l->out;
    const size_t arm = find_arm(out, row->arm);
    if (l->config->segment && strcmp(l->config->segment, row->segment) != 0) return KEEL_OK;
    out->shadow += row->shadow;
    out->other += !row->shadow && arm >= out->n_arms;
    if (row->shadow || arm >= out->n_arms || out->n == l->rows) return KEEL_OK;
    keel_observation *o = &out->observations[out->n];
    *o = (keel_observation){.unit = unit_of(l, row), .arm = (uint32_t)arm};
    KEEL_TRY(find_cell(l, row, &o->cell, err));
    KEEL_TRY(find_shares(l, row, &o->shares, err));
    measure(l, row, o);
    out->n++;
    return KEEL_OK;
}

static keel_status load(loading *l, keel_err *err) {
    KEEL_TRY(keel_store_starts(l->store, l->arena, &l->starts, &l->n_starts, err));
    if (l->n_starts == 0) {
        keel_fail(err, KEEL_E_NOT_FOUND, keel_store_path(l->store), "nothing was served into this store");
        return keel_hint(err, "`keel serve --store FILE` does");
    }
    KEEL_TRY(name_arms(l, err));
    KEEL_TRY(settle_since(l, err));
    for (l->talks_mask = 15; l->talks_mask < 2 * l->rows; l->talks_mask = 2 * l->talks_mask + 1) {}
    l->talks = keel_arena_calloc(l->arena, l->talks_mask + 1, sizeof *l->talks);
    l->out->observations = keel_arena_calloc(l->arena, l->rows + 1, sizeof *l->out->observations);
    if (!l->talks || !l->out->observations) return keel_nomem(err, "observations");
    return keel_store_walk_served(l->store, l->out->since, look_at_rows, l, err);
}

keel_status keel_ab_rows_load(keel_store *store, const keel_ab_config *config, keel_arena *arena,
                              keel_ab_rows *out, keel_err *err) {
    loading l = {.store = store, .config = config, .arena = arena, .out = out};
    bool has, held = false;
    *out = (keel_ab_rows){0};
    KEEL_TRY(keel_store_has_served(store, &has, err));
    if (!has)
        return keel_fail(err, KEEL_E_NOT_FOUND, keel_store_path(store), "nothing was served into this store");
    KEEL_TRY(keel_store_hold(store, &held, err));
    const keel_status status = load(&l, err);
    keel_store_release(store, held);
    return status;
}
