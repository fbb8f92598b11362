/* Reads a domain. Everything lives in the domain's arena: the JSON values themselves, which own all texts,
 * and the tables that point to them. */
#include "envs/desk/domain.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"

const char *const keel_desk_act_names[DESK_N_ACTS] = {
    "ask_goal", "request_slot", "confirm", "execute", "answer", "clarify", "refuse", "handover", "goodbye"};

static const char *const desk_sayings[DESK_N_SAYINGS + 1] = {
    "ask_goal", "request_slot", "confirm", "execute",       "answer",       "clarify",
    "refuse",   "handover",     "goodbye", "execute_blind", "answer_blind", NULL};

/* Moves without phrases of their own are said with those of requests, slots and facts. */
static const char *const user_sayings[DESK_N_USER_SAYINGS + 1] = {
    [DESK_GREET] = "greet",       [DESK_ASK] = "",
    [DESK_INSIST] = "insist",     [DESK_THEN] = "",
    [DESK_INFORM] = "",           [DESK_WHATEVER] = "whatever",
    [DESK_AFFIRM] = "affirm",     [DESK_DENY] = "deny",
    [DESK_CHANGE] = "change",     [DESK_QUERY] = "",
    [DESK_THANK] = "thank",       [DESK_LEAVE] = "bye",
    [DESK_SAY_BEFORE] = "before", NULL};

/* What may be filled in, beside words and synonyms. */
enum { FILL_VALUE = 1, FILL_TASK = 2, FILL_SUMMARY = 4, FILL_ANSWERS = 8, FILL_EMPTY = 16 };

typedef struct reader {
    desk_domain *domain;
    const char *file;
    const cJSON *root, *builtin;
    char place[320]; /* "file: slots.order", for errors */
    keel_err *err;
} reader;

static const char *at(reader *r, const char *section, const char *name) {
    snprintf(r->place, sizeof r->place, "%.180s: %.60s%s%.60s", r->file, section, name ? "." : "",
             name ? name : "");
    return r->place;
}

static keel_status wrong(const reader *r, const char *what, const char *got) {
    return keel_fail(r->err, KEEL_E_INVALID, r->place, "%s \"%.80s\"", what, got);
}

/* ---- objects and their keys ---- */

/* Keys outside the list (ends with NULL) are errors: nothing is passed over in silence. */
static keel_status check_keys(const reader *r, const cJSON *object, const char *const *known) {
    if (!cJSON_IsObject(object)) return keel_fail(r->err, KEEL_E_PARSE, r->place, "expected an object");
    const char *unknown = keel_json_unknown(object, known);
    return unknown ? wrong(r, "unknown key", unknown) : KEEL_OK;
}

static size_t count_items(const cJSON *value) {
    return value ? (size_t)cJSON_GetArraySize(value) : 0;
}

/* Room for one more than asked for, so that nothing is never NULL. */
static void *room(reader *r, size_t count, size_t size) {
    return keel_arena_calloc(&r->domain->arena, count + 1, size);
}

/* ---- lists of texts ---- */

static bool placeholder_known(const reader *r, const char *name, size_t length, unsigned allowed) {
    static const struct {
        const char *name;
        unsigned fill;
    } own[] = {{"value", FILL_VALUE},
               {"label", FILL_VALUE},
               {"task", FILL_TASK},
               {"summary", FILL_SUMMARY},
               {"answers", FILL_ANSWERS}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strlen(own[i].name) == length && memcmp(own[i].name, name, length) == 0)
            return own[i].fill & allowed;
    return keel_domain_words(r->domain, name, length) != NULL;
}

static keel_status check_text(const reader *r, const char *text, bool may_be_empty) {
    if (!*text && !may_be_empty) return keel_fail(r->err, KEEL_E_INVALID, r->place, "a text is empty");
    if (strlen(text) > DESK_MAX_PHRASE)
        return keel_fail(r->err, KEEL_E_INVALID, r->place, "a text has %zu bytes, at most %d fit",
                         strlen(text), DESK_MAX_PHRASE);
    return KEEL_OK;
}

static keel_status check_phrase(const reader *r, const char *phrase, unsigned allowed) {
    KEEL_TRY(check_text(r, phrase, allowed & FILL_EMPTY));
    for (const char *open = strchr(phrase, '{'), *close; open; open = strchr(close, '{')) {
        close = strchr(open, '}');
        if (!close) return wrong(r, "'{' without '}' in", phrase);
        if (!placeholder_known(r, open + 1, (size_t)(close - open - 1), allowed))
            return wrong(r, "nothing can be filled in for what stands in braces in", phrase);
    }
    return KEEL_OK;
}

