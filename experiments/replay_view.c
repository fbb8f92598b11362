#include "experiments/replay_view.h"

#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "experiments/table.h"
#include "policies/policy_internal.h"

/* ---- as JSON ---- */

void keel_replay_add_text(cJSON *to, const char *key, const char *text, size_t most) {
    const size_t length = strlen(text), kept = keel_utf8_cut(text, length, most);
    keel_buf cut = {0};
    keel_buf_append(&cut, text, kept);
    if (kept < length) keel_buf_format(&cut, " [+%zu bytes]", length - kept);
    if (cut.failed)
        keel_json_lose();
    else
        cJSON_AddStringToObject(to, key, cut.data ? cut.data : "");
    keel_buf_free(&cut);
}

static const char *said(const keel_turn *turn) {
    return turn->text && turn->text[0] ? turn->text : turn->act ? turn->act : "";
}

static void add_context(cJSON *json, const keel_conversation *c, size_t before) {
    const char *user = "";
    for (size_t t = 0; t < before && t < c->n_turns; t++)
        if (c->turns[t].role == KEEL_ROLE_USER) user = said(&c->turns[t]);
    cJSON_AddStringToObject(json, "user", user);
    cJSON *context = cJSON_AddArrayToObject(json, "context");
    for (size_t t = 0; t < before && t < c->n_turns; t++) {
        cJSON *turn = cJSON_CreateObject();
        cJSON_AddStringToObject(turn, "role", keel_role_name(c->turns[t].role));
        keel_replay_add_text(turn, "says", said(&c->turns[t]), KEEL_REPLAY_CUT);
        if (c->turns[t].model) cJSON_AddStringToObject(turn, "model", c->turns[t].model);
        keel_json_add(context, NULL, turn);
    }
}

enum { MOST_WORDS = 8 };

static keel_status add_words(cJSON *list, const keel_replayed *d, const char *of, size_t action,
                             keel_arena *scratch, keel_err *err) {
    keel_base_evidence found;
    KEEL_TRY(keel_base_evidence_of(d->base, d->conversation, d->place, action, scratch, &found, err));
    if (!found.about) return KEEL_OK;
    cJSON *one = cJSON_CreateObject(), *words;
    cJSON_AddStringToObject(one, "about", found.about);
    cJSON_AddStringToObject(one, "of", of);
    cJSON_AddNumberToObject(one, "probability", 1 / (1 + exp(-found.logit)));
    words = cJSON_AddArrayToObject(one, "words");
    for (size_t i = 0; i < found.n && i < MOST_WORDS; i++) {
        cJSON *word = cJSON_CreateObject();
        keel_replay_add_text(word, "word", found.word[i].text, KEEL_REPLAY_CUT);
        cJSON_AddNumberToObject(word, "part", found.word[i].part);
        keel_json_add(words, NULL, word);
    }
    keel_json_add(list, NULL, one);
    return KEEL_OK;
}

static keel_status fill(const keel_replayed *d, cJSON *json, keel_arena *scratch, keel_err *err) {
    const keel_decision *decision = &d->conversation->decisions[d->place];
    const bool told = d->verdict == KEEL_CHOICE_DIFFERS || d->verdict == KEEL_CHOICE_AGREES;
    const int64_t logged = keel_choice_view_logged(d->base, decision, d->choice),
                  other = d->verdict == KEEL_CHOICE_DIFFERS ? logged : keel_choice_view_runner_up(d->choice);
    cJSON_AddStringToObject(json, "conversation", d->conversation->external_id);
    if (d->conversation->source) cJSON_AddStringToObject(json, "source", d->conversation->source);
    cJSON_AddStringToObject(json, "risk", keel_risk_name(d->conversation->risk));
    cJSON_AddNumberToObject(json, "turn", (double)decision->turn);
    cJSON_AddNumberToObject(json, "turns", (double)d->conversation->n_turns);
    add_context(json, d->conversation, decision->turn);
    keel_json_add(json, "agrees",
                  told ? cJSON_CreateBool(d->verdict == KEEL_CHOICE_AGREES) : cJSON_CreateNull());
    if (d->verdict == KEEL_CHOICE_OPEN) cJSON_AddBoolToObject(json, "open", true);
    if (logged >= 0) cJSON_AddNumberToObject(json, "logged", (double)logged);
    cJSON_AddNumberToObject(json, "chosen", (double)d->choice->chosen);
    cJSON_AddNumberToObject(json, "value", d->choice->value);
    cJSON_AddNumberToObject(json, "kl", d->choice->kl);
    keel_choice_view_familiarity(json, d->choice);
    if (other >= 0)
        keel_json_add(
            json, "why",
            keel_choice_view_why(d->policy, d->choice, (size_t)other, d->verdict == KEEL_CHOICE_DIFFERS));
    cJSON *words = cJSON_AddArrayToObject(json, "words");
    KEEL_TRY(add_words(words, d, "request", SIZE_MAX, scratch, err));
    KEEL_TRY(add_words(words, d, "chosen", d->choice->chosen, scratch, err));
    if (other >= 0)
        KEEL_TRY(add_words(words, d, d->verdict == KEEL_CHOICE_DIFFERS ? "logged" : "next best",
                           (size_t)other, scratch, err));
    cJSON *actions = cJSON_AddArrayToObject(json, "actions");
    for (size_t a = 0; a < d->choice->n; a++)
        keel_json_add(actions, NULL, keel_choice_view_action(d->policy, d->base, decision, d->choice, a));
    return KEEL_OK;
}

