/* Minibatches. What a draw needs to know of a transition is a record; where its features lie is a row of the
 * features table. If records and features fit the cache, both are held in flat arrays; else records go to a
 * temporary file and each draw fetches its own rows in ascending order. Either way the same code fills the
 * batch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pcg.h"
#include "datasets/sampler_internal.h"

/* The features of one decision: state, candidates, log prior, one after the other. */
typedef struct view {
    int64_t row;
    const float *data;
    size_t n_candidates;
} view;

struct keel_sampler {
    keel_store *store;
    keel_sampler_config config; /* base_hash and acts are copies */
    keel_split split;
    keel_sampler_summary summary;
    size_t n_actions; /* of a fixed space */
    bool in_memory;
    keel_arena arena;      /* what lives as long as the sampler */
    keel_arena drawn;      /* features fetched for one draw */
    keel__record *records; /* in memory: [transitions], by ordinal */
    keel_spool *spool;     /* else */
    view *views;           /* in memory: all, ascending by row; else those of the draw */
    size_t n_views;
    keel__record *chosen; /* [batch] */
    uint64_t *ordinals;   /* [batch] */
    keel_batch batch;     /* points into the arrays of `room` */
    struct {
        float *state, *next_state, *reward, *bootstrap, *candidates, *next_candidates, *log_prior,
            *next_log_prior, *log_weight, *rule_reward, *returns;
        int32_t *action, *offsets, *next_offsets, *own;
        uint8_t *present, *usable, *rule_present, *declines, *ended;
    } room;
    keel__pool pool;
};

static bool ragged(const keel_sampler *sampler) {
    return sampler->config.space == KEEL_SPACE_CANDIDATES;
}

/* Bytes of records and features held in memory, blocks of the arena and all; records are put in order on the
 * way. */
static double bytes_needed(const keel_sampler *sampler, const keel__records_sizes *split) {
    enum { BLOCK_TAIL = 64 };
    double floats = (double)split->decisions * (double)(sampler->config.state_dim + sampler->n_actions);
    double fixed = (double)split->decisions * (double)sampler->config.n_fixed;
    if (ragged(sampler))
        floats += ((double)split->candidates + fixed) * (double)(sampler->config.candidate_dim + 1);
    return floats * sizeof(float) + (double)split->decisions * (sizeof(view) + BLOCK_TAIL) +
           2 * (double)split->transitions * sizeof(keel__record);
}

/* ---- in memory: all features in one sweep ---- */

static int compare_views(const void *a, const void *b) {
    int64_t x = ((const view *)a)->row, y = ((const view *)b)->row;
    return (x > y) - (x < y);
}

static const view *find_view(const keel_sampler *sampler, int64_t row) {
    view key = {.row = row};
    return bsearch(&key, sampler->views, sampler->n_views, sizeof key, compare_views);
}

/* Features of another shape than the learner asks for mean another base under the same name, or damage: never
 * guessed at. */
static keel_status check_shape(const keel_sampler *sampler, const keel_features *features, int64_t row,
                               keel_err *err) {
    const keel_sampler_config *config = &sampler->config;
    size_t sets = features->n_candidates, actions = ragged(sampler) ? sets : sampler->n_actions;
    size_t dim = ragged(sampler) && sets ? config->candidate_dim : features->candidate_dim;
    if (features->state_dim == config->state_dim && features->candidate_dim == dim &&
        features->n_actions == actions && (ragged(sampler) || sets == 0))
        return KEEL_OK;
    return keel_fail(
        err, KEEL_E_CONFLICT, sampler->store->path,
        "features of row %lld are for %zu state, %zu candidate dimensions and %zu actions; expected "
        "%zu, %zu and %zu",
        (long long)row, features->state_dim, features->candidate_dim, features->n_actions, config->state_dim,
        dim, actions);
}

static keel_status copy_view(keel_sampler *sampler, sqlite3_stmt *row, keel_arena *arena, view *out,
                             keel_err *err) {
    keel_features features;
    KEEL_TRY(keel__features_read(sampler->store, row, arena, &features, err));
    out->data = features.state;
    out->n_candidates = features.n_candidates;
    return check_shape(sampler, &features, out->row, err);
}

/* Whether the features that a record leads to fit the arrays of a draw: in a damaged store they may hold
 * other sets than their decisions have. */
