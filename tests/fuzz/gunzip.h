/* Changes what a gzipped input says rather than its bytes, half of the time: flipped bits in a deflate stream
 * are all but always refused, and what lies behind would never be reached. */
#ifndef KEEL_TESTS_FUZZ_GUNZIP_H
#define KEEL_TESTS_FUZZ_GUNZIP_H

#include <stdint.h>
#include <string.h>
#include <zlib.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

enum { FUZZ_GZIP_ROOM = 1 << 16 };

/* Bytes written to out (at most room), or 0. */
static inline size_t fuzz_gunzip(const uint8_t *data, size_t size, uint8_t *out, size_t room) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (unsigned)size};
    if (inflateInit2(&z, 15 + 16) != Z_OK) return 0;
    z.next_out = out;
    z.avail_out = (unsigned)room;
    inflate(&z, Z_FINISH);
    size_t got = room - z.avail_out;
    inflateEnd(&z);
    return got;
}

static inline size_t fuzz_gzip(const uint8_t *data, size_t size, uint8_t *out, size_t room) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (unsigned)size};
    if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    z.next_out = out;
    z.avail_out = (unsigned)room;
    size_t got = deflate(&z, Z_FINISH) == Z_STREAM_END ? room - z.avail_out : 0;
    deflateEnd(&z);
    return got;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    static uint8_t plain[FUZZ_GZIP_ROOM], packed[FUZZ_GZIP_ROOM];
    bool gzip = size > 2 && data[0] == 0x1f && data[1] == 0x8b && seed % 2;
    size_t length = gzip ? fuzz_gunzip(data, size, plain, sizeof plain) : 0;
    length = length ? LLVMFuzzerMutate(plain, length, sizeof plain) : 0;
    length = length ? fuzz_gzip(plain, length, packed, sizeof packed) : 0;
    if (length == 0 || length > most) return LLVMFuzzerMutate(data, size, most);
    memcpy(data, packed, length);
    return length;
}

#endif
