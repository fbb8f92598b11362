/* Internal header of the chat templates: where a rendering stands. */
#ifndef KEEL_POLICIES_TOKENS_JINJA_RUN_H
#define KEEL_POLICIES_TOKENS_JINJA_RUN_H

#include "policies/tokens/jinja_ast.h"
#include "policies/tokens/jinja_call.h"

enum { JINJA_MOST_OUTPUT = 64 << 20 };

/* Names and what they stand for; looked for outwards. */
typedef struct keel__jinja_scope {
    struct keel__jinja_scope *outer;
    keel__jinja_value names; /* a dictionary */
} keel__jinja_scope;

typedef struct keel__jinja_loop {
    keel__jinja_value items; /* a list */
    size_t at;
    int depth;
} keel__jinja_loop;

typedef struct keel__jinja_run {
    keel__jinja_budget on;
    keel__jinja_scope *scope;
    keel_buf *out;
    keel__jinja_output *output;
    int depth, loops, kept; /* kept: in how many blocks whose text is not the output's yet */
    keel__jinja_value now;
    enum { JINJA_GOING, JINJA_BREAKING, JINJA_CONTINUING } leaving;
} keel__jinja_run;

/* One step, and one level deeper, which the caller leaves with r->depth--. */
keel_status keel__jinja_deeper(keel__jinja_run *r, const keel__jinja_node *at);
keel_status keel__jinja_open_scope(keel__jinja_run *r);
keel_status keel__jinja_make_callable(keel__jinja_run *r, keel__jinja_callable callable,
                                      keel__jinja_value *out);

keel_status keel__jinja_evaluate(keel__jinja_run *r, const keel__jinja_node *e, keel__jinja_value *out);
/* Runs the statements, linked by next. */
keel_status keel__jinja_execute(keel__jinja_run *r, const keel__jinja_node *s);
/* Runs statements whose text is a value. */
keel_status keel__jinja_capture(keel__jinja_run *r, const keel__jinja_node *body, keel__jinja_value *out);
/* The filters of a block, the first of which is given its text; NULL: the text itself. */
keel_status keel__jinja_filter_text(keel__jinja_run *r, const keel__jinja_node *filters,
                                    const keel__jinja_value *text, keel__jinja_value *out);

#endif
