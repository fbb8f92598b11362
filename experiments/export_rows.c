#include "experiments/export_rows.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"
#include "core/json.h"

/* The composite reward of a candidate; *present false: nothing is known of it. */
static double composite(const keel_reward_view *view, size_t decision, size_t candidate, keel_reward *reward,
                        bool *present) {
#define WEIGHT(id, name, weight, low, high) weight,
    static const double weights[KEEL_N_REWARDS] = {KEEL_REWARDS(WEIGHT)};
#undef WEIGHT
    *reward = keel_reward_of(view, decision, candidate);
    return round(1e6 * keel_reward_composite(reward, weights, present)) /
           1e6; /* weights of 0.6 are not exact */
}

/* ---- csv ---- */

#define COLUMN(id, name, weight, low, high) "," #name
const char keel_export_csv_header[] =
    "source,conversation,group,split,risk,completed,turn,prompt,text,act,model,taken,propensity,latency_ms,"
    "feedback,outcome,judge" KEEL_REWARDS(COLUMN) ",reward\n";

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
    keel_buf_text(row, "\n");
}

keel_status keel_export_csv(void *user, const keel_conversation *conversation, keel_buf *lines,
                            int64_t *count, keel_err *err) {
    const keel_export_rewards *rewards = user;
    const keel_reward_view view = keel_reward_look(&rewards->config, conversation);
    (void)err;
    for (size_t d = 0; d < conversation->n_decisions; d++)
        for (size_t k = 0; k < conversation->decisions[d].n_candidates; k++, ++*count)
            put_row(lines, &view, d, k);
    return KEEL_OK;
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

/* Of the candidates with a known reward, the best and the worst; the first among equals. Returns their
 * number. */
static size_t find_ends(const keel_reward_view *view, size_t d, size_t ends[2], double values[2]) {
    size_t known = 0;
    for (size_t k = 0; k < view->conversation->decisions[d].n_candidates; k++) {
        keel_reward reward;
        bool present;
        const double value = composite(view, d, k, &reward, &present);
        if (!present) continue;
        if (!known || value > values[0]) ends[0] = k, values[0] = value;
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
