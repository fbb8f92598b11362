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

#include "core/half.h"
#include "core/matrix_fit.h"
#include "core/pcg.h"
#include "golden/quantised.h"

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
}

/* The largest, -16, becomes -8 in steps of 2: 8 - 8, 8 + 7, 8 + .75 + .5 cut, low halves first. */
static void a_block_of_fours_is_written_as_ggml_writes_it(void **state) {
    (void)state;
    float row[32] = {-16, 16, 1.5f, 1};
    unsigned char block[KEEL_MATRIX_Q4_0_BYTES];
    row[16] = 14;
    row[17] = -1.1f; /* -.55 of a step: -1 */
    keel_matrix_write_row(KEEL_MATRIX_Q4_0, row, 32, block);
    assert_int_equal(block[0] | block[1] << 8, 0x4000);
    assert_int_equal(block[2], 0 | 15 << 4);
    assert_int_equal(block[3], 15 | 7 << 4);
    assert_int_equal(block[4], 9 | 8 << 4);
    assert_int_equal(block[5], 9 | 8 << 4);
    for (int i = 6; i < KEEL_MATRIX_Q4_0_BYTES; i++) assert_int_equal(block[i], 0x88);
}

/* Scale 2 by row: 127 of them, ties to even; what is not finite shows in the scale. */
static void a_row_is_quantised_to_its_largest(void **state) {
    (void)state;
    const float row[6] = {254, -254, 1, 3, -5, 0.5f}, tiny[3] = {1e-40f, 0, -1e-39f};
    static const int8_t expected[6] = {127, -127, 0, 2, -2, 0};
    int8_t q[6];
    float scale;
    keel_row_quantise(row, 6, q, &scale);
    assert_true(scale == 2);
    assert_memory_equal(q, expected, sizeof q);
    unsigned char written[sizeof scale + 6];
    keel_matrix_write_row(KEEL_MATRIX_I8, row, 6, written);
    assert_memory_equal(written, &scale, sizeof scale);
    assert_memory_equal(written + sizeof scale, expected, sizeof expected);
    keel_row_quantise(tiny, 3, q, &scale);
    assert_true(scale >= 0 && scale < 1e-38f);
    for (int i = 0; i < 3; i++) assert_int_equal(q[i], 0);
    for (int i = 0; i < 3; i++) {
        const float bad[4] = {1, i == 0 ? NAN : i == 1 ? -INFINITY : INFINITY, 2, -3};
        keel_row_quantise(bad, 4, q, &scale);
        assert_true(!isfinite(scale));
    }
}

/* Two blocks, the larger of which takes fifteen steps: 105 / 7 / 15 = 1; the other 8 / 8 = one step. */
static void steps_are_of_the_largest_block(void **state) {
    (void)state;
    float row[64] = {105, -15, 22, 23}, scale, back[64];
    unsigned char data[1 + sizeof(float) + 2 * KEEL_MATRIX_G32_BYTES], *at = data + 1;
    row[32] = -8;
    row[48] = 7;
    row[63] = 2.5f;
    assert_int_equal(keel_matrix_row_bytes(KEEL_MATRIX_Q4_G32, 64), sizeof data - 1);
    keel_matrix_write_row(KEEL_MATRIX_Q4_G32, row, 64, at);
    memcpy(&scale, at, sizeof scale);
    assert_true(scale == 1);
    assert_int_equal(at[4], 15);
    assert_int_equal(at[5], 15 | 8 << 4);
    assert_int_equal(at[6], 7 | 8 << 4);
    assert_int_equal(at[7], 9 | 8 << 4);
    assert_int_equal(at[8], 10 | 8 << 4);
    assert_int_equal(at[21], 1);
    assert_int_equal(at[22], 0 | 15 << 4);
    assert_int_equal(at[37], 8 | 10 << 4);
    const keel_matrix m = {.type = KEEL_MATRIX_Q4_G32, .rows = 1, .cols = 64, .data = at};
    keel_matrix_read_row(&m, 0, back);
    assert_true(back[0] == 105 && back[1] == -15 && back[3] == 30 && back[32] == -8 && back[63] == 2);
    float part[32];
    keel_matrix_read(&m, 0, 32, 32, part);
    assert_memory_equal(part, back + 32, sizeof part);
}

