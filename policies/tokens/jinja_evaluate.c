#include <math.h>
#include <string.h>

#include "policies/tokens/character.h"
#include "policies/tokens/jinja_run.h"

typedef keel__jinja_node node;
typedef keel__jinja_value value;
typedef keel__jinja_run run;
typedef keel__jinja_scope scope;
typedef keel__jinja_loop loop;

enum { DEEPEST = 500 };

keel_status keel__jinja_deeper(run *r, const node *at) {
    r->on.line = at->line;
    KEEL_TRY(keel__jinja_spend(&r->on, 1));
    return r->depth++ < DEEPEST ? KEEL_OK
                                : keel__jinja_fail(&r->on, KEEL_E_INVALID, "nested deeper than %d", DEEPEST);
}

static keel_status undefined(run *r, const value *v) {
    return keel__jinja_fail(&r->on, KEEL_E_INVALID, "%s is undefined",
                            v->text && v->length < 200 ? v->text : "a value");
}

/* What is not there, by its name for a later error. */
static keel_status make_undefined(run *r, const value *name, value *out) {
    keel_buf text = {0};
    if (name->kind == JINJA_STRING)
        keel_buf_format(&text, "'%.*s'", (int)(name->length < 100 ? name->length : 100), name->text);
    else
        keel_buf_text(&text, "an item");
    KEEL_TRY(keel__jinja_take(&r->on, &text, out));
    out->kind = JINJA_UNDEFINED;
    return KEEL_OK;
}

/* ---- names ---- */

keel_status keel__jinja_open_scope(run *r) {
    scope *made;
    KEEL_TRY(keel__jinja_alloc(&r->on, sizeof *made, &made));
    made->outer = r->scope;
    KEEL_TRY(keel__jinja_dict_make(&r->on, JINJA_DICT, &made->names));
    r->scope = made;
    return KEEL_OK;
}

keel_status keel__jinja_make_callable(run *r, keel__jinja_callable callable, value *out) {
    keel__jinja_callable *made;
    KEEL_TRY(keel__jinja_alloc(&r->on, sizeof *made, &made));
    *made = callable;
    *out = (value){.kind = JINJA_CALLABLE, .callable = made};
    return KEEL_OK;
}

static keel_status look_up(run *r, const value *name, value *out) {
    for (const scope *at = r->scope; at; at = at->outer) {
        const value *there = keel__jinja_dict_get(&at->names, name);
        if (there) return *out = *there, KEEL_OK;
    }
    const keel__jinja_row *row = keel__jinja_global(name);
    if (row) return keel__jinja_make_callable(r, (keel__jinja_callable){.row = row, .self = r->now}, out);
    return make_undefined(r, name, out);
}

/* ---- attributes and items ---- */

static keel_status loop_attribute(run *r, const loop *at, const value *name, value *out) {
    const int64_t n = (int64_t)at->items.list->n, i = (int64_t)at->at;
    const struct {
        const char *name;
        value v;
    } rows[] = {{"index", keel__jinja_int(i + 1)},
                {"index0", keel__jinja_int(i)},
                {"revindex", keel__jinja_int(n - i)},
                {"revindex0", keel__jinja_int(n - i - 1)},
                {"first", keel__jinja_bool(i == 0)},
                {"last", keel__jinja_bool(i + 1 == n)},
                {"length", keel__jinja_int(n)},
                {"depth", keel__jinja_int(at->depth)},
                {"depth0", keel__jinja_int(at->depth - 1)}};
    const value previous = keel__jinja_text("previtem"), next = keel__jinja_text("nextitem");
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (name->length == strlen(rows[k].name) && memcmp(name->text, rows[k].name, name->length) == 0)
            return *out = rows[k].v, KEEL_OK;
    if (keel__jinja_equal(&r->on, name, &previous) && i > 0)
        return *out = at->items.list->item[i - 1], KEEL_OK;
    if (keel__jinja_equal(&r->on, name, &next) && i + 1 < n)
        return *out = at->items.list->item[i + 1], KEEL_OK;
    return make_undefined(r, name, out);
}

static keel_status dict_member(run *r, const value *of, const value *name, value *out) {
    KEEL_TRY(keel__jinja_spend(&r->on, of->dict->n / 8));
    const value *there = keel__jinja_dict_get(of, name);
    if (!there) return make_undefined(r, name, out);
    *out = *there;
    return KEEL_OK;
}

