/* Rates: each policy against the log and its base, then all who answered side by side, with plots. */
#include <math.h>
#include <string.h>

#include "core/json.h"
#include "experiments/explain.h"
#include "experiments/report/page.h"
#include "rl/judge/evaluate.h"

static const cJSON *metric_of(const cJSON *row, const char *metric) {
    return keel_json_get(keel_json_get(row, "metrics"), metric);
}

static bool is_known(const cJSON *interval) {
    return keel__report_number(interval, "n") > 0;
}

static void words_of(const char *name, char *out, size_t size) {
    snprintf(out, size, "%s", name);
    const size_t length = strlen(out);
    if (length > 2 && length + 2 < size && strcmp(out + length - 2, "_s") == 0)
        strcpy(out + length - 2, " (s)");
    for (char *c = out; *c; c++)
        if (*c == '_') *c = ' ';
}

/* ---- one policy against log and base ---- */

/* Where rates are those of the policy as it is played, what they are at the log's decisions. */
static const cJSON *on_log(const cJSON *actor, const char *metric) {
    return keel_json_get(keel_json_get(actor, "on_log"), metric);
}

static bool any_on_log(const cJSON *policy) {
    const cJSON *of = keel_json_get(policy, "on_log");
    return cJSON_IsObject(of) && of->child;
}

static void put_source(keel_buf *html, const cJSON *interval, const char *label) {
    const double known = keel__report_number(interval, "known");
    keel_buf_format(html, "<td role=cell data-label=\"%s\">", label);
    if (known >= 0)
        keel_buf_format(html, "<span class=shares>%.0f / %.0f / %.0f %%%s</span>", 100 * known,
                        100 * keel__report_number(interval, "estimated"),
                        100 * keel__report_number(interval, "unknown"),
                        cJSON_IsTrue(keel_json_get(interval, "clipped")) ? " \xE2\x80\xA1" : "");
    else
        keel_buf_text(html,
                      is_known(interval) ? "<span class=shares>known</span>" : "<span class=none>-</span>");
    keel_buf_text(html, "</td>");
}

static void put_policy_row(keel_buf *html, const cJSON *result, const char *name, bool played) {
    const cJSON *baselines = keel_json_get(result, "baselines"),
                *differences = keel_json_get(result, "differences");
    const cJSON *policy = keel_json_get(result, "policy");
    const cJSON *own = metric_of(policy, name), *log = metric_of(keel_json_get(baselines, "logged"), name),
                *base = metric_of(keel_json_get(baselines, "base"), name);
    const keel_explained *row = keel_explain_find("eval", name);
    const int better = row ? row->better : 0;
    char words[64];
    if (!is_known(own) && !is_known(log)) return;
    words_of(name, words, sizeof words);
    keel__report_row(html, "", words);
    keel__report_interval_cell(html, "policy", own);
    keel__report_interval_cell(html, "log", log);
    keel__report_difference_cell(
        html, "policy less log",
        keel_json_get(keel_json_get(differences, keel_difference_names[KEEL_MINUS_LOGGED]), name), better);
    keel__report_interval_cell(html, "base", base);
    keel__report_difference_cell(
        html, "policy less base",
        keel_json_get(keel_json_get(differences, keel_difference_names[KEEL_MINUS_BASE]), name), better);
    put_source(html, own, "known / estimated / bounded");
    if (played) keel__report_interval_cell(html, "at the log's decisions", on_log(policy, name));
    keel_buf_text(html, "</tr>\n");
}

static const char played_note[] =
    "<p class=note>Conversations of several turns go on as people answer. A rate of the policy is therefore what it would be if the "
    "policy were played on, estimated from those logged conversations that go as the policy would have them; \"at the log's "
    "decisions\" is the same rate where the policy only answers at the points that the log reached. They differ where the "
    "policy leads conversations elsewhere, and the estimate as played is the wider, the more it does.</p>\n";

static void put_policy(keel_buf *html, const cJSON *step) {
    static const char *const heads[] = {"measure",
                                        "policy",
                                        "log",
                                        "policy less log",
                                        "base",
                                        "policy less base",
                                        "known / estimated / bounded",
                                        "at the log's decisions",
                                        NULL};
    static const char *const heads_of_one[] = {
        "",  "policy", "log", "policy less log", "base", "policy less base", "known / estimated / bounded",
        NULL};
    const cJSON *result = keel_json_get(step, "result"), *policy = keel_json_get(result, "policy");
    const bool played = any_on_log(policy);
    char caption[160];
    snprintf(caption, sizeof caption, "%.100s beside the log and its base", keel__report_text(step, "title"));
    keel__report_table(html, caption, played ? heads : heads_of_one, true);
    for (int m = 0; m < KEEL_N_METRICS; m++) put_policy_row(html, result, keel_metric_names[m], played);
    keel__report_end_table(html);
    if (played) keel_buf_text(html, played_note);
}

