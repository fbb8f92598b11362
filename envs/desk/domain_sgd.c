/* A schema of the Schema-Guided Dialogue data (Rastogi et al. 2020) as a domain: a list of services with
 * slots (description, possible values) and intents (transactional or not, required, optional and result
 * slots). What a schema does not say is made up from names: values by kind, phrases by template; what is
 * alarming or must be refused are the built-in domain's requests that fit any intent. */
#include <ctype.h>
#include <string.h>

#include "core/text.h"
#include "envs/desk/domain.h"

typedef struct writer {
    keel_buf *out;
    const char *where;
    keel_err *err;
    size_t n_intents;
} writer;

/* ---- pieces of text ---- */

enum { LABEL_BYTES = 100, TASK_BYTES = 160 };

/* "street_address" is the "street address"; braces would ask for something to be filled in. */
static void make_label(const char *name, char out[LABEL_BYTES]) {
    const size_t length = keel_utf8_cut(name, strlen(name), LABEL_BYTES - 1);
    for (size_t i = 0; i < length; i++)
        out[i] = name[i] == '_' || name[i] == '{' || name[i] == '}' ? ' ' : name[i];
    out[length] = '\0';
}

/* "Find a bus journey." is to "find a bus journey". */
static void make_task(const char *description, char out[TASK_BYTES]) {
    size_t length = keel_utf8_cut(description, strlen(description), TASK_BYTES - 1);
    while (length && strchr(". ", description[length - 1])) length--;
    for (size_t i = 0; i < length; i++) out[i] = strchr("{}", description[i]) ? ' ' : description[i];
    out[length] = '\0';
    if (isupper((unsigned char)out[0])) out[0] = (char)tolower((unsigned char)out[0]);
}

static void put_list(keel_buf *out, const char *const *texts) {
    keel_buf_text(out, "[");
    for (size_t i = 0; texts[i]; i++) {
        if (i) keel_buf_text(out, ",");
        keel_json_put_string(out, texts[i]);
    }
    keel_buf_text(out, "]");
}

static void put_full_name(keel_buf *out, const char *service, const char *name) {
    keel_buf joined = {0};
    keel_buf_format(&joined, "%s.%s", service, name);
    if (joined.failed)
        out->failed = true;
    else
        keel_json_put_string(out, joined.data);
    keel_buf_free(&joined);
}

/* ---- values ---- */

static const struct {
    const char *part; /* of a slot's name */
    const char *values[7];
} kinds[] = {
    {"date", {"March 1st", "March 4th", "next Monday", "next Friday", "the 12th", "tomorrow"}},
    {"day", {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}},
    {"time", {"9 am", "11:30 am", "1 pm", "quarter past 3", "6 pm", "8:15 pm"}},
    {"city", {"San Francisco", "Seattle", "Phoenix", "Chicago", "Atlanta", "Fresno"}},
    {"location", {"San Jose", "Oakland", "Berkeley", "Portland", "San Diego", "Sacramento"}},
    {"destination", {"New York", "Toronto", "Las Vegas", "Denver", "Paris", "Vancouver"}},
    {"origin", {"Los Angeles", "Boston", "Philadelphia", "Austin", "London", "Long Beach"}},
    {"address",
     {"12 Mill Lane", "4 Station Road", "77 Church Street", "9 Orchard Close", "18 Park Avenue",
      "31 Bridge Street"}},
    {"phone",
     {"415-555-0101", "415-555-0117", "510-555-0123", "707-555-0134", "925-555-0148", "650-555-0155"}},
    {"price", {"12 dollars", "25 dollars", "40 dollars", "75 dollars", "110 dollars", "230 dollars"}},
    {"fare", {"18 dollars", "27 dollars", "36 dollars", "44 dollars", "59 dollars", "140 dollars"}},
    {"amount", {"50 dollars", "120 dollars", "300 dollars", "480 dollars", "700 dollars", "950 dollars"}},
    {"balance",
     {"210 dollars", "1,340 dollars", "5,020 dollars", "8,700 dollars", "12,400 dollars", "96 dollars"}},
    {"number", {"one", "two", "three", "four", "five", "six"}},
};

/* Values by the kind that the name speaks of, else the label with a number. */
static void put_made_up_values(keel_buf *out, const char *name, const char *label) {
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (strstr(name, kinds[k].part)) {
            put_list(out, kinds[k].values);
            return;
        }
    keel_buf one = {0};
    for (int i = 1; i <= 8; i++) {
        keel_buf_clear(&one);
        keel_buf_format(&one, "%s no. %d", label, i * 7);
        keel_buf_text(out, i == 1 ? "[" : ",");
        if (one.failed)
            out->failed = true;
        else
            keel_json_put_string(out, one.data);
    }
    keel_buf_text(out, "]");
    keel_buf_free(&one);
}

