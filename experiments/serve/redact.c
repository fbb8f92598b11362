#define PCRE2_CODE_UNIT_WIDTH 8
#include "experiments/serve/redact.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/decimal.h"
#include "core/file.h"
#include "core/json.h"
#include "core/text.h"

/* A hostile text may make a pattern go back and forth: at each place that a match may begin so many steps are
 * allowed, and for all rules over one text, and over one conversation, so much time of the processor, looked
 * at every WINDOW places and every few matches. */
enum {
    MOST_RULES = 256,
    MOST_NAME = 64,
    MOST_STEPS = 10000,
    MOST_HEAP_KB = 4096,
    WINDOW = 512,
    MATCHES = 16
};
static const double MOST_SECONDS = 0.1, MOST_SECONDS_IN_ALL = 1;

typedef struct rule {
    char name[MOST_NAME + 1];
    pcre2_code *code;
} rule;

struct keel_redact {
    rule of[MOST_RULES];
    size_t n;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
};

static void *give(PCRE2_SIZE bytes, void *user) {
    (void)user;
    return keel_alloc(bytes);
}

static void take_back(void *block, void *user) {
    (void)user;
    keel_free(block);
}

/* ---- rules ---- */

static keel_status compile(rule *to, const char *regex, size_t length, const pcre2_general_context *memory,
                           const char *where, keel_err *err) {
    static const uint32_t how = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *context = pcre2_compile_context_create((pcre2_general_context *)(uintptr_t)memory);
    if (!context) return keel_nomem(err, where);
    to->code = pcre2_compile((PCRE2_SPTR)regex, length, how, &code, &at, context);
    pcre2_compile_context_free(context);
    if (to->code) {
        pcre2_jit_compile(to->code, PCRE2_JIT_COMPLETE); /* without it, the interpreter runs the pattern */
        return KEEL_OK;
    }
    char text[160];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    if (code == PCRE2_ERROR_NOMEMORY || strstr(text, "memory")) return keel_nomem(err, where);
    keel_fail(err, KEEL_E_INVALID, where, "the pattern is wrong at byte %zu: %s", (size_t)at, text);
    return keel_hint(err, "a line is a name, a tab and a pattern of PCRE2, or a pattern alone");
}

/* A rule that finds nothing in nothing says what it looks for. */
static keel_status check_empty(const keel_redact *redact, const rule *to, const char *where, keel_err *err) {
    pcre2_match_data *data = pcre2_match_data_create(1, redact->memory);
    if (!data) return keel_nomem(err, where);
    const int found = pcre2_match(to->code, (PCRE2_SPTR) "", 0, 0, 0, data, redact->limits);
    pcre2_match_data_free(data);
    if (found < 0) return KEEL_OK;
    return keel_fail(err, KEEL_E_INVALID, where, "the pattern matches the empty text, which is everywhere");
}

static bool is_name(const char *text, size_t length) {
    if (length == 0 || length > MOST_NAME) return false;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '-' || c == '_';
        if (!ok) return false;
    }
    return true;
}

static keel_status add_rule(keel_redact *redact, const char *line, size_t length, const char *where,
                            keel_err *err) {
    const char *tab = memchr(line, '\t', length), *regex = tab ? tab + 1 : line;
    const size_t named = tab ? (size_t)(tab - line) : 0;
    rule *to = &redact->of[redact->n];
    if (redact->n == MOST_RULES)
        return keel_fail(err, KEEL_E_INVALID, where, "more than %d rules", MOST_RULES);
    if (tab && !is_name(line, named))
        return keel_fail(err, KEEL_E_INVALID, where, "a name is 1 to %d letters, digits, - and _", MOST_NAME);
    snprintf(to->name, sizeof to->name, "%.*s", tab ? (int)named : 8, tab ? line : "redacted");
    KEEL_TRY(compile(to, regex, length - (size_t)(regex - line), redact->memory, where, err));
    redact->n++;
    return check_empty(redact, to, where, err);
}

static keel_status add_rules(keel_redact *redact, const char *rules, const char *file, keel_err *err) {
    size_t number = 0;
    for (const char *line = rules, *next; *line; line = next) {
        char where[320];
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] != '\0');
        snprintf(where, sizeof where, "%.280s:%zu", file, ++number);
        if (length && line[length - 1] == '\r') length--;
        if (strspn(line, " \t") >= length || line[0] == '#') continue;
        KEEL_TRY(add_rule(redact, line, length, where, err));
    }
    return KEEL_OK;
}

