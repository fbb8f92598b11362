/* Encoders whose matrices are in other number formats: vectors near those of F32, the same for a text in any
 * company; back in F32 what the format holds; tuning refused. */
#define SCRATCH "bert_matrix"
#include "bert_fixture.h"
#include "bert_made.h"

#include <math.h>

#include "core/numeric.h"
#include "core/safetensors.h"
#include "policies/transformer/bert_tape.h"

static const keel_matrix_type formats[] = {KEEL_MATRIX_BF16, KEEL_MATRIX_Q8_0, KEEL_MATRIX_I8,
                                           KEEL_MATRIX_Q4_0, KEEL_MATRIX_Q4_G32};
static const double least[] = {0.999, 0.995, 0.995, 0.9, 0.9}; /* cosines to F32 */
enum { N_FORMATS = sizeof formats / sizeof *formats };

static void vectors_are_near_those_of_f32(void **state) {
    (void)state;
    keel_bert *plain = made_bert();
    const float *expected = vectors_of(plain, texts, n_texts);
    for (int f = 0; f < N_FORMATS; f++) {
        keel_bert *bert = made_bert();
        convert_all(bert, formats[f]);
        const float *found = vectors_of(bert, texts, n_texts);
        assert_memory_not_equal(found, expected, n_texts * MADE_HIDDEN * sizeof *found);
        for (size_t i = 0; i < n_texts; i++) {
            const double near = keel_cosine(found + i * MADE_HIDDEN, expected + i * MADE_HIDDEN, MADE_HIDDEN);
            if (!(near > least[f])) fail_msg("format %d, text %zu: cosine %.6f", (int)formats[f], i, near);
        }
        keel_bert_close(bert);
    }
    keel_bert_close(plain);
}

/* Alone a text goes by rows of the matrices, in company by panels. */
static void a_text_is_the_same_in_any_company(void **state) {
    (void)state;
    const char *many[8 * MOST_TEXTS];
    size_t n = 0;
    for (size_t i = 0; i < 8 * n_texts; i++) many[n++] = texts[i * 5 % n_texts];
    for (int f = 0; f < N_FORMATS; f++) {
        keel_bert *bert = made_bert();
        convert_all(bert, formats[f]);
        const float *together = vectors_of(bert, many, n);
        for (size_t i = 0; i < n; i++)
            assert_memory_equal(vectors_of(bert, &many[i], 1), together + i * MADE_HIDDEN,
                                MADE_HIDDEN * sizeof(float));
        keel_bert_close(bert);
    }
}

static void widened_it_holds_what_the_format_held(void **state) {
    (void)state;
    float row[MADE_INNER];
    for (int f = 0; f < N_FORMATS; f++) {
        keel_bert *bert = made_bert(), *wide = made_bert();
        convert_all(bert, formats[f]);
        convert_all(wide, formats[f]);
        assert_true(keel_bert_bytes(bert) < keel_bert_bytes(wide) + 1);
        const size_t small = keel_bert_bytes(wide), numbers = wide->params.size;
        assert_ok(keel_bert_widen(wide, &err));
        assert_null(wide->compressed);
        assert_true(wide->params.size > numbers);
        assert_true(keel_bert_bytes(wide) > small * 18 / 10);
        for (size_t i = 0; i < keel_bert_rows(bert); i++) {
            const keel_matrix from = keel_bert_matrix(bert, i), to = keel_bert_matrix(wide, i);
            assert_int_equal(to.type, KEEL_MATRIX_F32);
            assert_true(from.type == formats[f] || !keel_bert_is_matrix(i));
            for (size_t r = 0; r < from.rows && from.cols <= MADE_INNER; r++) {
                keel_matrix_read_row(&from, r, row);
                assert_memory_equal(row, (const float *)to.data + r * to.cols, to.cols * sizeof *row);
            }
        }
        keel_bert_close(bert);
        keel_bert_close(wide);
    }
}

static void copy(const char *name, const char *to) {
    keel_buf text = {0};
    char from[512], into[512];
    snprintf(from, sizeof from, "%s/%s", folder, name);
    snprintf(into, sizeof into, "%s/%s", folder, to);
    assert_ok(keel_file_read(from, 1 << 24, &text, &err));
    assert_ok(keel_file_write(into, text.data, text.length, &err));
    keel_buf_free(&text);
}