/* `object`'s list of texts under `key`, without a look at what is in them. */
static keel_status read_texts(reader *r, const cJSON *object, const char *key, bool required,
                              desk_phrases *out) {
    const cJSON *list = NULL, *item;
    KEEL_TRY(keel_json_array(object, key, required, &list, r->place, r->err));
    out->items = room(r, count_items(list), sizeof *out->items);
    if (!out->items) return keel_nomem(r->err, r->file);
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item)) return wrong(r, "expected only texts in", key);
        KEEL_TRY(check_text(r, item->valuestring, true));
        out->items[out->count++] = item->valuestring;
    }
    if (required && !out->count) return wrong(r, "at least one text is needed in", key);
    return KEEL_OK;
}

static keel_status read_phrases(reader *r, const cJSON *object, const char *key, bool required,
                                unsigned allowed, desk_phrases *out) {
    KEEL_TRY(read_texts(r, object, key, required, out));
    for (size_t i = 0; i < out->count; i++) KEEL_TRY(check_phrase(r, out->items[i], allowed));
    return KEEL_OK;
}

static keel_status read_label(reader *r, const cJSON *object, const char *key, const char **out) {
    KEEL_TRY(keel_json_string(object, key, true, out, r->place, r->err));
    return check_text(r, *out, false);
}

/* A section of the file, or what the built-in domain has there. */
static keel_status section(reader *r, const char *key, const cJSON **out) {
    *out = NULL;
    KEEL_TRY(keel_json_object(r->root, key, false, out, r->file, r->err));
    return *out ? KEEL_OK : keel_json_object(r->builtin, key, true, out, "built-in domain", r->err);
}

/* ---- words and synonyms ---- */

const desk_words *keel_domain_words(const desk_domain *domain, const char *name, size_t length) {
    for (size_t i = 0; i < domain->n_words; i++)
        if (strlen(domain->words[i].name) == length && memcmp(domain->words[i].name, name, length) == 0)
            return &domain->words[i];
    return NULL;
}

static keel_status read_words(reader *r, const cJSON *object, const char *name, bool each_time) {
    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        desk_words *words = &r->domain->words[r->domain->n_words++];
        *words = (desk_words){.name = item->string, .each_time = each_time};
        (void)at(r, name, NULL);
        KEEL_TRY(read_texts(r, object, item->string, true, &words->texts));
    }
    return KEEL_OK;
}

static keel_status read_all_words(reader *r) {
    const cJSON *words, *synonyms;
    KEEL_TRY(section(r, "words", &words));
    KEEL_TRY(section(r, "synonyms", &synonyms));
    r->domain->words = room(r, count_items(words) + count_items(synonyms), sizeof *r->domain->words);
    if (!r->domain->words) return keel_nomem(r->err, r->file);
    KEEL_TRY(read_words(r, words, "words", false));
    return read_words(r, synonyms, "synonyms", true);
}

/* ---- slots and facts ---- */

static const desk_slot *find_slot(const desk_domain *domain, const char *name) {
    for (size_t i = 0; i < domain->n_slots; i++)
        if (strcmp(domain->slots[i].name, name) == 0) return &domain->slots[i];
    return NULL;
}

static const desk_fact *find_fact(const desk_domain *domain, const char *name) {
    for (size_t i = 0; i < domain->n_facts; i++)
        if (strcmp(domain->facts[i].name, name) == 0) return &domain->facts[i];
    return NULL;
}

/* Each '#' is a digit; more than nine would be more values than anybody needs. */
static keel_status count_pattern(const reader *r, desk_slot *slot) {
    int digits = 0;
    for (const char *c = slot->pattern; *c; c++) digits += *c == '#';
    if (digits < 1 || digits > 9) return wrong(r, "expected one to nine '#' in the pattern", slot->pattern);
    for (slot->n_values = 1; digits > 0; digits--) slot->n_values *= 10;
    return check_text(r, slot->pattern, false);
}

