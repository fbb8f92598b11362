/* Fronts: what policies come to by the weights that they decide by. */
#include <string.h>

#include "core/json.h"
#include "experiments/pareto_report.h"
#include "experiments/report/page.h"

static keel_status put_figure(keel_report_page *page, const cJSON *front, keel_err *err) {
    bool drawn = false;
    keel_buf svg = {0};
    const keel_status status = keel_plot_front(page->plotter, front, &svg, &drawn, err);
    if (status == KEEL_OK && drawn) {
        keel_buf_text(
            page->html,
            "<figure><figcaption>Safety against completion; the line joins the points of the front. The "
            "table below has the numbers.</figcaption>\n");
        keel_buf_append(page->html, svg.data, svg.length);
        keel_buf_text(page->html, "</figure>\n");
    }
    keel_buf_free(&svg);
    return status;
}

static void put_points(keel_buf *html, const cJSON *front) {
    static const char *const shown[] = {"completion_rate", "speed", "safety", "refusal_rate"};
    static const char *const heads[] = {"weights",      "completion rate", "speed",        "safety",
                                        "refusal rate", "utility",         "on the front", NULL};
    const cJSON *point;
    keel__report_table(html, "Policies by the weights of accuracy, speed and safety", heads, true);
    cJSON_ArrayForEach (point, keel_json_get(front, "points")) {
        const bool on = cJSON_IsTrue(keel_json_get(point, "on_front"));
        char name[96];
        keel_pareto_report_name(point, name, sizeof name);
        keel__report_row(html, on ? "policy" : "", name);
        for (size_t m = 0; m < sizeof shown / sizeof *shown; m++)
            keel__report_interval_cell(html, heads[m + 1],
                                       keel_json_get(keel_json_get(point, "metrics"), shown[m]));
        keel__report_number_cell(html, "utility", keel_json_get(point, "utility"), "%.3f");
        keel_buf_format(html, "<td role=cell data-label=\"on the front\">%s</td></tr>\n", on ? "yes" : "no");
    }
    keel__report_end_table(html);
}

static void put_sums(keel_buf *html, const cJSON *front) {
    const cJSON *number, *trained = keel_json_get(front, "trained");
    keel_buf_text(html, "<p class=note>Hypervolume ");
    keel__report_put_number(html, keel_json_get(front, "hypervolume"), "%.4g");
    keel_buf_text(html, " above");
    cJSON_ArrayForEach (number, keel_json_get(front, "reference")) {
        keel_buf_text(html, " ");
        keel__report_put_number(html, number, "%g");
    }
    keel_buf_text(html, " (of the best point alone ");
    keel__report_put_number(html, keel_json_get(front, "best_alone"), "%.4g");
    keel_buf_text(html, "), mean utility ");
    keel__report_put_number(html, keel_json_get(front, "mean_utility"), "%.3f");
    keel_buf_text(html, "; training took ");
    keel__report_put_number(html, keel_json_get(trained, "updates"), "%.0f");
    keel_buf_text(html, " updates, ");
    keel__report_put_number(html, keel_json_get(trained, "transitions"), "%.0f");
    keel_buf_text(html, " transitions seen.</p>\n");
}

static keel_status put_front(keel_report_page *page, const cJSON *front, keel_err *err) {
    KEEL_TRY(put_figure(page, front, err));
    put_points(page->html, front);
    put_sums(page->html, front);
    return KEEL_OK;
}

keel_status keel__report_fronts(keel_report_page *page, keel_err *err) {
    cJSON *fronts = keel_report_fronts(page->folder), *row;
    keel_status status = KEEL_OK;
    if (!cJSON_GetArraySize(fronts)) {
        cJSON_Delete(fronts);
        return KEEL_OK;
    }
    keel__report_section(page->html, "fronts", "Fronts");
    keel_buf_text(
        page->html,
        "<p>What policies come to by the weights of accuracy, speed and safety that they decide by. On the front: "
        "no other is as good in completion, speed and safety and better in one. Utility: what was earned, by "
        "the weights asked for. A hypervolume is that of what the points dominate above the reference in "
        "completion, speed and safety.</p>\n");
    cJSON_ArrayForEach (row, fronts) {
        if (status != KEEL_OK) break;
        keel_buf_text(page->html, "<h3>");
        keel_html_said(page->html, keel__report_text(row, "title"), 200);
        keel_buf_text(page->html, "</h3>\n");
        status = put_front(page, keel_json_get(row, "front"), err);
    }
    cJSON_Delete(fronts);
    keel_buf_text(page->html, "</section>\n");
    return status;
}