static keel_status check_sets(const keel_sampler *sampler, const keel__record *item, const view *own,
                              const view *next, keel_err *err) {
    size_t most = sampler->summary.largest_set, after = next ? next->n_candidates : 0;
    if (!ragged(sampler) ||
        ((size_t)item->action < own->n_candidates && own->n_candidates <= most && after <= most))
        return KEEL_OK;
    return keel__store_damaged(sampler->store, "candidates or an action beyond its set", err);
}

static keel_status load_views(keel_sampler *sampler, const keel__records_of *of, size_t count,
                              keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status = KEEL_OK;
    bool row = true;
    sampler->views = keel_arena_calloc(&sampler->arena, count, sizeof *sampler->views);
    if (!sampler->views) return keel_nomem(err, sampler->store->path);
    KEEL_TRY(
        keel__records_prepare(of,
                              "SELECT f.state_dim, f.candidate_dim, f.n_candidates, f.n_actions, f.data, f.id"
                              " FROM conversations c JOIN decisions d ON d.conversation_id = c.id"
                              " JOIN features f ON f.decision_id = d.id AND f.base_hash = :base WHERE 1",
                              "", &statement, err));
    while (status == KEEL_OK && sampler->n_views < count) {
        status = keel__store_step(sampler->store, statement, &row, "loading features", err);
        if (status != KEEL_OK || !row) break;
        view *next = &sampler->views[sampler->n_views++];
        next->row = sqlite3_column_int64(statement, 5);
        status = copy_view(sampler, statement, &sampler->arena, next, err);
    }
    sqlite3_finalize(statement);
    qsort(sampler->views, sampler->n_views, sizeof *sampler->views, compare_views);
    return status;
}

/* Row ids become places in the array of views, so that a draw looks nothing up. */
static keel_status resolve_records(keel_sampler *sampler, keel_err *err) {
    for (size_t i = 0; i < sampler->summary.transitions; i++) {
        keel__record *item = &sampler->records[i];
        const view *own = find_view(sampler, item->features);
        const view *next = item->next ? find_view(sampler, item->next) : NULL;
        if (!own || (item->next && !next))
            return keel_fail(err, KEEL_E_STORE, sampler->store->path,
                             "the store changed while it was being read");
        KEEL_TRY(check_sets(sampler, item, own, next, err));
        item->features = own - sampler->views + 1;
        item->next = next ? next - sampler->views + 1 : 0;
    }
    return KEEL_OK;
}

/* ---- else: a temporary file, and the rows of each draw ---- */

static keel_status fetch_view(keel_sampler *sampler, view *into, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__store_statement(sampler->store, KEEL__SQL_ROW_FEATURES, &statement, err));
    sqlite3_bind_int64(statement, 1, into->row);
    KEEL_TRY(keel__store_step(sampler->store, statement, &row, "fetching features", err));
    keel_status status =
        row ? copy_view(sampler, statement, &sampler->drawn, into, err)
            : keel_fail(err, KEEL_E_STORE, sampler->store->path,
                        "features of row %lld are gone: labelled or imported anew during training?",
                        (long long)into->row);
    sqlite3_reset(statement);
    return status;
}

/* Each row once, in ascending order: neighbours on disk are read together. */
static keel_status fetch_views(keel_sampler *sampler, size_t n, keel_err *err) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        sampler->views[count++].row = sampler->chosen[i].features;
        if (sampler->chosen[i].next) sampler->views[count++].row = sampler->chosen[i].next;
    }
    qsort(sampler->views, count, sizeof *sampler->views, compare_views);
    sampler->n_views = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || sampler->views[i].row != sampler->views[sampler->n_views - 1].row)
            sampler->views[sampler->n_views++] = sampler->views[i];
    keel_arena_reset(&sampler->drawn);
    for (size_t i = 0; i < sampler->n_views; i++) KEEL_TRY(fetch_view(sampler, &sampler->views[i], err));
    for (size_t i = 0; i < n; i++) {
        const keel__record *item = &sampler->chosen[i];
        const view *next = item->next ? find_view(sampler, item->next) : NULL;
        KEEL_TRY(check_sets(sampler, item, find_view(sampler, item->features), next, err));
    }
    return KEEL_OK;
}

/* ---- filling the batch ---- */

static const view *view_of(const keel_sampler *sampler, int64_t place) {
    return sampler->in_memory ? &sampler->views[place - 1] : find_view(sampler, place);
}

