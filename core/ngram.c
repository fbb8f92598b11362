#include "core/ngram.h"

#include <string.h>

#include "core/hash.h"
#include "core/text.h"

enum {
    MAX_WORD = 256
}; /* bytes of a word that get character n-grams: longer ones are no words of a language */

/* Few are sorted by insertion, more by counting digits, the lowest first: of nine bits where there are many,
 * else of six. */
enum { FEW = 32, MANY = 512, DIGIT = 9, SHORT_DIGIT = 6 };

static void sort_few(uint32_t *x, size_t n) {
    for (size_t i = 1; i < n; i++) {
        uint32_t held = x[i];
        size_t at = i;
        for (; at > 0 && x[at - 1] > held; at--) x[at] = x[at - 1];
        x[at] = held;
    }
}

static void sort_digit(const uint32_t *restrict from, uint32_t *restrict to, size_t n, unsigned shift,
                       unsigned digit) {
    uint32_t start[(1 << DIGIT) + 1], last = (1u << digit) - 1;
    memset(start, 0, ((size_t)last + 2) * sizeof *start);
    for (size_t i = 0; i < n; i++) start[(from[i] >> shift & last) + 1]++;
    for (size_t d = 1; d <= last; d++) start[d] += start[d - 1];
    for (size_t i = 0; i < n; i++) to[start[from[i] >> shift & last]++] = from[i];
}

/* Sorts and drops what is there already; false when out of memory. */
static bool sort_unique(keel_grams *grams, uint32_t buckets, keel_arena *arena) {
    uint32_t *x = grams->bucket, *spare = NULL;
    size_t n = grams->count, kept = 0;
    if (n <= FEW)
        sort_few(x, n);
    else if (!(spare = keel_arena_alloc(arena, n * sizeof *spare)))
        return false;
    unsigned digit = n < MANY ? SHORT_DIGIT : DIGIT;
    for (unsigned shift = 0; spare && shift < 32 && (buckets - 1) >> shift; shift += digit) {
        sort_digit(x, spare, n, shift, digit);
        uint32_t *sorted = spare;
        spare = x;
        x = sorted;
    }
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || x[i] != x[kept - 1]) x[kept++] = x[i];
    *grams = (keel_grams){kept, x};
    return true;
}

static void put(const keel_ngram_rules *rules, keel_grams *grams, uint64_t hash) {
    uint32_t n = rules->buckets;
    bool power = (n & (n - 1)) == 0; /* saves the division */
    grams->bucket[grams->count++] = (uint32_t)(power ? hash & (n - 1) : hash % n);
}

/* Runs of 1 .. word_high words that end at word `last`. */
static void put_runs(const keel_ngram_rules *rules, const keel_word *words, size_t last, uint64_t salt,
                     keel_grams *grams) {
    uint64_t hash = salt;
    for (size_t length = 1; length <= rules->word_high && length <= last + 1; length++) {
        hash = keel_hash64_mix(hash, words[last + 1 - length].hash);
        put(rules, grams, hash);
    }
}

/* Character n-grams of "<word>", cut between code points only. */
static void put_characters(const keel_ngram_rules *rules, const keel_word *word, uint64_t salt,
                           keel_grams *grams) {
    char marked[MAX_WORD + 2];
    uint16_t start[MAX_WORD + 3]; /* byte offset of each code point, and the end */
    size_t bytes = keel_utf8_cut(word->text, word->length, MAX_WORD), points = 0;
    if (rules->char_high < rules->char_low) return;
    marked[0] = '<';
    memcpy(marked + 1, word->text, bytes);
    marked[bytes + 1] = '>';
    for (size_t i = 0; i < bytes + 2; i++)
        if (((unsigned char)marked[i] & 0xC0) != 0x80) start[points++] = (uint16_t)i;
    start[points] = (uint16_t)(bytes + 2);
    if (points <= 3) return;
    for (size_t i = 0; i < points; i++) {
        uint64_t running = keel_hash64_begin(~salt); /* each n-gram goes on from the shorter one */
        for (size_t n = 1, at = start[i]; n <= rules->char_high && i + n <= points; n++) {
            while (at < start[i + n]) running = keel_hash64_add(running, (unsigned char)marked[at++]);
            if (n >= rules->char_low) put(rules, grams, keel_hash64_end(running));
        }
    }
}

/* As many n-grams as these words can have at most. */
static size_t count_most(const keel_ngram_rules *rules, const keel_word *words, size_t count,
                         bool characters) {
    size_t most = count * rules->word_high;
    for (size_t i = 0; characters && rules->char_high >= rules->char_low && i < count; i++)
        most += (words[i].length + 2) * (rules->char_high - rules->char_low + 1);
    return most;
}

static void put_words(const keel_ngram_rules *rules, const keel_word *words, size_t count, uint64_t salt,
                      bool characters, keel_grams *grams) {
    for (size_t i = 0; i < count; i++) {
        put_runs(rules, words, i, salt, grams);
        if (characters) put_characters(rules, &words[i], salt, grams);
    }
}

/* ---- what is read ---- */

typedef struct split_text {
    keel_word *words;
    size_t count;
} split_text;

static bool split(const char *text, size_t max_words, keel_arena *arena, split_text *out) {
    char *folded = keel_text_fold(arena, text, strlen(text));
    out->words = folded ? keel_text_words(arena, folded, &out->count) : NULL;
    if (out->words && out->count > max_words) out->count = max_words;
    return out->words != NULL;
}