/* Methods come before keys of the same name, as in Python. */
static keel_status attribute(run *r, const value *of, const value *name, value *out) {
    const keel__jinja_row *row = keel__jinja_method(of, name);
    if (of->kind == JINJA_UNDEFINED) return undefined(r, of);
    if (row) return keel__jinja_make_callable(r, (keel__jinja_callable){.row = row, .self = *of}, out);
    if (of->kind == JINJA_LOOP) return loop_attribute(r, of->loop, name, out);
    if (of->kind == JINJA_DICT || of->kind == JINJA_NAMESPACE) return dict_member(r, of, name, out);
    return make_undefined(r, name, out);
}

/* Byte where the i-th code point begins; of a text of ASCII alone, i itself. */
static size_t offset_of(const value *text, size_t characters, size_t i) {
    size_t at = 0, used;
    if (characters == text->length) return i;
    for (; i > 0; i--, at += used) keel__character_at(text->text, text->length, at, &used);
    return at;
}

static bool is_sequence(const value *v) {
    return v->kind == JINJA_LIST || v->kind == JINJA_TUPLE;
}

static keel_status item(run *r, const value *of, const value *key, value *out) {
    const bool text = of->kind == JINJA_STRING;
    if (of->kind == JINJA_UNDEFINED) return undefined(r, of);
    if ((is_sequence(of) || text) && (key->kind == JINJA_INT || key->kind == JINJA_BOOL)) {
        const int64_t n = (int64_t)(text ? keel__jinja_characters(of) : of->list->n),
                      given = key->kind == JINJA_INT ? key->whole : key->truth,
                      i = given < 0 ? given + n : given;
        if (i < 0 || i >= n) return make_undefined(r, key, out);
        if (!text) return *out = of->list->item[i], KEEL_OK;
        KEEL_TRY(keel__jinja_spend(&r->on, of->length / 16));
        const size_t from = offset_of(of, (size_t)n, (size_t)i);
        size_t used;
        keel__character_at(of->text, of->length, from, &used);
        *out = keel__jinja_string(of->text + from, used);
        return KEEL_OK;
    }
    if ((of->kind == JINJA_DICT || of->kind == JINJA_NAMESPACE) && keel__jinja_dict_get(of, key))
        return dict_member(r, of, key, out);
    return key->kind == JINJA_STRING ? attribute(r, of, key, out) : make_undefined(r, key, out);
}

/* As Python's slices: from, to and step of n items. */
static void bounds(int64_t n, int64_t step, bool has_from, int64_t *from, bool has_to, int64_t *to) {
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    if (!has_from) *from = step > 0 ? low : high;
    if (!has_to) *to = step > 0 ? high : low;
    int64_t *const both[] = {from, to};
    const bool has[] = {has_from, has_to};
    for (int i = 0; i < 2; i++) {
        if (!has[i]) continue;
        if (*both[i] < 0) *both[i] = *both[i] < -n ? low : *both[i] + n;
        if (*both[i] < low) *both[i] = low;
        if (*both[i] > high) *both[i] = high;
    }
}

static keel_status slice(run *r, const node *e, const value *of, value *out) {
    const node *const part[] = {e->second, e->third, e->body};
    int64_t given[3] = {0, 0, 1};
    value list, v;
    if (of->kind == JINJA_UNDEFINED) return undefined(r, of);
    if (!is_sequence(of) && of->kind != JINJA_STRING)
        return keel__jinja_fail(&r->on, KEEL_E_INVALID, "a slice of a %s", keel__jinja_type(of));
    for (int i = 0; i < 3; i++) {
        if (!part[i]) continue;
        KEEL_TRY(keel__jinja_evaluate(r, part[i], &v));
        KEEL_TRY(keel__jinja_int_argument(&r->on, &v, given[i], &given[i]));
    }
    if (given[2] == 0) return keel__jinja_fail(&r->on, KEEL_E_INVALID, "a slice with a step of 0");
    KEEL_TRY(keel__jinja_items(&r->on, of, &list));
    const int64_t n = (int64_t)list.list->n, step = given[2] > n ? n + 1 : given[2] < -n ? -n - 1 : given[2];
    bounds(n, step, part[0] != NULL, &given[0], part[1] != NULL, &given[1]);
    KEEL_TRY(keel__jinja_list_make(&r->on, of->kind == JINJA_TUPLE ? JINJA_TUPLE : JINJA_LIST, out));
    for (int64_t i = given[0]; step > 0 ? i < given[1] : i > given[1]; i += step)
        KEEL_TRY(keel__jinja_list_add(&r->on, out, list.list->item[i]));
    if (of->kind != JINJA_STRING) return KEEL_OK;
    keel_buf text = {0};
    for (size_t i = 0; i < out->list->n; i++)
        keel_buf_append(&text, out->list->item[i].text, out->list->item[i].length);
    return keel__jinja_take(&r->on, &text, out);
}

