#include "datasets/row.h"

#include "datasets/import.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "core/hash.h"

/* The names under which a field is looked for, in this order. */
static const char *const defaults[KEEL__N_FIELDS][9] = {
    [KEEL__FIELD_PROMPT] = {"prompt", "instruction", "question", "query", "user", "input"},
    [KEEL__FIELD_INPUT] = {"input", "context"},
    [KEEL__FIELD_RESPONSE] = {"response", "completion", "answer", "output", "response_text", "generation",
                              "assistant"},
    [KEEL__FIELD_SYSTEM] = {"system", "system_prompt"},
    [KEEL__FIELD_HISTORY] = {"history"},
    [KEEL__FIELD_ID] = {"id", "conversation_id", "prompt_id"},
    [KEEL__FIELD_RISK] = {"risk", "label"},
    [KEEL__FIELD_OUTCOME] = {"outcome", "final_label", "refusal_clf_label", "modal_compliance", "label"},
    [KEEL__FIELD_JUDGE] = {"judge"},
    [KEEL__FIELD_MODEL] = {"model", "model_name"},
    [KEEL__FIELD_LATENCY] = {"latency_ms"},
    [KEEL__FIELD_FEEDBACK] = {"feedback", "rating", "thumb", "label", "kto_tag"},
    [KEEL__FIELD_GROUP] = {"group"},
    [KEEL__FIELD_SPLIT] = {"split"},
};

/* Words for the values of a field. */
static const char *const words[][10] = {
    {"benign", "benign", "safe", "harmless", "unharmful", "borderline", NULL},
    {"dangerous", "dangerous", "unsafe", "harmful", "dual_use", NULL},
    {"compliance", "compliance", "full_compliance", "1_full_compliance", "complied", NULL},
    {"partial_refusal", "partial_refusal", "3_partial_refusal", "partial_compliance", "deflection", NULL},
    {"refusal", "refusal", "full_refusal", "2_full_refusal", "direct_refusal", "indirect_refusal", "refused",
     NULL},
    {"up", "up", "thumbs_up", "good", "like", "true", "positive", NULL},
    {"down", "down", "thumbs_down", "bad", "dislike", "false", "negative", NULL},
};
enum { RISKS = 0, OUTCOMES = 2, FEEDBACKS = 5, ENDS = 7 };

enum { LONGEST_WORD = 31 };

/* Words are known in letters of any case, with spaces or hyphens in place of underscores. "" for what is no
 * word. */
static void normalise(const char *value, char out[LONGEST_WORD + 1]) {
    value += strspn(value, " \t");
    size_t length = strlen(value);
    while (length && strchr(" \t", value[length - 1])) length--;
    if (length > LONGEST_WORD) length = 0;
    for (size_t i = 0; i < length; i++)
        out[i] = strchr(" -", value[i]) ? '_' : (char)tolower((unsigned char)value[i]);
    out[length] = '\0';
}

static const char *word_for(const char *value, int first, int end) {
    char word[LONGEST_WORD + 1];
    normalise(value, word);
    for (int i = first; i < end; i++)
        if (keel__is_among(word, words[i] + 1)) return words[i][0];
    return NULL;
}

static bool is_borderline(const cJSON *item) {
    char word[LONGEST_WORD + 1] = "";
    if (cJSON_IsString(item)) normalise(item->valuestring, word);
    return strcmp(word, "borderline") == 0;
}

static bool is_empty(const cJSON *item) {
    return !item || cJSON_IsNull(item) || (cJSON_IsString(item) && !item->valuestring[0]);
}

/* A key as it is known, or else in letters of any case. */
static const cJSON *known(const cJSON *row, const char *name) {
    const cJSON *item = keel_json_get(row, name);
    for (const cJSON *next = row->child; !item && next; next = next->next)
        if (next->string && strcasecmp(next->string, name) == 0) item = next;
    return item;
}

static const cJSON *find(const keel__row_state *rows, const cJSON *row, keel__field field) {
    const cJSON *item = NULL;
    if (rows->names[field]) return keel_json_get(row, rows->names[field]);
    for (size_t i = 0; !item && defaults[field][i]; i++) item = known(row, defaults[field][i]);
    return item;
}

