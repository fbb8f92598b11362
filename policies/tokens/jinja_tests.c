#include "policies/tokens/jinja_function.h"

/* A test of the value alone, and one that compares it with another. */
#define TEST(name, condition)                                                                                \
    FUNCTION(name) {                                                                                         \
        (void)on, (void)arg, (void)all;                                                                      \
        *out = keel__jinja_bool(condition);                                                                  \
        return KEEL_OK;                                                                                      \
    }
#define ORDER(name, condition)                                                                               \
    FUNCTION(name) {                                                                                         \
        int order = 0;                                                                                       \
        (void)all;                                                                                           \
        KEEL_TRY(keel__jinja_compare(on, self, arg[0], &order));                                             \
        *out = keel__jinja_bool(condition);                                                                  \
        return KEEL_OK;                                                                                      \
    }

static bool is_sequence(const value *v) {
    return v->kind == JINJA_UNDEFINED || (v->kind >= JINJA_STRING && v->kind <= JINJA_DICT);
}

TEST(defined, self->kind != JINJA_UNDEFINED)
TEST(undefined, self->kind == JINJA_UNDEFINED)
TEST(none, self->kind == JINJA_NONE)
TEST(boolean, self->kind == JINJA_BOOL)
TEST(is_true, self->kind == JINJA_BOOL && self->truth)
TEST(is_false, self->kind == JINJA_BOOL && !self->truth)
TEST(integer, self->kind == JINJA_INT)
TEST(is_float, self->kind == JINJA_FLOAT)
TEST(number, keel__jinja_is_number(self))
TEST(string, self->kind == JINJA_STRING)
TEST(mapping, self->kind == JINJA_DICT)
TEST(sequence, is_sequence(self))
TEST(iterable, is_sequence(self) || self->kind == JINJA_GENERATOR || self->kind == JINJA_LOOP)
TEST(callable, self->kind == JINJA_CALLABLE)
TEST(equal, keel__jinja_equal(on, self, arg[0]))
TEST(not_equal, !keel__jinja_equal(on, self, arg[0]))
TEST(same_as, self->kind == arg[0]->kind && keel__jinja_equal(on, self, arg[0]))
ORDER(less, order < 0)
ORDER(less_equal, order <= 0)
ORDER(greater, order > 0)
ORDER(greater_equal, order >= 0)

static keel_status whole(budget *on, const value *self, const value *by, bool wanted, value *out) {
    int64_t number, divisor;
    KEEL_TRY(keel__jinja_int_argument(on, self, 0, &number));
    KEEL_TRY(keel__jinja_int_argument(on, by, 2, &divisor));
    if (divisor == 0) return keel__jinja_fail(on, KEEL_E_INVALID, "a division by 0");
    *out = keel__jinja_bool((divisor == -1 || number % divisor == 0) == wanted);
    return KEEL_OK;
}

FUNCTION(odd) {
    (void)arg, (void)all;
    return whole(on, self, NULL, false, out);
}

FUNCTION(even) {
    (void)arg, (void)all;
    return whole(on, self, NULL, true, out);
}

FUNCTION(divisible) {
    (void)all;
    return whole(on, self, arg[0], true, out);
}

FUNCTION(in) {
    bool there;
    (void)all;
    KEEL_TRY(keel__jinja_contains(on, arg[0], self, &there));
    *out = keel__jinja_bool(there);
    return KEEL_OK;
}

static const keel__jinja_row rows[] = {{"defined", "", 0, defined},
                                       {"undefined", "", 0, undefined},
                                       {"none", "", 0, none},
                                       {"boolean", "", 0, boolean},
                                       {"true", "", 0, is_true},
                                       {"false", "", 0, is_false},
                                       {"integer", "", 0, integer},
                                       {"float", "", 0, is_float},
                                       {"number", "", 0, number},
                                       {"string", "", 0, string},
                                       {"mapping", "", 0, mapping},
                                       {"sequence", "", 0, sequence},
                                       {"iterable", "", 0, iterable},
                                       {"callable", "", 0, callable},
                                       {"odd", "", 0, odd},
                                       {"even", "", 0, even},
                                       {"divisibleby", "num", 1, divisible},
                                       {"in", "seq", 1, in},
                                       {"sameas", "other", 1, same_as},
                                       {"eq", "other", 1, equal},
                                       {"equalto", "other", 1, equal},
                                       {"==", "other", 1, equal},
                                       {"ne", "other", 1, not_equal},
                                       {"!=", "other", 1, not_equal},
                                       {"lt", "other", 1, less},
                                       {"lessthan", "other", 1, less},
                                       {"<", "other", 1, less},
                                       {"le", "other", 1, less_equal},
                                       {"<=", "other", 1, less_equal},
                                       {"gt", "other", 1, greater},
                                       {"greaterthan", "other", 1, greater},
                                       {">", "other", 1, greater},
                                       {"ge", "other", 1, greater_equal},
                                       {">=", "other", 1, greater_equal}};

const keel__jinja_row *keel__jinja_test(const value *name) {
    return keel__jinja_find(rows, sizeof rows / sizeof *rows, name);
}
