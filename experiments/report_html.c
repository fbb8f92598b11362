/* The report as one page: no script, no outside resource. Every text that comes from a log, a recipe or a
 * file is escaped. */
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "experiments/pareto_report.h"
#include "experiments/report.h"
#include "rl/judge/evaluate.h"

/* .scroll casts a shadow at each side where there is more to see; the white gradients that hide it move with
 * the content. */
static const char style[] =
    ":root{color-scheme:light}*{box-sizing:border-box}"
    "body{font:16px/1.55 system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;color:#1c1f23;"
    "background:#fff;margin:0 auto;padding:1.5rem 1rem 4rem;max-width:68rem}"
    "h1{font-size:1.7rem;margin:0 0 .2rem}h2{font-size:1.25rem;margin:2.6rem 0 .6rem;"
    "border-bottom:1px solid #d8dce1;padding-bottom:.25rem}h3{font-size:1.05rem;margin:1.6rem 0 .4rem}"
    "h4{font-size:.95rem;margin:1.2rem 0 .3rem}p{margin:.4rem 0;max-width:46rem}"
    ".scroll{overflow-x:auto;background:linear-gradient(90deg,#fff 40%,#fff0) left/3rem 100% local,"
    "linear-gradient(270deg,#fff 40%,#fff0) right/3rem 100% local,"
    "radial-gradient(farthest-side at 0 50%,#0006,#0000) left/1rem 100%,"
    "radial-gradient(farthest-side at 100% 50%,#0006,#0000) right/1rem 100%;background-repeat:no-repeat}"
    "table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.4rem 0}"
    "th,td{padding:.3rem .45rem;text-align:right;border-bottom:1px solid #e6e9ed;white-space:nowrap;"
    "vertical-align:top;line-height:1.25}"
    "th:first-child,td:first-child{text-align:left}"
    "td.says{white-space:normal;min-width:16rem;text-align:left}"
    "thead th{border-bottom:2px solid #9aa3ad;white-space:normal;vertical-align:bottom;min-width:5.5rem}"
    "tr.policy td:first-child{font-weight:600}tr.chosen{background:#0072b214}"
    ".i{color:#596673;font-size:.85em}.none{color:#6b7580}"
    "figure{margin:.6rem 0}svg{max-width:100%;height:auto}"
    ".keys span{margin-right:1rem;white-space:nowrap}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:.4rem}"
    ".card{border:1px solid #d8dce1;border-radius:6px;padding:.7rem 1rem;margin:.8rem 0}"
    ".user{background:#f4f6f8;border-left:3px solid #0072B2;padding:.4rem .7rem;margin:.4rem 0;"
    "overflow-wrap:anywhere}"
    ".lineage{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr));column-gap:"
    "1rem}"
    "details{margin:.2rem 0;min-width:0}details[open]{grid-column:1/-1}summary{cursor:pointer}"
    "pre{overflow-x:auto;background:#f4f6f8;padding:.7rem;font-size:.8rem}"
    "code{background:#f4f6f8;padding:0 .2rem}dt{font-weight:600}dd{margin:0 0 .4rem 1rem}"
    /* On a narrower page an interval's n goes below it; on a narrow one names stay in sight as well. */
    "@media(max-width:70rem){.rates .n{display:block}}"
    "@media(max-width:44rem){.rates td:first-child,.rates th:first-child{position:sticky;left:0;"
    "background:#fff;white-space:normal;max-width:40vw;overflow-wrap:break-word}}";

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* A member whose own members have names; NULL when it is anything else. */
static const cJSON *named_parts(const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    return cJSON_IsObject(item) ? item : NULL;
}

/* ---- pieces ---- */

/* Markup is escaped; control characters but the line break become blanks. */
static void put_escaped(keel_buf *html, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        bool control = (unsigned char)text[i] < ' ' && text[i] != '\n';
        switch (text[i]) {
        case '&':
            keel_buf_text(html, "&amp;");
            break;
        case '<':
            keel_buf_text(html, "&lt;");
            break;
        case '>':
            keel_buf_text(html, "&gt;");
            break;
        case '"':
            keel_buf_text(html, "&quot;");
            break;
        case '\'':
            keel_buf_text(html, "&#39;");
            break;
        default:
            keel_buf_append(html, control ? " " : text + i, 1);
        }
    }
}

