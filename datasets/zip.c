#include "datasets/zip.h"

#include <string.h>

#include "core/source.h"
#include "core/zlib_memory.h"

/* Layout as in PKWARE's APPNOTE 6.3.10, sections 4.3.6 to 4.5.3: numbers are little-endian. */
enum {
    LOCAL_SIZE = 30,
    CENTRAL_SIZE = 46,
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    MAX_COMMENT = 0xffff,
    WIDE = 1, /* id of the extra field with 64-bit sizes */
    CHUNK = 1 << 16
};
enum { STORED = 0, DEFLATED = 8, ZSTD = 93 };

static const char local_mark[] = "PK\x03\x04", central_mark[] = "PK\x01\x02", end_mark[] = "PK\x05\x06",
                  locator_mark[] = "PK\x06\x07", end64_mark[] = "PK\x06\x06";

static uint64_t number(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    while (bytes--) value = value << 8 | at[bytes];
    return value;
}

/* size bytes at a place of the archive that begin with the mark; NULL: they do not, or lie beyond its end. */
static const unsigned char *part(const keel__zip *zip, uint64_t at, size_t size, const char *mark) {
    if (at > zip->length || zip->length - at < size) return NULL;
    return memcmp(zip->bytes + at, mark, 4) == 0 ? zip->bytes + at : NULL;
}

bool keel__zip_begins(const char *bytes, size_t length) {
    return length >= 4 && memcmp(bytes, local_mark, 4) == 0;
}

/* ---- directory ---- */

typedef struct directory {
    uint64_t count, size, at;
} directory;

/* The last record, behind which only a comment may stand. */
static bool find_directory(const keel__zip *zip, directory *out) {
    const unsigned char *end = NULL;
    size_t at = zip->length < END_SIZE ? 0 : zip->length - END_SIZE;
    const size_t first = at < MAX_COMMENT ? 0 : at - MAX_COMMENT;
    while (!(end = part(zip, at, END_SIZE, end_mark)) && at > first) at--;
    if (!end) return false;
    *out = (directory){number(end + 10, 2), number(end + 12, 4), number(end + 16, 4)};
    if (out->count != 0xffff && out->size != UINT32_MAX && out->at != UINT32_MAX) return true;
    const unsigned char *locator =
        at < LOCATOR_SIZE ? NULL : part(zip, at - LOCATOR_SIZE, LOCATOR_SIZE, locator_mark);
    const unsigned char *wide = locator ? part(zip, number(locator + 8, 8), END64_SIZE, end64_mark) : NULL;
    if (wide) *out = (directory){number(wide + 32, 8), number(wide + 40, 8), number(wide + 48, 8)};
    return true; /* without the wide record these are small archives with just such numbers */
}

/* Sizes and place that do not fit into 32 bits stand in an extra field, in this order. */
static void read_wide(const unsigned char *extra, size_t length, keel__zip_entry *entry) {
    uint64_t *const values[] = {&entry->size, &entry->packed, &entry->at};
    while (length >= 4) {
        const size_t size = (size_t)number(extra + 2, 2);
        const unsigned char *at = extra + 4;
        if (size > length - 4) return;
        for (size_t i = 0, used = 0; number(extra, 2) == WIDE && i < 3; i++)
            if (*values[i] == UINT32_MAX && used + 8 <= size) *values[i] = number(at + used, 8), used += 8;
        extra = at + size;
        length -= 4 + size;
    }
}

static keel_status fail_damaged(const keel__zip *zip, const char *what, keel_err *err) {
    return keel_fail(err, KEEL_E_PARSE, zip->place, "the zip archive is damaged or cut off: %s", what);
}

static keel_status read_entry(keel__zip *zip, uint64_t *at, keel__zip_entry *out, keel_err *err) {
    const unsigned char *record = part(zip, *at, CENTRAL_SIZE, central_mark);
    const size_t name = record ? (size_t)number(record + 28, 2) : 0,
                 extra = record ? (size_t)number(record + 30, 2) : 0,
                 all = CENTRAL_SIZE + name + extra + (record ? (size_t)number(record + 32, 2) : 0);
    if (!record || zip->length - *at < all) return fail_damaged(zip, "its directory ends too early", err);
    *out = (keel__zip_entry){.method = (unsigned)number(record + 10, 2),
                             .encrypted = record[8] & 1,
                             .checksum = (uint32_t)number(record + 16, 4),
                             .packed = number(record + 20, 4),
                             .size = number(record + 24, 4),
                             .at = number(record + 42, 4)};
    read_wide(record + CENTRAL_SIZE + name, extra, out);
    out->name = keel_arena_strndup(&zip->arena, (const char *)record + CENTRAL_SIZE, name);
    *at += all;
    return out->name ? KEEL_OK : keel_nomem(err, zip->place);
}

