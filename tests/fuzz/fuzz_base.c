/* The folder of an n-gram base. */
#include "base_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"config.json", "tokenizer.json", "model.safetensors"};
    return fuzz_base_folder("builtin", names, 3, data, size);
}