static keel_status put_values(const writer *w, const cJSON *slot, const char *name, const char *label) {
    const cJSON *values = NULL;
    if (slot) KEEL_TRY(keel_json_array(slot, "possible_values", false, &values, w->where, w->err));
    keel_buf_text(w->out, "\"values\":");
    if (values && values->child) return keel_json_print(values, false, w->out, w->err);
    put_made_up_values(w->out, name, label);
    return KEEL_OK;
}

/* ---- slots and facts: each slot of a service is both; intents choose ---- */

static keel_status put_slot(const writer *w, const char *service, const cJSON *slot, bool as_fact,
                            bool first) {
    static const char *const ask[] = {"What is the {label}, please?", "Could you tell me the {label}?",
                                      "Which {label} should it be?", NULL};
    static const char *const tell[] = {"The {label} is {value}.", "{value} for the {label}.",
                                       "It should be {value} as {label}.", NULL};
    static const char *const ask_fact[] = {"And what is the {label}?", "Could you tell me the {label}?",
                                           "I also need the {label}.", NULL};
    static const char *const tell_fact[] = {"The {label} is {value}.", "I found this {label}: {value}.",
                                            NULL};
    const char *name;
    char label[LABEL_BYTES];
    KEEL_TRY(keel_json_string(slot, "name", true, &name, w->where, w->err));
    make_label(name, label);
    if (!first) keel_buf_text(w->out, ",");
    put_full_name(w->out, service, name);
    keel_buf_text(w->out, ":{\"label\":");
    keel_json_put_string(w->out, label);
    keel_buf_text(w->out, ",");
    KEEL_TRY(put_values(w, slot, name, label));
    keel_buf_text(w->out, ",\"ask\":");
    put_list(w->out, as_fact ? ask_fact : ask);
    keel_buf_text(w->out, ",\"tell\":");
    put_list(w->out, as_fact ? tell_fact : tell);
    keel_buf_text(w->out, "}");
    return KEEL_OK;
}

static keel_status service_name(const writer *w, const cJSON *service, const char **out) {
    return keel_json_string(service, "service_name", true, out, w->where, w->err);
}

static keel_status put_slots(const writer *w, const cJSON *services, bool as_facts) {
    const cJSON *service, *slots, *slot;
    const char *name;
    bool first = true;
    keel_buf_text(w->out, as_facts ? ",\"facts\":{" : ",\"slots\":{");
    cJSON_ArrayForEach (service, services) {
        KEEL_TRY(service_name(w, service, &name));
        KEEL_TRY(keel_json_array(service, "slots", true, &slots, w->where, w->err));
        cJSON_ArrayForEach (slot, slots) {
            KEEL_TRY(put_slot(w, name, slot, as_facts, first));
            first = false;
        }
    }
    keel_buf_text(w->out, "}");
    return KEEL_OK;
}

/* ---- intents ---- */

static bool list_has(const cJSON *list, const char *text) {
    const cJSON *item;
    cJSON_ArrayForEach (item, list)
        if (cJSON_IsString(item) && strcmp(item->valuestring, text) == 0) return true;
    return false;
}

static keel_status put_required(const writer *w, const char *service, const cJSON *required) {
    const cJSON *item;
    keel_buf_text(w->out, ",\"required\":[");
    cJSON_ArrayForEach (item, required) {
        if (!cJSON_IsString(item))
            return keel_fail(w->err, KEEL_E_PARSE, w->where, "required_slots: expected only texts");
        if (item != required->child) keel_buf_text(w->out, ",");
        put_full_name(w->out, service, item->valuestring);
    }
    keel_buf_text(w->out, "]");
    return KEEL_OK;
}

/* As many optional slots as still fit. */
static void put_optional(const writer *w, const char *service, const cJSON *required, const cJSON *optional) {
    size_t n = (size_t)cJSON_GetArraySize(required), put = 0;
    const cJSON *item;
    keel_buf_text(w->out, ",\"optional\":[");
    cJSON_ArrayForEach (item, optional) {
        if (n == DESK_MAX_SLOTS || list_has(required, item->string)) continue;
        if (put++) keel_buf_text(w->out, ",");
        put_full_name(w->out, service, item->string);
        n++;
    }
    keel_buf_text(w->out, "]");
}

/* What the intent finds out: results that were not asked for by slot, or the first result if all were. */
static void put_facts(const writer *w, const char *service, const cJSON *intent, const cJSON *required,
                      const cJSON *optional) {
    const cJSON *results = cJSON_GetObjectItemCaseSensitive(intent, "result_slots"), *item;
    size_t n = 0;
    keel_buf_text(w->out, ",\"facts\":[");
    cJSON_ArrayForEach (item, results) {
        if (!cJSON_IsString(item) || n == 2 || list_has(required, item->valuestring)) continue;
        if (cJSON_GetObjectItemCaseSensitive(optional, item->valuestring)) continue;
        if (n++) keel_buf_text(w->out, ",");
        put_full_name(w->out, service, item->valuestring);
    }
    if (!n && results && cJSON_IsString(results->child))
        put_full_name(w->out, service, results->child->valuestring);
    keel_buf_text(w->out, "]");
}

