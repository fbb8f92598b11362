/* Bytes that nobody can foretell, of the system: for names, salts and secrets of a server. What is learned
 * draws from core/pcg.h. */
#ifndef KEEL_CORE_SECRET_H
#define KEEL_CORE_SECRET_H

#include <stddef.h>

#include "core/status.h"

keel_status keel_secret(void *bytes, size_t n, keel_err *err); /* n at most 256; KEEL_E_IO */

#endif
