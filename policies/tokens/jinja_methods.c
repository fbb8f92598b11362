#include <stdio.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "policies/tokens/character.h"
#include "policies/tokens/jinja_function.h"

/* ---- letters ---- */

static bool is_space(int32_t c) {
    return keel__character_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static bool is_cased(int32_t c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

typedef enum letters { UPPER, LOWER, TITLE, CAPITALIZE } letters;

/* One code point to one, but for the sharp s, whose capitals are two. */
static keel_status change(budget *on, const value *self, letters how, value *out) {
    keel_buf text = {0};
    bool inside = false; /* behind a letter: of its word, of the text */
    KEEL_TRY(keel__jinja_spend(on, self->length / 4));
    for (size_t at = 0, used; at < self->length; at += used) {
        const int32_t c = keel__character_at(self->text, self->length, at, &used);
        const bool upper = how == UPPER || (how != LOWER && !inside);
        utf8proc_uint8_t bytes[4];
        inside = how == CAPITALIZE ? true : is_cased(c);
        if (upper && c == 0xDF)
            keel_buf_text(&text, how == UPPER ? "SS" : "Ss");
        else
            keel_buf_append(&text, bytes,
                            (size_t)utf8proc_encode_char(!upper         ? utf8proc_tolower(c)
                                                         : how == UPPER ? utf8proc_toupper(c)
                                                                        : utf8proc_totitle(c),
                                                         bytes));
    }
    return keel__jinja_take(on, &text, out);
}

keel_status keel__jinja_upper(budget *on, const value *self, const value *const *arg, const arguments *all,
                              value *out) {
    UNUSED;
    return change(on, self, UPPER, out);
}

keel_status keel__jinja_lower(budget *on, const value *self, const value *const *arg, const arguments *all,
                              value *out) {
    UNUSED;
    return change(on, self, LOWER, out);
}

keel_status keel__jinja_title(budget *on, const value *self, const value *const *arg, const arguments *all,
                              value *out) {
    UNUSED;
    return change(on, self, TITLE, out);
}

keel_status keel__jinja_capitalize(budget *on, const value *self, const value *const *arg,
                                   const arguments *all, value *out) {
    UNUSED;
    return change(on, self, CAPITALIZE, out);
}

/* ---- ends ---- */

/* Whether the code point is of those that go: of the set, or blank. */
static bool goes(const value *set, const char *text, size_t used, int32_t c) {
    if (set->kind == JINJA_NONE) return is_space(c);
    for (size_t at = 0, n; at < set->length; at += n) {
        keel__character_at(set->text, set->length, at, &n);
        if (n == used && memcmp(set->text + at, text, n) == 0) return true;
    }
    return false;
}

static keel_status strip(budget *on, const value *self, const value *characters, bool left, bool right,
                         value *out) {
    size_t from = 0, to = self->length, used;
    value set;
    KEEL_TRY(keel__jinja_string_argument(on, characters, NULL, &set));
    KEEL_TRY(keel__jinja_spend(on, self->length / 16 * (1 + set.length * (set.kind == JINJA_STRING))));
    while (left && from < to) {
        const int32_t c = keel__character_at(self->text, to, from, &used);
        if (!goes(&set, self->text + from, used, c)) break;
        from += used;
    }
    while (right && to > from) {
        size_t start = to - 1;
        while (start > from && ((unsigned char)self->text[start] & 0xC0) == 0x80) start--;
        const int32_t c = keel__character_at(self->text, to, start, &used);
        if (!goes(&set, self->text + start, used, c)) break;
        to = start;
    }
    *out = keel__jinja_string(self->text + from, to - from);
    return KEEL_OK;
}

keel_status keel__jinja_strip(budget *on, const value *self, const value *const *arg, const arguments *all,
                              value *out) {
    UNUSED;
    return strip(on, self, arg[0], true, true, out);
}

FUNCTION(lstrip) {
    UNUSED;
    return strip(on, self, arg[0], true, false, out);
}

FUNCTION(rstrip) {
    UNUSED;
    return strip(on, self, arg[0], false, true, out);
}

static bool begins(const value *self, const value *with, bool end) {
    return with->kind == JINJA_STRING && self->length >= with->length &&
           memcmp(self->text + (end ? self->length - with->length : 0), with->text, with->length) == 0;
}

/* The argument: a string, or a tuple of them. */
static keel_status ends(budget *on, const value *self, const value *with, bool end, value *out) {
    bool found = begins(self, with, end);
    if (with->kind != JINJA_STRING && with->kind != JINJA_TUPLE)
        return keel__jinja_fail(on, KEEL_E_INVALID, "startswith, endswith: expected a string, got %s",
                                keel__jinja_type(with));
    for (size_t i = 0; with->kind == JINJA_TUPLE && i < with->list->n; i++)
        found |= begins(self, &with->list->item[i], end);
    *out = keel__jinja_bool(found);
    return KEEL_OK;
}

FUNCTION(startswith) {
    UNUSED;
    return ends(on, self, arg[0], false, out);
}

FUNCTION(endswith) {
    UNUSED;
    return ends(on, self, arg[0], true, out);
}

FUNCTION(removeprefix) {
    UNUSED;
    const size_t n = begins(self, arg[0], false) ? arg[0]->length : 0;
    *out = keel__jinja_string(self->text + n, self->length - n);
    return KEEL_OK;
}

FUNCTION(removesuffix) {
    UNUSED;
    *out = keel__jinja_string(self->text, self->length - (begins(self, arg[0], true) ? arg[0]->length : 0));
    return KEEL_OK;
}

/* ---- parts ---- */

static keel_status check_separator(budget *on, const value *by) {
    return by->length > 0 ? KEEL_OK : keel__jinja_fail(on, KEEL_E_INVALID, "an empty separator");
}

/* Words: runs of what is not blank. After `most` of them the rest is one. */
static keel_status split_blanks(budget *on, const value *self, int64_t most, const value *list) {
    size_t at = 0, used = 0;
    for (int64_t n = 0;; n++) {
        for (; at < self->length; at += used)
            if (!is_space(keel__character_at(self->text, self->length, at, &used))) break;
        if (at == self->length) return KEEL_OK;
        size_t end = at;
        for (; end < self->length && n != most; end += used)
            if (is_space(keel__character_at(self->text, self->length, end, &used))) break;
        if (n == most) end = self->length;
        KEEL_TRY(keel__jinja_list_add(on, list, keel__jinja_string(self->text + at, end - at)));
        if (n == most) return KEEL_OK;
        at = end;
    }
}

FUNCTION(split) {
    int64_t most;
    value by;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], NULL, &by));
    KEEL_TRY(keel__jinja_int_argument(on, arg[1], -1, &most));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    KEEL_TRY(keel__jinja_spend(on, self->length / 4));
    if (by.kind == JINJA_NONE) return split_blanks(on, self, most, out);
    KEEL_TRY(check_separator(on, &by));
    size_t from = 0, at = 0;
    for (int64_t n = 0; n != most; n++) {
        KEEL_TRY(keel__jinja_seek(on, self, from, &by, &at));
        if (at == self->length) break;
        KEEL_TRY(keel__jinja_list_add(on, out, keel__jinja_string(self->text + from, at - from)));
        from = at + by.length;
    }
    return keel__jinja_list_add(on, out, keel__jinja_string(self->text + from, self->length - from));
}

