/* Learning curves, as plots or, without gnuplot, as tables; and what each policy was chosen from. */
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "experiments/report/page.h"

static const char *text_at(const cJSON *object, const char *key) {
    return keel__report_text(object, key);
}

/* Without gnuplot: first, middle and last value of each line. */
static void put_curve_rows(const cJSON *curve, keel_buf *html) {
    static const char *const labels[] = {"first", "middle", "last"};
    const cJSON *line;
    cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
        const cJSON *points = keel_json_get(line, "points");
        const int n = cJSON_GetArraySize(points), at[3] = {0, n / 2, n - 1};
        keel__report_row(html, "", text_at(curve, "name"));
        keel_buf_text(html, "<td role=cell data-label=run>");
        keel_html_said(html, text_at(line, "name"), 120);
        keel_buf_text(html, "</td>");
        for (int i = 0; i < 3; i++) {
            const cJSON *point = n > 0 ? cJSON_GetArrayItem(points, at[i]) : NULL;
            keel__report_number_cell(html, labels[i], point ? point->child->next : NULL, "%.4g");
        }
        keel_buf_text(html, "</tr>\n");
    }
}

static void put_curve_table(const cJSON *curves, keel_buf *html) {
    static const char *const heads[] = {"part", "run", "first", "middle", "last", NULL};
    const cJSON *curve;
    keel__report_table(html, "Each part of the loss at three steps", heads, true);
    cJSON_ArrayForEach (curve, curves) put_curve_rows(curve, html);
    keel__report_end_table(html);
}

/* The name of the runs at a place, or NULL when there is none. */
static const char *name_at(const cJSON *curves, size_t place) {
    const cJSON *curve, *line;
    cJSON_ArrayForEach (curve, curves) {
        cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
            if (keel_json_get(line, "place")->valuedouble == (double)place) return text_at(line, "name");
        }
    }
    return NULL;
}

static void put_keys(const cJSON *curves, keel_buf *html) {
    const char *name;
    keel_buf_text(html, "<p class=keys>");
    for (size_t place = 0; place < KEEL_PLOT_COLOURS && (name = name_at(curves, place)); place++) {
        keel_buf_text(html, "<span>");
        keel_plot_key(place, html);
        keel_buf_text(html, " ");
        keel_html_said(html, name, 120);
        keel_buf_text(html, "</span> ");
    }
    keel_buf_text(html, "</p>\n");
}

/* First and last value of each run, for who cannot see the plot. */
static void put_ends(const cJSON *curve, keel_buf *html) {
    const cJSON *line;
    cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
        const cJSON *points = keel_json_get(line, "points");
        const int n = cJSON_GetArraySize(points);
        if (!n) continue;
        keel_buf_text(html, " ");
        keel_html_said(html, text_at(line, "name"), 120);
        keel_buf_text(html, ": from ");
        keel__report_put_number(html, points->child->child->next, "%.3g");
        keel_buf_text(html, " to ");
        keel__report_put_number(html, cJSON_GetArrayItem(points, n - 1)->child->next, "%.3g");
        keel_buf_text(html, line->next ? ";" : ".");
    }
}

static keel_status put_curve(keel_plotter *plotter, const cJSON *curve, keel_buf *html, keel_err *err) {
    bool drawn = false;
    keel_buf svg = {0};
    keel_status status = keel_plot_curve(plotter, curve, &svg, &drawn, err);
    if (status == KEEL_OK && drawn) {
        keel_buf_text(html, "<figure class=small><figcaption><b>");
        keel_html_words(html, text_at(curve, "name"));
        keel_buf_text(html, "</b><span class=unseen>");
        put_ends(curve, html);
        keel_buf_text(html, "</span></figcaption>");
        keel_buf_append(html, svg.data, svg.length);
        keel_buf_text(html, "</figure>\n");
    }
    keel_buf_free(&svg);
    return status;
}