bool keel__row_looks_like(const keel_sniff *sniff) {
    bool has[2] = {false, false};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; defaults[k ? KEEL__FIELD_RESPONSE : KEEL__FIELD_PROMPT][i]; i++)
            has[k] = has[k] ||
                     keel_formats_calls(sniff, defaults[k ? KEEL__FIELD_RESPONSE : KEEL__FIELD_PROMPT][i]);
    return (has[0] || keel_formats_has(sniff, "prompt_id")) && has[1];
}

/* ---- one row ---- */

typedef struct reading {
    keel__row_state *rows;
    const cJSON *row;
    const char *where;
    keel_err *err;
    keel__value build;
    const char *used[2 * KEEL__N_FIELDS]; /* keys that are not kept in meta; NULL-terminated */
    size_t n_used;
    cJSON *messages;
    cJSON *answer;   /* what is known of the answer */
    bool borderline; /* its risk was called so: benign, and looks dangerous */
    uint64_t hash;   /* of what was asked */
} reading;

static void use(reading *in, const cJSON *item) {
    if (in->n_used + 1 < sizeof in->used / sizeof *in->used) in->used[in->n_used++] = item->string;
}

static keel_status add_said(reading *in, const cJSON *said, const char *role) {
    use(in, said);
    return keel__build_said(&in->build, in->messages, said, role, in->where, in->err);
}

/* Turns before the prompt, as Alpaca's relatives have them. */
static keel_status add_history(reading *in) {
    const cJSON *history = find(in->rows, in->row, KEEL__FIELD_HISTORY);
    if (!cJSON_IsArray(history)) return KEEL_OK;
    for (const cJSON *pair = history->child; pair; pair = pair->next) {
        const cJSON *asked = pair->child, *said = asked ? asked->next : NULL;
        if (!cJSON_IsArray(pair) || !cJSON_IsString(asked) || !cJSON_IsString(said) || said->next)
            return keel_fail(in->err, KEEL_E_PARSE, in->where,
                             "history: expected a list of [what was asked, what was answered]");
        keel__value_put(&in->build, in->messages, NULL,
                        keel__build_message(&in->build, "user", asked->valuestring));
        keel__value_put(&in->build, in->messages, NULL,
                        keel__build_message(&in->build, "assistant", said->valuestring));
    }
    use(in, history);
    return KEEL_OK;
}

/* What was asked, with its hash. *prompt false: the row has none. */
static keel_status read_prompt(reading *in, bool *prompt) {
    const cJSON *asked = find(in->rows, in->row, KEEL__FIELD_PROMPT),
                *system = find(in->rows, in->row, KEEL__FIELD_SYSTEM),
                *input = find(in->rows, in->row, KEEL__FIELD_INPUT);
    char hex[65];
    *prompt = !is_empty(asked);
    if (!*prompt) return KEEL_OK;
    if (!is_empty(system)) KEEL_TRY(add_said(in, system, "system"));
    KEEL_TRY(add_history(in));
    KEEL_TRY(add_said(in, asked, "user"));
    if (input != asked && cJSON_IsString(input)) {
        if (input->valuestring[0]) keel__build_append(&in->build, in->messages, input->valuestring);
        use(in, input);
    }
    if (in->build.failed) return keel_nomem(in->err, in->where);
    KEEL_TRY(keel_json_hash(in->messages, hex, in->err));
    sscanf(hex, "%16llx", (unsigned long long *)&in->hash);
    return KEEL_OK;
}

static keel_status fail_word(const reading *in, const char *column, const char *value, const char *key,
                             int first, int end) {
    char known[200] = "";
    for (int i = first; i < end; i++)
        for (size_t k = 1; words[i][k]; k++)
            snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "",
                     words[i][k]);
    keel_fail(in->err, KEEL_E_INVALID, in->where, "%s: \"%s\" is no %s that Keel knows", column, value, key);
    return keel_hint(in->err, "replace it by one of %s", known);
}

/* The word for a value among those of a field; a value that is none of them is an error where the user named
 * the field, and stays in meta else. */
