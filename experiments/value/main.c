/* Does CQL know what it is worth? The value a learner promises of its policy beside the value the policy
 * turns out to have, for conservative Q-learning and for behaviour cloning; by how much the one's error is
 * below the other's depends on what is asked, so five questions are asked (docs/results.md, E1 to E5).
 *
 *     value_error FOLDER [key=value]...        --help lists the keys
 *
 * One command makes everything: FOLDER/runs (a file for each log, so that a killed experiment goes on),
 * runs.csv, estimands.csv, value_error.svg, and the tables on stdout. Same settings, same bytes.
 *
 * The protocol, written down before the first full run:
 * - Logs: the support desk's (desk.c: states, known reward, horizon 20, gamma 0.99), n conversations of the
 *   scripted desk that knows the truth, but with probability eps any act; 20 logs of each (n, eps), each with
 *   its own initialisation. n 100, 300, 1000, 3000; eps 0.3, 0.6, 0.9.
 * - Methods: cloning, Q-learning (alpha 0), CQL with alpha 0.1, 0.3, 1, 3. One network, batch size, number of
 *   steps, step size and regularisation for all, and for fitted Q evaluation. Policies are softmax(outputs).
 * - Truth: rollouts of the frozen policy on episodes that no log has, the same for all policies, until the
 *   standard error is at most 0.5 % of V(scripted) - V(random).
 * - Promise: mean over the log's own first decisions of sum_a pi(a|s) Q(s, a), by the critic as trained or by
 *   fitted Q evaluation on the same log. Cloning has no critic: fitted Q evaluation is its promise (E1), and
 *   the log's mean return beside it (E1').
 * - alpha: for each log the one whose promise is nearest to what fitted Q evaluation on another log of the
 *   same behaviour says of its policy. True values choose nothing. estimands.csv has every alpha as well.
 * - Headline: n 1000, eps 0.6. "63 % lower" may be said of an estimand whose interval (paired BCa over seeds)
 *   lies at or above 63 %, naming the estimand, with E1 beside it.
 * - Settings were chosen on seeds 1000 and 1001 (n 1000, eps 0.3 and 0.6) among 17, by the mean true value of
 *   all six policies: the cheapest within 0.02 of the best. Errors were printed too, but did not choose.
 *
 * calibrated=true was added after the first full runs: it changes CQL alone, and no setting was chosen by it.
 *
 * world=tabular asks the same of random processes with exact values, close to the pilot in reference
 * evaluation 3.7: a check that this program finds what another one found. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/options_internal.h"
#include "core/process.h"
#include "experiments/value/report.h"

typedef struct job {
    const value_config *config;
    const char *folder;
    size_t count;
    keel_pool **own; /* [threads], of one thread each: for the learners of the run at hand */
} job;

static void path_of(const job *j, size_t number, char *path, size_t size) {
    value_run named;
    value_run_name(j->config, number, &named);
    snprintf(path, size, "%s/runs/n%.0f-eps%.0f-seed%.0f.json", j->folder, named.n, 100 * named.eps,
             named.seed);
}

/* A run that is there is not made again. */
static keel_status make_run(void *context, size_t number, size_t thread, keel_err *err) {
    const job *j = context;
    char path[4096];
    value_run run;
    path_of(j, number, path, sizeof path);
    if (keel_interrupted()) return keel_fail(err, KEEL_E_INTERRUPTED, j->folder, "stopped");
    if (keel_file_exists(path)) return KEEL_OK;
    KEEL_TRY(value_run_make(j->config, number, j->own[thread], &run, err));
    KEEL_TRY(value_run_write(path, &run, err));
    fprintf(stderr, "run %zu of %zu: n %.0f, eps %.2g, seed %.0f\n", number + 1, j->count, run.n, run.eps,
            run.seed);
    return KEEL_OK;
}

