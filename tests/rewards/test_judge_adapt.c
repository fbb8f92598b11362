/* A judge for one's own labels: what it learned from is judged held out, its probabilities are those of the
 * labels, a threshold leaves doubt unjudged, and a file gives all of it back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/pcg.h"
#include "core/safetensors.h"
#include "rewards/judge.h"
#include "support/check.h"
#include "support/faults.h"

#define KIND (&keel_judge_refusal)

static keel_err err;

/* ---- a kind whose probabilities are known: a response "0.8" is a hit with p = .8, as it says ---- */

static bool taught; /* what fit says */

static keel_status toy_fit(keel_judge **out, const keel_judge_example *examples, size_t count, keel_err *e) {
    keel_judge *made = calloc(1, sizeof *made);
    (void)examples, (void)e;
    assert_non_null(made);
    made->learned = taught && count > 0;
    strcpy(made->name, "toy-p/1");
    *out = made;
    return KEEL_OK;
}

static keel_status toy_predict(const keel_judge *judge, const keel_judge_input *input,
                               keel_judge_verdict *out, keel_err *e) {
    const float p = strtof(input->response, NULL);
    (void)judge, (void)e;
    *out = (keel_judge_verdict){.label = p < 0 ? KEEL_UNJUDGED : p > 0.5f, .p = {1 - p, p}};
    return KEEL_OK;
}

static void toy_free(keel_judge *judge) {
    free(judge);
}

static const char *const toy_classes[] = {"none", "hit"};
static const keel_judge_kind toys = {.name = "toy",
                                     .judged = KEEL_JUDGED_HARM,
                                     .classes = toy_classes,
                                     .n_classes = 2,
                                     .any = "hit",
                                     .fit = toy_fit,
                                     .predict = toy_predict,
                                     .free = toy_free};

enum { N = 4000 };
static keel_judge_example examples[N];
static char texts[N][32];

/* Responses that say p, of which the share sigma(slope logit(p) + shift) are hits. The text of each is its
 * own. */
static void make(size_t n, double slope, double shift) {
    keel_rng rng = keel_rng_named(1, "calibration", 0);
    for (size_t i = 0; i < n; i++) {
        const double p = 0.02 + 0.96 * keel_rng_uniform(&rng), z = slope * log(p / (1 - p)) + shift;
        snprintf(texts[i], sizeof texts[i], "%.12f", p);
        examples[i] = (keel_judge_example){
            .input.response = texts[i], .label = keel_rng_uniform(&rng) < 1 / (1 + exp(-z)), .group = i / 2};
    }
}

static keel_judge *adapt(size_t n, double error) {
    keel_judge *judge = NULL;
    const keel_judge_adaptation how = {.folds = 5, .error = error};
    taught = true;
    assert_ok(keel_judge_adapt(&judge, &toys, NULL, examples, n, &how, &err));
    return judge;
}

static float p_of(const keel_judge *judge, const char *response, int *label) {
    keel_judge_verdict verdict;
    assert_ok(keel_judge_predict(judge, &(keel_judge_input){.response = response}, &verdict, &err));
    *label = verdict.label;
    return verdict.p[1];
}

static void calibration_finds_the_slope_that_made_the_labels(void **state) {
    (void)state;
    int label;
    make(N, 0.5, 0);
    keel_judge *judge = adapt(N, 0);
    assert_true(judge->calibrated && judge->calibration.least == 0);
    assert_true(fabs(judge->calibration.slope - 0.5) < 0.06);
    /* sigma(.5 logit .8) = .667 */
    assert_true(fabs((double)p_of(judge, "0.8", &label) - 0.667) < 0.02);
    assert_int_equal(label, 1);
    /* Nobody learns from what says nothing, and what is unjudged stays so. */
    p_of(judge, "-1", &label);
    assert_int_equal(label, KEEL_UNJUDGED);
    keel_judge_free(judge);
}

static void as_it_is_stays_as_it_is(void **state) {
    (void)state;
    make(N, 1, 0);
    keel_judge *judge = adapt(N, 0);
    assert_true(fabs(judge->calibration.slope - 1) < 0.1);
    keel_judge_free(judge);
    make(N, -1, 0); /* the labels say the opposite: no slope above 0 helps */
    judge = adapt(N, 0);
    assert_true(judge->calibration.slope > 0 && judge->calibration.slope < 0.1);
    keel_judge_free(judge);
}