/* Where the last one begins in the first `end` bytes; -1: nowhere. */
static ptrdiff_t last_of(const value *self, size_t end, const value *what) {
    for (ptrdiff_t at = (ptrdiff_t)end - (ptrdiff_t)what->length; at >= 0; at--)
        if (memcmp(self->text + at, what->text, what->length) == 0) return at;
    return -1;
}

/* From the right; the parts come in the order of the text. */
FUNCTION(rsplit) {
    int64_t most;
    value by;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], NULL, &by));
    KEEL_TRY(keel__jinja_int_argument(on, arg[1], -1, &most));
    if (most < 0) return split(on, self, arg, all, out);
    if (by.kind == JINJA_NONE)
        return keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "rsplit at blanks with a limit");
    KEEL_TRY(check_separator(on, &by));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    size_t end = self->length;
    for (ptrdiff_t at; most > 0; most--, end = (size_t)at) {
        KEEL_TRY(keel__jinja_spend(on, 1 + (end / 16) * (by.length / 16 + 1)));
        if ((at = last_of(self, end, &by)) < 0) break;
        const size_t from = (size_t)at + by.length;
        KEEL_TRY(keel__jinja_list_add(on, out, keel__jinja_string(self->text + from, end - from)));
    }
    KEEL_TRY(keel__jinja_list_add(on, out, keel__jinja_string(self->text, end)));
    value *item = out->list->item;
    for (size_t i = 0, k = out->list->n; i + 1 < k; i++) {
        const value other = item[--k];
        item[k] = item[i];
        item[i] = other;
    }
    return KEEL_OK;
}

