/* Encoders whose matrices are in other number formats: vectors near those of F32, the same for a text in any
 * company; back in F32 what the format holds; tuning refused. */
#include "bert_made.h"

#include <math.h>

#include "policies/transformer/bert_tape.h"

static int set_up(void **state) {
    (void)state;
    open_golden();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close_golden();
    return 0;
}

static const keel_matrix_type formats[] = {KEEL_MATRIX_BF16, KEEL_MATRIX_Q8_0};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static double cosine(const float *x, const float *y, size_t n) {
    double xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        xy += (double)x[i] * (double)y[i];
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
    }
    return xy / sqrt(xx * yy);
}

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
            const double near = cosine(found + i * MADE_HIDDEN, expected + i * MADE_HIDDEN, MADE_HIDDEN);
            if (!(near > 0.995)) fail_msg("format %d, text %zu: cosine %.6f", (int)formats[f], i, near);
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

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    const keel_lora_config lora = {.rank = 2, .alpha = 4, .targets = KEEL_LORA_ALL};
    const keel_bert_training frozen = {0};
    keel_bert *narrow = load("mean"), *bert = made_bert();
    keel_matrix_type types[64] = {0};
    keel_bert_batch batch;
    size_t cut = 0;
    types[keel__bert_row(1, KEEL_BERT_DOWN)] = KEEL_MATRIX_Q8_0; /* of 40 columns */
    assert_int_equal(keel_bert_convert(narrow, types, &err), KEEL_E_INVALID);
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
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