/* Of those not in the judge's memory: as many wrong as allowed, and fewer would be without need. */
static void a_threshold_leaves_as_few_wrong_as_asked(void **state) {
    (void)state;
    make(N, 1.5, 0);
    keel_judge *judge = adapt(N, 0.05), *all = adapt(N, 0);
    size_t judged = 0, wrong = 0, unjudged = 0;
    for (size_t i = 0; i < N; i++) {
        keel_judge_verdict verdict;
        assert_ok(keel_judge_predict(judge, &examples[i].input, &verdict, &err));
        judged += verdict.label != KEEL_UNJUDGED;
        wrong += verdict.label != KEEL_UNJUDGED && verdict.label != examples[i].label;
    }
    unjudged = N - judged;
    print_message("%zu judged, %zu wrong, %zu unjudged\n", judged, wrong, unjudged);
    assert_true((double)wrong < 0.06 * (double)judged && (double)wrong > 0.04 * (double)judged);
    assert_true(unjudged > N / 10);
    assert_true(strcmp(judge->name, all->name) != 0); /* another threshold is another judge */
    keel_judge_free(all);
    keel_judge_free(judge);
    keel_judge *none = NULL;
    for (size_t i = 0; i < 200; i++) /* all as certain, half of them wrong */
        examples[i] = (keel_judge_example){.input.response = "0.9", .label = i % 2, .group = i};
    assert_int_equal(
        keel_judge_adapt(&none, &toys, NULL, examples, 200, &(keel_judge_adaptation){5, 0.4}, &err),
        KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "no threshold"));
    assert_null(none);
}

static void too_little_is_said(void **state) {
    (void)state;
    keel_judge *judge = NULL;
    make(40, 1, 0);
    taught = false;
    assert_int_equal(
        keel_judge_adapt(&judge, &toys, NULL, examples, 40, &(keel_judge_adaptation){5, 0}, &err),
        KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "40 labels are too few"));
    taught = true;
    for (size_t i = 0; i < 40; i++) examples[i].group = i % 4;
    assert_int_equal(
        keel_judge_adapt(&judge, &toys, NULL, examples, 40, &(keel_judge_adaptation){5, 0}, &err),
        KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "as many groups"));
    assert_null(judge);
}

/* ---- with the refusal judge ---- */

/* Labels by the first letter of a word that no other example has: nothing that is learned helps with others.
 */
static void make_noise(size_t n) {
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "Word%zu it is.", i * 7919);
        examples[i] =
            (keel_judge_example){.input.response = texts[i], .label = (int)(i / 3 % 2) * 2, .group = i};
    }
}

static keel_judge_verdict verdict_of(const keel_judge *judge, const char *response) {
    keel_judge_verdict verdict;
    assert_ok(keel_judge_predict(judge, &(keel_judge_input){.response = response}, &verdict, &err));
    return verdict;
}

static size_t right(const keel_judge *judge, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += (verdict_of(judge, examples[i].input.response).label > 0) == (examples[i].label > 0);
    return count;
}

/* A judge that learned noise by heart agrees with it by chance, for it is asked what it said before it saw
 * it. */
static void what_taught_the_judge_does_not_flatter_it(void **state) {
    (void)state;
    keel_judge *judge = NULL, *plain = NULL;
    make_noise(120);
    const keel_judge_adaptation how = {.folds = 5};
    assert_ok(keel_judge_fit(&plain, KIND, examples, 120, &err));
    assert_ok(keel_judge_adapt(&judge, KIND, NULL, examples, 120, &how, &err));
    print_message("by heart %zu of 120, held out %zu of 120\n", right(plain, 120), right(judge, 120));
    assert_true(right(plain, 120) > 110);
    assert_true(right(judge, 120) < 80);
    assert_int_equal(judge->n_held_out, 120);
    assert_true(keel_judge_remembers(judge, texts[5]));
    assert_false(keel_judge_remembers(judge, "Something else."));
    /* A judge that goes on from this one keeps what it held out, and is asked for it. */
    keel_judge *next = NULL;
    assert_ok(keel_judge_adapt(&next, KIND, judge, examples, 90, &how, &err));
    assert_int_equal(next->n_held_out, 120);
    assert_true(right(next, 90) < 65);
    assert_true(next->calibration.slope < 2); /* 3 by verdicts of who knew these labels by heart */
    keel_judge_free(next);
    keel_judge_free(judge);
    keel_judge_free(plain);
}

/* The shipped judge knows refusals; 80 labels of another style add to it what they show, and take nothing
 * away. */
static void adapting_adds_to_what_the_judge_knows(void **state) {
    (void)state;
    keel_judge *shipped = NULL, *judge = NULL;
    for (size_t i = 0; i < 80; i++) {
        snprintf(texts[i], sizeof texts[i], i % 2 ? "Let us talk of item %zu." : "Item %zu works so: push.",
                 i);
        examples[i] = (keel_judge_example){.input.response = texts[i], .label = (int)(i % 2) * 2, .group = i};
    }
    const keel_judge_adaptation how = {.folds = 5};
    assert_ok(keel_judge_fit(&shipped, KIND, NULL, 0, &err));
    assert_ok(keel_judge_adapt(&judge, KIND, shipped, examples, 80, &how, &err));
    assert_true(right(shipped, 80) < 60);
    assert_true(right(judge, 80) > 76);
    assert_int_equal(verdict_of(judge, "I'm sorry, but I can't assist with that request.").label, 2);
    assert_int_equal(verdict_of(judge, "Sure! Here is a recipe: mix the flour with two eggs.").label, 0);
    assert_true(judge->learned && !shipped->learned);
    keel_judge_free(judge);
    keel_judge_free(shipped);
}

