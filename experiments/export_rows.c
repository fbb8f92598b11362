#include "experiments/export_rows.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"
#include "experiments/choice_view.h"
#include "policies/encode_store.h"
#include "rl/judge/answer.h"

/* sum_k w_k r_k with the default weights; *present false: nothing is known. */
static double compose(const keel_reward *reward, bool *present) {
#define WEIGHT(id, name, weight, low, high) weight,
    static const double weights[KEEL_N_REWARDS] = {KEEL_REWARDS(WEIGHT)};
#undef WEIGHT
    return round(1e6 * keel_reward_composite(reward, weights, present)) /
           1e6; /* weights of 0.6 are not exact */
}

/* The composite reward of a candidate; *present false: nothing is known of it. */
static double composite(const keel_reward_view *view, size_t decision, size_t candidate, keel_reward *reward,
                        bool *present) {
    *reward = keel_reward_of(view, decision, candidate);
    return compose(reward, present);
}

/* ---- csv ---- */

#define COLUMN(id, name, weight, low, high) "," #name
const char keel_export_csv_header[] =
    "source,conversation,group,split,risk,completed,turn,prompt,text,act,model,taken,propensity,latency_ms,"
    "feedback,outcome,judge" KEEL_REWARDS(COLUMN) ",reward";
#define Q_COLUMN(id, name, weight, low, high) ",q_" #name
const char keel_export_csv_policy[] =
    ",action,log_prior,log_pi,masked" KEEL_REWARDS(Q_COLUMN) ",advantage,policy_choice,policy_agrees,why";

static void put_field(keel_buf *row, const char *text) {
    const bool first = !row->length || row->data[row->length - 1] == '\n';
    keel_buf_text(row, first ? "\"" : ",\"");
    for (; text && *text; text++) keel_buf_format(row, "%s%c", *text == '"' ? "\"" : "", *text);
    keel_buf_text(row, "\"");
}

static void put_number(keel_buf *row, bool present, double value) {
    char text[KEEL_DECIMAL_SIZE] = "";
    if (present) keel_decimal_print(text, value);
    keel_buf_format(row, ",%s", text);
}

static void put_optional(keel_buf *row, keel_optional value) {
    put_number(row, value.present, value.value);
}

static void put_row(keel_buf *row, const keel_reward_view *view, size_t d, size_t k) {
    static const char *const known[] = {"", "false", "true"};
    const keel_conversation *c = view->conversation;
    const keel_decision *decision = &c->decisions[d];
    const keel_candidate *candidate = &decision->candidates[k];
    const bool judged = candidate->outcome != KEEL_OUTCOME_NONE;
    keel_reward reward;
    bool present;
    const double whole = composite(view, d, k, &reward, &present);
    put_field(row, c->source);
    put_field(row, c->external_id);
    put_field(row, keel_conversation_group(c));
    put_field(row, c->split);
    put_field(row, keel_risk_name(c->risk));
    keel_buf_format(row, ",%s,%zu", known[c->completed + 1], decision->turn);
    put_field(row, decision->turn ? c->turns[decision->turn - 1].text : "");
    put_field(row, candidate->text);
    put_field(row, candidate->act);
    put_field(row, candidate->model);
    keel_buf_format(row, ",%s", candidate->taken ? "true" : "false");
    put_optional(row, candidate->propensity);
    put_optional(row, candidate->latency_ms);
    put_optional(row, candidate->feedback);
    put_field(row, judged ? keel_outcome_name(candidate->outcome) : "");
    put_field(row, judged ? keel_authority_name(candidate->judge) : "");
    for (int r = 0; r < KEEL_N_REWARDS; r++)
        put_number(row, reward.present[r], round(1e6 * (double)reward.value[r]) / 1e6);
    put_number(row, present, whole);
}

/* ---- what a policy would do ---- */

/* At one decision. */
typedef struct chosen {
    keel_export_policy *chooser;
    const keel_decision *decision;
    keel_choice choice;
    const char *says, *agrees; /* of the chosen action */
    keel_buf why;              /* as JSON */
    bool known;                /* false: the base cannot encode the decision, the columns are empty */
} chosen;

