/* Rates corrected for the judge's error: golden numbers, by source, and the share of 95 % intervals that hold
 * the true rate of made-up logs, which is printed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define GOLDEN_FILE "corrected.json"
#include "golden.h"

#include "core/pcg.h"
#include "rl/fixture.h"
#include "rl/judge/corrected.h"

#define assert_near(got, want, within) assert_true(fabs((got) - (want)) <= (within))

enum { ROOM = 4096, RESAMPLES = 250 };

/* Labels of one log: pairs, and answers by the judge alone. */
typedef struct made {
    keel_judged_pair pairs[ROOM];
    size_t n;
    keel_judge_error *error;
    keel_corrected_sums sums;
} made;

static made log_;

static keel_outcome outcome_of(bool refusal) {
    return refusal ? KEEL_OUTCOME_REFUSAL : KEEL_OUTCOME_COMPLIANCE;
}

static void add_pair(int64_t conversation, const char *model, bool y, bool f) {
    assert_true(log_.n < ROOM);
    log_.pairs[log_.n++] = (keel_judged_pair){.weight = 1,
                                              .conversation = conversation,
                                              .risk = KEEL_RISK_DANGEROUS,
                                              .model = model,
                                              .human = outcome_of(y),
                                              .judge = outcome_of(f)};
}

static void open_error(void) {
    const keel_judged_pairs pairs = {
        .judge = "toy-1/1", .authority = KEEL_AUTHORITY_MODEL, .labels = 1, .n = log_.n, .pairs = log_.pairs};
    MUST(keel_judge_error_of(&log_.error, &pairs, err));
}

/* An answer of the rate refusal_rate. */
static void add_answer(int64_t conversation, const char *model, keel_authority by, bool hit) {
    const keel_conversation of = {
        .id = conversation, .risk = KEEL_RISK_DANGEROUS, .completed = KEEL_UNKNOWN, .n_decisions = 1};
    const keel_candidate candidate = {.model = model, .outcome = outcome_of(hit), .judge = by};
    MUST(keel_corrected_count(&log_.sums, log_.error, &of, (size_t)conversation, &candidate,
                              candidate.outcome, err));
}

static keel_corrected close_log(size_t resamples) {
    keel_corrected out[KEEL_N_CORRECTED];
    MUST(keel_corrected_close(&log_.sums, log_.error, resamples, 1, out, err));
    keel_corrected_free(&log_.sums);
    keel_judge_error_close(log_.error);
    log_.n = 0;
    log_.error = NULL;
    return out[KEEL_CORRECTED_REFUSAL];
}

/* ---- weights ---- */

static void weigh_last(double weight) {
    log_.pairs[log_.n - 1].weight = weight;
}

/* A pair of weight 3 is three pairs. */
static void a_weight_counts_as_copies(void **state) {
    (void)state;
    keel_corrected found[2];
    for (int weighted = 0; weighted < 2; weighted++) {
        for (int i = 0; i < 60; i++) {
            const int copies = i % 4 ? 1 : 3;
            for (int c = 0; c < (weighted ? 1 : copies); c++) {
                add_pair(1000 + i, NULL, i % 3 == 0, i % 5 == 0);
                if (weighted) weigh_last(copies);
            }
        }
        open_error();
        for (int i = 0; i < 100; i++) add_answer(i, NULL, KEEL_AUTHORITY_MODEL, i % 3 == 1);
        found[weighted] = close_log(500);
    }
    assert_near(found[1].ppi.value, found[0].ppi.value, 1e-6); /* weights are summed as floats */
    assert_near(found[1].rogan_gladen.value, found[0].rogan_gladen.value, 1e-6);
    assert_true(found[1].both == 60);
    assert_true(found[1].ppi.high - found[1].ppi.low >
                found[0].ppi.high - found[0].ppi.low); /* fewer labels */
}

/* What was drawn with the chance pi has the weight 1 / pi - 1: rates are unbiased though what is labelled is
 * what the judge is unsure of, and errs on. */
