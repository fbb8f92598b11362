/* Tests of what asks other servers are left out where there is no libcurl: exit code 77. */
#ifndef KEEL_TESTS_SUPPORT_WITH_CURL_H
#define KEEL_TESTS_SUPPORT_WITH_CURL_H

#include <stdio.h>

#include "experiments/http_client.h"

/* Says so, too. */
static inline bool without_curl(void) {
    keel_err why = {0};
    keel_http_client *probe = NULL;
    const bool without = keel_http_client_open(&probe, &why) == KEEL_E_UNSUPPORTED;
    keel_http_client_close(probe);
    if (without) printf("SKIPPED: %s\n", why.message);
    return without;
}

#endif
