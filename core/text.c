#include "core/text.h"

#include <string.h>
#include <utf8proc.h>

#include "core/hash.h"

/* ---- UTF-8 ---- */

/* True when all eight bytes are ASCII other than NUL: a NUL borrows into its own high bit, anything above has
 * it set. */
static bool eight_ascii(const char *text) {
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return (((word - 0x0101010101010101u) | word) & 0x8080808080808080u) == 0;
}

static size_t ascii_prefix(const char *text, size_t length) {
    size_t i = 0;
    while (i + 8 <= length && eight_ascii(text + i)) i += 8;
    while (i < length && (signed char)text[i] > 0) i++;
    return i;
}

/* Bytes of the multi-byte sequence at s, or 0 when it is not valid (Unicode 15, table 3-7). */
static size_t sequence_length(const unsigned char *s, size_t left) {
    unsigned char lead = s[0], low = 0x80, high = 0xBF;
    size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                    : (lead & 0xF0) == 0xE0        ? 3
                    : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                   : 0;
    if (length == 0 || length > left) return 0;
    if (lead == 0xE0) low = 0xA0;  /* overlong */
    if (lead == 0xED) high = 0x9F; /* surrogates */
    if (lead == 0xF0) low = 0x90;  /* overlong */
    if (lead == 0xF4) high = 0x8F; /* above U+10FFFF */
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return length;
}

size_t keel_utf8_valid_prefix(const char *text, size_t length) {
    size_t i = 0;
    for (;;) {
        i += ascii_prefix(text + i, length - i);
        if (i == length) return i;
        size_t step = sequence_length((const unsigned char *)text + i, length - i);
        if (step == 0) return i;
        i += step;
    }
}

size_t keel_utf8_broken(const char *text, size_t length, bool *unfinished) {
    const unsigned char *at = (const unsigned char *)text, first = at[0],
                        low = first == 0xE0   ? 0xA0
                              : first == 0xF0 ? 0x90
                                              : 0x80,
                        high = first == 0xED   ? 0x9F
                               : first == 0xF4 ? 0x8F
                                               : 0xBF;
    const size_t whole = first < 0xC2 || first > 0xF4 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    size_t n = 1;
    while (n < whole && n < length && at[n] >= (n == 1 ? low : 0x80) && at[n] <= (n == 1 ? high : 0xBF)) n++;
    if (unfinished) *unfinished = n == length && n < whole;
    return n;
}

size_t keel_utf8_cut(const char *text, size_t length, size_t max_bytes) {
    if (length <= max_bytes) return length;
    size_t cut = max_bytes;
    while (cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80) cut--;
    return cut;
}

void keel_utf8_mend(char *text) {
    char *to = text;
    for (size_t left = strlen(text), used; left > 0; text += used, left -= used) {
        used = keel_utf8_valid_prefix(text, left);
        memmove(to, text, used);
        to += used;
        if (used > 0) continue;
        used = keel_utf8_broken(text, left, NULL);
        *to++ = '?';
    }
    *to = '\0';
}

/* ---- what terminals may be shown ---- */

bool keel_text_shows(int32_t point) {
    const utf8proc_category_t category = point < 0 ? UTF8PROC_CATEGORY_CC : utf8proc_category(point);
    return category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_CF && point != 0x2028 &&
           point != 0x2029;
}

void keel_text_tame(char *text) {
    char *to = text;
    for (size_t left = strlen(text), used; left > 0; text += used, left -= used) {
        utf8proc_int32_t point = -1;
        const utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &point);
        used = n > 0 ? (size_t)n : 1;
        if (n > 0 && keel_text_shows(point)) {
            memmove(to, text, used);
            to += used;
        } else {
            *to++ = strchr("\n\r\t", *text) ? ' ' : '?';
        }
    }
    *to = '\0';
}

/* ---- misspelt names ---- */

enum { LONGEST_NAME = 63 };

