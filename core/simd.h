/* KEEL_SIMD before a static function: compiled for AVX-512, for AVX2 and for the build's own instructions,
 * and the widest that the processor has is taken when the program is loaded. For loops over independent
 * elements: each element goes through the same roundings in any width (nothing is contracted,
 * -ffp-contract=off, and no sum is reordered), so all three give the same bits. gcc on Linux and x86-64 only;
 * sanitizers instrument the choice itself, before they are ready for it, so their builds go without. */
#ifndef KEEL_CORE_SIMD_H
#define KEEL_CORE_SIMD_H

#if defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) && defined(__x86_64__) &&             \
    !defined(__AVX512F__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KEEL_SIMD __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define KEEL_SIMD
#endif

#endif
