/* Locks between processes: the process that works on PATH holds "PATH.lock". A process that ends gives up its
 * locks, however it ends; a killed one leaves the file, which the next holder takes over and removes in the
 * end. Within one process there is no lock. */
#ifndef KEEL_CORE_LOCK_H
#define KEEL_CORE_LOCK_H

#include <stdbool.h>

#include "core/status.h"

typedef struct keel_lock {
    bool held; /* zeroed: not held */
    int file;
    char path[4096];
} keel_lock;

/* Makes the folder that the lock goes into, with parents. Does not wait: KEEL_E_CONFLICT names the process
 * that is at work there. */
keel_status keel_lock_take(keel_lock *lock, const char *path, keel_err *err);
void keel_lock_release(keel_lock *lock); /* not held is harmless */

#endif
