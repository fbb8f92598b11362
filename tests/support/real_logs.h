/* Where the real public logs lie: KEEL_DATA, or ../shared/data beside the repository. */
#ifndef KEEL_TESTS_REAL_LOGS_H
#define KEEL_TESTS_REAL_LOGS_H

#include <stdio.h>
#include <stdlib.h>

static inline const char *data(const char *name) {
    static char path[1024];
    const char *root = getenv("KEEL_DATA");
    snprintf(path, sizeof path, "%s/%s", root ? root : KEEL_SOURCE_DIR "/../shared/data", name);
    return path;
}

/* Skips the test, with the reason, where they are not. */
#define NEED(name)                                                                                           \
    do {                                                                                                     \
        if (!keel_file_exists(data(name))) {                                                                 \
            print_message("skipped: no public logs at %s (set KEEL_DATA)\n", data(name));                    \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

#endif
