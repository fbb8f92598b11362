/* Does a critic know which conversations will succeed, and is it worth choosing by?
 *
 *     critic_success STORE POLICY...
 *
 * Each policy values the conversations that it has not seen: of the fold that its split leaves out. Q is that
 * of the accuracy (or the only) head, for the answer that was taken, at the first decision that follows a
 * user's message (start), at the middle one of the decisions from there on (half) and at the last (end).
 * Success is `completed`.
 *
 * - AUC over all conversations, and over pairs of conversations of one group (a task), of which one
 * succeeded.
 * - Calibration: mean Q and share of successes, by quarters of Q at the end.
 * - Choice: of each group the conversation with the highest Q, ties shared, beside an agent by chance, the
 * agent that was best on the tasks of the other folds, the one that is best here, and the best conversation.
 *   An agent is meta.agent, or else the model of the first answer. Forbidden writes are
 * meta.forbidden_writes.
 *
 * Intervals are of 95 %, by percentiles of 2,000 resamples of groups.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/pcg.h"
#include "core/process.h"
#include "experiments/cli_resources.h"
#include "experiments/table.h"
#include "policies/encode_store.h"
#include "policies/policy_internal.h"
#include "rl/judge/answer.h"

enum { TIMES = 3, RESAMPLES = 2000, MOST_AGENTS = 256, QUARTERS = 4 };
static const char *const times[TIMES] = {"start", "half", "end"};

typedef struct row {
    const char *group, *agent;
    size_t fold;
    bool completed, forbidden;
    double q[TIMES];
} row;

/* What is compared; each a mean over groups, but for the AUCs. */
enum {
    AUC = 0,
    WITHIN = AUC + TIMES,
    CHANCE = WITHIN + TIMES,
    TRAINED,
    BEST,
    CHOSEN,
    ORACLE = CHOSEN + TIMES,
    N_STATS
};

typedef struct study {
    row *rows; /* [n], by group */
    size_t n, room, n_groups;
    size_t *first; /* [n_groups + 1] */
    size_t *order[TIMES], *group_of;
    double (*terms)[N_STATS + TIMES]; /* [n_groups] numerators, and of WITHIN the pairs behind */
    double forbidden[N_STATS];
    const char *agents[MOST_AGENTS];
    size_t n_agents;
    keel_arena arena;
} study;

static void need(keel_status status, const keel_err *err) {
    if (status == KEEL_OK) return;
    fprintf(stderr, "critic_success: %s: %s\n", err->where, err->message);
    exit(1);
}

static void *grab(study *s, size_t count, size_t size) {
    void *made = keel_arena_calloc(&s->arena, count + 1, size);
    if (!made) fputs("critic_success: out of memory\n", stderr), exit(1);
    return made;
}

/* ---- reading ---- */

/* Q of the taken answer; the policy's mean where that is no action of its space; NaN if nothing was taken. */
static double value_of(const keel_policy *policy, const keel_base *base, const keel_conversation *c, size_t d,
                       keel_arena *scratch) {
    keel_err err = {0};
    keel_features features;
    keel_choice choice;
    const keel_decision *decision = &c->decisions[d];
    const size_t heads = policy->net.shape.heads, head = KEEL_ACCURACY; /* the first; of some, the only one */
    double mean = 0;
    bool taken = false;
    if (!keel_base_can_encode(base, decision)) return NAN;
    keel_arena_reset(scratch);
    need(keel_base_encode_decision(base, c, d, scratch, &features, &err), &err);
    need(keel_policy_decide(policy, &features, scratch, &choice, &err), &err);
    for (size_t k = 0; k < decision->n_candidates; k++) {
        const int32_t action = keel_answer_action(base, decision, k);
        taken = taken || decision->candidates[k].taken;
        if (decision->candidates[k].taken && action >= 0)
            return (double)choice.q[(size_t)action * heads + head];
    }
    for (size_t a = 0; a < choice.n; a++)
        mean += exp((double)choice.log_pi[a]) * (double)choice.q[a * heads + head];
    return taken ? mean : NAN;
}

static bool user_spoke(const keel_conversation *c, size_t before) {
    for (size_t i = 0; i < before; i++)
        if (c->turns[i].role == KEEL_ROLE_USER) return true;
    return false;
}

static void read_meta(study *s, const keel_conversation *c, row *out) {
    cJSON *meta = NULL;
    keel_err err = {0};
    if (c->meta) need(keel_json_parse(c->meta, strlen(c->meta), c->external_id, &meta, &err), &err);
    const cJSON *agent = keel_json_get(meta, "agent"), *writes = keel_json_get(meta, "forbidden_writes");
    const char *name = cJSON_IsString(agent) ? agent->valuestring : NULL;
    for (size_t d = 0; d < c->n_decisions && !name; d++)
        if (c->decisions[d].n_candidates) name = c->decisions[d].candidates[0].model;
    out->agent = keel_arena_strdup(&s->arena, name ? name : "");
    out->forbidden = cJSON_IsNumber(writes) && writes->valuedouble > 0;
    cJSON_Delete(meta);
}