static keel_status read_slot(reader *r, const cJSON *item) {
    static const char *const keys[] = {"label", "values", "pattern", "ask", "tell", NULL};
    desk_slot *slot = &r->domain->slots[r->domain->n_slots++];
    slot->name = item->string;
    (void)at(r, "slots", item->string);
    KEEL_TRY(check_keys(r, item, keys));
    KEEL_TRY(read_label(r, item, "label", &slot->label));
    KEEL_TRY(keel_json_string(item, "pattern", false, &slot->pattern, r->place, r->err));
    KEEL_TRY(read_texts(r, item, "values", !slot->pattern, &slot->values));
    if (slot->pattern && slot->values.count)
        return wrong(r, "values and a pattern exclude each other:", slot->name);
    slot->n_values = slot->values.count;
    if (slot->pattern) KEEL_TRY(count_pattern(r, slot));
    KEEL_TRY(read_phrases(r, item, "ask", true, FILL_VALUE, &slot->ask));
    return read_phrases(r, item, "tell", true, FILL_VALUE, &slot->tell);
}

/* A table: the texts in the order of the slot's values, which all must have one. */
static keel_status read_table(reader *r, const cJSON *item, desk_fact *fact) {
    const cJSON *table = NULL;
    KEEL_TRY(keel_json_object(item, "values", true, &table, r->place, r->err));
    fact->values.items = room(r, fact->by->values.count, sizeof *fact->values.items);
    if (!fact->values.items) return keel_nomem(r->err, r->file);
    for (size_t i = 0; i < fact->by->values.count; i++)
        KEEL_TRY(read_label(r, table, fact->by->values.items[i], &fact->values.items[i]));
    fact->values.count = fact->by->values.count;
    if (count_items(table) != fact->values.count)
        return wrong(r, "the table has rows for more than the values of", fact->by->name);
    return KEEL_OK;
}

static keel_status read_fact(reader *r, const cJSON *item) {
    static const char *const keys[] = {"label", "by", "values", "ask", "tell", NULL};
    desk_fact *fact = &r->domain->facts[r->domain->n_facts++];
    const char *by = NULL;
    fact->name = item->string;
    (void)at(r, "facts", item->string);
    KEEL_TRY(check_keys(r, item, keys));
    KEEL_TRY(read_label(r, item, "label", &fact->label));
    KEEL_TRY(keel_json_string(item, "by", false, &by, r->place, r->err));
    if (by) fact->by = find_slot(r->domain, by);
    if (by && (!fact->by || fact->by->pattern)) return wrong(r, "there is no slot with values named", by);
    KEEL_TRY(by ? read_table(r, item, fact) : read_texts(r, item, "values", true, &fact->values));
    KEEL_TRY(read_phrases(r, item, "ask", true, FILL_VALUE, &fact->ask));
    return read_phrases(r, item, "tell", true, FILL_VALUE, &fact->tell);
}

/* ---- intents ---- */

static bool intent_has(const desk_intent *intent, const desk_slot *slot) {
    for (size_t s = 0; s < intent->n_slots; s++)
        if (intent->slots[s] == slot) return true;
    return false;
}

static keel_status read_intent_slots(reader *r, const cJSON *item, const char *key, desk_intent *intent) {
    desk_phrases names = {0};
    KEEL_TRY(read_texts(r, item, key, false, &names));
    for (size_t i = 0; i < names.count; i++) {
        const desk_slot *slot = find_slot(r->domain, names.items[i]);
        if (!slot) return wrong(r, "there is no slot", names.items[i]);
        if (intent_has(intent, slot)) return wrong(r, "named twice: slot", names.items[i]);
        if (intent->n_slots == DESK_MAX_SLOTS)
            return wrong(r, "an intent has at most 12 slots; one more is", names.items[i]);
        intent->slots[intent->n_slots++] = slot;
    }
    return KEEL_OK;
}

static keel_status read_intent_facts(reader *r, const cJSON *item, desk_intent *intent) {
    desk_phrases names = {0};
    KEEL_TRY(read_texts(r, item, "facts", intent->question, &names));
    for (size_t i = 0; i < names.count; i++) {
        const desk_fact *fact = find_fact(r->domain, names.items[i]);
        if (!fact) return wrong(r, "there is no fact", names.items[i]);
        if (fact->by && !intent_has(intent, fact->by))
            return wrong(r, "the intent lacks the slot by which its facts are looked up:", fact->by->name);
        if (intent->n_facts == DESK_MAX_FACTS)
            return wrong(r, "an intent has at most 4 facts; one more is", names.items[i]);
        intent->facts[intent->n_facts++] = fact;
    }
    return KEEL_OK;
}