/* ---- operators ---- */

static keel_status no_operator(run *r, const value *a, const value *b) {
    if (a->kind == JINJA_UNDEFINED) return undefined(r, a);
    if (b->kind == JINJA_UNDEFINED) return undefined(r, b);
    return keel__jinja_fail(&r->on, KEEL_E_INVALID, "an operator that does not take %s and %s",
                            keel__jinja_type(a), keel__jinja_type(b));
}

static int64_t whole(const value *v) {
    return v->kind == JINJA_INT ? v->whole : v->truth;
}

static keel_status whole_arithmetic(run *r, keel__jinja_operator op, int64_t a, int64_t b, value *out) {
    int64_t result = 0;
    bool over = false;
    if ((op == JINJA_FLOOR_DIVIDE || op == JINJA_MODULO) && (b == 0 || b == -1)) {
        if (b == 0) return keel__jinja_fail(&r->on, KEEL_E_INVALID, "a division by 0");
        over = op == JINJA_FLOOR_DIVIDE && __builtin_sub_overflow((int64_t)0, a, &result);
    } else if (op == JINJA_FLOOR_DIVIDE)
        result = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
    else if (op == JINJA_MODULO)
        result = a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
    else
        over = op == JINJA_ADD        ? __builtin_add_overflow(a, b, &result)
               : op == JINJA_SUBTRACT ? __builtin_sub_overflow(a, b, &result)
                                      : __builtin_mul_overflow(a, b, &result);
    if (over) return keel__jinja_fail(&r->on, KEEL_E_UNSUPPORTED, "a whole number of more than 64 bits");
    *out = keel__jinja_int(result);
    return KEEL_OK;
}

static keel_status arithmetic(run *r, keel__jinja_operator op, const value *a, const value *b, value *out) {
    const bool real = a->kind == JINJA_FLOAT || b->kind == JINJA_FLOAT;
    const double x = keel__jinja_real(a), y = keel__jinja_real(b);
    if (!real && op != JINJA_DIVIDE && op != JINJA_POWER)
        return whole_arithmetic(r, op, whole(a), whole(b), out);
    if (y == 0 && (op == JINJA_DIVIDE || op == JINJA_FLOOR_DIVIDE || op == JINJA_MODULO))
        return keel__jinja_fail(&r->on, KEEL_E_INVALID, "a division by 0");
    const double result = op == JINJA_ADD            ? x + y
                          : op == JINJA_SUBTRACT     ? x - y
                          : op == JINJA_MULTIPLY     ? x * y
                          : op == JINJA_DIVIDE       ? x / y
                          : op == JINJA_FLOOR_DIVIDE ? floor(x / y)
                          : op == JINJA_MODULO       ? x - y * floor(x / y)
                                                     : pow(x, y);
    if (!real && op == JINJA_POWER && y >= 0) {
        if (fabs(result) >= 9007199254740992.0)
            return keel__jinja_fail(&r->on, KEEL_E_UNSUPPORTED, "a power of 2^53 and more");
        return *out = keel__jinja_int((int64_t)result), KEEL_OK;
    }
    *out = (value){.kind = JINJA_FLOAT, .real = result};
    return KEEL_OK;
}

static keel_status repeat(run *r, const value *v, int64_t times, value *out) {
    keel_buf text = {0};
    const size_t n = v->kind == JINJA_STRING ? v->length : v->list->n;
    if (times < 0 || n == 0) times = 0;
    if (times > 0 && n > (size_t)(JINJA_MOST_OUTPUT / times))
        return keel__jinja_fail(&r->on, KEEL_E_INVALID, "a value repeated %lld times", (long long)times);
    KEEL_TRY(keel__jinja_spend(&r->on, (size_t)times));
    if (v->kind == JINJA_STRING) {
        for (; times > 0; times--) keel_buf_append(&text, v->text, v->length);
        return keel__jinja_take(&r->on, &text, out);
    }
    KEEL_TRY(keel__jinja_list_make(&r->on, v->kind, out));
    for (; times > 0; times--)
        for (size_t i = 0; i < n; i++) KEEL_TRY(keel__jinja_list_add(&r->on, out, v->list->item[i]));
    return KEEL_OK;
}

