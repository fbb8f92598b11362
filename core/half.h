/* Floats in 16 bits: IEEE 754 binary16 ("half") and bfloat16, the upper half of a float. To 16 bits: to
 * nearest, ties to even; what is not a number stays none. Without branches, so that a loop over many is one
 * of vectors. */
#ifndef KEEL_CORE_HALF_H
#define KEEL_CORE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t keel_float_bits(float x) {
    const union {
        float value;
        uint32_t bits;
    } of = {x};
    return of.bits;
}

static inline float keel_float_of_bits(uint32_t bits) {
    const union {
        uint32_t bits;
        float value;
    } of = {bits};
    return of.value;
}

static inline float keel_bf16_to_float(uint16_t x) {
    return keel_float_of_bits((uint32_t)x << 16);
}

static inline uint16_t keel_bf16_from_float(float x) {
    const uint32_t bits = keel_float_bits(x), nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)((nan ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float keel_half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = half & 0x7fffu;
    const uint32_t small = keel_float_bits((float)rest * 0x1p-24f), special = rest << 13 | 0x7f800000u,
                   normal = (rest << 13) + (112u << 23);
    return keel_float_of_bits(sign | (rest >= 0x7c00u ? special : rest < 0x400u ? small : normal));
}

/* Below 2^-14 steps are of 2^-24: adding 1/2 leaves their number at the end. From 65520 on: infinity. */
static inline uint16_t keel_half_from_float(float x) {
    const uint32_t bits = keel_float_bits(x), size = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    const uint32_t small = keel_float_bits(keel_float_of_bits(size) + 0.5f) - 0x3f000000u,
                   normal = (size - (112u << 23) + 0xfffu + (size >> 13 & 1u)) >> 13;
    const uint32_t finite = size < 0x38800000u ? small : normal,
                   large = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return (uint16_t)(sign | (size >= 0x477ff000u ? large : finite));
}

/* Of two bytes at any address: the scale of a block, say. */
static inline float keel_half_at(const void *at) {
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return keel_half_to_float(half);
}

static inline void keel_half_put(float x, void *at) {
    const uint16_t half = keel_half_from_float(x);
    memcpy(at, &half, sizeof half);
}

#endif