keel_status keel_replay_view(const keel_replayed *decision, keel_arena *scratch, cJSON **out, keel_err *err) {
    cJSON *json = cJSON_CreateObject();
    keel_status status = fill(decision, json, scratch, err);
    if (status == KEEL_OK)
        *out = json;
    else
        cJSON_Delete(json);
    return status;
}

/* ---- for people ---- */

enum { LABEL = 11, SHORT = 1200 };

/* The text behind a label, its further lines set in; at most SHORT bytes unless whole. */
static void print_said(const char *label, const char *text, bool whole, FILE *out) {
    const size_t length = strlen(text), kept = whole ? length : keel_utf8_cut(text, length, SHORT);
    keel_buf line = {0};
    fprintf(out, "  %-*s", LABEL, label);
    for (size_t at = 0; at <= kept;) {
        const char *end = memchr(text + at, '\n', kept - at);
        const size_t stop = end ? (size_t)(end - text) : kept;
        if (at > 0) fprintf(out, "  %*s", LABEL, "");
        keel_buf_clear(&line);
        keel_buf_append(&line, text + at, stop - at);
        keel_print_line(out, line.failed || !line.data ? "" : line.data, 0);
        if (stop == kept && kept < length) fprintf(out, " [+%zu bytes]", length - kept);
        fputc('\n', out);
        at = stop + 1;
    }
    keel_buf_free(&line);
}

/* The action whose place stands under the key; NULL if none does. */
static const cJSON *action_of(const cJSON *decision, const char *key) {
    const cJSON *at = keel_json_get(decision, key);
    return cJSON_IsNumber(at) ? cJSON_GetArrayItem(keel_json_get(decision, "actions"), at->valueint) : NULL;
}

/* "I cannot help with that. (gpt4, refusal)" */
static void print_action(const char *label, const cJSON *action, bool whole, FILE *out) {
    const char *model = keel_json_text(action, "model", ""), *outcome = keel_json_text(action, "outcome", "");
    keel_buf text = {0};
    keel_buf_text(&text, keel_json_text(action, "says", ""));
    if (*model || *outcome)
        keel_buf_format(&text, "%s(%s%s%s)", text.length > 60 ? "\n" : " ", model,
                        *model && *outcome ? ", " : "", outcome);
    print_said(label, text.failed || !text.data ? "" : text.data, whole, out);
    keel_buf_free(&text);
}

static void print_words(const cJSON *list, bool detail, FILE *out) {
    const cJSON *one, *word;
    cJSON_ArrayForEach (one, list) {
        const char *of = keel_json_text(one, "of", "");
        if (!detail && strcmp(of, "request") != 0) continue;
        fprintf(out, "  %-*s%s: a %s, by its words %.2f:", LABEL, "words", of,
                keel_json_text(one, "about", ""), keel_json_get(one, "probability")->valuedouble);
        cJSON_ArrayForEach (word, keel_json_get(one, "words")) {
            fputc(' ', out);
            keel_print_line(out, keel_json_text(word, "word", ""), 40);
            fprintf(out, " %+.2f", keel_json_get(word, "part")->valuedouble);
        }
        fputc('\n', out);
    }
}

