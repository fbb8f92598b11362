/* Students made from a BERT: fewer layers, narrower, one vector a token, fewer tokens. */
#define SCRATCH "student"
#include "encoder_fixture.h"

#include <math.h>

#include "datasets/store_corpus.h"
#include "policies/compress/student.h"
#include "policies/compress_base.h"
#include "policies/transformer/bert_internal.h"
#include "policies/transformer/bert_matrix.h"

enum { HIDDEN = 24, HEAD = 8, VOCAB = 48 };

static keel_compress_config smaller;
static keel_corpus *logged;

static int start(void **state) {
    logged = NULL;
    if (set_up(state) != 0) return -1;
    return keel_options_defaults(keel_compress_options, &smaller, &err) == KEEL_OK ? 0 : -1;
}

static int end(void **state) {
    keel_store_corpus_close(logged);
    return tear_down(state);
}

static keel_status make_on(const char *name, size_t threads) {
    keel_compress_report report = {0};
    keel_pool *pool;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", in(name));
    assert_ok(keel_pool_open(&pool, threads, &err));
    const keel_compress_job job = {.config = &smaller, .logged = logged, .pool = pool, .report = &report};
    keel_status status = keel_compress_base(TINY, dir, true, &job, &err);
    keel_compress_report_free(&report);
    keel_pool_close(pool);
    return status;
}

static keel_bert *made(void) {
    keel_bert *bert;
    assert_ok(make_on("student", 1));
    assert_ok(keel_bert_load(&bert, in("student"), &err));
    return bert;
}

static keel_bert *tiny(void) {
    keel_bert *bert;
    assert_ok(keel_bert_load(&bert, TINY, &err));
    return bert;
}

static void vector_of(const keel_bert *bert, const char *text, float *out) {
    keel_arena arena = {0};
    keel_bert_batch batch;
    size_t cut;
    assert_ok(keel_bert_read(bert, &text, 1, &arena, &batch, &cut, &err));
    assert_ok(keel_bert_encode(bert, &batch, &arena, out, &err));
    keel_arena_free(&arena);
}

static void same_row(const keel_bert *a, size_t row, const keel_bert *b, size_t other) {
    const keel_matrix x = keel_bert_matrix(a, row), y = keel_bert_matrix(b, other);
    assert_int_equal(x.rows * x.cols, y.rows * y.cols);
    assert_memory_equal(x.data, y.data, x.rows * x.cols * sizeof(float));
}

/* ---- layers ---- */

static void layers_that_stay_are_the_teachers(void **state) {
    (void)state;
    smaller.student_layers = 1;
    keel_bert *student = made(), *teacher = tiny();
    assert_int_equal(student->config.layers, 1);
    for (size_t row = 0; row < keel_bert_rows(student); row++) same_row(student, row, teacher, row);
    keel_bert_close(student);
    keel_bert_close(teacher);
}

static void as_many_layers_as_wide_is_the_teacher_itself(void **state) {
    (void)state;
    smaller.student_layers = 2;
    smaller.student_hidden = HIDDEN;
    keel_bert *student = made(), *teacher = tiny();
    for (size_t row = 0; row < keel_bert_rows(teacher); row++) same_row(student, row, teacher, row);
    keel_bert_close(student);
    keel_bert_close(teacher);
}

/* ---- one vector a token ---- */

static void a_static_encoder_does_not_hear_the_order(void **state) {
    (void)state;
    float one[HIDDEN], other[HIDDEN], third[HIDDEN];
    smaller.student_static = true;
    keel_bert *student = made();
    assert_int_equal(student->config.layers, 0);
    vector_of(student, "how do i bake the bread", one);
    vector_of(student, "bread the bake i do how", other);
    vector_of(student, "how do i run the cafe", third);
    double apart = 0;
    for (size_t d = 0; d < HIDDEN; d++) {
        assert_float_equal(one[d], other[d], 1e-6);
        apart += fabs((double)one[d] - (double)third[d]);
    }
    assert_true(apart > 0.1);
    keel_bert_close(student);
}

/* Directions of the largest variance: what the narrow tokens keep of the wide ones is no less than what any
 * third of the teacher's numbers keeps. */
static void narrow_tokens_keep_most_of_the_variance(void **state) {
    (void)state;
    double kept = 0, of[HIDDEN] = {0}, best = 0;
    smaller.student_hidden = HEAD;
    keel_bert *student = made(), *teacher = tiny();
    assert_int_equal(student->config.hidden, HEAD);
    assert_int_equal(student->config.heads, 1);
    assert_int_equal(student->config.inner, 40 * HEAD / HIDDEN);
    const float *narrow = keel_params_at(&student->params, KEEL_BERT_WORD),
                *wide = keel_params_at(&teacher->params, KEEL_BERT_WORD);
    for (size_t i = 0; i < (size_t)VOCAB * HEAD; i++) kept += (double)narrow[i] * (double)narrow[i];
    for (size_t i = 0; i < (size_t)VOCAB * HIDDEN; i++) of[i % HIDDEN] += (double)wide[i] * (double)wide[i];
    for (int k = 0; k < HEAD; k++) {
        size_t most = 0;
        for (size_t d = 0; d < HIDDEN; d++) most = of[d] > of[most] ? d : most;
        best += of[most];
        of[most] = 0;
    }
    assert_true(kept > best);
    keel_bert_close(student);
    keel_bert_close(teacher);
}