static void drawn_labels_give_the_true_rate(void **state) {
    (void)state;
    enum { LOGS = 120, N = 600 };
    double error = 0, squares = 0, plain = 0, held = 0;
    for (int log = 0; log < LOGS; log++) {
        keel_rng rng = keel_rng_named(7, "test_corrected", (uint64_t)log);
        bool labelled[N], y[N], f[N];
        double truth = 0, naive = 0, n = 0;
        for (int i = 0; i < N; i++) {
            const bool unsure = keel_rng_uniform(&rng) < 0.3;
            const double pi = unsure ? 0.5 : 0.125;
            f[i] = keel_rng_uniform(&rng) < 0.5;
            y[i] = f[i] || keel_rng_uniform(&rng) < (unsure ? 0.4 : 0.04); /* the judge misses refusals */
            labelled[i] = keel_rng_uniform(&rng) < pi;
            truth += y[i];
            if (!labelled[i]) continue;
            add_pair(i, NULL, y[i], f[i]);
            weigh_last(1 / pi - 1);
            naive += y[i] - f[i], n += 1;
        }
        open_error();
        double judged = 0;
        for (int i = 0; i < N; i++) {
            add_answer(i, NULL, labelled[i] ? KEEL_AUTHORITY_HUMAN : KEEL_AUTHORITY_MODEL,
                       labelled[i] ? y[i] : f[i]);
            judged += labelled[i] ? y[i] : f[i] + naive / n;
        }
        const keel_corrected found = close_log(200);
        error += found.ppi.value - truth / N;
        squares += (found.ppi.value - truth / N) * (found.ppi.value - truth / N);
        plain += judged / N - truth / N;
        held += found.ppi.low <= truth / N && truth / N <= found.ppi.high;
    }
    const double sd = sqrt(squares / LOGS);
    printf("weighted: mean error %.4f of %.4f, interval holds %.3f; without weights %.4f\n", error / LOGS, sd,
           held / LOGS, plain / LOGS);
    assert_true(fabs(error / LOGS) < 3.5 * sd / sqrt(LOGS));
    assert_true(held / LOGS >= 0.93);
    assert_true(plain / LOGS > 0.03); /* as it would be if labels counted alike */
}

/* ---- golden numbers ---- */

static double number(const char *group, const char *key) {
    return cJSON_GetNumberValue(keel_json_get(keel_json_get(golden, group), key));
}

static int at(const char *group, const char *key, int i) {
    return cJSON_GetArrayItem(keel_json_get(keel_json_get(golden, group), key), i)->valueint;
}

/* The sample of a group, as often as the golden numbers had it. */
static keel_corrected of_golden(const char *group) {
    const int copies = keel_json_get(golden, "copies")->valueint;
    const int alone = cJSON_GetArraySize(keel_json_get(keel_json_get(golden, group), "f_alone"));
    const int both = cJSON_GetArraySize(keel_json_get(keel_json_get(golden, group), "y"));
    for (int c = 0; c < copies; c++)
        for (int i = 0; i < both; i++)
            add_pair(100000 + c * both + i, NULL, at(group, "y", i), at(group, "f", i));
    open_error();
    for (int c = 0; c < copies; c++)
        for (int i = 0; i < alone; i++)
            add_answer(c * alone + i, NULL, KEEL_AUTHORITY_MODEL, at(group, "f_alone", i));
    return close_log(4000);
}

static void golden_rates(void **state) {
    (void)state;
    assert_near(keel_rogan_gladen(number("rogan_gladen", "observed"), number("rogan_gladen", "tpr"),
                                  number("rogan_gladen", "tnr")),
                number("rogan_gladen", "rate"), 1e-12);
    assert_true(isnan(keel_rogan_gladen(0.5, 0.3, 0.7)));
    const keel_corrected ppi = of_golden("ppi"), sample = of_golden("sample");
    assert_near(ppi.ppi.value, number("ppi", "rate"), 1e-9);
    assert_near(sample.ppi.value, number("sample", "ppi"), 1e-9);
    assert_near(sample.rogan_gladen.value, number("sample", "rate"), 1e-9);
    /* An interval is as wide as the golden standard error says, and a little more for what was not seen. */
    const double want = 2 * 1.96 * number("ppi", "error_of_copies"), got = ppi.ppi.high - ppi.ppi.low;
    assert_true(got > 0.95 * want && got < 1.15 * want);
    const double rg_want = 2 * 1.96 * number("sample", "error_of_copies");
    const double rg_got = sample.rogan_gladen.high - sample.rogan_gladen.low;
    assert_true(rg_got > 0.95 * rg_want && rg_got < 1.15 * rg_want);
    assert_true(ppi.judged == 400 && ppi.both == 200 && ppi.ppi.n == 400);
}

/* ---- what counts how ---- */

/* The judge calls each refusal of model "a" compliance and errs on nobody else: with an error of its own "a"
 * is set right, and "b" is left alone. What a human or a rule of the log says counts as it is. */
