/* Internal header of the chat templates: the subset of Jinja (jinja2 3.1, in the sandbox and with the
 * settings of transformers: trim_blocks, lstrip_blocks, loop controls, {% generation %}) that the templates
 * of models use. What is not in it is refused by name with the line. Rendering is bounded: steps, depth,
 * memory, output. */
#ifndef KEEL_POLICIES_TOKENS_JINJA_H
#define KEEL_POLICIES_TOKENS_JINJA_H

#include "policies/tokens/jinja_value.h"

typedef struct keel__jinja_node keel__jinja_node;

/* The template's statements, in the arena. source must stay. */
keel_status keel__jinja_parse(const keel__jinja_node **out, const char *source, const char *name,
                              keel_arena *arena, keel_err *err);

/* What {% generation %} encloses in the output, in bytes. */
typedef struct keel__jinja_mark {
    size_t from, to;
} keel__jinja_mark;

typedef struct keel__jinja_output {
    keel_buf text;
    keel__jinja_mark *mark; /* [n], in the arena */
    size_t n, room;
    bool hidden; /* a {% generation %} in a macro or a block that is kept: its place is not known */
} keel__jinja_output;

/* variables: a dictionary of names. now: for strftime_now. out->text is of keel_alloc, also after a failure.
 * KEEL_E_INVALID: what the template itself refuses, or a value that it cannot work with. */
keel_status keel__jinja_render(const keel__jinja_node *template, const char *name,
                               const keel__jinja_value *variables, int64_t now, keel_arena *arena,
                               keel__jinja_output *out, keel_err *err);

#endif