static void a_narrow_student_can_be_tuned(void **state) {
    (void)state;
    keel_base *base;
    smaller.student_hidden = 2 * HEAD;
    smaller.student_static = true;
    assert_ok(make_on("student", 1));
    add_log(20, "a", "train");
    config.mode = KEEL_BERT_FULL;
    char from[512];
    snprintf(from, sizeof from, "%s", in("student"));
    assert_ok(tune_from(from, "tuned", 1));
    assert_ok(keel_base_load(&base, in("tuned"), &err));
    assert_int_equal(((const keel_encoder_base *)base)->bert->config.layers, 0);
    keel_base_close(base);
}

/* ---- fewer tokens ---- */

static void tokens_that_the_log_uses_stay(void **state) {
    (void)state;
    static const char *const text = "how do i bake bread ? 1";
    keel_arena arena = {0};
    keel_tokens few, all;
    add_log(12, "a", "train");
    assert_ok(keel_store_corpus_open(&logged, store, &split, 1 << 20, &err));
    smaller.student_vocabulary = 30;
    keel_bert *student = made(), *teacher = tiny();
    assert_true(student->config.vocab <= 30 && student->config.vocab >= 20);
    assert_int_equal(keel_tokenizer_size(student->tokenizer), student->config.vocab);
    assert_ok(keel_tokenizer_encode(student->tokenizer, text, false, &arena, &few, &err));
    assert_ok(keel_tokenizer_encode(teacher->tokenizer, text, false, &arena, &all, &err));
    assert_int_equal(few.count, all.count);
    const float *small = keel_params_at(&student->params, KEEL_BERT_WORD),
                *large = keel_params_at(&teacher->params, KEEL_BERT_WORD);
    for (size_t i = 0; i < few.count; i++) {
        assert_string_equal(keel_tokenizer_token(student->tokenizer, few.id[i]),
                            keel_tokenizer_token(teacher->tokenizer, all.id[i]));
        assert_memory_equal(small + (size_t)few.id[i] * HIDDEN, large + (size_t)all.id[i] * HIDDEN,
                            HIDDEN * sizeof *small);
    }
    assert_int_equal(keel_tokenizer_find(student->tokenizer, "京"), -1); /* nobody said it */
    float one[HIDDEN], other[HIDDEN];
    vector_of(student, text, one); /* framed by the same marks */
    vector_of(teacher, text, other);
    for (size_t d = 0; d < HIDDEN; d++) assert_float_equal(one[d], other[d], 1e-6);
    keel_arena_free(&arena);
    keel_bert_close(student);
    keel_bert_close(teacher);
}

/* ---- the same bytes, and what is refused ---- */

static void any_number_of_threads_makes_the_same_student(void **state) {
    (void)state;
    char hash[2][65], path[512];
    smaller.student_static = true;
    smaller.student_hidden = HEAD;
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "three" : "one";
        assert_ok(make_on(name, i ? 3 : 1));
        snprintf(path, sizeof path, "%s/%s/model.safetensors", folder, name);
        assert_ok(keel_file_hash(path, hash[i], &err));
    }
    assert_string_equal(hash[0], hash[1]);
}

static void shapes_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const struct {
        int64_t layers, hidden, vocabulary;
        bool fixed;
        keel_status status;
        const char *says;
    } cases[] = {{3, 0, 0, false, KEEL_E_INVALID, "at most 2"},
                 {0, 32, 0, false, KEEL_E_INVALID, "at most 24"},
                 {0, 12, 0, false, KEEL_E_INVALID, "a multiple of a head's width, 8"},
                 {1, 0, 0, true, KEEL_E_INVALID, "has no layers"},
                 {0, 0, 20, false, KEEL_E_USAGE, "--store"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        smaller.student_layers = cases[i].layers;
        smaller.student_hidden = cases[i].hidden;
        smaller.student_vocabulary = cases[i].vocabulary;
        smaller.student_static = cases[i].fixed;
        assert_int_equal(make_on("student", 1), cases[i].status);
        contains(err.message, cases[i].says);
        assert_false(keel_file_exists(in("student")));
    }
}

static void a_student_keeps_some_of_its_inner_numbers(void **state) {
    (void)state;
    const keel_compress_job job = {.config = &smaller};
    keel_bert *thin = tiny();
    thin->config.inner = 2;
    smaller.student_hidden = HEAD; /* a third of it */
    assert_int_equal(keel_student_bert(thin, &job, &err), KEEL_E_INVALID);
    contains(err.where, "student_hidden");
    keel_bert_close(thin);
}

static void what_was_tuned_makes_no_student(void **state) {
    (void)state;
    keel_compress_report report = {0};
    smaller.student_layers = 1;
    const keel_compress_job job = {.config = &smaller, .report = &report};
    add_log(20, "a", "train");
    keel_encoder_base *base = tuned("base");
    assert_int_equal(keel_student_bert(base->bert, &job, &err), KEEL_E_UNSUPPORTED);
    contains(err.message, "as it came");
    keel_base_close(&base->base);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(layers_that_stay_are_the_teachers),
        TEST(as_many_layers_as_wide_is_the_teacher_itself),
        TEST(a_static_encoder_does_not_hear_the_order),
        TEST(narrow_tokens_keep_most_of_the_variance),
        TEST(a_narrow_student_can_be_tuned),
        TEST(tokens_that_the_log_uses_stay),
        TEST(any_number_of_threads_makes_the_same_student),
        TEST(shapes_that_cannot_be_are_refused),
        TEST(a_student_keeps_some_of_its_inner_numbers),
        TEST(what_was_tuned_makes_no_student),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