static void put_member(keel_buf *row, const cJSON *object, const char *key) {
    const cJSON *item = keel_json_get(object, key);
    put_number(row, cJSON_IsNumber(item), item ? item->valuedouble : 0);
}

static void put_choice(keel_buf *row, const chosen *c, size_t k) {
    const int64_t action = c->known ? keel_answer_action(c->chooser->base, c->decision, k) : -1;
    const bool told = action >= 0 && (size_t)action < c->choice.n;
    cJSON *shown = told ? keel_choice_view_action(c->chooser->policy, c->chooser->base, c->decision,
                                                  &c->choice, (size_t)action)
                        : NULL;
    put_field(row, shown ? keel_json_get(shown, "says")->valuestring : "");
    put_member(row, shown, "log_prior");
    put_member(row, shown, "log_pi");
    keel_buf_format(row, ",%s",
                    !shown                                         ? ""
                    : cJSON_IsTrue(keel_json_get(shown, "masked")) ? "true"
                                                                   : "false");
    for (int r = 0; r < KEEL_N_REWARDS; r++) put_member(row, keel_json_get(shown, "q"), keel_reward_name(r));
    put_member(row, shown, "advantage");
    put_field(row, c->known ? c->says : "");
    keel_buf_format(row, ",%s", c->known ? c->agrees : "");
    put_field(row, c->known && c->why.data ? c->why.data : "");
    cJSON_Delete(shown);
}

/* Why the chosen action was preferred to what was logged or, where that is the same or unknown, to the next
 * best. */
static keel_status explain(chosen *c, keel_choice_verdict verdict, keel_err *err) {
    const keel_export_policy *by = c->chooser;
    const int64_t other = verdict == KEEL_CHOICE_DIFFERS
                              ? keel_choice_view_logged(by->base, c->decision, &c->choice)
                              : keel_choice_view_runner_up(&c->choice);
    keel_buf_clear(&c->why);
    if (other < 0) return KEEL_OK;
    cJSON *why = keel_choice_view_why(by->policy, &c->choice, (size_t)other, verdict == KEEL_CHOICE_DIFFERS);
    cJSON *says = cJSON_CreateString(keel_choice_view_says(by->base, c->decision, (size_t)other));
    keel_status status = why && says ? KEEL_OK : keel_nomem(err, "why");
    if (status != KEEL_OK || !cJSON_ReplaceItemInObjectCaseSensitive(why, "against", says))
        cJSON_Delete(says);
    if (status == KEEL_OK) status = keel_json_print(why, false, &c->why, err);
    cJSON_Delete(why);
    return status;
}

static keel_status choose(chosen *c, const keel_conversation *conversation, size_t d, keel_err *err) {
    static const char *const words[] = {[KEEL_CHOICE_DIFFERS] = "false",
                                        [KEEL_CHOICE_AGREES] = "true",
                                        [KEEL_CHOICE_UNTOLD] = "",
                                        [KEEL_CHOICE_OPEN] = ""};
    keel_export_policy *by = c->chooser;
    keel_features features;
    c->decision = &conversation->decisions[d];
    c->known = keel_base_can_encode(by->base, c->decision);
    if (!c->known) return KEEL_OK;
    keel_arena_reset(&by->scratch);
    KEEL_TRY(keel_encode_store_decision(by->base, by->store, conversation, d, &by->scratch, &features, err));
    KEEL_TRY(keel_policy_decide_at(by->policy, by->base, conversation, d, &features, &by->scratch, &c->choice,
                                   err));
    const keel_choice_verdict verdict = keel_choice_view_compare(by->base, c->decision, &c->choice);
    c->says = keel_choice_view_says(by->base, c->decision, c->choice.chosen);
    c->agrees = words[verdict];
    return explain(c, verdict, err);
}