static keel_status append(run *r, const value *a, const value *b, value *out) {
    if (a->kind == JINJA_STRING) {
        char *text;
        KEEL_TRY(keel__jinja_alloc(&r->on, a->length + b->length + 1, &text));
        memcpy(text, a->text, a->length);
        memcpy(text + a->length, b->text, b->length);
        text[a->length + b->length] = '\0';
        *out = keel__jinja_string(text, a->length + b->length);
        return KEEL_OK;
    }
    KEEL_TRY(keel__jinja_list_make(&r->on, a->kind, out));
    for (size_t i = 0; i < a->list->n; i++) KEEL_TRY(keel__jinja_list_add(&r->on, out, a->list->item[i]));
    for (size_t i = 0; i < b->list->n; i++) KEEL_TRY(keel__jinja_list_add(&r->on, out, b->list->item[i]));
    return KEEL_OK;
}

static keel_status concatenate(run *r, const value *a, const value *b, value *out) {
    keel_buf text = {0};
    keel_status status = keel__jinja_print(&r->on, a, &text);
    if (status == KEEL_OK) status = keel__jinja_print(&r->on, b, &text);
    if (status == KEEL_OK) return keel__jinja_take(&r->on, &text, out);
    keel_buf_free(&text);
    return status;
}

static keel_status binary(run *r, const node *e, value *out) {
    value a, b;
    KEEL_TRY(keel__jinja_evaluate(r, e->first, &a));
    KEEL_TRY(keel__jinja_evaluate(r, e->second, &b));
    r->on.line = e->line;
    if (e->op == JINJA_CONCATENATE) return concatenate(r, &a, &b, out);
    if (keel__jinja_is_number(&a) && keel__jinja_is_number(&b)) return arithmetic(r, e->op, &a, &b, out);
    const bool text = a.kind == JINJA_STRING || is_sequence(&a);
    if (e->op == JINJA_ADD && text && a.kind == b.kind) return append(r, &a, &b, out);
    if (e->op == JINJA_MULTIPLY && text && (b.kind == JINJA_INT || b.kind == JINJA_BOOL))
        return repeat(r, &a, whole(&b), out);
    return no_operator(r, &a, &b);
}

static keel_status holds(run *r, keel__jinja_operator op, const value *a, const value *b, bool *out) {
    int order = 0;
    if (op == JINJA_EQUAL || op == JINJA_NOT_EQUAL) {
        *out = keel__jinja_equal(&r->on, a, b) == (op == JINJA_EQUAL);
        return KEEL_OK;
    }
    if (op == JINJA_IN || op == JINJA_NOT_IN) {
        KEEL_TRY(keel__jinja_contains(&r->on, b, a, out));
        *out = *out == (op == JINJA_IN);
        return KEEL_OK;
    }
    if (a->kind == JINJA_UNDEFINED || b->kind == JINJA_UNDEFINED) return no_operator(r, a, b);
    KEEL_TRY(keel__jinja_compare(&r->on, a, b, &order));
    *out = op == JINJA_LESS         ? order < 0
           : op == JINJA_LESS_EQUAL ? order <= 0
           : op == JINJA_GREATER    ? order > 0
                                    : order >= 0;
    return KEEL_OK;
}

static keel_status compare(run *r, const node *e, value *out) {
    value left, right;
    bool all = true;
    KEEL_TRY(keel__jinja_evaluate(r, e->first, &left));
    for (const node *at = e->second; at && all; at = at->next) {
        KEEL_TRY(keel__jinja_evaluate(r, at->first, &right));
        r->on.line = at->line;
        KEEL_TRY(holds(r, at->op, &left, &right, &all));
        left = right;
    }
    *out = keel__jinja_bool(all);
    return KEEL_OK;
}

