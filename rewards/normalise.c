#include "rewards/normalise.h"

#include <stdbool.h>
#include <string.h>

#include "core/text.h"
#include "rewards/normalise_internal.h"
#include "rewards/words.h"

/* ---- marks that folding could not put into their letters: strokes, lines and heaps of accents ---- */

static bool
is_mark(const unsigned char *s) { /* U+0300 to 036F, U+1AB0 to 1AFF, U+1DC0 to 1DFF, U+20D0 to 20FF */
    if (*s == 0xCC || (*s == 0xCD && s[1] < 0xB0)) return true;
    return (*s == 0xE1 && ((s[1] == 0xAA && s[2] >= 0xB0) || s[1] == 0xAB || s[1] == 0xB7)) ||
           (*s == 0xE2 && s[1] == 0x83 && s[2] >= 0x90);
}

static void drop_marks(char *text) {
    unsigned char *to = (unsigned char *)text;
    for (const unsigned char *from = to; *from;) {
        const size_t bytes = is_mark(from) ? (*from < 0xE0 ? 2 : 3) : 0;
        if (bytes)
            from += bytes;
        else
            *to++ = *from++;
    }
    *to = '\0';
}

/* ---- runs: what may be a word, between what is none ---- */

typedef struct run {
    const char *text;
    size_t length;
    size_t of[KEEL__OTHER + 1]; /* characters by kind */
    const char *word;           /* what it may stand for; NULL: itself */
    size_t word_length;
    int cost;    /* of it, or of what it may stand for, if that is a word */
    bool spoken; /* without the signs at its ends it is a word: they may be punctuation */
} run;

typedef struct runs {
    run *items;
    size_t count, capacity;
    keel_arena *arena;
    bool failed;
} runs;

static bool disguised(const run *it) {
    return it->length > it->of[KEEL__PLAIN] + it->of[KEEL__APOSTROPHE];
}

static run run_at(const char *text, const char *end) {
    run it = {.text = text, .cost = KEEL_WORD_UNKNOWN};
    const char *at = text;
    for (keel__letter letter; at < end; at += letter.bytes) {
        letter = keel__letter_at(at, end);
        if (letter.kind == KEEL__BREAK) break;
        it.of[letter.kind]++;
    }
    it.length = (size_t)(at - text);
    return it;
}

/* Without the apostrophe, or the sign, at one of its ends: false when there is none. */
static bool trim(run *it, bool ending) {
    const char *const end = it->text + it->length;
    size_t n = 1;
    while (ending && n < it->length && (end[-(ptrdiff_t)n] & 0xC0) == 0x80) n++;
    if (it->length == 0) return false;
    const keel__letter letter = keel__letter_at(ending ? end - n : it->text, end);
    if (letter.kind != KEEL__APOSTROPHE && letter.kind != KEEL__SIGN) return false;
    it->of[letter.kind]--;
    it->length -= letter.bytes;
    if (!ending) it->text += letter.bytes;
    return true;
}

static void trim_apostrophes(run *it) {
    while (it->length > 0 && *it->text == '\'') trim(it, false);
    while (it->length > 0 && it->text[it->length - 1] == '\'') trim(it, true);
}

static bool known(const run *it) {
    return it->cost != KEEL_WORD_UNKNOWN;
}

static void read_run(runs *all, run *it) {
    char word[KEEL__WORD_ROOM];
    const size_t n = keel__letters_read(it->text, it->length, word, &it->cost);
    if (n == 0 || !disguised(it)) return;
    it->word_length = n;
    it->word = keel_arena_strndup(all->arena, word, n);
    all->failed = all->failed || !it->word;
}