keel_status keel_redact_parse(keel_redact **out, const char *rules, const char *where, keel_err *err) {
    keel_redact *made = keel_calloc(1, sizeof *made);
    if (!made) return keel_nomem(err, where);
    made->memory = pcre2_general_context_create(give, take_back, NULL);
    made->limits = made->memory ? pcre2_match_context_create(made->memory) : NULL;
    keel_status status = made->limits ? KEEL_OK : keel_nomem(err, where);
    if (made->limits) {
        pcre2_set_match_limit(made->limits, MOST_STEPS);
        pcre2_set_heap_limit(made->limits, MOST_HEAP_KB);
        status = add_rules(made, rules, where, err);
    }
    if (status == KEEL_OK)
        *out = made;
    else
        keel_redact_close(made);
    return status;
}

keel_status keel_redact_open(keel_redact **out, const char *path, keel_err *err) {
    keel_buf rules = {0};
    keel_status status = keel_file_read(path, 1 << 20, &rules, err);
    if (status == KEEL_OK && rules.length != strlen(rules.data ? rules.data : ""))
        status = keel_fail(err, KEEL_E_INVALID, path, "a file of rules holds no byte 0");
    if (status == KEEL_OK) status = keel_redact_parse(out, rules.data ? rules.data : "", path, err);
    keel_buf_free(&rules);
    return status;
}

void keel_redact_close(keel_redact *redact) {
    if (!redact) return;
    for (size_t i = 0; i < redact->n; i++) pcre2_code_free(redact->of[i].code);
    pcre2_match_context_free(redact->limits);
    pcre2_general_context_free(redact->memory);
    keel_free(redact);
}

/* ---- searching ---- */

typedef struct search {
    const char *text;
    size_t length;
    double until;
    size_t matches;
    pcre2_match_data *data;
    pcre2_match_context *limits; /* its own: the window moves */
} search;

static size_t next_character(const search *s, size_t at) {
    while (at < s->length && ((unsigned char)s->text[at] & 0xc0) == 0x80) at++;
    return at;
}

/* The next match from *from on, [*from, *end); 1: found, 0: none, -1: given up. */
static int find(search *s, const pcre2_code *code, size_t *from, size_t *end) {
    static const uint32_t how = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    while (*from < s->length) {
        pcre2_set_offset_limit(s->limits, *from + WINDOW);
        int found = pcre2_match(code, (PCRE2_SPTR)s->text, s->length, *from, how, s->data, s->limits);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT)
            found = pcre2_match(code, (PCRE2_SPTR)s->text, s->length, *from, how | PCRE2_NO_JIT, s->data,
                                s->limits);
        if (found != PCRE2_ERROR_NOMATCH && found < 0) return -1;
        const size_t *at = pcre2_get_ovector_pointer(s->data);
        if (found >= 0 && (at[0] < *from || at[1] <= at[0])) return -1; /* \K in odd places */
        if ((found < 0 || ++s->matches % MATCHES == 0) && keel_clock_thread() > s->until) return -1;
        if (found >= 0) {
            *from = at[0], *end = at[1];
            return 1;
        }
        *from = next_character(s, *from + WINDOW + 1);
    }
    return 0;
}

/* What one rule leaves of the text, in the arena; NULL: no memory. */
static const char *apply(search *s, const rule *by, keel_arena *arena) {
    keel_buf made = {0};
    size_t from = 0, end = 0, kept = 0;
    int found;
    while ((found = find(s, by->code, &from, &end)) > 0 && !made.failed) {
        keel_buf_append(&made, s->text + kept, from - kept);
        keel_buf_format(&made, "[%s]", by->name);
        kept = from = end;
    }
    if (found == 0 && kept == 0) return s->text;
    if (found < 0) {
        keel_buf_clear(&made);
        keel_buf_format(&made, "[%s: too long to search]", by->name);
    } else {
        keel_buf_append(&made, s->text + kept, s->length - kept);
    }
    const char *copy = made.failed ? NULL : keel_arena_strndup(arena, made.data, made.length);
    keel_buf_free(&made);
    return copy;
}

static const char *apply_all(const keel_redact *redact, search *s, keel_arena *arena) {
    for (size_t i = 0; s->text && i < redact->n; i++) {
        s->text = apply(s, &redact->of[i], arena);
        s->length = s->text ? strlen(s->text) : 0;
    }
    return s->text;
}

/* What is done to one text or one conversation. */
typedef struct redaction {
    const keel_redact *by;
    keel_arena *arena;
    double until;
    bool failed;
} redaction;