static keel_status read_word(reading *in, keel__field field, int first, int end, const char *key, cJSON *to,
                             const cJSON **found) {
    const bool named = in->rows->names[field] != NULL;
    *found = NULL;
    for (size_t i = 0; named ? i < 1 : defaults[field][i] != NULL; i++) {
        const cJSON *item =
            named ? keel_json_get(in->row, in->rows->names[field]) : known(in->row, defaults[field][i]);
        if (is_empty(item)) continue;
        const char *value = cJSON_IsString(item) ? item->valuestring
                            : cJSON_IsBool(item) ? (cJSON_IsTrue(item) ? "true" : "false")
                                                 : "";
        const char *word = word_for(value, first, end);
        if (named && !word) return fail_word(in, item->string, value, key, first, end);
        if (!word) continue;
        use(in, item);
        *found = item;
        keel__value_put_text(&in->build, to, key, word);
        return KEEL_OK;
    }
    return KEEL_OK;
}

/* A number, or a word for up or down. */
static keel_status read_feedback(reading *in) {
    const char *named = in->rows->names[KEEL__FIELD_FEEDBACK];
    const cJSON *item = named ? keel_json_get(in->row, named) : known(in->row, "feedback"), *found;
    char *end = NULL;
    const double value = cJSON_IsString(item) ? keel_decimal_read(item->valuestring, &end) : 0;
    const bool number = end && end != item->valuestring && !*end;
    if (!number && !cJSON_IsNumber(item))
        return read_word(in, KEEL__FIELD_FEEDBACK, FEEDBACKS, ENDS, "feedback", in->answer, &found);
    use(in, item);
    keel__value_put(&in->build, in->answer, "feedback",
                    number ? keel__value_number(&in->build, value) : keel__value_same(&in->build, item));
    return KEEL_OK;
}

static keel_status read_outcome(reading *in) {
    static const char *const by_people[] = {"outcome", "final_label", "label", NULL};
    const cJSON *found, *judge = find(in->rows, in->row, KEEL__FIELD_JUDGE);
    KEEL_TRY(read_word(in, KEEL__FIELD_OUTCOME, OUTCOMES, FEEDBACKS, "outcome", in->answer, &found));
    if (!found) return KEEL_OK;
    if (!is_empty(judge)) {
        use(in, judge);
        keel__value_put_same(&in->build, in->answer, "judge", judge);
    } else if (!keel__is_among(found->string, by_people)) {
        keel__value_put_text(&in->build, in->answer, "judge", "model");
    }
    return KEEL_OK;
}

static void copy_field(reading *in, keel__field field, cJSON *to, const char *key) {
    const cJSON *item = find(in->rows, in->row, field);
    if (is_empty(item) || cJSON_IsBool(item) || item->child) return; /* no name, no number: stays in meta */
    use(in, item);
    keel__value_put_same(&in->build, to, key, item);
}

/* ---- answers of one model to one prompt ---- */

static struct keel__row_seen *slot_of(struct keel__row_seen *seen, size_t capacity, uint64_t hash) {
    size_t at = hash & (capacity - 1);
    while (seen[at].times && seen[at].hash != hash) at = (at + 1) & (capacity - 1);
    return &seen[at];
}

static keel_status count_seen(reading *in, uint64_t hash, int64_t *times) {
    keel__row_state *rows = in->rows;
    if (2 * (rows->n_seen + 1) > rows->capacity) {
        const size_t capacity = rows->capacity ? 2 * rows->capacity : 1024;
        struct keel__row_seen *grown = keel_calloc(capacity, sizeof *grown);
        if (!grown) return keel_nomem(in->err, in->where);
        for (size_t i = 0; i < rows->capacity; i++)
            if (rows->seen[i].times) *slot_of(grown, capacity, rows->seen[i].hash) = rows->seen[i];
        keel_free(rows->seen);
        rows->seen = grown;
        rows->capacity = capacity;
    }
    struct keel__row_seen *slot = slot_of(rows->seen, rows->capacity, hash);
    rows->n_seen += !slot->times;
    slot->hash = hash;
    *times = ++slot->times;
    return KEEL_OK;
}

static uint64_t hash_of(const char *id, const char *model, uint64_t prompt) {
    keel_sha256 hash;
    char hex[65], number[24];
    unsigned long long value = 0;
    snprintf(number, sizeof number, "%llx", (unsigned long long)prompt);
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, id);
    keel_sha256_add_text(&hash, model);
    keel_sha256_add_text(&hash, number);
    keel_sha256_hex(&hash, hex);
    sscanf(hex, "%16llx", &value);
    return value;
}

