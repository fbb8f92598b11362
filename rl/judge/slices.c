#include "rl/judge/slices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/json.h"
#include "core/text.h"
#include "rl/judge/answer.h"
#include "rl/judge/evaluate_internal.h"
#include "rl/judge/metric_sums.h"

enum { BY_CATEGORY, BY_LANGUAGE, BY_MODEL, BY_TURN, BY_LENGTH, BY_STATE, N_BY };
static const char *const by_names[N_BY] = {"category", "language", "model", "turn", "length", "state"};

enum { OF_POLICY, OF_LOG, N_ACTORS };
enum { REFUSAL, HARM, OVER_REFUSAL, N_RATES };
static const keel_metric metrics[N_RATES] = {KEEL_METRIC_REFUSAL, KEEL_METRIC_HARMFUL_COMPLIANCE,
                                             KEEL_METRIC_OVER_REFUSAL};

enum { MOST_ROWS = 256, MOST_NAME = 80 };

typedef struct slice {
    char name[MOST_NAME];
    size_t order; /* of turns and lengths */
    double decisions;
    bool open; /* counted in the conversation at hand */
    keel_rate rate[N_ACTORS][N_RATES];
} slice;

typedef struct slicing {
    slice *rows;
    size_t n, capacity;
    double unsaid, others;
} slicing;

struct keel_slices {
    slicing by[N_BY];
};

keel_status keel_slices_open(keel_slices **out, keel_err *err) {
    *out = keel_calloc(1, sizeof **out);
    return *out ? KEEL_OK : keel_nomem(err, "slices");
}

void keel_slices_close(keel_slices *slices) {
    if (!slices) return;
    for (int b = 0; b < N_BY; ++b) keel_free(slices->by[b].rows);
    keel_free(slices);
}

/* ---- what is said of a conversation or decision ---- */

static const char *first_string(const cJSON *meta, const char *const *keys) {
    for (; *keys; ++keys) {
        const cJSON *item = keel_json_get(meta, *keys);
        if (cJSON_IsString(item) && item->valuestring[0]) return item->valuestring;
    }
    return NULL;
}

typedef struct script {
    const char *name;
    int32_t first, last;
} script;

/* Blocks of letters (Unicode, Blocks.txt); kana decide for Japanese. */
static const script scripts[] = {
    {"Latin", 0x0041, 0x024F},      {"Greek", 0x0370, 0x03FF},   {"Cyrillic", 0x0400, 0x052F},
    {"Armenian", 0x0530, 0x058F},   {"Hebrew", 0x0590, 0x05FF},  {"Arabic", 0x0600, 0x077F},
    {"Devanagari", 0x0900, 0x097F}, {"Bengali", 0x0980, 0x09FF}, {"Tamil", 0x0B80, 0x0BFF},
    {"Telugu", 0x0C00, 0x0C7F},     {"Thai", 0x0E00, 0x0E7F},    {"Georgian", 0x10A0, 0x10FF},
    {"Hangul", 0x1100, 0x11FF},     {"Latin", 0x1E00, 0x1EFF},   {"Japanese", 0x3040, 0x30FF},
    {"Han", 0x3400, 0x9FFF},        {"Hangul", 0xAC00, 0xD7AF},  {"Han", 0x20000, 0x323AF}};
enum { N_SCRIPTS = sizeof scripts / sizeof scripts[0] };

static bool is_letter(int32_t point) {
    const utf8proc_category_t category = utf8proc_category(point);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

/* The first row of the script's name; N_SCRIPTS for a letter of no script of the table. */
static size_t script_of(int32_t point) {
    size_t at = 0, first = 0;
    while (at < N_SCRIPTS && (point < scripts[at].first || point > scripts[at].last)) ++at;
    if (at == N_SCRIPTS) return at;
    while (strcmp(scripts[first].name, scripts[at].name) != 0) ++first;
    return first;
}

const char *keel_slices_script(const char *text) {
    size_t count[N_SCRIPTS + 1] = {0}, best = 0, letters = 0, left = strlen(text);
    utf8proc_int32_t point;
    for (utf8proc_ssize_t used; left > 0 && letters < 1000; text += used, left -= (size_t)used) {
        used = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &point);
        if (used <= 0) break;
        if (!is_letter(point)) continue;
        letters++;
        count[script_of(point)]++;
    }
    const size_t kana = script_of(0x3042), han = script_of(0x4E00);
    if (count[kana]) count[kana] += count[han];
    for (size_t i = 1; i <= N_SCRIPTS; ++i)
        if (count[i] > count[best]) best = i;
    return !letters ? NULL : best < N_SCRIPTS ? scripts[best].name : "another script";
}

/* The message that decision d answers; NULL if none stands before it. */
static const char *asked(const keel_conversation *c, size_t d) {
    for (size_t t = c->decisions[d].turn; t-- > 0;)
        if (t < c->n_turns && c->turns[t].role == KEEL_ROLE_USER) return c->turns[t].text;
    return NULL;
}

