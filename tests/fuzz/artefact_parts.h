/* Makes an artefact folder out of an input's parts, with a manifest whose hashes are right: what is tried
 * here is what lies behind the hashes. */
#ifndef KEEL_TESTS_FUZZ_ARTEFACT_PARTS_H
#define KEEL_TESTS_FUZZ_ARTEFACT_PARTS_H

#include "fuzz.h"
#include "policies/artefact.h"

/* names: one a part. Returns the folder. */
static inline const char *fuzz_artefact(const char *kind, const char *type, const uint8_t *data, size_t size,
                                        const char *const *names, size_t n_names) {
    fuzz_part parts[8];
    keel_folder_write folder;
    size_t n = fuzz_parts(data, size, parts, n_names);
    const char *path = fuzz_path(kind);
    FUZZ_CHECK(keel_folder_begin(&folder, path, &fuzz_err) == KEEL_OK);
    for (size_t i = 0; i < n; i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s/%s", strrchr(folder.temporary, '/') + 1, names[i]);
        fuzz_put(name, parts[i].data, parts[i].size);
    }
    FUZZ_CHECK(keel_artefact_commit(&folder, kind, type, NULL, NULL, NULL, NULL, &fuzz_err) == KEEL_OK);
    return path;
}

#endif
