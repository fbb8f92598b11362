/* The page in the making: what its sections share, and the sections. Each appends itself; page.c puts them
 * together. Text of logs, recipes and files goes through experiments/html.h. */
#ifndef KEEL_EXPERIMENTS_REPORT_PAGE_H
#define KEEL_EXPERIMENTS_REPORT_PAGE_H

#include "experiments/html.h"
#include "experiments/report/report.h"

typedef struct keel_report_page {
    const keel_run_folder *folder;
    keel_plotter *plotter;
    keel_buf *html;
} keel_report_page;

enum { KEEL_REPORT_FEW = 30 }; /* observations; a figure that rests on fewer is marked */

/* ---- sections, in the order of the page ---- */

keel_status keel__report_verdict(keel_report_page *page, keel_err *err);
keel_status keel__report_rates(keel_report_page *page, keel_err *err);
keel_status keel__report_fronts(keel_report_page *page, keel_err *err);
keel_status keel__report_slices(keel_report_page *page, keel_err *err);
keel_status keel__report_cases(keel_report_page *page, keel_err *err);
/* The decisions of a step of verb `replay`, at most so many, as cards. */
void keel__report_replay(keel_buf *html, const cJSON *step, int most);
keel_status keel__report_curves(keel_report_page *page, keel_err *err);
keel_status keel__report_choices(keel_report_page *page, keel_err *err); /* among checkpoints */
keel_status keel__report_about(keel_report_page *page, keel_err *err);   /* definitions, lineage */

/* ---- what the run judged ---- */

/* The steps of verb `eval` (without a policy: what the log does, keel_report_log), one after the other: the
 * first one after `step` (NULL: at all); NULL at the end.
 */
const cJSON *keel__report_next_eval(const keel_run_folder *folder, const cJSON *step);
/* Whether it is the last of its group: the policy that the page is about, where several are compared. */
bool keel__report_is_subject(const keel_run_folder *folder, const cJSON *step);
/* "CQL: held-out logs" */
void keel__report_put_title(keel_buf *html, const cJSON *step);

/* ---- pieces ---- */

/* A member that is text, else "". */
const char *keel__report_text(const cJSON *object, const char *key);
/* A member that is a number, else NaN. */
double keel__report_number(const cJSON *object, const char *key);
void keel__report_section(keel_buf *html, const char *id, const char *title); /* ended by "</section>\n" */
/* "-" where it is no finite number; format NULL: short. */
void keel__report_put_number(keel_buf *html, const cJSON *value, const char *format);
/* 2,028 */
void keel__report_put_count(keel_buf *html, double count);

/* A table in a box that scrolls where it must. Columns sort by a click (report.js); with `stack` its rows
 * become blocks on a narrow page. caption: escaped by the callee; heads: NULL-terminated.
 * Ended by keel__report_end_table. */
void keel__report_table(keel_buf *html, const char *caption, const char *const *heads, bool stack);
void keel__report_end_table(keel_buf *html);
void keel__report_row(keel_buf *html, const char *class,
                      const char *name); /* begins one; "</tr>\n" ends it */
/* A cell; label: the column's head, for stacked rows. */
void keel__report_number_cell(keel_buf *html, const char *label, const cJSON *value, const char *format);
/* value [low, high] n, marked where n is small. */
void keel__report_interval_cell(keel_buf *html, const char *label, const cJSON *interval);
/* A difference; better: 1 if more is better, -1 if less. It is coloured, and says "better" or "worse", where
 * the interval excludes 0. */
void keel__report_difference_cell(keel_buf *html, const char *label, const cJSON *interval, int better);

#endif
