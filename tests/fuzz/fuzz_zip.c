/* Zip archives: entries have names and, if they can be read, the size that the directory says. */
#include "datasets/zip.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel__zip zip;
    keel_buf out = {0};
    if (fuzz_ok(keel__zip_open(&zip, "input.zip", data, size, &fuzz_err)))
        for (size_t i = 0; i < zip.count; i++) {
            FUZZ_CHECK(keel__zip_find(&zip, zip.entries[i].name));
            if (fuzz_ok(keel__zip_read(&zip, &zip.entries[i], "input.zip: entry", &out, &fuzz_err)))
                FUZZ_CHECK(out.length == zip.entries[i].size);
        }
    keel__zip_close(&zip);
    keel_buf_free(&out);
    return 0;
}