static keel_status negate(run *r, const node *e, value *out) {
    const value zero = keel__jinja_int(0);
    value v;
    KEEL_TRY(keel__jinja_evaluate(r, e->first, &v));
    if (!keel__jinja_is_number(&v)) return no_operator(r, &v, &v);
    return arithmetic(r, e->op, &zero, &v, out);
}

/* ---- calls ---- */

static keel_status arguments(run *r, const node *list, keel__jinja_arguments *out) {
    value items, one;
    *out = (keel__jinja_arguments){0};
    KEEL_TRY(keel__jinja_list_make(&r->on, JINJA_LIST, &items));
    for (; list; list = list->next) {
        KEEL_TRY(keel__jinja_evaluate(r, list->kind == JINJA_KEYWORD ? list->first : list, &one));
        if (list->kind == JINJA_KEYWORD && !out->keyword.dict)
            KEEL_TRY(keel__jinja_dict_make(&r->on, JINJA_DICT, &out->keyword));
        KEEL_TRY(list->kind == JINJA_KEYWORD ? keel__jinja_dict_set(&r->on, &out->keyword, list->value, one)
                                             : keel__jinja_list_add(&r->on, &items, one));
    }
    out->item = items.list->item;
    out->n = items.list->n;
    return KEEL_OK;
}

keel_status keel__jinja_capture(run *r, const node *body, value *out) {
    keel_buf text = {0}, *before = r->out;
    r->out = &text;
    r->kept++;
    keel_status status = keel__jinja_execute(r, body);
    r->kept--;
    r->out = before;
    if (status == KEEL_OK) return keel__jinja_take(&r->on, &text, out);
    keel_buf_free(&text);
    return status;
}

static keel_status bind(run *r, const node *macro, const keel__jinja_arguments *given) {
    size_t n = 0, named = 0;
    for (const node *at = macro->second; at; at = at->next, n++) {
        const value *by_name = given->keyword.dict ? keel__jinja_dict_get(&given->keyword, &at->value) : NULL;
        value v = {.kind = JINJA_UNDEFINED};
        named += by_name != NULL;
        if (n < given->n)
            v = given->item[n];
        else if (by_name)
            v = *by_name;
        else if (at->first)
            KEEL_TRY(keel__jinja_evaluate(r, at->first, &v));
        else
            KEEL_TRY(make_undefined(r, &at->value, &v));
        KEEL_TRY(keel__jinja_dict_set(&r->on, &r->scope->names, at->value, v));
    }
    if (given->n > n || (given->keyword.dict && given->keyword.dict->n > named))
        return keel__jinja_fail(&r->on, KEEL_E_INVALID, "macro %.*s: too many arguments",
                                (int)macro->value.length, macro->value.text);
    return KEEL_OK;
}

static keel_status call_macro(run *r, const keel__jinja_callable *macro, const keel__jinja_arguments *given,
                              value *out) {
    scope *before = r->scope;
    r->scope = macro->scope;
    keel_status status = keel__jinja_open_scope(r);
    if (status == KEEL_OK) status = bind(r, macro->macro, given);
    if (status == KEEL_OK) status = keel__jinja_capture(r, macro->macro->body, out);
    r->scope = before;
    return status;
}

static keel_status call(run *r, const node *e, value *out) {
    keel__jinja_arguments given;
    value callee;
    KEEL_TRY(keel__jinja_evaluate(r, e->first, &callee));
    if (callee.kind == JINJA_UNDEFINED) return undefined(r, &callee);
    if (callee.kind != JINJA_CALLABLE)
        return keel__jinja_fail(&r->on, KEEL_E_INVALID, "a call of a %s", keel__jinja_type(&callee));
    KEEL_TRY(arguments(r, e->second, &given));
    r->on.line = e->line;
    if (!callee.callable->row) return call_macro(r, callee.callable, &given, out);
    return keel__jinja_apply(&r->on, callee.callable->row, &callee.callable->self, &given, out);
}

static keel_status filter_or_test(run *r, const node *e, const value *of, value *out) {
    const bool filter = e->kind == JINJA_FILTER;
    const keel__jinja_row *row = filter ? keel__jinja_filter(&e->value) : keel__jinja_test(&e->value);
    keel__jinja_arguments given;
    if (!row)
        return keel__jinja_fail(&r->on, KEEL_E_UNSUPPORTED, "no %s is named \"%.*s\"",
                                filter ? "filter" : "test", (int)e->value.length, e->value.text);
    KEEL_TRY(arguments(r, e->second, &given));
    r->on.line = e->line;
    return keel__jinja_apply(&r->on, row, of, &given, out);
}