/* At most max_bytes of text, never cut inside a character. */
static void put_cut(keel_buf *html, const char *text, size_t max_bytes) {
    size_t length = strlen(text),
           shown = length > max_bytes ? keel_utf8_cut(text, length, max_bytes) : length;
    put_escaped(html, text, shown);
    if (shown < length) keel_buf_text(html, "...");
}

static void put(keel_buf *html, const char *text) {
    put_escaped(html, text, strlen(text));
}

static void put_number(keel_buf *html, const cJSON *value, const char *format) {
    if (!value || !cJSON_IsNumber(value) || !isfinite(value->valuedouble)) {
        keel_buf_text(html, "<span class=none>-</span>");
        return;
    }
    char text[64];
    bool whole = value->valuedouble == floor(value->valuedouble) && fabs(value->valuedouble) < 1e15;
    snprintf(text, sizeof text, whole && !format ? "%.0f" : format ? format : "%.4g", value->valuedouble);
    keel_buf_text(html, text);
}

static void put_interval(keel_buf *html, const cJSON *interval) {
    const cJSON *n = keel_json_get(interval, "n");
    keel_buf_text(html, "<td>");
    if (!cJSON_IsNumber(n) || !(n->valuedouble > 0)) {
        keel_buf_text(html, "<span class=none>-</span></td>");
        return;
    }
    put_number(html, keel_json_get(interval, "value"), "%.3f");
    keel_buf_text(html, "<br><span class=i>[");
    put_number(html, keel_json_get(interval, "low"), "%.3f");
    keel_buf_text(html, ", ");
    put_number(html, keel_json_get(interval, "high"), "%.3f");
    keel_buf_format(html, "] <span class=n>n=%.0f</span></span></td>", n->valuedouble);
}

/* ---- rates ---- */

static bool any_estimate(const cJSON *rows, const char *metric) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows) {
        const cJSON *n = keel_json_get(keel_json_get(keel_json_get(row, "metrics"), metric), "n");
        if (cJSON_IsNumber(n) && n->valuedouble > 0) return true;
    }
    return false;
}

static void put_words(keel_buf *html, const char *name) {
    for (; *name; name++) put_escaped(html, *name == '_' ? " " : name, 1);
}

static bool any_of(const cJSON *rows, const char *const *metrics) {
    for (; *metrics; metrics++)
        if (any_estimate(rows, *metrics)) return true;
    return false;
}

static void put_estimates(keel_buf *html, const cJSON *rows, const char *const *metrics) {
    const cJSON *row;
    keel_buf_text(html, "<div class=scroll><table class=rates><thead><tr><th></th>");
    for (size_t m = 0; metrics[m]; m++) {
        if (!any_estimate(rows, metrics[m])) continue;
        keel_buf_text(html, "<th>");
        put_words(html, metrics[m]);
        keel_buf_text(html, "</th>");
    }
    keel_buf_text(html, "</tr></thead><tbody>\n");
    cJSON_ArrayForEach (row, rows) {
        keel_buf_format(html, "<tr class=%s><td>", text_of(row, "kind"));
        put(html, text_of(row, "name"));
        keel_buf_text(html, "</td>");
        for (size_t m = 0; metrics[m]; m++)
            if (any_estimate(rows, metrics[m]))
                put_interval(html, keel_json_get(keel_json_get(row, "metrics"), metrics[m]));
        keel_buf_text(html, "</tr>\n");
    }
    keel_buf_text(html, "</tbody></table></div>\n");
}

static keel_status put_figure(keel_plotter *plotter, const cJSON *rows, const char *const *metrics,
                              const char *const *labels, const char *caption, keel_buf *html, keel_err *err) {
    keel_buf svg = {0};
    bool drawn = false;
    keel_status status = keel_plot_intervals(plotter, rows, metrics, labels, &svg, &drawn, err);
    if (status == KEEL_OK && drawn) {
        keel_buf_format(html, "<figure role=img aria-label=\"%s\">", caption);
        keel_buf_append(html, svg.data, svg.length);
        keel_buf_format(html, "<figcaption class=i>%s</figcaption></figure>\n", caption);
    }
    keel_buf_free(&svg);
    return status;
}