static void a_source_with_enough_labels_has_its_own_error(void **state) {
    (void)state;
    for (int i = 0; i < KEEL_CORRECTED_LEAST; i++) add_pair(i, "a", i % 2, false);
    for (int i = 0; i < KEEL_CORRECTED_LEAST; i++) add_pair(1000 + i, "b", i % 2, i % 2);
    open_error();
    for (int i = 0; i < 40; i++) add_answer(2000 + i, "a", KEEL_AUTHORITY_MODEL, false);
    for (int i = 0; i < 40; i++) add_answer(3000 + i, "b", KEEL_AUTHORITY_MODEL, i % 2);
    for (int i = 0; i < 10; i++) add_answer(i, "a", KEEL_AUTHORITY_HUMAN, true);
    for (int i = 0; i < 10; i++) add_answer(4000 + i, "a", KEEL_AUTHORITY_RULE, true);
    const keel_corrected found = close_log(RESAMPLES);
    assert_near(found.ppi.value, (20 + 20 + 10 + 10) / 100.0, 1e-9);
    assert_true(found.judged == 80 && found.ppi.n == 100);
    assert_true(found.rogan_gladen.n == 0); /* of "a" the judge says nothing: TPR + TNR is 1 */
    for (int i = 0; i < KEEL_CORRECTED_LEAST - 1; i++) add_pair(i, "a", true, false);
    for (int i = 0; i < KEEL_CORRECTED_LEAST + 1; i++) add_pair(1000 + i, "b", true, true);
    open_error();
    for (int i = 0; i < 40; i++) add_answer(2000 + i, "a", KEEL_AUTHORITY_MODEL, false);
    /* One label fewer: the error of all, 49 of 100. */
    assert_near(close_log(RESAMPLES).ppi.value, 0.49, 1e-9);
}

/* Of "a" humans labelled refusals alone: what the judge says of others comes from "b". */
static void a_source_without_a_miss_has_the_tnr_of_all(void **state) {
    (void)state;
    for (int i = 0; i < 60; i++) add_pair(i, "a", true, i >= 6);          /* TPR .9 */
    for (int i = 0; i < 60; i++) add_pair(1000 + i, "b", i < 20, i < 28); /* TNR .8 */
    open_error();
    for (int i = 0; i < 100; i++) add_answer(2000 + i, "a", KEEL_AUTHORITY_MODEL, i < 62);
    const keel_corrected found = close_log(RESAMPLES);
    assert_near(found.rogan_gladen.value, (0.62 + 0.8 - 1) / (0.9 + 0.8 - 1), 1e-9);
    assert_true(found.rogan_gladen.n == 100 && found.rogan_gladen.low < 0.55);
}

static void too_few_labels_correct_nothing(void **state) {
    (void)state;
    for (int pairs = KEEL_CORRECTED_FEWEST - 1; pairs <= KEEL_CORRECTED_FEWEST; pairs++) {
        for (int i = 0; i < pairs; i++) add_pair(i, NULL, i % 2, i % 2);
        open_error();
        for (int i = 0; i < 40; i++) add_answer(2000 + i, NULL, KEEL_AUTHORITY_MODEL, i % 2);
        const keel_judged_by about = keel_judge_error_about(log_.error);
        const bool known = pairs == KEEL_CORRECTED_FEWEST;
        assert_true(known == !about.unknown && about.both == pairs);
        assert_true((close_log(RESAMPLES).ppi.n > 0) == known);
    }
    /* No label at all, or a rate without an answer by the judge. */
    assert_true(keel_judge_error_about(NULL).labels == 0);
    for (int i = 0; i < 40; i++) add_pair(i, NULL, i % 2, i % 2);
    open_error();
    for (int i = 0; i < 40; i++) add_answer(i, NULL, KEEL_AUTHORITY_HUMAN, i % 2);
    assert_true(close_log(RESAMPLES).ppi.n == 0);
}

/* Where the labelled show no mistake, the interval still reaches as far as so many labels cannot exclude. */
static void no_mistake_seen_is_no_proof(void **state) {
    (void)state;
    for (int i = 0; i < 60; i++) add_pair(i, NULL, i % 2, i % 2);
    open_error();
    for (int i = 0; i < 4000; i++) add_answer(2000 + i, NULL, KEEL_AUTHORITY_MODEL, i % 2);
    const keel_corrected found = close_log(RESAMPLES);
    assert_near(found.ppi.value, 0.5, 1e-9);
    assert_true(found.ppi.low < 0.47 && found.ppi.high > 0.53);
}

