/* The sharded parallel loop: work is cut into a number of shards fixed by the work, never by the threads;
 * each shard runs on one thread with single-threaded BLAS. What shards produce is combined by the caller in
 * shard order, so results do not depend on the thread count. A pool keeps its threads for its lifetime. */
#ifndef KEEL_CORE_PARALLEL_H
#define KEEL_CORE_PARALLEL_H

#include <stddef.h>

#include "core/api.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef struct keel_pool keel_pool;

/* threads: at least 1, the calling thread included; 0: as many as the context says. Pins OpenBLAS to one
 * thread, for the whole process: it knows no other way. */
keel_status keel_pool_open(keel_pool **out, size_t threads, keel_err *err);
void keel_pool_close(keel_pool *pool); /* NULL is harmless */
size_t keel_pool_threads(const keel_pool *pool);

/* Calls work(context, shard, thread) for each shard in 0..shards-1, in any order and on any thread (thread <
 * threads), under the caller's context, and returns when all are done. The first failing shard (lowest
 * number) gives the status and err.
 */
typedef keel_status keel_shard_work(void *context, size_t shard, size_t thread, keel_err *err);
keel_status keel_pool_run(keel_pool *pool, size_t shards, keel_shard_work *work, void *context,
                          keel_err *err);

KEEL_END_DECLS

#endif
