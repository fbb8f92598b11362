/* A scratch folder of a test: made under the working directory, one a test program, removed at its end. */
#ifndef KEEL_TESTS_SCRATCH_H
#define KEEL_TESTS_SCRATCH_H

#include <stdio.h>

#include "core/file.h"

/* Makes (afresh) the folder "scratch-<name>" in the working directory and returns its path. */
static inline const char *scratch_make(char path[256], const char *name) {
    snprintf(path, 256, "scratch-%s", name);
    if (keel_folder_remove(path, NULL) != KEEL_OK || keel_folder_make(path, NULL) != KEEL_OK) return NULL;
    return path;
}

/* "<folder>/<name>" in a static ring of four, enough for one expression. */
static inline const char *scratch_path(const char *folder, const char *name) {
    static char ring[4][512];
    static unsigned next;
    char *path = ring[next++ % 4];
    snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    return path;
}

#endif
