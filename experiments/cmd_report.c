/* keel report: the HTML page of a run folder.
 *
 *  1. Reads run.json and the results of the steps.
 *  2. Draws the plots with gnuplot, or leaves tables where it is missing.
 *  3. Writes one self-contained page.
 */
#include <stdio.h>

#include "core/file.h"
#include "experiments/cli_resources.h"
#include "experiments/report/report.h"
#include "experiments/verbs.h"

static const keel_flag flags[] = {
    {"--run", "DIR", true, false, "the run folder"},
    {"--out", "FILE", false, false, "the page (default: report.html in the run folder)"},
    KEEL_FLAG_END,
};

static keel_status run(keel_cli *cli, keel_err *err) {
    const char *dir = keel_cli_value(cli, "--run"), *out = keel_cli_value(cli, "--out");
    keel_run_folder folder = {0};
    keel_buf html = {0};
    keel_status status;
    if (!keel_file_is_folder(dir)) return keel_fail(err, KEEL_E_NOT_FOUND, dir, "there is no such folder");
    if (!out) out = keel_path_join(&cli->arena, dir, "report.html");
    if (!out) return keel_fail(err, KEEL_E_NOMEM, NULL, "for a path");
    KEEL_TRY(keel_cli_open_out_file(out, 0, KEEL_REPORT_BEGIN, err));
    KEEL_TRY_GOTO(keel_run_folder_read(&folder, dir, err), done);
    KEEL_TRY_GOTO(keel_report_html(&folder, &html, err), done);
    KEEL_TRY_GOTO(keel_file_write(out, html.data, html.length, err), done);
    cli->result = cJSON_CreateObject();
    cJSON_AddStringToObject(cli->result, "report", out);
    cJSON_AddNumberToObject(cli->result, "bytes", (double)html.length);
done:
    keel_buf_free(&html);
    keel_run_folder_free(&folder);
    return status;
}

static void print(const cJSON *result, FILE *out) {
    fprintf(out, "report: %s\n", cJSON_GetObjectItemCaseSensitive(result, "report")->valuestring);
}

const keel_verb keel_verb_report = {
    .name = "report",
    .brief = "the HTML report of a run folder (`keel run` writes it too)",
    .flags = flags,
    .more = "One self-contained page: rates with intervals, learning curves, reward components, replayed "
            "decisions, lineage. Plots are\n"
            "drawn by gnuplot; without it the page holds the numbers as tables.\n"
            "example: keel report --run runs/quickstart\n",
    .run = run,
    .print = print,
};
