#include "core/hash.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#if defined __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

/* ---- SHA-256: FIPS 180-4, sections 4.1.2, 5 and 6.2 ---- */

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

static void expand(const unsigned char *block, uint32_t w[64]) {
    for (size_t t = 0; t < 16; ++t)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (size_t t = 16; t < 64; ++t) {
        uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
}

static void compress_plain(uint32_t state[8], const unsigned char *block) {
    uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5],
                    g = state[6], h = state[7];
    expand(block, w);
    for (size_t t = 0; t < 64; ++t) { /* eight scalars, so that turning them costs nothing */
        uint32_t choose = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
        uint32_t t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + choose + ROUND[t] + w[t];
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + majority;
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t v[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state[i] += v[i];
}

void keel__sha256_plain(uint32_t state[8], const unsigned char *blocks, size_t count) {
    for (; count > 0; count--, blocks += 64) compress_plain(state, blocks);
}

#if defined __x86_64__

/* The processor's own instructions for it: two rounds each. They want the state as (A, B, E, F) and (C, D, G,
 * H). */
__attribute__((target("sha,sse4.1"))) static void compress_fast(uint32_t state[8],
                                                                const unsigned char *blocks, size_t count) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xF0), w[4];
    for (; count > 0; count--, blocks += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            __m128i *now = &w[g & 3], before = w[(g + 3) & 3];
            if (g < 4)
                *now =
                    _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(blocks + 16 * g)), swap);
            else
                *now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(g + 1) & 3]),
                                                          _mm_alignr_epi8(before, w[(g + 2) & 3], 4)),
                                            before);
            __m128i k = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *)(const void *)(ROUND + 4 * g)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

/* Asked once: a virtual machine answers slowly. */
static bool has_instructions(void) {
    static atomic_int known; /* 0: not asked, 1: no, 2: yes */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (!answer) {
        unsigned a, b = 0, c = 0, d, sse = 0;
        bool good =
            __get_cpuid(1, &a, &b, &sse, &d) && (sse >> 19 & 1) && __get_cpuid_count(7, 0, &a, &b, &c, &d);
        answer = good && (b >> 29 & 1) ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}

static void compress(uint32_t state[8], const unsigned char *blocks, size_t count) {
    (has_instructions() ? compress_fast : keel__sha256_plain)(state, blocks, count);
}

#else

static void compress(uint32_t state[8], const unsigned char *blocks, size_t count) {
    keel__sha256_plain(state, blocks, count);
}

#endif

void keel_sha256_init(keel_sha256 *hash) {
    *hash = (keel_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                                    0x1f83d9ab, 0x5be0cd19}};
}

void keel_sha256_add(keel_sha256 *hash, const void *bytes, size_t length) {
    const unsigned char *next = bytes;
    size_t held = hash->length % 64;
    hash->length += length;
    if (held + length < 64) {
        if (length) memcpy(hash->block + held, next, length);
        return;
    }
    size_t fill = 64 - held;
    memcpy(hash->block + held, next, fill);
    compress(hash->state, hash->block, 1);
    next += fill, length -= fill;
    if (length >= 64) compress(hash->state, next, length / 64);
    memcpy(hash->block, next + length / 64 * 64, length % 64);
}

static void write_u64(unsigned char out[8], uint64_t value) { /* big-endian */
    for (size_t i = 0; i < 8; ++i) out[i] = (unsigned char)(value >> (56 - 8 * i));
}

void keel_sha256_add_text(keel_sha256 *hash, const char *text) {
    unsigned char prefix[9] = {text != NULL};
    size_t length = text ? strlen(text) : 0;
    write_u64(prefix + 1, length);
    keel_sha256_add(hash, prefix, sizeof prefix);
    keel_sha256_add(hash, text, length);
}

void keel_sha256_finish(keel_sha256 *hash, unsigned char digest[32]) {
    static const unsigned char padding[64] = {0x80};
    unsigned char bits[8];
    write_u64(bits, hash->length * 8);
    keel_sha256_add(hash, padding, 1 + (119 - hash->length % 64) % 64);
    keel_sha256_add(hash, bits, sizeof bits);
    for (size_t i = 0; i < 32; ++i) digest[i] = (unsigned char)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

void keel_sha256_hex(keel_sha256 *hash, char hex[65]) {
    unsigned char digest[32];
    keel_sha256_finish(hash, digest);
    for (size_t i = 0; i < 32; ++i) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[64] = '\0';
}

/* ---- the fast hash ---- */

uint64_t keel_hash64(const void *bytes, size_t length, uint64_t seed) {
    const unsigned char *next = bytes;
    uint64_t running = keel_hash64_begin(seed);
    for (size_t i = 0; i < length; ++i) running = keel_hash64_add(running, next[i]);
    return keel_hash64_end(running);
}

uint64_t keel_hash64_texts(const char *first, const char *second, uint64_t seed) {
    return keel_hash64(second, strlen(second), keel_hash64(first, strlen(first), seed));
}

uint64_t keel_hash64_mix(uint64_t a, uint64_t b) {
    return keel_hash64_end(keel_hash64_end(a + 0x9e3779b97f4a7c15u) ^ b);
}
