/* Decisions to read, side by side: what was said before, what the log answered, what the policy answers, and
 * why. From the cases of `eval` (experiments/cases.h) and from replays. */
#include "experiments/cases.h"

#include <string.h>

#include "core/json.h"
#include "experiments/replay_view.h"
#include "experiments/report/page.h"

enum {
    MOST_PAGE = 4 << 20, /* bytes of the page, beyond which no further card is shown */
    MOST_REPLAYED = 12,
    MOST_TEXT = 6200, /* bytes of one turn; eval cuts before */
    OPEN_TURNS = 6    /* turns before these are folded */
};

/* ---- what was said ---- */

static const char *who_of(const char *role) {
    return strcmp(role, "user") == 0        ? "User"
           : strcmp(role, "assistant") == 0 ? "Assistant"
           : strcmp(role, "system") == 0    ? "System"
                                            : "Tool";
}

/* Without blanks around it. */
static void put_said(keel_buf *html, const char *text) {
    keel_buf_text(html, "<div class=text dir=auto>");
    keel_html_said(html, text + strspn(text, " \t\r\n"), MOST_TEXT);
    keel_buf_text(html, "</div>");
}

static void put_turn(keel_buf *html, const char *role, const char *text) {
    keel_buf_format(html, "<li class=\"turn %s\"><span class=who>%s</span>",
                    strcmp(role, "user") == 0 ? "user" : "other", who_of(role));
    put_said(html, text);
    keel_buf_text(html, "</li>\n");
}

/* All turns before the answer, in order; of many the first are folded. */
static void put_context(keel_buf *html, const cJSON *decision) {
    const cJSON *context = keel_json_get(decision, "context"), *turn;
    const int turns = cJSON_GetArraySize(context);
    const double earlier = keel__report_number(decision, "earlier");
    int at = 0;
    if (!turns) {
        keel_buf_text(html, "<ol class=turns>");
        put_turn(html, "user", keel__report_text(decision, "user"));
        keel_buf_text(html, "</ol>\n");
        return;
    }
    if (earlier > 0) {
        keel_buf_text(html, "<p class=note>");
        keel__report_put_count(html, earlier);
        keel_buf_text(html, " turns before these are left out for their length.</p>\n");
    }
    const int folded = turns > OPEN_TURNS + 2 ? turns - OPEN_TURNS : 0;
    if (folded)
        keel_buf_format(html, "<details class=whole><summary>The first %d turns</summary><ol class=turns>\n",
                        folded);
    if (!folded) keel_buf_text(html, "<ol class=turns>\n");
    cJSON_ArrayForEach (turn, context) {
        if (folded && at == folded)
            keel_buf_format(html, "</ol></details>\n<ol class=turns start=%d>\n", folded + 1);
        put_turn(html, keel__report_text(turn, "role"), keel__report_text(turn, "says"));
        at++;
    }
    keel_buf_text(html, "</ol>\n");
}

/* ---- what was answered ---- */

static const char *told_by(const char *who) {
    return strcmp(who, "human") == 0    ? "by people or the log"
           : strcmp(who, "rule") == 0   ? "by a rule"
           : strcmp(who, "model") == 0  ? "by a judge, a model"
           : strcmp(who, "usual") == 0  ? "what this act mostly is in the log"
           : strcmp(who, "action") == 0 ? "what the answer is by itself"
                                        : "";
}

static void put_reply(keel_buf *html, const cJSON *reply) {
    const char *says = keel__report_text(reply, "says"), *act = keel__report_text(reply, "act"),
               *outcome = keel__report_text(reply, "outcome"), *model = keel__report_text(reply, "model");
    if (*says) put_said(html, says);
    if (!*says && !*act && !*outcome) keel_buf_text(html, "<p class=none>nothing is known of it</p>");
    keel_buf_text(html, "<p class=label>");
    if (*act) {
        keel_buf_text(html, "<span class=tag>act: ");
        keel_html_words(html, act);
        keel_buf_text(html, "</span> ");
    }
    if (*outcome) {
        keel_buf_text(html, "<span class=tag>");
        keel_html_words(html, outcome);
        keel_buf_format(html, "</span> <span class=by>%s</span> ",
                        told_by(keel__report_text(reply, "told_by")));
    } else {
        keel_buf_text(html, "<span class=by>not judged</span> ");
    }
    if (*model) {
        keel_buf_text(html, "<span class=by>by ");
        keel_html_said(html, model, 80);
        keel_buf_text(html, "</span>");
    }
    keel_buf_text(html, "</p>\n");
}

