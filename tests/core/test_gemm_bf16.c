/* Products in bfloat16 against their plain-loop twin, whatever the shape. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/gemm.h"
#include "core/half.h"
#include "core/matrix.h"
#include "core/pcg.h"

enum { MOST = 700 * 300 };

static float a[MOST], b[MOST], y[MOST], before[MOST];

static double at(const float *x, bool transposed, size_t ld, size_t row, size_t col) {
    return (double)keel_bf16_to_float(
        keel_bf16_from_float(transposed ? x[col * ld + row] : x[row * ld + col]));
}

/* Spare columns on every side, which are not touched. */
static void check(size_t m, size_t n, size_t k, int transposes, float alpha, float beta) {
    const bool ta = transposes & 1, tb = transposes & 2;
    const size_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldy = n + 2;
    assert_true((ta ? k : m) * lda <= MOST && (tb ? n : k) * ldb <= MOST && m * ldy <= MOST);
    for (size_t i = 0; i < m * ldy; i++) y[i] = before[i];
    keel_gemm_bf16(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, ldy);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldy; j++) {
            double sum = 0, size = 0;
            for (size_t d = 0; j < n && d < k; d++) {
                const double one = at(a, ta, lda, i, d) * at(b, tb, ldb, d, j);
                sum += one, size += fabs(one);
            }
            const double old = (double)before[i * ldy + j],
                         want = j < n ? (double)alpha * sum + (beta != 0 ? (double)beta * old : 0) : old;
            if (!(fabs((double)y[i * ldy + j] - want) <= 4e-6 * (size + fabs(old) + 1e-6)))
                fail_msg("%zu x %zu x %zu, %d, at %zu, %zu: %.9g, expected %.9g", m, n, k, transposes, i, j,
                         (double)y[i * ldy + j], want);
        }
}

static void products_are_those_of_rounded_numbers(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1},     {7, 65, 33},   {6, 64, 32},
                                       {13, 17, 300}, {97, 257, 31}, {200, 3, 258},
                                       {2, 300, 513}, {100, 64, 1},  {96, 256, 256}};
    keel_rng rng = keel_rng_named(1, "bf16", 0);
    printf("AVX512-BF16: %s\n", keel_gemm_has_bf16() ? "yes" : "no");
    for (size_t i = 0; i < MOST; i++) {
        a[i] = (float)keel_rng_normal(&rng), b[i] = (float)keel_rng_normal(&rng);
        before[i] = (float)keel_rng_normal(&rng);
    }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int t = 0; t < 4; t++) {
            check(shapes[s][0], shapes[s][1], shapes[s][2], t, 1, 0);
            check(shapes[s][0], shapes[s][1], shapes[s][2], t, 0.5f, 1);
            check(shapes[s][0], shapes[s][1], shapes[s][2], t, -1, -0.25f);
        }
}

/* beta 0 overwrites whatever stands there; an empty sum is 0; nothing is written where there is nothing. */
static void edges_are_as_those_of_the_other_product(void **state) {
    (void)state;
    float out[4] = {NAN, NAN, NAN, NAN};
    const float one[4] = {1, 2, 3, 4};
    keel_gemm_bf16(false, false, 2, 2, 2, 1, one, 2, one, 2, 0, out, 2);
    assert_true(out[0] == 7 && out[1] == 10 && out[2] == 15 && out[3] == 22);
    keel_gemm_bf16(false, false, 2, 2, 0, 1, one, 2, one, 2, 0, out, 2);
    assert_true(out[0] == 0 && out[3] == 0);
    out[0] = 5;
    keel_gemm_bf16(false, false, 0, 2, 2, 1, one, 2, one, 2, 0, out, 2);
    assert_true(out[0] == 5);
    const float hole[4] = {NAN, 0, INFINITY, 0};
    keel_gemm_bf16(false, false, 2, 2, 2, 1, hole, 2, one, 2, 0, out, 2);
    assert_true(isnan(out[0]) && isinf(out[2]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_rounded_numbers),
        cmocka_unit_test(edges_are_as_those_of_the_other_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