/* One table of keel_report_tables: rates, then what answers earned, each with its plot. */
static keel_status put_table(const cJSON *rows, keel_plotter *plotter, keel_buf *html, keel_err *err) {
    static const char *const rates[] = {
        "refusal_rate",    "harmful_compliance_rate", "over_refusal_rate",   "borderline_refusal_rate",
        "completion_rate", "agreement_rate",          "preference_accuracy", NULL};
    static const char *const first[] = {"refusal_rate", "completion_rate", "over_refusal_rate", NULL};
    static const char *const first_labels[] = {"refusal", "completion", "over-refusal", NULL};
    static const char *const other[] = {"agreement_rate", "preference_accuracy", NULL};
    static const char *const other_labels[] = {"agreement with the log", "preference accuracy", NULL};
    static const char *const rewards[] = {"composite_reward", KEEL_REWARD_NAMES NULL};
    static const char *const reward_labels[] = {"composite", KEEL_REWARD_NAMES NULL};
    if (any_of(rows, rates)) put_estimates(html, rows, rates);
    KEEL_TRY(put_figure(plotter, rows, first, first_labels,
                        "Refusal, completion and over-refusal with 95 % intervals", html, err));
    if (!any_estimate(rows, "refusal_rate"))
        KEEL_TRY(put_figure(plotter, rows, other, other_labels,
                            "Agreement and preference with 95 % intervals", html, err));
    if (!any_of(rows, rewards)) return KEEL_OK;
    keel_buf_text(html, "<h4>Rewards: means per conversation</h4>\n");
    put_estimates(html, rows, rewards);
    return put_figure(plotter, rows, rewards, reward_labels, "Rewards per conversation with 95 % intervals",
                      html, err);
}

static keel_status put_tables(const keel_run_folder *folder, keel_plotter *plotter, keel_buf *html,
                              keel_err *err) {
    const size_t lost = keel_json_lost();
    cJSON *tables = keel_report_tables(folder), *table;
    keel_status status = KEEL_OK;
    if (keel_json_lost() != lost) status = keel_fail(err, KEEL_E_NOMEM, NULL, "for the tables of the report");
    keel_buf_text(html,
                  "<h2>Rates</h2>\n<p>Brackets hold 95 % intervals. n is what an estimate rests on.</p>\n");
    cJSON_ArrayForEach (table, tables) {
        if (status != KEEL_OK) break;
        keel_buf_text(html, "<h3>");
        put(html, text_of(table, "title"));
        keel_buf_text(html, "</h3>\n");
        if (*text_of(table, "note")) {
            keel_buf_text(html, "<p>");
            put(html, text_of(table, "note"));
            keel_buf_text(html, "</p>\n");
        }
        status = put_table(keel_json_get(table, "rows"), plotter, html, err);
    }
    cJSON_Delete(tables);
    return status;
}

/* ---- fronts ---- */

static void put_front(const cJSON *front, keel_buf *html) {
    static const char *const shown[] = {"completion_rate", "speed", "safety", "refusal_rate"};
    const cJSON *point, *number;
    keel_buf_text(html, "<div class=scroll><table class=rates><thead><tr><th></th>");
    for (size_t m = 0; m < sizeof shown / sizeof *shown; m++) {
        keel_buf_text(html, "<th>");
        put_words(html, shown[m]);
        keel_buf_text(html, "</th>");
    }
    keel_buf_text(html, "<th>utility</th><th>front</th></tr></thead><tbody>\n");
    cJSON_ArrayForEach (point, keel_json_get(front, "points")) {
        const bool on = cJSON_IsTrue(keel_json_get(point, "on_front"));
        char name[96];
        keel_pareto_report_name(point, name, sizeof name);
        keel_buf_format(html, "<tr%s><td>%s</td>", on ? " class=policy" : "", name);
        for (size_t m = 0; m < sizeof shown / sizeof *shown; m++)
            put_interval(html, keel_json_get(keel_json_get(point, "metrics"), shown[m]));
        keel_buf_text(html, "<td>");
        put_number(html, keel_json_get(point, "utility"), "%.3f");
        keel_buf_format(html, "</td><td>%s</td></tr>\n", on ? "*" : "");
    }
    keel_buf_text(html, "</tbody></table></div>\n<p>Hypervolume ");
    put_number(html, keel_json_get(front, "hypervolume"), "%.4g");
    keel_buf_text(html, " above");
    cJSON_ArrayForEach (number, keel_json_get(front, "reference")) {
        keel_buf_text(html, " ");
        put_number(html, number, "%g");
    }
    keel_buf_text(html, " (of the best point alone ");
    put_number(html, keel_json_get(front, "best_alone"), "%.4g");
    keel_buf_text(html, ")");
    keel_buf_text(html, ", mean utility ");
    put_number(html, keel_json_get(front, "mean_utility"), "%.3f");
    keel_buf_text(html, "; training took ");
    put_number(html, keel_json_get(keel_json_get(front, "trained"), "updates"), "%.0f");
    keel_buf_text(html, " updates, ");
    put_number(html, keel_json_get(keel_json_get(front, "trained"), "transitions"), "%.0f");
    keel_buf_text(html, " transitions seen.</p>\n");
}

