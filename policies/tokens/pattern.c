#define PCRE2_CODE_UNIT_WIDTH 8
#include "policies/tokens/pattern.h"

#include <pcre2.h>
#include <string.h>

#include "policies/tokens/character.h"

enum { MOST_STEPS = 50 * 1000 * 1000, MOST_HEAP_KB = 64 * 1024 };

/* Unicode's White_Space, to stand in a class: PCRE2's \s holds U+180E besides. And letters, marks, digits,
 * letter-like numbers, connectors, letters in circles and squares; Oniguruma's \w holds the small numbers and
 * fractions of Latin 1 too, but not within a class. */
#define WORD_CLASS                                                                                           \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}"         \
    "\\x{1F170}-\\x{1F189}"
static const char SPACES[] = "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"
                             "\\x{205F}\\x{3000}",
                  WORDS[] = WORD_CLASS, WORDS_ALONE[] = WORD_CLASS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";

/* ---- from Oniguruma's language to PCRE2's ---- */

typedef struct rewriting {
    const keel__reader *r;
    const char *regex, *at;
    bool in_class;
    keel_buf out;
} rewriting;

static keel_status refuse(const rewriting *w, const char *what) {
    return keel_fail(w->r->err, KEEL_E_UNSUPPORTED, w->r->name,
                     "pattern \"%.200s\": %s at byte %td: its meaning depends on the engine", w->regex, what,
                     w->at - w->regex);
}

/* The class that stands for \s, \S, \w or \W; a negated one within a class has no list. */
static keel_status rewrite_escape(rewriting *w) {
    const char c = w->at[1], *words = w->in_class ? WORDS : WORDS_ALONE,
               *list = c == 's' || c == 'S'   ? SPACES
                       : c == 'w' || c == 'W' ? words
                                              : NULL;
    const bool negated = c == 'S' || c == 'W';
    const char *brace = c && w->at[2] == '{' ? strchr(w->at, '}') : NULL; /* "\p{L}" */
    const size_t length = brace ? (size_t)(brace + 1 - w->at) : c ? 2 : 1;
    if (c == 'h' || c == 'H' || c == 'R' || c == 'X' || c == 'G' || c == 'b' || c == 'B' || c == 'K')
        return refuse(w, "this escape");
    if (!list)
        keel_buf_append(&w->out, w->at, length);
    else if (!w->in_class)
        keel_buf_format(&w->out, negated ? "[^%s]" : "[%s]", list);
    else if (!negated)
        keel_buf_text(&w->out, list);
    else
        return refuse(w, "a negated escape in a class");
    w->at += length;
    return KEEL_OK;
}

static keel_status rewrite_class_start(rewriting *w) {
    w->in_class = true;
    keel_buf_append(&w->out, w->at++, 1);
    if (*w->at == '^') keel_buf_append(&w->out, w->at++, 1);
    if (*w->at == ']') return refuse(w, "a class that begins with \"]\"");
    return KEEL_OK;
}

static keel_status rewrite_class_part(rewriting *w) {
    if (*w->at == '[') return refuse(w, "a class within a class");
    if (strncmp(w->at, "&&", 2) == 0) return refuse(w, "\"&&\" in a class");
    if (*w->at == ']') w->in_class = false;
    keel_buf_append(&w->out, w->at++, 1);
    return KEEL_OK;
}

static keel_status rewrite(rewriting *w) {
    for (w->at = w->regex; *w->at;) {
        if (*w->at == '\\')
            KEEL_TRY(rewrite_escape(w));
        else if (w->in_class)
            KEEL_TRY(rewrite_class_part(w));
        else if (*w->at == '[')
            KEEL_TRY(rewrite_class_start(w));
        else if (*w->at == '}' && w->at[1] == '+')
            return refuse(w, "\"+\" behind \"}\"");
        else if (strncmp(w->at, "(*", 2) == 0 || strncmp(w->at, "(?m", 3) == 0)
            return refuse(w, "this group");
        else
            keel_buf_append(&w->out, w->at++, 1);
    }
    return w->out.failed ? keel_nomem(w->r->err, w->r->name) : KEEL_OK;
}

/* ---- compiling ---- */

static void *give(size_t bytes, void *arena) {
    return keel_arena_alloc(arena, bytes);
}

static void keep(void *pointer, void *arena) {
    (void)pointer, (void)arena; /* goes with the arena */
}

