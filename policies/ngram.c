#include "policies/ngram.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/text.h"

enum {
    MAX_WORD = 256
}; /* bytes of a word that get character n-grams: longer ones are no words of a language */

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(keel_grams *grams) {
    size_t kept = 0;
    qsort(grams->bucket, grams->count, sizeof *grams->bucket, by_value);
    for (size_t i = 0; i < grams->count; i++)
        if (kept == 0 || grams->bucket[i] != grams->bucket[kept - 1])
            grams->bucket[kept++] = grams->bucket[i];
    grams->count = kept;
}

static void put(const keel_ngram_rules *rules, keel_grams *grams, uint64_t hash) {
    grams->bucket[grams->count++] = (uint32_t)(hash % rules->buckets);
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
    marked[0] = '<';
    memcpy(marked + 1, word->text, bytes);
    marked[bytes + 1] = '>';
    for (size_t i = 0; i < bytes + 2; i++)
        if (((unsigned char)marked[i] & 0xC0) != 0x80) start[points++] = (uint16_t)i;
    start[points] = (uint16_t)(bytes + 2);
    if (points <= 3) return;
    for (size_t i = 0; i < points; i++)
        for (size_t n = rules->char_low; n <= rules->char_high && i + n <= points; n++)
            put(rules, grams, keel_hash64(marked + start[i], (size_t)start[i + n] - start[i], ~salt));
}

typedef struct split_text {
    keel_word *words;
    size_t count;
} split_text;

static bool split(const keel_ngram_rules *rules, const char *text, bool characters, keel_arena *arena,
                  split_text *out, size_t *bound) {
    char *folded = keel_text_fold(arena, text, strlen(text));
    out->words = folded ? keel_text_words(arena, folded, &out->count) : NULL;
    if (!out->words) return false;
    if (out->count > rules->max_words) out->count = rules->max_words;
    *bound += out->count * rules->word_high;
    size_t lengths =
        characters && rules->char_high >= rules->char_low ? rules->char_high - rules->char_low + 1 : 0;
    for (size_t i = 0; lengths > 0 && i < out->count; i++) *bound += (out->words[i].length + 2) * lengths;
    return true;
}

keel_status keel_ngram_texts(const keel_ngram_rules *rules, const char *const *texts, size_t n, uint64_t salt,
                             bool characters, keel_arena *arena, keel_grams *out, size_t *n_words,
                             keel_err *err) {
    size_t bound = 0, words = 0;
    split_text *parts = keel_arena_calloc(arena, n, sizeof *parts);
    bool good = parts != NULL;
    for (size_t i = 0; good && i < n; i++)
        good = split(rules, texts[i], characters, arena, &parts[i], &bound);
    keel_grams grams = {.bucket = good ? keel_arena_alloc(arena, bound * sizeof(uint32_t)) : NULL};
    if (!grams.bucket) return keel_fail(err, KEEL_E_NOMEM, "n-grams", "no memory for the n-grams of a text");
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < parts[i].count; j++) {
            put_runs(rules, parts[i].words, j, salt, &grams);
            if (characters) put_characters(rules, &parts[i].words[j], salt, &grams);
        }
        words += parts[i].count;
    }
    sort_unique(&grams);
    *out = grams;
    if (n_words) *n_words = words;
    return KEEL_OK;
}

keel_status keel_ngram_tokens(const keel_ngram_rules *rules, const char *const *tokens, size_t n,
                              uint64_t salt, keel_arena *arena, keel_grams *out, keel_err *err) {
    keel_grams grams = {.bucket = keel_arena_alloc(arena, n * sizeof(uint32_t))};
    if (!grams.bucket) return keel_fail(err, KEEL_E_NOMEM, "n-grams", "no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) put(rules, &grams, keel_hash64(tokens[i], strlen(tokens[i]), salt));
    sort_unique(&grams);
    *out = grams;
    return KEEL_OK;
}
