/* Students made from a BERT: fewer layers, narrower, one vector a token, fewer tokens. */
#define SCRATCH "student"
#include "bert_made.h"
#include "encoder_fixture.h"

#include <math.h>

#include "datasets/store_corpus.h"
#include "policies/compress/student_internal.h"
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

/* Of four layers the first and the third: as far apart as can be. */
static void layers_that_stay_are_evenly_far_apart(void **state) {
    (void)state;
    const keel_compress_job job = {.config = &smaller};
    keel_bert *student = bert_of(4, HIDDEN, 3, 40), *teacher = bert_of(4, HIDDEN, 3, 40);
    smaller.student_layers = 2;
    assert_ok(keel_student_bert(student, &job, &err));
    for (size_t i = 0; i < KEEL_BERT_LAYER; i++) {
        same_row(student, keel__bert_row(0, i), teacher, keel__bert_row(0, i));
        same_row(student, keel__bert_row(1, i), teacher, keel__bert_row(2, i));
    }
    keel_bert_close(student);
    keel_bert_close(teacher);
}

/* ---- one vector a token ---- */

static void a_static_vector_is_that_of_the_token_alone_without_the_mean(void **state) {
    (void)state;
    keel_arena arena = {0};
    float alone[VOCAB][HIDDEN];
    double mean[HIDDEN] = {0};
    smaller.student_static = true;
    keel_bert *student = made(), *teacher = tiny();
    for (int32_t i = 0; i < VOCAB; i++) {
        const int32_t id[] = {2, i, 3}, offsets[] = {0, 3}; /* [CLS] and [SEP] around it */
        const keel_bert_batch batch = {.id = id, .offsets = offsets, .n = 1};
        assert_ok(keel_bert_encode(teacher, &batch, &arena, alone[i], &err));
        for (size_t d = 0; d < HIDDEN; d++) mean[d] += (double)alone[i][d] / VOCAB;
    }
    const float *table = keel_params_at(&student->params, KEEL_BERT_WORD);
    for (size_t i = 0; i < VOCAB; i++)
        for (size_t d = 0; d < HIDDEN; d++)
            assert_true(fabs((double)table[i * HIDDEN + d] - ((double)alone[i][d] - mean[d])) < 1e-6);
    keel_arena_free(&arena);
    keel_bert_close(student);
    keel_bert_close(teacher);
}

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

/* A teacher whose tokens lie along HEAD directions, on each half as far from 0 as on the one before: these
 * are the principal ones. They are these numbers, seen in a mirror across (1, 1, .. 1). */
static const size_t axis[HEAD] = {3, 8, 20, 1, 14, 22, 9, 17};
static double sign[HEAD]; /* of the student's directions */

static keel_bert *along_directions(void) {
    keel_bert *bert = bert_of(2, HIDDEN, 3, 40);
    keel_real *word = keel_params_at(&bert->params, KEEL_BERT_WORD);
    for (size_t i = 0; i < VOCAB; i++)
        for (size_t d = 0; d < HIDDEN; d++)
            word[i * HIDDEN + d] = ldexpf((d == axis[i % HEAD] ? 1 : 0) - 2.0f / HIDDEN, -(int)(i % HEAD));
    for (size_t l = 0; l < 2; l++) /* head l + 1 is the loudest */
        for (size_t i = 0; i < HIDDEN * HIDDEN; i++)
            if (i % HIDDEN / HEAD == l + 1)
                keel_params_at(&bert->params, keel__bert_row(l, KEEL_BERT_OUT))[i] *= 2;
    return bert;
}

/* HIDDEN numbers of the teacher, one every `apart`, are these HEAD numbers of the student. */
static void is_turned(const float *x, size_t apart, const float *turned, size_t turned_apart) {
    double mean = 0;
    for (size_t d = 0; d < HIDDEN; d++) mean += (double)x[d * apart] / HIDDEN;
    for (size_t j = 0; j < HEAD; j++)
        assert_true(fabs((double)turned[j * turned_apart] -
                         sign[j] * ((double)x[axis[j] * apart] - 2 * mean)) < 1e-5);
}