/* The id of the conversation that gathers the answers: with -2 for the second of a model, and so on. */
static keel_status name_gathered(reading *in, cJSON *to, const char *model) {
    const char *id = keel__string_at(to, "id");
    int64_t times = 0;
    if (!keel_json_get(to, "id")) {
        id = keel__value_format(&in->build, "%016llx", (unsigned long long)in->hash);
        keel__value_put_text(&in->build, to, "id", id);
    }
    KEEL_TRY(count_seen(in, hash_of(id ? id : "", model, in->hash), &times));
    if (times > 1)
        keel__build_suffix(&in->build, to, keel__value_format(&in->build, "-%lld", (long long)times));
    return KEEL_OK;
}

/* ---- the whole row ---- */

static keel_status read_answer(reading *in, const char **model, bool *answered) {
    const cJSON *said = find(in->rows, in->row, KEEL__FIELD_RESPONSE),
                *name = find(in->rows, in->row, KEEL__FIELD_MODEL);
    *answered = said && !cJSON_IsNull(said);
    *model = cJSON_IsString(name) && name->valuestring[0] ? name->valuestring : in->rows->file_model;
    if (!*answered) return KEEL_OK;
    keel__value_put_text(&in->build, in->answer, "model", *model);
    if (cJSON_IsString(name)) use(in, name);
    copy_field(in, KEEL__FIELD_LATENCY, in->answer, "latency_ms");
    KEEL_TRY(read_outcome(in));
    return read_feedback(in);
}

/* The answer behind the prompt: as a candidate where others may come, else as a message. */
static keel_status add_answer(reading *in, bool gathered) {
    keel__value *build = &in->build;
    const cJSON *said = find(in->rows, in->row, KEEL__FIELD_RESPONSE);
    if (cJSON_IsArray(said)) { /* messages, of which the last is the answer */
        KEEL_TRY(add_said(in, said, "assistant"));
        cJSON *last = keel__build_last(in->messages);
        for (const cJSON *item = in->answer ? in->answer->child : NULL; last && item; item = item->next)
            if (!keel_json_get(last, item->string)) keel__value_put_same(build, last, item->string, item);
        return KEEL_OK;
    }
    use(in, said);
    if (!cJSON_IsString(said))
        return keel_fail(in->err, KEEL_E_PARSE, in->where, "%s: expected a text", said->string);
    cJSON *last = gathered ? keel__value_object(build) : in->answer;
    keel__value_put(build, in->messages, NULL, last);
    keel__value_put_text(build, last, "role", "assistant");
    keel__value_put_text(build, in->answer, "content", said->valuestring);
    if (!gathered) return KEEL_OK;
    cJSON *list = keel__value_array(build);
    keel__value_put(build, in->answer, "taken", keel__value_bool(build, true));
    keel__value_put(build, list, NULL, in->answer);
    keel__value_put(build, last, "candidates", list);
    return KEEL_OK;
}

/* What nobody knows the meaning of. Of a row that is gathered it stands under the name of the model, so that
 * each row keeps its own. */
static void add_meta(reading *in, cJSON *to, const char *gathered_of) {
    in->used[in->n_used] = NULL;
    cJSON *meta = keel__build_rest(&in->build, in->row, in->used, NULL);
    if (!meta && in->borderline) meta = keel__value_object(&in->build);
    if (meta && gathered_of) {
        cJSON *of_row = meta;
        keel__value_put(&in->build, meta = keel__value_object(&in->build), gathered_of, of_row);
    }
    if (in->borderline) keel__value_put(&in->build, meta, "borderline", keel__value_bool(&in->build, true));
    keel__value_put(&in->build, to, "meta", meta);
}

/* Something stands under the field's own name that is no word for it. */
static bool is_unclear(const reading *in, const char *key, const cJSON *built) {
    return !keel_json_get(built, key) && !is_empty(keel_json_get(in->row, key));
}

