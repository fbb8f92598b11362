/* Which transitions a sampler can draw, and what it needs to know of each: listed from the indices of the
 * tables, conversation by conversation, summed over several decisions and kept by return if so configured. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "datasets/sampler_internal.h"

static bool ragged(const keel__records_of *of) {
    return of->config->space == KEEL_SPACE_CANDIDATES;
}

static keel_status nomem(const keel__records_of *of, keel_err *err) {
    return keel__nomem(of->store->path, err);
}

keel_status keel__records_prepare(const keel__records_of *of, const char *head, const char *tail,
                                  sqlite3_stmt **out, keel_err *err) {
    keel_buf sql = {0};
    keel_buf_text(&sql, head);
    keel__split_clause(of->split, &sql);
    keel_buf_text(&sql, tail);
    keel_status status = sql.failed ? nomem(of, err) : keel__store_prepare(of->store, sql.data, out, err);
    keel_buf_free(&sql);
    if (status != KEEL_OK) return status;
    keel__split_bind(of->split, *out);
    int base = sqlite3_bind_parameter_index(*out, ":base");
    if (base) keel__bind_text(*out, base, of->config->base_hash);
    return KEEL_OK;
}

keel_status keel__records_measure(const keel__records_of *of, keel__records_sizes *out, keel_err *err) {
    sqlite3_stmt *statement;
    bool row;
    KEEL_TRY(keel__records_prepare(
        of,
        "SELECT count(*), total((SELECT count(*) FROM candidates a WHERE a.decision_id = d.id)),"
        " (SELECT count(*) FROM transitions)"
        " FROM conversations c JOIN decisions d ON d.conversation_id = c.id WHERE 1",
        "", &statement, err));
    keel_status status = keel__store_step(of->store, statement, &row, "measuring the split", err);
    if (status == KEEL_OK && row) {
        out->decisions = (size_t)sqlite3_column_int64(statement, 0);
        out->candidates = (size_t)sqlite3_column_double(statement, 1);
        out->transitions = (size_t)sqlite3_column_int64(statement, 2);
        if (out->transitions > out->candidates) out->transitions = out->candidates;
    }
    sqlite3_finalize(statement);
    return status;
}

/* ---- records ---- */

enum {
    COL_CONVERSATION,
    COL_ACT,
    COL_OUTCOME,
    COL_PLACE,
    COL_REWARD,
    COL_TERMINAL = 7,
    COL_HAS_NEXT,
    COL_FEATURES,
    COL_SET,
    COL_NEXT,
    COL_NEXT_SET,
    COL_SOURCE,
    COL_NAME
};

#define BEFORE "(" KEEL__SQL_CANDIDATE(b) ") < (" KEEL__SQL_CANDIDATE(a) ")"

/* Places and sizes of sets matter to candidate sets alone. */
static const char records_sql[] =
    "SELECT c.id, a.act, a.outcome, CASE WHEN :sets THEN"
    " (SELECT count(*) FROM candidates b WHERE b.decision_id = d.id AND"
    "  " BEFORE ") END,"
    " t.accuracy, t.speed, t.safety, t.terminal, t.next_decision_id IS NOT NULL,"
    " f.id, CASE WHEN :sets THEN (SELECT count(*) FROM candidates b WHERE b.decision_id = d.id) END,"
    " g.id, CASE WHEN :sets THEN"
    " (SELECT count(*) FROM candidates b WHERE b.decision_id = t.next_decision_id) END,"
    " c.source, c.external_id"
    " FROM conversations c JOIN decisions d ON d.conversation_id = c.id"
    " JOIN candidates a ON a.decision_id = d.id JOIN transitions t ON t.candidate_id = a.id"
    " LEFT JOIN features f ON f.decision_id = d.id AND f.base_hash = :base"
    " LEFT JOIN features g ON g.decision_id = t.next_decision_id AND g.base_hash = :base WHERE 1";