/* ---- rates less the judge's error ---- */

static void put_corrected(keel_buf *html, const cJSON *step) {
    static const char *const heads[] = {"measure", "policy", "log", "base", NULL};
    static const char *const ways[][2] = {{"rogan_gladen", "Rogan-Gladen"}, {"ppi", "prediction-powered"}};
    const cJSON *result = keel_json_get(step, "result"), *baselines = keel_json_get(result, "baselines"),
                *rate;
    const cJSON *own = keel_json_get(keel_json_get(result, "policy"), "corrected");
    if (!cJSON_IsObject(own) || !own->child) return;
    keel__report_table(html, "Rates corrected for the judge's error", heads, true);
    cJSON_ArrayForEach (rate, own)
        for (size_t w = 0; w < 2; w++) {
            char name[96];
            words_of(rate->string, name, sizeof name);
            snprintf(name + strlen(name), sizeof name - strlen(name), ", %s", ways[w][1]);
            keel__report_row(html, "", name);
            keel__report_interval_cell(html, "policy", keel_json_get(rate, ways[w][0]));
            for (int i = 0; i < 2; i++) {
                const cJSON *of = keel_json_get(keel_json_get(baselines, i ? "base" : "logged"), "corrected");
                keel__report_interval_cell(html, i ? "base" : "log",
                                           keel_json_get(keel_json_get(of, rate->string), ways[w][0]));
            }
            keel_buf_text(html, "</tr>\n");
        }
    keel__report_end_table(html);
}

/* ---- all who answered ---- */

static bool any_estimate(const cJSON *rows, const char *metric) {
    const cJSON *row;
    cJSON_ArrayForEach (row, rows)
        if (is_known(metric_of(row, metric))) return true;
    return false;
}

static void put_estimates(keel_buf *html, const char *caption, const cJSON *rows,
                          const char *const *metrics) {
    char words[KEEL_N_METRICS][64];
    const char *heads[KEEL_N_METRICS + 2] = {"who answered"}, *names[KEEL_N_METRICS];
    const cJSON *row;
    size_t count = 0;
    for (; *metrics && count < KEEL_N_METRICS; metrics++) {
        if (!any_estimate(rows, *metrics)) continue;
        words_of(*metrics, words[count], sizeof words[count]);
        names[count] = *metrics;
        heads[1 + count] = words[count];
        count++;
    }
    if (!count) return;
    keel__report_table(html, caption, heads, true);
    cJSON_ArrayForEach (row, rows) {
        keel__report_row(html, keel__report_text(row, "kind"), keel__report_text(row, "name"));
        for (size_t i = 0; i < count; i++)
            keel__report_interval_cell(html, words[i], metric_of(row, names[i]));
        keel_buf_text(html, "</tr>\n");
    }
    keel__report_end_table(html);
}

static keel_status put_figure(keel_report_page *page, const cJSON *rows, const char *const *metrics,
                              const char *const *labels, const char *caption, keel_err *err) {
    keel_buf svg = {0};
    bool drawn = false;
    keel_status status = keel_plot_intervals(page->plotter, rows, metrics, labels, &svg, &drawn, err);
    if (status == KEEL_OK && drawn) {
        keel_buf_format(page->html, "<figure><figcaption>%s. The table above has the numbers.</figcaption>\n",
                        caption);
        keel_buf_append(page->html, svg.data, svg.length);
        keel_buf_text(page->html, "</figure>\n");
    }
    keel_buf_free(&svg);
    return status;
}

