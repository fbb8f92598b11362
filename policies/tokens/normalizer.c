#include "policies/tokens/normalizer.h"

#include <string.h>
#include <utf8proc.h>

#include "policies/tokens/character.h"

typedef keel__normalizer_step step;

static keel_status add(const keel__reader *r, keel__normalizer *to, step one) {
    return keel__component_add(r, &to->step, &to->n, sizeof one, &one);
}

/* ---- Unicode's forms ---- */

/* Below U+0300, every text is its own NFC; below U+0080, it is any form. */
static bool is_form(const char *text, size_t length, int form) {
    const unsigned char most = form & UTF8PROC_COMPOSE && !(form & UTF8PROC_COMPAT) ? 0xCC : 0x80;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= most) return false;
    return true;
}

static int class_of(int32_t point) {
    return utf8proc_get_property(point)->combining_class;
}

static void sort_few(int32_t *mark, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const int32_t one = mark[i];
        size_t at = i;
        for (; at > 0 && class_of(mark[at - 1]) > class_of(one); at--) mark[at] = mark[at - 1];
        mark[at] = one;
    }
}

static void sort_many(int32_t *mark, size_t n, int32_t *room) {
    enum { CLASSES = 256 };
    size_t place[CLASSES + 1] = {0};
    for (size_t i = 0; i < n; i++) place[class_of(mark[i]) + 1]++;
    for (size_t c = 0; c < CLASSES; c++) place[c + 1] += place[c];
    for (size_t i = 0; i < n; i++) room[place[class_of(mark[i])]++] = mark[i];
    memcpy(mark, room, n * sizeof *mark);
}

/* Marks in a row stand by their combining classes, those of one class as they came (The Unicode Standard,
 * 3.11, D109). utf8proc sorts them in time quadratic in their number, and a hostile text is nothing else. */
static keel_status sort_marks(int32_t *point, size_t n, keel__matching *matching) {
    enum { FEW = 16 };
    int32_t *room = NULL;
    for (size_t from = 0, end; from < n; from = end + 1) {
        for (end = from; end < n && class_of(point[end]) > 0; end++) {}
        if (end - from > FEW && !room) room = keel_arena_alloc(matching->arena, n * sizeof *room);
        if (end - from <= FEW)
            sort_few(point + from, end - from);
        else if (room)
            sort_many(point + from, end - from, room);
        else
            return keel_nomem(matching->err, "tokenizer");
    }
    return KEEL_OK;
}

/* The text's code points, decomposed; at has room for them. */
static void decompose(const char *text, size_t length, int form, int32_t *at, size_t room) {
    int boundary = 0;
    for (size_t i = 0, used; i < length; i += used) {
        const int32_t c = keel__character_at(text, length, i, &used);
        const utf8proc_ssize_t n =
            utf8proc_decompose_char(c, at, (utf8proc_ssize_t)room, (utf8proc_option_t)form, &boundary);
        at += n, room -= (size_t)n;
    }
}

static keel_status run_form(const step *by, keel__matching *matching, const char **text, size_t *length) {
    if (is_form(*text, *length, by->form)) return KEEL_OK;
    const utf8proc_option_t form = (utf8proc_option_t)by->form;
    utf8proc_ssize_t n = utf8proc_decompose((const utf8proc_uint8_t *)*text, (utf8proc_ssize_t)*length, NULL,
                                            0, form); /* counts them */
    if (n < 0) return keel_fail(matching->err, KEEL_E_INVALID, "tokenizer", "the text is not UTF-8");
    int32_t *points = keel_arena_alloc(matching->arena, ((size_t)n + 1) * sizeof *points);
    if (!points) return keel_nomem(matching->err, "tokenizer");
    decompose(*text, *length, by->form, points, (size_t)n);
    KEEL_TRY(sort_marks(points, (size_t)n, matching));
    n = utf8proc_reencode(points, n, form);
    *text = (const char *)points;
    *length = (size_t)n;
    return KEEL_OK;
}

static keel_status read_form(const keel__reader *r, int form, void *to) {
    return add(r, to, (step){.run = run_form, .form = form | UTF8PROC_STABLE});
}

static keel_status read_nfc(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return read_form(r, UTF8PROC_COMPOSE, to);
}

static keel_status read_nfd(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return read_form(r, UTF8PROC_DECOMPOSE, to);
}

static keel_status read_nfkc(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return read_form(r, UTF8PROC_COMPOSE | UTF8PROC_COMPAT, to);
}

static keel_status read_nfkd(const keel__reader *r, const cJSON *json, void *to) {
    (void)json;
    return read_form(r, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, to);
}

/* ---- of SentencePiece, in the words of the library ---- */

