/* The folder of an encoder, with an adapter or without. What loads encodes: finite vectors, the same ones
 * alone and in company, or an error. */
#include <math.h>

#include "fuzz.h"
#include "policies/transformer/peft.h"

enum { N_FILES = 13, MOST_WIDTH = 1 << 16 };

static const char *const files[N_FILES] = {"encoder/config.json",
                                           "encoder/sentence_bert_config.json",
                                           "encoder/config_sentence_transformers.json",
                                           "encoder/tokenizer_config.json",
                                           "encoder/1_Pooling/config.json",
                                           "encoder/modules.json",
                                           "encoder/tokenizer.json",
                                           "encoder/adapter_config.json",
                                           "encoder/adapter_model.safetensors",
                                           "encoder/model.safetensors.index.json",
                                           "encoder/model.safetensors",
                                           "encoder/model-00001-of-00002.safetensors",
                                           "encoder/model-00002-of-00002.safetensors"};

static const char *lay_out(const uint8_t *data, size_t size) {
    FUZZ_CHECK(keel_folder_make(fuzz_path("encoder/1_Pooling"), &fuzz_err) == KEEL_OK);
    fuzz_put_parts(files, N_FILES, data, size);
    return fuzz_path("encoder");
}

static bool encode(const keel_bert *bert, const char *const *texts, size_t n, float *out) {
    keel_arena arena = {0};
    keel_bert_batch batch;
    size_t cut = 0;
    const bool done = fuzz_ok(keel_bert_read(bert, texts, n, &arena, &batch, &cut, &fuzz_err)) &&
                      fuzz_ok(keel_bert_encode(bert, &batch, &arena, out, &fuzz_err));
    for (size_t d = 0; done && d < n * bert->config.hidden; d++) FUZZ_CHECK(isfinite(out[d]));
    keel_arena_free(&arena);
    return done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const texts[] = {"How do I bake bread? \xe6\x80\x8e", "No."};
    static float together[2 * MOST_WIDTH], alone[MOST_WIDTH];
    keel_bert *bert = NULL;
    if (fuzz_ok(keel_peft_open(&bert, lay_out(data, size), &fuzz_err)) && encode(bert, texts, 2, together)) {
        const size_t width = bert->config.hidden;
        for (size_t i = 0; i < 2; i++) {
            FUZZ_CHECK(encode(bert, &texts[i], 1, alone));
            FUZZ_CHECK(memcmp(alone, together + i * width, width * sizeof *alone) == 0);
        }
    }
    keel_bert_close(bert);
    return 0;
}
