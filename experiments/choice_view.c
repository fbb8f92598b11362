#include "experiments/choice_view.h"

#include <math.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "experiments/table.h"
#include "policies/explain.h"
#include "policies/policy_internal.h"
#include "rl/judge/answer.h"

/* Of a candidate set: the decision's own, then the fixed answers. */
static const keel_candidate *candidate_at(const keel_base *base, const keel_decision *decision,
                                          size_t action) {
    size_t n = decision->n_candidates;
    return action < n ? &decision->candidates[action] : &base->fixed[action - n];
}

const char *keel_choice_view_says(const keel_base *base, const keel_decision *decision, size_t action) {
    if (base->space != KEEL_SPACE_CANDIDATES) return action < base->n_acts ? base->acts[action] : "";
    if (action >= keel_base_n_actions(base, decision)) return "";
    const keel_candidate *c = action < decision->n_candidates ? &decision->candidates[action]
                                                              : &base->fixed[action - decision->n_candidates];
    const char *text = c->text && c->text[0] ? c->text : c->act;
    return text ? text : "";
}

/* Whether the log took it. */
static bool is_taken(const keel_base *base, const keel_decision *decision, size_t action) {
    for (size_t c = 0; c < decision->n_candidates; c++)
        if (decision->candidates[c].taken && keel_answer_action(base, decision, c) == (int64_t)action)
            return true;
    return false;
}

int64_t keel_choice_view_logged(const keel_base *base, const keel_decision *decision,
                                const keel_choice *choice) {
    int64_t best = -1;
    for (size_t c = 0; c < decision->n_candidates; c++) {
        const int64_t action = decision->candidates[c].taken ? keel_answer_action(base, decision, c) : -1;
        if (action < 0 || (size_t)action >= choice->n) continue;
        if (best < 0 || choice->log_pi[action] > choice->log_pi[best]) best = action;
    }
    return best;
}

keel_choice_verdict keel_choice_view_compare(const keel_base *base, const keel_decision *decision,
                                             const keel_choice *choice) {
    bool answered = false;
    for (size_t c = 0; c < decision->n_candidates; c++) answered = answered || decision->candidates[c].taken;
    if (!answered) return KEEL_CHOICE_OPEN;
    if (!keel_answer_comparable(base, decision)) return KEEL_CHOICE_UNTOLD;
    return is_taken(base, decision, choice->chosen) ? KEEL_CHOICE_AGREES : KEEL_CHOICE_DIFFERS;
}

int64_t keel_choice_view_runner_up(const keel_choice *choice) {
    int64_t best = -1;
    for (size_t a = 0; a < choice->n; a++)
        if (a != choice->chosen && (best < 0 || choice->log_pi[a] > choice->log_pi[best])) best = (int64_t)a;
    return best;
}

/* ---- why ---- */

static void add_finite(cJSON *object, const char *key, float value) {
    keel_json_add(object, key, isfinite(value) ? cJSON_CreateNumber((double)value) : cJSON_CreateNull());
}

/* Of the part that says it best: what the chosen and the other have of it. */
static void put_reason(const keel_policy *policy, const keel_choice *choice, const keel_explanation *why,
                       bool allowed, const char *than, keel_buf *text) {
    const size_t heads = policy->net.shape.heads, a = choice->chosen, b = why->against;
    const char *both = allowed && why->plays[KEEL_PART_HARM] ? "Both are allowed. " : "";
    switch (why->reason) {
    case -1:
        keel_buf_format(text, "%sThe policy holds this answer and %s for equal.", both, than);
        break;
    case KEEL_PART_IMITATION:
        keel_buf_format(text,
                        "The policy imitates the log, where this answer is likelier than %s: probability "
                        "%.2f against %.2f.",
                        than, exp((double)choice->log_pi[a]), exp((double)choice->log_pi[b]));
        break;
    case KEEL_PART_PRIOR:
        keel_buf_format(text,
                        "%sThe policy prefers this answer to %s because the base, which imitates the log, "
                        "does: probability %.2f against %.2f.",
                        both, than, exp((double)choice->log_prior[a]), exp((double)choice->log_prior[b]));
        break;
    case KEEL_PART_COST:
        keel_buf_format(
            text,
            "%sThe policy prefers this answer to %s because it expects less harm of it: %.2f against "
            "%.2f.",
            both, than, (double)choice->cost[a], (double)choice->cost[b]);
        break;
    default: {
        const size_t k = why->reason == KEEL_PART_VALUE ? 0 : (size_t)why->reason;
        keel_buf_format(text,
                        "%sThe policy prefers this answer to %s because it expects more %s of it: %.2f "
                        "against %.2f.",
                        both, than, why->reason == KEEL_PART_VALUE ? "reward" : keel_part_name(why->reason),
                        (double)choice->q[a * heads + k], (double)choice->q[b * heads + k]);
    }
    }
}

