/* Minibatches. What a draw needs to know of a transition is a record; where its features lie is a row of the
 * features table. If records and features fit the cache, both are held in flat arrays; else records go to a
 * temporary file and each draw fetches its own rows in ascending order. Either way the same code fills the
 * batch. Records are listed from the indices of the tables, so that features are read only where they are
 * wanted. */
#include "datasets/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pcg.h"
#include "core/spool.h"
#include "datasets/store_internal.h"

/* One transition that can be drawn. features and next are row ids of the features table, or in memory 1 +
 * slot; next is 0 when there is no next decision. */
typedef struct record {
    int64_t features, next;
    float reward[KEEL_N_REWARDS];
    uint8_t present[KEEL_N_REWARDS];
    uint8_t usable;
    int32_t action;
    float bootstrap;
} record;

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
    keel_arena arena;  /* what lives as long as the sampler */
    keel_arena drawn;  /* features fetched for one draw */
    record *records;   /* in memory: [transitions] */
    keel_spool *spool; /* else */
    view *views;       /* in memory: all, ascending by row; else those of the draw */
    size_t n_views;
    record *chosen;     /* [batch] */
    uint64_t *ordinals; /* [batch] */
    keel_batch batch;   /* points into the arrays of `room` */
    struct {
        float *state, *next_state, *reward, *bootstrap, *candidates, *next_candidates, *log_prior,
            *next_log_prior;
        int32_t *action, *offsets, *next_offsets;
        uint8_t *present, *usable;
    } room;
};

static bool ragged(const keel_sampler *sampler) {
    return sampler->config.space == KEEL_SPACE_CANDIDATES;
}

static keel_status nomem(const keel_sampler *sampler, keel_err *err) {
    return keel__nomem(sampler->store->path, err);
}

/* ---- SQL over the split ---- */

static keel_status prepare(keel_sampler *sampler, const char *head, const char *tail, sqlite3_stmt **out,
                           keel_err *err) {
    keel_buf sql = {0};
    keel_buf_text(&sql, head);
    keel__split_clause(&sampler->split, &sql);
    keel_buf_text(&sql, tail);
    keel_status status =
        sql.failed ? nomem(sampler, err) : keel__store_prepare(sampler->store, sql.data, out, err);
    keel_buf_free(&sql);
    if (status != KEEL_OK) return status;
    keel__split_bind(&sampler->split, *out);
    int base = sqlite3_bind_parameter_index(*out, ":base");
    if (base) keel__bind_text(*out, base, sampler->config.base_hash);
    return KEEL_OK;
}

/* How many decisions and candidates the split has, and transitions the store. */
typedef struct sizes {
    size_t decisions, candidates, transitions;
} sizes;

static keel_status measure(keel_sampler *sampler, sizes *out, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(prepare(sampler,
                     "SELECT count(*), total((SELECT count(*) FROM candidates a WHERE a.decision_id = d.id)),"
                     " (SELECT count(*) FROM transitions)"
                     " FROM conversations c JOIN decisions d ON d.conversation_id = c.id WHERE 1",
                     "", &statement, err));
    keel_status status = keel__store_step(sampler->store, statement, &row, "measuring the split", err);
    if (status == KEEL_OK && row) {
        out->decisions = (size_t)sqlite3_column_int64(statement, 0);
        out->candidates = (size_t)sqlite3_column_double(statement, 1);
        out->transitions = (size_t)sqlite3_column_int64(statement, 2);
        if (out->transitions > out->candidates) out->transitions = out->candidates;
    }
    sqlite3_finalize(statement);
    return status;
}

/* Bytes of records and features held in memory, blocks of the arena and all. */
static double bytes_needed(const keel_sampler *sampler, const sizes *split) {
    enum { BLOCK_TAIL = 64 };
    double floats = (double)split->decisions * (double)(sampler->config.state_dim + sampler->n_actions);
    if (ragged(sampler)) floats += (double)split->candidates * (double)(sampler->config.candidate_dim + 1);
    return floats * sizeof(float) + (double)split->decisions * (sizeof(view) + BLOCK_TAIL) +
           (double)split->transitions * sizeof(record);
}

