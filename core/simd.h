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

/* Before a loop of a known, small number of rounds whose array is to stay in registers; before one around
 * them that is to stay a loop, as its rounds would need more registers beside one another. */
#ifdef __clang__
#define KEEL__UNROLL _Pragma("clang loop unroll(full)")
#define KEEL__ROLL   _Pragma("clang loop unroll(disable)")
#else
#define KEEL__UNROLL _Pragma("GCC unroll 16")
#define KEEL__ROLL   _Pragma("GCC unroll 1")
#endif

#endif