static keel_status put_curves(keel_report_page *page, const char *verb, const char *title, bool *any,
                              keel_err *err) {
    cJSON *curves = NULL;
    const cJSON *curve;
    keel_buf *html = page->html;
    KEEL_TRY(keel_report_curves(page->folder, verb, &curves, err));
    keel_status status = KEEL_OK;
    if (curves->child && !*any) {
        keel__report_section(html, "curves", "Learning curves");
        keel_buf_text(html,
                      "<p>Each part of the loss against the step; runs of one title (folds) are averaged. "
                      "<code>keel train --explain</code> says what is healthy.</p>\n");
    }
    *any |= curves->child != NULL;
    if (curves->child) keel_buf_format(html, "<h3>%s</h3>\n", title);
    if (curves->child && !page->plotter->available) put_curve_table(curves, html);
    if (curves->child && page->plotter->available) {
        put_keys(curves, html);
        keel_buf_text(html, "<div class=grid>\n");
        cJSON_ArrayForEach (curve, curves) {
            if (status == KEEL_OK) status = put_curve(page->plotter, curve, html, err);
        }
        keel_buf_text(html, "</div>\n");
    }
    cJSON_Delete(curves);
    return status;
}

keel_status keel__report_curves(keel_report_page *page, keel_err *err) {
    bool any = false;
    KEEL_TRY(put_curves(page, "train", "Offline learning", &any, err));
    KEEL_TRY(put_curves(page, "sft", "Supervised tuning of the base", &any, err));
    if (any) keel_buf_text(page->html, "</section>\n");
    return KEEL_OK;
}

/* ---- checkpoints that a validation part judged ---- */

static void put_trials(keel_buf *html, const char *title, const cJSON *validation) {
    static const char *const heads[] = {"checkpoint", "value (WDR)", "at least", "effective sample size",
                                        "beta",       NULL};
    static const char *const keys[] = {"value", "bound", "ess", "beta"};
    const cJSON *row, *best = keel_json_get(validation, "chosen");
    keel_buf_text(html, "<h3>");
    keel_html_said(html, title, 200);
    keel_buf_text(html, ", evaluated on ");
    keel_html_said(html, text_at(validation, "judged_on"), 200);
    keel_buf_text(html, "; the log itself returned ");
    keel__report_put_number(html, keel_json_get(validation, "logged"), "%.4f");
    keel_buf_text(html, "</h3>\n");
    keel__report_table(html, "Checkpoints", heads, true);
    cJSON_ArrayForEach (row, keel_json_get(validation, "checkpoints")) {
        const cJSON *step = keel_json_get(row, "step");
        const bool chosen =
            cJSON_IsNumber(best) && cJSON_IsNumber(step) && step->valuedouble == best->valuedouble;
        char name[48] = "-";
        if (cJSON_IsNumber(step))
            snprintf(name, sizeof name, "%.0f%s", step->valuedouble, chosen ? ", chosen" : "");
        keel__report_row(html, chosen ? "policy" : "", name);
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            keel__report_number_cell(html, heads[i + 1], keel_json_get(row, keys[i]), NULL);
        keel_buf_text(html, "</tr>\n");
    }
    keel__report_end_table(html);
}

keel_status keel__report_choices(keel_report_page *page, keel_err *err) {
    const cJSON *step;
    bool any = false;
    (void)err;
    cJSON_ArrayForEach (step, page->folder->steps) {
        const cJSON *validation =
            keel_json_get(keel_json_get(keel_json_get(step, "result"), "metrics"), "validation");
        if (!cJSON_IsObject(validation)) continue;
        if (!any) {
            keel__report_section(page->html, "choices", "Choice among checkpoints");
            keel_buf_text(page->html,
                          "<p>The highest lower bound on conversations that nothing was learned from; "
                          "\"-\": could not be evaluated.</p>\n");
        }
        any = true;
        put_trials(page->html, text_at(step, "title"), validation);
    }
    if (any) keel_buf_text(page->html, "</section>\n");
    return KEEL_OK;
}