static bool same_files(const char *one, const char *other) {
    keel_buf a = {0}, b = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, one);
    assert_ok(keel_file_read(path, 1 << 24, &a, &err));
    snprintf(path, sizeof path, "%s/%s", folder, other);
    assert_ok(keel_file_read(path, 1 << 24, &b, &err));
    const bool same = a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
    keel_buf_free(&a);
    keel_buf_free(&b);
    return same;
}

static void a_folder_holds_it(void **state) {
    (void)state;
    keel_bert *bert = made_bert(), *again;
    convert_all(bert, KEEL_MATRIX_Q8_0);
    assert_ok(keel_bert_save(bert, folder, &err));
    copy("model.safetensors", "first");
    assert_ok(keel_bert_load(&again, folder, &err));
    assert_int_equal(keel_bert_bytes(again), keel_bert_bytes(bert));
    assert_memory_equal(vectors_of(again, texts, n_texts), vectors_of(bert, texts, n_texts),
                        n_texts * MADE_HIDDEN * sizeof(float));
    assert_ok(keel_bert_save(again, folder, &err));
    assert_true(same_files("model.safetensors", "first"));
    keel_bert_close(bert);
    keel_bert_close(again);
}

/* A product of floats is another one: the folder says which. */
static void a_folder_says_what_its_matrices_are_multiplied_with(void **state) {
    (void)state;
    keel_bert *bert = made_bert(), *again;
    const float *expected = vectors_of(bert, texts, n_texts);
    keel_bert_form form[64] = {0};
    for (size_t row = 0; row < keel_bert_rows(bert); row++)
        form[row] = (keel_bert_form){.type = KEEL_MATRIX_I8, .inputs = KEEL_INPUTS_F32};
    assert_ok(keel_bert_convert(bert, form, NULL, &err));
    assert_ok(keel_bert_save(bert, folder, &err));
    assert_ok(keel_bert_load(&again, folder, &err));
    const float *found = vectors_of(bert, texts, n_texts), *loaded = vectors_of(again, texts, n_texts);
    assert_memory_equal(loaded, found, n_texts * MADE_HIDDEN * sizeof *found);
    keel_bert *whole = made_bert();
    convert_all(whole, KEEL_MATRIX_I8);
    const float *rounded = vectors_of(whole, texts, n_texts);
    for (size_t i = 0; i < n_texts; i++) {
        const size_t at = i * MADE_HIDDEN;
        assert_true(keel_cosine(found + at, expected + at, MADE_HIDDEN) >
                    keel_cosine(rounded + at, expected + at, MADE_HIDDEN));
    }
    keel_bert_close(bert);
    keel_bert_close(again);
    keel_bert_close(whole);
}

/* Rows are spread over threads, scales are fitted. */
static void converting_is_the_same_on_any_number_of_threads(void **state) {
    (void)state;
    keel_bert *one = made_bert(), *many = made_bert(), *plain = made_bert();
    keel_bert_form form[64] = {0};
    keel_pool *pool;
    for (size_t row = 0; row < keel_bert_rows(one); row++)
        form[row] = (keel_bert_form){.type = KEEL_MATRIX_Q4_0, .fit = {.method = KEEL_FIT_MSE}};
    assert_ok(keel_pool_open(&pool, 3, &err));
    assert_ok(keel_bert_convert(one, form, NULL, &err));
    assert_ok(keel_bert_convert(many, form, pool, &err));
    convert_all(plain, KEEL_MATRIX_Q4_0);
    bool fitted = false;
    for (size_t row = 0; row < keel_bert_rows(one); row++) {
        const keel_matrix a = keel_bert_matrix(one, row), b = keel_bert_matrix(many, row),
                          c = keel_bert_matrix(plain, row);
        const size_t bytes = a.rows * keel_matrix_row_bytes(a.type, a.cols);
        assert_memory_equal(a.data, b.data, bytes);
        fitted |= memcmp(a.data, c.data, bytes) != 0;
    }
    assert_true(fitted);
    keel_pool_close(pool);
    keel_bert_close(one);
    keel_bert_close(many);
    keel_bert_close(plain);
}