/* One row of the table at a time. */
static size_t edits(const char *a, size_t n, const char *b, size_t m) {
    size_t row[LONGEST_NAME + 1];
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

bool keel_text_nearer(const char *misspelt, const char *known, size_t *fewest) {
    const size_t n = strlen(misspelt), m = strlen(known);
    if (!*fewest) *fewest = n / 3 + 2; /* farther than that is no misspelling */
    if (n > LONGEST_NAME || m > LONGEST_NAME) return false;
    const size_t apart = edits(misspelt, n, known, m);
    if (apart >= *fewest) return false;
    *fewest = apart;
    return true;
}

/* ---- folding ---- */

/* Text other than ASCII is folded in chunks: SOFT bytes and on to a good place to cut, HARD at the most,
 * because utf8proc sorts marks in time quadratic in their run. A code point becomes at most 18, and those
 * that do have 3 bytes. */
enum { SOFT = 256, HARD = 512, CHUNK_POINTS = HARD * 18 / 3 };

static utf8proc_int32_t straighten(utf8proc_int32_t point) {
    return point == 0x2018 || point == 0x2019 || point == 0x02BC ? '\'' : point;
}

static void fold_ascii(char *out, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = (char)(c + ((unsigned)(c - 'A') < 26u ? 32 : 0));
    }
}

/* A letter never joins what stands before it, conjoining Jamo apart. */
static bool starts_afresh(utf8proc_int32_t point) {
    utf8proc_category_t category = utf8proc_category(point);
    bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO &&
                  category != UTF8PROC_CATEGORY_LM;
    return letter && (point < 0x1100 || point > 0x11FF) && (point < 0x3130 || point > 0x318F) &&
           (point < 0xD7B0 || point > 0xD7FF) && (point < 0xFFA0 || point > 0xFFDC);
}

/* Bytes of the chunk that starts with the code point at text: up to the next ASCII byte, or as said above. */
static size_t chunk_length(const char *text, size_t length) {
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t point;
    size_t i = bytes[0] < 0x80 ? 1 : 0;
    while (i < length && bytes[i] >= 0x80) {
        utf8proc_ssize_t step = utf8proc_iterate(bytes + i, (utf8proc_ssize_t)(length - i), &point);
        if (step <= 0 || i + (size_t)step > HARD || (i >= SOFT && starts_afresh(point))) break;
        i += (size_t)step;
    }
    return i;
}

/* Decomposes into code points, which utf8proc_reencode writes back as UTF-8 over themselves. Apostrophes are
 * straightened between the two: some only appear by decomposition. */
static void fold_chunk(keel_buf *out, const char *text, size_t length) {
    const utf8proc_option_t options =
        UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
    utf8proc_int32_t points[CHUNK_POINTS + 1];
    utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length,
                                                points, CHUNK_POINTS, options);
    for (utf8proc_ssize_t i = 0; i < count && i < CHUNK_POINTS; i++) points[i] = straighten(points[i]);
    if (count >= 0 && count <= CHUNK_POINTS) count = utf8proc_reencode(points, count, options);
    if (count < 0 || count > (utf8proc_ssize_t)sizeof points)
        out->failed = true;
    else
        keel_buf_append(out, points, (size_t)count);
}

static char *fold_unicode(keel_arena *arena, const char *text, size_t length) {
    keel_buf out = {0};
    for (size_t i = 0; i < length && !out.failed;) {
        size_t ascii = ascii_prefix(text + i, length - i);
        if (ascii > 0 && i + ascii < length) ascii--; /* a mark may follow the last one */
        keel_buf_append(&out, text + i, ascii);
        if (out.failed) break;
        fold_ascii(out.data + out.length - ascii, text + i, ascii);
        i += ascii;
        if (i == length) break;
        size_t chunk = chunk_length(text + i, length - i);
        fold_chunk(&out, text + i, chunk);
        i += chunk;
    }
    char *folded = out.failed ? NULL : keel_arena_strndup(arena, out.data, out.length);
    keel_buf_free(&out);
    return folded;
}

char *keel_text_fold(keel_arena *arena, const char *text, size_t length) {
    size_t ascii = ascii_prefix(text, length), valid = ascii;
    if (ascii < length) valid += keel_utf8_valid_prefix(text + ascii, length - ascii);
    if (ascii < valid) return fold_unicode(arena, text, valid);
    char *out = keel_arena_alloc(arena, valid + 1);
    if (!out) return NULL;
    fold_ascii(out, text, valid);
    out[valid] = '\0';
    return out;
}

