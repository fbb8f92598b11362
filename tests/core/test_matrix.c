/* Number formats: every half and bf16, rounding against its definition, blocks of Q8_0 as ggml writes them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/matrix.h"
#include "core/pcg.h"

/* What a half stands for, by IEEE 754. */
static double half_value(unsigned half) {
    const int exponent = (int)(half >> 10 & 31), fraction = (int)(half & 1023);
    const double size = exponent == 31  ? fraction ? NAN : INFINITY
                        : exponent == 0 ? ldexp(fraction, -24)
                                        : ldexp(1024 + fraction, exponent - 25);
    return half >> 15 ? -size : size;
}

static void a_half_is_its_value(void **state) {
    (void)state;
    for (unsigned half = 0; half < 65536; half++) {
        const double expected = half_value(half);
        const float found = keel_half_to_float((uint16_t)half);
        if (isnan(expected)) {
            assert_true(isnan(found));
            assert_true(isnan(keel_half_to_float(keel_half_from_float(found))));
            continue;
        }
        if ((double)found != expected || !signbit(found) != !signbit(expected))
            fail_msg("half %04x: %.9g, expected %.9g", half, (double)found, expected);
        assert_int_equal(keel_half_from_float(found), half);
    }
}

/* Between neighbours: below the middle to the lower, above to the upper, at it to the even one. */
static void rounding_is_to_nearest_even(void **state) {
    (void)state;
    for (unsigned half = 0; half < 0x7bff; half++) {
        const float low = (float)half_value(half), high = (float)half_value(half + 1),
                    middle = low + (high - low) / 2;
        assert_int_equal(keel_half_from_float(nextafterf(middle, 0)), half);
        assert_int_equal(keel_half_from_float(middle), half % 2 ? half + 1 : half);
        assert_int_equal(keel_half_from_float(-nextafterf(middle, INFINITY)), 0x8000u | (half + 1));
    }
    assert_int_equal(keel_half_from_float(nextafterf(65520, 0)), 0x7bff);
    assert_int_equal(keel_half_from_float(65520), 0x7c00);
    for (unsigned x = 0; x < 0x7f7f; x++) {
        const float low = keel_bf16_to_float((uint16_t)x), high = keel_bf16_to_float((uint16_t)(x + 1)),
                    middle = low + (high - low) / 2;
        assert_int_equal(keel_bf16_from_float(low), x);
        assert_int_equal(keel_bf16_from_float(middle), x % 2 ? x + 1 : x);
        assert_int_equal(keel_bf16_from_float(-nextafterf(middle, 0)), 0x8000u | x);
        assert_int_equal(keel_bf16_from_float(nextafterf(middle, INFINITY)), x + 1);
    }
    assert_true(isnan(keel_bf16_to_float(keel_bf16_from_float(NAN))));
    assert_true(isinf(keel_bf16_to_float(keel_bf16_from_float(INFINITY))));
}

/* 127, -1 and 2.5 of a block whose largest is 127: the scale is 1. */
static void a_block_is_written_as_ggml_writes_it(void **state) {
    (void)state;
    float row[64] = {127, -1, 2.5f, -2.5f, 0.4f};
    unsigned char data[1 + 2 * KEEL_MATRIX_BLOCK_BYTES], *blocks = data + 1; /* at an odd address */
    for (int i = 0; i < 32; i++) row[32 + i] = i ? 0 : 1e-38f; /* the inverse of its scale is infinite */
    keel_matrix_write_row(KEEL_MATRIX_Q8_0, row, 64, blocks);
    assert_int_equal(blocks[0] | blocks[1] << 8, 0x3c00);
    static const int expected[] = {127, -1, 3, -3, 0, 0};
    for (int i = 0; i < 6; i++) assert_int_equal((int8_t)blocks[2 + i], expected[i]);
    for (int i = 0; i < KEEL_MATRIX_BLOCK_BYTES; i++)
        assert_int_equal(blocks[KEEL_MATRIX_BLOCK_BYTES + i], 0); /* zeros: scale 0 */
    int32_t sums[2];
    const keel_matrix matrix = {.type = KEEL_MATRIX_Q8_0, .rows = 1, .cols = 64, .data = blocks};
    keel_matrix_sum_blocks(&matrix, sums);
    assert_int_equal(sums[0], -128 * 126);
    assert_int_equal(sums[1], 0);
}

/* Each type: rows at an odd address come back, rounded by at most what the type leaves out. */
static void rows_come_back(void **state) {
    (void)state;
    enum { ROWS = 3, COLS = 96 };
    static const double most[KEEL_N_MATRIX_TYPES] = {0, 1.0 / 256, 0.5 / 127 + 1.0 / 2048};
    keel_rng rng = keel_rng_named(1, "matrix", 0);
    float row[ROWS][COLS], back[COLS];
    for (int type = 0; type < KEEL_N_MATRIX_TYPES; type++) {
        const size_t bytes = keel_matrix_row_bytes(type, COLS);
        unsigned char *data = malloc(ROWS * bytes + 1);
        assert_non_null(data);
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t c = 0; c < COLS; c++) row[r][c] = (float)keel_rng_normal(&rng);
            keel_matrix_write_row(type, row[r], COLS, data + 1 + r * bytes);
        }
        const keel_matrix matrix = {.type = type, .rows = ROWS, .cols = COLS, .data = data + 1};
        for (size_t r = 0; r < ROWS; r++) {
            keel_matrix_read_row(&matrix, r, back);
            for (size_t c = 0; c < COLS; c++) {
                double largest = fabs((double)row[r][c]);
                for (size_t i = c / 32 * 32; type == KEEL_MATRIX_Q8_0 && i < c / 32 * 32 + 32; i++)
                    largest = fmax(largest, fabs((double)row[r][i]));
                if (fabs((double)back[c] - (double)row[r][c]) > most[type] * largest)
                    fail_msg("type %d, row %zu, column %zu: %g became %g", type, r, c, (double)row[r][c],
                             (double)back[c]);
            }
        }
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_half_is_its_value),
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(a_block_is_written_as_ggml_writes_it),
        cmocka_unit_test(rows_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
