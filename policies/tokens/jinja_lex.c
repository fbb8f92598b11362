#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/decimal.h"
#include "core/text.h"
#include "policies/tokens/character.h"
#include "policies/tokens/jinja_ast.h"

typedef struct lexer {
    keel__jinja_budget *on;
    const char *at; /* in the source, whose line ends are \n */
    int line;
    bool starts_line; /* nothing but what was taken stands before on this line */
    keel__jinja_token *token;
    size_t n, room;
} lexer;

static keel_status add(lexer *l, keel__jinja_token_kind kind, const char *text, size_t length) {
    if (l->n == l->room) {
        keel__jinja_token *moved;
        l->room = l->room ? 2 * l->room : 256;
        KEEL_TRY(keel__jinja_alloc(l->on, l->room * sizeof *moved, &moved));
        if (l->n) memcpy(moved, l->token, l->n * sizeof *moved);
        l->token = moved;
    }
    l->token[l->n++] = (keel__jinja_token){.kind = kind, .line = l->line, .text = text, .length = length};
    return KEEL_OK;
}

static void advance(lexer *l, size_t n) {
    for (; n > 0; n--) l->line += *l->at++ == '\n';
    l->on->line = l->line;
}

bool keel__jinja_token_is(const keel__jinja_token *token, const char *text) {
    return (token->kind == JINJA_T_NAME || token->kind == JINJA_T_OPERATOR) &&
           token->length == strlen(text) && memcmp(token->text, text, token->length) == 0;
}

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* ---- text ---- */

static const char *next_mark(const char *at) {
    for (; (at = strchr(at, '{')); at++)
        if (at[1] == '{' || at[1] == '%' || at[1] == '#') return at;
    return NULL;
}

/* The text before a mark, without the blanks that "-" or lstrip_blocks take from its end. */
static size_t data_length(const lexer *l, const char *mark) {
    size_t length = (size_t)(mark - l->at);
    if (!*mark) return length;
    if (mark[2] == '-') {
        while (length > 0 && is_blank(l->at[length - 1])) length--;
        return length;
    }
    if (mark[1] == '{' || mark[2] == '+') return length;
    size_t blanks = length;
    while (blanks > 0 && is_blank(l->at[blanks - 1]) && l->at[blanks - 1] != '\n') blanks--;
    const bool line_start = blanks > 0 ? l->at[blanks - 1] == '\n' : l->starts_line;
    return line_start ? blanks : length;
}

static keel_status lex_data(lexer *l, const char *mark) {
    const size_t length = data_length(l, mark);
    if (length > 0) {
        KEEL_TRY(add(l, JINJA_T_DATA, l->at, length));
        l->token[l->n - 1].value = keel__jinja_string(l->at, length);
    }
    advance(l, (size_t)(mark - l->at));
    return KEEL_OK;
}

/* Behind a mark that ends: "-" takes all blanks, trim_blocks one line end. */
static void skip_after(lexer *l, bool minus, bool trim) {
    size_t n = 0;
    if (minus)
        while (is_blank(l->at[n])) n++;
    else if (trim && *l->at == '\n')
        n = 1;
    l->starts_line = n > 0 && l->at[n - 1] == '\n';
    advance(l, n);
}

static keel_status lex_comment(lexer *l) {
    const char *from = l->at + 2;
    if (*from == '-' || *from == '+') from++;
    const char *end = strstr(from, "#}");
    if (!end) return keel__jinja_fail(l->on, KEEL_E_PARSE, "a comment does not end: expected \"#}\"");
    const char sign = end > from ? end[-1] : ' ';
    advance(l, (size_t)(end + 2 - l->at));
    skip_after(l, sign == '-', sign != '+');
    return KEEL_OK;
}

/* ---- expressions ---- */

static int hex(const char *at, int n) {
    int c = 0;
    for (int i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef", *found = strchr(digits, at[i] | 0x20);
        if (!at[i] || !found || (at[i] < '0')) return -1;
        c = c * 16 + (int)(found - digits);
    }
    return c;
}

/* An escape of Python's, behind the backslash at *at; what none is stays as it is. */
static void unescape(const char **at, keel_buf *out) {
    static const char from[] = "nrtbfav\\'\"", to[] = "\n\r\t\b\f\a\v\\'\"";
    const char c = **at, *plain = c ? strchr(from, c) : NULL;
    const int n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    const int code = n ? hex(*at + 1, n) : -1;
    if (plain)
        keel_buf_append(out, &to[plain - from], 1);
    else if (code > 0 && utf8proc_codepoint_valid(code)) {
        utf8proc_uint8_t bytes[4];
        keel_buf_append(out, bytes, (size_t)utf8proc_encode_char(code, bytes));
        *at += n;
    } else if (c != '\n') { /* a line that goes on */
        keel_buf_text(out, "\\");
        keel_buf_append(out, &c, 1);
    }
    ++*at;
}

static keel_status lex_string(lexer *l) {
    const char quote = *l->at, *at = l->at + 1;
    keel_buf text = {0};
    while (*at && *at != quote)
        if (*at == '\\' && at[1]) {
            at++;
            unescape(&at, &text);
        } else
            keel_buf_append(&text, at++, 1);
    keel__jinja_value value;
    if (!*at) return keel_buf_free(&text), keel__jinja_fail(l->on, KEEL_E_PARSE, "a string does not end");
    KEEL_TRY(keel__jinja_take(l->on, &text, &value));
    KEEL_TRY(add(l, JINJA_T_VALUE, l->at, (size_t)(at + 1 - l->at)));
    l->token[l->n - 1].value = value;
    advance(l, (size_t)(at + 1 - l->at));
    return KEEL_OK;
}

