/* The generator against the printed output of the reference implementation (imneme/pcg-c,
 * test-high/expected/check-pcg64.out: seed 42, stream 54, five rounds of numbers, 65 coins, 33 dice and a
 * dealt deck). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/pcg.h"

enum { ROUNDS = 5, NUMBERS = 6, COINS = 65, DICE = 33, CARDS = 52 };

static const uint64_t NUMBERS_64[ROUNDS][NUMBERS] = {
    {0x86b1da1d72062b68, 0x1304aa46c9853d39, 0xa3670e9e0dd50358, 0xf9090e529a7dae00, 0xc85b9fd837996f2c,
     0x606121f8e3919196},
    {0x1773ba241e7a792a, 0xe41aed7117b0bc10, 0x36bac8d9432af525, 0xe0c78e2f3c850a38, 0xe3ad939c1c7ce70d,
     0xa302fdced8c79e93},
    {0xc96006593aed3b62, 0xf04d5afa3f197bf1, 0xce6f729cc913a50f, 0x98b5fc4fbb1e4aea, 0x802dce1b410fc8c3,
     0xe3bac0a14f6e5033},
    {0x68da679de81de48a, 0x7ee3c031fa0aa440, 0x6eb1663983530403, 0xfec4d7a9a7aec823, 0xbce221c255ee9467,
     0x460a42a962b8a2f9},
    {0x9e0d084cff42fe2f, 0x63cd8347aae338ea, 0x112aae00540d3fa1, 0x53968bc829afd6ec, 0x1b9900eb6c5b6d90,
     0xe89ed17ea33cb420}};
static const char *const COINS_64[ROUNDS] = {
    "TTTHHHTTTHHHTTTTHHTTHHTHTHTTHHTHTTTTHHTTTHTHHTHTTTTHHTTTHHHTTTHTT",
    "TTTTHTHTHHTHTHTTTTTHHTTHHHHTHTHHHHHHHTHHHTHHTHTTTHHHHTTHHTTTHTHTH",
    "HTTHTHTTTTTHTTTHHTHTHHTHHHHHHHHHTTTHTHTHTHHTTTTTTHHHHTHTTTTHHHHHH",
    "HHHTTTTHHHHHTTTTTTTHHHTHHHHTTHTTTHTTTTHTHHHHTHHTTTHHHTHHTTHHHTHTH",
    "HTTTTTHTHTHHHTHTTTHTHHTHHTHTTTHHTTHHHTTTTHTTHHTHHTHHHTTHHTHTHHHHH"};
static const char *const DICE_64[ROUNDS] = {
    "641515536346236555153626144352632", "611541563242246215262315115442363",
    "564331452321132345464362263224525", "356364565611665551646451144435616",
    "665114553126524642644325336534512"};
static const char *const CARDS_64[ROUNDS] = {
    "3d 7d 3h Qd 9d 8c Ts Ad 9s 6c Jh Ac 5s 4c 2c 7s Kh Kd 7h Qh 6d Qc "
    "8d Qs 6s Js 4d Kc 9h 3c 2h Td 5d 5h 9c 4s 5c 7c 3s 4h As Th 6h Jc "
    "2s Jd Tc Ah 2d Ks 8h 8s ",
    "As 2h 4d 7d Ad Qc 9s 7h Kh Jc 7c 3d 8c Th 9c Qd 9h Td 6d 8d Qs 5c "
    "6s 8s Ac Kd 2d 3h Qh Tc Jh Ah 3s 4h 9d 8h Jd 4s 2s Ts 5s Kc 4c 5d "
    "3c 6h 2c 6c 7s Js 5h Ks ",
    "5c 5d 9d 4s Qs Kh 2c 3h Ac 2s 7s 4c 6s 8h 9c 6d 2h 4d 3c 5h 6h Ad "
    "7c Js Jd 6c 2d 3d 4h Kd 9s Th Kc 7h 8s Tc Qc Qd Jh Ks 8d Ts Ah Jc "
    "5s As Qh 8c 3s Td 7d 9h ",
    "7c Kh 2d Qc Jh Js Kc Ks Kd 3d 8d 4s Jc 8c 9d 5c 9c Qh As Qd 3s Ac "
    "3h 3c Ad 9h 6h Th Jd 5s 6s 7h 7d 7s 2c 2h 2s 6d 8h 4d Ts Tc 4h 5h "
    "4c Ah 9s Td 8s 5d 6c Qs ",
    "Jd Qh 8s 9h Kh 3c Ts Th Kc Kd 4s Ah 5h 4d Jc 7d 9c Ac 8c Ks 6s 2d "
    "Td Qc 2s 8h Tc 6c 3d 3h 4h 6h 7s Qs As 5d 3s 5c 6d 4c Js 5s 8d 9d "
    "2c 9s 7h Qd Jh Ad 2h 7c "};

static void print_cards(const size_t *cards, char *text) {
    for (size_t i = 0; i < CARDS; ++i, text += 3)
        snprintf(text, 4, "%c%c ", "A23456789TJQK"[cards[i] / 4], "hcds"[cards[i] % 4]);
}

static void pcg64_prints_what_the_reference_prints(void **state) {
    (void)state;
    keel_rng rng;
    keel_pcg64_seed(&rng, 42, 54);
    for (size_t round = 0; round < ROUNDS; ++round) {
        for (size_t i = 0; i < NUMBERS; ++i) assert_true(keel_rng_u64(&rng) == NUMBERS_64[round][i]);
        for (size_t i = 0; i < COINS; ++i)
            assert_int_equal("TH"[keel_rng_below(&rng, 2)], COINS_64[round][i]);
        for (size_t i = 0; i < DICE; ++i)
            assert_int_equal('1' + (int)keel_rng_below(&rng, 6), DICE_64[round][i]);
        size_t cards[CARDS];
        for (size_t i = 0; i < CARDS; ++i) cards[i] = i;
        keel_rng_shuffle(&rng, cards, CARDS);
        char text[3 * CARDS + 1];
        print_cards(cards, text);
        assert_string_equal(text, CARDS_64[round]);
    }
}

/* A bound just above half the range rejects almost half of all draws; a modulus without rejection would give
 * the low third twice its share. */
