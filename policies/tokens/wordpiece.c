#include "policies/tokens/wordpiece.h"

#include <string.h>
#include <utf8proc.h>

#include "core/hash.h"

/* ---- BERT's normaliser: code points in, code points out ---- */

/* The original knows the categories of Unicode 8. Ranges of what is younger and a mark, punctuation or a
 * format character today: whatever else lies in a range is none of these. */
static bool is_young(int32_t c) {
    static const int32_t ranges[][2] = {
        {0x61D, 0x61D},     {0x7FD, 0x7FD},     {0x890, 0x8E2},     {0x9FD, 0x9FE},     {0xA76, 0xA76},
        {0xAFA, 0xAFF},     {0xB55, 0xB55},     {0xC04, 0xC3C},     {0xC77, 0xC77},     {0xC84, 0xC84},
        {0xD00, 0xD00},     {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},
        {0x180F, 0x1886},   {0x1ABF, 0x1ACE},   {0x1B7D, 0x1B7E},   {0x1DF6, 0x1DFB},   {0x2E43, 0x2E5D},
        {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F89},
        {0x11070, 0x11074}, {0x110C2, 0x110CD}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
        {0x1133B, 0x1133B}, {0x11438, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1182F, 0x11FFF},
        {0x12FF1, 0x13455}, {0x16E97, 0x16F4F}, {0x16FE2, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF},
        {0x1E944, 0x1E95F}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && c >= ranges[i][0]; i++)
        if (c <= ranges[i][1]) return true;
    return false;
}