static void add_row(study *s, const keel_policy *policy, const keel_base *base, const keel_conversation *c,
                    size_t fold, keel_arena *scratch) {
    size_t n = 0;
    double *q = grab(s, c->n_decisions, sizeof *q);
    for (size_t d = 0; d < c->n_decisions; d++) {
        const double value =
            user_spoke(c, c->decisions[d].turn) ? value_of(policy, base, c, d, scratch) : NAN;
        if (!isnan(value)) q[n++] = value;
    }
    if (n == 0 || c->completed == KEEL_UNKNOWN) return;
    if (s->n == s->room) {
        row *more = grab(s, s->room = 2 * s->room + 64, sizeof *more);
        if (s->n) memcpy(more, s->rows, s->n * sizeof *more);
        s->rows = more;
    }
    row *out = &s->rows[s->n++];
    *out = (row){.fold = fold, .completed = c->completed == KEEL_YES, .q = {q[0], q[n / 2], q[n - 1]}};
    out->group = keel_arena_strdup(&s->arena, keel_conversation_group(c));
    read_meta(s, c, out);
}

static void read_policy(study *s, keel_store *store, const char *dir, size_t fold) {
    keel_err err = {0};
    keel_policy *policy;
    keel_base *base;
    keel_split trained, split;
    keel_cursor *cursor;
    keel_arena arena = {0}, scratch = {0};
    keel_conversation *c;
    need(keel_cli_open_policy(dir, NULL, &policy, &base, &err), &err);
    need(keel_split_parse(policy->split, &trained, &err), &err);
    need(keel_split_held_out(&trained, &split, &err), &err);
    need(keel_cursor_open(&cursor, store, &split, KEEL_ORDER_NAMED, &err), &err);
    for (;;) {
        keel_arena_reset(&arena);
        need(keel_cursor_next(cursor, &arena, &c, &err), &err);
        if (!c) break;
        add_row(s, policy, base, c, fold, &scratch);
    }
    keel_cursor_close(cursor);
    keel_arena_free(&arena);
    keel_arena_free(&scratch);
    keel_policy_close(policy);
    keel_base_close(base);
}

/* ---- groups, agents, orders ---- */

static int by_group(const void *a, const void *b) {
    const row *x = a, *y = b;
    const int order = strcmp(x->group, y->group);
    return order ? order : strcmp(x->agent, y->agent);
}

static const row *sorted_rows;
static int sorted_time;
static int by_q(const void *a, const void *b) {
    const double x = sorted_rows[*(const size_t *)a].q[sorted_time],
                 y = sorted_rows[*(const size_t *)b].q[sorted_time];
    return (x > y) - (x < y);
}

static void arrange(study *s) {
    qsort(s->rows, s->n, sizeof *s->rows, by_group);
    s->first = grab(s, s->n + 1, sizeof *s->first);
    s->group_of = grab(s, s->n, sizeof *s->group_of);
    for (size_t i = 0; i < s->n; i++) {
        if (i == 0 || strcmp(s->rows[i].group, s->rows[i - 1].group) != 0) s->first[s->n_groups++] = i;
        s->group_of[i] = s->n_groups - 1;
        size_t a = 0;
        while (a < s->n_agents && strcmp(s->agents[a], s->rows[i].agent) != 0) a++;
        if (a == s->n_agents && a < MOST_AGENTS) s->agents[s->n_agents++] = s->rows[i].agent;
    }
    s->first[s->n_groups] = s->n;
    for (int t = 0; t < TIMES; t++) {
        s->order[t] = grab(s, s->n, sizeof **s->order);
        for (size_t i = 0; i < s->n; i++) s->order[t][i] = i;
        sorted_rows = s->rows, sorted_time = t;
        qsort(s->order[t], s->n, sizeof **s->order, by_q);
    }
}

/* The share of successes of an agent outside a fold (SIZE_MAX: everywhere); -1 where it has no conversation.
 */
static double record_of(const study *s, const char *agent, size_t fold) {
    double n = 0, good = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->rows[i].fold != fold && strcmp(s->rows[i].agent, agent) == 0)
            n++, good += s->rows[i].completed;
    return n > 0 ? good / n : -1;
}

/* ---- the terms of a group ---- */