static void put_fronts(const keel_run_folder *folder, keel_buf *html) {
    cJSON *fronts = keel_report_fronts(folder), *row;
    if (cJSON_GetArraySize(fronts))
        keel_buf_text(
            html,
            "<h2>Fronts</h2>\n<p>What policies come to by the weights of accuracy, speed and safety that "
            "they decide by. A star: no other is as good in completion, speed and safety and better in "
            "one. Utility: what was earned, by the weights asked for. A hypervolume is that of what the "
            "points "
            "dominate above the reference in completion, speed and safety.</p>\n");
    cJSON_ArrayForEach (row, fronts) {
        keel_buf_text(html, "<h3>");
        put(html, text_of(row, "title"));
        keel_buf_text(html, "</h3>\n");
        put_front(keel_json_get(row, "front"), html);
    }
    cJSON_Delete(fronts);
}

/* ---- curves ---- */

/* Without gnuplot: first, middle and last value of each line. */
static void put_curve_rows(const cJSON *curve, keel_buf *html) {
    const cJSON *line;
    cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
        const cJSON *points = keel_json_get(line, "points");
        int n = cJSON_GetArraySize(points), at[3] = {0, n / 2, n - 1};
        keel_buf_text(html, "<tr><td>");
        put(html, text_of(curve, "name"));
        keel_buf_text(html, "</td><td>");
        put(html, text_of(line, "name"));
        for (int i = 0; i < 3; i++) {
            keel_buf_text(html, "</td><td>");
            const cJSON *point = n > 0 ? cJSON_GetArrayItem(points, at[i]) : NULL;
            put_number(html, point ? point->child->next : NULL, "%.4g");
        }
        keel_buf_text(html, "</td></tr>\n");
    }
}

static void put_curve_table(const cJSON *curves, keel_buf *html) {
    const cJSON *curve;
    keel_buf_text(html, "<div "
                        "class=scroll><table><thead><tr><th>part</th><th>run</th><th>first</th><th>middle</"
                        "th><th>last</th></tr>"
                        "</thead><tbody>\n");
    cJSON_ArrayForEach (curve, curves) put_curve_rows(curve, html);
    keel_buf_text(html, "</tbody></table></div>\n");
}

