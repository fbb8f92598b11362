/* Decoders in folders as Hugging Face lays them out. */
#include "llama_use.h"

enum { N_FILES = 9 };

/* One a part of the input, in this order; an empty part is a file that is not there. */
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
    fuzz_part parts[N_FILES];
    const size_t n = fuzz_parts(data, size, parts, N_FILES);
    FUZZ_CHECK(keel_folder_make(fuzz_path("decoder"), &fuzz_err) == KEEL_OK);
    for (size_t i = 0; i < N_FILES; i++) {
        if (i < n && parts[i].size)
            fuzz_put(files[i], parts[i].data, parts[i].size);
        else
            unlink(fuzz_path(files[i]));
    }
    llama_use(fuzz_path("decoder"));
    return 0;
}
