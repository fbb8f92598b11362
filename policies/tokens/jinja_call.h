/* Internal header of the chat templates: what a template can call, in four tables: filters, tests, methods,
 * functions. A new one is a row. */
#ifndef KEEL_POLICIES_TOKENS_JINJA_CALL_H
#define KEEL_POLICIES_TOKENS_JINJA_CALL_H

#include "policies/tokens/jinja_value.h"

typedef struct keel__jinja_arguments {
    keel__jinja_value *item; /* [n] those without a name */
    size_t n;
    keel__jinja_value keyword; /* a dictionary of those with one */
} keel__jinja_arguments;

enum { JINJA_PARAMETERS = 5 };

/* arg: by the row's parameters, NULL where it is not given. */
typedef keel_status keel__jinja_function(keel__jinja_budget *on, const keel__jinja_value *self,
                                         const keel__jinja_value *const *arg,
                                         const keel__jinja_arguments *all, keel__jinja_value *out);

typedef struct keel__jinja_row {
    const char *name;
    const char *parameters; /* "old new count"; "*": any, the function looks at `all` itself */
    size_t least;           /* how many must be given */
    keel__jinja_function *run;
} keel__jinja_row;

/* What stands behind a JINJA_CALLABLE. */
typedef struct keel__jinja_callable {
    const keel__jinja_row *row; /* NULL: a macro */
    keel__jinja_value self;     /* of a method */
    const struct keel__jinja_node *macro;
    struct keel__jinja_scope *scope; /* in which the macro was made */
} keel__jinja_callable;

/* NULL: no such thing. */
const keel__jinja_row *keel__jinja_filter(const keel__jinja_value *name);
const keel__jinja_row *keel__jinja_test(const keel__jinja_value *name);
const keel__jinja_row *keel__jinja_global(const keel__jinja_value *name);
const keel__jinja_row *keel__jinja_method(const keel__jinja_value *self, const keel__jinja_value *name);
const keel__jinja_row *keel__jinja_find(const keel__jinja_row *rows, size_t n, const keel__jinja_value *name);

/* Binds the arguments to the row's parameters and runs it. */
keel_status keel__jinja_apply(keel__jinja_budget *on, const keel__jinja_row *row,
                              const keel__jinja_value *self, const keel__jinja_arguments *all,
                              keel__jinja_value *out);
/* The attribute of a value by name, dots between: of map and selectattr. */
keel_status keel__jinja_dig(keel__jinja_budget *on, const keel__jinja_value *v, const keel__jinja_value *path,
                            keel__jinja_value *out);
/* The argument, which must be a string or a whole number; fallback where it is not given or none. */
keel_status keel__jinja_string_argument(keel__jinja_budget *on, const keel__jinja_value *arg,
                                        const char *fallback, keel__jinja_value *out);
keel_status keel__jinja_int_argument(keel__jinja_budget *on, const keel__jinja_value *arg, int64_t fallback,
                                     int64_t *out);

/* Where a string is in another from byte `from` on; its length if it is not. */
keel_status keel__jinja_seek(keel__jinja_budget *on, const keel__jinja_value *in, size_t from,
                             const keel__jinja_value *what, size_t *at);
/* `what in v` */
keel_status keel__jinja_contains(keel__jinja_budget *on, const keel__jinja_value *v,
                                 const keel__jinja_value *what, bool *out);

/* Shared by filters and methods. */
keel__jinja_function keel__jinja_upper, keel__jinja_lower, keel__jinja_title, keel__jinja_capitalize,
    keel__jinja_strip, keel__jinja_replace, keel__jinja_dict_items;

#endif
