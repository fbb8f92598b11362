/* Near-duplicates among texts: MinHash (Broder 1997) with banding (Leskovec, Rajaraman & Ullman, Mining of
 * Massive Datasets, 3.4). A text is the set of its runs of 3 words, or of 5 code points where it has no white
 * space. 120 hash functions make 20 bands of 6 rows: texts of Jaccard similarity s meet in a band with
 * probability 1 - (1 - s^6)^20 (.918 for .7, .998 for .8). Those that meet are compared by their true
 * similarity and joined by union-find. */
#ifndef KEEL_DATASETS_MINHASH_H
#define KEEL_DATASETS_MINHASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL_MINHASH_BANDS = 20, KEEL_MINHASH_ROWS = 6 };

typedef struct keel_minhash_text {
    uint64_t band[KEEL_MINHASH_BANDS];
    const uint64_t *gram; /* [n], ascending, each once */
    size_t n, parent;
} keel_minhash_text;

/* Zero-initialise; free at the end. Takes 200 bytes a text, and 8 a run of words. */
typedef struct keel_minhash {
    keel_arena arena;
    keel_minhash_text *text; /* [n], in the order of add */
    size_t n, capacity;
} keel_minhash;

/* folded: by keel_text_fold. */
keel_status keel_minhash_add(keel_minhash *all, const char *folded, keel_err *err);
/* Joins those of similarity `threshold` (0 to 1) and more. */
keel_status keel_minhash_join(keel_minhash *all, double threshold, keel_err *err);
/* The first text of the set that text i was joined to. */
size_t keel_minhash_first(keel_minhash *all, size_t i);
/* |a and b| / |a or b|; 0 where both are empty. */
double keel_minhash_similarity(const keel_minhash_text *a, const keel_minhash_text *b);
void keel_minhash_free(keel_minhash *all);

#endif