keel_status keel__zip_open(keel__zip *zip, const char *place, const void *bytes, size_t length,
                           keel_err *err) {
    directory found;
    uint64_t together = 0;
    *zip = (keel__zip){.place = place, .bytes = bytes, .length = length};
    if (!find_directory(zip, &found)) return fail_damaged(zip, "it has no directory", err);
    if (found.count > length / CENTRAL_SIZE)
        return fail_damaged(zip, "its directory is longer than the file", err);
    zip->entries = keel_arena_calloc(&zip->arena, (size_t)found.count + 1, sizeof *zip->entries);
    if (!zip->entries) return keel_nomem(err, place);
    for (uint64_t at = found.at; zip->count < found.count; zip->count++) {
        keel__zip_entry *entry = &zip->entries[zip->count];
        KEEL_TRY(read_entry(zip, &at, entry, err));
        if (entry->packed > length - together)
            return fail_damaged(zip, "its entries are together longer than the file", err);
        together += entry->packed;
    }
    return KEEL_OK;
}

const keel__zip_entry *keel__zip_find(const keel__zip *zip, const char *name) {
    for (size_t i = 0; i < zip->count; i++)
        if (strcmp(zip->entries[i].name, name) == 0) return &zip->entries[i];
    return NULL;
}

void keel__zip_close(keel__zip *zip) {
    keel_arena_free(&zip->arena);
}

/* ---- entries ---- */

/* At most `size` bytes: what gives more is stopped there. */
static keel_status inflate_all(const unsigned char *packed, size_t length, size_t size, const char *where,
                               keel_buf *out, keel_err *err) {
    unsigned char chunk[CHUNK];
    z_stream z = {.avail_in = (unsigned)length};
    keel_zlib_memory(&z);
    z.next_in = (unsigned char *)(uintptr_t)packed;
    int code = inflateInit2(&z, -15); /* without a header */
    if (code != Z_OK) return keel_nomem(err, where);
    while (code == Z_OK && out->length <= size && !out->failed) {
        z.next_out = chunk;
        z.avail_out = CHUNK;
        code = inflate(&z, Z_NO_FLUSH);
        keel_buf_append(out, chunk, CHUNK - z.avail_out);
    }
    inflateEnd(&z);
    if (code == Z_MEM_ERROR || out->failed) return keel_nomem(err, where);
    return code == Z_STREAM_END ? KEEL_OK
                                : keel_fail(err, KEEL_E_PARSE, where, "corrupt or cut off in the archive");
}

static keel_status unzstd(const unsigned char *packed, size_t length, size_t size, const char *where,
                          keel_buf *out, keel_err *err) {
    keel_source *source = NULL;
    KEEL_TRY(keel_source_open_memory(&source, where, packed, length, err));
    const keel_status status = keel_source_rest(source, size + 1, out, err);
    keel_source_close(source);
    return status;
}

static keel_status unpack(const keel__zip_entry *entry, const unsigned char *packed, const char *where,
                          keel_buf *out, keel_err *err) {
    const size_t length = (size_t)entry->packed, size = (size_t)entry->size;
    if (entry->method == DEFLATED) return inflate_all(packed, length, size, where, out, err);
    if (entry->method == ZSTD) return unzstd(packed, length, size, where, out, err);
    if (entry->method != STORED)
        return keel_fail(err, KEEL_E_UNSUPPORTED, where,
                         "packed by method %u; known are 0 (stored), 8 (deflate) and 93 (zstd)",
                         entry->method);
    keel_buf_append(out, packed, length);
    return out->failed ? keel_nomem(err, where) : KEEL_OK;
}

keel_status keel__zip_read(const keel__zip *zip, const keel__zip_entry *entry, const char *where,
                           keel_buf *out, keel_err *err) {
    const unsigned char *local = part(zip, entry->at, LOCAL_SIZE, local_mark);
    const uint64_t at = local ? entry->at + LOCAL_SIZE + number(local + 26, 2) + number(local + 28, 2) : 0;
    keel_buf_clear(out);
    keel_buf_append(out, "", 0);
    if (!local || at > zip->length || entry->packed > zip->length - at)
        return keel_fail(err, KEEL_E_PARSE, where, "lies beyond the end of the archive");
    if (entry->encrypted) return keel_fail(err, KEEL_E_UNSUPPORTED, where, "is encrypted");
    if (entry->size > KEEL__ZIP_LARGEST)
        return keel_fail(err, KEEL_E_INVALID, where, "expected at most %d MiB, got %llu bytes",
                         KEEL__ZIP_LARGEST >> 20, (unsigned long long)entry->size);
    KEEL_TRY(unpack(entry, zip->bytes + at, where, out, err));
    if (out->length != entry->size ||
        crc32(0, (const unsigned char *)out->data, (unsigned)out->length) != entry->checksum)
        return keel_fail(err, KEEL_E_PARSE, where,
                         "corrupt in the archive: not the size and checksum it says");
    return KEEL_OK;
}
