/* First of all: what was found, in the sentences of experiments/verdict.h; what it rests on; what was not
 * measured. The last policy of a group is the one that the page is about; others are folded. */
#include "experiments/verdict.h"

#include <string.h>

#include "core/json.h"
#include "experiments/report/page.h"

static void put_answer(keel_buf *html, const cJSON *answer) {
    const cJSON *good = keel_json_get(answer, "good");
    keel_buf_text(html, "<div><dt>");
    keel_html_text(html, keel__report_text(answer, "asks"));
    keel_buf_format(html, "</dt><dd class=\"%s\">",
                    cJSON_IsTrue(good)    ? "good"
                    : cJSON_IsFalse(good) ? "bad"
                                          : "open");
    keel_html_said(html, keel__report_text(answer, "says"), 2000);
    keel_buf_text(html, "</dd></div>\n");
}

static void put_missing(keel_buf *html, const cJSON *missing) {
    const cJSON *item;
    if (!cJSON_GetArraySize(missing)) return;
    keel_buf_text(html, "<h4>What was not measured</h4>\n<ul class=missing>\n");
    cJSON_ArrayForEach (item, missing) {
        keel_buf_text(html, "<li>");
        keel_html_said(html, cJSON_IsString(item) ? item->valuestring : "", 2000);
        keel_buf_text(html, "</li>\n");
    }
    keel_buf_text(html, "</ul>\n");
}

static void put_verdict(keel_buf *html, const cJSON *step) {
    cJSON *verdict = keel_verdict_json(keel_json_get(step, "result"));
    const cJSON *item;
    const char *finding = keel__report_text(verdict, "finding");
    keel_buf_format(html, "<article class=\"verdict %s\">\n<h3>",
                    strncmp(finding, "better", 6) == 0  ? "good"
                    : strncmp(finding, "worse", 5) == 0 ? "bad"
                                                        : "open");
    keel__report_put_title(html, step);
    keel_buf_text(html, "</h3>\n<p class=finding>");
    keel_html_text(html, finding);
    keel_buf_text(html, "</p>\n");
    cJSON_ArrayForEach (item, keel_json_get(verdict, "sentences")) {
        keel_buf_text(html, "<p class=sentence>");
        keel_html_said(html, item->valuestring, 4000);
        keel_buf_text(html, "</p>\n");
    }
    keel_buf_text(html, "<dl class=answers>\n");
    cJSON_ArrayForEach (item, keel_json_get(verdict, "answers")) put_answer(html, item);
    keel_buf_text(html, "</dl>\n");
    put_missing(html, keel_json_get(verdict, "missing"));
    keel_buf_text(html, "</article>\n");
    cJSON_Delete(verdict);
}

/* Policies that a later one of their group is compared with, folded. */
static void put_others(const keel_run_folder *folder, keel_buf *html) {
    const cJSON *step = NULL;
    size_t others = 0;
    while ((step = keel__report_next_eval(folder, step))) others += !keel__report_is_subject(folder, step);
    if (!others) return;
    keel_buf_format(html, "<details><summary>%zu other polic%s evaluated for comparison</summary>\n", others,
                    others == 1 ? "y" : "ies");
    while ((step = keel__report_next_eval(folder, step)))
        if (!keel__report_is_subject(folder, step)) put_verdict(html, step);
    keel_buf_text(html, "</details>\n");
}

keel_status keel__report_verdict(keel_report_page *page, keel_err *err) {
    const size_t lost = keel_json_lost();
    const cJSON *step = NULL;
    bool any = false;
    keel__report_section(page->html, "verdict", "Verdict");
    while ((step = keel__report_next_eval(page->folder, step))) {
        if (!keel__report_is_subject(page->folder, step)) continue;
        put_verdict(page->html, step);
        any = true;
    }
    if (any)
        put_others(page->folder, page->html);
    else
        keel_buf_text(page->html,
                      "<p class=sentence>No policy was evaluated, so nothing here says whether one may be "
                      "released. <code>keel eval --policy DIR</code> judges one.</p>\n");
    keel_buf_text(page->html, "</section>\n");
    return keel_json_lost() == lost ? KEEL_OK : keel_nomem(err, "the verdict of the report");
}
