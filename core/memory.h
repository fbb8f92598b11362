/* Memory: the allocator of the context (core/context.h), overflow-checked sizes, arenas and growing byte
 * buffers.
 *
 * Every allocation of Keel goes through it, so that a test can count calls and fail the n-th one. Out of
 * memory is an error like any other: NULL or KEEL_E_NOMEM. */
#ifndef KEEL_CORE_MEMORY_H
#define KEEL_CORE_MEMORY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/api.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

typedef struct keel_allocator {
    /* The contract of realloc: old NULL allocates; bytes > 0. */
    void *(*resize)(void *user, void *old, size_t bytes);
    void (*release)(void *user, void *old); /* free contract; NULL is harmless */
    void *user;
    size_t (*left)(void *user); /* bytes that it will still give out; NULL: no limit */
} keel_allocator;

void *keel_alloc(size_t bytes);               /* uninitialised; NULL when out of memory; 0 bytes is 1 byte */
void *keel_calloc(size_t count, size_t size); /* zeroed; NULL on overflow too */
void *keel_realloc(void *old, size_t bytes);  /* old stays valid when NULL comes back */
char *keel_strdup(const char *text);          /* NULL text gives NULL */
void keel_free(void *pointer);                /* NULL is harmless */
bool keel_size_mul(size_t a, size_t b, size_t *product); /* false on overflow, product untouched */
bool keel_size_add(size_t a, size_t b, size_t *sum);

size_t keel_memory_left(void); /* what the allocator says; SIZE_MAX where it has no limit */

/* Room for `needed` elements of `size` bytes in a growing array: items is the address of the pointer to it,
 * *capacity what it has room for, which at least doubles. false when out of memory: nothing is lost. */
bool keel_grow(void *items, size_t needed, size_t *capacity, size_t size);

/* A bump allocator over a chain of blocks. Zero-initialise to start. Pointers are 64-byte aligned and live
 * until the next reset or free. After a reset all memory of the round before is one block, so a loop that
 * resets each round allocates nothing from its second round on. Not thread-safe. */
enum { KEEL_ARENA_STEP = 1 << 26 }; /* the newest block has at most so many bytes that nobody asked for yet */
typedef struct keel_arena {
    struct keel_arena_block *first; /* newest block; blocks are chained to older ones */
    size_t used;                    /* bytes handed out since the last reset, alignment included */
    size_t peak;                    /* largest used ever */
} keel_arena;

void *keel_arena_alloc(keel_arena *arena, size_t bytes); /* uninitialised; NULL when out of memory */
void *keel_arena_calloc(keel_arena *arena, size_t count, size_t size);
char *keel_arena_strndup(keel_arena *arena, const char *text, size_t length); /* NUL-terminated copy */
char *keel_arena_strdup(keel_arena *arena, const char *text);                 /* NULL text gives NULL */
/* Room for one more element in an array of `count` in the arena. */
bool keel_arena_grow(keel_arena *arena, void *items, size_t count, size_t *capacity, size_t size);
/* One block with room for at least bytes. */
keel_status keel_arena_reserve(keel_arena *arena, size_t bytes, keel_err *err);
void keel_arena_reset(keel_arena *arena); /* forgets all, keeps (and merges) the memory */
void keel_arena_free(keel_arena *arena);  /* gives the memory back, leaves a zeroed arena */

/* A growing byte buffer, NUL-terminated whenever it holds anything. Zero-initialise to start. Appending to a
 * buffer that ran out of memory does nothing; check `failed` once at the end. */
typedef struct keel_buf {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
} keel_buf;

void keel_buf_append(keel_buf *buf, const void *bytes, size_t length);
void keel_buf_text(keel_buf *buf, const char *text);
void keel_buf_format(keel_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void keel_buf_vformat(keel_buf *buf, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
void keel_buf_clear(keel_buf *buf); /* length 0, memory kept, failed reset */
void keel_buf_free(keel_buf *buf);

KEEL_END_DECLS

#endif