/* "0.61 dangerous, refusal: How do I ..." */
static void print_nearest(const cJSON *list, FILE *out) {
    const cJSON *one;
    cJSON_ArrayForEach (one, list) {
        const char *outcome = keel_json_text(one, "outcome", "");
        fprintf(out, "  %-*s%.2f %s, ", LABEL, "like", keel_json_get(one, "similarity")->valuedouble,
                keel_json_text(one, "risk", ""));
        keel_print_line(out, *outcome ? outcome : keel_json_text(one, "says", ""), 40);
        fputs(": ", out);
        keel_print_line(out, keel_json_text(one, "user", ""), 100);
        fputc('\n', out);
    }
}

void keel_replay_view_print(const cJSON *decision, bool detail, FILE *out) {
    const cJSON *agrees = keel_json_get(decision, "agrees"), *turn, *why = keel_json_get(decision, "why");
    const cJSON *logged = action_of(decision, "logged"), *other = keel_json_get(decision, "other");
    fputs("conversation ", out);
    keel_print_line(out, keel_json_text(decision, "conversation", ""), 60);
    fprintf(out, ", turn %.0f, %s: the %s\n", keel_json_get(decision, "turn")->valuedouble,
            keel_json_text(decision, "risk", ""),
            keel_json_get(decision, "open") ? "answer is still to be given"
            : cJSON_IsTrue(agrees)          ? "policy does as logged"
            : cJSON_IsFalse(agrees)         ? "policy acts differently"
                                            : "log does not say what was done");
    if (cJSON_IsTrue(keel_json_get(decision, "unfamiliar")))
        fputs("  the policy learned from no state like this one\n", out);
    cJSON_ArrayForEach (turn, keel_json_get(decision, "context"))
        print_said(keel_json_text(turn, "role", ""), keel_json_text(turn, "says", ""), detail, out);
    if (logged) print_action("> logged", logged, detail, out);
    if (!cJSON_IsTrue(agrees) || other) print_action("> policy", action_of(decision, "chosen"), detail, out);
    if (other) print_action("> --diff", other, detail, out);
    if (cJSON_IsString(keel_json_get(why, "sentence")))
        print_said("why", keel_json_text(why, "sentence", ""), true, out);
    print_words(keel_json_get(decision, "words"), detail, out);
    print_nearest(keel_json_get(decision, "nearest"), out);
    if (!detail) return;
    keel_choice_view_print_numbers(why, out);
    keel_choice_view_print(keel_json_get(decision, "actions"), out);
}

/* ---- the replay as a whole ---- */

static void say_compared(const cJSON *compared, double seen, keel_buf *out) {
    const cJSON *reward = keel_json_get(compared, "composite_reward");
    const double low = keel_json_number_or(reward, "low", 0), high = keel_json_number_or(reward, "high", 0);
    if (!compared) return;
    keel_buf_format(
        out,
        "the two policies answer otherwise in %.0f of %.0f decisions; of %.0f of these it is known what both earn\n",
        keel_json_number_or(compared, "differing", 0), seen, keel_json_number_or(compared, "known", 0));
    if (!(keel_json_number_or(reward, "n", 0) > 0)) return;
    keel_buf_format(out, "composite reward of a conversation, policy less --diff: %+.3f [%+.3f, %+.3f]: %s\n",
                    keel_json_number_or(reward, "value", 0), low, high,
                    low > 0    ? "the policy earns more"
                    : high < 0 ? "--diff earns more"
                               : "nothing shows which earns more");
}

void keel_replay_view_summary(const cJSON *result, keel_buf *out) {
    const double seen = keel_json_number_or(result, "seen", 0),
                 untold = keel_json_number_or(result, "untold", 0),
                 open = keel_json_number_or(result, "open", 0),
                 matching = keel_json_number_or(result, "matching", 0);
    const int shown = cJSON_GetArraySize(keel_json_get(result, "decisions"));
    if (!(seen > 0)) keel_buf_text(out, "no decision passes the filters\n");
    if (shown < (int)matching)
        keel_buf_format(out, "%d of %.0f such decisions are shown (--limit)\n", shown, matching);
    keel_buf_format(out, "%.0f of %.0f decisions replayed differ from the log\n",
                    keel_json_number_or(result, "differing", 0), seen);
    if (untold > 0)
        keel_buf_format(out, "of %.0f of them the log does not say what was done: no act, or not judged\n",
                        untold);
    if (open > 0) keel_buf_format(out, "%.0f of them are open: nothing was answered\n", open);
    say_compared(keel_json_get(result, "compared"), seen, out);
}
