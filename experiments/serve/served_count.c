#include "experiments/serve/served_count.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mapped.h"

static const char MAGIC[8] = "KEELSRV1";

/* The bytes are written before they are mapped: on a full disk this fails, not a later access. */
static keel_status fill(int file, const char *path, keel_served_page *before, keel_err *err) {
    const keel_served_page empty = {.start = 0};
    *before = empty;
    const ssize_t got = pread(file, before, sizeof *before, 0);
    if (got == (ssize_t)sizeof *before && memcmp(before->magic, MAGIC, sizeof MAGIC) == 0) return KEEL_OK;
    *before = empty;
    if (got != 0) {
        keel_fail(err, KEEL_E_INVALID, path, "not the count of a server of Keel");
        return keel_hint(err, "move the file away");
    }
    keel_served_page first = {.start = 0};
    memcpy(first.magic, MAGIC, sizeof MAGIC);
    if (pwrite(file, &first, sizeof first, 0) != (ssize_t)sizeof first)
        return keel_fail(err, KEEL_E_IO, path, "cannot write: %s", strerror(errno));
    return KEEL_OK;
}

keel_status keel_served_count_open(keel_served_count *count, const char *store, keel_served_page *before,
                                   keel_err *err) {
    *count = (keel_served_count){.page = NULL};
    if (snprintf(count->path, sizeof count->path, "%s-serve", store) >= (int)sizeof count->path)
        return keel_fail(err, KEEL_E_INVALID, store, "the path is too long");
    keel_status status = keel_lock_take(&count->lock, count->path, err);
    if (status == KEEL_E_CONFLICT) keel_hint(err, "one server at a time writes to a store");
    if (status != KEEL_OK) return status;
    const int file = open(count->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) status = keel_fail(err, KEEL_E_IO, count->path, "cannot open: %s", strerror(errno));
    if (status == KEEL_OK) status = fill(file, count->path, before, err);
    void *page = status == KEEL_OK
                     ? mmap(NULL, sizeof *count->page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
                     : MAP_FAILED;
    if (status == KEEL_OK && page == MAP_FAILED)
        status = keel_fail(err, KEEL_E_IO, count->path, "cannot map: %s", strerror(errno));
    if (file >= 0) close(file);
    if (status == KEEL_OK) {
        count->page = page;
        keel_mapped_add(page, sizeof *count->page, count->path);
    } else {
        keel_lock_release(&count->lock);
    }
    return status;
}

void keel_served_count_begin(keel_served_count *count, int64_t start) {
    atomic_store(&count->page->accepted, 0);
    count->page->start = start;
}

void keel_served_count_close(keel_served_count *count, bool remove) {
    if (!count->page) return;
    keel_mapped_remove(count->page);
    munmap(count->page, sizeof *count->page);
    count->page = NULL;
    if (remove) unlink(count->path);
    keel_lock_release(&count->lock);
}