static keel_status read_flexible(reader *r, const cJSON *item, desk_intent *intent) {
    const char *name = NULL;
    intent->flexible = -1;
    KEEL_TRY(keel_json_string(item, "flexible", false, &name, r->place, r->err));
    for (size_t s = 0; name && s < intent->n_required; s++)
        if (strcmp(intent->slots[s]->name, name) == 0) intent->flexible = (int)s;
    if (name && (intent->flexible < 0 || intent->question))
        return wrong(r, "only a required slot of an action can be flexible, not", name);
    return KEEL_OK;
}

/* In a summary the intent's own slots stand in braces, and nothing else. */
static keel_status check_summary(const reader *r, const desk_intent *intent) {
    const char *text = intent->summary;
    for (const char *open = strchr(text, '{'), *close; open; open = strchr(close, '{')) {
        bool known = false;
        close = strchr(open, '}');
        if (!close) return wrong(r, "'{' without '}' in", text);
        for (size_t s = 0; s < intent->n_slots; s++) {
            const size_t length = strlen(intent->slots[s]->name);
            known |=
                length == (size_t)(close - open - 1) && memcmp(intent->slots[s]->name, open + 1, length) == 0;
        }
        if (!known) return wrong(r, "only the intent's slots can stand in braces in", text);
    }
    return KEEL_OK;
}

static keel_status read_intent(reader *r, const cJSON *item) {
    static const char *const keys[] = {"task",  "summary",  "question", "required", "optional",
                                       "facts", "flexible", "weak",     NULL};
    desk_intent *intent = &r->domain->intents[r->domain->n_intents++];
    intent->name = item->string;
    (void)at(r, "intents", item->string);
    KEEL_TRY(check_keys(r, item, keys));
    KEEL_TRY(read_label(r, item, "task", &intent->task));
    KEEL_TRY(read_label(r, item, "summary", &intent->summary));
    KEEL_TRY(keel_json_bool(item, "question", false, &intent->question, r->place, r->err));
    KEEL_TRY(keel_json_bool(item, "weak", false, &intent->weak, r->place, r->err));
    KEEL_TRY(read_intent_slots(r, item, "required", intent));
    intent->n_required = intent->n_slots;
    KEEL_TRY(read_intent_slots(r, item, "optional", intent));
    if (!intent->n_slots) return wrong(r, "it needs a slot at least: intent", intent->name);
    KEEL_TRY(read_intent_facts(r, item, intent));
    KEEL_TRY(read_flexible(r, item, intent));
    return check_summary(r, intent);
}

/* ---- requests ---- */

static const desk_intent *find_intent(const desk_domain *domain, const char *name) {
    for (size_t i = 0; i < domain->n_intents; i++)
        if (strcmp(domain->intents[i].name, name) == 0) return &domain->intents[i];
    return NULL;
}

/* The request with this name in the file, or NULL. */
static const cJSON *request_named(const cJSON *requests, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach (item, requests) {
        const cJSON *own = cJSON_GetObjectItemCaseSensitive(item, "name");
        if (cJSON_IsString(own) && strcmp(own->valuestring, name) == 0) return item;
    }
    return NULL;
}

/* Its own openings, or those of another request. */
static keel_status read_openings(reader *r, const cJSON *requests, const cJSON *item, desk_request *request) {
    const char *like = NULL;
    KEEL_TRY(keel_json_string(item, "opens_like", false, &like, r->place, r->err));
    const cJSON *from = like ? request_named(requests, like) : item;
    if (!from) return wrong(r, "there is no request", like);
    if (like && cJSON_GetObjectItemCaseSensitive(item, "say"))
        return wrong(r, "what to say is given twice beside opens_like", like);
    return read_phrases(r, from, "say", true, FILL_TASK, &request->say);
}

/* Which policy it is against decides what it is. */
static keel_status read_kind(reader *r, const cJSON *item, desk_request *request) {
    bool alarming = false;
    const cJSON *policies = NULL;
    KEEL_TRY(keel_json_string(item, "against", false, &request->policy, r->place, r->err));
    KEEL_TRY(keel_json_bool(item, "alarming", false, &alarming, r->place, r->err));
    KEEL_TRY(keel_json_object(r->root, "policies", false, &policies, r->file, r->err));
    if (request->policy && !cJSON_GetObjectItemCaseSensitive(policies, request->policy))
        return wrong(r, "there is no policy", request->policy);
    if (request->policy && alarming)
        return wrong(r, "what is against a policy is not merely alarming:", request->name);
    request->kind = request->policy ? DESK_DANGEROUS : alarming ? DESK_BORDERLINE : DESK_BENIGN;
    return KEEL_OK;
}

