#include "policies/tokens/added.h"

#include <stdlib.h>
#include <string.h>

#include "policies/tokens/character.h"

/* ---- reading ---- */

static keel_status read_id(const keel__reader *r, const cJSON *item, keel__added_token *out) {
    double id = -1;
    KEEL_TRY(keel_json_number(item, "id", true, &id, r->name, r->err));
    out->id = id >= 0 && id < (double)r->vocabulary->size ? (int32_t)id : -1;
    const int32_t there = keel__vocabulary_find(r->vocabulary, out->content);
    if (out->id >= 0 &&
        (there == out->id || (there < 0 && keel__vocabulary_add(r->vocabulary, out->content, out->id))))
        return KEEL_OK;
    return keel_fail(r->err, KEEL_E_PARSE, r->name, "added token \"%s\": its id %g is taken", out->content,
                     id);
}

static keel_status read_one(const keel__reader *r, const cJSON *item, keel__added_token *out) {
    if (!cJSON_IsObject(item))
        return keel_fail(r->err, KEEL_E_PARSE, r->name, "added_tokens: expected a list of objects");
    KEEL_TRY(keel__component_text(r, item, "content", &out->content));
    KEEL_TRY(keel_json_bool(item, "special", false, &out->special, r->name, r->err));
    KEEL_TRY(keel_json_bool(item, "single_word", false, &out->single_word, r->name, r->err));
    KEEL_TRY(keel_json_bool(item, "lstrip", false, &out->left, r->name, r->err));
    KEEL_TRY(keel_json_bool(item, "rstrip", false, &out->right, r->name, r->err));
    KEEL_TRY(keel_json_bool(item, "normalized", false, &out->normalized, r->name, r->err));
    out->length = strlen(out->content);
    if (out->length == 0) return keel_fail(r->err, KEEL_E_PARSE, r->name, "added_tokens: an empty token");
    return read_id(r, item, out);
}

/* The token as a normalised text shows it. */
static keel_status normalise(const keel__reader *r, const keel__normalizer *normalizer,
                             keel__added_token *one) {
    keel_arena scratch = {0};
    keel__matching matching = {.arena = &scratch, .err = r->err};
    const char *text = one->content;
    keel_status status = keel__normalizer_run(normalizer, &matching, &text, &one->length);
    if (status == KEEL_OK && text != one->content) {
        one->content = keel_arena_strndup(r->arena, text, one->length);
        if (!one->content) status = keel_nomem(r->err, r->name);
    }
    if (status == KEEL_OK && one->length == 0)
        status =
            keel_fail(r->err, KEEL_E_PARSE, r->name, "added_tokens: a token that is empty when normalised");
    keel_arena_free(&scratch);
    return status;
}

static int first_then_longest(const void *a, const void *b) {
    const keel__added_token *x = a, *y = b;
    const unsigned char first_x = (unsigned char)*x->content, first_y = (unsigned char)*y->content;
    if (first_x != first_y) return first_x < first_y ? -1 : 1;
    if (x->length != y->length) return x->length > y->length ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

keel_status keel__added_read(const keel__reader *r, const cJSON *list, const keel__normalizer *normalizer,
                             keel__added *to) {
    const cJSON *item;
    to->token = keel_arena_calloc(r->arena, (size_t)cJSON_GetArraySize(list), sizeof *to->token);
    if (!to->token) return keel_nomem(r->err, r->name);
    cJSON_ArrayForEach (item, list) {
        keel__added_token *one = &to->token[to->n++];
        KEEL_TRY(read_one(r, item, one));
        if (one->normalized) KEEL_TRY(normalise(r, normalizer, one));
    }
    if (to->n) qsort(to->token, to->n, sizeof *to->token, first_then_longest);
    for (size_t i = 0, byte = 0; byte < 257; byte++) {
        while (i < to->n && (unsigned char)*to->token[i].content < byte) i++;
        to->begins[byte] = i;
    }
    return KEEL_OK;
}

/* ---- looking ---- */

static const keel__added_token *token_at(const keel__added *added, bool normalized, const char *text,
                                         size_t length, size_t at) {
    const unsigned char first = (unsigned char)text[at];
    for (size_t i = added->begins[first]; i < added->begins[first + 1]; i++) {
        const keel__added_token *one = &added->token[i];
        if (one->normalized == normalized && one->length <= length - at &&
            memcmp(text + at, one->content, one->length) == 0)
            return one;
    }
    return NULL;
}

/* The code point that ends before `at`. */
static int32_t character_before(const char *text, size_t at, size_t *start) {
    size_t used;
    *start = at - 1;
    while (*start > 0 && ((unsigned char)text[*start] & 0xC0) == 0x80) --*start;
    return keel__character_at(text, at, *start, &used);
}

static bool stands_alone(const char *text, size_t length, size_t start, size_t end) {
    size_t other;
    return (start == 0 || !keel__character_is_word(character_before(text, start, &other))) &&
           (end == length || !keel__character_is_word(keel__character_at(text, length, end, &other)));
}

keel__added_match keel__added_next(const keel__added *added, bool normalized, const char *text, size_t length,
                                   size_t done, size_t *from) {
    for (size_t at = *from; at < length && added->n; at++) {
        const keel__added_token *one = token_at(added, normalized, text, length, at);
        if (!one) continue;
        size_t start = at, end = at + one->length, other;
        *from = end;
        at = end - 1;
        if (one->single_word && !stands_alone(text, length, start, end)) continue;
        while (one->left && start > done && keel__character_is_space(character_before(text, start, &other)))
            start = other;
        while (one->right && end < length &&
               keel__character_is_space(keel__character_at(text, length, end, &other)))
            end += other;
        return (keel__added_match){start > done ? start : done, end, one};
    }
    return (keel__added_match){length, length, NULL};
}
