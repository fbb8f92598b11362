/* Decoders in folders as Hugging Face lays them out. */
#include "llama_use.h"

enum { N_FILES = 9 };

static const char *const files[N_FILES] = {"decoder/config.json",
                                           "decoder/generation_config.json",
                                           "decoder/tokenizer_config.json",
                                           "decoder/chat_template.jinja",
                                           "decoder/tokenizer.json",
                                           "decoder/model.safetensors.index.json",
                                           "decoder/model.safetensors",
                                           "decoder/model-00001-of-00002.safetensors",
                                           "decoder/model-00002-of-00002.safetensors"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FUZZ_CHECK(keel_folder_make(fuzz_path("decoder"), &fuzz_err) == KEEL_OK);
    fuzz_put_parts(files, N_FILES, data, size);
    llama_use(fuzz_path("decoder"));
    return 0;
}
