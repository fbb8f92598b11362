/* A decoder's folder as `keel compress` writes it: config.json, tokenizer.json, model.safetensors whose
 * matrices lie in number formats of their own. What opens is computed with as it is, and written again has
 * the same bytes. (Bases and policies at 8 bits: the corpora of fuzz_base and fuzz_policy; encoders:
 * fuzz_encoder's.) */
#include "llama_use.h"

static const char *const files[] = {"held/config.json", "held/tokenizer.json", "held/model.safetensors"};

static void check_same(const keel_llama *llama, const keel_llama *again) {
    FUZZ_CHECK(again->n_rows == llama->n_rows);
    for (size_t row = 0; row < llama->n_rows; row++) {
        const keel_matrix *a = &llama->matrix[row], *b = &again->matrix[row];
        FUZZ_CHECK((a->data == NULL) == (b->data == NULL));
        if (!a->data) continue;
        /* F32 and BF16 beside each other become F32. */
        const bool plain = a->type == KEEL_MATRIX_F32 || a->type == KEEL_MATRIX_BF16;
        FUZZ_CHECK(plain || (a->type == b->type && a->inputs == b->inputs));
        FUZZ_CHECK(plain || memcmp(a->data, b->data, a->rows * keel_matrix_row_bytes(a->type, a->cols)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_llama *llama = NULL, *again = NULL;
    float log_prob[LLAMA_MOST_TOKENS], found[LLAMA_MOST_TOKENS];
    FUZZ_CHECK(keel_folder_make(fuzz_path("held"), &fuzz_err) == KEEL_OK);
    fuzz_put_parts(files, 3, data, size);
    llama_use(fuzz_path("held"));
    if (!fuzz_ok(keel_llama_open(&llama, fuzz_path("held"), KEEL_LLAMA_AS_STORED, &fuzz_err))) return 0;
    const size_t n = llama_use_read(llama, log_prob);
    const char *out = fuzz_path("written");
    FUZZ_CHECK(keel_folder_remove(out, &fuzz_err) == KEEL_OK && keel_folder_make(out, &fuzz_err) == KEEL_OK);
    if (fuzz_ok(keel_llama_save(llama, out, KEEL_LLAMA_AS_HELD, 0, &fuzz_err))) {
        FUZZ_CHECK(keel_llama_open(&again, out, KEEL_LLAMA_AS_STORED, &fuzz_err) == KEEL_OK);
        check_same(llama, again);
        FUZZ_CHECK(llama_use_read(again, found) == n);
        keel_llama_close(again);
    }
    keel_llama_close(llama);
    return 0;
}
