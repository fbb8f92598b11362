/* The order of reviews: sizes and rates as golden numbers have them, every response is drawn with the chance
 * that is said of it, and the intervals hold the true rate. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"
#include "core/pcg.h"
#include "rl/judge/review_order.h"

#define assert_near(got, want) assert_true(fabs((got) - (want)) <= 1e-12 * fmax(1, fabs(want)))

enum { MOST = 600 };

static keel_review_response responses[MOST];
static keel_review_place places[MOST];
static keel_review_seen seen[MOST];
static bool differs[MOST];
static keel_outcome human[MOST];
static size_t n;

static double number(const cJSON *of, const char *key) {
    const cJSON *value = keel_json_get(of, key);
    return cJSON_IsBool(value) ? cJSON_IsTrue(value) : cJSON_GetNumberValue(value);
}

static cJSON *golden(void) {
    cJSON *json;
    const cJSON *row;
    keel_err err;
    assert_int_equal(keel_json_parse_file(KEEL_SOURCE_DIR "/tests/rl/golden/review_order.json", &json, &err),
                     KEEL_OK);
    n = 0;
    cJSON_ArrayForEach (row, keel_json_get(json, "rows")) {
        responses[n] = (keel_review_response){.risk = (keel_risk)number(row, "risk"),
                                              .judged = (keel_outcome)number(row, "judged"),
                                              .confidence = number(row, "confidence"),
                                              .number = number(row, "number"),
                                              .other = 0.5};
        differs[n] = number(row, "differs") != 0;
        human[n++] = (keel_outcome)number(row, "human");
    }
    return json;
}

static void sizes_are_golden(void **state) {
    (void)state;
    cJSON *json = golden();
    static const char *const names[] = {"sizes", "sizes_with_policy", "sizes_aimed"};
    for (int policy = 0; policy < 3; policy++) {
        const cJSON *want = keel_json_get(json, names[policy]);
        const keel_review_aim aim = {KEEL_REVIEW_RANDOM_SHARE,
                                     policy == 2 ? KEEL_RISK_DANGEROUS : KEEL_RISK_UNKNOWN};
        keel_review_order_place(responses, policy ? differs : NULL, n, &aim, places);
        assert_int_equal(cJSON_GetArraySize(want), n);
        for (size_t i = 0; i < n; i++) {
            assert_near(places[i].size, cJSON_GetArrayItem(want, (int)i)->valuedouble);
            assert_near(places[i].place, responses[i].number / places[i].size);
            assert_false(places[i].twice);
            assert_true(places[i].reason != KEEL_REVIEW_DIFFERS || (policy && differs[i]));
        }
    }
    cJSON_Delete(json);
}

/* For qsort alone. */
static int by_place(const void *a, const void *b) {
    const keel_review_seen *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* All responses as seen, by place; and the population. */
static keel_review_population look_at_all(void) {
    keel_review_population population = {0};
    for (size_t i = 0; i < n; i++) {
        seen[i] = (keel_review_seen){responses[i].risk,   responses[i].risk, human[i],
                                     responses[i].judged, places[i].size,    places[i].place};
        population.drawn[responses[i].risk][responses[i].judged]++;
    }
    qsort(seen, n, sizeof *seen, by_place);
    return population;
}

static void rates_are_golden(void **state) {
    (void)state;
    cJSON *json = golden();
    const size_t count = (size_t)number(json, "seen");
    keel_review_order_place(responses, NULL, n, &(keel_review_aim){.random = KEEL_REVIEW_RANDOM_SHARE},
                            places);
    const keel_review_population population = look_at_all();
    for (int r = 0; r < 3; r++) {
        const cJSON *want = cJSON_GetArrayItem(keel_json_get(json, "rates"), r);
        const keel_review_rate got =
            keel_review_order_rate(&population, seen, n, seen[count].place, /* the rest is not in its turn */
                                   (keel_corrected_rate)r, number(json, "wished"));
        assert_near(got.rate.value, number(want, "value"));
        assert_near(got.rate.low, number(want, "low"));
        assert_near(got.rate.high, number(want, "high"));
        assert_near(got.labels, number(want, "labels"));
        assert_near(got.needed, number(want, "needed"));
    }
    cJSON_Delete(json);
}

/* ---- made-up logs ---- */

/* A judge that is sure of most and errs on some, also where it is sure. */
static void make_log(keel_rng *rng, size_t count) {
    n = count;
    for (size_t i = 0; i < n; i++) {
        const bool sure = keel_rng_uniform(rng) < 0.7, refused = keel_rng_uniform(rng) < 0.6,
                   wrong = keel_rng_uniform(rng) < (sure ? 0.04 : 0.35);
        responses[i] =
            (keel_review_response){.risk = KEEL_RISK_DANGEROUS,
                                   .judged = refused ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE,
                                   .confidence = sure ? 0.97 : 0.65};
        human[i] = refused != wrong ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
    }
}

static void draw_numbers(keel_rng *rng) {
    for (size_t i = 0; i < n; i++) responses[i].number = fmax(keel_rng_uniform(rng), 1e-12);
    keel_review_order_place(responses, NULL, n, &(keel_review_aim){.random = KEEL_REVIEW_RANDOM_SHARE},
                            places);
}

static double true_rate(void) {
    double refused = 0;
    for (size_t i = 0; i < n; i++) refused += human[i] == KEEL_OUTCOME_REFUSAL;
    return refused / (double)n;
}

static void intervals_hold_the_truth_and_estimates_are_unbiased(void **state) {
    (void)state;
    enum { LOGS = 20, DRAWS = 60 };
    double held = 0, error = 0, squares = 0;
    for (size_t log = 0; log < LOGS; log++) {
        keel_rng rng = keel_rng_named(1, "test_review_order", log);
        make_log(&rng, 500);
        for (int d = 0; d < DRAWS; d++) {
            draw_numbers(&rng);
            const keel_review_population population = look_at_all();
            const size_t count = 60 + 40 * (size_t)(d % 3);
            const keel_review_rate got = keel_review_order_rate(&population, seen, count, seen[count].place,
                                                                KEEL_CORRECTED_REFUSAL, 0.03);
            held += got.rate.low <= true_rate() && true_rate() <= got.rate.high;
            error += got.rate.value - true_rate();
            squares += (got.rate.value - true_rate()) * (got.rate.value - true_rate());
        }
    }
    const double all = LOGS * DRAWS, mean = error / all, sd = sqrt(squares / all);
    printf("intervals that hold the truth: %.3f; mean error %.4f, of %.4f\n", held / all, mean, sd);
    assert_true(held / all >= 0.94);
    assert_true(fabs(mean) < 3.5 * sd / sqrt(all));
}

/* How often each of two kinds is among the first: its chance, by the threshold of each draw. */
static void responses_come_as_often_as_their_chance_says(void **state) {
    (void)state;
    enum { DRAWS = 3000, FIRST = 40 };
    double came[2] = {0}, chance[2] = {0};
    keel_rng rng = keel_rng_named(2, "test_review_order", 0);
    make_log(&rng, 200);
    for (int d = 0; d < DRAWS; d++) {
        draw_numbers(&rng);
        look_at_all();
        for (size_t i = 0; i < n; i++) {
            const bool sure = responses[i].confidence > 0.9;
            came[sure] += places[i].place < seen[FIRST].place;
            /* The threshold of the others: that of priority sampling, the same for who is in and who is not.
             */
            chance[sure] += keel_review_order_chance(places[i].size, places[i].place < seen[FIRST].place
                                                                         ? seen[FIRST].place
                                                                         : seen[FIRST - 1].place);
        }
    }
    for (int sure = 0; sure < 2; sure++) {
        printf("%s: came %.0f times, by their chances %.0f\n", sure ? "sure" : "unsure", came[sure],
               chance[sure]);
        assert_true(fabs(came[sure] / chance[sure] - 1) < 0.02);
    }
}

static void with_all_labels_the_rate_is_the_true_one(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(3, "test_review_order", 0);
    make_log(&rng, 120);
    draw_numbers(&rng);
    const keel_review_population population = look_at_all();
    const keel_review_rate all =
        keel_review_order_rate(&population, seen, n, INFINITY, KEEL_CORRECTED_REFUSAL, 0.03);
    assert_near(all.rate.value, true_rate());
    assert_true(all.rate.high - all.rate.low < 1e-9 && all.needed == 0);
    const keel_review_rate none =
        keel_review_order_rate(&population, seen, 19, seen[19].place, KEEL_CORRECTED_REFUSAL, 0.03);
    assert_true(none.rate.n == 0 && isnan(none.needed) && none.labels == 19); /* too few to say anything */
    const keel_review_rate out_of_turn =
        keel_review_order_rate(&population, seen, n, seen[50].place, KEEL_CORRECTED_REFUSAL, 0.03);
    assert_true(out_of_turn.labels == 50); /* what is not in its turn waits */
    assert_true(keel_review_order_chance(3, 0.5) == 1 && keel_review_order_chance(3, 0.25) == 0.75);
    for (size_t i = 0; i < n; i += 10) seen[i].human = KEEL_OUTCOME_NONE;
    const keel_review_rate some =
        keel_review_order_rate(&population, seen, n, INFINITY, KEEL_CORRECTED_REFUSAL, 0.03);
    assert_true(some.rate.high > some.rate.low); /* what was skipped is not known */
}

/* The log says no risk; people do. */
static void without_risk_in_the_log_people_say_what_is_dangerous(void **state) {
    (void)state;
    keel_rng rng = keel_rng_named(4, "test_review_order", 0);
    double dangerous = 0, refused = 0;
    make_log(&rng, 400);
    for (size_t i = 0; i < n; i++) responses[i].risk = KEEL_RISK_UNKNOWN;
    draw_numbers(&rng);
    const keel_review_population population = look_at_all();
    for (size_t i = 0; i < n; i++) seen[i].risk = i % 3 ? KEEL_RISK_DANGEROUS : KEEL_RISK_BENIGN;
    for (size_t i = 0; i < n; i++)
        if (i % 3) dangerous++, refused += seen[i].human == KEEL_OUTCOME_REFUSAL;
    const keel_review_rate all =
        keel_review_order_rate(&population, seen, n, INFINITY, KEEL_CORRECTED_REFUSAL, 0.03);
    assert_near(all.rate.value, refused / dangerous);
    const keel_review_rate half =
        keel_review_order_rate(&population, seen, n / 2, seen[n / 2].place, KEEL_CORRECTED_REFUSAL, 0.03);
    assert_true(half.rate.low < refused / dangerous && refused / dangerous < half.rate.high &&
                half.needed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_golden),
        cmocka_unit_test(rates_are_golden),
        cmocka_unit_test(intervals_hold_the_truth_and_estimates_are_unbiased),
        cmocka_unit_test(responses_come_as_often_as_their_chance_says),
        cmocka_unit_test(with_all_labels_the_rate_is_the_true_one),
        cmocka_unit_test(without_risk_in_the_log_people_say_what_is_dangerous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