/* ---- words ---- */

typedef enum point_class { CLASS_SPACE, CLASS_LETTER, CLASS_SINGLE } point_class;

/* Scripts in which one code point is a word: Han with its marks and radicals, Kana, Bopomofo, Hangul and
 * Jamo. */
static bool is_unspaced(utf8proc_int32_t point) {
    static const utf8proc_int32_t ranges[][2] = {
        {0x1100, 0x11FF}, {0x2E80, 0x2FDF},   {0x3005, 0x3007},   {0x3021, 0x3029},
        {0x3031, 0x303C}, {0x3041, 0x31BF},   {0x31F0, 0x31FF},   {0x3400, 0x4DBF},
        {0x4E00, 0x9FFF}, {0xA960, 0xA97F},   {0xAC00, 0xD7FF},   {0xF900, 0xFAFF},
        {0xFF66, 0xFFDC}, {0x16FE0, 0x18D8F}, {0x1AFF0, 0x1B2FF}, {0x20000, 0x3FFFF}};
    if (point < ranges[0][0]) return false;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (point >= ranges[i][0] && point <= ranges[i][1]) return true;
    return false;
}

static point_class classify(utf8proc_int32_t point) {
    if (point < 0x80) {
        if ((unsigned)((point | 32) - 'a') < 26u || (unsigned)(point - '0') < 10u) return CLASS_LETTER;
        return point <= ' ' || point == 0x7F ? CLASS_SPACE : CLASS_SINGLE;
    }
    if (is_unspaced(point)) return CLASS_SINGLE;
    utf8proc_category_t category = utf8proc_category(point);
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO)
        return CLASS_LETTER; /* L*, M*, N* */
    if (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_CC) return CLASS_SPACE;
    return CLASS_SINGLE;
}

/* Class of the code point at text (SPACE at the end) and its bytes; bytes that are no UTF-8 stand alone. */
static point_class class_at(const char *text, const char *end, size_t *bytes) {
    *bytes = 1;
    if (text == end) return CLASS_SPACE;
    if ((signed char)*text > 0) return classify(*text);
    utf8proc_int32_t point;
    utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text, end - text, &point);
    if (length <= 0) return CLASS_SINGLE;
    *bytes = (size_t)length;
    return classify(point);
}

/* Length of the word that starts with the letter at text: letters, and apostrophes with a letter on both
 * sides. */
static size_t run_length(const char *text, const char *end) {
    const char *cursor = text;
    size_t bytes, skipped;
    for (;;) {
        while (class_at(cursor, end, &bytes) == CLASS_LETTER) cursor += bytes;
        if (cursor == end || *cursor != '\'' || class_at(cursor + 1, end, &skipped) != CLASS_LETTER) break;
        cursor++;
    }
    return (size_t)(cursor - text);
}

/* Moves *cursor past the next word; false when there is none. */
static bool next_word(const char **cursor, const char *end, const char **word, size_t *length) {
    size_t bytes = 0;
    point_class class = CLASS_SPACE;
    while (*cursor < end && (class = class_at(*cursor, end, &bytes)) == CLASS_SPACE) *cursor += bytes;
    if (*cursor >= end) return false;
    *word = *cursor;
    *length = class == CLASS_LETTER ? run_length(*cursor, end) : bytes;
    *cursor += *length;
    return true;
}

keel_word *keel_text_words(keel_arena *arena, const char *folded, size_t *count) {
    const char *end = folded + strlen(folded), *word;
    size_t length, n = 0;
    for (const char *cursor = folded; next_word(&cursor, end, &word, &length);) n++;
    keel_word *words = keel_arena_calloc(arena, n ? n : 1, sizeof *words);
    if (!words) return NULL;
    size_t i = 0;
    for (const char *cursor = folded; next_word(&cursor, end, &word, &length);)
        words[i++] =
            (keel_word){.text = word, .length = (uint32_t)length, .hash = keel_hash64(word, length, 0)};
    *count = n;
    return words;
}
