#include "policies/tokens/jinja_run.h"

#include <string.h>

typedef keel__jinja_node node;
typedef keel__jinja_value value;
typedef keel__jinja_run run;
typedef keel__jinja_loop loop;

enum { MOST_STEPS = 10 * 1000 * 1000 };

/* ---- names ---- */

static keel_status assign(run *r, const node *target, const value *v) {
    value items, of;
    r->on.line = target->line;
    if (target->kind == JINJA_NAME) return keel__jinja_dict_set(&r->on, &r->scope->names, target->value, *v);
    if (target->kind == JINJA_ATTRIBUTE) {
        KEEL_TRY(keel__jinja_evaluate(r, target->first, &of));
        if (of.kind != JINJA_NAMESPACE)
            return keel__jinja_fail(&r->on, KEEL_E_INVALID, "an attribute of what is no namespace is set");
        return keel__jinja_dict_set(&r->on, &of, target->value, *v);
    }
    KEEL_TRY(keel__jinja_items(&r->on, v, &items));
    size_t n = 0;
    for (const node *at = target->second; at; at = at->next) {
        if (n == items.list->n) return keel__jinja_fail(&r->on, KEEL_E_INVALID, "too few values to unpack");
        KEEL_TRY(assign(r, at, &items.list->item[n++]));
    }
    return n == items.list->n ? KEEL_OK
                              : keel__jinja_fail(&r->on, KEEL_E_INVALID, "too many values to unpack");
}

static keel_status set(run *r, const node *s) {
    value v, text;
    if (s->kind == JINJA_SET) {
        KEEL_TRY(keel__jinja_evaluate(r, s->first, &v));
        return assign(r, s->second, &v);
    }
    keel__jinja_scope *before = r->scope;
    KEEL_TRY(keel__jinja_open_scope(r));
    KEEL_TRY(keel__jinja_capture(r, s->body, &text));
    r->scope = before;
    KEEL_TRY(keel__jinja_filter_text(r, s->first, &text, &v));
    return assign(r, s->second, &v);
}

static keel_status macro(run *r, const node *s) {
    value v;
    KEEL_TRY(keel__jinja_make_callable(r, (keel__jinja_callable){.macro = s, .scope = r->scope}, &v));
    return keel__jinja_dict_set(&r->on, &r->scope->names, s->value, v);
}

/* ---- loops ---- */

/* A scope of one round, with its item. */
static keel_status open_round(run *r, const node *s, const value *item) {
    KEEL_TRY(keel__jinja_open_scope(r));
    return assign(r, s->second, item);
}

/* The items that the loop's condition lets through. */
static keel_status chosen(run *r, const node *s, value *items) {
    keel__jinja_scope *outer = r->scope;
    value all, keeps;
    KEEL_TRY(keel__jinja_evaluate(r, s->first, &all));
    r->on.line = s->line;
    KEEL_TRY(keel__jinja_items(&r->on, &all, items));
    if (!s->third) return KEEL_OK;
    all = *items;
    KEEL_TRY(keel__jinja_list_make(&r->on, JINJA_LIST, items));
    for (size_t i = 0; i < all.list->n; i++) {
        KEEL_TRY(open_round(r, s, &all.list->item[i]));
        KEEL_TRY(keel__jinja_evaluate(r, s->third, &keeps));
        if (keel__jinja_truth(&keeps)) KEEL_TRY(keel__jinja_list_add(&r->on, items, all.list->item[i]));
        r->scope = outer;
    }
    return KEEL_OK;
}

static keel_status loop_over(run *r, const node *s) {
    keel__jinja_scope *outer = r->scope;
    value items;
    loop *at;
    KEEL_TRY(chosen(r, s, &items));
    const size_t n = items.list->n;
    if (n == 0) return keel__jinja_execute(r, s->other);
    KEEL_TRY(keel__jinja_alloc(&r->on, sizeof *at, &at));
    *at = (loop){items, 0, ++r->loops};
    for (; at->at < n && r->leaving != JINJA_BREAKING; at->at++) {
        KEEL_TRY(open_round(r, s, &items.list->item[at->at]));
        KEEL_TRY(keel__jinja_dict_set(&r->on, &r->scope->names, keel__jinja_text("loop"),
                                      (value){.kind = JINJA_LOOP, .loop = at}));
        KEEL_TRY(keel__jinja_execute(r, s->body));
        r->scope = outer;
        if (r->leaving == JINJA_CONTINUING) r->leaving = JINJA_GOING;
    }
    r->loops--;
    r->leaving = JINJA_GOING;
    return KEEL_OK;
}