/* One side (this decision or the next) of item b. from NULL: no such decision; zeros, or an empty set. */
static void fill_side(const keel_sampler *sampler, size_t b, const view *from, float *state, int32_t *offsets,
                      float *candidates, float *log_prior) {
    size_t state_dim = sampler->config.state_dim, dim = sampler->config.candidate_dim, n = sampler->n_actions;
    if (from)
        memcpy(state + b * state_dim, from->data, state_dim * sizeof *state);
    else
        memset(state + b * state_dim, 0, state_dim * sizeof *state);
    if (!ragged(sampler)) {
        if (from)
            memcpy(log_prior + b * n, from->data + state_dim, n * sizeof *log_prior);
        else
            memset(log_prior + b * n, 0, n * sizeof *log_prior);
        return;
    }
    size_t set = from ? from->n_candidates : 0, first = (size_t)offsets[b];
    offsets[b + 1] = (int32_t)(first + set);
    if (!set) return;
    memcpy(candidates + first * dim, from->data + state_dim, set * dim * sizeof *candidates);
    memcpy(log_prior + first, from->data + state_dim + set * dim, set * sizeof *log_prior);
}

/* The set of item b with what a draw adds to it. rng NULL: as it was logged. */
static void fill_set(keel_sampler *sampler, size_t b, const view *from, keel_rng *rng) {
    const keel_sampler_config *config = &sampler->config;
    const keel__record *item = &sampler->chosen[b];
    size_t first = (size_t)sampler->room.offsets[b], dim = config->candidate_dim;
    const float *rows = from->data + config->state_dim;
    keel__set set = {.record = item,
                     .state = from->data,
                     .rows = rows,
                     .log_prior = rows + from->n_candidates * dim,
                     .n = from->n_candidates,
                     .to_rows = sampler->room.candidates + first * dim,
                     .to_log_prior = sampler->room.log_prior + first,
                     .to_log_weight = sampler->room.log_weight + first,
                     .to_rule = sampler->room.rule_reward + first * KEEL_N_REWARDS,
                     .to_present = sampler->room.rule_present + first * KEEL_N_REWARDS,
                     .to_declines = sampler->room.declines + first,
                     .action = item->action};
    memcpy(sampler->room.state + b * config->state_dim, from->data, config->state_dim * sizeof *rows);
    keel__others_fill(config, rng ? &sampler->pool : NULL, rng, &set);
    sampler->room.own[b] = (int32_t)set.own;
    sampler->room.offsets[b + 1] = (int32_t)(first + set.all);
    sampler->room.action[b] = set.action;
}

/* What other acts than the taken one earn by rule: in the space of outcomes an act is one. */
static void fill_rules(keel_sampler *sampler, size_t b) {
    const keel__record *item = &sampler->chosen[b];
    size_t n = sampler->n_actions;
    for (size_t a = 0; a < n; a++) {
        size_t at = (b * n + a) * KEEL_N_REWARDS;
        bool told = sampler->config.space == KEEL_SPACE_OUTCOMES && a != (size_t)item->action;
        keel__rule_fill(&sampler->config, item, told ? (int)a + 1 : KEEL_OUTCOME_NONE,
                        sampler->room.rule_reward + at, sampler->room.rule_present + at);
    }
}

static void fill_declines(keel_sampler *sampler, size_t b) {
    const bool *declines = sampler->config.declines;
    bool outcomes = sampler->config.space == KEEL_SPACE_OUTCOMES;
    for (size_t a = 0; a < sampler->n_actions; a++)
        sampler->room.declines[b * sampler->n_actions + a] =
            outcomes ? a + 1 == KEEL_OUTCOME_REFUSAL : declines && declines[a];
}

static void fill_reward(keel_sampler *sampler, size_t b) {
    const keel__record *item = &sampler->chosen[b];
    memcpy(sampler->room.reward + b * KEEL_N_REWARDS, item->reward, sizeof item->reward);
    memcpy(sampler->room.present + b * KEEL_N_REWARDS, item->present, sizeof item->present);
    memcpy(sampler->room.returns + b * KEEL_N_REWARDS, item->returns, sizeof item->returns);
    sampler->room.bootstrap[b] = item->bootstrap;
    sampler->room.usable[b] = item->usable;
    sampler->room.ended[b] = item->ended;
}

