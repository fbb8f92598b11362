/* The safetensors reader: every byte of every tensor is there, and what was read can be written and read
 * again. */
#include "core/safetensors.h"
#include "fuzz.h"

static size_t touch(const keel_safetensors *file) {
    size_t sum = 0;
    for (size_t i = 0; i < file->count; i++) {
        const unsigned char *bytes = file->tensors[i].data;
        for (size_t k = 0; k < file->tensors[i].bytes; k++) sum += bytes[k];
        FUZZ_CHECK(keel_safetensors_find(file, file->tensors[i].name) == &file->tensors[i]);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_safetensors file = {0}, again = {0};
    float one[4];
    if (!fuzz_ok(keel_safetensors_read(fuzz_put("in.safetensors", data, size), &file, &fuzz_err))) return 0;
    size_t sum = touch(&file);
    (void)fuzz_ok(keel_safetensors_copy(&file, "w", (size_t[]){2, 2}, 2, one, &fuzz_err));
    const char *path = fuzz_path("out.safetensors");
    FUZZ_CHECK(keel_safetensors_write(path, file.tensors, file.count, NULL, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(keel_safetensors_read(path, &again, &fuzz_err) == KEEL_OK);
    FUZZ_CHECK(again.count == file.count && touch(&again) == sum);
    keel_safetensors_free(&file);
    keel_safetensors_free(&again);
    return 0;
}
