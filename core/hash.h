/* Hashes: SHA-256 (FIPS 180-4) for content identity, and a fast 64-bit hash (FNV-1a with a final mix) for
 * n-grams and tables. */
#ifndef KEEL_CORE_HASH_H
#define KEEL_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct keel_sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    unsigned char block[64];
} keel_sha256;

void keel_sha256_init(keel_sha256 *hash);
void keel_sha256_add(keel_sha256 *hash, const void *bytes, size_t length);
void keel_sha256_add_text(keel_sha256 *hash, const char *text); /* length-prefixed, NULL differs from "" */
void keel_sha256_finish(keel_sha256 *hash, unsigned char digest[32]);
void keel_sha256_hex(keel_sha256 *hash, char hex[65]); /* finishes; lower-case hex, NUL-terminated */

/* Adds whole blocks of 64 bytes to a state without the processor's own instructions for SHA-256: the twin
 * that a test compares them with. */
void keel__sha256_plain(uint32_t state[8], const unsigned char *blocks, size_t count);

/* 64-bit non-cryptographic hash of bytes under a seed. Same on every machine. */
uint64_t keel_hash64(const void *bytes, size_t length, uint64_t seed);
/* Of a name within another: what is called `second` in `first`. */
uint64_t keel_hash64_texts(const char *first, const char *second, uint64_t seed);
/* The same byte by byte: end(add(add(begin(seed), a), b)) is the hash of "ab". */
static inline uint64_t keel_hash64_begin(uint64_t seed) {
    return 0xcbf29ce484222325u ^ seed;
}
static inline uint64_t keel_hash64_add(uint64_t running, unsigned char byte) {
    return (running ^ byte) * 0x100000001b3u;
}
static inline uint64_t
keel_hash64_end(uint64_t h) { /* MurmurHash3's finaliser: each bit reaches every other */
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}
uint64_t keel_hash64_mix(uint64_t a, uint64_t b); /* combines two hashes; order matters */

#endif
