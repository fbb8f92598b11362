/* Which transitions a sampler can draw, and what it needs to know of each: listed from the indices of the
 * tables, conversation by conversation, summed over several decisions and kept by return if so configured,
 * and put in an order that imports do not move. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/interrupt.h"
#include "datasets/sampler_internal.h"

static bool ragged(const keel__records_of *of) {
    return of->config->space == KEEL_SPACE_CANDIDATES;
}

keel_status keel__records_prepare(const keel__records_of *of, const char *head, const char *tail,
                                  sqlite3_stmt **out, keel_err *err) {
    keel_buf sql = {0};
    keel_buf_text(&sql, head);
    keel__split_clause(of->split, &sql);
    keel_buf_text(&sql, tail);
    keel_status status =
        sql.failed ? keel_nomem(err, of->store->path) : keel__store_prepare(of->store, sql.data, out, err);
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
    COL_TERMINAL = COL_REWARD + KEEL_N_REWARDS,
    COL_HAS_NEXT,
    COL_FEATURES,
    COL_SET,
    COL_NEXT,
    COL_NEXT_SET,
    COL_SOURCE,
    COL_NAME,
    COL_RISK,
    COL_GROUP,
    COL_ALONE
};

#define BEFORE "(" KEEL__SQL_CANDIDATE(b) ") < (" KEEL__SQL_CANDIDATE(a) ")"

/* Places and sizes of sets matter to candidate sets alone. */
static const char records_sql[] =
    "SELECT c.id, a.act, a.outcome, CASE WHEN :sets THEN"
    " (SELECT count(*) FROM candidates b WHERE b.decision_id = d.id AND"
    "  " BEFORE ") END" KEEL__SQL_REWARDS_T ", t.terminal, t.next_decision_id IS NOT NULL,"
    " f.id, CASE WHEN :sets THEN (SELECT count(*) FROM candidates b WHERE b.decision_id = d.id) END,"
    " g.id, CASE WHEN :sets THEN"
    " (SELECT count(*) FROM candidates b WHERE b.decision_id = t.next_decision_id) END,"
    " c.source, c.external_id, c.risk, c.group_hash, c.completed < 0 AND"
    " (SELECT count(*) FROM decisions x WHERE x.conversation_id = c.id) = 1"
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
        if (item->present[k] && !keel_reward_within(k, item->reward[k]))
            return keel__store_damaged(of->store, "a transition's reward is out of range", err);
    if (item->outcome > KEEL_N_OUTCOMES || item->risk > KEEL_RISK_DANGEROUS)
        return keel__store_damaged(of->store, "an outcome or a risk that does not exist", err);
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
    out->outcome = (uint8_t)sqlite3_column_int(row, COL_OUTCOME);
    out->risk = (uint8_t)sqlite3_column_int(row, COL_RISK);
    out->alone = terminal && sqlite3_column_int(row, COL_ALONE) != 0;
    out->group = sqlite3_column_int64(row, COL_GROUP);
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

/* The records of one conversation, one after the other. */
typedef struct run {
    uint64_t key; /* the hash of source and name, which does not tell one order of imports from another */
    size_t first, n;
} run;

typedef struct walk {
    const keel__records_of *of;
    keel_spool *stored; /* keel__record, as they are stored */
    keel_spool *runs;   /* run, one a conversation */
    keel_sampler_summary *summary;
    keel_buf links;   /* link [n] of the conversation at hand */
    uint64_t key;     /* its own */
    bool measuring;   /* returns are listed, and nothing else is done */
    keel_buf returns; /* double [conversations] */
    double least;     /* a conversation of a lower return is left out */
    double decisions, conversations;
} walk;

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

/* Return-to-go of each, from the last to the first: what the log earned after an answer is known where one
 * answer alone follows it. */
