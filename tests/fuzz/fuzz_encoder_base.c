/* An encoder base's folder: what heads are over, their weights, and the encoder beneath. What loads encodes,
 * and its prior is one. */
#include "artefact_parts.h"
#include "base_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"encoder.json", "heads.safetensors", "config.json", "tokenizer.json",
                                        "model.safetensors"};
    keel_base *base = NULL;
    keel_arena arena = {0};
    const char *dir = fuzz_artefact("base", "encoder", data, size, names, 5);
    if (fuzz_ok(keel_base_load(&base, dir, &fuzz_err))) {
        fuzz_use_base(base, &arena);
        (void)keel_base_act_index(base, "refuse");
    }
    keel_base_close(base);
    keel_arena_free(&arena);
    return 0;
}
