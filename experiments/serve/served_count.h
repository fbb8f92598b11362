/* How many entries a server has accepted, in a file beside the store that outlives the process: after a kill
 * the number is what it was. The process that has it open is the one that serves into the store. */
#ifndef KEEL_EXPERIMENTS_SERVE_SERVED_COUNT_H
#define KEEL_EXPERIMENTS_SERVE_SERVED_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/lock.h"

typedef struct keel_served_page {
    char magic[8];
    int64_t start; /* the start of the server that counts; 0: none yet */
    _Atomic int64_t accepted;
} keel_served_page;

typedef struct keel_served_count {
    keel_lock lock;
    char path[4096];
    keel_served_page *page; /* shared with the file */
} keel_served_count;

/* Opens "STORE-serve", or makes it. before: what the last server left there that was killed; start 0: none.
 * KEEL_E_CONFLICT: another process serves into the store. */
keel_status keel_served_count_open(keel_served_count *count, const char *store, keel_served_page *before,
                                   keel_err *err);
/* Counts for this start from now on, from 0. */
void keel_served_count_begin(keel_served_count *count, int64_t start);
/* remove: all that was accepted is accounted for. */
void keel_served_count_close(keel_served_count *count, bool remove);

#endif
