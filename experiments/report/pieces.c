/* Pieces that the sections of the page share. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "experiments/report/page.h"

const char *keel__report_text(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

double keel__report_number(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

void keel__report_section(keel_buf *html, const char *id, const char *title) {
    keel_buf_format(html, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s</h2>\n", id, id, title);
}

/* ---- numbers ---- */

void keel__report_put_number(keel_buf *html, const cJSON *value, const char *format) {
    if (!value || !cJSON_IsNumber(value) || !isfinite(value->valuedouble)) {
        keel_buf_text(html, "<span class=none>-</span>");
        return;
    }
    char text[64];
    const double x = value->valuedouble;
    const bool whole = x == floor(x) && fabs(x) < 1e15;
    snprintf(text, sizeof text, whole && !format ? "%.0f" : format ? format : "%.4g", x);
    if (text[0] == '-') keel_buf_text(html, "\xE2\x88\x92"); /* a minus as wide as a plus */
    keel_buf_text(html, text + (text[0] == '-'));
}

void keel__report_put_count(keel_buf *html, double count) {
    char digits[32];
    const int length = snprintf(digits, sizeof digits, "%.0f", fmin(fmax(count, 0), 1e15));
    for (int i = 0; i < length; i++)
        keel_buf_format(html, "%s%c", i && (length - i) % 3 == 0 ? "," : "", digits[i]);
}

/* ---- tables ---- */

void keel__report_table(keel_buf *html, const char *caption, const char *const *heads, bool stack) {
    keel_buf_format(html, "<div class=scroll tabindex=0 role=group aria-label=\"");
    keel_html_text(html, caption);
    keel_buf_format(html, "\"><table%s role=table><caption>", stack ? " class=stack" : "");
    keel_html_text(html, caption);
    keel_buf_text(html, "</caption><thead role=rowgroup><tr role=row>");
    for (; *heads; heads++) {
        keel_buf_text(html, "<th scope=col role=columnheader>");
        keel_html_text(html, *heads);
        keel_buf_text(html, "</th>");
    }
    keel_buf_text(html, "</tr></thead><tbody role=rowgroup>\n");
}

void keel__report_end_table(keel_buf *html) {
    keel_buf_text(html, "</tbody></table></div>\n");
}

void keel__report_row(keel_buf *html, const char *class, const char *name) {
    keel_buf_format(html, "<tr role=row class=\"%s\"><th scope=row role=rowheader>", class);
    keel_buf text = {0};
    keel_html_said(&text, name, 120);
    for (size_t i = 0; i < text.length; i++) {
        keel_buf_append(html, text.data + i, 1);
        if (text.data[i] == '_') keel_buf_text(html, "<wbr>"); /* names may break there */
    }
    if (text.failed) html->failed = true;
    keel_buf_free(&text);
    keel_buf_text(html, "</th>");
}

/* value: what the column is sorted by. */
static void begin_cell(keel_buf *html, const char *label, double value) {
    keel_buf_text(html, "<td role=cell data-label=\"");
    keel_html_text(html, label);
    if (isfinite(value))
        keel_buf_format(html, "\" data-value=\"%.9g\">", value);
    else
        keel_buf_text(html, "\">");
}

void keel__report_number_cell(keel_buf *html, const char *label, const cJSON *value, const char *format) {
    begin_cell(html, label, value && cJSON_IsNumber(value) ? value->valuedouble : (double)NAN);
    keel__report_put_number(html, value, format);
    keel_buf_text(html, "</td>");
}

static void put_ends(keel_buf *html, const cJSON *interval, const char *format) {
    keel_buf_text(html, "<span class=ends>[");
    keel__report_put_number(html, keel_json_get(interval, "low"), format);
    keel_buf_text(html, ", ");
    keel__report_put_number(html, keel_json_get(interval, "high"), format);
    keel_buf_text(html, "]</span>");
}

void keel__report_interval_cell(keel_buf *html, const char *label, const cJSON *interval) {
    const double n = keel__report_number(interval, "n");
    if (!(n > 0)) {
        begin_cell(html, label, NAN);
        keel_buf_text(html, "<span class=none>-</span></td>");
        return;
    }
    begin_cell(html, label, keel__report_number(interval, "value"));
    keel_buf_text(html, "<span class=value>");
    keel__report_put_number(html, keel_json_get(interval, "value"), "%.3f");
    keel_buf_text(html, "</span> ");
    put_ends(html, interval, "%.3f");
    keel_buf_format(html, " <span class=\"n%s\">n ", n < KEEL_REPORT_FEW ? " few" : "");
    keel__report_put_count(html, n < 1 ? 1 : n);
    keel_buf_text(html, n < KEEL_REPORT_FEW ? " \xE2\x80\xA0</span></td>" : "</span></td>");
}

void keel__report_difference_cell(keel_buf *html, const char *label, const cJSON *interval, int better) {
    const double n = keel__report_number(interval, "n"), low = keel__report_number(interval, "low"),
                 high = keel__report_number(interval, "high");
    if (!(n > 0)) {
        begin_cell(html, label, NAN);
        keel_buf_text(html, "<span class=none>-</span></td>");
        return;
    }
    const int side = better * (low > 0 ? 1 : high < 0 ? -1 : 0);
    begin_cell(html, label, keel__report_number(interval, "value"));
    keel_buf_format(html, "<span class=\"value%s\">", side > 0 ? " good" : side < 0 ? " bad" : "");
    keel__report_put_number(html, keel_json_get(interval, "value"), "%+.3f");
    keel_buf_text(html, "</span> ");
    put_ends(html, interval, "%+.3f");
    keel_buf_text(html, side > 0   ? " <span class=\"side good\">better</span></td>"
                        : side < 0 ? " <span class=\"side bad\">worse</span></td>"
                                   : "</td>");
}

/* ---- what the run judged ---- */

const cJSON *keel__report_next_eval(const keel_run_folder *folder, const cJSON *step) {
    const cJSON *next = step ? step->next : folder->steps ? folder->steps->child : NULL;
    while (next && (strcmp(keel__report_text(next, "verb"), "eval") != 0 ||
                    !cJSON_IsObject(keel_json_get(keel_json_get(next, "result"), "baselines"))))
        next = next->next;
    return next;
}

bool keel__report_is_subject(const keel_run_folder *folder, const cJSON *step) {
    const char *group = keel__report_text(step, "group");
    const cJSON *later = step;
    while ((later = keel__report_next_eval(folder, later)))
        if (strcmp(keel__report_text(later, "group"), group) == 0) return false;
    return true;
}

void keel__report_put_title(keel_buf *html, const cJSON *step) {
    keel_html_said(html, keel__report_text(step, "title"), 120);
    if (!*keel__report_text(step, "group")) return;
    keel_buf_text(html, " <span class=of>");
    keel_html_said(html, keel__report_text(step, "group"), 200);
    keel_buf_text(html, "</span>");
}
