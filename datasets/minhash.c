#include "datasets/minhash.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/text.h"

/* LOOK_BACK: how many of those before it in a band a text is compared with, so that a log of one template
 * does not take time in the square. */
enum { WORDS = 3, POINTS = 5, LOOK_BACK = 1000 };

static int compare_numbers(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t next_point(const char *text, size_t i) {
    for (i++; ((unsigned char)text[i] & 0xC0) == 0x80; i++) {}
    return i;
}

/* Runs of POINTS code points; a shorter text is one run. Room for one a byte and one more. */
static size_t point_runs(const char *text, uint64_t *gram) {
    const size_t length = strlen(text);
    size_t n = 0, begin = 0, end = 0;
    for (int i = 0; i < POINTS && end < length; i++) end = next_point(text, end);
    for (; length;) {
        gram[n++] = keel_hash64(text + begin, end - begin, 0);
        if (end == length) break;
        begin = next_point(text, begin);
        end = next_point(text, end);
    }
    return n;
}

static size_t word_runs(const keel_word *word, size_t n_words, uint64_t *gram) {
    const size_t size = n_words < WORDS ? n_words : WORDS;
    size_t n = 0;
    for (size_t i = 0; n_words && i + size <= n_words; i++) {
        uint64_t hash = word[i].hash;
        for (size_t k = 1; k < size; k++) hash = keel_hash64_mix(hash, word[i + k].hash);
        gram[n++] = hash;
    }
    return n;
}

static void sign(keel_minhash_text *of) {
    for (uint64_t b = 0; b < KEEL_MINHASH_BANDS; b++) {
        uint64_t band = b;
        for (uint64_t r = 0; r < KEEL_MINHASH_ROWS; r++) {
            const uint64_t seed = keel_hash64_end((b * KEEL_MINHASH_ROWS + r + 1) * 0x9e3779b97f4a7c15u);
            uint64_t least = UINT64_MAX;
            for (size_t i = 0; i < of->n; i++) {
                const uint64_t hash = keel_hash64_end(of->gram[i] ^ seed);
                if (hash < least) least = hash;
            }
            band = keel_hash64_mix(band, least);
        }
        of->band[b] = band;
    }
}

keel_status keel_minhash_add(keel_minhash *all, const char *folded, keel_err *err) {
    const bool spaced = strpbrk(folded, " \t\r\n") != NULL;
    size_t n_words = 0, n = 0;
    if (!keel_grow(&all->text, all->n + 1, &all->capacity, sizeof *all->text))
        return keel_nomem(err, "near-duplicates");
    keel_arena scratch = {0};
    const keel_word *word = spaced ? keel_text_words(&scratch, folded, &n_words) : NULL;
    const size_t most = spaced ? n_words + 1 : strlen(folded) + 1;
    uint64_t *gram = keel_arena_alloc(&scratch, most * sizeof *gram);
    if (gram && (word || !spaced)) n = spaced ? word_runs(word, n_words, gram) : point_runs(folded, gram);
    size_t unique = 0;
    if (n) qsort(gram, n, sizeof *gram, compare_numbers);
    for (size_t i = 0; i < n; i++)
        if (!unique || gram[unique - 1] != gram[i]) gram[unique++] = gram[i];
    uint64_t *kept = keel_arena_alloc(&all->arena, (unique + 1) * sizeof *kept);
    const bool made = gram && (word || !spaced) && kept;
    if (made) {
        keel_minhash_text *to = &all->text[all->n];
        if (unique) memcpy(kept, gram, unique * sizeof *kept);
        *to = (keel_minhash_text){.gram = kept, .n = unique, .parent = all->n};
        sign(to);
        all->n++;
    }
    keel_arena_free(&scratch);
    return made ? KEEL_OK : keel_nomem(err, "near-duplicates");
}

double keel_minhash_similarity(const keel_minhash_text *a, const keel_minhash_text *b) {
    size_t both = 0;
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        const uint64_t x = a->gram[i], y = b->gram[j];
        both += x == y;
        i += x <= y;
        j += y <= x;
    }
    const size_t either = a->n + b->n - both;
    return either ? (double)both / (double)either : 0;
}

size_t keel_minhash_first(keel_minhash *all, size_t i) {
    while (all->text[i].parent != i) {
        all->text[i].parent = all->text[all->text[i].parent].parent;
        i = all->text[i].parent;
    }
    return i;
}

typedef struct entry {
    uint64_t band;
    size_t text;
} entry;

static int compare_entries(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->band != y->band) return x->band < y->band ? -1 : 1;
    return x->text < y->text ? -1 : x->text > y->text;
}

static void join_band(keel_minhash *all, const entry *of, double threshold) {
    for (size_t i = 1, begin = 0; i < all->n; i++) {
        if (of[i].band != of[begin].band) begin = i;
        for (size_t j = begin; j < i && j - begin < LOOK_BACK; j++) {
            const size_t a = keel_minhash_first(all, of[i].text), b = keel_minhash_first(all, of[j].text);
            if (a == b) continue;
            if (keel_minhash_similarity(&all->text[of[i].text], &all->text[of[j].text]) < threshold) continue;
            all->text[a > b ? a : b].parent = a > b ? b : a;
        }
    }
}

keel_status keel_minhash_join(keel_minhash *all, double threshold, keel_err *err) {
    entry *entries = keel_calloc(all->n + 1, sizeof *entries);
    if (!entries) return keel_nomem(err, "near-duplicates");
    for (size_t b = 0; b < KEEL_MINHASH_BANDS && all->n; b++) {
        for (size_t i = 0; i < all->n; i++) entries[i] = (entry){all->text[i].band[b], i};
        qsort(entries, all->n, sizeof *entries, compare_entries);
        join_band(all, entries, threshold);
    }
    keel_free(entries);
    return KEEL_OK;
}

void keel_minhash_free(keel_minhash *all) {
    keel_free(all->text);
    keel_arena_free(&all->arena);
    *all = (keel_minhash){0};
}