/* The first action that is `flag` ("taken", "chosen"): where a replay does not tell the replies apart. */
static const cJSON *action_that(const cJSON *decision, const char *flag) {
    const cJSON *action;
    cJSON_ArrayForEach (action, keel_json_get(decision, "actions"))
        if (cJSON_IsTrue(keel_json_get(action, flag))) return action;
    return NULL;
}

static void put_pair(keel_buf *html, const cJSON *decision) {
    const cJSON *replies = keel_json_get(decision, "replies"), *logged = keel_json_get(replies, "logged"),
                *chosen = keel_json_get(replies, "chosen"), *reply;
    const bool agrees = cJSON_IsTrue(keel_json_get(decision, "agrees"));
    if (!cJSON_IsObject(chosen)) chosen = action_that(decision, "chosen");
    keel_buf_text(html, "<div class=pair>\n<div class=\"reply logged\"><h5>The log answered</h5>\n");
    put_reply(html, cJSON_IsArray(logged) && logged->child ? logged->child : action_that(decision, "taken"));
    if (cJSON_GetArraySize(logged) > 1)
        keel_buf_format(html, "<details class=whole><summary>%d more answers of the log</summary>\n",
                        cJSON_GetArraySize(logged) - 1);
    cJSON_ArrayForEach (reply, logged) {
        if (reply == logged->child) continue;
        keel_buf_text(html, "<div class=more>\n");
        put_reply(html, reply);
        keel_buf_text(html, "</div>\n");
    }
    if (cJSON_GetArraySize(logged) > 1) keel_buf_text(html, "</details>\n");
    keel_buf_format(html, "</div>\n<div class=\"reply chosen\"><h5>The policy answers%s</h5>\n",
                    agrees ? ", as the log did" : "");
    put_reply(html, chosen);
    keel_buf_text(html, "</div>\n</div>\n");
}

/* ---- numbers, folded ---- */

static void put_action(keel_buf *html, const cJSON *action) {
    static const char *const numbers[] = {"advantage", "log_prior", "log_pi"};
    static const char *const labels[] = {"advantage", "log base", "log policy"};
    const cJSON *q;
    const bool chosen = cJSON_IsTrue(keel_json_get(action, "chosen")),
               masked = cJSON_IsTrue(keel_json_get(action, "masked")),
               taken = cJSON_IsTrue(keel_json_get(action, "taken"));
    const char *says = keel__report_text(action, "says");
    keel_buf_format(html, "<tr role=row class=\"%s\"><th scope=row role=rowheader class=says dir=auto>",
                    chosen ? "policy" : "");
    keel_html_said(html, says, 320);
    keel_buf_format(html, "</th><td role=cell data-label=\"\">%s%s%s</td>",
                    chosen   ? "policy"
                    : masked ? "masked"
                             : "",
                    taken && (chosen || masked) ? ", " : "", taken ? "log" : "");
    cJSON_ArrayForEach (q, keel_json_get(action, "q"))
        if (q->string) keel__report_number_cell(html, q->string, q, "%.3f");
    for (size_t i = 0; i < 3; i++)
        keel__report_number_cell(html, labels[i], keel_json_get(action, numbers[i]), "%.3f");
    keel_buf_text(html, "</tr>\n");
}