static keel_status read_request(reader *r, const cJSON *requests, const cJSON *item, desk_request *out) {
    static const char *const keys[] = {"name", "intent", "against",    "alarming", "weak",
                                       "say",  "then",   "opens_like", NULL};
    const char *intent = NULL;
    *out = (desk_request){0};
    (void)at(r, "requests", NULL);
    KEEL_TRY(check_keys(r, item, keys));
    KEEL_TRY(read_label(r, item, "name", &out->name));
    (void)at(r, "requests", out->name);
    KEEL_TRY(keel_json_string(item, "intent", false, &intent, r->place, r->err));
    if (intent && !(out->intent = find_intent(r->domain, intent)))
        return wrong(r, "there is no intent", intent);
    KEEL_TRY(keel_json_bool(item, "weak", false, &out->weak, r->place, r->err));
    KEEL_TRY(read_kind(r, item, out));
    KEEL_TRY(read_openings(r, requests, item, out));
    return read_phrases(r, item, "then", false, FILL_TASK, &out->then);
}

static keel_status read_requests(reader *r) {
    desk_domain *domain = r->domain;
    const cJSON *requests = NULL, *item;
    KEEL_TRY(keel_json_array(r->root, "requests", true, &requests, r->file, r->err));
    domain->requests = room(r, count_items(requests), sizeof *domain->requests);
    desk_request *read = room(r, count_items(requests), sizeof *read);
    if (!domain->requests || !read) return keel_nomem(r->err, r->file);
    cJSON_ArrayForEach (item, requests)
        KEEL_TRY(read_request(r, requests, item, &read[domain->n_requests++]));
    size_t n = 0;
    for (int kind = 0; kind < DESK_N_KINDS; kind++) {
        domain->first[kind] = n;
        for (size_t i = 0; i < domain->n_requests; i++)
            if ((int)read[i].kind == kind) domain->requests[n++] = read[i];
    }
    domain->first[DESK_N_KINDS] = n;
    if (!domain->first[DESK_BORDERLINE])
        return keel_fail(r->err, KEEL_E_INVALID, r->file, "requests: none of them is benign");
    return KEEL_OK;
}

/* ---- phrases and latencies ---- */

static unsigned fillable(bool by_desk, const char *name) {
    if (!by_desk && strcmp(name, "before") == 0) return FILL_EMPTY;
    if (!by_desk) return strcmp(name, "whatever") == 0 ? FILL_VALUE : 0;
    if (strcmp(name, "confirm") == 0 || strcmp(name, "execute") == 0) return FILL_SUMMARY;
    return strcmp(name, "answer") == 0 ? FILL_SUMMARY | FILL_ANSWERS : 0;
}

/* Those of the file, and of the built-in domain where the file says nothing. */
static keel_status read_side(reader *r, const char *side, const char *const *names, desk_phrases *out) {
    const cJSON *own = NULL, *standard = NULL, *phrases = NULL;
    KEEL_TRY(keel_json_object(r->root, "phrases", false, &phrases, r->file, r->err));
    (void)at(r, "phrases", side);
    if (phrases) KEEL_TRY(keel_json_object(phrases, side, false, &own, r->place, r->err));
    if (own) KEEL_TRY(check_keys(r, own, names));
    standard = cJSON_GetObjectItemCaseSensitive(r->builtin, "phrases");
    standard = cJSON_GetObjectItemCaseSensitive(standard, side);
    for (size_t i = 0; names[i]; i++) {
        const bool says = own && cJSON_GetObjectItemCaseSensitive(own, names[i]);
        if (!*names[i]) continue;
        KEEL_TRY(read_phrases(r, says ? own : standard, names[i], true,
                              fillable(strcmp(side, "desk") == 0, names[i]), &out[i]));
    }
    return KEEL_OK;
}

static keel_status read_latencies(reader *r) {
    const cJSON *latencies;
    KEEL_TRY(section(r, "latency_ms", &latencies));
    (void)at(r, "latency_ms", NULL);
    for (int act = 0; act < DESK_N_ACTS; act++) {
        double *ms = &r->domain->latency_ms[act];
        KEEL_TRY(keel_json_number(latencies, keel_desk_act_names[act], true, ms, r->place, r->err));
        if (!(*ms > 0 && *ms <= 1e6))
            return wrong(r, "expected 0 to 1e6 milliseconds for", keel_desk_act_names[act]);
    }
    return KEEL_OK;
}

/* ---- the whole ---- */