keel_status keel__jinja_filter_text(run *r, const node *filters, const value *text, value *out) {
    value v = *text;
    if (!filters) return *out = v, KEEL_OK;
    KEEL_TRY(keel__jinja_deeper(r, filters));
    KEEL_TRY(keel__jinja_filter_text(r, filters->first, text, &v));
    r->depth--;
    return filter_or_test(r, filters, &v, out);
}

/* ---- expressions ---- */

static keel_status make_list(run *r, const node *e, value *out) {
    value v;
    KEEL_TRY(keel__jinja_list_make(&r->on, e->kind == JINJA_MAKE_LIST ? JINJA_LIST : JINJA_TUPLE, out));
    for (const node *at = e->second; at; at = at->next) {
        KEEL_TRY(keel__jinja_evaluate(r, at, &v));
        KEEL_TRY(keel__jinja_list_add(&r->on, out, v));
    }
    return KEEL_OK;
}

static keel_status make_dict(run *r, const node *e, value *out) {
    value key, v;
    KEEL_TRY(keel__jinja_dict_make(&r->on, JINJA_DICT, out));
    for (const node *at = e->second; at; at = at->next->next) {
        KEEL_TRY(keel__jinja_evaluate(r, at, &key));
        KEEL_TRY(keel__jinja_evaluate(r, at->next, &v));
        KEEL_TRY(keel__jinja_dict_set(&r->on, out, key, v));
    }
    return KEEL_OK;
}

/* The first value is the result unless its truth says that the second is. */
static keel_status either(run *r, const node *e, value *out) {
    KEEL_TRY(keel__jinja_evaluate(r, e->first, out));
    return keel__jinja_truth(out) == (e->kind == JINJA_AND) ? keel__jinja_evaluate(r, e->second, out)
                                                            : KEEL_OK;
}

static keel_status condition(run *r, const node *e, value *out) {
    value v;
    KEEL_TRY(keel__jinja_evaluate(r, e->first, &v));
    if (keel__jinja_truth(&v)) return keel__jinja_evaluate(r, e->second, out);
    if (e->third) return keel__jinja_evaluate(r, e->third, out);
    *out = (value){.kind = JINJA_UNDEFINED};
    return KEEL_OK;
}

/* What looks at the value of its first part. */
static keel_status of_first(run *r, const node *e, value *out) {
    value of, key;
    KEEL_TRY(keel__jinja_evaluate(r, e->first, &of));
    r->on.line = e->line;
    switch (e->kind) {
    case JINJA_ATTRIBUTE:
        return attribute(r, &of, &e->value, out);
    case JINJA_SLICE:
        return slice(r, e, &of, out);
    case JINJA_NOT:
        *out = keel__jinja_bool(!keel__jinja_truth(&of));
        return KEEL_OK;
    case JINJA_ITEM:
        KEEL_TRY(keel__jinja_evaluate(r, e->second, &key));
        r->on.line = e->line;
        return item(r, &of, &key, out);
    default:
        return filter_or_test(r, e, &of, out);
    }
}

static keel_status evaluate_one(run *r, const node *e, value *out) {
    switch (e->kind) {
    case JINJA_CONSTANT:
        *out = e->value;
        return KEEL_OK;
    case JINJA_NAME:
        return look_up(r, &e->value, out);
    case JINJA_MAKE_LIST:
    case JINJA_MAKE_TUPLE:
        return make_list(r, e, out);
    case JINJA_MAKE_DICT:
        return make_dict(r, e, out);
    case JINJA_CALL:
        return call(r, e, out);
    case JINJA_UNARY:
        return negate(r, e, out);
    case JINJA_BINARY:
        return binary(r, e, out);
    case JINJA_COMPARE:
        return compare(r, e, out);
    case JINJA_AND:
    case JINJA_OR:
        return either(r, e, out);
    case JINJA_CONDITION:
        return condition(r, e, out);
    default:
        return of_first(r, e, out);
    }
}

keel_status keel__jinja_evaluate(run *r, const node *e, value *out) {
    KEEL_TRY(keel__jinja_deeper(r, e));
    KEEL_TRY(evaluate_one(r, e, out));
    r->depth--;
    return KEEL_OK;
}