/* Byte for byte what ggml (Q8_0, Q4_0) and numpy (the others) make of the same rows. */
static void rows_are_written_as_others_write_them(void **state) {
    (void)state;
    for (size_t r = 0; r < GOLDEN_ROWS; r++) {
        const struct {
            keel_matrix_type type;
            const unsigned char *expected;
        } all[] = {{KEEL_MATRIX_Q8_0, golden_q8_0[r]},
                   {KEEL_MATRIX_Q4_0, golden_q4_0[r]},
                   {KEEL_MATRIX_I8, golden_int8[r]},
                   {KEEL_MATRIX_Q4_G32, golden_q4_g32[r]}};
        for (size_t t = 0; t < sizeof all / sizeof *all; t++) {
            unsigned char found[4 * GOLDEN_COLS];
            const size_t bytes = keel_matrix_row_bytes(all[t].type, GOLDEN_COLS);
            keel_matrix_write_row(all[t].type, golden_rows[r], GOLDEN_COLS, found);
            for (size_t i = 0; i < bytes; i++)
                if (found[i] != all[t].expected[i])
                    fail_msg("%s, row %zu, byte %zu: %d, expected %d", keel_matrix_type_name(all[t].type), r,
                             i, found[i], all[t].expected[i]);
        }
    }
}

static void rows_of_a_file_are_sound_or_not(void **state) {
    (void)state;
    float row[64];
    for (int i = 0; i < 64; i++) row[i] = (float)(i - 20);
    for (int type = 0; type < KEEL_N_MATRIX_TYPES; type++) {
        unsigned char data[256];
        const uint16_t infinite = 0x7c00;
        const float not = NAN;
        keel_matrix_write_row(type, row, 64, data);
        assert_true(keel_matrix_row_is_sound(type, data, 64));
        if (type == KEEL_MATRIX_Q8_0 || type == KEEL_MATRIX_Q4_0)
            memcpy(data + keel_matrix_row_bytes((keel_matrix_type)type, 32), &infinite, sizeof infinite);
        else if (type == KEEL_MATRIX_I8)
            memcpy(data, &not, sizeof not );
        else if (type == KEEL_MATRIX_Q4_G32)
            data[keel_matrix_row_bytes(type, 32)] = 16;
        else
            continue;
        assert_false(keel_matrix_row_is_sound(type, data, 64));
        assert_true(type == KEEL_MATRIX_I8 || keel_matrix_row_is_sound(type, data, 32));
    }
}

static double error_of(keel_matrix_type type, const float *row, size_t cols, const float *importance,
                       const void *data) {
    float back[256];
    double sum = 0;
    const keel_matrix m = {.type = type, .rows = 1, .cols = cols, .data = data};
    keel_matrix_read_row(&m, 0, back);
    for (size_t c = 0; c < cols; c++) {
        const double d = (double)row[c] - (double)back[c];
        sum += (importance ? (double)importance[c] : 1) * d * d;
    }
    return sum;
}

