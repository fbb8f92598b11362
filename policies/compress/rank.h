/* Which of some units stay, by their importance. */
#ifndef KEEL_POLICIES_COMPRESS_RANK_H
#define KEEL_POLICIES_COMPRESS_RANK_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* Places in the order in which they go: the least important first, of equal ones the last. order [n]. */
keel_status keel_rank(const double *importance, size_t n, uint32_t *order, keel_err *err);
/* The places that stay, rising, when the first `gone` have gone: out [n - gone]. */
void keel_rank_stay(const uint32_t *order, size_t n, size_t gone, uint32_t *out);

#endif