FUNCTION(splitlines) {
    UNUSED;
    KEEL_TRY(keel__jinja_spend(on, self->length / 4));
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    for (size_t from = 0, at; from < self->length; from = at + 1) {
        for (at = from; at < self->length && self->text[at] != '\n' && self->text[at] != '\r';) at++;
        KEEL_TRY(keel__jinja_list_add(on, out, keel__jinja_string(self->text + from, at - from)));
        if (at + 1 < self->length && self->text[at] == '\r' && self->text[at + 1] == '\n') at++;
    }
    return KEEL_OK;
}

keel_status keel__jinja_replace(budget *on, const value *self, const value *const *arg, const arguments *all,
                                value *out) {
    int64_t most;
    value old, new;
    keel_buf text = {0};
    size_t from = 0, at = 0, budgeted = 0;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], "", &old));
    KEEL_TRY(keel__jinja_string_argument(on, arg[1], "", &new));
    KEEL_TRY(keel__jinja_int_argument(on, arg[2], -1, &most));
    KEEL_TRY(check_separator(on, &old));
    for (; most != 0; most--) {
        keel_status status = keel__jinja_seek(on, self, from, &old, &at);
        if (status == KEEL_OK && text.length > budgeted + 65536)
            status = keel__jinja_spend(on, (budgeted = text.length) / 1024);
        if (status != KEEL_OK) return keel_buf_free(&text), status;
        if (at == self->length) break;
        keel_buf_append(&text, self->text + from, at - from);
        keel_buf_append(&text, new.text, new.length);
        from = at + old.length;
    }
    keel_buf_append(&text, self->text + from, self->length - from);
    return keel__jinja_take(on, &text, out);
}

static keel_status position(budget *on, const value *self, ptrdiff_t at, value *out) {
    (void)on;
    const value before = keel__jinja_string(self->text, at > 0 ? (size_t)at : 0);
    *out = keel__jinja_int(at < 0 ? -1 : (int64_t)keel__jinja_characters(&before));
    return KEEL_OK;
}

FUNCTION(find) {
    size_t at;
    value what;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], "", &what));
    KEEL_TRY(keel__jinja_seek(on, self, 0, &what, &at));
    return position(on, self, at == self->length && what.length ? -1 : (ptrdiff_t)at, out);
}

FUNCTION(rfind) {
    value what;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], "", &what));
    KEEL_TRY(keel__jinja_spend(on, 1 + (self->length / 16) * (what.length / 16 + 1)));
    return position(on, self, last_of(self, self->length, &what), out);
}

