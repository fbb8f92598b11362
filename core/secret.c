#include "core/secret.h"

#include <sys/random.h>

keel_status keel_secret(void *bytes, size_t n, keel_err *err) {
    if (getrandom(bytes, n, 0) == (ssize_t)n) return KEEL_OK;
    return keel_fail(err, KEEL_E_IO, "getrandom", "the system gives no random bytes");
}