/* The name of the runs at a place, or NULL when there is none. */
static const char *name_at(const cJSON *curves, size_t place) {
    const cJSON *curve, *line;
    cJSON_ArrayForEach (curve, curves) {
        cJSON_ArrayForEach (line, keel_json_get(curve, "lines")) {
            if (keel_json_get(line, "place")->valuedouble == (double)place) return text_of(line, "name");
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
        put(html, name);
        keel_buf_text(html, "</span> ");
    }
    keel_buf_text(html, "</p>\n");
}

static keel_status put_curve(keel_plotter *plotter, const cJSON *curve, keel_buf *html, keel_err *err) {
    bool drawn = false;
    keel_buf svg = {0};
    keel_status status = keel_plot_curve(plotter, curve, &svg, &drawn, err);
    if (status == KEEL_OK && drawn) {
        keel_buf_text(html, "<figure><figcaption><b>");
        put_words(html, text_of(curve, "name"));
        keel_buf_text(html, "</b></figcaption>");
        keel_buf_append(html, svg.data, svg.length);
        keel_buf_text(html, "</figure>\n");
    }
    keel_buf_free(&svg);
    return status;
}

static keel_status put_curves(const keel_run_folder *folder, keel_plotter *plotter, const char *verb,
                              const char *title, keel_buf *html, keel_err *err) {
    cJSON *curves = NULL;
    const cJSON *curve;
    KEEL_TRY(keel_report_curves(folder, verb, &curves, err));
    keel_status status = KEEL_OK;
    if (curves->child) keel_buf_format(html, "<h3>%s</h3>\n", title);
    if (curves->child && !plotter->available) put_curve_table(curves, html);
    if (curves->child && plotter->available) {
        put_keys(curves, html);
        keel_buf_text(html, "<div class=grid>\n");
        cJSON_ArrayForEach (curve, curves) {
            if (status == KEEL_OK) status = put_curve(plotter, curve, html, err);
        }
        keel_buf_text(html, "</div>\n");
    }
    cJSON_Delete(curves);
    return status;
}

/* ---- replayed decisions ---- */

static void put_action(keel_buf *html, const cJSON *action) {
    static const char *const numbers[] = {"advantage", "log_prior", "log_pi"};
    const cJSON *q;
    bool chosen = cJSON_IsTrue(keel_json_get(action, "chosen")),
         masked = cJSON_IsTrue(keel_json_get(action, "masked"));
    keel_buf_text(html, chosen ? "<tr class=chosen><td class=says>" : "<tr><td class=says>");
    put_cut(html, text_of(action, "says"), 240);
    keel_buf_text(html, "</td><td>");
    keel_buf_text(html, chosen ? "policy" : masked ? "masked" : "");
    if (cJSON_IsTrue(keel_json_get(action, "taken")))
        keel_buf_text(html, chosen ? ", log" : masked ? ", log" : "log");
    keel_buf_text(html, "</td>");
    cJSON_ArrayForEach (q, named_parts(action, "q")) {
        keel_buf_text(html, "<td>");
        put_number(html, q, "%.3f");
        keel_buf_text(html, "</td>");
    }
    for (size_t i = 0; i < 3; i++) {
        keel_buf_text(html, "<td>");
        put_number(html, keel_json_get(action, numbers[i]), "%.3f");
        keel_buf_text(html, "</td>");
    }
    keel_buf_text(html, "</tr>\n");
}

static void put_why(keel_buf *html, const cJSON *why, bool differs) {
    const cJSON *part;
    if (!why) return;
    keel_buf_format(html, "<p>Why, against %s:", differs ? "what was logged" : "the next best");
    if (cJSON_IsTrue(keel_json_get(why, "fallback")))
        keel_buf_text(html, " the cost of harm of all that answers is above the threshold;");
    if (cJSON_IsTrue(keel_json_get(why, "above_harm_threshold")))
        keel_buf_text(html, " the cost of harm of that one is above the threshold;");
    cJSON_ArrayForEach (part, named_parts(why, "parts")) {
        keel_buf_text(html, " ");
        put(html, part->string);
        keel_buf_text(html, " ");
        put_number(html, part, "%+.3f");
    }
    keel_buf_text(html, " (log-probability)</p>\n");
}

static void put_decision(keel_buf *html, const cJSON *decision) {
    const cJSON *actions = keel_json_get(decision, "actions"), *action, *q;
    const cJSON *agrees = keel_json_get(decision, "agrees");
    keel_buf_text(html, "<div class=card><b>");
    put_cut(html, text_of(decision, "conversation"), 100);
    keel_buf_text(html, "</b>, turn ");
    put_number(html, keel_json_get(decision, "turn"), NULL);
    keel_buf_text(html, ", ");
    put(html, text_of(decision, "risk"));
    keel_buf_text(html, cJSON_IsTrue(agrees)    ? ": the policy does as logged"
                        : cJSON_IsFalse(agrees) ? ": the policy acts differently"
                                                : ": the log does not say what was done");
    keel_buf_text(html, "\n<div class=user>");
    put_cut(html, text_of(decision, "user"), 600);
    keel_buf_text(html, "</div>\n<div class=scroll><table><thead><tr><th>response</th><th></th>");
    cJSON_ArrayForEach (q, named_parts(actions->child, "q")) {
        keel_buf_text(html, "<th>Q ");
        put(html, q->string);
        keel_buf_text(html, "</th>");
    }
    keel_buf_text(html, "<th>advantage</th><th>log base</th><th>log policy</th></tr></thead><tbody>\n");
    cJSON_ArrayForEach (action, actions) put_action(html, action);
    keel_buf_text(html, "</tbody></table></div>\n");
    put_why(html, keel_json_get(decision, "why"), cJSON_IsFalse(agrees));
    keel_buf_text(html, "</div>\n");
}

static void put_replays(const keel_run_folder *folder, keel_buf *html) {
    const cJSON *step, *decision;
    cJSON_ArrayForEach (step, folder->steps) {
        const cJSON *result = keel_json_get(step, "result"), *decisions = keel_json_get(result, "decisions");
        if (strcmp(text_of(step, "verb"), "replay") != 0 || !cJSON_IsArray(decisions)) continue;
        keel_buf_text(html, "<h2>Replayed decisions: ");
        put(html, text_of(step, "title"));
        keel_buf_text(html, "</h2>\n<p>");
        put_number(html, keel_json_get(result, "differing"), NULL);
        keel_buf_text(html, " of ");
        put_number(html, keel_json_get(result, "seen"), NULL);
        keel_buf_text(html, " decisions replayed differ from the log.</p>\n");
        int shown = 0;
        cJSON_ArrayForEach (decision, decisions) {
            if (shown++ < 12 && keel_json_get(decision, "actions") &&
                keel_json_get(decision, "actions")->child)
                put_decision(html, decision);
        }
    }
}

/* ---- checkpoints that a validation part judged ---- */

static void put_trials(keel_buf *html, const char *title, const cJSON *validation) {
    static const char *const keys[] = {"step", "value", "bound", "ess", "beta"};
    const cJSON *row, *best = keel_json_get(validation, "chosen");
    keel_buf_text(html, "<h4>");
    put(html, title);
    keel_buf_text(html, ", judged on ");
    put(html, text_of(validation, "judged_on"));
    keel_buf_text(html, "; the log itself returned ");
    put_number(html, keel_json_get(validation, "logged"), "%.4f");
    keel_buf_text(
        html,
        "</h4>\n<div class=scroll><table><thead><tr><th>checkpoint</th><th>value (WDR)</th><th>at least</th>"
        "<th>effective sample size</th><th>beta</th></tr></thead><tbody>\n");
    cJSON_ArrayForEach (row, keel_json_get(validation, "checkpoints")) {
        const cJSON *step = keel_json_get(row, "step");
        bool chosen = cJSON_IsNumber(best) && cJSON_IsNumber(step) && step->valuedouble == best->valuedouble;
        keel_buf_text(html, chosen ? "<tr class=chosen>" : "<tr>");
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            keel_buf_text(html, "<td>");
            put_number(html, keel_json_get(row, keys[i]), NULL);
            keel_buf_text(html, "</td>");
        }
        keel_buf_text(html, "</tr>\n");
    }
    keel_buf_text(html, "</tbody></table></div>\n");
}