/* ---- text ---- */

static keel_status put(run *r, const value *v) {
    KEEL_TRY(keel__jinja_print(&r->on, v, r->out));
    return r->out->length <= JINJA_MOST_OUTPUT
               ? KEEL_OK
               : keel__jinja_fail(&r->on, KEEL_E_INVALID, "the template writes more than %d MB",
                                  JINJA_MOST_OUTPUT >> 20);
}

static keel_status print(run *r, const node *s) {
    value v;
    KEEL_TRY(keel__jinja_evaluate(r, s->first, &v));
    r->on.line = s->line;
    return put(r, &v);
}

static keel_status filter_block(run *r, const node *s) {
    keel__jinja_scope *before = r->scope;
    value text, v;
    KEEL_TRY(keel__jinja_open_scope(r));
    KEEL_TRY(keel__jinja_capture(r, s->body, &text));
    r->scope = before;
    KEEL_TRY(keel__jinja_filter_text(r, s->first, &text, &v));
    return put(r, &v);
}

static keel_status generation(run *r, const node *s) {
    keel__jinja_output *out = r->output;
    keel__jinja_scope *before = r->scope;
    const size_t from = r->out->length;
    KEEL_TRY(keel__jinja_open_scope(r));
    KEEL_TRY(keel__jinja_execute(r, s->body));
    r->scope = before;
    out->hidden |= r->kept > 0;
    if (!keel_arena_grow(r->on.arena, &out->mark, out->n, &out->room, sizeof *out->mark))
        return keel_nomem(r->on.err, r->on.name);
    out->mark[out->n++] = (keel__jinja_mark){from, r->out->length};
    return KEEL_OK;
}

/* ---- statements ---- */

static keel_status choose(run *r, const node *s) {
    value v;
    KEEL_TRY(keel__jinja_evaluate(r, s->first, &v));
    return keel__jinja_execute(r, keel__jinja_truth(&v) ? s->body : s->other);
}

static keel_status execute_one(run *r, const node *s) {
    switch (s->kind) {
    case JINJA_DATA:
        return put(r, &s->value);
    case JINJA_PRINT:
        return print(r, s);
    case JINJA_IF:
        return choose(r, s);
    case JINJA_FOR:
        return loop_over(r, s);
    case JINJA_SET:
    case JINJA_SET_BLOCK:
        return set(r, s);
    case JINJA_FILTER_BLOCK:
        return filter_block(r, s);
    case JINJA_MACRO:
        return macro(r, s);
    case JINJA_GENERATION:
        return generation(r, s);
    default:
        r->leaving = s->kind == JINJA_BREAK ? JINJA_BREAKING : JINJA_CONTINUING;
        return KEEL_OK;
    }
}

keel_status keel__jinja_execute(run *r, const node *s) {
    for (; s && r->leaving == JINJA_GOING; s = s->next) {
        KEEL_TRY(keel__jinja_deeper(r, s));
        KEEL_TRY(execute_one(r, s));
        r->depth--;
    }
    return KEEL_OK;
}

keel_status keel__jinja_render(const node *template, const char *name, const value *variables, int64_t now,
                               keel_arena *arena, keel__jinja_output *out, keel_err *err) {
    *out = (keel__jinja_output){0};
    run r = {.on = {arena, MOST_STEPS, name, 1, err},
             .out = &out->text,
             .output = out,
             .now = keel__jinja_int(now)};
    KEEL_TRY(keel__jinja_open_scope(&r));
    if (variables) r.scope->names = *variables;
    KEEL_TRY(keel__jinja_open_scope(&r));
    KEEL_TRY(keel__jinja_execute(&r, template));
    if (out->text.failed) return keel_nomem(err, name);
    return keel__jinja_spend(&r.on, 1); /* none may be left after a comparison */
}