/* Long tails: the search is better than the largest, and better where it is told that it matters. */
static void a_search_errs_less_than_the_largest(void **state) {
    (void)state;
    enum { COLS = 256 };
    keel_rng rng = keel_rng_named(3, "fit", 0);
    float row[COLS], importance[COLS], zero[COLS] = {0};
    unsigned char plain[2048], fit[2048], weighted[2048];
    const keel_matrix_fit mse = {.method = KEEL_FIT_MSE};
    const keel_matrix_fit told = {.method = KEEL_FIT_MSE, .importance = importance};
    const keel_matrix_fit nothing = {.method = KEEL_FIT_MSE, .importance = zero};
    for (int type = KEEL_MATRIX_Q8_0; type < KEEL_N_MATRIX_TYPES; type++) {
        double sums[4] = {0};
        for (int n = 0; n < 20; n++) {
            for (int c = 0; c < COLS; c++) {
                const double x = keel_rng_normal(&rng);
                row[c] = (float)(x * x * x);
                importance[c] = (float)(c % 4 ? .01 : 1);
            }
            keel_matrix_write_row(type, row, COLS, plain);
            assert_int_equal(keel_matrix_fit_row(type, row, COLS, &mse, fit, NULL), KEEL_OK);
            assert_int_equal(keel_matrix_fit_row(type, row, COLS, &told, weighted, NULL), KEEL_OK);
            const double before = error_of(type, row, COLS, NULL, plain),
                         after = error_of(type, row, COLS, NULL, fit);
            if (after > before * (1 + 1e-6)) fail_msg("type %d: %g after %g", type, after, before);
            sums[0] += before;
            sums[1] += after;
            sums[2] += error_of(type, row, COLS, importance, fit);
            sums[3] += error_of(type, row, COLS, importance, weighted);
            assert_true(keel_matrix_row_is_sound(type, weighted, COLS));
            assert_int_equal(keel_matrix_fit_row(type, row, COLS, &nothing, fit, NULL), KEEL_OK);
            assert_true(error_of(type, row, COLS, NULL, fit) <= before * 1.5);
        }
        if (sums[1] > .996 * sums[0] || sums[3] > .95 * sums[2])
            fail_msg("type %d: %g after %g, weighted %g after %g", type, sums[1], sums[0], sums[3], sums[2]);
    }
}

/* 99 of 100 numbers keep their size, the largest is limited to the 99th. */
static void a_percentile_limits_what_is_larger(void **state) {
    (void)state;
    enum { COLS = 100 };
    float row[COLS], scale;
    unsigned char data[sizeof(float) + COLS];
    for (int c = 0; c < COLS; c++) row[c] = (float)((c % 2 ? -1 : 1) * (c + 1));
    row[99] = 1000;
    const keel_matrix_fit how = {.method = KEEL_FIT_PERCENTILE, .percentile = 99};
    assert_int_equal(keel_matrix_fit_row(KEEL_MATRIX_I8, row, COLS, &how, data, NULL), KEEL_OK);
    memcpy(&scale, data, sizeof scale);
    assert_true(scale == 99.0f / 127);
    assert_int_equal((int8_t)data[4 + 99], 127);
    assert_int_equal((int8_t)data[4 + 98], 127);
    assert_int_equal((int8_t)data[4 + 97], -126);
}

/* Each type: rows at an odd address come back, rounded by at most what the type leaves out. */
static void rows_come_back(void **state) {
    (void)state;
    enum { ROWS = 3, COLS = 96 };
    static const double most[KEEL_N_MATRIX_TYPES] = {[KEEL_MATRIX_BF16] = 1.0 / 256,
                                                     [KEEL_MATRIX_Q8_0] = 0.5 / 127 + 1.0 / 2048,
                                                     [KEEL_MATRIX_I8] = 0.5001 / 127,
                                                     [KEEL_MATRIX_Q4_0] = 1.001 / 8,
                                                     [KEEL_MATRIX_Q4_G32] = 0.55 / 7 + 1.0 / 15};
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
                const size_t first = type == KEEL_MATRIX_I8 ? 0 : c / 32 * 32,
                             end = type == KEEL_MATRIX_I8 ? COLS : first + 32;
                for (size_t i = first; type > KEEL_MATRIX_BF16 && i < end; i++)
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
        cmocka_unit_test(a_block_of_fours_is_written_as_ggml_writes_it),
        cmocka_unit_test(a_row_is_quantised_to_its_largest),
        cmocka_unit_test(steps_are_of_the_largest_block),
        cmocka_unit_test(rows_are_written_as_others_write_them),
        cmocka_unit_test(rows_of_a_file_are_sound_or_not),
        cmocka_unit_test(a_search_errs_less_than_the_largest),
        cmocka_unit_test(a_percentile_limits_what_is_larger),
        cmocka_unit_test(rows_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