keel_status keel_ngram_texts(const keel_ngram_rules *rules, const char *const *texts, size_t n, uint64_t salt,
                             bool characters, keel_arena *arena, keel_grams *out, size_t *n_words,
                             keel_err *err) {
    size_t most = 0, words = 0;
    split_text *parts = keel_arena_calloc(arena, n, sizeof *parts);
    bool good = parts != NULL;
    for (size_t i = 0; good && i < n; i++) {
        good = split(texts[i], rules->max_words, arena, &parts[i]);
        if (good) most += count_most(rules, parts[i].words, parts[i].count, characters);
    }
    keel_grams grams = {.bucket = good ? keel_arena_alloc(arena, most * sizeof(uint32_t)) : NULL};
    if (!grams.bucket) return keel_nomem(err, "n-grams");
    for (size_t i = 0; i < n; i++) {
        put_words(rules, parts[i].words, parts[i].count, salt, characters, &grams);
        words += parts[i].count;
    }
    if (!sort_unique(&grams, rules->buckets, arena)) return keel_nomem(err, "n-grams");
    *out = grams;
    if (n_words) *n_words = words;
    return KEEL_OK;
}

keel_status keel_ngram_trace_text(const keel_ngram_rules *rules, const char *text, uint64_t salt,
                                  bool characters, keel_arena *arena, keel_ngram_trace *out, keel_err *err) {
    split_text all = {0};
    if (!split(text, rules->max_words, arena, &all)) return keel_nomem(err, "n-grams");
    keel_grams grams = {.bucket = keel_arena_alloc(
                            arena, count_most(rules, all.words, all.count, characters) * sizeof(uint32_t))};
    size_t *start = keel_arena_calloc(arena, all.count + 1, sizeof *start);
    size_t *runs = keel_arena_calloc(arena, all.count, sizeof *runs);
    if (!grams.bucket || !start || !runs) return keel_nomem(err, "n-grams");
    for (size_t i = 0; i < all.count; i++) {
        start[i] = grams.count;
        put_runs(rules, all.words, i, salt, &grams);
        runs[i] = grams.count - start[i];
        if (characters) put_characters(rules, &all.words[i], salt, &grams);
    }
    start[all.count] = grams.count;
    *out = (keel_ngram_trace){all.count, all.words, start, runs, grams.bucket};
    return KEEL_OK;
}

keel_status keel_ngram_union(const keel_ngram_rules *rules, const keel_grams *parts, size_t n,
                             keel_arena *arena, keel_grams *out, keel_err *err) {
    keel_grams grams = {0};
    size_t most = 0;
    for (size_t i = 0; i < n; i++) most += parts[i].count;
    grams.bucket = keel_arena_alloc(arena, most * sizeof *grams.bucket);
    if (!grams.bucket) return keel_nomem(err, "n-grams");
    for (size_t i = 0; i < n; i++) {
        if (parts[i].count > 0)
            memcpy(grams.bucket + grams.count, parts[i].bucket, parts[i].count * sizeof *grams.bucket);
        grams.count += parts[i].count;
    }
    if (!sort_unique(&grams, rules->buckets, arena)) return keel_nomem(err, "n-grams");
    *out = grams;
    return KEEL_OK;
}

static split_text part_of(const keel_ngram_window *window, const split_text *all) {
    const size_t count = all->count < window->rules.max_words ? all->count : window->rules.max_words;
    return (split_text){all->words + (window->ending ? all->count - count : 0), count};
}

keel_status keel_ngram_windows(const keel_ngram_window *windows, size_t n, const char *text,
                               uint64_t length_salt, keel_arena *arena, keel_grams *out, keel_err *err) {
    size_t most = 1;
    split_text all = {0};
    if (!split(text, SIZE_MAX, arena, &all)) return keel_nomem(err, "n-grams");
    for (size_t w = 0; w < n; w++) {
        const split_text part = part_of(&windows[w], &all);
        most += count_most(&windows[w].rules, part.words, part.count, true);
    }
    keel_grams grams = {.bucket = keel_arena_alloc(arena, most * sizeof(uint32_t))};
    if (!grams.bucket) return keel_nomem(err, "n-grams");
    for (size_t w = 0; w < n; w++) {
        const split_text part = part_of(&windows[w], &all);
        put_words(&windows[w].rules, part.words, part.count, windows[w].salt, true, &grams);
    }
    uint64_t bits = 0;
    while (bits < 64 && all.count >> bits) bits++;
    put(&windows[0].rules, &grams, keel_hash64_mix(length_salt, bits));
    if (!sort_unique(&grams, windows[0].rules.buckets, arena)) return keel_nomem(err, "n-grams");
    *out = grams;
    return KEEL_OK;
}

keel_status keel_ngram_tokens(const keel_ngram_rules *rules, const char *const *tokens, size_t n,
                              uint64_t salt, keel_arena *arena, keel_grams *out, keel_err *err) {
    keel_grams grams = {.bucket = keel_arena_alloc(arena, n * sizeof(uint32_t))};
    if (!grams.bucket) return keel_nomem(err, "n-grams");
    for (size_t i = 0; i < n; i++) put(rules, &grams, keel_hash64(tokens[i], strlen(tokens[i]), salt));
    if (!sort_unique(&grams, rules->buckets, arena)) return keel_nomem(err, "n-grams");
    *out = grams;
    return KEEL_OK;
}