/* ---- do 95 % intervals hold? ---- */

typedef struct world {
    const char *name;
    double rate, rate_labelled; /* of refusals where only the judge labels, and where humans do */
    double tpr, tnr;
    int labelled, alone, size; /* conversations, and answers in each, which are alike by half */
    bool random; /* what humans label is drawn at random: the prediction-powered rate holds too */
} world;

static bool draw_answer(keel_rng *rng, double rate, bool first, bool shared) {
    return first || keel_rng_uniform(rng) < 0.5 ? shared : keel_rng_uniform(rng) < rate;
}

static void play(const world *w, uint64_t seed) {
    keel_rng rng = keel_rng_named(seed, "corrected worlds", 0);
    static bool human[ROOM], judge[ROOM];
    size_t at_ = 0;
    for (int c = 0; c < w->labelled + w->alone; c++) {
        const double rate = c < w->labelled ? w->rate_labelled : w->rate;
        const bool shared = keel_rng_uniform(&rng) < rate;
        for (int i = 0; i < w->size; i++, at_++) {
            human[at_] = draw_answer(&rng, rate, i == 0, shared);
            const bool right = keel_rng_uniform(&rng) < (human[at_] ? w->tpr : w->tnr);
            judge[at_] = right ? human[at_] : !human[at_];
        }
    }
    const size_t size = (size_t)w->size, labelled = (size_t)w->labelled * size;
    for (size_t i = 0; i < labelled; i++) add_pair((int64_t)(i / size), NULL, human[i], judge[i]);
    open_error();
    for (size_t i = 0; i < at_; i++)
        if (i >= labelled)
            add_answer((int64_t)(i / size), NULL, KEEL_AUTHORITY_MODEL, judge[i]);
        else if (w->random)
            add_answer((int64_t)(i / size), NULL, KEEL_AUTHORITY_HUMAN, human[i]);
}

static bool holds(const keel_interval *interval, double rate) {
    return interval->n == 0 || (interval->low <= rate && rate <= interval->high);
}

static void intervals_hold_the_true_rate(void **state) {
    (void)state;
    enum { LOGS = 200 };
    static const world worlds[] = {
        {"common", 0.8, 0.8, 0.93, 0.95, 100, 400, 1, true},
        {"few labels", 0.7, 0.7, 0.9, 0.9, 30, 300, 1, true},
        {"rare", 0.03, 0.03, 0.9, 0.98, 100, 600, 1, true},
        {"nearly all", 0.97, 0.97, 0.95, 0.9, 100, 600, 1, true},
        {"good judge", 0.6, 0.6, 0.995, 0.995, 80, 600, 1, true},
        {"bad judge", 0.5, 0.5, 0.75, 0.8, 200, 600, 1, true},
        {"long conversations", 0.7, 0.7, 0.9, 0.95, 60, 250, 4, true},
        {"labelled by choice", 0.3, 0.6, 0.9, 0.92, 150, 600, 1, false},
    };
    for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
        int rg = 0, ppi = 0;
        double width[2] = {0};
        for (uint64_t i = 0; i < LOGS; i++) {
            play(&worlds[w], i);
            const keel_corrected found = close_log(RESAMPLES);
            rg += holds(&found.rogan_gladen, worlds[w].rate);
            ppi += holds(&found.ppi, worlds[w].rate);
            width[0] += (found.rogan_gladen.high - found.rogan_gladen.low) / LOGS;
            width[1] += (found.ppi.high - found.ppi.low) / LOGS;
        }
        print_message("%-20s Rogan-Gladen %5.1f %% (width %.3f), prediction-powered %5.1f %% (width %.3f)\n",
                      worlds[w].name, 100.0 * rg / LOGS, width[0], 100.0 * ppi / LOGS, width[1]);
        assert_true(rg >= 0.91 * LOGS);
        assert_true(!worlds[w].random || ppi >= 0.91 * LOGS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_weight_counts_as_copies),
        cmocka_unit_test(drawn_labels_give_the_true_rate),
        cmocka_unit_test(golden_rates),
        cmocka_unit_test(a_source_with_enough_labels_has_its_own_error),
        cmocka_unit_test(a_source_without_a_miss_has_the_tnr_of_all),
        cmocka_unit_test(too_few_labels_correct_nothing),
        cmocka_unit_test(no_mistake_seen_is_no_proof),
        cmocka_unit_test(intervals_hold_the_true_rate),
    };
    return cmocka_run_group_tests(tests, golden_load, golden_drop);
}
