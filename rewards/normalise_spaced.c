/* Letters that stand alone, joined to words: "c a n n o t", "c.a.n.n.o.t". Where longer gaps stand among the
 * gaps, they part the words; where all are alike, the words that are known do. */
#include <stdint.h>
#include <string.h>

#include "rewards/normalise_internal.h"
#include "rewards/words.h"

enum { FEWEST = 4 /* letters in a row: fewer are initials and lists */ };

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t blanks_at(const char *text) {
    size_t n = 0;
    while (is_blank(text[n])) n++;
    return n;
}

static bool is_letter(const keel__letter *letter) {
    return letter->kind != KEEL__BREAK && letter->kind != KEEL__APOSTROPHE && *letter->options;
}

/* Bytes of the one character that stands between blanks here; 0 when more stand there. */
static size_t single_at(const char *text, const char *end, bool *letter) {
    if (text >= end) return 0;
    const keel__letter at = keel__letter_at(text, end);
    size_t bytes = at.bytes;
    while (text + bytes < end && (text[bytes] & 0xC0) == 0x80) bytes++;
    *letter = is_letter(&at);
    const bool alone = text + bytes == end || is_blank(text[bytes]);
    return alone && (at.kind != KEEL__BREAK || (signed char)*text > 0) ? bytes : 0;
}

/* ---- between blanks ---- */

typedef struct row {
    const char *end;    /* of its last character */
    size_t gap;         /* the shortest between two */
    bool worth, uneven; /* enough letters; some gaps are longer */
} row;

static row row_at(const char *text, const char *end) {
    row out = {.gap = SIZE_MAX};
    size_t letters = 0, all = 0, longest = 0;
    bool letter = false;
    for (size_t bytes; (bytes = single_at(text, end, &letter)) > 0;) {
        out.end = text + bytes;
        letters += letter;
        all++;
        const size_t gap = blanks_at(out.end);
        const bool line = gap > 0 && memchr(out.end, '\n', gap);
        if (!single_at(out.end + gap, end, &letter)) break;
        if (!line && gap < out.gap) out.gap = gap;
        if (!line && gap > longest) longest = gap;
        text = out.end + gap;
    }
    out.uneven = longest > out.gap;
    out.worth = letters >= FEWEST && letters * 2 >= all;
    return out;
}

/* A stretch of joined characters: known words are told apart in what is none. */
static void put_words(const char *text, size_t length, keel_arena *arena, keel_buf *out) {
    for (size_t i = 0, n; i < length; i += n) {
        for (n = 0; i + n < length && ((text[i + n] >= 'a' && text[i + n] <= 'z') || text[i + n] == '\'');)
            n++;
        const bool split = n > 1 && keel_word_cost(text + i, n) == KEEL_WORD_UNKNOWN &&
                           keel_words_split(text + i, n, arena, out);
        if (n == 0) n = 1;
        if (!split) keel_buf_append(out, text + i, n);
    }
}

static void put_row(const char *text, const row *all, keel_arena *arena, keel_buf *out) {
    keel_buf word = {0};
    bool letter;
    while (text < all->end) {
        const size_t bytes = single_at(text, all->end, &letter),
                     gap = text + bytes < all->end ? blanks_at(text + bytes) : 0;
        const bool line = gap > 0 && memchr(text + bytes, '\n', gap);
        keel_buf_append(&word, text, bytes);
        text += bytes + gap;
        if (text < all->end && gap <= all->gap && !line) continue;
        if (all->uneven)
            keel_buf_append(out, word.data, word.length);
        else
            put_words(word.data, word.length, arena, out);
        if (text < all->end) keel_buf_text(out, line ? "\n" : " ");
        keel_buf_clear(&word);
    }
    out->failed = out->failed || word.failed;
    keel_buf_free(&word);
}

/* ---- between marks ---- */

/* The mark that stands between all characters of a stretch without blanks, which may also begin or end with
 * it; '\0' when there is none. *letters: how many. */
static char mark_of(const char *text, const char *end, size_t *letters) {
    static const char marks[] = ".-_*/,~|+=:";
    char mark = '\0';
    *letters = 0;
    if (end - text > 2 && strchr(marks, *text) && text[2] == *text) text++;
    while (text < end) {
        const keel__letter at = keel__letter_at(text, end);
        *letters += is_letter(&at);
        text += at.bytes;
        if (text == end) break;
        if (!strchr(marks, *text) || (mark && mark != *text)) return '\0';
        mark = *text++;
    }
    return mark;
}

static size_t length_of(const char *text) {
    size_t n = 0;
    while (text[n] && !is_blank(text[n])) n++;
    return n;
}

/* Whether a third of the stretches are, and one is long enough. */
static bool marks_letters(const char *text) {
    size_t all = 0, marked = 0, longest = 0, letters;
    for (size_t n; *text; text += n) {
        text += blanks_at(text);
        n = length_of(text);
        const bool is = n > 0 && mark_of(text, text + n, &letters) && letters > 1;
        all += n > 0;
        marked += is;
        if (is && letters > longest) longest = letters;
    }
    return longest >= FEWEST && marked * 3 >= all;
}

/* The marks stand at every other place. */
static void put_marked(const char *text, const char *end, char mark, keel_buf *out) {
    if (*text == mark && end - text > 2 && text[2] == mark) text++;
    while (text < end) {
        const size_t bytes = keel__letter_at(text, end).bytes;
        keel_buf_append(out, text, bytes);
        text += bytes + 1;
    }
}

/* ---- both ---- */

static bool holds_row(const char *text, const char *end) {
    while (text < end) {
        text += blanks_at(text);
        const row found = row_at(text, end);
        if (found.end && found.worth) return true;
        text = found.end ? found.end : text + length_of(text);
    }
    return false;
}

const char *keel__join_letters(keel_arena *arena, const char *text) {
    const char *const end = text + strlen(text);
    const bool marked = marks_letters(text);
    keel_buf out = {0};
    if (!marked && !holds_row(text, end)) return text;
    while (text < end) {
        const size_t gap = blanks_at(text);
        keel_buf_append(&out, text, gap);
        text += gap;
        const row found = row_at(text, end);
        const char *past = found.end && found.worth ? found.end : text + length_of(text);
        size_t letters;
        const char mark = marked && !found.worth ? mark_of(text, past, &letters) : '\0';
        if (found.end && found.worth)
            put_row(text, &found, arena, &out);
        else if (mark && letters > 1)
            put_marked(text, past, mark, &out);
        else
            keel_buf_append(&out, text, (size_t)(past - text));
        text = past;
    }
    char *joined = out.failed ? NULL : keel_arena_strndup(arena, out.data ? out.data : "", out.length);
    keel_buf_free(&out);
    return joined;
}