keel_status keel_export_csv(void *user, const keel_conversation *conversation, keel_buf *lines,
                            int64_t *count, keel_err *err) {
    const keel_export_rewards *rewards = user;
    const keel_reward_view view = keel_reward_look(&rewards->config, conversation);
    chosen c = {.chooser = rewards->chooser};
    keel_status status = KEEL_OK;
    for (size_t d = 0; d < conversation->n_decisions && status == KEEL_OK; d++) {
        const size_t n = conversation->decisions[d].n_candidates;
        if (c.chooser && n) status = choose(&c, conversation, d, err);
        for (size_t k = 0; k < n && status == KEEL_OK; k++, ++*count) {
            put_row(lines, &view, d, k);
            if (c.chooser) put_choice(lines, &c, k);
            keel_buf_text(lines, "\n");
        }
    }
    keel_buf_free(&c.why);
    return status;
}

/* ---- lines of JSON ---- */

static void put_pair(keel_buf *line, const char *key, const char *text) {
    keel_buf_format(line, "%s\"%s\": ", line->length && line->data[line->length - 1] != '{' ? ", " : "", key);
    keel_json_put_string(line, text ? text : "");
}

static void put_message(keel_buf *line, keel_role role, const char *text) {
    keel_buf_text(line, "{");
    put_pair(line, "role", keel_role_name(role));
    put_pair(line, "content", text);
    keel_buf_text(line, "}");
}

static void put_turns(keel_buf *line, const keel_conversation *c, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (i) keel_buf_text(line, ", ");
        put_message(line, c->turns[i].role, c->turns[i].text);
    }
}

/* Components that all candidates with a known reward have: a text that nobody sent took no time, and is not
 * to be the better for it. */
static keel_reward shared_of(const keel_reward_view *view, size_t d) {
    keel_reward shared = {.present = {0}}, reward;
    bool known = false, present;
    for (size_t k = 0; k < view->conversation->decisions[d].n_candidates; k++) {
        composite(view, d, k, &reward, &present);
        for (int r = 0; present && r < KEEL_N_REWARDS; r++)
            shared.present[r] = reward.present[r] && (!known || shared.present[r]);
        known |= present;
    }
    return shared;
}

static bool nobody_said(const keel_candidate *candidate) {
    return !candidate->taken && candidate->judge != KEEL_AUTHORITY_HUMAN && !candidate->feedback.present;
}

/* Of the candidates with a known reward, the best and the worst by the components that they share; among
 * equals what was said or a person judged, then the first. Returns their number. */
static size_t find_ends(const keel_reward_view *view, size_t d, size_t ends[2], double values[2]) {
    const keel_decision *decision = &view->conversation->decisions[d];
    const keel_reward shared = shared_of(view, d);
    size_t known = 0;
    for (size_t k = 0; k < decision->n_candidates; k++) {
        keel_reward reward = keel_reward_of(view, d, k);
        bool present;
        for (int r = 0; r < KEEL_N_REWARDS; r++) reward.present[r] &= shared.present[r];
        const double value = compose(&reward, &present);
        if (!present) continue;
        const bool firmer = known && value == values[0] && nobody_said(&decision->candidates[ends[0]]) &&
                            !nobody_said(&decision->candidates[k]);
        if (!known || value > values[0] || firmer) ends[0] = k, values[0] = value;
        if (!known || value < values[1]) ends[1] = k, values[1] = value;
        known++;
    }
    return known;
}

static void put_names(keel_buf *line, const keel_conversation *c) {
    put_pair(line, "group", keel_conversation_group(c));
    put_pair(line, "split", c->split);
    put_pair(line, "risk", keel_risk_name(c->risk));
}

/* Who says what the answer is worth; none where it is known by feedback or the log alone. */
static void put_judge(keel_buf *line, const char *key, const keel_candidate *candidate) {
    if (candidate->outcome != KEEL_OUTCOME_NONE) put_pair(line, key, keel_authority_name(candidate->judge));
}