/* The conversations of the group with the highest score share its place. */
static void choose(study *s, size_t group, const double *score, int stat) {
    const size_t first = s->first[group], end = s->first[group + 1];
    double best = -INFINITY, n = 0, good = 0, wrote = 0;
    for (size_t i = first; i < end; i++) best = fmax(best, score[i - first]);
    for (size_t i = first; i < end; i++)
        if (score[i - first] >= best) n++, good += s->rows[i].completed, wrote += s->rows[i].forbidden;
    s->terms[group][stat] = good / n;
    s->forbidden[stat] += wrote / n;
}

static void count_pairs(study *s, size_t group) {
    for (size_t i = s->first[group]; i < s->first[group + 1]; i++)
        for (size_t k = s->first[group]; k < s->first[group + 1]; k++) {
            if (!s->rows[i].completed || s->rows[k].completed) continue;
            for (int t = 0; t < TIMES; t++) {
                const double gap = s->rows[i].q[t] - s->rows[k].q[t];
                s->terms[group][WITHIN + t] += gap > 0 ? 1 : gap < 0 ? 0 : 0.5;
                s->terms[group][N_STATS + t]++;
            }
        }
}

static void fill_terms(study *s) {
    s->terms = grab(s, s->n_groups, sizeof *s->terms);
    double *score = grab(s, s->n, sizeof *score);
    for (size_t g = 0; g < s->n_groups; g++) {
        const row *rows = &s->rows[s->first[g]];
        const size_t n = s->first[g + 1] - s->first[g];
        count_pairs(s, g);
        for (size_t i = 0; i < n; i++) score[i] = 0;
        choose(s, g, score, CHANCE);
        for (size_t i = 0; i < n; i++) score[i] = record_of(s, rows[i].agent, rows[i].fold);
        choose(s, g, score, TRAINED);
        for (size_t i = 0; i < n; i++) score[i] = record_of(s, rows[i].agent, SIZE_MAX);
        choose(s, g, score, BEST);
        for (int t = 0; t < TIMES; t++) {
            for (size_t i = 0; i < n; i++) score[i] = rows[i].q[t];
            choose(s, g, score, CHOSEN + t);
        }
        for (size_t i = 0; i < n; i++) score[i] = rows[i].completed;
        choose(s, g, score, ORACLE);
    }
}

/* ---- statistics of a resample ---- */

/* weight [n_groups]: how often each group was drawn. */
static double auc_of(const study *s, int t, const double *weight) {
    double below = 0, bad = 0, good = 0;
    for (size_t i = 0; i < s->n;) {
        double tied_good = 0, tied_bad = 0;
        const double q = s->rows[s->order[t][i]].q[t];
        for (; i < s->n && !(s->rows[s->order[t][i]].q[t] > q); i++) {
            const size_t r = s->order[t][i];
            *(s->rows[r].completed ? &tied_good : &tied_bad) += weight[s->group_of[r]];
        }
        below += tied_good * (bad + tied_bad / 2);
        bad += tied_bad, good += tied_good;
    }
    return below / (good * bad);
}

