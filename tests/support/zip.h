/* Makes zip archives for tests. */
#ifndef KEEL_TESTS_ZIP_H
#define KEEL_TESTS_ZIP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "core/memory.h"

typedef struct zip_file {
    const char *name, *text;
    unsigned method; /* 0 stored, 8 deflate, 93 zstd; others are stored under that number */
} zip_file;

static inline void zip_number(keel_buf *out, uint64_t value, int bytes) {
    for (; bytes--; value >>= 8) keel_buf_append(out, &(unsigned char){(unsigned char)value}, 1);
}

static inline void zip_pack(const zip_file *file, keel_buf *out) {
    static unsigned char room[1 << 20];
    const size_t length = strlen(file->text);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)file->text, .avail_in = (unsigned)length};
    if (file->method == 93) {
        keel_buf_append(out, room, ZSTD_compress(room, sizeof room, file->text, length, 3));
        return;
    }
    if (file->method != 8) {
        keel_buf_append(out, file->text, length);
        return;
    }
    if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    z.next_out = room;
    z.avail_out = sizeof room;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    keel_buf_append(out, room, sizeof room - z.avail_out);
    deflateEnd(&z);
}

/* Method, checksum, sizes and length of the name, as they stand in both records. */
static inline void zip_head(keel_buf *out, const zip_file *file, size_t packed) {
    const size_t length = strlen(file->text);
    zip_number(out, 0, 2);
    zip_number(out, file->method, 2);
    zip_number(out, 0, 4);
    zip_number(out, crc32(0, (const Bytef *)file->text, (unsigned)length), 4);
    zip_number(out, packed, 4);
    zip_number(out, length, 4);
    zip_number(out, strlen(file->name), 2);
}

/* The archive, appended to an empty buffer. */
static inline void zip_make(keel_buf *out, const zip_file *files, size_t count) {
    keel_buf directory = {0}, packed = {0};
    for (size_t i = 0; i < count; i++) {
        const size_t at = out->length;
        keel_buf_clear(&packed);
        keel_buf_append(&packed, "", 0);
        zip_pack(&files[i], &packed);
        keel_buf_append(out, "PK\x03\x04\x14\x00", 6);
        zip_head(out, &files[i], packed.length);
        zip_number(out, 0, 2);
        keel_buf_text(out, files[i].name);
        keel_buf_append(out, packed.data, packed.length);
        keel_buf_append(&directory, "PK\x01\x02\x14\x00\x14\x00", 8);
        zip_head(&directory, &files[i], packed.length);
        zip_number(&directory, 0, 12);
        zip_number(&directory, at, 4);
        keel_buf_text(&directory, files[i].name);
    }
    const size_t at = out->length;
    keel_buf_append(out, directory.data, directory.length);
    keel_buf_append(out, "PK\x05\x06\x00\x00\x00\x00", 8);
    zip_number(out, count, 2);
    zip_number(out, count, 2);
    zip_number(out, directory.length, 4);
    zip_number(out, at, 4);
    zip_number(out, 0, 2);
    keel_buf_free(&directory);
    keel_buf_free(&packed);
}

#endif