/* ---- records ---- */

enum {
    COL_DECISION,
    COL_CONVERSATION,
    COL_ACT,
    COL_OUTCOME,
    COL_PLACE,
    COL_REWARD,
    COL_TERMINAL = 8,
    COL_HAS_NEXT,
    COL_FEATURES,
    COL_SET,
    COL_NEXT,
    COL_NEXT_SET
};

/* Places and sizes of sets matter to candidate sets alone. */
static const char records_sql[] =
    "SELECT d.id, c.id, a.act, a.outcome, CASE WHEN :sets THEN"
    " (SELECT count(*) FROM candidates b WHERE b.decision_id = d.id AND b.id < a.id) END,"
    " t.accuracy, t.speed, t.safety, t.terminal, t.next_decision_id IS NOT NULL,"
    " f.id, CASE WHEN :sets THEN (SELECT count(*) FROM candidates b WHERE b.decision_id = d.id) END,"
    " g.id, CASE WHEN :sets THEN"
    " (SELECT count(*) FROM candidates b WHERE b.decision_id = t.next_decision_id) END"
    " FROM conversations c JOIN decisions d ON d.conversation_id = c.id"
    " JOIN candidates a ON a.decision_id = d.id JOIN transitions t ON t.candidate_id = a.id"
    " LEFT JOIN features f ON f.decision_id = d.id AND f.base_hash = :base"
    " LEFT JOIN features g ON g.decision_id = t.next_decision_id AND g.base_hash = :base WHERE 1";

/* The action that was taken, or -1 when it has no place in this space. */
static int32_t action_of(const keel_sampler *sampler, sqlite3_stmt *row) {
    if (ragged(sampler)) return (int32_t)sqlite3_column_int(row, COL_PLACE);
    int outcome = sqlite3_column_int(row, COL_OUTCOME);
    if (sampler->config.space == KEEL_SPACE_OUTCOMES) return outcome > 0 ? outcome - 1 : -1;
    const char *act = (const char *)sqlite3_column_text(row, COL_ACT);
    for (size_t i = 0; act && i < sampler->config.n_acts; i++)
        if (strcmp(act, sampler->config.acts[i]) == 0) return (int32_t)i;
    return -1;
}

/* What would lead out of the arrays of a draw, or out of the rewards' range. */
static keel_status check_record(const keel_sampler *sampler, const record *item, keel_err *err) {
    if (!ragged(sampler) && item->action >= (int64_t)sampler->n_actions)
        return keel__store_damaged(sampler->store, "an action beyond its set", err);
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        if (item->present[k] && !(fabsf(item->reward[k]) <= 1))
            return keel__store_damaged(sampler->store, "a transition's reward is not within -1 and 1", err);
    return KEEL_OK;
}

/* *usable false: the row is left out. A next decision that nobody can choose at cannot be bootstrapped from.
 */
static keel_status read_record(const keel_sampler *sampler, sqlite3_stmt *row, record *out, bool *kept,
                               keel_err *err) {
    bool terminal = sqlite3_column_int(row, COL_TERMINAL) != 0,
         has_next = sqlite3_column_int(row, COL_HAS_NEXT) != 0;
    bool next_found = sqlite3_column_type(row, COL_NEXT) != SQLITE_NULL;
    *out = (record){.action = action_of(sampler, row)};
    *kept = sqlite3_column_type(row, COL_FEATURES) != SQLITE_NULL && out->action >= 0 &&
            (terminal || !has_next || next_found);
    if (!*kept) return KEEL_OK;
    bool next = !terminal && next_found && (!ragged(sampler) || sqlite3_column_int(row, COL_NEXT_SET) > 0);
    keel_reward reward = keel__column_reward(row, COL_REWARD);
    memcpy(out->reward, reward.value, sizeof out->reward);
    for (int k = 0; k < KEEL_N_REWARDS; k++) out->present[k] = reward.present[k];
    out->features = sqlite3_column_int64(row, COL_FEATURES);
    out->next = next ? sqlite3_column_int64(row, COL_NEXT) : 0;
    out->bootstrap = next;
    out->usable = terminal || next;
    return check_record(sampler, out, err);
}