/* The action that was taken, or -1 when it has no place in this space. */
static int32_t action_of(const keel__records_of *of, sqlite3_stmt *row) {
    if (ragged(of)) return (int32_t)sqlite3_column_int(row, COL_PLACE);
    int outcome = sqlite3_column_int(row, COL_OUTCOME);
    if (of->config->space == KEEL_SPACE_OUTCOMES) return outcome > 0 ? outcome - 1 : -1;
    const char *act = (const char *)sqlite3_column_text(row, COL_ACT);
    for (size_t i = 0; act && i < of->config->n_acts; i++)
        if (strcmp(act, of->config->acts[i]) == 0) return (int32_t)i;
    return -1;
}

/* What would lead out of the arrays of a draw, or out of the rewards' range. */
static keel_status check_record(const keel__records_of *of, const keel__record *item, keel_err *err) {
    if (!ragged(of) && item->action >= (int64_t)of->n_actions)
        return keel__store_damaged(of->store, "an action beyond its set", err);
    for (int k = 0; k < KEEL_N_REWARDS; k++)
        if (item->present[k] && !(fabsf(item->reward[k]) <= 1))
            return keel__store_damaged(of->store, "a transition's reward is not within -1 and 1", err);
    return KEEL_OK;
}

/* *kept false: the row is left out. A next decision that nobody can choose at cannot be bootstrapped from.
 */
static keel_status read_record(const keel__records_of *of, sqlite3_stmt *row, keel__record *out, bool *kept,
                               keel_err *err) {
    bool terminal = sqlite3_column_int(row, COL_TERMINAL) != 0,
         has_next = sqlite3_column_int(row, COL_HAS_NEXT) != 0;
    bool next_found = sqlite3_column_type(row, COL_NEXT) != SQLITE_NULL;
    *out = (keel__record){.action = action_of(of, row)};
    *kept = sqlite3_column_type(row, COL_FEATURES) != SQLITE_NULL && out->action >= 0 &&
            (terminal || !has_next || next_found);
    if (!*kept) return KEEL_OK;
    bool next = !terminal && next_found && (!ragged(of) || sqlite3_column_int(row, COL_NEXT_SET) > 0);
    keel_reward reward = keel__column_reward(row, COL_REWARD);
    memcpy(out->reward, reward.value, sizeof out->reward);
    for (int k = 0; k < KEEL_N_REWARDS; k++) out->present[k] = reward.present[k];
    out->features = sqlite3_column_int64(row, COL_FEATURES);
    out->next = next ? sqlite3_column_int64(row, COL_NEXT) : 0;
    out->bootstrap = next;
    out->usable = terminal || next;
    return check_record(of, out, err);
}

static void sum_up(keel_sampler_summary *summary, const keel__record *item, size_t set) {
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
    keel__record item;
    size_t set; /* the larger of its own set and the next */
} link;

typedef struct walk {
    const keel__records_of *of;
    keel__record *list; /* [room], or NULL: */
    size_t room;
    keel_spool *spool;
    keel_sampler_summary *summary;
    keel_buf links;   /* link [n] of the conversation at hand */
    uint64_t key;     /* its own */
    keel_buf runs;    /* keel__run [conversations] */
    bool measuring;   /* returns are listed, and nothing else is done */
    keel_buf returns; /* double [conversations] */
    double least;     /* a conversation of a lower return is left out */
    double decisions, conversations;
} walk;

static keel_status keep_record(walk *w, const keel__record *item, keel_err *err) {
    if (!w->list) return keel_spool_add(w->spool, item, err);
    if (w->summary->transitions == w->room)
        return keel_fail(err, KEEL_E_STORE, w->of->store->path, "the store changed while it was being read");
    w->list[w->summary->transitions] = *item;
    return KEEL_OK;
}

static double return_of(const keel__records_of *of, const link *links, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < KEEL_N_REWARDS; k++)
            if (links[i].item.present[k]) sum += of->config->weight[k] * (double)links[i].item.reward[k];
    return sum;
}

/* The transition that goes on where links[at] ends, if one alone does; else n. */
static size_t follower(const link *links, size_t n, size_t at) {
    size_t i = at + 1;
    while (i < n && links[i].item.features == links[at].item.features) i++;
    bool alone = i + 1 >= n || links[i + 1].item.features != links[i].item.features;
    return i < n && alone && links[at].item.next == links[i].item.features ? i : n;
}