keel_status keel_export_trl(void *user, const keel_conversation *conversation, keel_buf *lines,
                            int64_t *count, keel_err *err) {
    keel_export_rewards *rewards = user;
    const keel_reward_view view = keel_reward_look(&rewards->config, conversation);
    (void)err;
    for (size_t d = 0; d < conversation->n_decisions; d++) {
        const keel_decision *decision = &conversation->decisions[d];
        size_t ends[2] = {0, 0};
        double values[2] = {0, 0};
        if (decision->n_candidates < 2) continue;
        if (find_ends(&view, d, ends, values) < 2 || !(values[0] > values[1])) {
            rewards->left_out++;
            continue;
        }
        keel_buf_text(lines, "{\"prompt\": [");
        put_turns(lines, conversation, decision->turn);
        keel_buf_text(lines, "], \"chosen\": [");
        put_message(lines, KEEL_ROLE_ASSISTANT, decision->candidates[ends[0]].text);
        keel_buf_text(lines, "], \"rejected\": [");
        put_message(lines, KEEL_ROLE_ASSISTANT, decision->candidates[ends[1]].text);
        keel_buf_text(lines, "], \"chosen_reward\": ");
        keel_json_put_number(lines, values[0]);
        keel_buf_text(lines, ", \"rejected_reward\": ");
        keel_json_put_number(lines, values[1]);
        keel_buf_format(lines, ", \"turn\": %zu", decision->turn);
        put_judge(lines, "chosen_judge", &decision->candidates[ends[0]]);
        put_judge(lines, "rejected_judge", &decision->candidates[ends[1]]);
        rewards->by_judge += nobody_said(&decision->candidates[ends[0]]);
        put_pair(lines, "conversation", conversation->external_id);
        put_names(lines, conversation);
        keel_buf_text(lines, "}\n");
        ++*count;
    }
    return KEEL_OK;
}

/* The candidate of the decision to imitate: the best one, if its reward is enough and, where the conversation
 * goes on, it is what was said; SIZE_MAX if there is none. */
static size_t worth(const keel_export_rewards *rewards, const keel_reward_view *view, size_t d) {
    size_t ends[2] = {0, 0};
    double values[2] = {0, 0};
    const keel_conversation *c = view->conversation;
    const keel_decision *decision = &c->decisions[d];
    if (decision->turn == c->n_turns)
        return find_ends(view, d, ends, values) && values[0] >= rewards->least ? ends[0] : SIZE_MAX;
    for (size_t k = 0; k < decision->n_candidates; k++) {
        keel_reward reward;
        bool present;
        const bool said = decision->candidates[k].taken && decision->candidates[k].text &&
                          strcmp(decision->candidates[k].text, c->turns[decision->turn].text) == 0;
        if (said && composite(view, d, k, &reward, &present) >= rewards->least && present) return k;
    }
    return SIZE_MAX;
}

keel_status keel_export_sft(void *user, const keel_conversation *conversation, keel_buf *lines,
                            int64_t *count, keel_err *err) {
    keel_export_rewards *rewards = user;
    const keel_conversation *c = conversation;
    const keel_reward_view view = keel_reward_look(&rewards->config, c);
    size_t last = SIZE_MAX, good = SIZE_MAX;
    (void)err;
    for (size_t d = 0; d < c->n_decisions; d++)
        if ((good = worth(rewards, &view, d)) != SIZE_MAX) last = d;
    if (last == SIZE_MAX) {
        rewards->left_out++;
        return KEEL_OK;
    }
    keel_buf_text(lines, "{");
    put_pair(lines, "id", c->external_id);
    put_names(lines, c);
    keel_buf_text(lines, ", \"messages\": [");
    for (size_t i = 0, d = 0; i <= c->decisions[last].turn; i++) {
        while (d < last && c->decisions[d].turn < i) d++;
        const bool decides = c->decisions[d].turn == i;
        const size_t k = decides ? worth(rewards, &view, d) : SIZE_MAX;
        if (i) keel_buf_text(lines, ", ");
        if (i == c->n_turns)
            put_message(lines, KEEL_ROLE_ASSISTANT, c->decisions[d].candidates[k].text);
        else
            put_message(lines, c->turns[i].role, c->turns[i].text);
        if (i < c->n_turns && c->turns[i].role == KEEL_ROLE_ASSISTANT && k == SIZE_MAX) {
            lines->length--; /* the brace */
            keel_buf_text(lines, ", \"weight\": 0}");
        }
    }
    keel_buf_text(lines, "]}\n");
    ++*count;
    return KEEL_OK;
}
