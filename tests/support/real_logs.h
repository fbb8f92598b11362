/* Where the real public logs lie: in the folder KEEL_DATA. */
#ifndef KEEL_TESTS_REAL_LOGS_H
#define KEEL_TESTS_REAL_LOGS_H

#include <stdio.h>
#include <stdlib.h>

#include "core/file.h"

/* The path of a file there, until the next call; NULL where KEEL_DATA is not set. */
static inline const char *data(const char *name) {
    static char path[1024];
    const char *root = getenv("KEEL_DATA");
    if (!root || !*root) return NULL;
    const int length = snprintf(path, sizeof path, "%s/%s", root, name);
    return length > 0 && (size_t)length < sizeof path ? path : NULL;
}

/* Whether it is there; where not, says why the test is skipped. */
static inline int has_data(const char *name) {
    const char *path = data(name);
    if (path && keel_file_exists(path)) return 1;
    if (path)
        printf("skipped: there is no %s\n", path);
    else
        printf("skipped: set KEEL_DATA to the folder that holds %s\n", name);
    return 0;
}

/* Skips the test, with the reason, where they are not. */
#define NEED(name)                                                                                           \
    do {                                                                                                     \
        if (!has_data(name)) skip();                                                                         \
    } while (0)

#endif
