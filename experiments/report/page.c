/* The report as one page that opens from disk: no request to anywhere, and no script but its own, which sorts
 * tables. */
#include "experiments/report/page.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void put_head(const keel_run_folder *folder, keel_buf *html) {
    const char *css = (const char *)keel_embedded_report_css, *js = (const char *)keel_embedded_report_js;
    keel_buf_text(
        html, KEEL_REPORT_BEGIN
        "<html lang=en><head><meta charset=utf-8>\n<meta name=viewport "
        "content=\"width=device-width, initial-scale=1\">\n<meta name=color-scheme content=\"light dark\">\n"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; base-uri 'none'; "
        "form-action 'none'; style-src ");
    keel_html_hash(html, css);
    keel_buf_text(html, "; script-src ");
    keel_html_hash(html, js);
    keel_buf_text(html, "\">\n<title>");
    keel_html_said(html, keel__report_text(folder->run, "recipe"), 120);
    keel_buf_text(html, ": Keel report</title>\n<style>");
    keel_buf_text(html, css);
    keel_buf_text(html, "</style></head>\n<body>\n");
}

static void put_header(const keel_report_page *page) {
    keel_buf *html = page->html;
    keel_buf_text(
        html,
        "<a class=skip href=\"#verdict\">To the verdict</a>\n<header>\n<p class=kicker>Keel report</p>\n<h1>");
    keel_html_said(html, keel__report_text(page->folder->run, "recipe"), 120);
    keel_buf_text(html, "</h1>\n<p class=lead>");
    keel_html_said(html, keel__report_text(page->folder->run, "about"), 2000);
    keel_buf_text(html, "</p>\n");
    if (!page->plotter->available)
        keel_buf_text(
            html, "<p class=note>gnuplot was not found: there are no plots; the same numbers stand in the "
                  "tables.</p>\n");
}

/* Links to the sections that the page has. */
static void put_contents(keel_buf *html, const keel_buf *sections) {
    static const char *const links[][2] = {{"verdict", "Verdict"},         {"rates", "Rates"},
                                           {"fronts", "Fronts"},           {"slices", "By slice"},
                                           {"cases", "Decisions to read"}, {"choices", "Choice"},
                                           {"curves", "Learning curves"},  {"words", "What is measured"},
                                           {"lineage", "Lineage"}};
    keel_buf_text(html, "<nav aria-label=Sections><ul>\n");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        char id[64];
        snprintf(id, sizeof id, "<h2 id=\"%s\">", links[i][0]);
        if (sections->data && strstr(sections->data, id))
            keel_buf_format(html, "<li><a href=\"#%s\">%s</a></li>\n", links[i][0], links[i][1]);
    }
    keel_buf_text(html, "</ul></nav>\n</header>\n<main>\n");
}

keel_status keel_report_html(const keel_run_folder *folder, keel_buf *html, keel_err *err) {
    static keel_status (*const sections[])(keel_report_page *, keel_err *) = {
        keel__report_verdict, keel__report_rates,   keel__report_fronts, keel__report_slices,
        keel__report_cases,   keel__report_choices, keel__report_curves, keel__report_about};
    keel_plotter plotter;
    keel_buf body = {0};
    keel_report_page page = {.folder = folder, .plotter = &plotter, .html = &body};
    keel_status status = KEEL_OK;
    keel_plotter_open(&plotter);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0] && status == KEEL_OK; i++)
        status = sections[i](&page, err);
    page.html = html;
    put_head(folder, html);
    put_header(&page);
    put_contents(html, &body);
    if (body.data) keel_buf_append(html, body.data, body.length);
    keel_buf_text(html, "</main>\n<script>");
    keel_buf_text(html, (const char *)keel_embedded_report_js);
    keel_buf_text(html, "</script>\n</body></html>\n");
    if (status == KEEL_OK && (html->failed || body.failed))
        status = keel_fail(err, KEEL_E_NOMEM, NULL, "for the report");
    keel_buf_free(&body);
    keel_plotter_close(&plotter);
    return status;
}

keel_status keel_report_replay_html(const cJSON *result, keel_buf *html, keel_err *err) {
    keel_run_folder folder = {.run = cJSON_CreateObject()};
    cJSON *step = cJSON_CreateObject();
    cJSON_AddStringToObject(folder.run, "recipe", "Replay");
    cJSON_AddStringToObject(step, "title", "");
    const bool whole = cJSON_AddItemReferenceToObject(step, "result", (cJSON *)(uintptr_t)result);
    put_head(&folder, html);
    keel_buf_text(html, "<main>\n<section id=cases><h1>Replay</h1>\n");
    keel__report_replay(html, step, INT_MAX);
    keel_buf_text(html, "</section>\n</main>\n<script>");
    keel_buf_text(html, (const char *)keel_embedded_report_js);
    keel_buf_text(html, "</script>\n</body></html>\n");
    cJSON_Delete(step);
    cJSON_Delete(folder.run);
    return whole && !html->failed ? KEEL_OK : keel_nomem(err, "the page");
}
