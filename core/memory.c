#include "core/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/context.h"

enum { ALIGNMENT = 64, FIRST_BLOCK = 1 << 14 };

/* ---- the allocator ---- */

static const keel_allocator *allocator(void) {
    return &keel_context_current()->allocator;
}

size_t keel_memory_left(void) {
    const keel_allocator *own = allocator();
    return own->left ? own->left(own->user) : SIZE_MAX;
}

void *keel_alloc(size_t bytes) {
    return keel_realloc(NULL, bytes);
}

void *keel_realloc(void *old, size_t bytes) {
    const keel_allocator *own = allocator();
    return own->resize(own->user, old, bytes ? bytes : 1);
}

void keel_free(void *pointer) {
    const keel_allocator *own = allocator();
    if (pointer) own->release(own->user, pointer);
}

void *keel_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!keel_size_mul(count, size, &bytes)) return NULL;
    void *memory = keel_alloc(bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

char *keel_strdup(const char *text) {
    if (!text) return NULL;
    size_t bytes = strlen(text) + 1;
    char *copy = keel_alloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

bool keel_size_mul(size_t a, size_t b, size_t *product) {
    if (b && a > SIZE_MAX / b) return false;
    *product = a * b;
    return true;
}

bool keel_size_add(size_t a, size_t b, size_t *sum) {
    if (a > SIZE_MAX - b) return false;
    *sum = a + b;
    return true;
}

/* ---- growing arrays ---- */

enum { FIRST_CAPACITY = 8 };

/* All pointers to objects look alike here, so that those of callers can be read and set by memcpy. */
static void *load(const void *items) {
    void *held;
    memcpy(&held, items, sizeof held);
    return held;
}

/* Doubles *capacity until it holds `needed`. */
static bool enough(size_t needed, size_t size, size_t *capacity, size_t *bytes) {
    size_t more = *capacity ? *capacity : FIRST_CAPACITY;
    while (more < needed)
        if (!keel_size_mul(more, 2, &more)) return false;
    *capacity = more;
    return keel_size_mul(more, size, bytes);
}

bool keel_grow(void *items, size_t needed, size_t *capacity, size_t size) {
    size_t more = *capacity, bytes;
    if (needed <= *capacity) return true;
    void *grown = enough(needed, size, &more, &bytes) ? keel_realloc(load(items), bytes) : NULL;
    if (!grown) return false;
    memcpy(items, &grown, sizeof grown);
    *capacity = more;
    return true;
}

bool keel_arena_grow(keel_arena *arena, void *items, size_t count, size_t *capacity, size_t size) {
    size_t more = *capacity, bytes;
    if (count < *capacity) return true;
    void *grown = enough(count + 1, size, &more, &bytes) ? keel_arena_alloc(arena, bytes) : NULL;
    if (!grown) return false;
    if (count) memcpy(grown, load(items), count * size);
    memcpy(items, &grown, sizeof grown);
    *capacity = more;
    return true;
}

/* ---- arenas ---- */

/* AddressSanitizer knows nothing of arenas: it is told which bytes nobody was given, so that running over the
 * end of a piece, or using one after a reset, is found as it is for the heap. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER
#endif
#ifdef ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes)   ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#endif

typedef struct keel_arena_block {
    struct keel_arena_block *older;
    size_t capacity; /* bytes from data on */
    size_t used;
    unsigned char *data; /* aligned; inside this allocation */
} arena_block;

/* Puts a block with room for at least bytes in front of the chain. */
static arena_block *arena_grow(keel_arena *arena, size_t bytes) {
    /* Doubling keeps the number of blocks small; the cap keeps the unused tail of a large arena small. */
    size_t step = arena->first ? arena->first->capacity * 2 : FIRST_BLOCK;
    if (step > KEEL_ARENA_STEP) step = KEEL_ARENA_STEP;
    size_t capacity = bytes > step ? bytes : step, total;
    if (!keel_size_add(capacity, sizeof(arena_block) + ALIGNMENT, &total)) return NULL;
    arena_block *block = keel_alloc(total);
    if (!block) return NULL;
    unsigned char *data = (unsigned char *)(block + 1);
    data += (ALIGNMENT - (uintptr_t)data % ALIGNMENT) % ALIGNMENT;
    *block = (arena_block){arena->first, capacity, 0, data};
    ASAN_POISON_MEMORY_REGION(data, capacity);
    arena->first = block;
    return block;
}

void *keel_arena_alloc(keel_arena *arena, size_t bytes) {
    size_t rounded;
    if (!keel_size_add(bytes ? bytes : 1, ALIGNMENT - 1, &rounded)) return NULL;
    rounded -= rounded % ALIGNMENT;
    arena_block *block = arena->first;
    if (!block || block->capacity - block->used < rounded) block = arena_grow(arena, rounded);
    if (!block) return NULL;
    void *memory = block->data + block->used;
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes ? bytes : 1);
    block->used += rounded;
    arena->used += rounded;
    if (arena->used > arena->peak) arena->peak = arena->used;
    return memory;
}