/* A sign at an end is a letter if that makes the more frequent word, else punctuation. */
static void read_signs(runs *all, run *it) {
    enum { WAYS = 4 };
    run way[WAYS] = {*it, *it, *it, *it},
        *best = &way[0]; /* bare, without the first, without the last, all */
    while (trim(&way[0], false)) continue;
    while (trim(&way[0], true)) continue;
    trim(&way[1], false);
    trim(&way[2], true);
    if (way[0].length == 0) best = &way[WAYS - 1];
    for (size_t i = 0; i < WAYS; i++) {
        if (way[i].length == 0) continue;
        read_run(all, &way[i]);
        if (way[i].cost < best->cost) best = &way[i];
    }
    *it = *best;
    it->spoken = way[0].length > 0 && known(&way[0]) && !disguised(&way[0]);
}

static void add_run(runs *all, run it) {
    trim_apostrophes(&it);
    if (it.length == 0) return;
    if (it.of[KEEL__SIGN])
        read_signs(all, &it);
    else
        read_run(all, &it);
    if (!keel_arena_grow(all->arena, &all->items, all->count, &all->capacity, sizeof *all->items))
        all->failed = true;
    else
        all->items[all->count++] = it;
}

static void find_runs(runs *all, const char *text) {
    const char *const end = text + strlen(text);
    while (text < end && !all->failed) {
        const run it = run_at(text, end);
        if (it.length > 0) add_run(all, it);
        text += it.length;
        if (text < end) text += keel__letter_at(text, end).bytes;
    }
}

/* ---- what the runs say of the text ---- */

typedef struct nature {
    bool english; /* enough of it are known words, disguised or not */
    bool coded;   /* with digits and signs for letters */
    bool slips;   /* enough of its words are none */
    bool drawn;   /* what is all in another script is drawn as words are */
    bool foreign; /* more words of another script than of Latin */
} nature;

static size_t letters(const run *it) {
    return it->of[KEEL__PLAIN] + it->of[KEEL__LATIN] + it->of[KEEL__ALIKE] + it->of[KEEL__OTHER];
}

static bool is_coded(const run *it) {
    return it->word && it->of[KEEL__DIGIT] + it->of[KEEL__SIGN] > 0;
}

static bool is_foreign(const run *it) {
    return it->of[KEEL__ALIKE] + it->of[KEEL__OTHER] > 0 && it->of[KEEL__PLAIN] + it->of[KEEL__LATIN] == 0;
}

/* Short words of any language are drawn as English ones by chance: letters count, and either there are some,
 * or other words are of the same kind. */
static bool is_drawn(const runs *all) {
    enum { DRAWN = 70 /* percent */, SOME = 12 };
    size_t foreign = 0, foreign_letters = 0, read = 0, others = 0;
    for (size_t i = 0; i < all->count; i++) {
        const run *it = &all->items[i];
        others += !is_foreign(it) && known(it);
        foreign += is_foreign(it);
        if (is_foreign(it)) foreign_letters += letters(it);
        if (is_foreign(it) && known(it)) read += letters(it);
    }
    return read * 100 >= foreign_letters * DRAWN && (read >= SOME || others >= 2 * foreign);
}

static nature nature_of(const runs *all) {
    enum { WORDS = 45 /* percent of an English text */, LETTERS = 36, CODED = 10, SLIPS = 15 };
    nature is = {.drawn = is_drawn(all)};
    size_t words = 0, all_letters = 0, read = 0, read_letters = 0, coded = 0, latin = 0, foreign = 0;
    for (size_t i = 0; i < all->count; i++) {
        const run *it = &all->items[i];
        const bool word = known(it) && (is.drawn || !is_foreign(it));
        words += letters(it) > 0 || (word && is_coded(it));
        all_letters += letters(it);
        read += word;
        if (word) read_letters += letters(it);
        coded += word && is_coded(it) && letters(it) > 0 && !it->spoken;
        latin += it->of[KEEL__PLAIN] + it->of[KEEL__LATIN] == it->length;
        foreign += is_foreign(it);
    }
    is.english = read * 100 >= words * WORDS && read_letters * 100 >= all_letters * LETTERS && read > 0;
    is.slips = (words - read) * 100 >= words * SLIPS;
    is.coded = coded * 100 >= words * CODED && (coded > 1 || coded * 2 >= words);
    is.foreign = foreign > latin;
    return is;
}

