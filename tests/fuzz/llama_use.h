/* What a decoder that was opened must do: read a text, compute finite numbers or say why not, and be the same
 * when it is written and read again. */
#ifndef KEEL_TESTS_FUZZ_LLAMA_USE_H
#define KEEL_TESTS_FUZZ_LLAMA_USE_H

#include <math.h>

#include "fuzz.h"
#include "policies/transformer/llama_run.h"

enum { LLAMA_MOST_TOKENS = 8 };

/* ln p of the first tokens of a text; how many. */
static inline size_t llama_use_read(const keel_llama *llama, float *log_prob) {
    keel_arena arena = {0};
    keel_tokens tokens = {0};
    keel_llama_sequence *sequence = NULL;
    size_t n = 0;
    if (fuzz_ok(keel_tokenizer_encode(llama->tokenizer, "ab ba\n\xe4\xbd\xa0", true, &arena, &tokens,
                                      &fuzz_err)) &&
        fuzz_ok(keel_llama_sequence_open(&sequence, llama, NULL, 0, &fuzz_err))) {
        n = tokens.count < LLAMA_MOST_TOKENS ? tokens.count : LLAMA_MOST_TOKENS;
        if (n > llama->config.positions) n = llama->config.positions;
        const keel_llama_feed feed = {.sequence = sequence, .id = tokens.id, .n = n, .log_prob = log_prob};
        if (!fuzz_ok(keel_llama_run(llama, &feed, 1, NULL, &arena, &fuzz_err))) n = 0;
        for (size_t i = 0; i < n; i++) FUZZ_CHECK(isfinite(log_prob[i]) && log_prob[i] <= 0);
    }
    keel_llama_sequence_close(sequence);
    keel_arena_free(&arena);
    return n;
}

/* The same weights; log_prob NULL: the numbers of RoPE and norms may have been rounded. */
static inline void llama_use_again(const keel_llama *llama, const char *path, const float *log_prob,
                                   size_t n) {
    keel_llama *again = NULL;
    float found[LLAMA_MOST_TOKENS];
    FUZZ_CHECK(keel_llama_open(&again, path, KEEL_LLAMA_AS_STORED, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(again->n_rows == llama->n_rows);
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *a = &llama->matrix[row], *b = &again->matrix[row];
        FUZZ_CHECK((a->data == NULL) == (b->data == NULL));
        FUZZ_CHECK(!a->data || memcmp(a->data, b->data, a->rows * a->cols * sizeof(float)) == 0);
    }
    FUZZ_CHECK(!log_prob || llama_use_read(again, found) == n);
    FUZZ_CHECK(!log_prob || n == 0 || memcmp(found, log_prob, n * sizeof *found) == 0);
    keel_llama_close(again);
}

static inline void llama_use(const char *path) {
    keel_llama *llama = NULL;
    float log_prob[LLAMA_MOST_TOKENS];
    if (!fuzz_ok(keel_llama_open(&llama, path, KEEL_LLAMA_F32, &fuzz_err))) return;
    const size_t n = llama_use_read(llama, log_prob);
    const char *file = fuzz_path("out.gguf"), *folder = fuzz_path("out");
    if (fuzz_ok(keel_llama_save_gguf(llama, file, KEEL_BLOCK_F32, &fuzz_err)))
        llama_use_again(llama, file, NULL, 0);
    FUZZ_CHECK(keel_folder_remove(folder, &fuzz_err) == KEEL_OK &&
               keel_folder_make(folder, &fuzz_err) == KEEL_OK);
    if (fuzz_ok(keel_llama_save(llama, folder, KEEL_BLOCK_F32, 0, &fuzz_err)))
        llama_use_again(llama, folder, log_prob, n);
    keel_llama_close(llama);
}

#endif
