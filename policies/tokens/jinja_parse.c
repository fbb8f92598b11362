#include <string.h>

#include "policies/tokens/jinja_ast.h"

typedef keel__jinja_node node;

enum { DEEPEST = 100, MOST_STEPS = 4 * 1000 * 1000 };

typedef struct parser {
    keel__jinja_budget *on;
    const keel__jinja_token *at;
    int depth, loops, macros;
} parser;

static keel_status expression(parser *p, node **out);
static keel_status unary(parser *p, bool filters, node **out);
static keel_status statements(parser *p, const char *const *ends, node **out);

/* ---- tokens ---- */

static keel_status unexpected(parser *p, const char *expected) {
    p->on->line = p->at->line;
    if (p->at->kind == JINJA_T_END)
        return keel__jinja_fail(p->on, KEEL_E_PARSE, "the template ends: expected %s", expected);
    return keel__jinja_fail(p->on, KEEL_E_PARSE, "\"%.*s\": expected %s",
                            (int)(p->at->length < 60 ? p->at->length : 60), p->at->text, expected);
}

static bool is(const parser *p, const char *text) {
    return keel__jinja_token_is(p->at, text);
}

static bool skip(parser *p, const char *text) {
    const bool there = is(p, text);
    p->at += there;
    return there;
}

static keel_status expect(parser *p, const char *text) {
    return skip(p, text) ? KEEL_OK : unexpected(p, text);
}

static keel_status end_block(parser *p) {
    if (p->at->kind != JINJA_T_BLOCK_END) return unexpected(p, "\"%}\"");
    p->at++;
    return KEEL_OK;
}

static keel_status make(parser *p, keel__jinja_node_kind kind, node *first, node *second, node **out) {
    KEEL_TRY(keel__jinja_alloc(p->on, sizeof **out, out));
    **out = (node){.kind = kind, .line = p->at->line, .first = first, .second = second};
    return KEEL_OK;
}

static keel_status deeper(parser *p) {
    if (p->depth++ < DEEPEST) return KEEL_OK;
    p->on->line = p->at->line;
    return keel__jinja_fail(p->on, KEEL_E_UNSUPPORTED, "nested deeper than %d", DEEPEST);
}

/* A node of this kind whose value is the name here. */
static keel_status named(parser *p, keel__jinja_node_kind kind, node *first, node **out) {
    if (p->at->kind != JINJA_T_NAME) return unexpected(p, "a name");
    KEEL_TRY(make(p, kind, first, NULL, out));
    (*out)->value = keel__jinja_string(p->at->text, p->at->length);
    p->at++;
    return KEEL_OK;
}

/* ---- expressions ---- */

/* Expressions up to `end`, a comma between; *commas: whether there was one. */
static keel_status list_of(parser *p, const char *end, node **out, bool *commas) {
    *commas = false;
    for (*out = NULL; !is(p, end); out = &(*out)->next) {
        KEEL_TRY(expression(p, out));
        if (is(p, end)) break;
        KEEL_TRY(expect(p, ","));
        *commas = true;
    }
    return expect(p, end);
}

static keel_status dictionary(parser *p, node **out) {
    KEEL_TRY(make(p, JINJA_MAKE_DICT, NULL, NULL, out));
    for (node **at = &(*out)->second; !is(p, "}"); at = &(*at)->next) {
        KEEL_TRY(expression(p, at));
        KEEL_TRY(expect(p, ":"));
        at = &(*at)->next;
        KEEL_TRY(expression(p, at));
        if (!is(p, "}")) KEEL_TRY(expect(p, ","));
    }
    return expect(p, "}");
}

static keel_status parenthesised(parser *p, node **out) {
    node *list;
    bool commas;
    KEEL_TRY(list_of(p, ")", &list, &commas));
    if (list && !commas) return *out = list, KEEL_OK;
    return make(p, JINJA_MAKE_TUPLE, NULL, list, out);
}

/* Texts side by side are one. */
static keel_status constant(parser *p, node **out) {
    keel_buf text = {0};
    KEEL_TRY(make(p, JINJA_CONSTANT, NULL, NULL, out));
    (*out)->value = p->at++->value;
    if ((*out)->value.kind != JINJA_STRING || p->at->kind != JINJA_T_VALUE ||
        p->at->value.kind != JINJA_STRING)
        return KEEL_OK;
    keel_buf_append(&text, (*out)->value.text, (*out)->value.length);
    for (; p->at->kind == JINJA_T_VALUE && p->at->value.kind == JINJA_STRING; p->at++)
        keel_buf_append(&text, p->at->value.text, p->at->value.length);
    return keel__jinja_take(p->on, &text, &(*out)->value);
}