static void fill_returns(const keel__records_of *of, link *links, size_t n) {
    for (size_t i = n; i-- > 0;) {
        keel__record *item = &links[i].item;
        size_t next = item->next ? follower(links, n, i) : n;
        item->ended = next < n ? links[next].item.ended : item->usable && !item->next;
        for (int k = 0; k < KEEL_N_REWARDS; k++) {
            double later = next < n ? of->config->gamma * (double)links[next].item.returns[k] : 0;
            item->returns[k] = (float)((double)item->reward[k] + later);
        }
    }
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

static bool is_harmful(const link *links, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (links[i].item.present[KEEL_SAFETY] && links[i].item.reward[KEEL_SAFETY] < 0) return true;
    return false;
}

static keel_status end_conversation(walk *w, keel_err *err) {
    const keel__records_of *of = w->of;
    link *links = (link *)(void *)w->links.data;
    size_t n = w->links.length / sizeof *links, length = 0;
    double sum = return_of(of, links, n);
    fill_returns(of, links, n);
    w->links.length = 0;
    if (w->links.failed) return keel_nomem(err, of->store->path);
    if (of->config->safe_only && is_harmful(links, n)) return KEEL_OK;
    if (n && w->measuring) {
        keel_buf_append(&w->returns, &sum, sizeof sum);
        return w->returns.failed ? keel_nomem(err, of->store->path) : KEEL_OK;
    }
    if (n == 0 || sum < w->least) return KEEL_OK;
    KEEL_TRY(keel_spool_add(w->runs, &(run){w->key, keel_spool_count(w->stored), n}, err));
    for (size_t i = 0; i < n; i++) {
        keel__record item = sum_steps(of, links, n, i);
        KEEL_TRY(keel_spool_add(w->stored, &item, err));
        sum_up(w->summary, &links[i].item, links[i].set);
        length += i == 0 || links[i].item.features != links[i - 1].item.features;
    }
    w->decisions += (double)length;
    if (length > w->summary->largest_return_length) w->summary->largest_return_length = length;
    w->conversations++;
    return KEEL_OK;
}

static keel_status read_key(const keel__records_of *of, sqlite3_stmt *row, uint64_t *key, keel_err *err) {
    const char *source = (const char *)sqlite3_column_text(row, COL_SOURCE),
               *name = (const char *)sqlite3_column_text(row, COL_NAME);
    if (!source || !name) return keel_nomem(err, of->store->path);
    *key = keel_hash64_texts(source, name, 0);
    return KEEL_OK;
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
    size_t fixed = ragged(w->of) ? w->of->config->n_fixed : 0;
    size_t next = item->next ? (size_t)sqlite3_column_int64(row, COL_NEXT_SET) + fixed : 0;
    link made = {*item, (size_t)sqlite3_column_int64(row, COL_SET) + fixed};
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
            KEEL_TRY(read_key(of, statement, &w->key, err));
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

/* ---- by key ---- */

static void sort_digit(const run *restrict from, run *restrict to, size_t n, unsigned shift) {
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) start[(from[i].key >> shift & 255) + 1]++;
    for (size_t d = 1; d < 256; d++) start[d] += start[d - 1];
    for (size_t i = 0; i < n; i++) to[start[from[i].key >> shift & 255]++] = from[i];
}

/* Digit after digit, the lowest first: a fifth of what qsort takes of opening. */
static keel_status sort_runs(const keel__records_of *of, run *runs, size_t n, keel_err *err) {
    run *spare = keel_calloc(n, sizeof *spare);
    if (!spare) return keel_nomem(err, of->store->path);
    for (unsigned shift = 0; shift < 64; shift += 16) {
        sort_digit(runs, spare, n, shift);
        sort_digit(spare, runs, n, shift + 8);
    }
    keel_free(spare);
    return KEEL_OK;
}

/* Runs of one part of all keys. Keys are hashes: parts are about alike. */
static keel_status read_part(walk *w, size_t part, size_t parts, keel_buf *out, keel_err *err) {
    run one;
    keel_buf_clear(out);
    for (size_t i = 0; i < keel_spool_count(w->runs); i++) {
        KEEL_TRY(keel_spool_get(w->runs, i, &one, err));
        if ((one.key >> 32) * parts >> 32 == part) keel_buf_append(out, &one, sizeof one);
    }
    return out->failed ? keel_nomem(err, w->of->store->path) : KEEL_OK;
}

/* Where records go: list [room], or, where that is NULL, the spool. */
typedef struct place {
    keel__record *list;
    size_t room;
    keel_spool *spool;
    size_t n; /* so far */
} place;

static keel_status copy_run(walk *w, const run *from, place *to, keel_err *err) {
    keel__record item;
    const char *path = w->of->store->path;
    if (keel_interrupted()) return keel_fail(err, KEEL_E_INTERRUPTED, path, "listing transitions: stopped");
    if (to->list && from->n > to->room - to->n)
        return keel_fail(err, KEEL_E_STORE, path, "the store changed while it was being read");
    for (size_t i = 0; i < from->n; i++) {
        KEEL_TRY(keel_spool_get(w->stored, from->first + i, &item, err));
        if (to->list)
            to->list[to->n++] = item;
        else
            KEEL_TRY(keel_spool_add(to->spool, &item, err));
    }
    return KEEL_OK;
}

/* Part by part, of which each takes a quarter of the cache, or little: memory does not grow with the store.
 */
static keel_status order_runs(walk *w, place *to, keel_err *err) {
    enum { LEAST = 16 };
    size_t at_once = w->of->config->cache_bytes / 4 / (2 * sizeof(run));
    size_t parts = 1 + keel_spool_count(w->runs) / (at_once > LEAST ? at_once : LEAST);
    keel_buf part = {0};
    keel_status status = KEEL_OK;
    for (size_t p = 0; p < parts && status == KEEL_OK; p++) {
        status = read_part(w, p, parts, &part, err);
        run *runs = (run *)(void *)part.data;
        size_t n = part.length / sizeof *runs;
        if (status == KEEL_OK && n) status = sort_runs(w->of, runs, n, err);
        for (size_t i = 0; i < n && status == KEEL_OK; i++) status = copy_run(w, &runs[i], to, err);
    }
    keel_buf_free(&part);
    return status;
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

static keel_status list_all(walk *w, place *to, keel_err *err) {
    enum { PAGE = 4096 }; /* what a read of a random place brings anyway */
    sqlite3_stmt *statement;
    KEEL_TRY(keel_spool_open(&w->stored, sizeof(keel__record),
                             to->list ? to->room * sizeof(keel__record) : PAGE, err));
    KEEL_TRY(keel_spool_open(&w->runs, sizeof(run), 16 * PAGE, err));
    KEEL_TRY(keel__records_prepare(w->of, records_sql, " ORDER BY c.id, d.turn, a.id", &statement, err));
    sqlite3_bind_int(statement, sqlite3_bind_parameter_index(statement, ":sets"), ragged(w->of));
    keel_status status = walk_all(w, statement, err);
    sqlite3_finalize(statement);
    if (status != KEEL_OK) return status;
    if (w->summary->transitions) return order_runs(w, to, err);
    (void)none_found(w->of, w->summary->left_out, err);
    return KEEL_E_NOT_FOUND;
}

keel_status keel__records_list(const keel__records_of *of, keel__record *list, size_t room, keel_spool *spool,
                               keel_sampler_summary *summary, keel_err *err) {
    walk w = {.of = of, .summary = summary, .least = -INFINITY};
    keel_status status = list_all(&w, &(place){list, room, spool, 0}, err);
    keel_spool_close(w.stored);
    keel_spool_close(w.runs);
    keel_buf_free(&w.links);
    keel_buf_free(&w.returns);
    return status;
}