static void put_parts(keel_buf *html, const cJSON *why, const char *key, const char *title) {
    const cJSON *parts = keel_json_get(why, key), *part;
    if (!cJSON_IsObject(parts) || !parts->child) return;
    keel_buf_format(html, "<p class=note>%s:", title);
    cJSON_ArrayForEach (part, parts) {
        keel_buf_text(html, " ");
        keel_html_said(html, part->string, 40);
        keel_buf_text(html, " ");
        keel__report_put_number(html, part, "%+.3f");
        if (part->next) keel_buf_text(html, ",");
    }
    keel_buf_text(html, ".</p>\n");
}

static void put_numbers(keel_buf *html, const cJSON *decision) {
    const cJSON *actions = keel_json_get(decision, "actions"), *action, *q,
                *why = keel_json_get(decision, "why");
    const char *heads[24] = {"answer", "who"};
    size_t count = 2;
    if (!cJSON_IsArray(actions) || !actions->child) return;
    cJSON_ArrayForEach (q, keel_json_get(actions->child, "q"))
        if (q->string && count < 20) heads[count++] = q->string;
    heads[count++] = "advantage";
    heads[count++] = "log base";
    heads[count++] = "log policy";
    keel_buf_text(html, "<details class=numbers><summary>Numbers</summary>\n");
    keel__report_table(html, "What the critic expects of each answer, by component; log-probabilities", heads,
                       true);
    cJSON_ArrayForEach (action, actions) put_action(html, action);
    keel__report_end_table(html);
    put_parts(html, why, "shapley", "Parts of the difference in probability (Shapley values)");
    put_parts(html, why, "parts", "Parts of the difference in log-probability");
    keel_buf_text(html, "</details>\n");
}

static void put_why(keel_buf *html, const cJSON *decision) {
    const char *sentence = keel__report_text(keel_json_get(decision, "why"), "sentence");
    if (!*sentence) return;
    keel_buf_text(html, "<p class=why><b>Why:</b> ");
    keel_html_said(html, sentence, 1000);
    keel_buf_text(html, "</p>\n");
}

/* ---- cards ---- */

static void put_card(keel_buf *html, const cJSON *decision) {
    const char *risk = keel__report_text(decision, "risk");
    keel_buf_text(html, "<article class=case>\n<h4>");
    keel_html_said(html, keel__report_text(decision, "conversation"), 110);
    keel_buf_text(html, ", turn ");
    keel__report_put_number(html, keel_json_get(decision, "turn"), NULL);
    keel_buf_format(html, " <span class=\"risk %s\">",
                    strcmp(risk, "dangerous") == 0 ? "dangerous" : "other");
    keel_html_said(html, *risk ? risk : "risk unknown", 40);
    keel_buf_text(html, cJSON_IsTrue(keel_json_get(decision, "unfamiliar"))
                            ? "</span><span class=\"risk other\">unfamiliar</span></h4>\n"
                            : "</span></h4>\n");
    put_context(html, decision);
    put_pair(html, decision);
    put_why(html, decision);
    put_numbers(html, decision);
    keel_buf_text(html, "</article>\n");
}

static const keel_case_text *text_of(const char *kind) {
    for (int k = 0; k < KEEL_N_CASES; k++)
        if (strcmp(keel_case_texts[k].name, kind) == 0) return &keel_case_texts[k];
    return NULL;
}

static void put_kind(keel_buf *html, const cJSON *row) {
    const keel_case_text *text = text_of(keel__report_text(row, "kind"));
    const cJSON *decisions = keel_json_get(row, "shown"), *decision;
    const double count = keel__report_number(row, "count"), same = keel__report_number(row, "as_logged");
    double shown = 0;
    if (!text || !(count > 0)) return;
    keel_buf_format(html, "<h3>%s <span class=of>", text->title);
    keel__report_put_count(html, count);
    keel_buf_format(html, "</span></h3>\n<p>%c%s", text->means[0] - 'a' + 'A', text->means + 1);
    if (same > 0) {
        keel_buf_text(html, "; in ");
        keel__report_put_count(html, same);
        keel_buf_text(html, " of them the log did the same");
    }
    keel_buf_text(html, ".</p>\n");
    cJSON_ArrayForEach (decision, decisions) {
        if (html->length > MOST_PAGE) break;
        put_card(html, decision);
        shown++;
    }
    if (count > shown) {
        keel_buf_text(html, "<p class=note>");
        keel__report_put_count(html, count - shown);
        keel_buf_text(html, " more are not shown.</p>\n");
    }
}