/* What a folder's runs were made with; other settings need another folder. */
static keel_status claim_folder(const job *j, keel_err *err) {
    char path[4096];
    keel_buf mine = {0}, theirs = {0};
    cJSON *protocol = keel_options_to_json(value_options, j->config);
    keel_status status;
    cJSON_DeleteItemFromObjectCaseSensitive(protocol, "threads");
    snprintf(path, sizeof path, "%s/runs", j->folder);
    KEEL_TRY_GOTO(keel_folder_make(path, err), done);
    snprintf(path, sizeof path, "%s/protocol.json", j->folder);
    KEEL_TRY_GOTO(keel_json_print(protocol, true, &mine, err), done);
    if (!keel_file_exists(path)) {
        status = keel_file_write(path, mine.data, mine.length, err);
        goto done;
    }
    KEEL_TRY_GOTO(keel_file_read(path, 0, &theirs, err), done);
    if (strcmp(mine.data, theirs.data) != 0) {
        keel_fail(err, KEEL_E_CONFLICT, path, "the runs there were made with other settings");
        status = keel_hint(err, "name another folder, or give the settings that stand in this file");
    }
done:
    cJSON_Delete(protocol);
    keel_buf_free(&mine);
    keel_buf_free(&theirs);
    return status;
}

static keel_status report(const job *j, keel_err *err) {
    const value_config *config = j->config;
    char path[4096];
    bool drawn = false;
    value_run *runs = keel_calloc(j->count, sizeof *runs);
    value_cell *cells = keel_calloc(config->n.count * config->eps.count, sizeof *cells);
    keel_status status =
        runs && cells ? KEEL_OK : keel_fail(err, KEEL_E_NOMEM, j->folder, "no memory for %zu runs", j->count);
    for (size_t i = 0; status == KEEL_OK && i < j->count; ++i) {
        path_of(j, i, path, sizeof path);
        status = value_run_read(path, &runs[i], err);
    }
    if (status == KEEL_OK) status = value_cells_make(config, runs, cells, err);
    if (status == KEEL_OK) status = value_cells_write(config, runs, cells, j->folder, err);
    if (status == KEEL_OK) status = value_cells_draw(config, cells, j->folder, &drawn, err);
    if (status == KEEL_OK) value_cells_print(config, cells, stdout);
    if (status == KEEL_OK)
        printf("\n%s: runs.csv, estimands.csv%s\n", j->folder,
               drawn ? ", value_error.svg" : "; no figure: gnuplot was not found");
    keel_free(runs);
    keel_free(cells);
    return status;
}

/* Runs that are missing, some at a time. */
static keel_status make_all(job *j, keel_err *err) {
    const size_t threads = (size_t)j->config->threads;
    keel_pool *pool = NULL;
    keel_status status = KEEL_OK;
    j->own = keel_calloc(threads, sizeof *j->own);
    if (!j->own) return keel_fail(err, KEEL_E_NOMEM, j->folder, "no memory for %zu threads", threads);
    for (size_t i = 0; status == KEEL_OK && i < threads; ++i) status = keel_pool_open(&j->own[i], 1, err);
    if (status == KEEL_OK) status = keel_pool_open(&pool, threads, err);
    if (status == KEEL_OK) status = keel_pool_run(pool, j->count, make_run, j, err);
    keel_pool_close(pool);
    for (size_t i = 0; i < threads; ++i) keel_pool_close(j->own[i]);
    keel_free(j->own);
    return status;
}

static keel_status run(const char *folder, const value_config *config, keel_err *err) {
    job j = {.config = config, .folder = folder, .count = value_run_count(config)};
    KEEL_TRY(claim_folder(&j, err));
    const keel_status status = make_all(&j, err);
    if (status == KEEL_OK) return report(&j, err);
    if (status == KEEL_E_INTERRUPTED) keel_hint(err, "the same command goes on from here");
    return status;
}

int main(int argc, char **argv) {
    value_config config;
    keel_err err = {0};
    if (argc < 2 || argv[1][0] == '-') {
        const bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
        FILE *out = asked ? stdout : stderr;
        fputs("usage: value_error FOLDER [key=value]...\n\n", out);
        keel_options_help(value_options, out);
        return asked ? 0 : 2;
    }
    keel_process_own()->log_level = KEEL_LOG_QUIET;
    const bool usable = value_config_read(argc - 2, argv + 2, &config, &err) == KEEL_OK;
    if (usable && run(argv[1], &config, &err) == KEEL_OK) return 0;
    fprintf(stderr, "value_error: %s: %s\n%s%s", err.where, err.message, err.hint, err.hint[0] ? "\n" : "");
    return usable ? 1 : 2;
}