static void put_sentence(const keel_policy *policy, const keel_choice *choice, const keel_explanation *why,
                         bool logged, keel_buf *text) {
    const char *other = logged ? "The logged answer" : "The next best answer";
    if (choice->fallback && choice->unfamiliar && policy->leave_unfamiliar)
        keel_buf_format(text,
                        "This request is unlike any that the policy learned from, so it falls back on this "
                        "answer.");
    else if (choice->fallback)
        keel_buf_format(
            text,
            "No answer is safe enough: the expected harm of all that neither refuses nor hands over is "
            "above the threshold of %.2f, so the policy falls back on this one.",
            policy->harm_threshold);
    else if (why->reason == KEEL_PART_HARM)
        keel_buf_format(text, "%s is not allowed: its expected harm, %.2f, is above the threshold of %.2f.",
                        other, (double)choice->cost[why->against], policy->harm_threshold);
    else if (choice->masked[why->against])
        keel_buf_format(text, "%s is hardly ever given in the log, so the policy leaves it out.", other);
    else
        put_reason(policy, choice, why, true, logged ? "the logged one" : "the next best", text);
}

void keel_choice_view_familiarity(cJSON *to, const keel_choice *choice) {
    cJSON_AddBoolToObject(to, "unfamiliar", choice->unfamiliar);
    keel_json_add(to, "distance",
                  isnan(choice->distance) ? cJSON_CreateNull() : cJSON_CreateNumber(choice->distance));
}

static void add_parts(cJSON *parts, const keel_policy *policy, const keel_choice *choice, size_t other) {
    const size_t heads = policy->net.shape.heads, a = choice->chosen;
    if (policy->imitates) {
        add_finite(parts, "imitation", choice->log_pi[a] - choice->log_pi[other]);
        return;
    }
    cJSON_AddNumberToObject(parts, "prior", (double)(choice->log_prior[a] - choice->log_prior[other]));
    for (size_t k = 0; k < heads; k++) {
        double weight = heads == KEEL_N_REWARDS ? policy->weight[k] : 1.0;
        double gap = (double)choice->q[a * heads + k] - (double)choice->q[other * heads + k];
        cJSON_AddNumberToObject(parts, heads == KEEL_N_REWARDS ? keel_reward_name((int)k) : "value",
                                policy->beta * weight * gap);
    }
    if (policy->cost_weight > 0 && choice->cost)
        cJSON_AddNumberToObject(parts, keel_part_name(KEEL_PART_COST),
                                -policy->beta * policy->cost_weight *
                                    ((double)choice->cost[a] - (double)choice->cost[other]));
}

static bool is_harm(const keel_policy *policy, const keel_choice *choice, size_t a) {
    return choice->cost && choice->masked[a] && (double)choice->cost[a] > policy->harm_threshold;
}

