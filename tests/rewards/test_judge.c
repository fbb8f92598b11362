/* What holds of every judge: what it reads and learns from is checked, its file says its kind, folds follow
 * groups, agreement counts what is unjudged. By a toy kind, which knows a response by its first letter. */
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
#include "core/safetensors.h"
#include "rewards/judge.h"
#include "support/check.h"

static keel_err err;

/* ---- the toy kind: 'a' is the first class, 'b' the second, else unjudged; it remembers what it learned of
 * ---- */

typedef struct toy {
    keel_judge base;
    bool saw[256]; /* first letters of the examples */
} toy;

static keel_status toy_fit(keel_judge **out, const keel_judge_example *examples, size_t count, keel_err *e) {
    toy *made = calloc(1, sizeof *made);
    (void)e;
    assert_non_null(made);
    for (size_t i = 0; i < count; i++) made->saw[(unsigned char)examples[i].input.response[0]] = true;
    made->base.learned = count > 0;
    *out = &made->base;
    return KEEL_OK;
}

static keel_status toy_predict(const keel_judge *judge, const keel_judge_input *input,
                               keel_judge_verdict *out, keel_err *e) {
    const unsigned char first = (unsigned char)input->response[0];
    (void)e;
    *out = (keel_judge_verdict){.label = first == 'a'   ? 0
                                         : first == 'b' ? 1
                                                        : KEEL_UNJUDGED,
                                .authority = KEEL_AUTHORITY_MODEL};
    out->p[0] = ((const toy *)judge)->saw[first];
    return KEEL_OK;
}

static void toy_free(keel_judge *judge) {
    free(judge);
}

static const char *const toy_classes[] = {"a", "b"};
static const keel_judge_kind toys = {.name = "toy",
                                     .judged = KEEL_JUDGED_HARM,
                                     .classes = toy_classes,
                                     .n_classes = 2,
                                     .any = "b",
                                     .fit = toy_fit,
                                     .predict = toy_predict,
                                     .free = toy_free};

static keel_judge_example of(const char *response, int label, uint64_t group) {
    static const keel_turn asked = {.role = KEEL_ROLE_USER, .text = "Well?"};
    return (keel_judge_example){.input = {response, &asked, 1}, .label = label, .group = group};
}

/* ---- the table ---- */

static void every_row_of_the_table_is_whole_and_found_by_its_name(void **state) {
    (void)state;
    assert_non_null(keel_judge_kinds[0]);
    for (const keel_judge_kind *const *kind = keel_judge_kinds; *kind; kind++) {
        const keel_judge_kind *k = *kind;
        assert_ptr_equal(keel_judge_find(k->name), k);
        assert_true(k->help && k->any && k->fit && k->predict && k->save && k->load && k->free);
        assert_in_range(k->n_classes, 2, KEEL_JUDGE_MAX_CLASSES);
        for (size_t c = 0; c < k->n_classes; c++) assert_non_null(k->classes[c]);
    }
    assert_null(keel_judge_find("no such judge"));
}

/* ---- examples ---- */

static void wrong_examples_are_named(void **state) {
    (void)state;
    keel_judge *judge = NULL;
    keel_judge_verdict verdicts[2];
    for (const keel_judge_kind *const *kind = keel_judge_kinds; *kind; kind++) {
        keel_judge_example examples[] = {of("yes", 0, 0), of("no", KEEL_UNJUDGED, 1)};
        assert_int_equal(keel_judge_fit(&judge, *kind, examples, 2, &err), KEEL_E_INVALID);
        assert_non_null(strstr(err.message, "example 1 has no label"));
        examples[1].label = (int)(*kind)->n_classes;
        assert_int_equal(keel_judge_fit(&judge, *kind, examples, 2, &err), KEEL_E_INVALID);
        examples[0].input = (keel_judge_input){0};
        assert_int_equal(keel_judge_fit(&judge, *kind, examples, 2, &err), KEEL_E_INVALID);
        assert_non_null(strstr(err.message, "example 0 has no"));
        assert_null(judge);
    }
    const keel_judge_example one = of("yes", 0, 0);
    assert_int_equal(keel_judge_cross_validate(&toys, &one, 1, 2, verdicts, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "2 folds need as many groups, got 1"));
    assert_int_equal(keel_judge_cross_validate(&toys, &one, 1, 1, verdicts, &err), KEEL_E_INVALID);
}