static const char *first_asked(const keel_conversation *c) {
    for (size_t t = 0; t < c->n_turns; ++t)
        if (c->turns[t].role == KEEL_ROLE_USER) return c->turns[t].text;
    return "";
}

static const char *only_model(const keel_decision *decision) {
    const char *model = NULL;
    for (size_t c = 0; c < decision->n_candidates; ++c) {
        const keel_candidate *one = &decision->candidates[c];
        if (!one->taken || !one->model) continue;
        if (model && strcmp(model, one->model) != 0) return NULL;
        model = one->model;
    }
    return model;
}

/* What a number falls into: upper ends, rising; beyond the last one more. */
typedef struct bins {
    size_t n;
    size_t up_to[8];
    const char *name[9];
} bins;
static const bins turns = {
    5, {1, 2, 3, 6, 12}, {"1st", "2nd", "3rd", "4th to 6th", "7th to 12th", "13th on"}};
static const bins lengths = {
    5,
    {20, 60, 200, 600, 2000},
    {"up to 20", "21 to 60", "61 to 200", "201 to 600", "601 to 2,000", "over 2,000"}};

static size_t bin_of(const bins *of, size_t number) {
    size_t i = 0;
    while (i < of->n && number > of->up_to[i]) ++i;
    return i;
}

static size_t characters(const char *text) {
    size_t count = 0;
    for (; *text; ++text) count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

/* ---- counting ---- */

/* The row of that name, made when it is first met; NULL with *room false where there are too many. */
static slice *row_of(slicing *by, const char *name, size_t order, bool *room) {
    char cut[MOST_NAME];
    snprintf(cut, sizeof cut, "%.*s", (int)keel_utf8_cut(name, strlen(name), sizeof cut - 1), name);
    *room = true;
    for (size_t i = 0; i < by->n; ++i)
        if (strcmp(by->rows[i].name, cut) == 0) return &by->rows[i];
    *room = by->n < MOST_ROWS;
    if (!*room || !keel_grow(&by->rows, by->n + 1, &by->capacity, sizeof *by->rows)) return NULL;
    slice *row = &by->rows[by->n++];
    *row = (slice){.order = order};
    memcpy(row->name, cut, sizeof cut);
    return row;
}

static void count_answer(slice *row, int actor, keel_risk risk, keel_outcome outcome) {
    keel_rate *rate = row->rate[actor];
    if (outcome == KEEL_OUTCOME_NONE) return;
    if (risk == KEEL_RISK_DANGEROUS) {
        keel_rate_count(&rate[REFUSAL], outcome == KEEL_OUTCOME_REFUSAL);
        keel_rate_count(&rate[HARM], outcome == KEEL_OUTCOME_COMPLIANCE);
    }
    if (risk == KEEL_RISK_BENIGN) keel_rate_count(&rate[OVER_REFUSAL], outcome != KEEL_OUTCOME_COMPLIANCE);
}

static void count_decision(slice *row, const keel_evaluate_seen *seen, size_t d) {
    const keel_decision *decision = &seen->conversation->decisions[d];
    const keel_risk risk = seen->conversation->risk;
    row->decisions++;
    row->open = true;
    if (!keel_answer_asked(decision)) return;
    for (size_t c = 0; c < decision->n_candidates; ++c)
        if (decision->candidates[c].taken) count_answer(row, OF_LOG, risk, decision->candidates[c].outcome);
    if (!seen->item || !seen->policy[d].n) return;
    const keel_answer answer =
        keel_answer_of_action(seen->log, seen->item->base, seen->item->policy, d, seen->policy[d].chosen);
    count_answer(row, OF_POLICY, risk, answer.outcome);
}

static keel_status add(slicing *by, const char *name, size_t order, const keel_evaluate_seen *seen, size_t d,
                       keel_err *err) {
    bool room = true;
    slice *row = name ? row_of(by, name, order, &room) : NULL;
    if (row)
        count_decision(row, seen, d);
    else if (!name)
        by->unsaid++;
    else if (!room)
        by->others++;
    else
        return keel_nomem(err, "slices");
    return KEEL_OK;
}

/* Ends the conversation in every row that it was counted in. */
static void end_conversation(slicing *by) {
    for (size_t i = 0; i < by->n; ++i) {
        for (int k = 0; by->rows[i].open && k < N_ACTORS * N_RATES; ++k)
            keel_rate_end(&by->rows[i].rate[k / N_RATES][k % N_RATES]);
        by->rows[i].open = false;
    }
}

static const char *state_of(const keel_evaluate_seen *seen, size_t d) {
    const bool known =
        seen->item && seen->item->policy && seen->policy[d].n && !isnan(seen->policy[d].distance);
    return !known ? NULL : seen->policy[d].unfamiliar ? "unfamiliar" : "like training";
}

keel_status keel_slices_add(void *to, const keel_evaluate_seen *seen, keel_err *err) {
    static const char *const categories[] = {"category", "risk_category", "harm_category", "hazard", "type",
                                             "theme",    "topic",         "domain",        "subset", "task",
                                             NULL};
    static const char *const languages[] = {"language", "lang", NULL};
    keel_slices *slices = to;
    const keel_conversation *c = seen->conversation;
    const cJSON *meta = NULL;
    size_t answers = 0;
    if (c->meta)
        KEEL_TRY(keel_json_parse_in(seen->scratch, c->meta, strlen(c->meta), c->external_id, &meta, err));
    const char *language = first_string(meta, languages), *category = first_string(meta, categories);
    if (!language) language = keel_slices_script(first_asked(c));
    for (size_t d = 0; d < c->n_decisions; ++d) {
        if (!c->decisions[d].n_candidates) continue; /* left open by the log */
        const char *message = asked(c, d);
        const size_t turn = bin_of(&turns, ++answers),
                     length = bin_of(&lengths, message ? characters(message) : 0);
        KEEL_TRY(add(&slices->by[BY_CATEGORY], category, 0, seen, d, err));
        KEEL_TRY(add(&slices->by[BY_LANGUAGE], language, 0, seen, d, err));
        KEEL_TRY(add(&slices->by[BY_MODEL], only_model(&c->decisions[d]), 0, seen, d, err));
        KEEL_TRY(add(&slices->by[BY_TURN], turns.name[turn], turn, seen, d, err));
        KEEL_TRY(add(&slices->by[BY_STATE], state_of(seen, d), 0, seen, d, err));
        KEEL_TRY(add(&slices->by[BY_LENGTH], message ? lengths.name[length] : NULL, length, seen, d, err));
    }
    for (int b = 0; b < N_BY; ++b) end_conversation(&slices->by[b]);
    return KEEL_OK;
}

/* ---- as JSON ---- */

static int by_order_and_size(const void *a, const void *b) {
    const slice *x = *(const slice *const *)a, *y = *(const slice *const *)b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    if (x->decisions != y->decisions) return x->decisions > y->decisions ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool add_rates(cJSON *row, const char *actor, const keel_rate *rate, double confidence) {
    cJSON *json = cJSON_CreateObject();
    bool good = json != NULL;
    for (int r = 0; r < N_RATES && good; ++r) {
        const keel_interval interval = keel_rate_interval(&rate[r], confidence);
        good = keel_json_add(json, keel_metric_names[metrics[r]], keel__interval_json(&interval));
    }
    return keel_json_add(row, actor, json) && good;
}

static bool add_row(cJSON *rows, const slice *from, double confidence) {
    cJSON *row = cJSON_CreateObject();
    const bool good = keel_json_add(row, "name", cJSON_CreateString(from->name)) &&
                      keel_json_add(row, "decisions", cJSON_CreateNumber(from->decisions)) &&
                      add_rates(row, "policy", from->rate[OF_POLICY], confidence) &&
                      add_rates(row, "logged", from->rate[OF_LOG], confidence);
    return keel_json_add(rows, NULL, row) && good;
}

static bool add_slicing(cJSON *list, const slicing *from, const char *name, double confidence) {
    cJSON *json = cJSON_CreateObject(), *rows = cJSON_CreateArray();
    const slice *sorted[MOST_ROWS];
    bool good = keel_json_add(json, "name", cJSON_CreateString(name)) &&
                keel_json_add(json, "unsaid", cJSON_CreateNumber(from->unsaid)) &&
                keel_json_add(json, "others", cJSON_CreateNumber(from->others));
    for (size_t i = 0; i < from->n; ++i) sorted[i] = &from->rows[i];
    qsort(sorted, from->n, sizeof *sorted, by_order_and_size);
    for (size_t i = 0; i < from->n && good; ++i) good = add_row(rows, sorted[i], confidence);
    good = keel_json_add(json, "rows", rows) && good;
    return keel_json_add(list, NULL, json) && good;
}

cJSON *keel_slices_json(const keel_slices *slices, double confidence) {
    cJSON *json = cJSON_CreateObject(), *by = cJSON_CreateArray(), *missing = cJSON_CreateArray();
    bool good = json && by && missing;
    for (int b = 0; b < N_BY && good; ++b)
        if (slices->by[b].n > 1)
            good = add_slicing(by, &slices->by[b], by_names[b], confidence);
        else if (b !=
                 BY_STATE) /* of this it is the policy that knows nothing, or that all is like training */
            good = keel_json_add(missing, NULL, cJSON_CreateString(by_names[b]));
    good = keel_json_add(json, "by", by) && good;
    good = keel_json_add(json, "missing", missing) && good;
    if (good) return json;
    cJSON_Delete(json);
    return NULL;
}
