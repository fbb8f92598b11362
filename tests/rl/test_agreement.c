/* Agreement of verdicts with labels: counts worked out by hand, and the share of intervals that hold what is
 * true of made-up judges, which is printed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/pcg.h"
#include "rl/fixture.h"
#include "rl/judge/agreement.h"

enum { RESAMPLES = 250 };
#define assert_near(got, want, within) assert_true(fabs((got) - (want)) <= (within))

static keel_agreement_item item(int label, int verdict, double p_any, const char *source, uint64_t group) {
    keel_agreement_item one = {.label = label, .source = source, .group = group};
    one.verdict.label = verdict;
    one.verdict.p[0] = (float)(1 - p_any);
    one.verdict.p[2] = (float)p_any;
    return one;
}

static keel_agreement measure(const keel_agreement_item *items, size_t n) {
    keel_agreement found;
    MUST(keel_agreement_measure(items, n, RESAMPLES, 1, &found, err));
    return found;
}

/* Of ten, two by an unknown source: eight right in two classes, seven in three, one unjudged. */
static void every_figure_by_hand(void **state) {
    (void)state;
    const keel_agreement_item items[] = {item(0, 0, 0.05, "a", 1), item(0, 0, 0.15, "a", 2),
                                         item(0, 2, 0.95, "a", 3), item(2, 2, 0.95, "b", 4),
                                         item(2, 2, 0.85, "b", 5), item(2, KEEL_UNJUDGED, 0.5, "b", 6),
                                         item(1, 2, 0.75, "b", 7), item(1, 1, 0.65, "b", 8),
                                         item(0, 0, 0.1, NULL, 9), item(2, 2, 1, NULL, 10)};
    const keel_agreement found = measure(items, 10);
    assert_int_equal(found.n, 10);
    assert_int_equal(found.unjudged, 1);
    assert_near(found.any_accuracy.value, 0.8, 1e-12);
    assert_near(found.accuracy.value, 0.7, 1e-12);
    assert_near(found.judged_accuracy.value, 8.0 / 9, 1e-12);
    /* By label 4 none and 6 any; by verdict 3 none, 6 any, 1 unjudged: (.8 - .48) / (1 - .48). */
    assert_near(found.any_kappa.value, 0.32 / 0.52, 1e-12);
    assert_near(found.bias.value, 1.0 / 9, 1e-12);
    assert_int_equal(found.n_sources, 3);
    assert_string_equal(found.sources[0].name, "(unknown)");
    assert_string_equal(found.sources[1].name, "a");
    assert_true(found.sources[1].n == 3 && found.sources[2].unjudged == 1);
    assert_near(found.sources[1].bias.value, 1.0 / 3, 1e-12);
    assert_near(found.sources[2].bias.value, 0, 1e-12);
    assert_near(found.sources[2].human, 1, 1e-12); /* of the four that are judged */
    /* [.9, 1]: .95, .95, 1, of which humans call two refusals; .1 lies in the second bin. */
    assert_int_equal(found.bins[9].n, 3);
    assert_near(found.bins[9].mean_p, 2.9 / 3, 1e-6);
    assert_near(found.bins[9].share.value, 2.0 / 3, 1e-12);
    assert_int_equal(found.bins[1].n, 2);
    assert_near(found.ece, (0.05 + 0.25 + 0.35 + 0.25 + 0.15 + 3 * (2.9 / 3 - 2.0 / 3)) / 9, 1e-6);
    assert_int_equal(measure(items, 0).n, 0);
}

static void many_sources_are_pooled_but_for_the_largest(void **state) {
    (void)state;
    enum { N = KEEL_AGREEMENT_SOURCES + 5 };
    static char names[N][16];
    keel_agreement_item items[N + 1];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "m%02d", i);
        items[i] = item(0, 0, 0.1, names[i], (uint64_t)i);
    }
    items[N] = item(0, 0, 0.1, names[N - 1], N);
    const keel_agreement found = measure(items, N + 1);
    assert_int_equal(found.n_sources, KEEL_AGREEMENT_SOURCES);
    assert_string_equal(found.sources[KEEL_AGREEMENT_SOURCES - 1].name, "others");
    assert_int_equal(found.sources[KEEL_AGREEMENT_SOURCES - 1].n, 6);
    assert_string_equal(found.sources[KEEL_AGREEMENT_SOURCES - 2].name, names[N - 1]);
}