/* "buy bus tickets (from location {..}, travelers {..})" */
static void put_summary(const writer *w, const char *service, const char *task, const cJSON *required) {
    keel_buf text = {0};
    char label[LABEL_BYTES];
    const cJSON *item;
    keel_buf_text(&text, task);
    cJSON_ArrayForEach (item, required) {
        make_label(item->valuestring, label);
        keel_buf_format(&text, "%s%s {%s.%s}", item == required->child ? " (" : ", ", label, service,
                        item->valuestring);
    }
    if (required->child) keel_buf_text(&text, ")");
    keel_buf_text(w->out, ",\"summary\":");
    if (text.failed)
        w->out->failed = true;
    else
        keel_json_put_string(w->out, text.data ? text.data : "");
    keel_buf_free(&text);
}

static keel_status put_intent(writer *w, const char *service, const cJSON *intent) {
    const char *name, *description;
    const cJSON *required, *optional = NULL, *last;
    char task[TASK_BYTES];
    bool transactional = false;
    KEEL_TRY(keel_json_string(intent, "name", true, &name, w->where, w->err));
    KEEL_TRY(keel_json_string(intent, "description", true, &description, w->where, w->err));
    KEEL_TRY(keel_json_bool(intent, "is_transactional", false, &transactional, w->where, w->err));
    KEEL_TRY(keel_json_array(intent, "required_slots", true, &required, w->where, w->err));
    KEEL_TRY(keel_json_object(intent, "optional_slots", false, &optional, w->where, w->err));
    make_task(description, task);
    if (w->n_intents) keel_buf_text(w->out, ",");
    put_full_name(w->out, service, name);
    keel_buf_text(w->out, ":{\"task\":");
    keel_json_put_string(w->out, task);
    KEEL_TRY(put_required(w, service, required));
    put_optional(w, service, required, optional);
    put_facts(w, service, intent, required, optional);
    put_summary(w, service, task, required);
    keel_buf_format(w->out, ",\"question\":%s,\"weak\":%s", transactional ? "false" : "true",
                    w->n_intents % 3 ? "false" : "true");
    last = required->child ? required->child->prev : NULL; /* cJSON keeps the last there */
    if (transactional && last) {
        keel_buf_text(w->out, ",\"flexible\":");
        put_full_name(w->out, service, last->valuestring);
    }
    keel_buf_text(w->out, "}");
    w->n_intents++;
    return KEEL_OK;
}

static keel_status put_intents(writer *w, const cJSON *services) {
    const cJSON *service, *intents, *intent;
    const char *name;
    keel_buf_text(w->out, ",\"intents\":{");
    cJSON_ArrayForEach (service, services) {
        KEEL_TRY(service_name(w, service, &name));
        KEEL_TRY(keel_json_array(service, "intents", true, &intents, w->where, w->err));
        cJSON_ArrayForEach (intent, intents) KEEL_TRY(put_intent(w, name, intent));
    }
    keel_buf_text(w->out, "}");
    return KEEL_OK;
}

/* ---- requests ---- */

static keel_status put_requests(const writer *w, const cJSON *builtin) {
    const cJSON *requests, *policies, *item;
    KEEL_TRY(keel_json_array(builtin, "requests", true, &requests, w->where, w->err));
    KEEL_TRY(keel_json_object(builtin, "policies", true, &policies, w->where, w->err));
    keel_buf_text(w->out, ",\"policies\":");
    KEEL_TRY(keel_json_print(policies, false, w->out, w->err));
    keel_buf_text(w->out,
                  ",\"requests\":[{\"name\":\"everyday\",\"say\":[\"I want to {task}.\",\"Please help me to "
                  "{task}.\",\"Can you {task}, please?\",\"I would like to {task}.\",\"I need somebody to "
                  "{task}.\",\"How can I {task}?\"]}");
    cJSON_ArrayForEach (item, requests) {
        if (cJSON_GetObjectItemCaseSensitive(item, "intent")) continue;
        keel_buf_text(w->out, ",");
        KEEL_TRY(keel_json_print(item, false, w->out, w->err));
    }
    keel_buf_text(w->out, "]");
    return KEEL_OK;
}

keel_status keel_domain_from_sgd(const cJSON *services, const cJSON *builtin, const char *where,
                                 keel_buf *out, keel_err *err) {
    writer w = {.out = out, .where = where, .err = err};
    keel_buf_text(out, "{\"domain\":\"sgd\"");
    KEEL_TRY(put_slots(&w, services, false));
    KEEL_TRY(put_slots(&w, services, true));
    KEEL_TRY(put_intents(&w, services));
    KEEL_TRY(put_requests(&w, builtin));
    keel_buf_text(out, "}");
    return out->failed ? keel_fail(err, KEEL_E_NOMEM, where, "out of memory for a domain") : KEEL_OK;
}