static const char *redact_text(redaction *r, const char *text) {
    if (!text || !*text) return text;
    const double now = keel_clock_thread(), until = now + MOST_SECONDS;
    search s = {.text = text, .length = strlen(text), .until = until < r->until ? until : r->until};
    if (now > r->until) return "[too long to search]";
    if (keel_utf8_valid_prefix(text, s.length) != s.length) return "[not UTF-8]";
    s.data = pcre2_match_data_create(1, r->by->memory);
    s.limits = pcre2_match_context_copy(r->by->limits);
    const char *out = s.data && s.limits ? apply_all(r->by, &s, r->arena) : NULL;
    pcre2_match_context_free(s.limits);
    pcre2_match_data_free(s.data);
    r->failed = r->failed || !out;
    return out;
}

static redaction begin(const keel_redact *by, keel_arena *arena) {
    return (redaction){.by = by, .arena = arena, .until = keel_clock_thread() + MOST_SECONDS_IN_ALL};
}

const char *keel_redact_text(const keel_redact *redact, const char *text, keel_arena *arena, bool *failed) {
    if (!redact) return text;
    redaction r = begin(redact, arena);
    const char *out = redact_text(&r, text);
    *failed = *failed || r.failed;
    return out;
}

/* ---- conversations ---- */

/* A copy of cJSON's own of what rules leave of the text; NULL: they find nothing, or there is no memory. */
static char *replaced(redaction *r, const char *text) {
    const char *clean = redact_text(r, text);
    if (!clean || clean == text) return NULL;
    char *own = cJSON_malloc(strlen(clean) + 1);
    r->failed = r->failed || !own;
    if (own) memcpy(own, clean, strlen(clean) + 1);
    return own;
}

static void redact_string(redaction *r, char **text) {
    char *own = replaced(r, *text);
    if (!own) return;
    cJSON_free(*text);
    *text = own;
}

/* A number in which a rule finds something becomes its text. */
static void redact_number(redaction *r, cJSON *item) {
    char digits[KEEL_DECIMAL_SIZE];
    const char *text = item->valuestring; /* of a large whole number */
    if (!text) keel_decimal_print(digits, item->valuedouble), text = digits;
    char *own = replaced(r, text);
    if (!own) return;
    item->type = (item->type & ~0xff) | cJSON_String;
    cJSON_free(item->valuestring);
    item->valuestring = own;
}

static void redact_json(redaction *r, cJSON *item) {
    for (; item; item = item->next) {
        if (item->string) redact_string(r, &item->string);
        if (cJSON_IsString(item)) redact_string(r, &item->valuestring);
        if (cJSON_IsNumber(item)) redact_number(r, item);
        redact_json(r, item->child);
    }
}

/* By its values: found in the text of it all, a rule could leave no JSON. What is no JSON is not kept. */
static const char *redact_meta(redaction *r, const char *meta) {
    cJSON *json = NULL;
    keel_buf text = {0};
    const char *out = NULL;
    const keel_status status = keel_json_parse(meta, strlen(meta), "meta", &json, NULL);
    r->failed = r->failed || status == KEEL_E_NOMEM;
    if (status != KEEL_OK) return NULL;
    redact_json(r, json);
    if (!r->failed && keel_json_print(json, false, &text, NULL) == KEEL_OK)
        out = keel_arena_strndup(r->arena, text.data, text.length);
    r->failed = r->failed || !out;
    keel_buf_free(&text);
    cJSON_Delete(json);
    return out;
}

static void redact_turn(redaction *r, keel_turn *t) {
    t->text = redact_text(r, t->text);
    t->act = redact_text(r, t->act);
    t->model = redact_text(r, t->model);
}

static void redact_decision(redaction *r, const keel_decision *decision) {
    for (size_t i = 0; i < decision->n_candidates; i++) {
        keel_candidate *c = &decision->candidates[i];
        c->text = redact_text(r, c->text);
        c->act = redact_text(r, c->act);
        c->model = redact_text(r, c->model);
    }
}

keel_status keel_redact_conversation(const keel_redact *redact, keel_conversation *conversation,
                                     keel_arena *arena, keel_err *err) {
    if (!redact) return KEEL_OK;
    redaction r = begin(redact, arena);
    conversation->group = redact_text(&r, conversation->group);
    conversation->external_id = redact_text(&r, conversation->external_id);
    for (size_t i = 0; i < conversation->n_turns; i++) redact_turn(&r, &conversation->turns[i]);
    for (size_t i = 0; i < conversation->n_decisions; i++) redact_decision(&r, &conversation->decisions[i]);
    if (conversation->meta) conversation->meta = redact_meta(&r, conversation->meta);
    return r.failed ? keel_nomem(err, "redaction") : KEEL_OK;
}
