/* Zip archives in memory: what is in them, and one entry after the other. Stored, deflated and zstd entries,
 * also with 64-bit sizes; nothing encrypted. Not for other folders.
 *
 * An archive is not trusted: places and sizes must lie within it, its entries together are no longer than it
 * is, so that none stands for another one's bytes, and an entry that does not give the size and the checksum
 * that the directory says is an error. */
#ifndef KEEL_DATASETS_ZIP_H
#define KEEL_DATASETS_ZIP_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { KEEL__ZIP_LARGEST = 1 << 30 /* bytes of an entry, unpacked */ };

typedef struct keel__zip_entry {
    const char *name;
    unsigned method;
    bool encrypted;
    uint32_t checksum; /* CRC-32 of what is unpacked */
    uint64_t packed, size, at;
} keel__zip_entry;

typedef struct keel__zip {
    const char *place; /* for errors */
    const unsigned char *bytes;
    size_t length;
    keel_arena arena; /* of entries and their names */
    keel__zip_entry *entries;
    size_t count;
} keel__zip;

/* Whether these are the first bytes of an archive. */
bool keel__zip_begins(const char *bytes, size_t length);
/* Reads the directory. place and bytes[length] must outlive zip. Close in any case. KEEL_E_PARSE for what is
 * none. */
keel_status keel__zip_open(keel__zip *zip, const char *place, const void *bytes, size_t length,
                           keel_err *err);
/* The entry of that name, or NULL. */
const keel__zip_entry *keel__zip_find(const keel__zip *zip, const char *name);
/* Unpacks an entry into out, which is cleared first. where is put into errors. */
keel_status keel__zip_read(const keel__zip *zip, const keel__zip_entry *entry, const char *where,
                           keel_buf *out, keel_err *err);
void keel__zip_close(keel__zip *zip);

#endif