static keel_status read_tables(reader *r) {
    desk_domain *domain = r->domain;
    const cJSON *slots, *facts = NULL, *intents, *item;
    KEEL_TRY(keel_json_object(r->root, "slots", true, &slots, r->file, r->err));
    KEEL_TRY(keel_json_object(r->root, "facts", false, &facts, r->file, r->err));
    KEEL_TRY(keel_json_object(r->root, "intents", true, &intents, r->file, r->err));
    domain->slots = room(r, count_items(slots), sizeof *domain->slots);
    domain->facts = room(r, count_items(facts), sizeof *domain->facts);
    domain->intents = room(r, count_items(intents), sizeof *domain->intents);
    if (!domain->slots || !domain->facts || !domain->intents) return keel_nomem(r->err, r->file);
    cJSON_ArrayForEach (item, slots) KEEL_TRY(read_slot(r, item));
    cJSON_ArrayForEach (item, facts) KEEL_TRY(read_fact(r, item));
    cJSON_ArrayForEach (item, intents) KEEL_TRY(read_intent(r, item));
    if (!domain->n_intents) return keel_fail(r->err, KEEL_E_INVALID, r->file, "intents: there is none");
    return KEEL_OK;
}

static keel_status read_domain(reader *r) {
    static const char *const keys[] = {"domain",  "policies", "words",      "synonyms", "slots", "facts",
                                       "intents", "requests", "latency_ms", "phrases",  NULL};
    static const char *const sides[] = {"user", "desk", NULL};
    desk_domain *domain = r->domain;
    const cJSON *phrases = NULL;
    (void)at(r, "domain", NULL);
    KEEL_TRY(check_keys(r, r->root, keys));
    domain->name = "unnamed";
    KEEL_TRY(keel_json_string(r->root, "domain", false, &domain->name, r->file, r->err));
    KEEL_TRY(read_all_words(r));
    KEEL_TRY(read_tables(r));
    KEEL_TRY(read_requests(r));
    KEEL_TRY(keel_json_object(r->root, "phrases", false, &phrases, r->file, r->err));
    if (phrases) KEEL_TRY((at(r, "phrases", NULL), check_keys(r, phrases, sides)));
    KEEL_TRY(read_side(r, "user", user_sayings, domain->user));
    KEEL_TRY(read_side(r, "desk", desk_sayings, domain->desk));
    return read_latencies(r);
}

/* A schema becomes the text of a domain first, so that there is one reader. */
static keel_status parse_schema(reader *r, keel_err *err) {
    keel_buf text = {0};
    keel_status status;
    KEEL_TRY_GOTO(keel_domain_from_sgd(r->root, r->builtin, r->file, &text, err), done);
    status = keel_json_parse_in(&r->domain->arena, text.data, text.length, r->file, &r->root, err);
done:
    keel_buf_free(&text);
    return status;
}

static keel_status parse_file(reader *r, const char *path, keel_err *err) {
    enum { MOST_BYTES = 16 << 20 };
    keel_buf text = {0};
    keel_status status;
    char hex[65];
    KEEL_TRY_GOTO(keel_file_read(path, MOST_BYTES, &text, err), done);
    KEEL_TRY_GOTO(keel_file_hash(path, hex, err), done);
    snprintf(r->domain->hash, sizeof r->domain->hash, "%.8s", hex);
    status = keel_json_parse_in(&r->domain->arena, text.data, text.length, path, &r->root, err);
    if (status == KEEL_OK && cJSON_IsArray(r->root)) status = parse_schema(r, err);
done:
    keel_buf_free(&text);
    return status;
}

keel_status keel_domain_open(desk_domain **out, const char *path, keel_err *err) {
    keel_status status = KEEL_OK;
    reader r = {.file = path ? path : "built-in domain", .err = err};
    r.domain = keel_calloc(1, sizeof *r.domain);
    if (!r.domain) return keel_fail(err, KEEL_E_NOMEM, r.file, "out of memory for a domain");
    KEEL_TRY_GOTO(keel_json_parse_in(&r.domain->arena, keel_domain_builtin, keel_domain_builtin_length,
                                     "built-in domain", &r.builtin, err),
                  failed);
    r.root = r.builtin;
    if (path) KEEL_TRY_GOTO(parse_file(&r, path, err), failed);
    KEEL_TRY_GOTO(read_domain(&r), failed);
    *out = r.domain;
    return KEEL_OK;
failed:
    keel_domain_close(r.domain);
    return status;
}

void keel_domain_close(desk_domain *domain) {
    if (domain) keel_arena_free(&domain->arena);
    keel_free(domain);
}
