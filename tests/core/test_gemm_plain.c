/* The product without BLAS against BLAS's, whatever the shape. gemm_plain.c is compiled into this test with
 * its functions under other names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/gemm.h"
#include "core/pcg.h"

void plain_gemm(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k, keel_real alpha,
                const keel_real *a, size_t lda, const keel_real *b, size_t ldb, keel_real beta, keel_real *y,
                size_t ldy);
void plain_gemv(size_t m, size_t k, const keel_real *a, size_t lda, const keel_real *x, keel_real beta,
                keel_real *y);
const char *plain_gemm_library(void);

enum { MOST = 700 * 320 };

static float a[MOST], b[MOST], before[MOST], y[MOST], want[MOST];

static void fill(void) {
    keel_rng rng = keel_rng_named(1, "plain", 0);
    for (size_t i = 0; i < MOST; i++) {
        a[i] = (float)keel_rng_normal(&rng), b[i] = (float)keel_rng_normal(&rng);
        before[i] = (float)keel_rng_normal(&rng);
    }
}

/* Spare columns on every side, which are not touched. */
static void check(size_t m, size_t n, size_t k, int transposes, float alpha, float beta) {
    const bool ta = transposes & 1, tb = transposes & 2;
    const size_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldy = n + 2;
    assert_true((ta ? k : m) * lda <= MOST && (tb ? n : k) * ldb <= MOST && m * ldy <= MOST);
    memcpy(y, before, sizeof y);
    memcpy(want, before, sizeof want);
    plain_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, ldy);
    keel_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, want, ldy);
    for (size_t i = 0; i < m * ldy; i++)
        if (!(fabs((double)(y[i] - want[i])) <= 1e-5 * sqrt((double)k + 1) + 2e-6 * fabs((double)want[i])))
            fail_msg("%zu x %zu x %zu, %d, at %zu, %zu: %.9g, BLAS %.9g", m, n, k, transposes, i / ldy,
                     i % ldy, (double)y[i], (double)want[i]);
    for (size_t i = 0; i < m; i++)
        assert_true(y[i * ldy + n] == before[i * ldy + n] && y[i * ldy + n + 1] == before[i * ldy + n + 1]);
}

static void products_are_those_of_blas(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1},     {7, 65, 33},   {6, 64, 32},   {13, 17, 300},
                                       {97, 257, 31}, {200, 3, 258}, {2, 300, 513}, {100, 64, 1},
                                       {65, 79, 256}, {1, 256, 300}, {64, 16, 257}, {3, 15, 700}};
    fill();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int t = 0; t < 4; t++) {
            check(shapes[s][0], shapes[s][1], shapes[s][2], t, 1, 0);
            check(shapes[s][0], shapes[s][1], shapes[s][2], t, 0.5f, 1);
            check(shapes[s][0], shapes[s][1], shapes[s][2], t, -1, -0.25f);
        }
}

/* A row of y depends on its row of a alone, not on how many there are. */
static void a_row_alone_has_the_same_bits(void **state) {
    (void)state;
    enum { M = 70, N = 53, K = 300 };
    float row[N];
    fill();
    plain_gemm(false, true, M, N, K, 1, a, K, b, K, 0, y, N);
    for (size_t i = 0; i < M; i++) {
        plain_gemm(false, true, 1, N, K, 1, a + i * K, K, b, K, 0, row, N);
        assert_memory_equal(row, y + i * N, sizeof row);
    }
}

static void a_matrix_times_a_row_is_that_of_blas(void **state) {
    (void)state;
    fill();
    for (size_t k = 0; k < 40; k++)
        for (int t = 0; t < 2; t++) {
            const float beta = t ? -0.5f : 0;
            memcpy(y, before, 9 * sizeof *y);
            memcpy(want, before, 9 * sizeof *y);
            plain_gemv(7, k, a, k + 2, b, beta, y);
            if (k) keel_gemv(7, k, a, k + 2, b, beta, want);
            for (size_t i = 0; i < 9; i++) {
                const float expected = k || i >= 7 ? want[i] : beta * before[i];
                assert_true(fabs((double)(y[i] - expected)) <= 1e-5);
            }
        }
}

/* beta 0 overwrites whatever stands there; an empty sum is 0; nothing is written where there is nothing. */
static void edges_are_as_those_of_blas(void **state) {
    (void)state;
    float out[4] = {NAN, NAN, NAN, NAN};
    const float one[4] = {1, 2, 3, 4};
    plain_gemm(false, false, 2, 2, 2, 1, one, 2, one, 2, 0, out, 2);
    assert_true(out[0] == 7 && out[1] == 10 && out[2] == 15 && out[3] == 22);
    plain_gemm(false, false, 2, 2, 0, 1, one, 2, one, 2, 0, out, 2);
    assert_true(out[0] == 0 && out[3] == 0);
    out[0] = 5;
    plain_gemm(false, false, 0, 2, 2, 1, one, 2, one, 2, 0, out, 2);
    plain_gemm(false, false, 2, 0, 2, 1, one, 2, one, 2, 0, out, 2);
    assert_true(out[0] == 5);
    const float hole[4] = {NAN, 0, INFINITY, 0};
    plain_gemm(false, false, 2, 2, 2, 1, hole, 2, one, 2, 0, out, 2);
    assert_true(isnan(out[0]) && isinf(out[2]));
    assert_string_equal(plain_gemm_library(), "none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_blas),
        cmocka_unit_test(a_row_alone_has_the_same_bits),
        cmocka_unit_test(a_matrix_times_a_row_is_that_of_blas),
        cmocka_unit_test(edges_are_as_those_of_blas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
