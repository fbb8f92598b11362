#include "policies/tokens/jinja_call.h"

#include <string.h>

typedef keel__jinja_value value;

const keel__jinja_row *keel__jinja_find(const keel__jinja_row *rows, size_t n, const value *name) {
    for (size_t i = 0; i < n; i++)
        if (strlen(rows[i].name) == name->length && memcmp(rows[i].name, name->text, name->length) == 0)
            return &rows[i];
    return NULL;
}

/* The next word of "old new count"; false: there is none. */
static bool next_parameter(const char **at, value *name) {
    *at += strspn(*at, " ");
    *name = keel__jinja_string(*at, strcspn(*at, " "));
    *at += name->length;
    return name->length > 0;
}

keel_status keel__jinja_apply(keel__jinja_budget *on, const keel__jinja_row *row, const value *self,
                              const keel__jinja_arguments *all, value *out) {
    const value *arg[JINJA_PARAMETERS] = {0};
    const char *at = row->parameters;
    value name;
    size_t n = 0, keywords = 0;
    KEEL_TRY(keel__jinja_spend(on, 1));
    if (strcmp(row->parameters, "*") == 0) return row->run(on, self, arg, all, out);
    for (; n < JINJA_PARAMETERS && next_parameter(&at, &name); n++) {
        const value *by_name = all->keyword.dict ? keel__jinja_dict_get(&all->keyword, &name) : NULL;
        arg[n] = n < all->n ? &all->item[n] : by_name;
        keywords += by_name != NULL;
        if (n < row->least && !arg[n])
            return keel__jinja_fail(on, KEEL_E_INVALID, "%s: needs an argument \"%.*s\"", row->name,
                                    (int)name.length, name.text);
    }
    if (all->n > n || (all->keyword.dict && all->keyword.dict->n > keywords))
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "%s: arguments other than (%s)", row->name,
                                row->parameters);
    return row->run(on, self, arg, all, out);
}

keel_status keel__jinja_dig(keel__jinja_budget *on, const value *v, const value *path, value *out) {
    *out = *v;
    if (path->kind != JINJA_STRING)
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "an attribute that is no string");
    for (size_t at = 0; at <= path->length;) {
        const char *dot = memchr(path->text + at, '.', path->length - at);
        const size_t end = dot ? (size_t)(dot - path->text) : path->length;
        const value name = keel__jinja_string(path->text + at, end - at);
        const value *there =
            out->kind == JINJA_DICT || out->kind == JINJA_NAMESPACE ? keel__jinja_dict_get(out, &name) : NULL;
        *out = there ? *there : (value){.kind = JINJA_UNDEFINED, .text = "the attribute"};
        at = end + 1;
    }
    return KEEL_OK;
}

keel_status keel__jinja_string_argument(keel__jinja_budget *on, const value *arg, const char *fallback,
                                        value *out) {
    *out = !arg || arg->kind == JINJA_NONE ? keel__jinja_text(fallback) : *arg;
    return out->kind == JINJA_STRING || (!fallback && out->kind == JINJA_NONE)
               ? KEEL_OK
               : keel__jinja_fail(on, KEEL_E_INVALID, "expected a string, got %s", keel__jinja_type(out));
}

keel_status keel__jinja_int_argument(keel__jinja_budget *on, const value *arg, int64_t fallback,
                                     int64_t *out) {
    *out = fallback;
    if (!arg || arg->kind == JINJA_NONE) return KEEL_OK;
    if (arg->kind != JINJA_INT && arg->kind != JINJA_BOOL)
        return keel__jinja_fail(on, KEEL_E_INVALID, "expected a whole number, got %s", keel__jinja_type(arg));
    *out = arg->kind == JINJA_INT ? arg->whole : arg->truth;
    return KEEL_OK;
}

/* What looking took is spent afterwards; what could take for ever is not begun. */
keel_status keel__jinja_seek(keel__jinja_budget *on, const value *in, size_t from, const value *what,
                             size_t *at) {
    const size_t n = in->length - from, m = what->length;
    *at = in->length;
    if ((double)n * (double)m > 4e9)
        return keel__jinja_fail(on, KEEL_E_INVALID, "a search for %zu bytes in %zu takes too many steps", m,
                                n);
    if (m == 0) return *at = from, KEEL_OK;
    for (const char *found = in->text + from, *end = in->text + in->length;
         (size_t)(end - found) >= m && (found = memchr(found, what->text[0], (size_t)(end - found) - m + 1));
         found++)
        if (memcmp(found, what->text, m) == 0) {
            *at = (size_t)(found - in->text);
            break;
        }
    return keel__jinja_spend(on, 1 + (*at - from) / 16 * (m / 64 + 1));
}

keel_status keel__jinja_contains(keel__jinja_budget *on, const value *v, const value *what, bool *out) {
    value list;
    if (v->kind == JINJA_STRING && what->kind == JINJA_STRING) {
        size_t at;
        KEEL_TRY(keel__jinja_seek(on, v, 0, what, &at));
        *out = what->length == 0 || at < v->length;
        return KEEL_OK;
    }
    if (v->kind == JINJA_STRING)
        return keel__jinja_fail(on, KEEL_E_INVALID, "%s in a string", keel__jinja_type(what));
    KEEL_TRY(keel__jinja_items(on, v, &list));
    KEEL_TRY(keel__jinja_spend(on, list.list->n));
    *out = false;
    for (size_t i = 0; i < list.list->n && !*out; i++)
        *out = keel__jinja_equal(on, &list.list->item[i], what);
    return KEEL_OK;
}
