#include "core/mapped.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/text.h"

/* A handler reads them without the lock: an entry's start is set last and cleared first. */
typedef struct entry {
    atomic_uintptr_t start; /* 0: free */
    size_t length;
    char path[256];
} entry;

static entry entries[KEEL_MAPPED_MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of who writes them */

void keel_mapped_add(const void *data, size_t length, const char *path) {
    pthread_mutex_lock(&lock);
    entry *free = entries;
    while (free < entries + KEEL_MAPPED_MOST && atomic_load(&free->start)) free++;
    if (free < entries + KEEL_MAPPED_MOST) {
        snprintf(free->path, sizeof free->path, "%s", path);
        keel_text_tame(free->path);
        free->length = length;
        atomic_store(&free->start, (uintptr_t)data);
    }
    pthread_mutex_unlock(&lock);
}

void keel_mapped_remove(const void *data) {
    pthread_mutex_lock(&lock);
    for (entry *e = entries; e < entries + KEEL_MAPPED_MOST; e++)
        if (data && atomic_load(&e->start) == (uintptr_t)data) atomic_store(&e->start, 0);
    pthread_mutex_unlock(&lock);
}

const char *keel_mapped_path(const void *address) {
    for (const entry *e = entries; e < entries + KEEL_MAPPED_MOST; e++) {
        const uintptr_t start = atomic_load(&e->start), at = (uintptr_t)address;
        if (start && at >= start && at - start < e->length) return e->path;
    }
    return NULL;
}

keel_status keel_mapped_open(const char *path, void **data, size_t *length, keel_err *err) {
    struct stat info;
    int fd = -1;
    *data = NULL;
    *length = 0;
    KEEL_TRY(keel_file_open(path, &fd, err));
    const size_t size = fstat(fd, &info) == 0 ? (size_t)info.st_size : 0;
    void *at = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    const int saved = errno;
    close(fd);
    if (at == MAP_FAILED) return errno = saved, keel_file_fail(err, path, "map it");
    if (at) keel_mapped_add(at, size, path);
    *data = at;
    *length = size;
    return KEEL_OK;
}

void keel_mapped_close(void *data, size_t length) {
    if (!data) return;
    keel_mapped_remove(data);
    munmap(data, length);
}