static keel_status keep_record(keel_sampler *sampler, const record *item, size_t room, keel_err *err) {
    if (!sampler->in_memory) return keel_spool_add(sampler->spool, item, err);
    if (sampler->summary.transitions == room)
        return keel_fail(err, KEEL_E_STORE, sampler->store->path,
                         "the store changed while it was being read");
    sampler->records[sampler->summary.transitions] = *item;
    return KEEL_OK;
}

static void sum_up(keel_sampler_summary *summary, const record *item, size_t set) {
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        if (!item->present[k]) continue;
        double value = (double)item->reward[k];
        if (summary->coverage[k] == 0 || value < summary->reward_low[k]) summary->reward_low[k] = value;
        if (summary->coverage[k] == 0 || value > summary->reward_high[k]) summary->reward_high[k] = value;
        summary->coverage[k] += 1;
    }
    if (set > summary->largest_set) summary->largest_set = set;
    summary->transitions++;
}

/* ---- conversations: sums over several decisions, and which are kept ---- */

/* A transition while its conversation is walked through. */
typedef struct link {
    record item;
    size_t set; /* the larger of its own set and the next */
} link;

typedef struct walk {
    keel_sampler *sampler;
    keel_buf links;   /* link [n] of the conversation at hand */
    bool measuring;   /* returns are listed, and nothing else is done */
    keel_buf returns; /* double [conversations] */
    double least;     /* a conversation of a lower return is left out */
    double decisions, conversations;
    size_t room; /* records that there is memory for */
} walk;

static double return_of(const keel_sampler *sampler, const link *links, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < KEEL_N_REWARDS; k++)
            if (links[i].item.present[k]) sum += sampler->config.weight[k] * (double)links[i].item.reward[k];
    return sum;
}

/* The transition that goes on where links[at] ends, if one alone does; else n. */
static size_t follower(const link *links, size_t n, size_t at) {
    size_t i = at + 1;
    while (i < n && links[i].item.features == links[at].item.features) i++;
    bool alone = i + 1 >= n || links[i + 1].item.features != links[i].item.features;
    return i < n && alone && links[at].item.next == links[i].item.features ? i : n;
}

static record sum_steps(const keel_sampler *sampler, const link *links, size_t n, size_t at) {
    record sum = links[at].item;
    double factor = 1;
    for (size_t step = 1; step < sampler->config.n_step && sum.next; step++) {
        size_t next = follower(links, n, at);
        if (next == n || !links[next].item.usable) break;
        const record *more = &links[next].item;
        factor *= sampler->config.gamma;
        for (int k = 0; k < KEEL_N_REWARDS; k++) {
            sum.present[k] = sum.present[k] && more->present[k];
            sum.reward[k] = sum.present[k] ? sum.reward[k] + (float)(factor * (double)more->reward[k]) : 0;
        }
        sum.next = more->next;
        sum.bootstrap = (float)factor * more->bootstrap;
        at = next;
    }
    return sum;
}

static keel_status end_conversation(walk *w, keel_err *err) {
    keel_sampler *sampler = w->sampler;
    const link *links = (const link *)(const void *)w->links.data;
    size_t n = w->links.length / sizeof *links;
    double sum = return_of(sampler, links, n);
    w->links.length = 0;
    if (w->links.failed) return nomem(sampler, err);
    if (n && w->measuring) {
        keel_buf_append(&w->returns, &sum, sizeof sum);
        return w->returns.failed ? nomem(sampler, err) : KEEL_OK;
    }
    if (n == 0 || sum < w->least) return KEEL_OK;
    for (size_t i = 0; i < n; i++) {
        record item = sum_steps(sampler, links, n, i);
        KEEL_TRY(keep_record(sampler, &item, w->room, err));
        sum_up(&sampler->summary, &links[i].item, links[i].set);
        w->decisions += i == 0 || links[i].item.features != links[i - 1].item.features;
    }
    w->conversations++;
    return KEEL_OK;
}