static void fill_batch(keel_sampler *sampler, size_t n, keel_rng *rng) {
    for (size_t b = 0; b < n; b++) {
        const keel__record *item = &sampler->chosen[b];
        const view *next = item->next ? view_of(sampler, item->next) : NULL;
        sampler->room.action[b] = item->action;
        if (ragged(sampler))
            fill_set(sampler, b, view_of(sampler, item->features), rng);
        else
            fill_side(sampler, b, view_of(sampler, item->features), sampler->room.state, NULL, NULL,
                      sampler->room.log_prior);
        fill_side(sampler, b, next, sampler->room.next_state, sampler->room.next_offsets,
                  sampler->room.next_candidates, sampler->room.next_log_prior);
        if (sampler->config.rule && !ragged(sampler)) fill_rules(sampler, b);
        if (!ragged(sampler)) fill_declines(sampler, b);
        fill_reward(sampler, b);
    }
    sampler->batch.n = n;
}

/* The batch of the n ordinals that were chosen. rng NULL: sets as they were logged. */
static keel_status gather(keel_sampler *sampler, size_t n, keel_rng *rng, keel_batch *batch, keel_err *err) {
    for (size_t b = 0; b < n; b++) {
        if (sampler->in_memory)
            sampler->chosen[b] = sampler->records[sampler->ordinals[b]];
        else
            KEEL_TRY(keel_spool_get(sampler->spool, sampler->ordinals[b], &sampler->chosen[b], err));
    }
    if (!sampler->in_memory) {
        bool held;
        KEEL_TRY(keel_store_hold(sampler->store, &held, err));
        keel_status status = fetch_views(sampler, n, err);
        keel_store_release(sampler->store, held);
        if (status != KEEL_OK) return status;
    }
    fill_batch(sampler, n, rng);
    *batch = sampler->batch;
    return KEEL_OK;
}

keel_status keel_sampler_draw(keel_sampler *sampler, uint64_t step, keel_batch *batch, keel_err *err) {
    keel_rng rng = keel_rng_stream(sampler->config.seed, KEEL_STREAM_SAMPLE, step);
    for (size_t b = 0; b < sampler->config.batch; b++)
        sampler->ordinals[b] = keel_rng_below(&rng, sampler->summary.transitions);
    keel_rng others = keel_rng_stream(sampler->config.seed, KEEL_STREAM_OTHERS, step);
    return gather(sampler, sampler->config.batch, sampler->pool.n ? &others : NULL, batch, err);
}

keel_status keel_sampler_read(keel_sampler *sampler, size_t index, keel_batch *batch, keel_err *err) {
    size_t left = index < sampler->summary.transitions ? sampler->summary.transitions - index : 0;
    size_t n = left < sampler->config.batch ? left : sampler->config.batch;
    for (size_t b = 0; b < n; b++) sampler->ordinals[b] = index + b;
    return gather(sampler, n, NULL, batch, err);
}

const keel_sampler_summary *keel_sampler_about(const keel_sampler *sampler) {
    return &sampler->summary;
}

/* ---- opening ---- */

static keel_status check_config(const keel_sampler_config *config, keel_err *err) {
    bool good = config->base_hash && config->batch > 0 && config->batch < (1u << 20) &&
                config->state_dim > 0 &&
                (config->space != KEEL_SPACE_CANDIDATES || config->candidate_dim > 0) &&
                (config->space != KEEL_SPACE_ACTS || (config->acts && config->n_acts > 0));
    return good ? KEEL_OK
                : keel_fail(err, KEEL_E_INVALID, "keel_sampler_open",
                            "a base, a batch, the dimensions and the acts of a space of acts must be given");
}

static keel_status copy_config(keel_sampler *sampler, const keel_sampler_config *config, keel_err *err) {
    bool acts = config->space == KEEL_SPACE_ACTS;
    sampler->config = *config;
    sampler->config.base_hash = keel_arena_strdup(&sampler->arena, config->base_hash);
    sampler->config.acts = NULL;
    sampler->n_actions = acts ? config->n_acts : config->space == KEEL_SPACE_OUTCOMES ? KEEL_N_OUTCOMES : 0;
    if (!sampler->config.base_hash) return keel_nomem(err, sampler->store->path);
    if (!acts) return KEEL_OK;
    const char **names = keel_arena_calloc(&sampler->arena, config->n_acts, sizeof *names);
    if (!names) return keel_nomem(err, sampler->store->path);
    for (size_t i = 0; i < config->n_acts; i++)
        if (!(names[i] = keel_arena_strdup(&sampler->arena, config->acts[i])))
            return keel_nomem(err, sampler->store->path);
    sampler->config.acts = names;
    return KEEL_OK;
}

