/* The content of a run folder: `keel run` writes it, the report reads it.
 *
 *   run.json          {"recipe", "about", "out", "alone", "build", "steps": [names in order]}
 *   steps/NAME.json   {"name", "title", "group", "verb", "argv", "key", "result", "gate"}: a finished step
 *   report.html       self-contained */
#ifndef KEEL_EXPERIMENTS_REPORT_REPORT_H
#define KEEL_EXPERIMENTS_REPORT_REPORT_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "core/memory.h"
#include "core/status.h"

typedef struct keel_run_folder {
    const char *dir;
    cJSON *run;   /* run.json */
    cJSON *steps; /* array of the steps' files, in order; unfinished ones are left out */
} keel_run_folder;

/* KEEL_E_NOT_FOUND with a hint if dir holds no run. Free in any case. */
keel_status keel_run_folder_read(keel_run_folder *folder, const char *dir, keel_err *err);
void keel_run_folder_free(keel_run_folder *folder);

#define KEEL_REPORT_GROUP "Evaluation on logs" /* of steps that name none */
/* The rates that were measured, by table: [{"title", "rows": [{"name", "kind", "metrics": {...}}]}].
 * Evaluations on the same ground share a table: the log, its source models and the base once, then each
 * policy. The caller deletes. Without memory parts are missing: see keel_json_lost. */
cJSON *keel_report_tables(const keel_run_folder *folder);

/* The fronts that were made (experiments/pareto_report.h), in order: [{"title", "front"}]. The caller
 * deletes; as above. */
cJSON *keel_report_fronts(const keel_run_folder *folder);

/* Curves of a verb ("sft", "train"), by what is measured: [{"name", "lines": [{"name", "place", "points":
 * [[step, value], ...]}]}]. Steps of one title (folds) are averaged; place numbers the titles, the same in
 * all curves. The caller deletes. */
keel_status keel_report_curves(const keel_run_folder *folder, const char *verb, cJSON **out, keel_err *err);

#define KEEL_REPORT_BEGIN "<!doctype html>\n"
/* The page, appended to html. */
keel_status keel_report_html(const keel_run_folder *folder, keel_buf *html, keel_err *err);

/* A page of the result of verb `replay` alone: its decisions as cards. */
keel_status keel_report_replay_html(const cJSON *result, keel_buf *html, keel_err *err);

/* ---- plots (plot.c) ---- */

/* Runs gnuplot on a script's file, without a shell; false if it cannot be started or fails. */
bool keel_gnuplot(const char *script);

enum { KEEL_PLOT_COLOURS = 7 };

typedef struct keel_plotter {
    bool available;   /* gnuplot is there */
    int count;        /* plots drawn: keeps ids apart */
    char folder[512]; /* temporary, for scripts; below TMPDIR */
} keel_plotter;
void keel_plotter_open(keel_plotter *plotter);
void keel_plotter_close(keel_plotter *plotter);

/* Dots with 95 % intervals, a line per row of a table (keel_report_tables), one mark per metric.
 * NULL-terminated metrics. Appends an inline SVG, or nothing if no row has an estimate or gnuplot is absent;
 * *drawn says which. */
keel_status keel_plot_intervals(keel_plotter *plotter, const cJSON *rows, const char *const *metrics,
                                const char *const *labels, keel_buf *html, bool *drawn, keel_err *err);
/* Safety against completion of a front's points (keel_report_fronts), those on the front joined. */
keel_status keel_plot_front(keel_plotter *plotter, const cJSON *front, keel_buf *html, bool *drawn,
                            keel_err *err);
/* One measure of keel_report_curves against the step; lines that are zero throughout (switched off) and those
 * of a place beyond KEEL_PLOT_COLOURS are left out. Names stand in keys (keel_plot_key), not in the plot. */
keel_status keel_plot_curve(keel_plotter *plotter, const cJSON *curve, keel_buf *html, bool *drawn,
                            keel_err *err);

/* The mark and colour of a place below KEEL_PLOT_COLOURS, as HTML. */
void keel_plot_key(size_t place, keel_buf *html);

#endif
