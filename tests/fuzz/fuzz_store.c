/* A store's file with any bytes: an SQLite file that is damaged, made up, or another application's. */
#include "store_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel_folder_remove(fuzz_path("store"), NULL); /* with what SQLite left beside it */
    FUZZ_CHECK(keel_folder_make(fuzz_path("store"), &fuzz_err) == KEEL_OK);
    fuzz_use_store(fuzz_put("store/s.db", data, size));
    return 0;
}