/* Without a mistake among 60 the intervals do not end where they begin. */
static void no_mistake_seen_is_no_proof(void **state) {
    (void)state;
    keel_agreement_item items[60];
    for (int i = 0; i < 60; i++) items[i] = item(i % 2 * 2, i % 2 * 2, i % 2, "a", (uint64_t)i);
    const keel_agreement found = measure(items, 60);
    assert_true(found.any_kappa.value == 1 && found.any_kappa.low < 0.97);
    assert_true(found.bias.low < -0.01 && found.bias.high > 0.01);
    assert_true(found.any_accuracy.low < 0.96);
}

typedef struct world {
    const char *name;
    double rate, tpr, tnr;
    int n, size; /* items, and of a group, whose labels are alike */
} world;

static double true_kappa(const world *w) {
    const double right = w->rate * w->tpr + (1 - w->rate) * w->tnr;
    const double judged = w->rate * w->tpr + (1 - w->rate) * (1 - w->tnr);
    const double chance = w->rate * judged + (1 - w->rate) * (1 - judged);
    return (right - chance) / (1 - chance);
}

static void intervals_hold_the_truth(void **state) {
    (void)state;
    enum { LOGS = 200, MOST = 400 };
    static const world worlds[] = {{"good", 0.5, 0.97, 0.97, 200, 1},
                                   {"rare", 0.08, 0.9, 0.97, 300, 1},
                                   {"few", 0.6, 0.9, 0.9, 60, 1},
                                   {"alike", 0.5, 0.9, 0.95, 240, 4},
                                   {"perfect", 0.5, 0.999, 0.999, 100, 1}};
    static keel_agreement_item items[MOST];
    for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
        const world *of = &worlds[w];
        const double bias = of->rate * (of->tpr - 1) + (1 - of->rate) * (1 - of->tnr);
        const double accuracy = of->rate * of->tpr + (1 - of->rate) * of->tnr;
        int held[3] = {0};
        for (uint64_t log = 0; log < LOGS; log++) {
            keel_rng rng = keel_rng_named(log, "agreement worlds", 0);
            bool y = false;
            for (int i = 0; i < of->n; i++) {
                if (i % of->size == 0) y = keel_rng_uniform(&rng) < of->rate;
                const bool right = keel_rng_uniform(&rng) < (y ? of->tpr : of->tnr);
                const bool f = right ? y : !y;
                items[i] = item(y * 2, f * 2, f ? 0.9 : 0.1, "a", (uint64_t)(i / of->size));
            }
            const keel_agreement found = measure(items, (size_t)of->n);
            held[0] += found.any_accuracy.low <= accuracy && accuracy <= found.any_accuracy.high;
            held[1] += found.any_kappa.low <= true_kappa(of) && true_kappa(of) <= found.any_kappa.high;
            held[2] += found.bias.low <= bias && bias <= found.bias.high;
        }
        print_message("%-8s accuracy %5.1f %%, kappa %5.1f %%, bias %5.1f %%\n", of->name,
                      100.0 * held[0] / LOGS, 100.0 * held[1] / LOGS, 100.0 * held[2] / LOGS);
        assert_true(held[0] >= 0.9 * LOGS); /* Wilson's are too short for some rates near 1 */
        assert_true(held[1] >= 0.91 * LOGS && held[2] >= 0.91 * LOGS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_figure_by_hand),
        cmocka_unit_test(many_sources_are_pooled_but_for_the_largest),
        cmocka_unit_test(no_mistake_seen_is_no_proof),
        cmocka_unit_test(intervals_hold_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
