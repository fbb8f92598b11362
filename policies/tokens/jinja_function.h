/* How what a template can call is written: FUNCTION(name) { ... } for a row of jinja_call.h's tables. */
#ifndef KEEL_POLICIES_TOKENS_JINJA_FUNCTION_H
#define KEEL_POLICIES_TOKENS_JINJA_FUNCTION_H

#include "policies/tokens/jinja_call.h"

typedef keel__jinja_value value;
typedef keel__jinja_budget budget;
typedef keel__jinja_arguments arguments;

#define FUNCTION(name)                                                                                       \
    static keel_status name(budget *on, const value *self, const value *const *arg, const arguments *all,    \
                            value *out)
#define UNUSED (void)on, (void)self, (void)arg, (void)all

#endif