/* Zeroed room that lives as long as the sampler. */
static void *take(keel_sampler *sampler, size_t count, size_t size, bool *whole) {
    void *made = keel_arena_calloc(&sampler->arena, count, size);
    *whole = *whole && made;
    return made;
}

/* Room for the largest batch there can be: no draw allocates. */
static keel_status make_room(keel_sampler *sampler, keel_err *err) {
    size_t n = sampler->config.batch, rows = 0, floats = 0, priors = n * sampler->n_actions;
    size_t states = n * sampler->config.state_dim;
    bool whole = true;
    if (ragged(sampler)) {
        size_t most = sampler->summary.largest_set + keel__others_most(&sampler->config);
        if (!keel_size_mul(n, most, &rows) || rows > INT32_MAX ||
            !keel_size_mul(rows, sampler->config.candidate_dim, &floats))
            return keel_fail(err, KEEL_E_INVALID, "batch", "%zu sets of up to %zu candidates are too many", n,
                             most);
        priors = rows;
        sampler->room.own = take(sampler, n, sizeof(int32_t), &whole);
        sampler->room.log_weight = take(sampler, rows, sizeof(float), &whole);
        sampler->room.candidates = take(sampler, floats, sizeof(float), &whole);
        sampler->room.next_candidates = take(sampler, floats, sizeof(float), &whole);
        sampler->room.offsets = take(sampler, n + 1, sizeof(int32_t), &whole);
        sampler->room.next_offsets = take(sampler, n + 1, sizeof(int32_t), &whole);
    }
    sampler->room.state = take(sampler, states, sizeof(float), &whole);
    sampler->room.next_state = take(sampler, states, sizeof(float), &whole);
    sampler->room.log_prior = take(sampler, priors, sizeof(float), &whole);
    sampler->room.next_log_prior = take(sampler, priors, sizeof(float), &whole);
    sampler->room.action = take(sampler, n, sizeof(int32_t), &whole);
    sampler->room.reward = take(sampler, n * KEEL_N_REWARDS, sizeof(float), &whole);
    sampler->room.present = take(sampler, n, KEEL_N_REWARDS, &whole);
    sampler->room.bootstrap = take(sampler, n, sizeof(float), &whole);
    sampler->room.usable = take(sampler, n, 1, &whole);
    sampler->room.ended = take(sampler, n, 1, &whole);
    sampler->room.returns = take(sampler, n * KEEL_N_REWARDS, sizeof(float), &whole);
    sampler->room.rule_reward = take(sampler, priors * KEEL_N_REWARDS, sizeof(float), &whole);
    sampler->room.rule_present = take(sampler, priors * KEEL_N_REWARDS, 1, &whole);
    sampler->room.declines = take(sampler, priors, 1, &whole);
    sampler->chosen = take(sampler, n, sizeof *sampler->chosen, &whole);
    sampler->ordinals = take(sampler, n, sizeof *sampler->ordinals, &whole);
    if (!sampler->in_memory) sampler->views = take(sampler, 2 * n, sizeof *sampler->views, &whole);
    return whole ? KEEL_OK : keel_nomem(err, sampler->store->path);
}

static void point_batch(keel_sampler *sampler) {
    sampler->batch = (keel_batch){.state = sampler->room.state,
                                  .action = sampler->room.action,
                                  .reward = sampler->room.reward,
                                  .present = sampler->room.present,
                                  .bootstrap = sampler->room.bootstrap,
                                  .usable = sampler->room.usable,
                                  .next_state = sampler->room.next_state,
                                  .own = sampler->room.own,
                                  .log_weight = sampler->room.log_weight,
                                  .rule_reward = sampler->room.rule_reward,
                                  .rule_present = sampler->config.rule ? sampler->room.rule_present : NULL,
                                  .declines = sampler->room.declines,
                                  .returns = sampler->room.returns,
                                  .ended = sampler->room.ended,
                                  .offsets = sampler->room.offsets,
                                  .candidates = sampler->room.candidates,
                                  .next_offsets = sampler->room.next_offsets,
                                  .next_candidates = sampler->room.next_candidates,
                                  .log_prior = sampler->room.log_prior,
                                  .next_log_prior = sampler->room.next_log_prior};
}