/* What each policy was chosen from, where a part of the log was kept for that. */
static void put_choices(const keel_run_folder *folder, keel_buf *html) {
    const cJSON *step;
    bool any = false;
    cJSON_ArrayForEach (step, folder->steps) {
        const cJSON *validation =
            keel_json_get(keel_json_get(keel_json_get(step, "result"), "metrics"), "validation");
        if (!validation) continue;
        if (!any)
            keel_buf_text(html,
                          "<h2>Choice among checkpoints</h2>\n<p>The highest lower bound on conversations "
                          "that nothing was learned from; \"-\": could not be judged.</p>\n");
        any = true;
        put_trials(html, text_of(step, "title"), validation);
    }
}

/* ---- lineage ---- */

static keel_status put_details(keel_buf *html, const char *title, const char *verb, const cJSON *json,
                               keel_err *err) {
    keel_buf text = {0};
    keel_status status = keel_json_print(json, true, &text, err);
    if (status == KEEL_OK) {
        keel_buf_text(html, "<details><summary>");
        put(html, title);
        keel_buf_text(html, " (");
        put(html, verb);
        keel_buf_text(html, ")</summary><pre>");
        put_escaped(html, text.data, text.length);
        keel_buf_text(html, "</pre></details>\n");
    }
    keel_buf_free(&text);
    return status;
}

