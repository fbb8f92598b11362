/* Rates by slice (rl/judge/slices.h): where a policy is weak is hidden in a rate over all. */
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "experiments/report/page.h"

enum { MOST_ROWS = 24 };

static const char *const rates[] = {"refusal_rate", "harmful_compliance_rate", "over_refusal_rate"};
static const char *const labels[] = {"refusal", "harmful compliance", "over-refusal"};
enum { N_RATES = 3 };

static const char *const actors[] = {"policy", "logged"}, *const actor_names[] = {"policy", "log"};
enum { MOST_COLUMNS = 2 * N_RATES };

/* A rate of policy or log that some row knows. */
typedef struct column {
    const char *rate, *actor;
    char label[64];
} column;

static const cJSON *at(const cJSON *row, const column *of) {
    return keel_json_get(keel_json_get(row, of->actor), of->rate);
}

static bool is_told(const cJSON *rows, const column *of) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows)
        if (keel__report_number(at(row, of), "n") > 0) return true;
    return false;
}

static size_t columns_of(const cJSON *rows, column *out) {
    size_t n = 0;
    for (int i = 0; i < MOST_COLUMNS; i++) {
        column *one = &out[n];
        *one = (column){.rate = rates[i / 2], .actor = actors[i % 2]};
        snprintf(one->label, sizeof one->label, "%s, %s", labels[i / 2], actor_names[i % 2]);
        n += is_told(rows, one);
    }
    return n;
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
    const char *heads[2 + MOST_COLUMNS + 1] = {keel__report_text(by, "name"), "decisions"};
    column columns[MOST_COLUMNS + 1];
    const size_t n = columns_of(rows, columns);
    char caption[100];
    int shown = 0;
    for (size_t i = 0; i < n; i++) heads[2 + i] = columns[i].label;
    snprintf(caption, sizeof caption, "By %.60s", keel__report_text(by, "name"));
    keel__report_table(html, caption, heads, true);
    cJSON_ArrayForEach (row, rows) {
        if (shown++ >= MOST_ROWS) continue;
        keel__report_row(html, "", keel__report_text(row, "name"));
        keel__report_number_cell(html, "decisions", keel_json_get(row, "decisions"), NULL);
        for (size_t i = 0; i < n; i++)
            keel__report_interval_cell(html, columns[i].label, at(row, &columns[i]));
        keel_buf_text(html, "</tr>\n");
    }
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