static void bounded_draws_are_unbiased_where_a_modulus_is_not(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(1, "bounds", 0);
    uint64_t bound = 0xC000000000000000u;
    size_t low = 0, draws = 30000;
    for (size_t i = 0; i < draws; ++i) low += keel_rng_below(&rng, bound) < bound / 3;
    double sigma = sqrt((double)draws * 2 / 9);
    assert_true(fabs((double)low - (double)draws / 3) < 4 * sigma);
    assert_int_equal(keel_rng_below(&rng, 1), 0);
}

static void streams_differ_by_seed_purpose_and_index(void **state) {
    (void)state;
    keel_rng base = keel_rng_named(3, "init", 0), same = keel_rng_named(3, "init", 0);
    keel_rng others[] = {keel_rng_named(4, "init", 0), keel_rng_named(3, "order", 0),
                         keel_rng_named(3, "init", 1), keel_rng_named(3, "", 0),
                         keel_rng_named(3, "init0", 0)};
    assert_true(base.state == same.state && base.increment == same.increment);
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i) {
        assert_true(others[i].increment != base.increment);
        assert_true(others[i].increment & 1);
        for (size_t j = 0; j < i; ++j) assert_true(others[i].increment != others[j].increment);
    }
}

enum { N_PURPOSES = KEEL_N_STREAMS, MIXED = 64 };
static const char *const *const purposes = keel_stream_names;

static void draw_some(uint64_t seed, const char *purpose, uint64_t draws[MIXED]) {
    keel_rng rng = keel_rng_named(seed, purpose, 0);
    for (int i = 0; i < MIXED; i++) draws[i] = keel_rng_u64(&rng);
}

/* In whatever order streams are made and however their draws are mixed, each gives its own numbers. */
static void another_seed_of_one_purpose_moves_no_other(void **state) {
    (void)state;
    static uint64_t alone[N_PURPOSES][MIXED];
    for (int p = 0; p < N_PURPOSES; p++) draw_some(1, purposes[p], alone[p]);
    for (int moved = 0; moved < N_PURPOSES; moved++) {
        keel_rng rng[N_PURPOSES];
        size_t same = 0;
        for (int p = N_PURPOSES - 1; p >= 0; p--) rng[p] = keel_rng_named(p == moved ? 2 : 1, purposes[p], 0);
        for (int i = 0; i < MIXED; i++) {
            for (int p = 0; p < N_PURPOSES; p++) {
                bool is = keel_rng_u64(&rng[p]) == alone[p][i];
                if (p != moved) assert_true(is);
                same += p == moved && is;
            }
        }
        assert_int_equal(same, 0);
    }
}

