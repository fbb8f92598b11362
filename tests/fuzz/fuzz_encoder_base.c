/* The folder of an encoder base: what heads are over, their weights, and the encoder beneath. */
#include "base_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"encoder.json", "heads.safetensors", "config.json", "tokenizer.json",
                                        "model.safetensors"};
    return fuzz_base_folder("encoder", names, 5, data, size);
}
