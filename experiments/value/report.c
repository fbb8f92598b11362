#include "experiments/value/report.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "experiments/report/report.h"
#include "experiments/table.h"

static const double CLAIM = 0.63;

static size_t n_cells(const value_config *config) {
    return config->n.count * config->eps.count;
}

static const value_cell *headline(const value_config *config, const value_cell *cells) {
    for (size_t c = 0; c < n_cells(config); ++c)
        if (cells[c].n == (double)config->headline_n && cells[c].eps == (double)config->headline_eps / 100)
            return &cells[c];
    return cells;
}

/* ---- cells out of runs ---- */

/* The method whose own value is nearest to fitted Q evaluation's on the other log; the smallest alpha on
 * ties. */
static size_t choose(const value_run *run) {
    size_t best = VALUE_FIRST_CQL;
    for (size_t m = VALUE_FIRST_CQL; m < VALUE_N_METHODS; ++m) {
        const value_result *one = &run->of[m], *so_far = &run->of[best];
        if (fabs(one->own - one->held_out) < fabs(so_far->own - so_far->held_out)) best = m;
    }
    return best;
}

static keel_value_policy policy_of(const value_result *of) {
    return (keel_value_policy){.value = of->value, .se = of->se, .own = of->own, .fitted = of->fitted};
}

static keel_value_run view(const value_run *run, size_t method) {
    return (keel_value_run){.best = run->best,
                            .best_se = run->best_se,
                            .range = run->best - run->random,
                            .logged = run->logged,
                            .bc = policy_of(&run->of[VALUE_BC]),
                            .ql = policy_of(&run->of[VALUE_QL]),
                            .cql = policy_of(&run->of[method])};
}

static keel_status compare(const value_run *runs, size_t seeds, size_t choice, keel_estimand estimand,
                           keel_value_guess *room, keel_value_comparison *out, keel_err *err) {
    for (size_t k = 0; k < seeds; ++k) {
        const size_t method = choice == VALUE_CHOSEN ? choose(&runs[k]) : VALUE_FIRST_CQL + choice;
        const keel_value_run seen = view(&runs[k], method);
        keel_value_guesses(&seen, estimand, &room[k], &room[seeds + k]);
    }
    return keel_value_compare(room, room + seeds, seeds, 1, out, err);
}

static value_error error_of(const value_run *runs, size_t seeds, size_t method, bool logged,
                            keel_value_guess *room) {
    for (size_t k = 0; k < seeds; ++k) {
        const value_result *of = &runs[k].of[method];
        const double promise = logged ? runs[k].logged : method == VALUE_BC ? of->fitted : of->own;
        room[k] = (keel_value_guess){promise, of->value, of->se, runs[k].best - runs[k].random};
    }
    return value_error_over(room, seeds);
}

static keel_status make_cell(const value_run *runs, size_t seeds, keel_value_guess *room, value_cell *out,
                             keel_err *err) {
    value_cell made = {.n = runs[0].n, .eps = runs[0].eps};
    for (size_t k = 0; k < seeds; ++k) {
        const double range = runs[k].best - runs[k].random;
        made.logged += (runs[k].logged - runs[k].random) / range / (double)seeds;
        for (size_t m = 0; m < VALUE_N_METHODS; ++m)
            made.share[m] += (runs[k].of[m].value - runs[k].random) / range / (double)seeds;
    }
    for (size_t m = 0; m < VALUE_N_METHODS; ++m) made.own[m] = error_of(runs, seeds, m, false, room);
    made.own_logged = error_of(runs, seeds, VALUE_BC, true, room);
    for (size_t a = 0; a < VALUE_N_CHOICES; ++a)
        for (keel_estimand e = 0; e < KEEL_N_ESTIMANDS; ++e)
            KEEL_TRY(compare(runs, seeds, a, e, room, &made.of[a][e], err));
    *out = made;
    return KEEL_OK;
}

keel_status value_cells_make(const value_config *config, const value_run *runs, value_cell *cells,
                             keel_err *err) {
    const size_t seeds = (size_t)config->seeds;
    keel_status status = KEEL_OK;
    keel_value_guess *room = keel_calloc(2 * seeds, sizeof *room);
    if (!room) return keel_fail(err, KEEL_E_NOMEM, "report", "no memory for %zu seeds", seeds);
    for (size_t c = 0; c < n_cells(config) && status == KEEL_OK; ++c)
        status = make_cell(runs + c * seeds, seeds, room, &cells[c], err);
    keel_free(room);
    return status;
}

/* ---- tables ---- */