static void measure(const study *s, const double *weight, double *out) {
    double groups = 0, sum[N_STATS + TIMES] = {0};
    for (size_t g = 0; g < s->n_groups; g++) {
        groups += weight[g];
        for (size_t k = 0; k < N_STATS + TIMES; k++) sum[k] += weight[g] * s->terms[g][k];
    }
    for (int k = CHANCE; k < N_STATS; k++) out[k] = sum[k] / groups;
    for (int t = 0; t < TIMES; t++) {
        out[AUC + t] = auc_of(s, t, weight);
        out[WITHIN + t] = sum[WITHIN + t] / sum[N_STATS + t];
    }
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Columns of the resamples: the statistics, then their differences from CHANCE. */
typedef struct interval {
    double value, low, high;
} interval;

static void resample(study *s, interval out[2][N_STATS]) {
    double *weight = grab(s, s->n_groups, sizeof *weight);
    double *draw[2][N_STATS], at[N_STATS];
    size_t kept[2][N_STATS] = {{0}};
    for (int k = 0; k < N_STATS; k++)
        for (int v = 0; v < 2; v++) draw[v][k] = grab(s, RESAMPLES, sizeof(double));
    for (size_t r = 0; r <= RESAMPLES; r++) { /* the last one is the sample itself */
        keel_rng rng = keel_rng_stream(1, KEEL_STREAM_BOOTSTRAP, r);
        for (size_t g = 0; g < s->n_groups; g++) weight[g] = r == RESAMPLES;
        for (size_t g = 0; g < s->n_groups && r < RESAMPLES; g++) weight[keel_rng_below(&rng, s->n_groups)]++;
        measure(s, weight, at);
        for (int k = 0; k < N_STATS; k++)
            for (int v = 0; v < 2; v++) {
                out[v][k].value = at[k] - (v ? at[CHANCE] : 0);
                if (r < RESAMPLES && !isnan(out[v][k].value)) draw[v][k][kept[v][k]++] = out[v][k].value;
            }
    }
    for (int k = 0; k < N_STATS; k++)
        for (int v = 0; v < 2; v++) {
            const size_t n = kept[v][k];
            qsort(draw[v][k], n, sizeof(double), compare);
            out[v][k].low = n ? draw[v][k][n / 40] : NAN;
            out[v][k].high = n ? draw[v][k][n - 1 - n / 40] : NAN;
        }
}

/* ---- printing ---- */

static void cell(keel_table *table, const interval *x) {
    keel_table_cell(table, "%.3f [%.3f, %.3f]", x->value, x->low, x->high);
}

static void print_auc(const study *s, interval stats[2][N_STATS]) {
    keel_table table = {.columns = 3};
    double good = 0;
    for (size_t i = 0; i < s->n; i++) good += s->rows[i].completed;
    printf("%zu conversations of %zu groups by %zu agents, %.3f succeed\n\n", s->n, s->n_groups, s->n_agents,
           good / (double)s->n);
    keel_table_cell(&table, "Q of the answer given at");
    keel_table_cell(&table, "AUC");
    keel_table_cell(&table, "AUC within groups");
    for (int t = 0; t < TIMES; t++) {
        keel_table_cell(&table, "%s", times[t]);
        cell(&table, &stats[0][AUC + t]);
        cell(&table, &stats[0][WITHIN + t]);
    }
    keel_table_print(&table, stdout);
    keel_table_free(&table);
}

static void print_calibration(const study *s) {
    keel_table table = {.columns = 4};
    keel_table_cell(&table, "Q at the end");
    keel_table_cell(&table, "n");
    keel_table_cell(&table, "mean Q");
    keel_table_cell(&table, "succeed");
    for (size_t p = 0; p < QUARTERS; p++) {
        double q = 0, good = 0;
        const size_t first = s->n * p / QUARTERS, end = s->n * (p + 1) / QUARTERS;
        for (size_t i = first; i < end; i++) {
            q += s->rows[s->order[TIMES - 1][i]].q[TIMES - 1];
            good += s->rows[s->order[TIMES - 1][i]].completed;
        }
        keel_table_cell(&table, "quarter %zu", p + 1);
        keel_table_cell(&table, "%zu", end - first);
        keel_table_cell(&table, "%.3f", q / (double)(end - first));
        keel_table_cell(&table, "%.3f", good / (double)(end - first));
    }
    putchar('\n');
    keel_table_print(&table, stdout);
    keel_table_free(&table);
}

static void print_choice(const study *s, interval stats[2][N_STATS]) {
    static const char *const names[] = {"an agent by chance",   "the best agent of the other folds",
                                        "the best agent here",  "highest Q at the start",
                                        "highest Q at half",    "highest Q at the end",
                                        "the best conversation"};
    keel_table table = {.columns = 4};
    keel_table_cell(&table, "of each group");
    keel_table_cell(&table, "succeed");
    keel_table_cell(&table, "more than by chance");
    keel_table_cell(&table, "forbidden writes");
    for (int k = CHANCE; k < N_STATS; k++) {
        keel_table_cell(&table, "%s", names[k - CHANCE]);
        cell(&table, &stats[0][k]);
        if (k == CHANCE)
            keel_table_cell(&table, "-");
        else
            cell(&table, &stats[1][k]);
        keel_table_cell(&table, "%.2f of %zu", s->forbidden[k], s->n_groups);
    }
    putchar('\n');
    keel_table_print(&table, stdout);
    keel_table_free(&table);
}

int main(int argc, char **argv) {
    static study s;
    static interval stats[2][N_STATS];
    keel_err err = {0};
    keel_store *store;
    if (argc < 3) return fputs("usage: critic_success STORE POLICY...\n", stderr), 2;
    keel_process_own();
    keel_store_use_allocator();
    need(keel_store_open(&store, argv[1], KEEL_STORE_READ, &err), &err);
    for (int i = 2; i < argc; i++) read_policy(&s, store, argv[i], (size_t)i);
    keel_store_close(store);
    if (s.n == 0)
        return fputs("critic_success: no held-out conversation says whether it was completed\n", stderr), 1;
    arrange(&s);
    fill_terms(&s);
    resample(&s, stats);
    print_auc(&s, stats);
    print_calibration(&s);
    print_choice(&s, stats);
    keel_arena_free(&s.arena);
    return 0;
}