static keel_status build(reading *in, bool *gathered, bool *prompt, int64_t *counts, cJSON *to) {
    const cJSON *found;
    const char *model;
    bool answered;
    KEEL_TRY(read_prompt(in, prompt));
    counts[KEEL__ROWS_WITHOUT_PROMPT] += !*prompt;
    if (!*prompt) return KEEL_OK;
    copy_field(in, KEEL__FIELD_ID, to, "id");
    copy_field(in, KEEL__FIELD_SPLIT, to, "split");
    copy_field(in, KEEL__FIELD_GROUP, to, "group");
    KEEL_TRY(read_word(in, KEEL__FIELD_RISK, RISKS, OUTCOMES, "risk", to, &found));
    in->borderline = is_borderline(found);
    KEEL_TRY(read_answer(in, &model, &answered));
    counts[KEEL__ROWS_WITHOUT_ANSWER] += !answered;
    counts[KEEL__ROWS_UNCLEAR] += is_unclear(in, "risk", to) || is_unclear(in, "outcome", in->answer) ||
                                  is_unclear(in, "feedback", in->answer);
    const cJSON *said = find(in->rows, in->row, KEEL__FIELD_RESPONSE);
    *gathered = model && answered && cJSON_IsString(said);
    if (answered) KEEL_TRY(add_answer(in, *gathered));
    if (*gathered) KEEL_TRY(name_gathered(in, to, model));
    add_meta(in, to, *gathered ? model : NULL);
    keel__value_put(&in->build, to, "messages", in->messages);
    return KEEL_OK;
}

keel_status keel__row_read(keel__row_state *rows, const cJSON *row, keel_arena *arena, int64_t *counts,
                           keel_read *out, keel_err *err) {
    reading in = {.rows = rows, .row = row, .where = out->where, .err = err, .build = {.arena = arena}};
    bool prompt = false;
    cJSON *built = keel__value_object(&in.build);
    in.messages = keel__value_array(&in.build);
    in.answer = keel__value_object(&in.build);
    KEEL_TRY(build(&in, &out->merge, &prompt, counts, built));
    return prompt ? keel__build_read(&in.build, built, NULL, out, err) : KEEL_OK;
}

static const char *const fields[KEEL__N_FIELDS] = {
    [KEEL__FIELD_PROMPT] = "prompt",      [KEEL__FIELD_INPUT] = "input",
    [KEEL__FIELD_RESPONSE] = "response",  [KEEL__FIELD_SYSTEM] = "system",
    [KEEL__FIELD_HISTORY] = "history",    [KEEL__FIELD_ID] = "id",
    [KEEL__FIELD_RISK] = "risk",          [KEEL__FIELD_OUTCOME] = "outcome",
    [KEEL__FIELD_JUDGE] = "judge",        [KEEL__FIELD_MODEL] = "model",
    [KEEL__FIELD_LATENCY] = "latency_ms", [KEEL__FIELD_FEEDBACK] = "feedback",
    [KEEL__FIELD_GROUP] = "group",        [KEEL__FIELD_SPLIT] = "split"};

keel_status keel__row_name(keel__row_state *rows, const char *columns, keel_err *err) {
    if (!columns) return KEEL_OK;
    if (!rows->columns && !(rows->columns = keel_strdup(columns))) return keel_nomem(err, "columns");
    for (char *at = rows->columns, *after; at; at = after) {
        char *comma = strchr(at, ','), *equals;
        int field = 0;
        after = comma ? comma + 1 : NULL;
        if (comma) *comma = '\0';
        if ((equals = strchr(at, '='))) *equals = '\0';
        while (field < KEEL__N_FIELDS && strcmp(fields[field], at) != 0) field++;
        if (!equals || !equals[1] || field == KEEL__N_FIELDS) {
            keel_fail(err, KEEL_E_USAGE, "columns", "expected FIELD=COLUMN, got '%s'", at);
            return keel_hint(
                err, "fields are prompt, response, input, system, history, id, risk, outcome, judge, model, "
                     "latency_ms, feedback, group, split");
        }
        rows->names[field] = equals + 1;
    }
    return KEEL_OK;
}

const char *keel__row_field(const keel__row_state *rows, const char *column) {
    for (int i = 0; i < KEEL__N_FIELDS; i++)
        if (rows->names[i] && strcmp(rows->names[i], column) == 0) return fields[i];
    return NULL;
}

keel_status keel_import_check_columns(const char *columns, keel_err *err) {
    keel__row_state rows = {0};
    keel_status status = keel__row_name(&rows, columns, err);
    keel__row_free(&rows);
    return status;
}

void keel__row_free(keel__row_state *rows) {
    keel_free(rows->columns);
    rows->columns = NULL;
    keel_free(rows->seen);
    rows->seen = NULL;
}
