/* Rates by slice (rl/judge/slices.h): where a policy is weak is hidden in a rate over all. */
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "experiments/report/page.h"

enum { MOST_ROWS = 24 };

static const char *const rates[] = {"refusal_rate", "harmful_compliance_rate", "over_refusal_rate"};
static const char *const labels[] = {"refusal", "harmful compliance", "over-refusal"};
enum { N_RATES = 3 };

/* Whether some row knows the rate of either. */
static bool is_told(const cJSON *rows, const char *rate) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows)
        for (int who = 0; who < 2; who++)
            if (keel__report_number(keel_json_get(keel_json_get(row, who ? "logged" : "policy"), rate), "n") >
                0)
                return true;
    return false;
}

static void put_row(keel_buf *html, const cJSON *row, const bool *told) {
    keel__report_row(html, "", keel__report_text(row, "name"));
    keel__report_number_cell(html, "decisions", keel_json_get(row, "decisions"), NULL);
    for (int r = 0; r < N_RATES; r++)
        for (int who = 0; told[r] && who < 2; who++) {
            char label[64];
            snprintf(label, sizeof label, "%s, %s", labels[r], who ? "log" : "policy");
            keel__report_interval_cell(
                html, label, keel_json_get(keel_json_get(row, who ? "logged" : "policy"), rates[r]));
        }
    keel_buf_text(html, "</tr>\n");
}

static void put_left_out(keel_buf *html, const cJSON *by, double shown, double rows) {
    const double unsaid = keel__report_number(by, "unsaid"), others = keel__report_number(by, "others");
    if (rows > shown) {
        keel_buf_text(html, "<p class=note>");
        keel__report_put_count(html, rows - shown);
        keel_buf_text(html, " smaller slices are left out.</p>\n");
    }
    if (unsaid > 0 || others > 0) {
        keel_buf_text(html, "<p class=note>In no slice: ");
        keel__report_put_count(html, unsaid);
        keel_buf_text(html, " decisions of which the log does not say it, ");
        keel__report_put_count(html, others);
        keel_buf_text(html, " beyond the names that were counted.</p>\n");
    }
}

static void put_slicing(keel_buf *html, const cJSON *by) {
    const cJSON *rows = keel_json_get(by, "rows"), *row;
    const char *heads[2 + 2 * N_RATES + 1] = {keel__report_text(by, "name"), "decisions"};
    char head[2 * N_RATES][64], caption[100];
    bool told[N_RATES];
    size_t count = 2;
    int shown = 0;
    for (int r = 0; r < N_RATES; r++) {
        told[r] = is_told(rows, rates[r]);
        for (int who = 0; told[r] && who < 2; who++) {
            snprintf(head[count - 2], sizeof head[0], "%s, %s", labels[r], who ? "log" : "policy");
            heads[count] = head[count - 2];
            count++;
        }
    }
    snprintf(caption, sizeof caption, "By %.60s", keel__report_text(by, "name"));
    keel__report_table(html, caption, heads, true);
    cJSON_ArrayForEach (row, rows)
        if (shown++ < MOST_ROWS) put_row(html, row, told);
    keel__report_end_table(html);
    put_left_out(html, by, MOST_ROWS, shown);
}

static void put_missing(keel_buf *html, const cJSON *missing) {
    const cJSON *name;
    if (!cJSON_GetArraySize(missing)) return;
    keel_buf_text(html,
                  "<p class=note>Not told apart, because the log does not say it or all have the same:");
    cJSON_ArrayForEach (name, missing) {
        keel_buf_text(html, " ");
        keel_html_said(html, cJSON_IsString(name) ? name->valuestring : "", 60);
        keel_buf_text(html, name->next ? "," : ".");
    }
    keel_buf_text(html, "</p>\n");
}

keel_status keel__report_slices(keel_report_page *page, keel_err *err) {
    const cJSON *step = NULL, *by;
    bool any = false;
    (void)err;
    while ((step = keel__report_next_eval(page->folder, step))) {
        const cJSON *slices = keel_json_get(keel_json_get(step, "result"), "slices");
        if (!slices || !keel__report_is_subject(page->folder, step)) continue;
        if (!any) {
            keel__report_section(page->html, "slices", "By slice");
            keel_buf_text(
                page->html,
                "<p>The same rates, apart, at the decisions of the log. \xE2\x80\xA0: fewer than 30 answers; such a figure "
                "says little, look at its interval. Of twenty intervals of 95 % one misses by chance, so the "
                "worst of many slices is in part bad luck.</p>\n");
        }
        any = true;
        keel_buf_text(page->html, "<h3>");
        keel__report_put_title(page->html, step);
        keel_buf_text(page->html, "</h3>\n");
        cJSON_ArrayForEach (by, keel_json_get(slices, "by")) put_slicing(page->html, by);
        put_missing(page->html, keel_json_get(slices, "missing"));
    }
    if (any) keel_buf_text(page->html, "</section>\n");
    return KEEL_OK;
}
