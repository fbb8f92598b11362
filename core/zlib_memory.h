/* zlib takes its memory from the context. */
#ifndef KEEL_CORE_ZLIB_MEMORY_H
#define KEEL_CORE_ZLIB_MEMORY_H

#include <zlib.h>

#include "core/memory.h"

static inline void *keel_zlib_alloc(void *unused, unsigned items, unsigned size) {
    (void)unused;
    return keel_calloc(items, size);
}

static inline void keel_zlib_free(void *unused, void *memory) {
    (void)unused;
    keel_free(memory);
}

/* Before deflateInit2 or inflateInit2. */
static inline void keel_zlib_memory(z_stream *z) {
    z->zalloc = keel_zlib_alloc;
    z->zfree = keel_zlib_free;
}

#endif
