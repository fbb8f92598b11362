/* Reading ahead: a reader that pulls from another reader on a thread of its own, a few batches ahead of
 * whoever reads from it. */
#ifndef KEEL_DATASETS_PREFETCH_H
#define KEEL_DATASETS_PREFETCH_H

#include "datasets/reader.h"

/* Takes the reader over, also if it fails. The thread starts at once. What next gives lies in the reader, not
 * in the arena. Memory: some 1 MiB; of a conversation beyond 16 MiB no other is read ahead. */
keel_status keel_prefetch_open(keel_reader **out, keel_reader *reader, keel_err *err);
/* Of a reader that keel_prefetch_open made: keel_source_hash of its source, which the thread computes first.
 */
keel_status keel_prefetch_hash(keel_reader *reader, char hex[65], keel_err *err);
/* Whether the thread has read everything (or failed), so that another one may start. */
bool keel_prefetch_done(keel_reader *reader);

#endif