static keel_status run_prepend(const step *by, keel__matching *matching, const char **text, size_t *length) {
    const size_t before = strlen(by->text);
    if (*length == 0) return KEEL_OK;
    char *made = keel_arena_alloc(matching->arena, before + *length + 1);
    if (!made) return keel_nomem(matching->err, "tokenizer");
    memcpy(made, by->text, before);
    memcpy(made + before, *text, *length);
    made[before + *length] = '\0';
    *text = made;
    *length += before;
    return KEEL_OK;
}

static keel_status read_prepend(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_prepend};
    KEEL_TRY(keel__component_text(r, json, "prepend", &one.text));
    return add(r, to, one);
}

static keel_status run_replace(const step *by, keel__matching *matching, const char **text, size_t *length) {
    return keel__pattern_replace(by->pattern, matching, by->text, text, length);
}

static keel_status read_replace(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_replace};
    KEEL_TRY(keel__pattern_read(r, json, &one.pattern));
    KEEL_TRY(keel__component_text(r, json, "content", &one.text));
    return add(r, to, one);
}

/* ---- BERT's ---- */

enum { MOST_DECOMPOSED = 4 }; /* code points of a canonical decomposition */

typedef struct points {
    int32_t *at;
    size_t count;
} points;

/* A code point, lower-cased if asked for: one to one, but for the capital I with a dot above, which leaves
 * its dot. */
static void put(const step *by, int32_t c, points *to) {
    to->at[to->count++] = !by->lowercase ? c : c == 0x130 ? 'i' : utf8proc_tolower(c);
    if (by->lowercase && c == 0x130) to->at[to->count++] = 0x307;
}

/* Canonical decomposition without non-spacing marks. Their order does not matter, since they all go. */
static void put_stripped(const step *by, int32_t c, points *to) {
    int32_t part[MOST_DECOMPOSED];
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char(c, part, MOST_DECOMPOSED, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t k = 0; k < n && k < MOST_DECOMPOSED; k++)
        if (!keel__character_is_mark(part[k])) put(by, part[k], to);
}

static void put_bert(const step *by, int32_t c, points *to) {
    if (by->clean && keel__character_is_dropped(c)) return;
    if (by->clean && keel__character_is_space(c)) c = ' ';
    const bool apart = by->chinese && keel__character_is_chinese(c);
    if (apart) to->at[to->count++] = ' ';
    if (by->strip_accents && c >= 0x80)
        put_stripped(by, c, to);
    else
        put(by, c, to);
    if (apart) to->at[to->count++] = ' ';
}

static keel_status run_bert(const step *by, keel__matching *matching, const char **text, size_t *length) {
    points one = {(int32_t[MOST_DECOMPOSED * 2 + 2]){0}, 0};
    char *made = keel_arena_alloc(matching->arena, 4 * MOST_DECOMPOSED * *length + 1);
    size_t n = 0, used;
    if (!made) return keel_nomem(matching->err, "tokenizer");
    for (size_t at = 0; at < *length; at += used) {
        one.count = 0;
        put_bert(by, keel__character_at(*text, *length, at, &used), &one);
        for (size_t k = 0; k < one.count; k++)
            n += (size_t)utf8proc_encode_char(one.at[k], (utf8proc_uint8_t *)made + n);
    }
    made[n] = '\0';
    *text = made;
    *length = n;
    return KEEL_OK;
}

static keel_status read_bert(const keel__reader *r, const cJSON *json, void *to) {
    step one = {.run = run_bert, .clean = true, .chinese = true, .lowercase = true};
    KEEL_TRY(keel_json_bool(json, "clean_text", false, &one.clean, r->name, r->err));
    KEEL_TRY(keel_json_bool(json, "handle_chinese_chars", false, &one.chinese, r->name, r->err));
    KEEL_TRY(keel_json_bool(json, "lowercase", false, &one.lowercase, r->name, r->err));
    one.strip_accents = one.lowercase;
    KEEL_TRY(keel_json_bool(json, "strip_accents", false, &one.strip_accents, r->name, r->err));
    return add(r, to, one);
}

/* ---- all of them ---- */

static const keel__component_row rows[] = {
    {"NFC", read_nfc},         {"NFD", read_nfd},         {"NFKC", read_nfkc},          {"NFKD", read_nfkd},
    {"Prepend", read_prepend}, {"Replace", read_replace}, {"BertNormalizer", read_bert}};
static const keel__component_kind kind = {"normalizer", "normalizers", rows, sizeof rows / sizeof *rows};

keel_status keel__normalizer_read(const keel__reader *r, const cJSON *json, keel__normalizer *to) {
    return keel__component_read(r, &kind, json, to);
}

keel_status keel__normalizer_run(const keel__normalizer *normalizer, keel__matching *matching,
                                 const char **text, size_t *length) {
    for (size_t i = 0; i < normalizer->n; i++)
        KEEL_TRY(normalizer->step[i].run(&normalizer->step[i], matching, text, length));
    return KEEL_OK;
}

bool keel__normalizer_lowercases(const keel__normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->n; i++)
        if (normalizer->step[i].lowercase) return true;
    return false;
}