/* A gain cannot be turned: its root mean square is everywhere. */
static void is_turned_norm(const float *gain, const float *turned) {
    double square = 0;
    for (size_t d = 0; d < HIDDEN; d++) square += (double)gain[d] * (double)gain[d] / HIDDEN;
    for (size_t j = 0; j < HEAD; j++) assert_true(fabs((double)turned[j] - sqrt(square)) < 1e-5);
}

/* The n columns [rows, cols] that weigh most, in their order. */
static void heaviest(const float *weight, size_t rows, size_t cols, size_t n, size_t *out) {
    double *sum = calloc(cols, sizeof *sum);
    size_t found = 0;
    assert_non_null(sum);
    for (size_t i = 0; i < rows * cols; i++) sum[i % cols] += (double)weight[i] * (double)weight[i];
    for (size_t c = 0; c < cols; c++) {
        size_t heavier = 0;
        for (size_t other = 0; other < cols; other++) heavier += sum[other] > sum[c];
        if (heavier < n) out[found++] = c;
    }
    assert_int_equal(found, n);
    free(sum);
}

/* Rows (and biases) and columns of matrices that stay: of the loudest head, of the heaviest inner numbers. */
static void is_turned_layer(const keel_bert *student, const keel_bert *teacher, size_t l) {
    enum { INNER = 40 * HEAD / HIDDEN };
    const float *was[KEEL_BERT_LAYER], *is[KEEL_BERT_LAYER];
    size_t inner[INNER];
    for (size_t i = 0; i < KEEL_BERT_LAYER; i++) {
        was[i] = keel_params_at(&teacher->params, keel__bert_row(l, i));
        is[i] = keel_params_at(&student->params, keel__bert_row(l, i));
    }
    for (size_t part = 0; part < 3; part++)
        for (size_t i = 0; i < HEAD; i++) {
            const size_t row = part * HIDDEN + (l + 1) * HEAD + i, now = part * HEAD + i;
            is_turned(was[KEEL_BERT_QKV] + row * HIDDEN, 1, is[KEEL_BERT_QKV] + now * HEAD, 1);
            assert_true(is[KEEL_BERT_QKV_BIAS][now] == was[KEEL_BERT_QKV_BIAS][row]);
        }
    for (size_t i = 0; i < HEAD; i++)
        is_turned(was[KEEL_BERT_OUT] + (l + 1) * HEAD + i, HIDDEN, is[KEEL_BERT_OUT] + i, HEAD);
    heaviest(was[KEEL_BERT_DOWN], HIDDEN, 40, INNER, inner);
    for (size_t i = 0; i < INNER; i++) {
        is_turned(was[KEEL_BERT_UP] + inner[i] * HIDDEN, 1, is[KEEL_BERT_UP] + i * HEAD, 1);
        assert_true(is[KEEL_BERT_UP_BIAS][i] == was[KEEL_BERT_UP_BIAS][inner[i]]);
        is_turned(was[KEEL_BERT_DOWN] + inner[i], 40, is[KEEL_BERT_DOWN] + i, INNER);
    }
    static const size_t vectors[] = {KEEL_BERT_OUT_BIAS, KEEL_BERT_BIAS_1, KEEL_BERT_DOWN_BIAS,
                                     KEEL_BERT_BIAS_2};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        is_turned(was[vectors[i]], 1, is[vectors[i]], 1);
    is_turned_norm(was[KEEL_BERT_GAIN_1], is[KEEL_BERT_GAIN_1]);
    is_turned_norm(was[KEEL_BERT_GAIN_2], is[KEEL_BERT_GAIN_2]);
}