static void print_table(keel_table *table, const char *title, FILE *out) {
    fprintf(out, "%s\n", title);
    keel_table_print(table, out);
    fputc('\n', out);
    keel_table_free(table);
}

static void put_cell_name(keel_table *table, const value_cell *cell) {
    keel_table_cell(table, "%.0f", cell->n);
    keel_table_cell(table, "%.2g", cell->eps);
}

static void print_values(const value_config *config, const value_cell *cells, FILE *out) {
    keel_table table = {.columns = 3 + VALUE_N_METHODS};
    keel_table_cell(&table, "n");
    keel_table_cell(&table, "eps");
    keel_table_cell(&table, "log");
    for (size_t m = 0; m < VALUE_N_METHODS; ++m) keel_table_cell(&table, "%s", value_methods[m].name);
    for (size_t c = 0; c < n_cells(config); ++c) {
        put_cell_name(&table, &cells[c]);
        keel_table_cell(&table, "%.3f", cells[c].logged);
        for (size_t m = 0; m < VALUE_N_METHODS; ++m) keel_table_cell(&table, "%.3f", cells[c].share[m]);
    }
    print_table(&table, "True values: 0 acting at random, 1 the best policy", out);
}

static void print_errors(const value_config *config, const value_cell *cells, FILE *out) {
    keel_table table = {.columns = 4 + VALUE_N_METHODS};
    keel_table_cell(&table, "n");
    keel_table_cell(&table, "eps");
    keel_table_cell(&table, "BC by log");
    keel_table_cell(&table, "BC by FQE");
    for (size_t m = VALUE_QL; m < VALUE_N_METHODS; ++m) keel_table_cell(&table, "%s", value_methods[m].name);
    keel_table_cell(&table, "chosen");
    for (size_t c = 0; c < n_cells(config); ++c) {
        put_cell_name(&table, &cells[c]);
        keel_table_cell(&table, "%.3f", cells[c].own_logged.rmse);
        for (size_t m = 0; m < VALUE_N_METHODS; ++m)
            keel_table_cell(&table, "%.3f (%+.2f)", cells[c].own[m].rmse, cells[c].own[m].bias);
        keel_table_cell(&table, "%.3f", cells[c].of[VALUE_CHOSEN][KEEL_ESTIMAND_E1].method.rmse);
    }
    print_table(&table,
                "What is promised of a policy less its true value: RMSE (bias), in shares of the range", out);
}

/* What may be said of the claim. */
static const char *verdict(const keel_value_comparison *of) {
    if (of->low >= CLAIM) return "yes";
    if (of->high < 0) return "no: the error is larger";
    if (of->high < CLAIM) return of->low > 0 ? "no: lower, but by less" : "no";
    return of->low > 0 ? "not shown: lower, by how much is open" : "not shown";
}

typedef struct span {
    double least, most;
    size_t lower, higher, claimed; /* cells whose interval lies above 0, below 0, at or above the claim */
} span;

static span span_of(const value_config *config, const value_cell *cells, keel_estimand e) {
    span s = {.least = INFINITY, .most = -INFINITY};
    for (size_t c = 0; c < n_cells(config); ++c) {
        const keel_value_comparison *of = &cells[c].of[VALUE_CHOSEN][e];
        s.least = fmin(s.least, of->reduction);
        s.most = fmax(s.most, of->reduction);
        s.lower += of->low > 0;
        s.higher += of->high < 0;
        s.claimed += of->low >= CLAIM;
    }
    return s;
}

static void print_headline(const value_config *config, const value_cell *cells, FILE *out) {
    const value_cell *at = headline(config, cells);
    char title[160];
    keel_table table = {.columns = 10};
    static const char *const head[] = {"",        "lower by",  "RMSE",          "base's",  "bias",
                                       "V^ <= V", "all cells", "lower, higher", ">= 63 %", "63 % lower?"};
    for (size_t i = 0; i < table.columns; ++i) keel_table_cell(&table, "%s", head[i]);
    for (keel_estimand e = 0; e < KEEL_N_ESTIMANDS; ++e) {
        const keel_value_comparison *of = &at->of[VALUE_CHOSEN][e];
        const span all = span_of(config, cells, e);
        keel_table_cell(&table, "%s", keel_estimand_names[e]);
        keel_table_cell(&table, "%.0f %% [%.0f, %.0f]", 100 * of->reduction, 100 * of->low, 100 * of->high);
        keel_table_cell(&table, "%.3f", of->method.rmse);
        keel_table_cell(&table, "%.3f", of->base.rmse);
        keel_table_cell(&table, "%+.3f", of->method.bias);
        keel_table_cell(&table, "%zu of %zu", of->method.at_most, of->method.n);
        keel_table_cell(&table, "%.0f to %.0f %%", 100 * all.least, 100 * all.most);
        keel_table_cell(&table, "%zu, %zu of %zu", all.lower, all.higher, n_cells(config));
        keel_table_cell(&table, "%zu of %zu", all.claimed, n_cells(config));
        keel_table_cell(&table, "%s", verdict(of));
    }
    snprintf(title, sizeof title,
             "Errors of CQL (alpha chosen on another log) beside the base's: n %.0f, eps %.2g, %lld seeds",
             at->n, at->eps, (long long)config->seeds);
    print_table(&table, title, out);
    for (keel_estimand e = 0; e < KEEL_N_ESTIMANDS; ++e)
        fprintf(out, "%-3s %s\n", keel_estimand_names[e], keel_estimand_helps[e]);
}