FUNCTION(count) {
    int64_t n = 0;
    value what;
    UNUSED;
    KEEL_TRY(keel__jinja_string_argument(on, arg[0], "", &what));
    KEEL_TRY(check_separator(on, &what));
    for (size_t at = 0;; at += what.length, n++) {
        KEEL_TRY(keel__jinja_seek(on, self, at, &what, &at));
        if (at == self->length) break;
    }
    *out = keel__jinja_int(n);
    return KEEL_OK;
}

FUNCTION(join) {
    value list;
    keel_buf text = {0};
    UNUSED;
    KEEL_TRY(keel__jinja_items(on, arg[0], &list));
    for (size_t i = 0; i < list.list->n; i++) {
        if (list.list->item[i].kind != JINJA_STRING) {
            keel_buf_free(&text);
            return keel__jinja_fail(on, KEEL_E_INVALID, "join: expected strings, got %s",
                                    keel__jinja_type(&list.list->item[i]));
        }
        if (i) keel_buf_append(&text, self->text, self->length);
        keel_buf_append(&text, list.list->item[i].text, list.list->item[i].length);
    }
    return keel__jinja_take(on, &text, out);
}

/* The value that a field of format() names: "", "0", "name". */
static const value *field(const arguments *all, const value *name, size_t *next) {
    size_t i = 0;
    if (name->length == 0) return *next < all->n ? &all->item[(*next)++] : NULL;
    for (size_t k = 0; k < name->length; k++) {
        const char c = name->text[k];
        if (c < '0' || c > '9' || k > 4)
            return all->keyword.dict ? keel__jinja_dict_get(&all->keyword, name) : NULL;
        i = 10 * i + (size_t)(c - '0');
    }
    return i < all->n ? &all->item[i] : NULL;
}

/* "{}", "{0}", "{name}", "{{": without what may follow a colon. */
FUNCTION(format) {
    keel_buf text = {0};
    keel_status status = KEEL_OK;
    size_t next = 0;
    (void)arg;
    for (size_t at = 0, end; at < self->length && status == KEEL_OK; at = end) {
        const char c = self->text[at];
        const bool twice = at + 1 < self->length && self->text[at + 1] == c;
        end = at + 1;
        if ((c != '{' && c != '}') || twice) {
            keel_buf_append(&text, &c, 1);
            end += (c == '{' || c == '}') && twice;
            continue;
        }
        while (end < self->length && self->text[end] != '}') end++;
        const value name = keel__jinja_string(self->text + at + 1, end - at - 1);
        const value *v = c == '{' && end < self->length ? field(all, &name, &next) : NULL;
        status = v ? keel__jinja_print(on, v, &text)
                   : keel__jinja_fail(on, KEEL_E_UNSUPPORTED, "format: the field \"%.*s\"",
                                      (int)(name.length < 60 ? name.length : 60), name.text);
        end++;
    }
    if (status == KEEL_OK) return keel__jinja_take(on, &text, out);
    keel_buf_free(&text);
    return status;
}

FUNCTION(is_digits) {
    bool all_are = self->length > 0;
    UNUSED;
    for (size_t at = 0, used; at < self->length; at += used)
        all_are &= utf8proc_category(keel__character_at(self->text, self->length, at, &used)) ==
                   UTF8PROC_CATEGORY_ND;
    *out = keel__jinja_bool(all_are);
    return KEEL_OK;
}

/* ---- dictionaries and lists ---- */

FUNCTION(get) {
    UNUSED;
    KEEL_TRY(keel__jinja_spend(on, self->dict->n / 8));
    const value *there = keel__jinja_dict_get(self, arg[0]);
    *out = there ? *there : arg[1] ? *arg[1] : (value){.kind = JINJA_NONE};
    return KEEL_OK;
}