/* One table of keel_report_tables: rates, then what answers earned, each with its plot. */
static keel_status put_table(keel_report_page *page, const cJSON *rows, keel_err *err) {
    static const char *const rates[] = {
        "refusal_rate",    "harmful_compliance_rate", "over_refusal_rate",   "borderline_refusal_rate",
        "completion_rate", "agreement_rate",          "preference_accuracy", NULL};
    static const char *const first[] = {"refusal_rate", "completion_rate", "over_refusal_rate", NULL};
    static const char *const first_labels[] = {"refusal", "completion", "over-refusal", NULL};
    static const char *const other[] = {"agreement_rate", "preference_accuracy", NULL};
    static const char *const other_labels[] = {"agreement with the log", "preference accuracy", NULL};
    static const char *const rewards[] = {"composite_reward", KEEL_REWARD_NAMES NULL};
    static const char *const reward_labels[] = {"composite", KEEL_REWARD_NAMES NULL};
    put_estimates(page->html, "Rates of all who answered", rows, rates);
    KEEL_TRY(put_figure(page, rows, first, first_labels,
                        "Refusal, completion and over-refusal with 95 % intervals", err));
    if (!any_estimate(rows, "refusal_rate"))
        KEEL_TRY(
            put_figure(page, rows, other, other_labels, "Agreement and preference with 95 % intervals", err));
    put_estimates(page->html, "Rewards: means per conversation", rows, rewards);
    if (!any_estimate(rows, "composite_reward")) return KEEL_OK;
    return put_figure(page, rows, rewards, reward_labels, "Rewards per conversation with 95 % intervals",
                      err);
}

static void put_group_policy(keel_report_page *page, const cJSON *step, bool folded) {
    if (!keel_json_get(keel_json_get(step, "result"), "policy")) return; /* the log alone: below */
    if (folded) {
        keel_buf_text(page->html, "<details><summary>");
        keel_html_said(page->html, keel__report_text(step, "title"), 120);
        keel_buf_text(page->html, " beside the log and its base</summary>\n");
    }
    put_policy(page->html, step);
    put_corrected(page->html, step);
    if (folded) keel_buf_text(page->html, "</details>\n");
}

/* The policy that the group is about, then the others, folded. */
static void put_group_policies(keel_report_page *page, const char *group) {
    for (int others = 0; others < 2; others++) {
        const cJSON *step = NULL;
        while ((step = keel__report_next_eval(page->folder, step))) {
            const char *own = keel__report_text(step, "group");
            if (strcmp(*own ? own : KEEL_REPORT_GROUP, group) == 0 &&
                keel__report_is_subject(page->folder, step) == !others)
                put_group_policy(page, step, others);
        }
    }
}

static void put_note(keel_buf *html, const char *note) {
    if (!*note) return;
    keel_buf_text(html, "<p class=note>");
    keel_html_said(html, note, 2000);
    keel_buf_text(html, "</p>\n");
}

/* Whether its rows played in a simulator. */
static bool is_played(const cJSON *table) {
    const cJSON *rows = keel_json_get(table, "rows");
    return rows && strcmp(keel__report_text(rows->child, "kind"), "rollout") == 0;
}

static const char rollout_note[] =
    "Counted while each of them answered in the simulator, which knows what is dangerous and what was completed. Rates "
    "on logs are estimates of these from conversations that others led; where the two differ by more than the intervals, "
    "trust these, if your users are like the simulator's.";

keel_status keel__report_rates(keel_report_page *page, keel_err *err) {
    const size_t lost = keel_json_lost();
    cJSON *tables = keel_report_tables(page->folder), *table;
    keel_status status = KEEL_OK;
    keel__report_section(page->html, "rates", "Rates");
    keel_buf_text(
        page->html,
        "<p>Brackets hold 95 % intervals; n is what an estimate rests on; \xE2\x80\xA0 marks fewer than 30. "
        "\"Better\" and \"worse\" stand where the interval of a difference excludes 0. "
        "\xE2\x80\xA1: the estimate lay outside what is possible and was put to its end. "
        "<a href=\"#words\">What the rates mean</a>.</p>\n");
    if (!tables || !tables->child) keel_buf_text(page->html, "<p>The run evaluated nothing.</p>\n");
    cJSON_ArrayForEach (table, tables) {
        if (status != KEEL_OK) break;
        keel_buf_text(page->html, "<h3>");
        keel_html_said(page->html, keel__report_text(table, "title"), 200);
        keel_buf_text(page->html, "</h3>\n");
        put_note(page->html, keel__report_text(table, "note"));
        if (is_played(table)) put_note(page->html, rollout_note);
        put_group_policies(page, keel__report_text(table, "title"));
        status = put_table(page, keel_json_get(table, "rows"), err);
    }
    cJSON_Delete(tables);
    keel_buf_text(page->html, "</section>\n");
    if (status == KEEL_OK && keel_json_lost() != lost) status = keel_nomem(err, "the tables of the report");
    return status;
}