static keel_status word(parser *p, node **out) {
    static const struct {
        const char *name;
        keel__jinja_value value;
    } words[] = {{"true", {.kind = JINJA_BOOL, .truth = true}},
                 {"True", {.kind = JINJA_BOOL, .truth = true}},
                 {"false", {.kind = JINJA_BOOL}},
                 {"False", {.kind = JINJA_BOOL}},
                 {"none", {.kind = JINJA_NONE}},
                 {"None", {.kind = JINJA_NONE}}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (skip(p, words[i].name)) {
            KEEL_TRY(make(p, JINJA_CONSTANT, NULL, NULL, out));
            (*out)->value = words[i].value;
            return KEEL_OK;
        }
    return named(p, JINJA_NAME, NULL, out);
}

static keel_status primary(parser *p, node **out) {
    bool commas;
    if (p->at->kind == JINJA_T_VALUE) return constant(p, out);
    if (p->at->kind == JINJA_T_NAME) return word(p, out);
    if (skip(p, "(")) return parenthesised(p, out);
    if (skip(p, "{")) return dictionary(p, out);
    if (!skip(p, "[")) return unexpected(p, "a value");
    KEEL_TRY(make(p, JINJA_MAKE_LIST, NULL, NULL, out));
    return list_of(p, "]", &(*out)->second, &commas);
}

/* Behind "(". */
static keel_status arguments(parser *p, node **out) {
    for (*out = NULL; !is(p, ")"); out = &(*out)->next) {
        if (is(p, "*") || is(p, "**")) return unexpected(p, "arguments one by one");
        if (p->at->kind == JINJA_T_NAME && keel__jinja_token_is(p->at + 1, "=")) {
            KEEL_TRY(named(p, JINJA_KEYWORD, NULL, out));
            p->at++;
            KEEL_TRY(expression(p, &(*out)->first));
        } else
            KEEL_TRY(expression(p, out));
        if (is(p, ")")) break;
        KEEL_TRY(expect(p, ","));
    }
    return expect(p, ")");
}

/* Behind "[": an index or a slice. */
static keel_status subscript(parser *p, node *of, node **out) {
    node *part[3] = {0};
    int n = 0;
    for (; n < 3; n++) {
        if (!is(p, ":") && !is(p, "]")) KEEL_TRY(expression(p, &part[n]));
        if (!skip(p, ":")) break;
    }
    KEEL_TRY(make(p, n ? JINJA_SLICE : JINJA_ITEM, of, part[0], out));
    if (n == 0 && !part[0]) return unexpected(p, "an index");
    (*out)->third = part[1];
    (*out)->body = part[2];
    return expect(p, "]");
}

static keel_status attribute(parser *p, node *of, node **out) {
    if (p->at->kind == JINJA_T_NAME) return named(p, JINJA_ATTRIBUTE, of, out);
    if (p->at->kind != JINJA_T_VALUE || p->at->value.kind != JINJA_INT) return unexpected(p, "a name");
    node *index;
    KEEL_TRY(constant(p, &index));
    return make(p, JINJA_ITEM, of, index, out);
}

static keel_status call(parser *p, node *of, node **out) {
    KEEL_TRY(make(p, JINJA_CALL, of, NULL, out));
    return arguments(p, &(*out)->second);
}

static keel_status postfix(parser *p, node **out) {
    for (;;) {
        node *of = *out;
        if (skip(p, "."))
            KEEL_TRY(attribute(p, of, out));
        else if (skip(p, "["))
            KEEL_TRY(subscript(p, of, out));
        else if (skip(p, "("))
            KEEL_TRY(call(p, of, out));
        else
            return KEEL_OK;
    }
}

static keel_status filter(parser *p, node *of, node **out) {
    KEEL_TRY(named(p, JINJA_FILTER, of, out));
    return skip(p, "(") ? arguments(p, &(*out)->second) : KEEL_OK;
}

static bool begins_value(const parser *p) {
    if (p->at->kind == JINJA_T_NAME)
        return !is(p, "else") && !is(p, "or") && !is(p, "and") && !is(p, "if") && !is(p, "is") &&
               !is(p, "not") && !is(p, "in");
    return p->at->kind == JINJA_T_VALUE || is(p, "[") || is(p, "{");
}

static keel_status test(parser *p, node *of, node **out) {
    const bool not = skip(p, "not");
    node *tested;
    KEEL_TRY(named(p, JINJA_TEST, of, &tested));
    if (skip(p, "("))
        KEEL_TRY(arguments(p, &tested->second));
    else if (begins_value(p)) {
        KEEL_TRY(primary(p, &tested->second));
        KEEL_TRY(postfix(p, &tested->second));
    }
    *out = tested;
    return not ? make(p, JINJA_NOT, tested, NULL, out) : KEEL_OK;
}

static keel_status signed_value(parser *p, keel__jinja_operator op, node **out) {
    KEEL_TRY(make(p, JINJA_UNARY, NULL, NULL, out));
    (*out)->op = op;
    KEEL_TRY(deeper(p));
    KEEL_TRY(unary(p, false, &(*out)->first));
    p->depth--;
    return KEEL_OK;
}

static keel_status unary(parser *p, bool filters, node **out) {
    if (skip(p, "-"))
        KEEL_TRY(signed_value(p, JINJA_SUBTRACT, out));
    else if (skip(p, "+"))
        KEEL_TRY(signed_value(p, JINJA_ADD, out));
    else
        KEEL_TRY(primary(p, out));
    KEEL_TRY(postfix(p, out));
    while (filters) {
        node *of = *out;
        if (skip(p, "|"))
            KEEL_TRY(filter(p, of, out));
        else if (skip(p, "is"))
            KEEL_TRY(test(p, of, out));
        else if (skip(p, "("))
            KEEL_TRY(call(p, of, out));
        else
            break;
    }
    return KEEL_OK;
}

/* Operators of arithmetic, the loosest first: those of a level group to the left. */
static const struct level {
    struct {
        const char *text;
        keel__jinja_operator op;
    } row[4];
} levels[] = {{{{"+", JINJA_ADD}, {"-", JINJA_SUBTRACT}}},
              {{{"~", JINJA_CONCATENATE}}},
              {{{"*", JINJA_MULTIPLY}, {"//", JINJA_FLOOR_DIVIDE}, {"/", JINJA_DIVIDE}, {"%", JINJA_MODULO}}},
              {{{"**", JINJA_POWER}}}};

static bool level_operator(parser *p, const struct level *level, keel__jinja_operator *op) {
    for (int i = 0; i < 4 && level->row[i].text; i++)
        if (skip(p, level->row[i].text)) return *op = level->row[i].op, true;
    return false;
}

static keel_status arithmetic(parser *p, size_t level, node **out) {
    if (level == sizeof levels / sizeof *levels) return unary(p, true, out);
    KEEL_TRY(arithmetic(p, level + 1, out));
    for (keel__jinja_operator op; level_operator(p, &levels[level], &op);) {
        node *left = *out;
        KEEL_TRY(make(p, JINJA_BINARY, left, NULL, out));
        (*out)->op = op;
        KEEL_TRY(arithmetic(p, level + 1, &(*out)->second));
    }
    return KEEL_OK;
}

static bool comparison(parser *p, keel__jinja_operator *op) {
    static const struct {
        const char *text;
        keel__jinja_operator op;
    } rows[] = {
        {"==", JINJA_EQUAL}, {"!=", JINJA_NOT_EQUAL}, {"<=", JINJA_LESS_EQUAL}, {">=", JINJA_GREATER_EQUAL},
        {"<", JINJA_LESS},   {">", JINJA_GREATER},    {"in", JINJA_IN}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (skip(p, rows[i].text)) return *op = rows[i].op, true;
    if (!is(p, "not") || !keel__jinja_token_is(p->at + 1, "in")) return false;
    p->at += 2;
    *op = JINJA_NOT_IN;
    return true;
}

static keel_status compare(parser *p, node **out) {
    node **last = NULL;
    KEEL_TRY(arithmetic(p, 0, out));
    for (keel__jinja_operator op; comparison(p, &op);) {
        node *left = *out;
        if (!last) {
            KEEL_TRY(make(p, JINJA_COMPARE, left, NULL, out));
            last = &(*out)->second;
        }
        KEEL_TRY(make(p, JINJA_OPERAND, NULL, NULL, last));
        (*last)->op = op;
        KEEL_TRY(arithmetic(p, 0, &(*last)->first));
        last = &(*last)->next;
    }
    return KEEL_OK;
}

static keel_status negation(parser *p, node **out) {
    if (!skip(p, "not")) return compare(p, out);
    KEEL_TRY(make(p, JINJA_NOT, NULL, NULL, out));
    KEEL_TRY(deeper(p));
    KEEL_TRY(negation(p, &(*out)->first));
    p->depth--;
    return KEEL_OK;
}

static keel_status conjunction(parser *p, node **out) {
    KEEL_TRY(negation(p, out));
    while (skip(p, "and")) {
        node *left = *out;
        KEEL_TRY(make(p, JINJA_AND, left, NULL, out));
        KEEL_TRY(negation(p, &(*out)->second));
    }
    return KEEL_OK;
}

static keel_status disjunction(parser *p, node **out) {
    KEEL_TRY(conjunction(p, out));
    while (skip(p, "or")) {
        node *left = *out;
        KEEL_TRY(make(p, JINJA_OR, left, NULL, out));
        KEEL_TRY(conjunction(p, &(*out)->second));
    }
    return KEEL_OK;
}

static keel_status expression(parser *p, node **out) {
    KEEL_TRY(deeper(p));
    KEEL_TRY(disjunction(p, out));
    while (skip(p, "if")) {
        node *then = *out;
        KEEL_TRY(make(p, JINJA_CONDITION, NULL, then, out));
        KEEL_TRY(disjunction(p, &(*out)->first));
        if (skip(p, "else")) KEEL_TRY(expression(p, &(*out)->third));
    }
    p->depth--;
    return KEEL_OK;
}

/* "a, b" is a tuple; one alone is itself. each: what parses one. */
static keel_status tuple(parser *p, keel_status (*each)(parser *p, node **out), node **out) {
    KEEL_TRY(each(p, out));
    if (!is(p, ",")) return KEEL_OK;
    node *all, **last = &(*out)->next;
    KEEL_TRY(make(p, JINJA_MAKE_TUPLE, NULL, *out, &all));
    while (skip(p, ",") && (begins_value(p) || is(p, "("))) {
        KEEL_TRY(each(p, last));
        last = &(*last)->next;
    }
    *out = all;
    return KEEL_OK;
}

/* ---- statements ---- */

static keel_status target(parser *p, node **out) {
    if (skip(p, "(")) {
        KEEL_TRY(deeper(p));
        KEEL_TRY(tuple(p, target, out));
        p->depth--;
        return expect(p, ")");
    }
    KEEL_TRY(named(p, JINJA_NAME, NULL, out));
    node *of = *out;
    return skip(p, ".") ? named(p, JINJA_ATTRIBUTE, of, out) : KEEL_OK;
}

/* The statements up to one of the ends, which the parser stands on then, behind "{%". */
static keel_status body(parser *p, const char *const *ends, node **out) {
    KEEL_TRY(end_block(p));
    KEEL_TRY(deeper(p));
    KEEL_TRY(statements(p, ends, out));
    p->depth--;
    return KEEL_OK;
}

static keel_status closed_body(parser *p, const char *end, node **out) {
    KEEL_TRY(body(p, (const char *const[]){end, NULL}, out));
    return expect(p, end);
}

static keel_status parse_if(parser *p, node **out) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    KEEL_TRY(make(p, JINJA_IF, NULL, NULL, out));
    node *one = *out;
    for (;;) {
        KEEL_TRY(tuple(p, expression, &one->first));
        KEEL_TRY(body(p, ends, &one->body));
        if (!skip(p, "elif")) break;
        KEEL_TRY(make(p, JINJA_IF, NULL, NULL, &one->other));
        one = one->other;
    }
    return skip(p, "else") ? closed_body(p, "endif", &one->other) : expect(p, "endif");
}

static keel_status parse_for(parser *p, node **out) {
    static const char *const ends[] = {"else", "endfor", NULL};
    KEEL_TRY(make(p, JINJA_FOR, NULL, NULL, out));
    KEEL_TRY(tuple(p, target, &(*out)->second));
    KEEL_TRY(expect(p, "in"));
    KEEL_TRY(tuple(p, disjunction, &(*out)->first));
    if (skip(p, "if")) KEEL_TRY(expression(p, &(*out)->third));
    if (is(p, "recursive")) {
        p->on->line = p->at->line;
        return keel__jinja_fail(p->on, KEEL_E_UNSUPPORTED, "a recursive loop");
    }
    p->loops++;
    KEEL_TRY(body(p, ends, &(*out)->body));
    p->loops--;
    return skip(p, "else") ? closed_body(p, "endfor", &(*out)->other) : expect(p, "endfor");
}

static keel_status filters(parser *p, bool first, node **out) {
    *out = NULL;
    while ((first && !*out) || skip(p, "|")) {
        node *of = *out;
        KEEL_TRY(filter(p, of, out));
    }
    return KEEL_OK;
}

static keel_status parse_set(parser *p, node **out) {
    KEEL_TRY(make(p, JINJA_SET, NULL, NULL, out));
    KEEL_TRY(tuple(p, target, &(*out)->second));
    if (skip(p, "=")) return tuple(p, expression, &(*out)->first);
    (*out)->kind = JINJA_SET_BLOCK;
    KEEL_TRY(filters(p, false, &(*out)->first));
    return closed_body(p, "endset", &(*out)->body);
}

static keel_status parse_filter(parser *p, node **out) {
    KEEL_TRY(make(p, JINJA_FILTER_BLOCK, NULL, NULL, out));
    KEEL_TRY(filters(p, true, &(*out)->first));
    return closed_body(p, "endfilter", &(*out)->body);
}

static keel_status parse_macro(parser *p, node **out) {
    KEEL_TRY(named(p, JINJA_MACRO, NULL, out));
    KEEL_TRY(expect(p, "("));
    for (node **last = &(*out)->second; !is(p, ")"); last = &(*last)->next) {
        KEEL_TRY(named(p, JINJA_PARAMETER, NULL, last));
        if (skip(p, "=")) KEEL_TRY(expression(p, &(*last)->first));
        if (!is(p, ")")) KEEL_TRY(expect(p, ","));
    }
    KEEL_TRY(expect(p, ")"));
    const int loops = p->loops;
    p->loops = 0;
    KEEL_TRY(closed_body(p, "endmacro", &(*out)->body));
    p->loops = loops;
    return KEEL_OK;
}

static keel_status parse_generation(parser *p, node **out) {
    KEEL_TRY(make(p, JINJA_GENERATION, NULL, NULL, out));
    const int loops = p->loops;
    p->loops = 0;
    KEEL_TRY(closed_body(p, "endgeneration", &(*out)->body));
    p->loops = loops;
    return KEEL_OK;
}

static keel_status parse_leave(parser *p, keel__jinja_node_kind kind, node **out) {
    if (p->loops == 0) {
        p->at--;
        return unexpected(p, "it in a loop");
    }
    return make(p, kind, NULL, NULL, out);
}

static keel_status parse_break(parser *p, node **out) {
    return parse_leave(p, JINJA_BREAK, out);
}

static keel_status parse_continue(parser *p, node **out) {
    return parse_leave(p, JINJA_CONTINUE, out);
}

/* A statement: its word, and what parses the rest up to the last "%}". */
static const struct {
    const char *word;
    keel_status (*parse)(parser *p, node **out);
} rows[] = {{"if", parse_if},         {"for", parse_for},
            {"set", parse_set},       {"macro", parse_macro},
            {"break", parse_break},   {"continue", parse_continue},
            {"filter", parse_filter}, {"generation", parse_generation}};

static keel_status statement(parser *p, node **out) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (skip(p, rows[i].word)) {
            KEEL_TRY(rows[i].parse(p, out));
            return end_block(p);
        }
    return unexpected(p, "if, for, set, macro, filter, break, continue or generation");
}