cJSON *keel_choice_view_why(const keel_policy *policy, const keel_choice *choice, size_t other, bool logged) {
    keel_explanation found;
    keel_buf sentence = {0};
    cJSON *why = cJSON_CreateObject();
    keel_policy_explain(policy, choice, other, &found);
    put_sentence(policy, choice, &found, logged, &sentence);
    cJSON_AddNumberToObject(why, "against", (double)other);
    if (sentence.failed) keel_json_lose();
    if (!sentence.failed && sentence.data) cJSON_AddStringToObject(why, "sentence", sentence.data);
    if (found.reason >= 0) cJSON_AddStringToObject(why, "reason", keel_part_name(found.reason));
    cJSON_AddNumberToObject(why, "margin", found.margin);
    cJSON *shapley = cJSON_AddObjectToObject(why, "shapley");
    for (int part = 0; part < KEEL_N_PARTS; part++)
        if (found.plays[part]) cJSON_AddNumberToObject(shapley, keel_part_name(part), found.shapley[part]);
    if (choice->fallback) cJSON_AddBoolToObject(why, "fallback", true);
    if (is_harm(policy, choice, other)) cJSON_AddBoolToObject(why, "above_harm_threshold", true);
    add_parts(cJSON_AddObjectToObject(why, "parts"), policy, choice, other);
    keel_buf_free(&sentence);
    return why;
}

/* ---- actions ---- */

/* A head of a component that was never logged has learned nothing, and its Q says nothing; an imitator's
 * output is log pi and no Q. */
static bool is_q(const keel_policy *policy, size_t head) {
    if (policy->imitates || policy->net.shape.heads != KEEL_N_REWARDS) return !policy->imitates;
    return policy->weight[head] > 0 || (policy->conditioned && policy->covered[head]);
}

cJSON *keel_choice_view_action(const keel_policy *policy, const keel_base *base,
                               const keel_decision *decision, const keel_choice *choice, size_t a) {
    size_t heads = policy->net.shape.heads;
    cJSON *row = cJSON_CreateObject();
    const keel_candidate *c = base->space == KEEL_SPACE_CANDIDATES ? candidate_at(base, decision, a) : NULL;
    cJSON_AddStringToObject(row, "says", keel_choice_view_says(base, decision, a));
    if (c && c->model) cJSON_AddStringToObject(row, "model", c->model);
    if (c && c->outcome != KEEL_OUTCOME_NONE)
        cJSON_AddStringToObject(row, "outcome", keel_outcome_name(c->outcome));
    cJSON_AddBoolToObject(row, "taken", is_taken(base, decision, a));
    cJSON_AddBoolToObject(row, "chosen", a == choice->chosen);
    cJSON_AddBoolToObject(row, "masked", choice->masked[a]);
    cJSON *q = cJSON_AddObjectToObject(row, "q");
    for (size_t k = 0; k < heads; k++)
        add_finite(q, heads == KEEL_N_REWARDS ? keel_reward_name((int)k) : "value",
                   is_q(policy, k) ? choice->q[a * heads + k] : NAN);
    if (choice->cost) add_finite(row, "cost", choice->cost[a]);
    add_finite(row, "advantage", policy->imitates ? NAN : choice->advantage[a]);
    add_finite(row, "log_prior", choice->log_prior[a]);
    add_finite(row, "log_pi", choice->log_pi[a]);
    add_finite(row, "probability", expf(choice->log_pi[a])); /* 0 where it is masked */
    return row;
}

/* ---- for people ---- */

enum { N_NUMBERS = 4 };