static keel_status load(keel_sampler *sampler, keel_err *err) {
    const keel__records_of of = {sampler->store, &sampler->split, &sampler->config, sampler->n_actions};
    keel__records_sizes split = {0};
    KEEL_TRY(keel__records_measure(&of, &split, err));
    sampler->in_memory = bytes_needed(sampler, &split) <= (double)sampler->config.cache_bytes;
    if (!sampler->in_memory) {
        enum { PAGE = 4096 }; /* what a read of a random place brings anyway */
        KEEL_TRY(keel_spool_open(&sampler->spool, sizeof(keel__record), PAGE, err));
        return keel__records_list(&of, NULL, 0, sampler->spool, &sampler->summary, err);
    }
    sampler->records = keel_arena_calloc(&sampler->arena, split.transitions, sizeof(keel__record));
    if (!sampler->records) return keel_nomem(err, sampler->store->path);
    KEEL_TRY(keel__records_list(&of, sampler->records, split.transitions, NULL, &sampler->summary, err));
    KEEL_TRY(load_views(sampler, &of, split.decisions, err));
    return resolve_records(sampler, err);
}

/* Evenly over all transitions, so that the pool depends neither on the cache nor on the order of imports. */
static keel_status fill_pool(keel_sampler *sampler, keel_err *err) {
    const keel_sampler_config *config = &sampler->config;
    size_t all = sampler->summary.transitions, n = all < KEEL_SAMPLER_POOL ? all : KEEL_SAMPLER_POOL;
    if (!keel__others_wanted(config)) return KEEL_OK;
    keel__pool pool;
    KEEL_TRY(keel__pool_room(&pool, config, n, &sampler->arena, err));
    for (size_t done = 0, now; done < n; done += now) {
        keel_batch batch;
        now = n - done < config->batch ? n - done : config->batch;
        for (size_t b = 0; b < now; b++)
            sampler->ordinals[b] = (uint64_t)((double)(done + b) * ((double)all / (double)n));
        KEEL_TRY(gather(sampler, now, NULL, &batch, err));
        for (size_t b = 0; b < now; b++)
            keel__pool_add(&pool, config, &sampler->chosen[b], batch.state + b * config->state_dim,
                           batch.candidates +
                               (size_t)(batch.offsets[b] + batch.action[b]) * config->candidate_dim);
    }
    sampler->pool = pool;
    return KEEL_OK;
}

/* One look at the store as it is, and a first batch: what is wrong with the features is said now. */
static keel_status open_all(keel_sampler *sampler, keel_err *err) {
    keel_batch first;
    bool held;
    KEEL_TRY(keel_store_hold(sampler->store, &held, err));
    keel_status status = load(sampler, err);
    keel_store_release(sampler->store, held);
    if (status == KEEL_OK) status = make_room(sampler, err);
    if (status != KEEL_OK) return status;
    point_batch(sampler);
    KEEL_TRY(keel_sampler_read(sampler, 0, &first, err));
    return fill_pool(sampler, err);
}

keel_status keel_sampler_open(keel_sampler **out, keel_store *store, const keel_split *split,
                              const keel_sampler_config *config, keel_err *err) {
    KEEL_TRY(check_config(config, err));
    KEEL_TRY(keel_store_check_split(store, split, err));
    keel_sampler *sampler = keel_calloc(1, sizeof *sampler);
    if (!sampler) return keel_nomem(err, store->path);
    sampler->store = store;
    if (split)
        sampler->split = *split;
    else
        snprintf(sampler->split.text, sizeof sampler->split.text, "all");
    keel_status status = copy_config(sampler, config, err);
    if (status == KEEL_OK) status = open_all(sampler, err);
    if (status == KEEL_OK)
        *out = sampler;
    else
        keel_sampler_close(sampler);
    return status;
}

void keel_sampler_close(keel_sampler *sampler) {
    if (!sampler) return;
    keel_spool_close(sampler->spool);
    keel_arena_free(&sampler->drawn);
    keel_arena_free(&sampler->arena);
    keel_free(sampler);
}