void *keel_arena_calloc(keel_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!keel_size_mul(count, size, &bytes)) return NULL;
    void *memory = keel_arena_alloc(arena, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

char *keel_arena_strndup(keel_arena *arena, const char *text, size_t length) {
    size_t bytes;
    char *copy = keel_size_add(length, 1, &bytes) ? keel_arena_alloc(arena, bytes) : NULL;
    if (!copy) return NULL;
    if (length) memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *keel_arena_strdup(keel_arena *arena, const char *text) {
    return text ? keel_arena_strndup(arena, text, strlen(text)) : NULL;
}

keel_status keel_arena_reserve(keel_arena *arena, size_t bytes, keel_err *err) {
    size_t free_bytes = arena->first ? arena->first->capacity - arena->first->used : 0;
    if (free_bytes < bytes && !arena_grow(arena, bytes))
        return keel_fail(err, KEEL_E_NOMEM, "keel_arena_reserve", "no memory for a block of %zu bytes",
                         bytes);
    return KEEL_OK;
}

static void arena_release(keel_arena *arena) {
    for (arena_block *block = arena->first, *older; block; block = older) {
        older = block->older;
        ASAN_UNPOISON_MEMORY_REGION(block->data, block->capacity); /* the heap's again */
        keel_free(block);
    }
    arena->first = NULL;
}

void keel_arena_reset(keel_arena *arena) {
    arena->used = 0;
    if (!arena->first) return;
    if (arena->first->older) {
        size_t capacity = 0;
        for (arena_block *block = arena->first; block; block = block->older) capacity += block->capacity;
        /* Release before growing, so that merging never needs the memory twice. If growing fails the arena is
         * merely empty, and the next allocation tries again. */
        arena_release(arena);
        arena_grow(arena, capacity);
    } else {
        ASAN_POISON_MEMORY_REGION(arena->first->data, arena->first->capacity);
        arena->first->used = 0;
    }
}

void keel_arena_free(keel_arena *arena) {
    arena_release(arena);
    *arena = (keel_arena){0};
}

/* ---- byte buffers ---- */

/* Makes room for `more` bytes and a NUL; false marks the buffer failed. */
static bool buf_reserve(keel_buf *buf, size_t more) {
    size_t need;
    if (buf->failed) return false;
    if (!keel_size_add(buf->length, more, &need) || !keel_size_add(need, 1, &need)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->capacity) return true;
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need) capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    char *data = keel_realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void keel_buf_append(keel_buf *buf, const void *bytes, size_t length) {
    if (!buf_reserve(buf, length)) return;
    if (length) memcpy(buf->data + buf->length, bytes, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void keel_buf_text(keel_buf *buf, const char *text) {
    keel_buf_append(buf, text, strlen(text));
}

void keel_buf_vformat(keel_buf *buf, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) buf->failed = true;
    if (length >= 0 && buf_reserve(buf, (size_t)length)) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
}

void keel_buf_format(keel_buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    keel_buf_vformat(buf, format, args);
    va_end(args);
}

void keel_buf_clear(keel_buf *buf) {
    buf->length = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = '\0';
}

void keel_buf_free(keel_buf *buf) {
    keel_free(buf->data);
    *buf = (keel_buf){0};
}