void keel_choice_view_print(const cJSON *actions, FILE *out) {
    const cJSON *first = actions->child, *action, *q;
    if (!first) return;
    bool judged = false; /* fixed spaces: an act or outcome speaks for itself */
    cJSON_ArrayForEach (action, actions) judged = judged || keel_json_get(action, "outcome");
    const bool cost = keel_json_get(first, "cost") != NULL;
    keel_table table = {.columns = (size_t)cJSON_GetArraySize(keel_json_get(first, "q")) + N_NUMBERS + 2 +
                                   cost + judged};
    keel_table_cell(&table, "   response");
    cJSON_ArrayForEach (q, keel_json_get(first, "q")) keel_table_cell(&table, "Q %s", q->string);
    if (cost) keel_table_cell(&table, "cost of harm");
    static const char *const numbers[] = {"advantage", "log_prior", "log_pi", "probability"};
    for (size_t i = 0; i < N_NUMBERS; i++) keel_table_cell(&table, "%s", numbers[i]);
    if (judged) keel_table_cell(&table, "outcome");
    keel_table_cell(&table, "masked");
    cJSON_ArrayForEach (action, actions) {
        const cJSON *outcome = keel_json_get(action, "outcome");
        const char *says = keel_json_get(action, "says")->valuestring;
        keel_table_cell(&table, "%s%s %.*s", cJSON_IsTrue(keel_json_get(action, "chosen")) ? ">" : " ",
                        cJSON_IsTrue(keel_json_get(action, "taken")) ? "*" : " ",
                        (int)keel_utf8_cut(says, strlen(says), 60), says);
        cJSON_ArrayForEach (q, keel_json_get(action, "q")) keel_table_number(&table, q, "%.3f");
        if (cost) keel_table_number(&table, keel_json_get(action, "cost"), "%.3f");
        for (size_t i = 0; i < N_NUMBERS; i++)
            keel_table_number(&table, keel_json_get(action, numbers[i]), "%.3f");
        if (judged) keel_table_cell(&table, "%s", cJSON_IsString(outcome) ? outcome->valuestring : "-");
        keel_table_cell(&table, "%s", cJSON_IsTrue(keel_json_get(action, "masked")) ? "yes" : "");
    }
    keel_table_print(&table, out);
    keel_table_free(&table);
}

static void print_parts(const cJSON *parts, const char *head, FILE *out) {
    const cJSON *part;
    fprintf(out, "%s", head);
    cJSON_ArrayForEach (part, parts) {
        if (cJSON_IsNumber(part)) fprintf(out, " %s %+.3f", part->string, part->valuedouble);
    }
    fputs("\n", out);
}

void keel_choice_view_print_why(const cJSON *why, FILE *out) {
    const cJSON *sentence = keel_json_get(why, "sentence");
    if (!cJSON_IsString(sentence)) return;
    fputs("why: ", out);
    keel_print_line(out, sentence->valuestring, 0); /* of a server, too */
    fputc('\n', out);
}

void keel_choice_view_print_numbers(const cJSON *why, FILE *out) {
    if (!why) return;
    fprintf(out, "  difference of probabilities: %.3f\n", keel_json_get(why, "margin")->valuedouble);
    print_parts(keel_json_get(why, "shapley"), "  of it (Shapley values):", out);
    print_parts(keel_json_get(why, "parts"), "  difference of log-probabilities:", out);
}

/* A server gives the reason. */
static void print_fallback(const cJSON *reason, FILE *out) {
    fputs("(fallback", out);
    if (cJSON_IsString(reason)) {
        fputs(": ", out);
        keel_print_text(out, reason->valuestring);
    }
    fputs(")", out);
}

void keel_choice_view_print_choice(const cJSON *choice, FILE *out) {
    const cJSON *actions = keel_json_get(choice, "actions"),
                *threshold = keel_json_get(choice, "harm_threshold");
    const cJSON *says = keel_json_get(choice, "says");
    if (cJSON_IsArray(actions)) keel_choice_view_print(actions, out);
    if (cJSON_IsNumber(threshold))
        fprintf(out, "masked from a cost of harm of %.3g on\n", threshold->valuedouble);
    keel_choice_view_print_why(keel_json_get(choice, "why"), out);
    if (cJSON_IsTrue(keel_json_get(choice, "unfamiliar")))
        fputs("(unfamiliar: unlike what it learned from) ", out);
    if (cJSON_IsTrue(keel_json_get(choice, "fallback")))
        print_fallback(keel_json_get(choice, "fallback_reason"), out);
    fputs("\nassistant> ", out);
    keel_print_text(out, cJSON_IsString(says) ? says->valuestring : "");
    fputc('\n', out);
}
