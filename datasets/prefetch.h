/* Reading ahead: a reader that pulls from another reader on a thread of its own, a few batches ahead of
 * whoever reads from it. */
#ifndef KEEL_DATASETS_PREFETCH_H
#define KEEL_DATASETS_PREFETCH_H

#include "datasets/reader.h"

/* Takes the reader over, also if it fails. The thread starts at once. What next gives lies in the reader, not
 * in the arena. Memory: some 1 MiB; of a conversation beyond 16 MiB no other is read ahead. */
keel_status keel_prefetch_open(keel_reader **out, keel_reader *reader, keel_err *err);

/* A prefetching reader may go through several readers, one after the other, with the same thread and memory.
 * follow takes over the one that comes after the current one; the thread begins with it as soon as it has
 * read the current one. advance makes it the current one, whether the one before was read to its end or not.
 */
void keel_prefetch_follow(keel_reader *prefetch, keel_reader *reader);
void keel_prefetch_advance(keel_reader *prefetch);
/* The current one, to see its format and names. It is read by the thread. */
const keel_reader *keel_prefetch_current(const keel_reader *prefetch);
/* keel_source_hash of the current one, which the thread computes first. */
keel_status keel_prefetch_hash(keel_reader *prefetch, char hex[65], keel_err *err);
/* Whether the thread has read all of the current one (or failed). */
bool keel_prefetch_done(keel_reader *prefetch);

#endif