static void put_counts(keel_buf *html, const cJSON *cases) {
    static const char *const heads[] = {"kind", "decisions", "as the log did", "shown here", NULL};
    const cJSON *row;
    keel__report_table(html, "How many decisions of each kind there are", heads, false);
    cJSON_ArrayForEach (row, cases) {
        const keel_case_text *text = text_of(keel__report_text(row, "kind"));
        if (!text) continue;
        cJSON shown = {.type = cJSON_Number, .valuedouble = cJSON_GetArraySize(keel_json_get(row, "shown"))};
        keel__report_row(html, "", text->title);
        keel__report_number_cell(html, heads[1], keel_json_get(row, "count"), NULL);
        keel__report_number_cell(html, heads[2], keel_json_get(row, "as_logged"), NULL);
        keel__report_number_cell(html, heads[3], &shown, NULL);
        keel_buf_text(html, "</tr>\n");
    }
    keel__report_end_table(html);
}

void keel__report_replay(keel_buf *html, const cJSON *step, int most) {
    const cJSON *result = keel_json_get(step, "result"), *decisions = keel_json_get(result, "decisions"),
                *decision;
    keel_buf summary = {0};
    int shown = 0;
    keel_buf_text(html, "<h3>Replayed <span class=of>");
    keel_html_said(html, keel__report_text(step, "title"), 120);
    keel_buf_text(html, "</span></h3>\n<p class=counts>");
    keel_replay_view_summary(result, &summary);
    if (summary.length) keel_html_said(html, summary.data, summary.length);
    html->failed = html->failed || summary.failed;
    keel_buf_free(&summary);
    keel_buf_text(html, "</p>\n");
    cJSON_ArrayForEach (decision, decisions) {
        const cJSON *actions = keel_json_get(decision, "actions");
        if (shown >= most || html->length > MOST_PAGE || !actions || !actions->child) continue;
        put_card(html, decision);
        shown++;
    }
}

/* The subject's cases, where `eval` was asked to tell some. */
static const cJSON *cases_of(const keel_run_folder *folder, const cJSON *step) {
    const cJSON *cases = keel_json_get(keel_json_get(step, "result"), "cases");
    return cJSON_GetArraySize(cases) && keel__report_is_subject(folder, step) ? cases : NULL;
}

keel_status keel__report_cases(keel_report_page *page, keel_err *err) {
    keel_buf *html = page->html;
    const cJSON *step = NULL, *row;
    (void)err;
    keel__report_section(html, "cases", "Decisions to read");
    keel_buf_text(
        html,
        "<p>The worst first. Of each kind those where the policy differs from the log come first; which are shown is "
        "decided by a hash, not by hand.</p>\n");
    const size_t before = html->length;
    while ((step = keel__report_next_eval(page->folder, step))) {
        const cJSON *cases = cases_of(page->folder, step);
        if (!cases) continue;
        keel_buf_text(html, "<p class=subject>");
        keel__report_put_title(html, step);
        keel_buf_text(html, "</p>\n");
        put_counts(html, cases);
        cJSON_ArrayForEach (row, cases) put_kind(html, row);
    }
    cJSON_ArrayForEach (step, page->folder->steps)
        if (strcmp(keel__report_text(step, "verb"), "replay") == 0 &&
            cJSON_IsArray(keel_json_get(keel_json_get(step, "result"), "decisions")))
            keel__report_replay(html, step, MOST_REPLAYED);
    if (html->length == before)
        keel_buf_text(
            html, "<p>None: no policy was evaluated with <code>--cases</code>, and none was replayed.</p>\n");
    keel_buf_text(html, "</section>\n");
    return KEEL_OK;
}