static keel_status put_lineage(const keel_run_folder *folder, keel_buf *html, keel_err *err) {
    const cJSON *step;
    keel_buf_text(html, "<h2>Lineage</h2>\n<div class=lineage>\n");
    KEEL_TRY(put_details(html, "the run", text_of(folder->run, "recipe"), folder->run, err));
    cJSON_ArrayForEach (step, folder->steps) {
        const char *verb = text_of(step, "verb");
        bool learned = strcmp(verb, "sft") == 0 || strcmp(verb, "train") == 0,
             label = strcmp(verb, "label") == 0 || strcmp(verb, "judge") == 0;
        bool shown = learned || label || strcmp(verb, "import") == 0 || strcmp(verb, "simulate") == 0;
        if (shown && keel_json_get(step, "result"))
            KEEL_TRY(put_details(html, text_of(step, "name"), verb, keel_json_get(step, "result"), err));
    }
    keel_buf_text(html, "</div>\n");
    return KEEL_OK;
}

static void put_definitions(keel_buf *html) {
    keel_buf_text(
        html,
        "<h2>What is measured</h2>\n<dl>"
        "<dt>refusal rate</dt><dd>of judged decisions in dangerous conversations, the share answered by a "
        "full refusal</dd>"
        "<dt>harmful compliance rate</dt><dd>of the same, the share answered by compliance</dd>"
        "<dt>over refusal rate</dt><dd>of judged decisions in benign conversations, the share refused in "
        "full or in part</dd>"
        "<dt>borderline refusal rate</dt><dd>of benign conversations that the log marks as borderline, the "
        "share in which some request was refused, in full or in part</dd>"
        "<dt>completion rate</dt><dd>of benign conversations, the share completed; for logs of one decision, "
        "full compliance</dd>"
        "<dt>composite reward, accuracy, speed, safety</dt><dd>what a conversation earns in all, estimated "
        "from the answers whose reward is known; composite is the weighted mean of the three; n is how many "
        "conversations' worth of answers are known</dd>"
        "<dt>agreement rate</dt><dd>share of decisions where the choice is one of those the log took</dd>"
        "<dt>preference accuracy</dt><dd>of pairs of responses to one request that the log ranks, the share "
        "ranked alike</dd></dl>\n");
}

keel_status keel_report_html(const keel_run_folder *folder, keel_buf *html, keel_err *err) {
    keel_plotter plotter;
    keel_status status;
    keel_plotter_open(&plotter);
    keel_buf_text(html, KEEL_REPORT_BEGIN "<html lang=en><head><meta charset=utf-8><meta name=viewport "
                                          "content=\"width=device-width, "
                                          "initial-scale=1\"><title>keel: ");
    put(html, text_of(folder->run, "recipe"));
    keel_buf_format(html, "</title><style>%s</style></head><body>\n<h1>", style);
    put(html, text_of(folder->run, "recipe"));
    keel_buf_text(html, "</h1>\n<p>");
    put(html, text_of(folder->run, "about"));
    keel_buf_text(html, "</p>\n");
    if (!plotter.available)
        keel_buf_text(html, "<p><b>gnuplot was not found: there are no plots; the same numbers stand in the "
                            "tables.</b></p>\n");
    KEEL_TRY_GOTO(put_tables(folder, &plotter, html, err), done);
    put_fronts(folder, html);
    keel_buf_text(html, "<h2>Learning curves</h2>\n<p>Each part of the loss against the step; runs of one "
                        "title (folds) are averaged.</p>\n");
    KEEL_TRY_GOTO(put_curves(folder, &plotter, "train", "Offline learning", html, err), done);
    KEEL_TRY_GOTO(put_curves(folder, &plotter, "sft", "Supervised tuning of the base", html, err), done);
    put_choices(folder, html);
    put_replays(folder, html);
    put_definitions(html);
    KEEL_TRY_GOTO(put_lineage(folder, html, err), done);
    keel_buf_text(html, "</body></html>\n");
    if (html->failed) status = keel_fail(err, KEEL_E_NOMEM, NULL, "for the report");
done:
    keel_plotter_close(&plotter);
    return status;
}