/* ---- files ---- */

static char path[] = "/tmp/keel-judge-XXXXXX";

static void a_file_gives_back_calibration_and_verdicts(void **state) {
    (void)state;
    keel_judge *judge = NULL, *read = NULL;
    make_noise(120);
    assert_ok(keel_judge_adapt(&judge, KIND, NULL, examples, 120, &(keel_judge_adaptation){5, 0.45}, &err));
    assert_ok(keel_judge_save(judge, path, &err));
    assert_ok(keel_judge_load(&read, path, &err));
    assert_string_equal(read->name, judge->name);
    assert_non_null(strstr(read->name, "+fit-"));
    assert_int_equal(read->n_held_out, 120);
    for (size_t i = 0; i < 125; i++) {
        const char *text = i < 120 ? texts[i] : "I cannot say.";
        const keel_judge_verdict a = verdict_of(judge, text), b = verdict_of(read, text);
        assert_int_equal(a.label, b.label);
        for (int k = 0; k < 3; k++) assert_true(fabsf(a.p[k] - b.p[k]) < 1e-5f);
    }
    keel_judge_free(read);
    keel_judge_free(judge);
}

/* Any one number that cannot be: the file is refused by name. */
static void a_file_with_a_wrong_number_is_refused(void **state) {
    (void)state;
    enum { CASES = 7 };
    for (int c = 0; c < CASES; c++) {
        float version = 5, calibration[] = {1, 0}, p[] = {0.5f, 0.25f, 0.25f, 1, 0, 0};
        int64_t response[] = {1, 2};
        int8_t label[] = {0, -1};
        size_t labels = 2;
        if (c == 0) calibration[0] = 0;
        if (c == 1) calibration[1] = 2;
        if (c == 2) calibration[0] = 1e4f;
        if (c == 3) p[0] = 0.9f;
        if (c == 4) response[1] = 1;
        if (c == 5) label[0] = 3;
        if (c == 6) labels = 1;
        const keel_named_tensor tensors[] = {
            {"rules.version", KEEL_F32, 1, {1}, &version, sizeof version},
            {"calibration", KEEL_F32, 1, {2}, calibration, sizeof calibration},
            {"held_out.response", KEEL_I64, 1, {2}, response, sizeof response},
            {"held_out.p", KEEL_F32, 2, {2, 3}, p, sizeof p},
            {"held_out.label", KEEL_I8, 1, {labels}, label, labels}};
        const char *const metadata[] = {"judge", "refusal", NULL};
        keel_judge *read = NULL;
        assert_ok(keel_safetensors_write(path, tensors, 5, metadata, &err));
        assert_int_equal(keel_judge_load(&read, path, &err), KEEL_E_INVALID);
        assert_string_equal(err.where, path);
        assert_null(read);
    }
}

static void every_allocation_may_fail_without_a_leak(void **state) {
    (void)state;
    faults allocator;
    keel_judge *shipped = NULL;
    keel_status status = KEEL_E_NOMEM;
    long n = 0;
    make_noise(70);
    assert_ok(keel_judge_fit(&shipped, KIND, NULL, 0, &err));
    for (; status != KEEL_OK && n < 3000; n += 1 + n / 8) {
        keel_judge *judge = NULL;
        faults_begin(&allocator, (size_t)n + 1);
        status = keel_judge_adapt(&judge, KIND, n % 2 ? shipped : NULL, examples, 70,
                                  &(keel_judge_adaptation){2, 0.45}, &err);
        keel_judge_free(judge);
        if (status != KEEL_OK) assert_int_equal(status, KEEL_E_NOMEM);
        assert_int_equal(allocator.live, 0);
        faults_end();
    }
    assert_int_equal(status, KEEL_OK);
    keel_judge_free(shipped);
}

static int open_path(void **state) {
    (void)state;
    const int file = mkstemp(path);
    if (file < 0) return 1;
    close(file);
    return 0;
}

static int drop_path(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calibration_finds_the_slope_that_made_the_labels),
        cmocka_unit_test(as_it_is_stays_as_it_is),
        cmocka_unit_test(a_threshold_leaves_as_few_wrong_as_asked),
        cmocka_unit_test(too_little_is_said),
        cmocka_unit_test(what_taught_the_judge_does_not_flatter_it),
        cmocka_unit_test(adapting_adds_to_what_the_judge_knows),
        cmocka_unit_test(a_file_gives_back_calibration_and_verdicts),
        cmocka_unit_test(a_file_with_a_wrong_number_is_refused),
        cmocka_unit_test(every_allocation_may_fail_without_a_leak),
    };
    return cmocka_run_group_tests(tests, open_path, drop_path);
}