static void what_a_kind_cannot_read_is_refused(void **state) {
    (void)state;
    keel_judge *judge;
    keel_judge_verdict verdict;
    assert_ok(keel_judge_fit(&judge, &toys, NULL, 0, &err));
    assert_false(judge->learned);
    assert_int_equal(keel_judge_predict(judge, &(keel_judge_input){0}, &verdict, &err), KEEL_E_INVALID);
    assert_ok(keel_judge_predict(judge, &(keel_judge_input){.response = "c"}, &verdict, &err));
    assert_int_equal(verdict.label, KEEL_UNJUDGED);
    keel_judge_free(judge);
    keel_judge_free(NULL);
}

/* ---- validation ---- */

static void a_group_is_never_judged_by_who_learned_from_it(void **state) {
    (void)state;
    /* p[0] of the toy says whether the example's letter was among those it learned from. */
    const keel_judge_example examples[] = {of("a1", 0, 7), of("b", 1, 8), of("a2", 0, 7), of("c", 0, 9),
                                           of("c", 1, 8)};
    keel_judge_verdict verdicts[5];
    assert_ok(keel_judge_cross_validate(&toys, examples, 5, 3, verdicts, &err));
    const bool saw[] = {false, false, false, true, true};
    for (size_t i = 0; i < 5; i++) assert_true((verdicts[i].p[0] > 0) == saw[i]);
    /* Two folds: the groups 7 and 9 share the first one. */
    assert_ok(keel_judge_cross_validate(&toys, examples, 5, 2, verdicts, &err));
    assert_true(verdicts[3].p[0] > 0 && verdicts[4].p[0] > 0);
}

static void unjudged_examples_agree_with_nothing(void **state) {
    (void)state;
    /* labels 0 0 1 1; verdicts 0 1 1 unjudged: observed 2/4, expected (2/4)(1/4) + (2/4)(2/4) = 3/8,
     * kappa (1/2 - 3/8) / (5/8) = 1/5. */
    const keel_judge_example examples[] = {of("a", 0, 0), of("b", 0, 1), of("b", 1, 2), of("c", 1, 3)};
    const keel_judge_verdict verdicts[] = {
        {.label = 0}, {.label = 1}, {.label = 1}, {.label = KEEL_UNJUDGED}};
    const keel_judge_agreement found = keel_judge_agree(&toys, examples, verdicts, 4);
    assert_int_equal(found.n, 4);
    assert_int_equal(found.unjudged, 1);
    assert_float_equal(found.accuracy, 0.5, 1e-12);
    assert_float_equal(found.kappa, 0.2, 1e-12);
    assert_float_equal(found.any_accuracy, 0.5, 1e-12);
    assert_float_equal(found.any_kappa, 0.2, 1e-12);
    assert_float_equal(keel_judge_agree(&toys, examples, verdicts, 1).kappa, 1, 0);
}

/* ---- files ---- */

static void a_file_that_names_no_kind_of_this_build_is_refused(void **state) {
    (void)state;
    char path[] = "/tmp/keel-judge-XXXXXX";
    const float one[] = {1};
    const keel_named_tensor tensor = {"t", KEEL_F32, 1, {1}, one, sizeof one};
    keel_judge *read = NULL;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_ok(keel_safetensors_write(path, &tensor, 1, NULL, &err));
    assert_int_equal(keel_judge_load(&read, path, &err), KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "names no kind"));
    assert_ok(keel_safetensors_write(path, &tensor, 1, (const char *const[]){"judge", "toy", NULL}, &err));
    assert_int_equal(keel_judge_load(&read, path, &err), KEEL_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "\"toy\""));
    assert_null(read);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_is_whole_and_found_by_its_name),
        cmocka_unit_test(wrong_examples_are_named),
        cmocka_unit_test(what_a_kind_cannot_read_is_refused),
        cmocka_unit_test(a_group_is_never_judged_by_who_learned_from_it),
        cmocka_unit_test(unjudged_examples_agree_with_nothing),
        cmocka_unit_test(a_file_that_names_no_kind_of_this_build_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