/* Unicode's White_Space. */
static bool is_space(int32_t c) {
    return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

static bool is_dropped(int32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return false;
    utf8proc_category_t category = utf8proc_category(c);
    return c == 0 || c == 0xFFFD || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CO ||
           (category == UTF8PROC_CATEGORY_CF && !is_young(c));
}

/* The ranges of the original, the late beginning of the fifth included. */
static bool is_chinese(int32_t c) {
    static const int32_t ranges[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                        {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                        {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

static bool is_punctuation(int32_t c) {
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t category = utf8proc_category(c);
    if (c == 0x166D || c == 0x111C9) return true; /* they were, in Unicode 8 */
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO && !is_young(c);
}

static bool is_mark(int32_t c) {
    return c == 0x1734 || (utf8proc_category(c) == UTF8PROC_CATEGORY_MN && !is_young(c));
}

typedef struct points {
    int32_t *at;
    size_t count;
} points;

/* In place for all but the blanks round Chinese characters, for which there is room three times. */
static keel_status read_points(const keel__wordpiece *model, const char *text, size_t length,
                               keel_arena *arena, points *out, keel_err *err) {
    int32_t *at = keel_arena_alloc(arena, (3 * length + 1) * sizeof *at);
    if (!at) return keel_nomem(err, "tokenizer");
    size_t count = 0;
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(length - i), &c);
        if (used <= 0) return keel_fail(err, KEEL_E_INVALID, "tokenizer", "the text is not UTF-8");
        i += (size_t)used;
        if (model->clean && is_dropped(c)) continue;
        if (model->clean && is_space(c)) c = ' ';
        bool apart = model->chinese && is_chinese(c);
        if (apart) at[count++] = ' ';
        at[count++] = c;
        if (apart) at[count++] = ' ';
    }
    *out = (points){at, count};
    return KEEL_OK;
}

enum { MOST_DECOMPOSED = 4 }; /* code points of a canonical decomposition */

/* Canonical decomposition without non-spacing marks. Their order does not matter, since they all go. */
static keel_status strip(points *text, keel_arena *arena, keel_err *err) {
    int32_t part[MOST_DECOMPOSED],
        *at = keel_arena_alloc(arena, (MOST_DECOMPOSED * text->count + 1) * sizeof *at);
    size_t count = 0;
    if (!at) return keel_nomem(err, "tokenizer");
    for (size_t i = 0; i < text->count; i++) {
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char(text->at[i], part, MOST_DECOMPOSED, UTF8PROC_DECOMPOSE, &boundary);
        for (utf8proc_ssize_t k = 0; k < n && k < MOST_DECOMPOSED; k++)
            if (!is_mark(part[k])) at[count++] = part[k];
    }
    *text = (points){at, count};
    return KEEL_OK;
}

/* One to one, but for the capital I with a dot above, which leaves its dot. */
static keel_status lower(points *text, keel_arena *arena, keel_err *err) {
    int32_t *at = keel_arena_alloc(arena, (2 * text->count + 1) * sizeof *at);
    size_t count = 0;
    if (!at) return keel_nomem(err, "tokenizer");
    for (size_t i = 0; i < text->count; i++) {
        at[count++] = text->at[i] == 0x130 ? 'i' : utf8proc_tolower(text->at[i]);
        if (text->at[i] == 0x130) at[count++] = 0x307;
    }
    *text = (points){at, count};
    return KEEL_OK;
}

static keel_status normalise(const keel__wordpiece *model, const char *text, size_t length, keel_arena *arena,
                             points *out, keel_err *err) {
    KEEL_TRY(read_points(model, text, length, arena, out, err));
    if (model->strip_accents) KEEL_TRY(strip(out, arena, err));
    if (model->lowercase) KEEL_TRY(lower(out, arena, err));
    return KEEL_OK;
}

/* ---- WordPiece ---- */

/* A word as bytes. */
typedef struct word {
    const char *text;
    const size_t *start; /* [n + 1] of its code points, and the end */
    size_t n;
} word;

/* The longest piece that begins at code point `from`; its end in *to, -1 if there is none. */
static int32_t longest(const keel__wordpiece *model, const keel__vocabulary *vocabulary, const word *w,
                       size_t from, uint64_t *hashes, size_t *to) {
    const char *prefix = from > 0 ? model->prefix : "";
    const size_t n_prefix = strlen(prefix), first = w->start[from];
    uint64_t running = keel_hash64_begin(0);
    for (size_t i = 0; i < n_prefix; i++) running = keel_hash64_add(running, (unsigned char)prefix[i]);
    for (size_t end = from; end < w->n; end++) {
        for (size_t i = w->start[end]; i < w->start[end + 1]; i++)
            running = keel_hash64_add(running, (unsigned char)w->text[i]);
        hashes[end] = keel_hash64_end(running);
    }
    for (size_t end = w->n; end > from; end--) {
        int32_t id = keel__vocabulary_find_hashed(vocabulary, hashes[end - 1], prefix, n_prefix,
                                                  w->text + first, w->start[end] - first);
        if (id >= 0) return *to = end, id;
    }
    return -1;
}

/* A word of which any part is unknown is unknown as a whole. */
static bool put_word(const keel__wordpiece *model, const keel__vocabulary *vocabulary, const word *w,
                     uint64_t *hashes, keel__ids *out) {
    const size_t before = out->count;
    if (w->n > model->max_word) return keel__ids_add(out, model->unknown);
    for (size_t from = 0; from < w->n;) {
        size_t to = from;
        int32_t id = longest(model, vocabulary, w, from, hashes, &to);
        if (id < 0) {
            out->count = before;
            return keel__ids_add(out, model->unknown);
        }
        if (!keel__ids_add(out, id)) return false;
        from = to;
    }
    return true;
}

keel_status keel__wordpiece_encode(const keel__wordpiece *model, const keel__vocabulary *vocabulary,
                                   const char *text, size_t length, keel_arena *arena, keel__ids *out,
                                   keel_err *err) {
    points all = {0};
    KEEL_TRY(normalise(model, text, length, arena, &all, err));
    char *bytes = keel_arena_alloc(arena, 4 * all.count + 1);
    size_t *start = keel_arena_alloc(arena, (all.count + 1) * sizeof *start);
    uint64_t *hashes = keel_arena_alloc(arena, (all.count + 1) * sizeof *hashes);
    if (!bytes || !start || !hashes) return keel_nomem(err, "tokenizer");
    for (size_t i = 0; i < all.count;) {
        word w = {.text = bytes, .start = start};
        size_t used = 0;
        if (is_space(all.at[i])) {
            i++;
            continue;
        }
        do { /* a word ends before white space and before and behind punctuation */
            start[w.n++] = used;
            used += (size_t)utf8proc_encode_char(all.at[i], (utf8proc_uint8_t *)bytes + used);
            i++;
        } while (!is_punctuation(all.at[i - 1]) && i < all.count && !is_space(all.at[i]) &&
                 !is_punctuation(all.at[i]));
        start[w.n] = used;
        if (!put_word(model, vocabulary, &w, hashes, out)) return keel_nomem(err, "tokenizer");
    }
    return KEEL_OK;
}