static keel_status compile(const keel__reader *r, const char *regex, bool literal, keel__pattern *to) {
    int code = 0;
    size_t where = 0;
    pcre2_general_context *memory = pcre2_general_context_create(give, keep, r->arena);
    pcre2_compile_context *how = memory ? pcre2_compile_context_create(memory) : NULL;
    to->limits = memory ? pcre2_match_context_create(memory) : NULL;
    if (!how || !to->limits) return keel_nomem(r->err, r->name);
    pcre2_set_newline(how, PCRE2_NEWLINE_LF);
    pcre2_set_match_limit(to->limits, MOST_STEPS);
    pcre2_set_heap_limit(to->limits, MOST_HEAP_KB);
    to->code = pcre2_compile((PCRE2_SPTR)regex, strlen(regex),
                             PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE), &code,
                             &where, how);
    if (!to->code) {
        PCRE2_UCHAR text[120];
        pcre2_get_error_message(code, text, sizeof text);
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "pattern \"%.200s\": %s", regex, (char *)text);
    }
    pcre2_jit_compile(to->code, PCRE2_JIT_COMPLETE); /* without it, the interpreter runs the pattern */
    return KEEL_OK;
}

keel_status keel__pattern_open(const keel__reader *r, const char *regex, bool literal,
                               const keel__pattern **out) {
    rewriting w = {.r = r, .regex = regex};
    keel__pattern *made = keel_arena_calloc(r->arena, 1, sizeof *made);
    if (!made) return keel_nomem(r->err, r->name);
    if (!*regex) return keel_fail(r->err, KEEL_E_PARSE, r->name, "pattern: an empty one");
    keel_status status = literal ? KEEL_OK : rewrite(&w);
    if (status == KEEL_OK) status = compile(r, literal ? regex : w.out.data, literal, made);
    keel_buf_free(&w.out);
    KEEL_TRY(status);
    made->next = *r->patterns;
    *out = *r->patterns = made;
    return KEEL_OK;
}

keel_status keel__pattern_read(const keel__reader *r, const cJSON *json, const keel__pattern **out) {
    const cJSON *pattern = NULL;
    const char *text = NULL;
    KEEL_TRY(keel_json_object(json, "pattern", true, &pattern, r->name, r->err));
    const bool literal = keel_json_get(pattern, "String") != NULL;
    KEEL_TRY(keel_json_string(pattern, literal ? "String" : "Regex", true, &text, r->name, r->err));
    return keel__pattern_open(r, text, literal, out);
}

void keel__pattern_close(keel__pattern *all) {
    for (; all; all = all->next) pcre2_code_free(all->code);
}

/* ---- matching ---- */

static void find_kind(bool (*is)(int32_t c), const char *text, size_t length, size_t from, size_t *start,
                      size_t *end) {
    for (size_t at = from, used; at < length; at += used)
        if (is(keel__character_at(text, length, at, &used))) {
            *start = at;
            *end = at + used;
            return;
        }
    *start = *end = length;
}

keel_status keel__pattern_find(const keel__pattern *pattern, keel__matching *matching, const char *text,
                               size_t length, size_t from, size_t *start, size_t *end) {
    if (!pattern->code) return find_kind(pattern->is, text, length, from, start, end), KEEL_OK;
    if (!matching->data) {
        pcre2_general_context *memory = pcre2_general_context_create(give, keep, matching->arena);
        matching->data = memory ? pcre2_match_data_create(1, memory) : NULL;
        if (!matching->data) return keel_nomem(matching->err, "tokenizer");
    }
    int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, matching->data,
                            pattern->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            matching->data, pattern->limits);
    *start = *end = length;
    if (found == PCRE2_ERROR_NOMATCH) return KEEL_OK;
    if (found == PCRE2_ERROR_NOMEMORY) return keel_nomem(matching->err, "tokenizer");
    if (found < 0)
        return keel_fail(matching->err, KEEL_E_INVALID, "tokenizer",
                         "a pattern of the tokenizer takes too many steps on a text of %zu bytes", length);
    const size_t *at = pcre2_get_ovector_pointer(matching->data);
    if (at[1] < at[0] || at[0] < from || at[1] > length) /* \K in a look-around */
        return keel_fail(matching->err, KEEL_E_INVALID, "tokenizer",
                         "a pattern's match ends before it begins");
    *start = at[0];
    *end = at[1];
    return KEEL_OK;
}

keel_status keel__pattern_replace(const keel__pattern *pattern, keel__matching *matching, const char *content,
                                  const char **text, size_t *length) {
    keel_buf out = {0};
    size_t from = 0, kept = 0, start = 0, end = 0;
    keel_status status = KEEL_OK;
    while (from <= *length && status == KEEL_OK) {
        status = keel__pattern_find(pattern, matching, *text, *length, from, &start, &end);
        if (status != KEEL_OK || start == *length) break;
        keel_buf_append(&out, *text + kept, start - kept);
        keel_buf_text(&out, content);
        kept = end;
        keel__character_at(*text, *length, end, &from);
        from = end > start ? end : end + from;
    }
    if (status == KEEL_OK && kept > 0) {
        keel_buf_append(&out, *text + kept, *length - kept);
        *length = out.length;
        *text = out.failed ? NULL : keel_arena_strndup(matching->arena, out.data ? out.data : "", out.length);
        if (!*text) status = keel_nomem(matching->err, "tokenizer");
    }
    keel_buf_free(&out);
    return status;
}