keel_status keel__jinja_dict_items(budget *on, const value *self, const value *const *arg,
                                   const arguments *all, value *out) {
    UNUSED;
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    if (self->kind == JINJA_UNDEFINED) return KEEL_OK;
    if (self->kind != JINJA_DICT)
        return keel__jinja_fail(on, KEEL_E_INVALID, "items: expected a mapping, got %s",
                                keel__jinja_type(self));
    for (size_t i = 0; i < self->dict->n; i++) {
        value pair;
        KEEL_TRY(keel__jinja_list_make(on, JINJA_TUPLE, &pair));
        KEEL_TRY(keel__jinja_list_add(on, &pair, self->dict->key[i]));
        KEEL_TRY(keel__jinja_list_add(on, &pair, self->dict->value[i]));
        KEEL_TRY(keel__jinja_list_add(on, out, pair));
    }
    return KEEL_OK;
}

FUNCTION(keys) {
    UNUSED;
    return keel__jinja_items(on, self, out);
}

FUNCTION(values) {
    UNUSED;
    KEEL_TRY(keel__jinja_list_make(on, JINJA_LIST, out));
    *out->list = (keel__jinja_list){self->dict->value, self->dict->n, self->dict->n};
    return KEEL_OK;
}

FUNCTION(itself) {
    UNUSED;
    *out = *self;
    return KEEL_OK;
}

FUNCTION(list_index) {
    UNUSED;
    KEEL_TRY(keel__jinja_spend(on, self->list->n));
    for (size_t i = 0; i < self->list->n; i++)
        if (keel__jinja_equal(on, &self->list->item[i], arg[0]))
            return *out = keel__jinja_int((int64_t)i), KEEL_OK;
    return keel__jinja_fail(on, KEEL_E_INVALID, "index: the value is not in the list");
}

FUNCTION(list_count) {
    int64_t n = 0;
    UNUSED;
    KEEL_TRY(keel__jinja_spend(on, self->list->n));
    for (size_t i = 0; i < self->list->n; i++) n += keel__jinja_equal(on, &self->list->item[i], arg[0]);
    *out = keel__jinja_int(n);
    return KEEL_OK;
}

static const keel__jinja_row of_string[] = {{"upper", "", 0, keel__jinja_upper},
                                            {"lower", "", 0, keel__jinja_lower},
                                            {"title", "", 0, keel__jinja_title},
                                            {"capitalize", "", 0, keel__jinja_capitalize},
                                            {"strip", "chars", 0, keel__jinja_strip},
                                            {"lstrip", "chars", 0, lstrip},
                                            {"rstrip", "chars", 0, rstrip},
                                            {"startswith", "prefix", 1, startswith},
                                            {"endswith", "suffix", 1, endswith},
                                            {"removeprefix", "prefix", 1, removeprefix},
                                            {"removesuffix", "suffix", 1, removesuffix},
                                            {"split", "sep maxsplit", 0, split},
                                            {"rsplit", "sep maxsplit", 0, rsplit},
                                            {"splitlines", "", 0, splitlines},
                                            {"replace", "old new count", 2, keel__jinja_replace},
                                            {"find", "sub", 1, find},
                                            {"rfind", "sub", 1, rfind},
                                            {"count", "sub", 1, count},
                                            {"join", "iterable", 1, join},
                                            {"format", "*", 0, format},
                                            {"isdigit", "", 0, is_digits}};
static const keel__jinja_row of_dict[] = {{"get", "key default", 1, get},
                                          {"items", "", 0, keel__jinja_dict_items},
                                          {"keys", "", 0, keys},
                                          {"values", "", 0, values},
                                          {"copy", "", 0, itself}};
static const keel__jinja_row of_list[] = {
    {"index", "value", 1, list_index}, {"count", "value", 1, list_count}, {"copy", "", 0, itself}};

const keel__jinja_row *keel__jinja_method(const value *self, const value *name) {
    switch (self->kind) {
    case JINJA_STRING:
        return keel__jinja_find(of_string, sizeof of_string / sizeof *of_string, name);
    case JINJA_DICT:
        return keel__jinja_find(of_dict, sizeof of_dict / sizeof *of_dict, name);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return keel__jinja_find(of_list, sizeof of_list / sizeof *of_list, name);
    default:
        return NULL;
    }
}
