/* keel.json of an artefact: the input is the manifest of a folder with two small files. */
#include <cjson/cJSON.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "policies/artefact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *manifest = NULL;
    char hash[65] = "";
    mkdir(fuzz_path("artefact"), 0700);
    fuzz_put("artefact/config.json", "{}", 2);
    fuzz_put("artefact/model.safetensors", "", 0);
    fuzz_put("artefact/keel.json", data, size);
    if (fuzz_ok(keel_artefact_open(fuzz_path("artefact"), "policy", &manifest, hash, &fuzz_err)))
        FUZZ_CHECK(strlen(hash) == 64);
    cJSON_Delete(manifest);
    return 0;
}