static void purposes_share_no_number(void **state) {
    (void)state;
    static uint64_t draws[N_PURPOSES][MIXED];
    for (int p = 0; p < N_PURPOSES; p++) draw_some(7, purposes[p], draws[p]);
    for (int p = 0; p < N_PURPOSES; p++)
        for (int q = 0; q < p; q++)
            for (int i = 0; i < MIXED; i++)
                for (int j = 0; j < MIXED; j++) assert_int_not_equal(draws[p][i], draws[q][j]);
}

static void neighbouring_streams_are_uncorrelated(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    keel_rng a = keel_rng_named(0, "noise", 0), b = keel_rng_named(0, "noise", 1);
    double product = 0;
    for (size_t i = 0; i < DRAWS; ++i) product += (keel_rng_uniform(&a) - 0.5) * (keel_rng_uniform(&b) - 0.5);
    assert_true(fabs(product) < 4.0 * sqrt((double)DRAWS) / 12);
}

static void uniform_and_normal_draws_have_their_moments(void **state) {
    (void)state;
    enum { DRAWS = 40000 };
    keel_rng rng = keel_rng_named(11, "moments", 0);
    double sum = 0, normal_sum = 0, squares = 0, fourth = 0;
    for (size_t i = 0; i < DRAWS; ++i) {
        double u = keel_rng_uniform(&rng), z = keel_rng_normal(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u, normal_sum += z, squares += z * z, fourth += z * z * z * z;
    }
    double n = DRAWS;
    assert_true(fabs(sum / n - 0.5) < 4 / sqrt(12 * n));
    assert_true(fabs(normal_sum / n) < 4 / sqrt(n));
    assert_true(fabs(squares / n - 1) < 4 * sqrt(2 / n));
    assert_true(fabs(fourth / n - 3) < 4 * sqrt(96 / n));
}

/* Mean and variance of Gamma(shape, 1) are the shape; below 1 it is skewed the most. */
static void gamma_draws_have_their_moments(void **state) {
    (void)state;
    enum { DRAWS = 40000 };
    static const double shapes[] = {0.1, 0.5, 1, 2.5, 40};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s) {
        keel_rng rng = keel_rng_named(3, "gamma", s);
        double shape = shapes[s], sum = 0, squares = 0, n = DRAWS;
        for (size_t i = 0; i < DRAWS; ++i) {
            double x = keel_rng_gamma(&rng, shape);
            assert_true(x > 0);
            sum += x, squares += (x - shape) * (x - shape);
        }
        assert_true(fabs(sum / n - shape) < 4 * sqrt(shape / n));
        double fourth = 3 * shape * shape + 6 * shape; /* central moment */
        assert_true(fabs(squares / n - shape) < 4 * sqrt((fourth - shape * shape) / n));
    }
}

static void a_normal_draw_uses_exactly_two_numbers(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(5, "two", 0), walked = rng;
    for (size_t i = 0; i < 3; ++i) keel_rng_normal(&rng);
    for (size_t i = 0; i < 6; ++i) keel_rng_u64(&walked);
    assert_true(rng.state == walked.state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pcg64_prints_what_the_reference_prints),
        cmocka_unit_test(bounded_draws_are_unbiased_where_a_modulus_is_not),
        cmocka_unit_test(streams_differ_by_seed_purpose_and_index),
        cmocka_unit_test(another_seed_of_one_purpose_moves_no_other),
        cmocka_unit_test(purposes_share_no_number),
        cmocka_unit_test(neighbouring_streams_are_uncorrelated),
        cmocka_unit_test(uniform_and_normal_draws_have_their_moments),
        cmocka_unit_test(gamma_draws_have_their_moments),
        cmocka_unit_test(a_normal_draw_uses_exactly_two_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
