#include "core/spool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"

struct keel_spool {
    int file; /* -1: none yet */
    size_t record, count;
    size_t per_window; /* records */
    size_t first, n;   /* records in the window */
    bool changed;      /* the window holds records that the file does not */
    unsigned char *window;
};

static keel_status fail(const char *doing, keel_err *err) {
    if (!errno) errno = EIO; /* it is cut short */
    return keel_file_fail(err, keel_file_temporary(), doing);
}

keel_status keel_spool_open(keel_spool **out, size_t record, size_t window, keel_err *err) {
    keel_spool *spool = keel_calloc(1, sizeof *spool);
    if (!spool) return keel_fail(err, KEEL_E_NOMEM, "spool", "no memory for a temporary list");
    spool->record = record;
    spool->file = -1;
    spool->per_window = record < window ? window / record : 1;
    spool->window = keel_calloc(spool->per_window, record);
    if (!spool->window) {
        keel_spool_close(spool);
        return keel_fail(err, KEEL_E_NOMEM, "spool", "no memory for a temporary list");
    }
    *out = spool;
    return KEEL_OK;
}

void keel_spool_close(keel_spool *spool) {
    if (!spool) return;
    if (spool->file >= 0) close(spool->file);
    keel_free(spool->window);
    keel_free(spool);
}

size_t keel_spool_count(const keel_spool *spool) {
    return spool->count;
}

/* ---- the window ---- */

static keel_status write_window(keel_spool *spool, keel_err *err) {
    if (spool->changed && spool->file < 0) KEEL_TRY(keel_file_unnamed(&spool->file, err));
    size_t bytes = spool->n * spool->record;
    off_t at = (off_t)(spool->first * spool->record);
    for (size_t done = 0; spool->changed && done < bytes;) {
        errno = 0;
        ssize_t n = pwrite(spool->file, spool->window + done, bytes - done, at + (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail("write a temporary file", err);
        done += (size_t)n;
    }
    spool->changed = false;
    return KEEL_OK;
}

/* The window that holds record index, or that it will be added to. */
static keel_status move_window(keel_spool *spool, size_t index, keel_err *err) {
    size_t first = index - index % spool->per_window, left = spool->count - first;
    if (spool->n && spool->first == first) return KEEL_OK;
    KEEL_TRY(write_window(spool, err));
    size_t n = left < spool->per_window ? left : spool->per_window;
    spool->n = 0; /* until it is read whole */
    for (size_t done = 0; done < n * spool->record;) {
        errno = 0;
        ssize_t got = pread(spool->file, spool->window + done, n * spool->record - done,
                            (off_t)(first * spool->record + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return fail("read a temporary file", err);
        done += (size_t)got;
    }
    spool->first = first;
    spool->n = n;
    return KEEL_OK;
}

keel_status keel_spool_add(keel_spool *spool, const void *record, keel_err *err) {
    KEEL_TRY(move_window(spool, spool->count, err));
    memcpy(spool->window + (spool->count - spool->first) * spool->record, record, spool->record);
    spool->changed = true;
    spool->n++;
    spool->count++;
    return KEEL_OK;
}

keel_status keel_spool_get(keel_spool *spool, size_t index, void *record, keel_err *err) {
    if (index >= spool->count)
        return keel_fail(err, KEEL_E_USAGE, "keel_spool_get", "record %zu of %zu", index, spool->count);
    KEEL_TRY(move_window(spool, index, err));
    memcpy(record, spool->window + (index - spool->first) * spool->record, spool->record);
    return KEEL_OK;
}