static void a_narrow_student_is_its_teacher_along_the_main_directions(void **state) {
    (void)state;
    const keel_compress_job job = {.config = &smaller};
    keel_bert *student = along_directions(), *teacher = along_directions();
    smaller.student_hidden = HEAD;
    assert_ok(keel_student_bert(student, &job, &err));
    const float *word = keel_params_at(&student->params, KEEL_BERT_WORD);
    for (size_t j = 0; j < HEAD; j++) sign[j] = word[j * HEAD + j] > 0 ? 1 : -1;
    for (size_t row = KEEL_BERT_WORD; row <= KEEL_BERT_TYPE; row++)
        for (size_t i = 0; i < teacher->params.table[row].rows; i++)
            is_turned(keel_params_at(&teacher->params, row) + i * HIDDEN, 1,
                      keel_params_at(&student->params, row) + i * HEAD, 1);
    is_turned_norm(keel_params_at(&teacher->params, KEEL_BERT_GAIN),
                   keel_params_at(&student->params, KEEL_BERT_GAIN));
    for (size_t l = 0; l < 2; l++) is_turned_layer(student, teacher, l);
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

/* Marks behind the words get other numbers, wherever a post-processor names them. */
static void marks_that_stay_are_numbered_anew(void **state) {
    (void)state;
    static const char *const posts[] = {
        "{\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 7], \"cls\": [\"[CLS]\", 6]}",
        "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}], "
        "\"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], "
        "\"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [6], \"tokens\": [\"[CLS]\"]}, "
        "\"[SEP]\": {\"id\": \"[SEP]\", \"ids\": [7], \"tokens\": [\"[SEP]\"]}}}"};
    static const int32_t stay[] = {0, 1, 3, 5, 6, 7}, framed[] = {4, 2, 1, 3, 5};
    for (size_t i = 0; i < sizeof posts / sizeof *posts; i++) {
        keel_buf json = {0};
        keel_arena arena = {0};
        keel_tokenizer *from = NULL, *made = NULL;
        keel_tokens words, all;
        int32_t *type;
        size_t length;
        keel_buf_format(
            &json,
            "{\"added_tokens\": [{\"id\": 6, \"content\": \"[CLS]\", \"special\": true}, {\"id\": 7, "
            "\"content\": \"[SEP]\", \"special\": true}, {\"id\": 8, \"content\": \"[GONE]\", \"special\": "
            "true}], \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"post_processor\": %s, \"model\": "
            "{\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": \"##\", "
            "\"max_input_chars_per_word\": 12, \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"how\": 2, \"do\": 3, "
            "\"bake\": 4, \"bread\": 5, \"[CLS]\": 6, \"[SEP]\": 7}}}",
            posts[i]);
        assert_ok(keel_tokenizer_parse(&from, json.data, json.length, "test", &err));
        assert_ok(keel__student_tokenizer(from, stay, sizeof stay / sizeof *stay, &made, &err));
        assert_int_equal(keel_tokenizer_size(made), 6);
        assert_int_equal(keel_tokenizer_find(made, "[GONE]"), -1);
        assert_ok(keel_tokenizer_encode(made, "do bake bread", false, &arena, &words, &err));
        assert_ok(keel_tokenizer_frame(made, &words, NULL, &arena, &all, &type, &err));
        assert_int_equal(all.count, sizeof framed / sizeof *framed);
        assert_memory_equal(all.id, framed, sizeof framed);
        /* Keel reads marks by their names, other programs by these numbers. */
        contains(keel_tokenizer_file(made, &length), i ? "\"ids\":[4]" : "\"cls\":[\"[CLS]\",4]");
        contains(keel_tokenizer_file(made, &length), i ? "\"ids\":[5]" : "\"sep\":[\"[SEP]\",5]");
        keel_tokenizer_close(from);
        keel_tokenizer_close(made);
        keel_arena_free(&arena);
        keel_buf_free(&json);
    }
}

static void marks_and_characters_have_room(void **state) {
    (void)state;
    add_log(12, "a", "train");
    assert_ok(keel_store_corpus_open(&logged, store, &split, 1 << 20, &err));
    smaller.student_vocabulary = 6;
    assert_int_equal(make_on("student", 1), KEEL_E_INVALID);
    contains(err.message, "marks and characters");
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
        TEST(layers_that_stay_are_evenly_far_apart),
        TEST(a_static_vector_is_that_of_the_token_alone_without_the_mean),
        TEST(a_static_encoder_does_not_hear_the_order),
        TEST(narrow_tokens_keep_most_of_the_variance),
        TEST(a_narrow_student_is_its_teacher_along_the_main_directions),
        TEST(a_narrow_student_can_be_tuned),
        TEST(tokens_that_the_log_uses_stay),
        TEST(marks_that_stay_are_numbered_anew),
        TEST(marks_and_characters_have_room),
        TEST(any_number_of_threads_makes_the_same_student),
        TEST(shapes_that_cannot_be_are_refused),
        TEST(a_student_keeps_some_of_its_inner_numbers),
        TEST(what_was_tuned_makes_no_student),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