/* Rows come conversation by conversation, in the order of their turns. */
static keel_status walk_rows(walk *w, sqlite3_stmt *statement, keel_err *err) {
    keel_sampler *sampler = w->sampler;
    int64_t conversation = 0;
    bool row, kept;
    for (;;) {
        link made;
        KEEL_TRY(keel__store_step(sampler->store, statement, &row, "listing transitions", err));
        if (!row) return end_conversation(w, err);
        KEEL_TRY(read_record(sampler, statement, &made.item, &kept, err));
        sampler->summary.left_out += !kept;
        if (!kept) continue;
        if (sqlite3_column_int64(statement, COL_CONVERSATION) != conversation)
            KEEL_TRY(end_conversation(w, err));
        conversation = sqlite3_column_int64(statement, COL_CONVERSATION);
        size_t next = made.item.next ? (size_t)sqlite3_column_int64(statement, COL_NEXT_SET) : 0;
        made.set = (size_t)sqlite3_column_int64(statement, COL_SET);
        if (next > made.set) made.set = next;
        keel_buf_append(&w->links, &made, sizeof made);
    }
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The lowest return among the highest keep_top percent. */
static keel_status find_least(walk *w, sqlite3_stmt *statement, keel_err *err) {
    w->measuring = true;
    KEEL_TRY(walk_rows(w, statement, err));
    w->measuring = false;
    w->sampler->summary = (keel_sampler_summary){0};
    double *returns = (double *)(void *)w->returns.data;
    size_t n = w->returns.length / sizeof *returns;
    size_t kept = (size_t)ceil((double)n * w->sampler->config.keep_top / 100);
    if (n == 0 || kept >= n) return KEEL_OK;
    qsort(returns, n, sizeof *returns, descending);
    w->least = returns[kept ? kept - 1 : 0];
    return KEEL_OK;
}

static keel_status walk_records(keel_sampler *sampler, sqlite3_stmt *statement, size_t room, keel_err *err) {
    keel_sampler_summary *summary = &sampler->summary;
    walk w = {.sampler = sampler, .least = -INFINITY, .room = room};
    keel_status status = KEEL_OK;
    if (sampler->config.keep_top > 0 && sampler->config.keep_top < 100) {
        status = find_least(&w, statement, err);
        sqlite3_reset(statement);
    }
    if (status == KEEL_OK) status = walk_rows(&w, statement, err);
    keel_buf_free(&w.links);
    keel_buf_free(&w.returns);
    for (int k = 0; k < KEEL_N_REWARDS && summary->transitions; k++)
        summary->coverage[k] /= (double)summary->transitions;
    summary->mean_return_length = w.conversations > 0 ? w.decisions / w.conversations : 0;
    return status;
}

/* room: records that there is memory for. */
static keel_status load_records(keel_sampler *sampler, size_t room, keel_err *err) {
    sqlite3_stmt *statement;
    KEEL_TRY(prepare(sampler, records_sql, " ORDER BY c.id, d.turn, a.id", &statement, err));
    sqlite3_bind_int(statement, sqlite3_bind_parameter_index(statement, ":sets"), ragged(sampler));
    keel_status status = walk_records(sampler, statement, room, err);
    sqlite3_finalize(statement);
    if (status != KEEL_OK || sampler->summary.transitions) return status;
    const char *path = sampler->store->path, *split = sampler->split.text;
    if (sampler->summary.left_out) {
        keel_fail(err, KEEL_E_NOT_FOUND, path, "none of the %zu transitions of split \"%s\" can be drawn",
                  sampler->summary.left_out, split);
        keel_hint(
            err,
            "their decisions have no features of this base, or their actions are not in this action space");
    } else {
        keel_fail(err, KEEL_E_NOT_FOUND, path, "split \"%s\" has no transitions", split);
        keel_hint(err, "run: keel label --store %s", path);
    }
    return KEEL_E_NOT_FOUND;
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
static keel_status check_sets(const keel_sampler *sampler, const record *item, const view *own,
                              const view *next, keel_err *err) {
    size_t most = sampler->summary.largest_set, after = next ? next->n_candidates : 0;
    if (!ragged(sampler) ||
        ((size_t)item->action < own->n_candidates && own->n_candidates <= most && after <= most))
        return KEEL_OK;
    return keel__store_damaged(sampler->store, "candidates or an action beyond its set", err);
}

static keel_status load_views(keel_sampler *sampler, size_t count, keel_err *err) {
    sqlite3_stmt *statement;
    keel_status status = KEEL_OK;
    bool row = true;
    sampler->views = keel_arena_calloc(&sampler->arena, count, sizeof *sampler->views);
    if (!sampler->views) return nomem(sampler, err);
    KEEL_TRY(prepare(sampler,
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
        record *item = &sampler->records[i];
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
        const record *item = &sampler->chosen[i];
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

static void fill_batch(keel_sampler *sampler, size_t n) {
    for (size_t b = 0; b < n; b++) {
        const record *item = &sampler->chosen[b];
        const view *next = item->next ? view_of(sampler, item->next) : NULL;
        fill_side(sampler, b, view_of(sampler, item->features), sampler->room.state, sampler->room.offsets,
                  sampler->room.candidates, sampler->room.log_prior);
        fill_side(sampler, b, next, sampler->room.next_state, sampler->room.next_offsets,
                  sampler->room.next_candidates, sampler->room.next_log_prior);
        sampler->room.action[b] = item->action;
        memcpy(sampler->room.reward + b * KEEL_N_REWARDS, item->reward, sizeof item->reward);
        memcpy(sampler->room.present + b * KEEL_N_REWARDS, item->present, sizeof item->present);
        sampler->room.bootstrap[b] = item->bootstrap;
        sampler->room.usable[b] = item->usable;
    }
    sampler->batch.n = n;
}

/* The batch of the n ordinals that were chosen. */
static keel_status gather(keel_sampler *sampler, size_t n, keel_batch *batch, keel_err *err) {
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
    fill_batch(sampler, n);
    *batch = sampler->batch;
    return KEEL_OK;
}

keel_status keel_sampler_draw(keel_sampler *sampler, uint64_t step, keel_batch *batch, keel_err *err) {
    keel_rng rng = keel_rng_stream(sampler->config.seed, "sample", step);
    for (size_t b = 0; b < sampler->config.batch; b++)
        sampler->ordinals[b] = keel_rng_below(&rng, sampler->summary.transitions);
    return gather(sampler, sampler->config.batch, batch, err);
}

keel_status keel_sampler_read(keel_sampler *sampler, size_t index, keel_batch *batch, keel_err *err) {
    size_t left = index < sampler->summary.transitions ? sampler->summary.transitions - index : 0;
    size_t n = left < sampler->config.batch ? left : sampler->config.batch;
    for (size_t b = 0; b < n; b++) sampler->ordinals[b] = index + b;
    return gather(sampler, n, batch, err);
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
    if (!sampler->config.base_hash) return nomem(sampler, err);
    if (!acts) return KEEL_OK;
    const char **names = keel_arena_calloc(&sampler->arena, config->n_acts, sizeof *names);
    if (!names) return nomem(sampler, err);
    for (size_t i = 0; i < config->n_acts; i++)
        if (!(names[i] = keel_arena_strdup(&sampler->arena, config->acts[i]))) return nomem(sampler, err);
    sampler->config.acts = names;
    return KEEL_OK;
}

/* Room for the largest batch there can be: no draw allocates. */
static keel_status make_room(keel_sampler *sampler, keel_err *err) {
    keel_arena *arena = &sampler->arena;
    size_t n = sampler->config.batch, rows = 0, floats = 0, priors = n * sampler->n_actions;
    size_t states = n * sampler->config.state_dim;
    if (ragged(sampler)) {
        if (!keel_size_mul(n, sampler->summary.largest_set, &rows) || rows > INT32_MAX ||
            !keel_size_mul(rows, sampler->config.candidate_dim, &floats))
            return keel_fail(err, KEEL_E_INVALID, "batch", "%zu sets of up to %zu candidates are too many", n,
                             sampler->summary.largest_set);
        priors = rows;
        sampler->room.candidates = keel_arena_calloc(arena, floats, sizeof(float));
        sampler->room.next_candidates = keel_arena_calloc(arena, floats, sizeof(float));
        sampler->room.offsets = keel_arena_calloc(arena, n + 1, sizeof(int32_t));
        sampler->room.next_offsets = keel_arena_calloc(arena, n + 1, sizeof(int32_t));
        if (!sampler->room.candidates || !sampler->room.next_candidates || !sampler->room.offsets ||
            !sampler->room.next_offsets)
            return nomem(sampler, err);
    }
    sampler->room.state = keel_arena_calloc(arena, states, sizeof(float));
    sampler->room.next_state = keel_arena_calloc(arena, states, sizeof(float));
    sampler->room.log_prior = keel_arena_calloc(arena, priors, sizeof(float));
    sampler->room.next_log_prior = keel_arena_calloc(arena, priors, sizeof(float));
    sampler->room.action = keel_arena_calloc(arena, n, sizeof(int32_t));
    sampler->room.reward = keel_arena_calloc(arena, n * KEEL_N_REWARDS, sizeof(float));
    sampler->room.present = keel_arena_calloc(arena, n, KEEL_N_REWARDS);
    sampler->room.bootstrap = keel_arena_calloc(arena, n, sizeof(float));
    sampler->room.usable = keel_arena_calloc(arena, n, 1);
    sampler->chosen = keel_arena_calloc(arena, n, sizeof *sampler->chosen);
    sampler->ordinals = keel_arena_calloc(arena, n, sizeof *sampler->ordinals);
    if (!sampler->in_memory) sampler->views = keel_arena_calloc(arena, 2 * n, sizeof *sampler->views);
    bool whole = sampler->room.state && sampler->room.next_state && sampler->room.log_prior &&
                 sampler->room.next_log_prior && sampler->room.action && sampler->room.reward &&
                 sampler->room.present && sampler->room.bootstrap && sampler->room.usable &&
                 sampler->chosen && sampler->ordinals && sampler->views;
    return whole ? KEEL_OK : nomem(sampler, err);
}

static void point_batch(keel_sampler *sampler) {
    sampler->batch = (keel_batch){.state = sampler->room.state,
                                  .action = sampler->room.action,
                                  .reward = sampler->room.reward,
                                  .present = sampler->room.present,
                                  .bootstrap = sampler->room.bootstrap,
                                  .usable = sampler->room.usable,
                                  .next_state = sampler->room.next_state,
                                  .offsets = sampler->room.offsets,
                                  .candidates = sampler->room.candidates,
                                  .next_offsets = sampler->room.next_offsets,
                                  .next_candidates = sampler->room.next_candidates,
                                  .log_prior = sampler->room.log_prior,
                                  .next_log_prior = sampler->room.next_log_prior};
}

static keel_status load(keel_sampler *sampler, keel_err *err) {
    sizes split = {0};
    KEEL_TRY(measure(sampler, &split, err));
    sampler->in_memory = bytes_needed(sampler, &split) <= (double)sampler->config.cache_bytes;
    if (!sampler->in_memory) {
        enum { PAGE = 4096 }; /* what a read of a random place brings anyway */
        KEEL_TRY(keel_spool_open(&sampler->spool, sizeof(record), PAGE, err));
        return load_records(sampler, 0, err);
    }
    sampler->records = keel_arena_calloc(&sampler->arena, split.transitions, sizeof(record));
    if (!sampler->records) return nomem(sampler, err);
    KEEL_TRY(load_records(sampler, split.transitions, err));
    KEEL_TRY(load_views(sampler, split.decisions, err));
    return resolve_records(sampler, err);
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
    return keel_sampler_read(sampler, 0, &first, err);
}

keel_status keel_sampler_open(keel_sampler **out, keel_store *store, const keel_split *split,
                              const keel_sampler_config *config, keel_err *err) {
    KEEL_TRY(check_config(config, err));
    KEEL_TRY(keel_store_check_split(store, split, err));
    keel_sampler *sampler = keel_calloc(1, sizeof *sampler);
    if (!sampler) return keel__nomem(store->path, err);
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