/* ---- writing ---- */

/* A word whose letters are of several scripts, in one of them: that of the letters that have no look-alike,
 * else that of the text. */
static bool put_one_script(const run *it, bool foreign, keel_buf *out) {
    const size_t latin = it->of[KEEL__PLAIN] + it->of[KEEL__LATIN];
    const bool mixed = latin > 0 && it->of[KEEL__ALIKE] + it->of[KEEL__OTHER] > 0;
    const bool to_latin = it->of[KEEL__OTHER] == 0 && !(foreign && it->of[KEEL__LATIN] == 0);
    const char *const end = it->text + it->length, *model = NULL;
    if (!mixed) return false;
    for (const char *at = it->text; at < end && !model; at += keel__letter_at(at, end).bytes) {
        const keel__letter_kind kind = keel__letter_at(at, end).kind;
        if (kind == KEEL__OTHER || (kind == KEEL__ALIKE && it->of[KEEL__OTHER] == 0)) model = at;
    }
    for (const char *at = it->text; at < end;) {
        const keel__letter letter = keel__letter_at(at, end);
        char other[4];
        const size_t n =
            !to_latin && letter.kind == KEEL__PLAIN ? keel__letter_in_script(*at, model, end, other) : 0;
        if (to_latin && letter.kind == KEEL__ALIKE)
            keel_buf_append(out, letter.options, 1);
        else
            keel_buf_append(out, n ? other : at, n ? n : letter.bytes);
        at += letter.bytes;
    }
    return true;
}

/* A plain word that is none: without the slip that made it so, or several that were written as one. */
static void put_mended(const char *word, size_t length, keel_arena *arena, keel_buf *out) {
    enum { SHORTEST = 4, SEVERAL = 16 };
    char nearest[KEEL__WORD_ROOM + 2];
    const size_t n =
        length >= SHORTEST && length < KEEL_WORD_LONGEST ? keel_word_nearest(word, length, nearest) : 0;
    if (n > 0)
        keel_buf_append(out, nearest, n);
    else if (length < SEVERAL || !keel_words_split(word, length, arena, out))
        keel_buf_append(out, word, length);
}

/* Whether it stands for what it may stand for. */
static bool is_meant(const run *it, const nature *text) {
    if (!it->word) return false;
    if (is_coded(it)) return text->coded && (known(it) || letters(it) > 0);
    return known(it) && (text->drawn || !is_foreign(it));
}

static void put_run(const run *it, const nature *text, keel_arena *arena, keel_buf *out) {
    const bool meant = is_meant(it, text);
    if (text->english && meant && known(it))
        keel_buf_append(out, it->word, it->word_length);
    else if (text->english && meant)
        put_mended(it->word, it->word_length, arena, out);
    else if (text->english && text->slips && !known(it) && !disguised(it))
        put_mended(it->text, it->length, arena, out);
    else if (!put_one_script(it, text->foreign, out))
        keel_buf_append(out, it->text, it->length);
}

char *keel_normalise(keel_arena *arena, const char *text, size_t length) {
    runs all = {.arena = arena};
    keel_buf out = {0};
    char *folded = keel_text_fold(arena, text, length);
    if (!folded) return NULL;
    drop_marks(folded);
    const char *at = keel__join_letters(arena, folded);
    if (!at) return NULL;
    find_runs(&all, at);
    const nature is = nature_of(&all);
    for (size_t i = 0; i < all.count; i++) {
        keel_buf_append(&out, at, (size_t)(all.items[i].text - at));
        put_run(&all.items[i], &is, arena, &out);
        at = all.items[i].text + all.items[i].length;
    }
    keel_buf_text(&out, at);
    char *normal =
        out.failed || all.failed ? NULL : keel_arena_strndup(arena, out.data ? out.data : "", out.length);
    keel_buf_free(&out);
    return normal;
}