static keel_status lex_number(lexer *l) {
    char digits[64];
    size_t n = 0, used = 0;
    bool real = false;
    for (; n + 2 < sizeof digits; used++) { /* an exponent adds two */
        const char c = l->at[used], next = c ? l->at[used + 1] : '\0';
        const bool point = c == '.' && !real && next >= '0' && next <= '9';
        const bool exponent =
            (c == 'e' || c == 'E') &&
            ((next >= '0' && next <= '9') ||
             ((next == '-' || next == '+') && l->at[used + 2] >= '0' && l->at[used + 2] <= '9'));
        if (!((c >= '0' && c <= '9') || c == '_' || point || exponent)) break;
        if (c != '_') digits[n++] = c;
        if (exponent && (next == '-' || next == '+')) digits[n++] = l->at[++used];
        real |= point || exponent;
    }
    digits[n] = '\0';
    KEEL_TRY(add(l, JINJA_T_VALUE, l->at, used));
    const long long whole = real ? 0 : strtoll(digits, NULL, 10);
    if (whole == INT64_MAX) return keel__jinja_fail(l->on, KEEL_E_PARSE, "a number is too large");
    l->token[l->n - 1].value =
        real ? (keel__jinja_value){.kind = JINJA_FLOAT, .real = keel_decimal_read(digits, NULL)}
             : keel__jinja_int(whole);
    advance(l, used);
    return KEEL_OK;
}

static bool is_name(char c, bool first) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9');
}

static keel_status lex_operator(lexer *l, int *open) {
    static const char *const twos[] = {"==", "!=", ">=", "<=", "//", "**"};
    size_t length = 1;
    for (size_t i = 0; i < sizeof twos / sizeof *twos; i++)
        if (strncmp(l->at, twos[i], 2) == 0) length = 2;
    if (!strchr("+-/*%~[](){}=<>.:|,", *l->at) && length == 1)
        return keel__jinja_fail(l->on, KEEL_E_PARSE, "unexpected \"%c\"", *l->at);
    *open += strchr("([{", *l->at) ? 1 : strchr(")]}", *l->at) ? -1 : 0;
    KEEL_TRY(add(l, JINJA_T_OPERATOR, l->at, length));
    advance(l, length);
    return KEEL_OK;
}

/* What stands between the marks; *minus: whether the end takes blanks, *plus: whether it keeps a line end. */
static keel_status lex_inside(lexer *l, const char *end, bool *minus, bool *plus) {
    int open = 0;
    for (;;) {
        const char *at = l->at;
        if (is_blank(*at)) {
            advance(l, 1);
            continue;
        }
        if (!*at) return keel__jinja_fail(l->on, KEEL_E_PARSE, "expected \"%s\"", end);
        *minus = *at == '-' && strncmp(at + 1, end, 2) == 0;
        *plus = *at == '+' && *end == '%' && strncmp(at + 1, end, 2) == 0;
        if (open <= 0 && (*minus || *plus || strncmp(at, end, 2) == 0)) return KEEL_OK;
        if (*at == '"' || *at == '\'')
            KEEL_TRY(lex_string(l));
        else if (*at >= '0' && *at <= '9')
            KEEL_TRY(lex_number(l));
        else if (is_name(*at, true)) {
            size_t n = 1;
            while (is_name(at[n], false)) n++;
            KEEL_TRY(add(l, JINJA_T_NAME, at, n));
            advance(l, n);
        } else
            KEEL_TRY(lex_operator(l, &open));
    }
}

static keel_status lex_mark(lexer *l) {
    const bool block = l->at[1] == '%', signed_mark = l->at[2] == '-' || l->at[2] == '+';
    bool minus = false, plus = false;
    KEEL_TRY(add(l, block ? JINJA_T_BLOCK_BEGIN : JINJA_T_PRINT_BEGIN, l->at, 2));
    advance(l, signed_mark ? 3 : 2);
    KEEL_TRY(lex_inside(l, block ? "%}" : "}}", &minus, &plus));
    KEEL_TRY(add(l, block ? JINJA_T_BLOCK_END : JINJA_T_PRINT_END, l->at, 2));
    advance(l, minus || plus ? 3 : 2);
    skip_after(l, minus, block && !plus);
    return KEEL_OK;
}

/* \r\n and \r are \n; one at the very end is left out. */
static keel_status normalise(keel__jinja_budget *on, const char *source, char **out) {
    const size_t length = strlen(source);
    size_t n = 0;
    KEEL_TRY(keel__jinja_alloc(on, length + 3, out));
    for (size_t i = 0; i < length; i++) {
        if (source[i] == '\r' && source[i + 1] == '\n') continue;
        (*out)[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && (*out)[n - 1] == '\n') n--;
    (*out)[n] = (*out)[n + 1] = '\0';
    return KEEL_OK;
}

keel_status keel__jinja_lex(keel__jinja_budget *on, const char *source, keel__jinja_token **out) {
    lexer l = {.on = on, .line = 1, .starts_line = true};
    char *text = NULL;
    if (keel_utf8_valid_prefix(source, strlen(source)) != strlen(source))
        return keel__jinja_fail(on, KEEL_E_PARSE, "the template is not UTF-8");
    KEEL_TRY(normalise(on, source, &text));
    for (l.at = text; *l.at;) {
        const char *mark = next_mark(l.at);
        KEEL_TRY(lex_data(&l, mark ? mark : l.at + strlen(l.at)));
        if (mark) KEEL_TRY(mark[1] == '#' ? lex_comment(&l) : lex_mark(&l));
    }
    KEEL_TRY(add(&l, JINJA_T_END, "", 0));
    *out = l.token;
    return KEEL_OK;
}
