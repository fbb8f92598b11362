/* A list of records of one size that may be longer than memory holds: one window of it is in memory, and what
 * does not fit that lies in a temporary file, which has no name and goes with the process. Records are added
 * at the end and read at any place; neighbours are read together. Not thread-safe. */
#ifndef KEEL_CORE_SPOOL_H
#define KEEL_CORE_SPOOL_H

#include <stddef.h>

#include "core/status.h"

typedef struct keel_spool keel_spool;

/* record: bytes of one record, > 0; window: bytes in memory, at least one record. The file is
 * keel_file_unnamed's. */
keel_status keel_spool_open(keel_spool **out, size_t record, size_t window, keel_err *err);
void keel_spool_close(keel_spool *spool); /* NULL is harmless */
size_t keel_spool_count(const keel_spool *spool);
keel_status keel_spool_add(keel_spool *spool, const void *record, keel_err *err);
/* Copies record number index, which must be below the count. */
keel_status keel_spool_get(keel_spool *spool, size_t index, void *record, keel_err *err);

#endif
