/* What the words mean (experiments/explain.h), and where everything came from. */
#include <string.h>

#include "core/json.h"
#include "experiments/explain.h"
#include "experiments/report/page.h"

static void put_definitions(keel_buf *html) {
    keel__report_section(html, "words", "What is measured");
    keel_buf_text(html, "<p><code>keel eval --explain</code> prints the same.</p>\n<dl class=words>\n");
    for (const keel_explained *row = keel_explanations; row->verb; row++) {
        if (strcmp(row->verb, "eval") != 0) continue;
        keel_buf_text(html, "<div><dt>");
        keel_html_words(html, row->name);
        keel_buf_text(html, "</dt><dd>");
        keel_html_text(html, row->means);
        keel_buf_text(html, ". <span class=healthy>Healthy: ");
        keel_html_text(html, row->healthy);
        keel_buf_text(html, ".</span></dd></div>\n");
    }
    keel_buf_text(html, "</dl>\n</section>\n");
}

static keel_status put_details(keel_buf *html, const char *title, const char *verb, const cJSON *json,
                               keel_err *err) {
    enum { MOST = 100000 }; /* bytes */
    keel_buf text = {0};
    keel_status status = keel_json_print(json, true, &text, err);
    if (status == KEEL_OK) {
        keel_buf_text(html, "<details><summary>");
        keel_html_said(html, title, 120);
        keel_buf_text(html, " (");
        keel_html_said(html, verb, 120);
        keel_buf_text(html, ")</summary><pre tabindex=0>");
        keel_html_said(html, text.data, MOST);
        keel_buf_text(html, "</pre></details>\n");
    }
    keel_buf_free(&text);
    return status;
}

static keel_status put_lineage(const keel_run_folder *folder, keel_buf *html, keel_err *err) {
    static const char *const shown[] = {"sft", "train", "label", "judge", "import", "simulate", NULL};
    const cJSON *step;
    keel__report_section(html, "lineage", "Lineage");
    keel_buf_text(html, "<p>What each step made, and from what.</p>\n<div class=lineage>\n");
    KEEL_TRY(put_details(html, "the run", keel__report_text(folder->run, "recipe"), folder->run, err));
    cJSON_ArrayForEach (step, folder->steps) {
        const char *verb = keel__report_text(step, "verb");
        size_t i = 0;
        while (shown[i] && strcmp(shown[i], verb) != 0) i++;
        if (shown[i] && keel_json_get(step, "result"))
            KEEL_TRY(
                put_details(html, keel__report_text(step, "name"), verb, keel_json_get(step, "result"), err));
    }
    keel_buf_text(html, "</div>\n</section>\n");
    return KEEL_OK;
}

keel_status keel__report_about(keel_report_page *page, keel_err *err) {
    put_definitions(page->html);
    return put_lineage(page->folder, page->html, err);
}