static keel__record sum_steps(const keel__records_of *of, const link *links, size_t n, size_t at) {
    keel__record sum = links[at].item;
    double factor = 1;
    for (size_t step = 1; step < of->config->n_step && sum.next; step++) {
        size_t next = follower(links, n, at);
        if (next == n || !links[next].item.usable) break;
        const keel__record *more = &links[next].item;
        factor *= of->config->gamma;
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
    const keel__records_of *of = w->of;
    const link *links = (const link *)(const void *)w->links.data;
    size_t n = w->links.length / sizeof *links;
    double sum = return_of(of, links, n);
    w->links.length = 0;
    if (w->links.failed) return nomem(of, err);
    if (n && w->measuring) {
        keel_buf_append(&w->returns, &sum, sizeof sum);
        return w->returns.failed ? nomem(of, err) : KEEL_OK;
    }
    if (n == 0 || sum < w->least) return KEEL_OK;
    const keel__run run = {w->key, w->summary->transitions, n};
    keel_buf_append(&w->runs, &run, sizeof run);
    if (w->runs.failed) return nomem(of, err);
    for (size_t i = 0; i < n; i++) {
        keel__record item = sum_steps(of, links, n, i);
        KEEL_TRY(keep_record(w, &item, err));
        sum_up(w->summary, &links[i].item, links[i].set);
        w->decisions += i == 0 || links[i].item.features != links[i - 1].item.features;
    }
    w->conversations++;
    return KEEL_OK;
}

static uint64_t key_of(sqlite3_stmt *row) {
    uint64_t hash = 0;
    for (int column = COL_SOURCE; column <= COL_NAME; column++) {
        const void *bytes = sqlite3_column_blob(row, column);
        hash = keel_hash64(bytes, (size_t)sqlite3_column_bytes(row, column), hash);
    }
    return hash;
}

/* Answers to one decision, by what they are and not by their rows; what is left equal is the same. */
static bool comes_before(const keel__record *a, const keel__record *b) {
    if (a->action != b->action) return a->action < b->action;
    for (int k = 0; k < KEEL_N_REWARDS; k++) {
        if (a->present[k] != b->present[k]) return a->present[k] < b->present[k];
        if (a->reward[k] < b->reward[k] || a->reward[k] > b->reward[k]) return a->reward[k] < b->reward[k];
    }
    return false;
}

static void add_link(walk *w, sqlite3_stmt *row, const keel__record *item) {
    size_t next = item->next ? (size_t)sqlite3_column_int64(row, COL_NEXT_SET) : 0;
    link made = {*item, (size_t)sqlite3_column_int64(row, COL_SET)};
    if (next > made.set) made.set = next;
    keel_buf_append(&w->links, &made, sizeof made);
    if (w->links.failed) return;
    link *links = (link *)(void *)w->links.data;
    size_t at = w->links.length / sizeof *links - 1;
    for (; at > 0 && links[at - 1].item.features == item->features; at--) {
        if (!comes_before(item, &links[at - 1].item)) break;
        links[at] = links[at - 1];
        links[at - 1] = made;
    }
}

/* Rows come conversation by conversation, in the order of their turns. */
static keel_status walk_rows(walk *w, sqlite3_stmt *statement, keel_err *err) {
    const keel__records_of *of = w->of;
    int64_t conversation = 0;
    bool row, kept;
    for (;;) {
        keel__record item;
        KEEL_TRY(keel__store_step(of->store, statement, &row, "listing transitions", err));
        if (!row) return end_conversation(w, err);
        KEEL_TRY(read_record(of, statement, &item, &kept, err));
        w->summary->left_out += !kept;
        if (!kept) continue;
        if (sqlite3_column_int64(statement, COL_CONVERSATION) != conversation) {
            KEEL_TRY(end_conversation(w, err));
            w->key = key_of(statement);
            conversation = sqlite3_column_int64(statement, COL_CONVERSATION);
        }
        add_link(w, statement, &item);
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
    *w->summary = (keel_sampler_summary){0};
    double *returns = (double *)(void *)w->returns.data;
    size_t n = w->returns.length / sizeof *returns;
    size_t kept = (size_t)ceil((double)n * w->of->config->keep_top / 100);
    if (n == 0 || kept >= n) return KEEL_OK;
    qsort(returns, n, sizeof *returns, descending);
    w->least = returns[kept ? kept - 1 : 0];
    return KEEL_OK;
}

static keel_status walk_all(walk *w, sqlite3_stmt *statement, keel_err *err) {
    keel_sampler_summary *summary = w->summary;
    keel_status status = KEEL_OK;
    if (w->of->config->keep_top > 0 && w->of->config->keep_top < 100) {
        status = find_least(w, statement, err);
        sqlite3_reset(statement);
    }
    if (status == KEEL_OK) status = walk_rows(w, statement, err);
    for (int k = 0; k < KEEL_N_REWARDS && summary->transitions; k++)
        summary->coverage[k] /= (double)summary->transitions;
    summary->mean_return_length = w->conversations > 0 ? w->decisions / w->conversations : 0;
    return status;
}

static void sort_digit(const keel__run *restrict from, keel__run *restrict to, size_t n, unsigned shift) {
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) start[(from[i].key >> shift & 255) + 1]++;
    for (size_t d = 1; d < 256; d++) start[d] += start[d - 1];
    for (size_t i = 0; i < n; i++) to[start[from[i].key >> shift & 255]++] = from[i];
}

/* By key, digit after digit, the lowest first: a fifth of what qsort takes of opening. Counts become
 * ordinals. */
static keel_status order_runs(const keel__records_of *of, keel__run *runs, size_t n, keel_err *err) {
    size_t ordinal = 0;
    keel__run *spare = keel_calloc(n, sizeof *spare);
    if (!spare) return nomem(of, err);
    for (unsigned shift = 0; shift < 64; shift += 16) {
        sort_digit(runs, spare, n, shift);
        sort_digit(spare, runs, n, shift + 8);
    }
    keel_free(spare);
    for (size_t i = 0; i < n; i++) {
        size_t count = runs[i].start;
        runs[i].start = ordinal;
        ordinal += count;
    }
    return KEEL_OK;
}

static keel_status none_found(const keel__records_of *of, size_t left_out, keel_err *err) {
    const char *path = of->store->path, *split = of->split->text;
    if (left_out) {
        keel_fail(err, KEEL_E_NOT_FOUND, path, "none of the %zu transitions of split \"%s\" can be drawn",
                  left_out, split);
        return keel_hint(err,
                         "their decisions have no features of this base, or their actions are not in this "
                         "action space");
    }
    keel_fail(err, KEEL_E_NOT_FOUND, path, "split \"%s\" has no transitions", split);
    return keel_hint(err, "run: keel label --store %s", path);
}

keel_status keel__records_list(const keel__records_of *of, keel__record *list, size_t room, keel_spool *spool,
                               keel_sampler_summary *summary, keel__run **runs, size_t *n_runs,
                               keel_err *err) {
    sqlite3_stmt *statement;
    walk w = {.of = of, .list = list, .room = room, .spool = spool, .summary = summary, .least = -INFINITY};
    KEEL_TRY(keel__records_prepare(of, records_sql, " ORDER BY c.id, d.turn, a.id", &statement, err));
    sqlite3_bind_int(statement, sqlite3_bind_parameter_index(statement, ":sets"), ragged(of));
    keel_status status = walk_all(&w, statement, err);
    sqlite3_finalize(statement);
    keel_buf_free(&w.links);
    keel_buf_free(&w.returns);
    keel__run *made = (keel__run *)(void *)w.runs.data;
    size_t n = w.runs.length / sizeof *made;
    if (status == KEEL_OK && n == 0) {
        (void)none_found(of, summary->left_out, err);
        status = KEEL_E_NOT_FOUND;
    }
    if (status == KEEL_OK) status = order_runs(of, made, n, err);
    if (status != KEEL_OK) {
        keel_buf_free(&w.runs);
        return status;
    }
    *runs = made;
    *n_runs = n;
    return KEEL_OK;
}