void value_cells_print(const value_config *config, const value_cell *cells, FILE *out) {
    print_values(config, cells, out);
    print_errors(config, cells, out);
    print_headline(config, cells, out);
}

/* ---- CSV ---- */

static keel_status write_text(const char *folder, const char *name, keel_buf *text, keel_err *err) {
    keel_arena arena = {0};
    char *path = keel_path_join(&arena, folder, name);
    keel_status status = path && !text->failed ? keel_file_write(path, text->data, text->length, err)
                                               : keel_fail(err, KEEL_E_NOMEM, name, "no memory for it");
    keel_arena_free(&arena);
    return status;
}

static keel_status write_runs(const value_config *config, const value_run *runs, const char *folder,
                              keel_err *err) {
    keel_buf text = {0};
    keel_buf_text(&text, "n,eps,seed,steps,best,best_se,random,logged,method,value,se,episodes,own,fitted,"
                         "held_out\n");
    for (size_t i = 0; i < value_run_count(config); ++i)
        for (size_t m = 0; m < VALUE_N_METHODS; ++m) {
            const value_run *r = &runs[i];
            const value_result *of = &r->of[m];
            keel_buf_format(&text, "%.0f,%g,%.0f,%.0f,%.9g,%.9g,%.9g,%.9g,%s,%.9g,%.9g,%.0f,", r->n, r->eps,
                            r->seed, r->steps, r->best, r->best_se, r->random, r->logged,
                            value_methods[m].name, of->value, of->se, of->episodes);
            if (m != VALUE_BC) keel_buf_format(&text, "%.9g", of->own);
            keel_buf_format(&text, ",%.9g,", of->fitted);
            if (m >= VALUE_FIRST_CQL) keel_buf_format(&text, "%.9g", of->held_out);
            keel_buf_text(&text, "\n");
        }
    const keel_status status = write_text(folder, "runs.csv", &text, err);
    keel_buf_free(&text);
    return status;
}

static const char *choice_name(size_t choice) {
    return choice == VALUE_CHOSEN ? "chosen" : value_methods[VALUE_FIRST_CQL + choice].name;
}

static keel_status write_estimands(const value_config *config, const value_cell *cells, const char *folder,
                                   keel_err *err) {
    keel_buf text = {0};
    keel_buf_text(&text, "n,eps,alpha,estimand,reduction,low,high,rmse,bias,at_most,base_rmse,base_bias,"
                         "base_at_most,seeds\n");
    for (size_t c = 0; c < n_cells(config); ++c)
        for (size_t a = 0; a < VALUE_N_CHOICES; ++a)
            for (keel_estimand e = 0; e < KEEL_N_ESTIMANDS; ++e) {
                const keel_value_comparison *of = &cells[c].of[a][e];
                keel_buf_format(&text, "%.0f,%g,%s,%s,%.6g,%.6g,%.6g,%.6g,%.6g,%zu,%.6g,%.6g,%zu,%zu\n",
                                cells[c].n, cells[c].eps, choice_name(a), keel_estimand_names[e],
                                of->reduction, of->low, of->high, of->method.rmse, of->method.bias,
                                of->method.at_most, of->base.rmse, of->base.bias, of->base.at_most,
                                of->method.n);
            }
    const keel_status status = write_text(folder, "estimands.csv", &text, err);
    keel_buf_free(&text);
    return status;
}

keel_status value_cells_write(const value_config *config, const value_run *runs, const value_cell *cells,
                              const char *folder, keel_err *err) {
    KEEL_TRY(write_runs(config, runs, folder, err));
    return write_estimands(config, cells, folder, err);
}
