/* What the fuzz targets share: a scratch folder in memory, files and multi-part inputs, and the two things
 * that hold for every call: success keeps its promises, failure says what is wrong. */
#ifndef KEEL_TESTS_FUZZ_H
#define KEEL_TESTS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static keel_err fuzz_err;

/* An expectation of the target: what is broken ends the run, and libFuzzer keeps the input. */
#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: does not hold: %s (last error: %s: %s)\n", __FILE__, __LINE__,           \
                    #condition, fuzz_err.where, fuzz_err.message);                                           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* True when the call worked. A failure must fill the error, and a small input is no reason to run out of
 * memory; but SQLite says so of some damaged files (FUZZ_SQLITE). Use with fuzz_err. */
static inline bool fuzz_ok(keel_status status) {
    if (status == KEEL_OK) return true;
    FUZZ_CHECK(status == fuzz_err.code);
#ifndef FUZZ_SQLITE
    FUZZ_CHECK(status != KEEL_E_NOMEM);
#endif
    FUZZ_CHECK(fuzz_err.where[0] && fuzz_err.message[0]);
    return false;
}

/* ---- the scratch folder ---- */

static char fuzz_folder_path[64];

static inline void fuzz_folder_remove(void) {
    keel_folder_remove(fuzz_folder_path, NULL);
}

/* One a process, in memory where there is such a place; gone when the process ends. */
static inline const char *fuzz_folder(void) {
    if (fuzz_folder_path[0]) return fuzz_folder_path;
    snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/keel-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(fuzz_folder_path)) abort();
    atexit(fuzz_folder_remove);
    return fuzz_folder_path;
}

/* Path of that name in the folder; in a ring of eight. */
static inline const char *fuzz_path(const char *name) {
    static char ring[8][256];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", fuzz_folder(), name);
    return path;
}

static inline const char *fuzz_put(const char *name, const void *data, size_t size) {
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
    return path;
}

/* ---- inputs ---- */

typedef struct fuzz_part {
    const uint8_t *data;
    size_t size;
} fuzz_part;

/* Cuts an input at "\n----\n" into at most `most` parts; the last one takes the rest. Returns their number.
 */
static inline size_t fuzz_parts(const uint8_t *data, size_t size, fuzz_part *parts, size_t most) {
    static const char mark[] = "\n----\n";
    size_t count = 0, length = sizeof mark - 1;
    for (size_t i = 0; count + 1 < most && i + length <= size; i++) {
        if (memcmp(data + i, mark, length) != 0) continue;
        parts[count++] = (fuzz_part){data, i};
        data += i + length;
        size -= i + length;
        i = (size_t)-1;
    }
    parts[count++] = (fuzz_part){data, size};
    return count;
}

/* One file for each part of an input, in this order; an empty part is a file that is not there. */
static inline void fuzz_put_parts(const char *const *files, size_t n_files, const uint8_t *data,
                                  size_t size) {
    enum { MOST = 16 };
    fuzz_part parts[MOST];
    FUZZ_CHECK(n_files <= MOST);
    const size_t n = fuzz_parts(data, size, parts, n_files);
    for (size_t i = 0; i < n_files; i++) {
        if (i < n && parts[i].size)
            fuzz_put(files[i], parts[i].data, parts[i].size);
        else
            unlink(fuzz_path(files[i]));
    }
}

/* A copy that ends in NUL and lies alone on the heap, so that any step beyond it is seen. free() it. */
static inline char *fuzz_text(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) abort();
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

#endif