/* A tensor of the folder that a_folder_holds_it leaves, called otherwise, of another type, or damaged. */
static void spoil(const char *name, const char *as, keel_dtype dtype, bool damage) {
    keel_safetensors file;
    char path[512], from[512];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    snprintf(from, sizeof from, "%s/first", folder);
    assert_ok(keel_safetensors_read(from, &file, &err));
    keel_named_tensor *tensor = (keel_named_tensor *)(uintptr_t)keel_safetensors_find(&file, name);
    assert_non_null(tensor);
    unsigned char *bytes = keel_arena_alloc(&arena, tensor->bytes);
    memcpy(bytes, tensor->data, tensor->bytes);
    if (damage) memset(bytes + 3 * KEEL_MATRIX_BLOCK_BYTES, 0x7f, 2);
    tensor->name = keel_arena_strdup(&arena, as);
    tensor->dtype = dtype;
    tensor->data = bytes;
    assert_ok(keel_safetensors_write(path, file.tensors, file.count, NULL, &err));
    keel_safetensors_free(&file);
}

static void damaged_folders_are_refused(void **state) {
    (void)state;
    static const char key[] = "encoder.layer.1.attention.self.key.weight.q8_0",
                      up[] = "encoder.layer.0.intermediate.dense.weight.q8_0";
    const struct {
        const char *name, *as;
        keel_dtype dtype;
        bool damage;
        const char *says;
    } wrong[] = {
        {up, "encoder.layer.0.intermediate.dense.weight.q9_0", KEEL_U8, false, "dense.weight\" is missing"},
        {up, up, KEEL_I8, false, "U8"},
        {up, up, KEEL_U8, true, "finite"},
        {key, "encoder.layer.1.attention.self.key.weight", KEEL_U8, false, "U8"},
        {"encoder.layer.1.output.dense.bias", "encoder.layer.1.output.dense.bias.q8_0", KEEL_F32, false,
         "dense.bias\" is missing"},
    };
    keel_bert *bert = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        spoil(wrong[i].name, wrong[i].as, wrong[i].dtype, wrong[i].damage);
        assert_int_not_equal(keel_bert_load(&bert, folder, &err), KEEL_OK);
        contains(err.message, wrong[i].says);
    }
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    const keel_lora_config lora = {.rank = 2, .alpha = 4, .targets = KEEL_LORA_ALL};
    const keel_bert_training frozen = {0};
    keel_bert *narrow = load("mean"), *bert = made_bert();
    keel_bert_form forms[64] = {0};
    keel_bert_batch batch;
    size_t cut = 0;
    forms[keel__bert_row(1, KEEL_BERT_DOWN)].type = KEEL_MATRIX_Q8_0; /* of 40 columns */
    assert_int_equal(keel_bert_convert(narrow, forms, NULL, &err), KEEL_E_UNSUPPORTED);
    contains(err.message, "40 columns");
    assert_null(narrow->compressed);
    convert_all(bert, KEEL_MATRIX_Q8_0);
    assert_int_equal(keel_bert_extend(bert, &lora, NULL, 0, &err), KEEL_E_USAGE);
    contains(err.message, "compressed");
    assert_ok(keel_bert_read(bert, texts, 1, &arena, &batch, &cut, &err));
    keel_tape *tape;
    assert_ok(keel_tape_open(&tape, &err));
    assert_null(keel_bert_on_tape(tape, bert, &frozen, &batch, &arena, &err));
    contains(err.message, "compressed");
    assert_ok(keel_bert_widen(bert, &err));
    assert_non_null(keel_bert_on_tape(tape, bert, &frozen, &batch, &arena, &err));
    assert_ok(keel_bert_extend(bert, &lora, NULL, 0, &err));
    convert_all(narrow, KEEL_MATRIX_BF16);
    keel_tape_close(tape);
    keel_bert_close(narrow);
    keel_bert_close(bert);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_near_those_of_f32),
        cmocka_unit_test(a_text_is_the_same_in_any_company),
        cmocka_unit_test(widened_it_holds_what_the_format_held),
        cmocka_unit_test(a_folder_holds_it),
        cmocka_unit_test(damaged_folders_are_refused),
        cmocka_unit_test(a_folder_says_what_its_matrices_are_multiplied_with),
        cmocka_unit_test(converting_is_the_same_on_any_number_of_threads),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
