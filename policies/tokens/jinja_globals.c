#include <string.h>
#include <time.h>

#include "policies/tokens/jinja_function.h"

enum { LONGEST_RANGE = 100000 }; /* the sandbox's */

FUNCTION(range) {
    int64_t first, stop, step;
    UNUSED;
    KEEL_TRY(keel__jinja_int_argument(on, arg[0], 0, &first));
    KEEL_TRY(keel__jinja_int_argument(on, arg[1], first, &stop));
    KEEL_TRY(keel__jinja_int_argument(on, arg[2], 1, &step));
    if (!arg[1]) first = 0;
    const double n = step ? ((double)stop - (double)first) / (double)step : -1; /* near 2^63, not exact */
    if (step == 0 || n > LONGEST_RANGE)
        return keel__jinja_fail(on, KEEL_E_INVALID, "a range of more than %d, or with a step of 0",
                                LONGEST_RANGE);
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    for (int64_t i = first; step > 0 ? i < stop : i > stop;) {
        KEEL_TRY(keel__jinja_list_add(on, out, keel__jinja_int(i)));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return KEEL_OK;
}

/* dict(a=1), dict(other, a=1) */
static keel_status collect(budget *on, const arguments *all, keel__jinja_kind kind, value *out) {
    KEEL_TRY(keel__jinja_dict_make(on, kind, out));
    for (size_t k = 0; k <= all->n; k++) {
        const value *from = k < all->n ? &all->item[k] : &all->keyword;
        if (from->kind != JINJA_DICT && k < all->n)
            return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "dict, namespace: of a %s",
                                    keel__jinja_type(from));
        for (size_t i = 0; from->dict && i < from->dict->n; i++)
            KEEL_TRY(keel__jinja_dict_set(on, out, from->dict->key[i], from->dict->value[i]));
    }
    return KEEL_OK;
}

FUNCTION(dict) {
    UNUSED;
    return collect(on, all, JINJA_DICT, out);
}

FUNCTION(namespace) {
    UNUSED;
    return collect(on, all, JINJA_NAMESPACE, out);
}

FUNCTION(raise_exception) {
    keel_buf text = {0};
    UNUSED;
    KEEL_TRY(keel__jinja_print(on, arg[0], &text));
    KEEL_TRY(keel__jinja_take(on, &text, out));
    return keel__jinja_fail(on, KEEL_E_INVALID, "%s", out->text);
}

/* self: the time, in seconds since 1970, UTC. */
FUNCTION(strftime_now) {
    char text[256];
    struct tm when;
    value format;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], "", &format));
    const time_t now = (time_t)self->whole;
    char *terminated;
    KEEL_TRY(keel__jinja_alloc(on, format.length + 1, &terminated));
    memcpy(terminated, format.text, format.length);
    terminated[format.length] = '\0';
    if (!gmtime_r(&now, &when) || (strftime(text, sizeof text, terminated, &when) == 0 && format.length))
        return keel__jinja_fail(on, KEEL_E_INVALID, "strftime_now: \"%.60s\" is no format", terminated);
    keel_buf made = {0};
    keel_buf_text(&made, text);
    return keel__jinja_take(on, &made, out);
}

static const keel__jinja_row rows[] = {{"range", "start stop step", 1, range},
                                       {"dict", "*", 0, dict},
                                       {"namespace", "*", 0, namespace},
                                       {"raise_exception", "message", 1, raise_exception},
                                       {"strftime_now", "format", 1, strftime_now}};

const keel__jinja_row *keel__jinja_global(const value *name) {
    return keel__jinja_find(rows, sizeof rows / sizeof *rows, name);
}