static bool at_end(const parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (keel__jinja_token_is(p->at + 1, *ends)) return true;
    return false;
}

static keel_status statements(parser *p, const char *const *ends, node **out) {
    for (*out = NULL; p->at->kind != JINJA_T_END; out = &(*out)->next) {
        if (p->at->kind == JINJA_T_DATA) {
            KEEL_TRY(make(p, JINJA_DATA, NULL, NULL, out));
            (*out)->value = p->at++->value;
        } else if (p->at->kind == JINJA_T_PRINT_BEGIN) {
            p->at++;
            KEEL_TRY(make(p, JINJA_PRINT, NULL, NULL, out));
            KEEL_TRY(tuple(p, expression, &(*out)->first));
            if (p->at->kind != JINJA_T_PRINT_END) return unexpected(p, "\"}}\"");
            p->at++;
        } else {
            const bool end = at_end(p, ends);
            p->at++;
            if (end) return KEEL_OK;
            KEEL_TRY(statement(p, out));
        }
    }
    return ends ? unexpected(p, ends[0]) : KEEL_OK;
}

keel_status keel__jinja_parse(const node **out, const char *source, const char *name, keel_arena *arena,
                              keel_err *err) {
    keel__jinja_budget on = {arena, MOST_STEPS, name, 1, err};
    keel__jinja_token *tokens = NULL;
    node *all = NULL;
    KEEL_TRY(keel__jinja_lex(&on, source, &tokens));
    parser p = {.on = &on, .at = tokens};
    KEEL_TRY(statements(&p, NULL, &all));
    *out = all;
    return KEEL_OK;
}
