/* Decoders in .gguf files. */
#include "llama_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    llama_use(fuzz_put("in.gguf", data, size));
    return 0;
}
